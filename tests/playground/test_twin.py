"""The playground's static twin: the same picture, previews, price and words as the playground."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest
from diffusers import DDIMScheduler, HeunDiscreteScheduler
from PIL import Image

from sdhelpers import generate
from sdhelpers.model.parts import Components
from sdhelpers.playground.page import playground
from sdhelpers.playground.painter import Painter
from sdhelpers.playground.settings import Settings, fit_settings
from sdhelpers.playground.twin import show_playground
from sdhelpers.show.pictures import pick_evenly
from tests.conftest import PROMPT
from tests.runs import count_calls

pytestmark = pytest.mark.usefixtures("no_window")


def pictures() -> list[np.ndarray]:
    """Give what hangs on the figure: the strip, then the picture."""
    return [np.asarray(axis.images[0].get_array()) for axis in plt.gcf().axes if axis.images]


def words() -> str:
    """Give what is written above and below the pictures."""
    figure = plt.gcf()
    return f"{figure.get_suptitle()} {figure.get_supxlabel()}".replace("\n", " ")


def test_it_hangs_up_what_generate_paints(components: Components) -> None:
    settings = {"num_inference_steps": 2, "guidance_scale": 3, "seed": 4, "scheduler": "Euler"}
    settings |= {"negative_prompt": "a whale", "height": 64, "width": 96}
    show_playground(components, PROMPT, **settings)
    (expected,) = generate(components, PROMPT, show_progress=False, **settings)
    np.testing.assert_array_equal(pictures()[-1], np.asarray(expected))
    show_playground(components, PROMPT, **settings | {"seed": 5})
    assert not np.array_equal(pictures()[-1], np.asarray(expected))


def test_the_strip_shows_the_previews_of_the_playground(fake: Components) -> None:
    options = {"scheduler": "K-LMS", "num_inference_steps": 9}
    painter = Painter(fake)
    *way, painting = painter.paint(painter.prepare(fit_settings(fake, prompt=PROMPT, **options)))
    numbers = (0, 3, 5, 8)
    show_playground(fake, PROMPT, num_columns=4, **options)
    shown = [*(way[number].png for number in numbers), painting.png]
    for drawn, png in zip(pictures(), shown, strict=True):
        np.testing.assert_array_equal(drawn, Image.open(io.BytesIO(png)))
    titles = [axis.get_title() for axis in plt.gcf().axes if axis.images]
    assert titles[:-1] == [f"step {i + 1}, sigma {way[i].sigma:.2f}" for i in numbers]
    assert titles[-1] == "picture"


def test_caption_price_and_words(fake: Components) -> None:
    show_playground(fake, "a $quokka$ in a box", num_inference_steps=5, scheduler="PNDM")
    text = words()
    assert '"a $quokka$ in a box" · guidance 7.5 · 5 steps of PNDM · seed 0 · 128 x 128' in text
    assert "Price: 6 UNet calls" in text  # PNDM visits its second timestep twice
    assert 'words that this model never saw in training: "quokka" and "box"' in text
    show_playground(fake, "a cat", num_inference_steps=1, scheduler="DDIM")
    assert "Price: 1 UNet call " in words()
    assert "never saw" not in words()
    assert len(pictures()) == 2


@pytest.mark.parametrize(("times", "num_columns"), [(1, 6), (20, 1), (20, 6)])
def test_all_lines_have_their_place(fake: Components, times: int, num_columns: int) -> None:
    """However long the prompt is, and however narrow the figure: nothing overlaps."""
    prompt = "a cat next to $5 and a very long sentence " * times + "$" * 60
    size = {"height": 64, "width": 96}
    show_playground(fake, prompt, num_inference_steps=6, num_columns=num_columns, **size)
    figure = plt.gcf()
    figure.canvas.draw()
    above, below = (text.get_window_extent() for text in figure.texts)
    cells = [axis.get_tightbbox() for axis in figure.axes if axis.images]
    assert len(cells) == num_columns + 1
    assert max(above.x1, below.x1) <= figure.bbox.x1
    assert above.y1 <= figure.bbox.y1
    assert above.y0 >= max(cell.y1 for cell in cells)
    assert below.y1 <= min(cell.y0 for cell in cells)
    assert below.y0 >= 0


def test_both_take_the_same_settings(fake: Components) -> None:
    """Named and filled in at one place, and what neither knows is refused by both."""
    for call in (playground, show_playground):
        with pytest.raises(TypeError, match="sede"):
            call(fake, PROMPT, sede=3)
    assert fit_settings(fake, prompt=PROMPT) == Settings(
        prompt=PROMPT,
        negative_prompt="",
        guidance_scale=7.5,
        num_inference_steps=20,
        seed=0,
        scheduler="PNDM",
        height=128,
        width=128,
    )
    for own, expected in ((DDIMScheduler, "DDIM"), (HeunDiscreteScheduler, "K-LMS")):
        others = fake._replace(scheduler=own.from_config(fake.scheduler.config))
        assert fit_settings(others, prompt=PROMPT).scheduler == expected


def test_pick_evenly() -> None:
    assert pick_evenly(range(20), 3) == [0, 10, 19]
    assert pick_evenly(range(2), 6) == [0, 1]
    assert pick_evenly(range(5), 1) == [0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": 3}, "prompt must be a string, got 3"),
        ({"guidance_scale": 20.5}, "from 0 to 20 here"),
        ({"guidance_scale": float("nan")}, "finite number"),
        ({"num_inference_steps": 101}, "from 1 to 100 here"),
        ({"seed": -1}, "seed must be an integer"),
        ({"scheduler": "Heun"}, "Unknown scheduler 'Heun'. Known are: K-LMS"),
        ({"height": 100}, "multiple of 8"),
        ({"num_columns": 0}, "num_columns must be a positive integer, got 0"),
    ],
)
def test_bad_input_is_refused_before_computing(components, options, message: str) -> None:
    doors = [show_playground] if "num_columns" in options else [show_playground, playground]
    for make in doors:
        with count_calls(components) as called, pytest.raises(ValueError, match=message):
            make(components, **options)
        assert not called
    assert not plt.get_fignums()
