"""The shipped sample pictures are what the script draws, and fit the VAE."""

import numpy as np
import pytest
from PIL import Image

from tools.make_sample_pictures import (
    SAMPLES,
    SCENES,
    STRIPE_WIDTHS,
    draw_scene,
    draw_sign,
    draw_stripes,
)
from training.world.facts import is_held_out
from training.world.sprites import is_complete, sprite_folder

LARGEST_FOLDER = 100_000  # bytes


def stored(name: str) -> np.ndarray:
    return np.asarray(Image.open(SAMPLES / f"{name}.png"))


def test_eight_small_pictures() -> None:
    paths = sorted(SAMPLES.glob("*.png"))
    assert [path.stem for path in paths] == sorted([*SCENES, "sign", "stripes"])
    assert sum(path.stat().st_size for path in paths) < LARGEST_FOLDER
    for path in paths:
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("RGB", (128, 128))


@pytest.mark.skipif(not is_complete(sprite_folder()), reason="the sprites are not cached")
@pytest.mark.parametrize("name", ["astronaut", "shark"])
def test_scenes_are_drawn_from_their_seeds(name: str) -> None:
    np.testing.assert_array_equal(np.asarray(draw_scene(name)), stored(name))


def test_the_astronaut_on_the_horse_was_in_no_training_scene() -> None:
    assert is_held_out(SCENES["astronaut"])


def test_stripes_are_balanced_and_have_their_widths() -> None:
    levels = np.asarray(draw_stripes())
    np.testing.assert_array_equal(levels, stored("stripes"))
    half = len(levels) // 2
    for index, width in enumerate(STRIPE_WIDTHS):
        top, left = index // 2 * half, index % 2 * half
        row = levels[top, left : left + half, 0].astype(int)
        assert row.mean() == 127.5
        assert np.flatnonzero(np.diff(row))[0] + 1 == width
        assert len(np.flatnonzero(np.diff(row))) == half // width - 1


def test_sign_is_the_stored_one() -> None:
    """Letters may differ by a shade from one FreeType to the next; the sign does not."""
    difference = np.abs(np.asarray(draw_sign()).astype(int) - stored("sign").astype(int))
    assert difference.mean() < 2
