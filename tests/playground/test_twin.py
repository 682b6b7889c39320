"""The playground's static twin: the same picture, previews, price and words as the playground."""

import inspect
import io
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from sdhelpers import generate
from sdhelpers.model.parts import Components
from sdhelpers.playground.page import playground
from sdhelpers.playground.painter import Painter
from sdhelpers.playground.settings import fit_settings
from sdhelpers.playground.twin import show_playground
from sdhelpers.show.pictures import pick_evenly
from tests.conftest import PROMPT
from tests.fake_model import with_fake_unet
from tests.runs import count_calls

pytestmark = pytest.mark.usefixtures("no_window")


def pictures() -> list[np.ndarray]:
    """Give what hangs on the figure: the picture, then the strip."""
    return [np.asarray(axis.images[0].get_array()) for axis in plt.gcf().axes if axis.images]


def words() -> str:
    """Give what is written beside the picture."""
    return " ".join(text.get_text() for axis in plt.gcf().axes for text in axis.texts)


def test_it_hangs_up_what_generate_paints(components: Components) -> None:
    settings = {"num_inference_steps": 2, "guidance_scale": 3, "seed": 4, "scheduler": "Euler"}
    settings |= {"negative_prompt": "a whale", "height": 64, "width": 96}
    show_playground(components, PROMPT, **settings)
    (expected,) = generate(components, PROMPT, show_progress=False, **settings)
    np.testing.assert_array_equal(pictures()[0], np.asarray(expected))
    show_playground(components, PROMPT, **settings | {"seed": 5})
    assert not np.array_equal(pictures()[0], np.asarray(expected))


def test_the_strip_shows_the_previews_of_the_playground(components: Components) -> None:
    fake = with_fake_unet(components)
    options = {"scheduler": "K-LMS", "height": None, "width": None, "negative_prompt": ""}
    options |= {"num_inference_steps": 9, "guidance_scale": 7.5, "seed": 0}
    painter = Painter(fake)
    settings = fit_settings(fake, prompt=PROMPT, **options)
    *way, painting = painter.paint(painter.prepare(settings))
    show_playground(fake, PROMPT, num_columns=3, **options)
    shown = [painting.png, way[0].png, way[4].png, way[8].png]
    for drawn, png in zip(pictures(), shown, strict=True):
        expected = np.asarray(Image.open(io.BytesIO(png)), dtype=int)
        # One level of 256 is rounding: both fit a preview of their own, in several threads.
        np.testing.assert_allclose(drawn.astype(int), expected, rtol=0, atol=1)
    titles = [axis.get_title() for axis in plt.gcf().axes[2:]]
    numbers = (0, 4, 8)
    assert titles == [f"step {i + 1}\nsigma {way[i].sigma:.2f}" for i in numbers]


def test_caption_price_and_words(components: Components) -> None:
    show_playground(
        with_fake_unet(components), "a $quokka$ in a box", num_inference_steps=5, scheduler="PNDM"
    )
    text = words()
    assert r'"a \$quokka\$ in a box" · guidance 7.5 · 5 steps of PNDM · seed 0 · 128 x 128' in text
    assert "Price: 6 UNet calls" in text  # PNDM visits its second timestep twice
    assert 'words that this model never saw in training: "quokka" and "box"' in text
    show_playground(with_fake_unet(components), "a cat", num_inference_steps=1, scheduler="DDIM")
    assert "Price: 1 UNet call " in words()
    assert "never saw" not in words()
    assert len(pictures()) == 2


def test_all_lines_have_their_place(components: Components) -> None:
    """A prompt that is far too long makes the figure higher, and nothing overlaps."""
    heights = []
    for times in (1, 20):
        prompt = "a cat next to a very long sentence " * times
        show_playground(with_fake_unet(components), prompt, num_inference_steps=2, num_columns=2)
        figure = plt.gcf()
        figure.canvas.draw()
        boxes = [text.get_window_extent() for text in figure.axes[1].texts if text.get_text()]
        strip = figure.axes[2].get_tightbbox()
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)
        assert all(box.y0 >= strip.y1 for box in boxes)
        assert all(above.y0 >= below.y1 for above, below in itertools.pairwise(boxes))
        heights.append(figure.get_size_inches()[1])
    assert heights[1] > heights[0]


def test_it_takes_what_the_playground_takes() -> None:
    theirs = inspect.signature(playground).parameters
    ours = inspect.signature(show_playground).parameters
    assert set(theirs) - set(ours) == {"folder"}  # a figure saves nothing
    assert set(ours) - set(theirs) == {"num_columns"}
    shared = set(theirs) & set(ours)
    assert len(shared) == 9
    assert all(theirs[name].default == ours[name].default for name in shared)


def test_pick_evenly() -> None:
    assert pick_evenly(range(20), 3) == [0, 10, 19]
    assert pick_evenly(range(2), 6) == [0, 1]
    assert pick_evenly(range(5), 1) == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": 3}, "prompt must be a string, got 3"),
        ({"guidance_scale": 20.5}, "from 0 to 20 here"),
        ({"num_inference_steps": 101}, "from 1 to 100 here"),
        ({"seed": -1}, "seed must be an integer"),
        ({"scheduler": "Heun"}, "scheduler must be one of"),
        ({"height": 100}, "100"),
        ({"num_columns": 0}, "num_columns must be a positive integer, got 0"),
    ],
)
def test_bad_input_is_refused_before_computing(components, options, message: str) -> None:
    with count_calls(components) as called, pytest.raises(ValueError, match=message):
        show_playground(components, **options)
    assert not called
    assert not plt.get_fignums()
