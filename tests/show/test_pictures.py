"""Pictures, latents and the map: what is on them, and that bad input is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from sdhelpers.show import show_film_strip, show_images, show_latents, show_map, show_shapes
from sdhelpers.show.loop_map import ROOMS, draw_map

pytestmark = pytest.mark.usefixtures("no_window")


def pictures(count: int) -> list[Image.Image]:
    return [Image.new("RGB", (16, 8), (index, 2 * index, 255 - index)) for index in range(count)]


def drawn() -> list[np.ndarray]:
    """Give the pictures on the current figure, in order."""
    axes = plt.gcf().axes
    return [np.asarray(axis.images[0].get_array()) for axis in axes if axis.images]


def test_show_images_shows_them_all_in_order() -> None:
    images = pictures(5)
    show_images(images, titles=list("abcde"), num_columns=2)
    assert len(plt.gcf().axes) == 6
    for shown, image in zip(drawn(), images, strict=True):
        np.testing.assert_array_equal(shown, np.asarray(image))
    assert [axis.get_title() for axis in plt.gcf().axes] == ["a", "b", "c", "d", "e", ""]


def test_show_images_takes_one_picture_or_a_tensor() -> None:
    show_images(pictures(1)[0])
    assert len(drawn()) == 1
    plt.close("all")
    show_images(torch.ones(3, 3, 8, 8))
    assert len(drawn()) == 3
    assert all((shown == 255).all() for shown in drawn())


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA"])
def test_pictures_of_every_mode_are_shown_in_their_own_colours(mode: str) -> None:
    image = Image.new("RGB", (4, 4), "white").convert(mode)
    show_images([image])
    np.testing.assert_array_equal(drawn()[0], np.full((4, 4, 3), 255))


def test_titles_are_broken_into_lines_and_no_mathematics() -> None:
    long = "a title that is much wider than its picture is"
    show_images(pictures(4), titles=[7, long, "step 1\nsigma 10.43", "$5 or $6"])
    number, broken, two_lines, dollars = (axis.get_title() for axis in plt.gcf().axes)
    assert (number, two_lines, dollars) == ("7", "step 1\nsigma 10.43", r"\$5 or \$6")
    assert broken.count("\n") >= 1
    assert broken.replace("\n", " ") == long


def test_film_strip_has_a_row_for_each_name() -> None:
    show_film_strip({"noisy": pictures(3), "guess": pictures(3)}, titles=["1", "2", "3"])
    axes = plt.gcf().axes
    assert len(drawn()) == 6
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["noisy", "guess"]
    assert [axis.get_title() for axis in axes] == ["1", "2", "3", "", "", ""]


def test_show_latents_shows_each_channel_on_one_scale() -> None:
    latents = torch.arange(2 * 4 * 9.0).view(2, 4, 3, 3) - 40
    show_latents(latents, titles=["before", "after"])
    shown = drawn()
    assert len(shown) == 8
    np.testing.assert_array_equal(np.stack(shown).reshape(2, 4, 3, 3), latents.numpy())
    limits = {axis.images[0].get_clim() for axis in plt.gcf().axes[:8]}
    assert limits == {(-40.0, 40.0)}
    titles = [axis.get_title() for axis in plt.gcf().axes[:8]]
    assert titles == [f"channel {index}" for index in range(4)] + [""] * 4


def test_show_shapes_prints_the_house_format(capsys) -> None:
    show_shapes(
        latents=torch.tensor([[-3.914, 4.021]]),
        input_ids=torch.tensor([[49406, 320, 49407]]),
        nothing=torch.zeros(0, 3),
    )
    assert capsys.readouterr().out.splitlines() == [
        "latents    (1, 2)  float32  [-3.91, 4.02]",
        "input_ids  (1, 3)  int64  [320, 49407]",
        "nothing    (0, 3)  float32  no values",
    ]


@pytest.mark.parametrize("room", [None, *ROOMS, "07"])
def test_the_map_lights_one_room(room: str | None) -> None:
    figure = draw_map(room)
    boxes = [patch for patch in figure.axes[0].patches if patch.get_linewidth() > 2]
    assert len(boxes) == {None: 0, "07": 6}.get(room, 1)
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    for number, place in ROOMS.items():
        assert f"{number}  {place.name}" in texts
    if room in ROOMS:
        (box,) = boxes
        x, y = box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2
        assert (x, y) == (ROOMS[room].x, ROOMS[room].y)


def test_the_map_hangs_up_the_picture() -> None:
    image = pictures(1)[0]
    show_map("04", image)
    shown = [np.asarray(picture.get_array()) for picture in plt.gcf().axes[0].images]
    assert any(picture.shape == np.asarray(image).shape for picture in shown)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: show_images([]), "no picture"),
        (lambda: show_images(torch.zeros(0, 3, 8, 8)), "no picture"),
        (lambda: show_images(np.zeros((8, 8, 3), np.uint8)), "PIL images.*got ndarray"),
        (lambda: show_images([torch.zeros(3, 8, 8)]), "PIL images.*got Tensor"),
        (lambda: show_images("cat.png"), "PIL images.*got str"),
        (lambda: show_images([Image.new("I;16", (8, 8))]), "more than 256 levels"),
        (lambda: show_images(torch.zeros(3, 8, 8)), r"\(B, 3, H, W\)"),
        (lambda: show_images(pictures(2), num_columns=-1), "num_columns must be a positive"),
        (lambda: show_images(pictures(2), titles=["one"]), "1 titles were given for 2"),
        (lambda: show_film_strip({"a": pictures(2), "b": pictures(3)}), r"lengths \[2, 3\]"),
        (lambda: show_film_strip({}), "equally long"),
        (lambda: show_latents(torch.zeros(4, 8, 8)), r"\(B, 4, h, w\), got \(4, 8, 8\)"),
        (lambda: show_latents(torch.zeros(0, 4, 8, 8)), r"\(B, 4, h, w\)"),
        (lambda: show_latents(np.zeros((1, 4, 8, 8))), "got ndarray"),
        (lambda: show_map("08"), "Unknown room '08'"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
