"""What the charts draw: the values given, in their places, with their names; and where it shows."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from sdhelpers import show
from sdhelpers.show import draw_curves, figure_to_image, show_bars, show_curves, show_heat_map

pytestmark = pytest.mark.usefixtures("no_window")


def texts_of(labels: Sequence) -> list[str]:
    return [label.get_text() for label in labels]


def test_curves_are_drawn_at_their_places() -> None:
    figure = draw_curves(
        {"first": [1, 2, 3], "$5 or $6": torch.tensor([3.0, 2.0, 1.0])},
        torch.tensor([10.0, 20.0, 30.0]),
        x_label="timestep",
        log_y=True,
        reversed_x=True,
        marks={"here": 20},
    )
    (axis,) = figure.axes
    first, second, mark = axis.lines
    np.testing.assert_array_equal(first.get_xdata(), [10, 20, 30])
    np.testing.assert_array_equal(second.get_ydata(), [3, 2, 1])
    assert texts_of(axis.get_legend().get_texts()) == ["first", r"\$5 or \$6"]
    assert axis.get_yscale() == "log"
    assert axis.get_xlim()[0] > axis.get_xlim()[1]
    assert mark.get_xdata()[0] == 20
    assert texts_of(axis.texts) == ["here"]
    assert axis.get_xlabel() == "timestep"


def test_curves_may_have_their_own_x_and_one_needs_no_legend() -> None:
    (axis,) = draw_curves({"a": [1, 2]}, {"a": [5, 6]}).axes
    np.testing.assert_array_equal(axis.lines[0].get_xdata(), [5, 6])
    assert axis.get_legend() is None


@pytest.mark.parametrize(("last", "are_whole"), [(20, True), (20.5, False)])
def test_steps_have_whole_ticks(last: float, are_whole: bool) -> None:
    x = [*range(1, 20), last]
    figure = draw_curves({"a": x}, x, size=(6.5, 2.4))
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) > 3
    assert all(tick == round(tick) for tick in ticks) == are_whole


def test_bars_have_names_and_numbers() -> None:
    assert show_bars({"down$$": 3.0, 2: torch.tensor(1.5)}, written="{:.1f}") is None
    (axis,) = plt.gcf().axes
    assert [bar.get_width() for bar in axis.patches] == [3.0, 1.5]
    assert texts_of(axis.texts) == ["3.0", "1.5"]
    assert texts_of(axis.get_yticklabels()) == [r"down\$\$", "2"]
    plt.gcf().draw_without_rendering()


def test_heat_map_writes_every_value() -> None:
    matrix = torch.tensor([[1.0, 0.25], [0.5, 0.0]])
    assert show_heat_map(matrix, ["a", "$$"], ["c", "d"]) is None
    axis = plt.gcf().axes[0]
    np.testing.assert_array_equal(axis.images[0].get_array(), matrix.numpy())
    assert texts_of(axis.texts) == ["1.00", "0.25", "0.50", "0.00"]
    assert texts_of(axis.get_xticklabels()) == ["c", "d"]
    plt.gcf().draw_without_rendering()
    show_heat_map(matrix, ["a", "b"], written=None)
    assert not plt.gcf().axes[0].texts


def test_a_figure_becomes_a_picture() -> None:
    image = figure_to_image(draw_curves({"a": [1, 2]}, size=(3, 2)), dots_per_inch=50)
    assert (image.mode, image.size) == ("RGB", (150, 100))
    assert len(image.getcolors(10_000)) > 2


def test_threads_draw_side_by_side_and_leave_the_cells_own_figure_alone() -> None:
    """Oracle: the same figures, drawn one after the other."""
    own = plt.figure()

    def draw(number: int) -> bytes:
        curves = {"a": np.arange(1, 9) ** number, "b": [number] * 8}
        return figure_to_image(draw_curves(curves, log_y=True, size=(3, 2))).tobytes()

    numbers = [1, 2, 3, 4] * 2
    with ThreadPoolExecutor(max_workers=4) as threads:
        drawn = list(threads.map(draw, numbers))
    assert drawn == list(map(draw, numbers))
    assert len(set(drawn)) == 4
    assert (plt.gcf(), plt.get_fignums()) == (own, [own.number])


def test_a_notebook_shows_what_pyplot_would_have_shown() -> None:
    """Oracle: pyplot's own way, in the same notebook; and only there it opens figures."""
    source = """
        from matplotlib import pyplot
        from sdhelpers.show import draw_curves, show_curves
        curves = {"a": [1, 2, 4], "b": [4, 2, 1]}
        show_curves(curves, marks={"here": 1})
        print(pyplot.get_fignums())
        pyplot.figure(FigureClass=lambda **_: draw_curves(curves, marks={"here": 1}))
        pyplot.show()
    """
    lines = [line.strip() for line in source.splitlines()]
    cell = nbformat.v4.new_code_cell("\n".join(lines))
    NotebookClient(nbformat.v4.new_notebook(cells=[cell]), kernel_name="python3").execute()
    ours, printed, pyplots = (output for output in cell.outputs if output.get("name") != "stderr")
    assert printed.text.strip() == "[]"
    assert ours == pyplots
    assert ours.data["text/plain"] == "<Figure size 650x300 with 1 Axes>"
    assert len(ours.data["image/png"]) > 1000


def test_the_face_has_them_all(capsys: pytest.CaptureFixture) -> None:
    for name in show.__all__:
        assert getattr(show, name).__name__ == name
    assert dir(show) == show.__all__
    assert show_curves({"a": [1]}) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: draw_curves({}), "no curve"),
        (lambda: draw_curves({"a": [1, 2]}, [1]), "'a' has 2 values for 1 x"),
        (lambda: draw_curves({"a": torch.zeros(2, 2)}), r"'a' must be a row of numbers.*\(2, 2\)"),
        (lambda: draw_curves({"a": 3}), "'a' must be a row of numbers"),
        (lambda: show_bars({}), "no bar"),
        (lambda: show_heat_map(np.eye(2), ["a"]), "1 row labels and 1 column"),
    ],
)
def test_bad_input(draw: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
