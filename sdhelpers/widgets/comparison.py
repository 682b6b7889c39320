"""The comparison: a grid of pictures over two settings, whose cells fill as they finish."""

import html
import textwrap
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import ipywidgets
import numpy as np
from IPython.display import display
from PIL import Image

from sdhelpers.show.charts import BLANK, as_text, show_figure
from sdhelpers.show.pictures import TITLE_SIZE, draw_grid
from sdhelpers.widgets.panes import (
    TWIN_INCHES,
    describe_error,
    encode_png,
    make_image,
    make_text,
)
from sdhelpers.widgets.settings_grid import Axis, SettingsGrid, make_settings_grid, paint_cell

if TYPE_CHECKING:
    from sdhelpers.model.parts import Components

_SIDE, _LABEL_WIDTH = 160, 140  # pixels on a wide page
_BLANK_SIZE = (8, 8)  # pixels, stretched to the cell
_CENTRED = {"ha": "center", "va": "center", "fontsize": 6, "clip_on": True, "parse_math": False}


class Comparison(ipywidgets.VBox):
    """A grid of pictures that paints itself when it is shown.

    Attributes:
        grid: the settings of each cell.
        pictures: ipywidgets.Image of each cell, by row; grey until painted.
        messages: ipywidgets.HTML below each: empty, or the error that the cell met.
        progress: ipywidgets.IntProgress.
        images: PIL picture of each cell; None: not painted.
    """

    def __init__(self, components: "Components", grid: SettingsGrid) -> None:
        self.grid = grid
        self._components = components
        self._has_been_tried: set[tuple[int, int]] = set()
        self.images: list[list[Image.Image | None]] = [[None for _ in row] for row in grid.cells]
        self.pictures = [
            [make_image("sd-comparison-picture", "100%") for _ in row] for row in grid.cells
        ]
        waiting = encode_png(Image.new("RGB", _BLANK_SIZE, BLANK))
        for picture in chain.from_iterable(self.pictures):
            picture.value = waiting
        self.messages = [[make_text("sd-comparison-message") for _ in row] for row in grid.cells]
        self.progress = ipywidgets.IntProgress(max=grid.num_cells, description="painting")
        self.progress.add_class("sd-comparison-progress")
        self.status = make_text("sd-comparison-status")
        super().__init__([ipywidgets.HBox([self.progress, self.status]), self._arrange()])
        self.add_class("sd-comparison")
        self._count()

    def run(self) -> None:
        """Paint the cells that have not been tried, in this thread, one after the other.

        A cell that fails shows its error, and the others go on. After an interruption, calling
        this again goes on with the rest.
        """
        for row, cells in enumerate(self.grid.cells):
            for column, settings in enumerate(cells):
                if (row, column) in self._has_been_tried:
                    continue
                try:
                    image = paint_cell(self._components, settings)
                except Exception as error:  # shown in the cell, not lost in a log
                    self.messages[row][column].value = describe_error(error)
                else:
                    self.images[row][column] = image
                    self.pictures[row][column].value = encode_png(image)
                self._has_been_tried.add((row, column))
                self._count()

    def _count(self) -> None:
        """Show how far the painting is."""
        self.progress.value = len(self._has_been_tried)
        failed = sum(bool(message.value) for message in chain.from_iterable(self.messages))
        text = f"{self.progress.value} of {self.grid.num_cells} pictures"
        self.status.value = html.escape(f"{text}, {failed} failed" if failed else text)

    def _arrange(self) -> ipywidgets.GridBox:
        """Lay out labels and cells."""
        make_label = partial(make_text, "sd-comparison-label")
        corner = ipywidgets.HTML()
        children = [corner, *map(make_label, self.grid.column_labels)]
        rows = zip(self.grid.row_labels, self.pictures, self.messages, strict=True)
        for label, pictures, messages in rows:
            children.append(make_label(label))
            for pair in zip(pictures, messages, strict=True):
                children.append(ipywidgets.VBox(pair, layout={"width": "100%"}))
        # Narrow pages get narrower cells, and below that a scroll bar.
        widths = [f"minmax(70px, {_LABEL_WIDTH}px)"]
        widths += [f"minmax(90px, {_SIDE}px)"] * len(self.grid.column_labels)
        return ipywidgets.GridBox(
            children,
            layout={
                "grid_template_columns": " ".join(widths),
                "grid_gap": "6px",
                "max_width": "100%",
                "overflow": "auto",
            },
        )

    def __repr__(self) -> str:
        """Say what is compared."""
        rows, columns = self.grid.row_labels, self.grid.column_labels
        return f"[live in a running notebook: {', '.join(rows)} by {', '.join(columns)}]"

    def _ipython_display_(self, **kwargs: object) -> None:
        """Show the empty grid, then fill it."""
        show = getattr(super(), "_ipython_display_", None)
        if show is not None:  # ipywidgets 7
            show(**kwargs)
        else:
            display(self._repr_mimebundle_(**kwargs) | {"text/plain": repr(self)}, raw=True)
        self.run()


def compare(components: "Components", rows: Axis, columns: Axis, **settings: Any) -> Comparison:
    """Make a grid of pictures over two settings, everything else equal.

    The pictures are painted when the grid is shown, one after the other. Each starts from a fresh
    generator of its seed: unless the seed is an axis, all start from the same noise. The static
    twin is `show_comparison`.

    Args:
        components: the five parts, as `load_components` gives them.
        rows: one name -> its values, such as {"guidance_scale": [1, 4, 7.5]}; the names are
            guidance_scale, num_inference_steps, scheduler, seed and prompt.
        columns: likewise, another name.
        settings: of all cells: these names, negative_prompt, height and width; by default
            guidance_scale 7.5, 20 steps, the model's own scheduler, seed 0.

    Returns:
        A widget: make it the last line of a cell to show and to paint it.

    Raises:
        ValueError: if the axes or the settings do not fit; see `make_settings_grid`. A value
            that the model refuses is shown as an error in its cells.
    """
    return Comparison(components, make_settings_grid(rows, columns, **settings))


def show_comparison(components: "Components", rows: Axis, columns: Axis, **settings: Any) -> None:
    """Show what `compare` shows: a grid of pictures over two settings, everything else equal.

    Args:
        components: the five parts.
        rows: as for `compare`; so for the others.
        columns: another setting.
        settings: of all cells.

    Raises:
        ValueError: if the axes or the settings do not fit. A cell that fails shows its error.
    """
    grid = make_settings_grid(rows, columns, **settings)
    painted = [[_try_to_paint(components, cell) for cell in cells] for cells in grid.cells]
    sizes = [cell.size for row in painted for cell in row if isinstance(cell, Image.Image)]
    blank = Image.new("RGB", [*sizes, _BLANK_SIZE][0], BLANK)
    titles = [grid.column_labels] + [[""] * len(grid.column_labels)] * (len(painted) - 1)
    figure = draw_grid(
        [
            [
                (cell if isinstance(cell, Image.Image) else blank, as_text(title))
                for cell, title in zip(row, above, strict=True)
            ]
            for row, above in zip(painted, titles, strict=True)
        ],
        TWIN_INCHES,
    )
    axes = np.array(figure.axes).reshape(len(painted), -1)
    for row, label, cells in zip(axes, grid.row_labels, painted, strict=True):
        row[0].set_ylabel(_wrap(label), fontsize=TITLE_SIZE, parse_math=False)
        for axis, cell in zip(row, cells, strict=True):
            if isinstance(cell, str):
                axis.text(0.5, 0.5, _wrap(cell), transform=axis.transAxes, **_CENTRED)
    show_figure(figure)


def _try_to_paint(components: "Components", settings: dict[str, Any]) -> Image.Image | str:
    """Paint a cell, or give the error that it met."""
    try:
        return paint_cell(components, settings)
    except Exception as error:  # shown in the cell; the others go on
        return f"{type(error).__name__}: {error}"


def _wrap(text: str) -> str:
    """Break a text into lines as long as a cell is high."""
    return textwrap.fill(text, width=24)
