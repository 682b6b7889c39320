"""Parts that many tests share: loaded once, changed by none."""

import logging

import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdhelpers import TINY_SD, load_components
from sdhelpers.components import Components

PROMPT = "a photograph of an astronaut riding a horse"


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    """Keep to the cores that every machine has, so that timings mean the same."""
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def components() -> Components:
    return load_components(TINY_SD, device="cpu")


@pytest.fixture(scope="session")
def pipeline(components: Components) -> StableDiffusionPipeline:
    """The library's pipeline over the very same parts: the oracle."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    pipeline = StableDiffusionPipeline(
        **components._asdict(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
