"""Parts that many tests share: loaded once, changed by none."""

import logging
from collections.abc import Iterator

import matplotlib.pyplot as plt
import pytest
from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline

from sdhelpers import TINY_SD, load_components
from sdhelpers.model.parts import Components

PROMPT = "a photograph of an astronaut riding a horse"


@pytest.fixture(scope="session")
def components() -> Components:
    return load_components(TINY_SD, device="cpu")


@pytest.fixture
def k_lms() -> LMSDiscreteScheduler:
    """Notebook 00's scheduler: SD's betas, and the class's own spacing of timesteps."""
    return LMSDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000
    )


@pytest.fixture(scope="session")
def pipeline(components: Components) -> StableDiffusionPipeline:
    """Give the library's pipeline over the very same parts: the oracle."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    return make_pipeline(components)


@pytest.fixture
def no_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Draw into memory, show nothing, and close what was drawn."""
    plt.switch_backend("Agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


def make_pipeline(components: Components) -> StableDiffusionPipeline:
    """Give the library's pipeline over these parts, silent."""
    pipeline = StableDiffusionPipeline(
        **components._asdict(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
