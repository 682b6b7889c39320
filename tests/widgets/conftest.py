import pytest

from sdhelpers.latents import LinearPreview, fit_linear_preview
from sdhelpers.model.parts import Components
from sdhelpers.steps import Step
from tests.runs import make_run


@pytest.fixture(scope="session")
def steps(components: Components) -> list[Step]:
    """A run of four steps at guidance scale 7.5."""
    return make_run(components)


@pytest.fixture(scope="session")
def preview(components: Components) -> LinearPreview:
    return fit_linear_preview(components.vae)
