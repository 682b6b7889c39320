import threading
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from sdhelpers.latents import fit_linear_preview
from sdhelpers.model.parts import Components
from sdhelpers.playground.page import Playground, playground
from tests.conftest import PROMPT
from tests.fake_model import PATIENCE, with_fake_unet

_fit_once = cache(fit_linear_preview)  # the same each time, and dear


@pytest.fixture
def fake(components: Components, monkeypatch: pytest.MonkeyPatch) -> Components:
    """Parts with a UNet that answers at once; the VAE's preview is fitted once for all tests."""
    monkeypatch.setattr("sdhelpers.playground.painter.fit_linear_preview", _fit_once)
    return with_fake_unet(components)


@pytest.fixture
def make(fake: Components, tmp_path: Path) -> Iterator[Callable[..., Playground]]:
    """Make small playgrounds over the fake UNet, painted once; afterwards no thread may be left."""
    made = []

    def make_one(prompt: str = PROMPT, components: Components = fake, **options) -> Playground:
        small = {"num_inference_steps": 3, "height": 64, "width": 64, "folder": tmp_path}
        made.append(playground(components, prompt, **small | options))
        assert made[-1].wait(PATIENCE)
        return made[-1]

    yield make_one
    fake.unet.open_gate()
    for play in made:
        play.close()
    assert "sdhelpers-runner" not in [thread.name for thread in threading.enumerate()]
