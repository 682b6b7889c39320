"""What differs in ipywidgets 7, which Colab has had for long; CI runs with 8."""

from importlib.metadata import version

import pytest

IS_OLD = int(version("ipywidgets").partition(".")[0]) < 8
needs_pictures_beside_widgets = pytest.mark.skipif(
    IS_OLD, reason="ipywidgets 7 shows a page without widgets no picture"
)
