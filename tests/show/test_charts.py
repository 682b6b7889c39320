"""What the charts draw: the values given, in their places, with their names."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from sdhelpers.show import charts
from sdhelpers.show import pictures as show
from sdhelpers.show import tokens as ribbon

pytestmark = pytest.mark.usefixtures("no_window")


def test_curves_are_drawn_at_their_places() -> None:
    x = torch.tensor([10.0, 20.0, 30.0])
    figure = charts.draw_curves(
        {"first": [1, 2, 3], "second": torch.tensor([3.0, 2.0, 1.0])},
        x,
        x_label="timestep",
        log_y=True,
        reversed_x=True,
        marks={"here": 20},
    )
    (axis,) = figure.axes
    first, second = axis.lines[:2]
    np.testing.assert_array_equal(first.get_xdata(), [10, 20, 30])
    np.testing.assert_array_equal(second.get_ydata(), [3, 2, 1])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["first", "second"]
    assert axis.get_yscale() == "log"
    assert axis.get_xlim()[0] > axis.get_xlim()[1]
    assert axis.lines[2].get_xdata()[0] == 20
    assert [text.get_text() for text in axis.texts] == ["here"]


def test_curves_may_have_their_own_x_and_one_needs_no_legend() -> None:
    figure = charts.draw_curves({"a": [1, 2]}, {"a": [5, 6]})
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_xdata(), [5, 6])
    assert figure.axes[0].get_legend() is None


@pytest.mark.parametrize(("last", "are_whole"), [(20, True), (20.5, False)])
def test_steps_have_whole_ticks(last: float, are_whole: bool) -> None:
    x = [*range(1, 20), last]
    figure = charts.draw_curves({"a": x}, x, size=(6.5, 2.4))
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) > 3
    assert all(tick == round(tick) for tick in ticks) == are_whole


def test_bars_have_names_and_numbers() -> None:
    charts.show_bars({"down": 3.0, "up": torch.tensor(1.5)}, written="{:.1f}")
    (axis,) = plt.gcf().axes
    assert [bar.get_width() for bar in axis.patches] == [3.0, 1.5]
    assert [text.get_text() for text in axis.texts] == ["3.0", "1.5"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["down", "up"]


def test_heat_map_writes_every_value() -> None:
    matrix = torch.tensor([[1.0, 0.25], [0.5, 0.0]])
    charts.show_heat_map(matrix, ["a", "b"], ["c", "d"])
    axis = plt.gcf().axes[0]
    np.testing.assert_array_equal(axis.images[0].get_array(), matrix.numpy())
    assert [text.get_text() for text in axis.texts] == ["1.00", "0.25", "0.50", "0.00"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["c", "d"]


def test_tokens_are_drawn_in_rows_that_fit() -> None:
    tokens = ["<|startoftext|>", *(f"word{i}</w>" for i in range(20)), "$</w>", "<|endoftext|>"]
    figure = ribbon.draw_tokens(tokens, range(len(tokens)))
    (axis,) = figure.axes
    texts = [text.get_text() for text in axis.texts]
    assert texts[::2] == [token.replace("$", r"\$") for token in tokens]
    assert texts[1::2] == [str(number) for number in range(len(tokens))]
    boxes = axis.patches
    assert all(box.get_x() + box.get_width() <= axis.get_xlim()[1] for box in boxes)
    assert len({box.get_y() for box in boxes}) > 1
    lit = [box.get_facecolor() for box in boxes]
    assert lit[0] == lit[-1] != lit[1]


def test_a_figure_becomes_a_picture_and_is_closed() -> None:
    figure = charts.draw_curves({"a": [1, 2]}, size=(3, 2))
    image = charts.figure_to_image(figure, dots_per_inch=50)
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (150, 100))
    assert not plt.get_fignums()


def test_show_has_them_all(capsys: pytest.CaptureFixture) -> None:
    assert show.show_curves({"a": [1]}) is None
    assert show.show_tokens(["a</w>"], [320]) is None
    assert show.show_bars({"a": 1}) is None
    assert show.show_heat_map(np.eye(2), ["a", "b"], written=None) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: charts.draw_curves({}), "no curve"),
        (lambda: charts.draw_curves({"a": [1, 2]}, [1]), "'a' has 2 values for 1 x"),
        (lambda: charts.show_bars({}), "no bar"),
        (lambda: charts.show_heat_map(np.eye(2), ["a"]), "1 row labels and 1 column"),
        (lambda: ribbon.draw_tokens([], []), "0 tokens and 0 ids"),
        (lambda: ribbon.draw_tokens(["a"], [1, 2]), "1 tokens and 2 ids"),
    ],
)
def test_bad_input(draw: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
