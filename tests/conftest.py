"""Parts that many tests share: loaded once, changed by none."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from diffusers import LMSDiscreteScheduler, StableDiffusionPipeline

from sdhelpers import TINY_SD, load_components
from sdhelpers.model.parts import Components
from tests.v1_shaped import make_v1_shaped

PROMPT = "a photograph of an astronaut riding a horse"


@pytest.fixture(scope="session")
def components() -> Components:
    return load_components(TINY_SD, device="cpu")


@pytest.fixture(scope="session")
def v1_shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a model in the shape of Stable Diffusion v1. Change nothing in it."""
    return make_v1_shaped(tmp_path_factory.mktemp("models") / "v1-shaped")


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


def copy_model(source: Path, target: Path, *without: str) -> Path:
    """Copy a model, but for some files, by hard links: replace a file there, never edit it."""

    def link(path: str, copy: str) -> None:
        try:
            os.link(path, copy)
        except OSError:  # the file system has no links
            shutil.copy2(path, copy)

    ignored = shutil.ignore_patterns(*without)
    return Path(shutil.copytree(source, target, ignore=ignored, copy_function=link))


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
