"""A grid of settings that differ in two: what `compare` and `show_comparison` paint."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdhelpers.sampling import generate

if TYPE_CHECKING:
    from PIL import Image

    from sdhelpers.model.parts import Components

AXES = ("guidance_scale", "num_inference_steps", "scheduler", "seed", "prompt")
_DEFAULTS = {
    "guidance_scale": 7.5,
    "num_inference_steps": 20,
    "scheduler": None,
    "seed": 0,
    "negative_prompt": None,
    "height": None,
    "width": None,
}
Axis = Mapping[str, Sequence]


@dataclass(frozen=True)
class SettingsGrid:
    """What differs along the rows and along the columns, and the settings of every cell.

    Attributes:
        row_labels, column_labels: such as "seed 3".
        cells: the keywords of `generate` for each cell, by row.
    """

    row_labels: list[str]
    column_labels: list[str]
    cells: list[list[dict[str, Any]]]

    @property
    def num_cells(self) -> int:
        """The number of pictures."""
        return len(self.row_labels) * len(self.column_labels)


def make_settings_grid(rows: Axis, columns: Axis, **settings: Any) -> SettingsGrid:
    """Lay out the settings of a comparison.

    Args:
        rows: one of `AXES` -> its values.
        columns: likewise, another one.
        settings: of all cells.

    Returns:
        The grid.

    Raises:
        ValueError: if the axes are no two different settings with values, if a setting is unknown
            or given twice, or if there is no prompt.
    """
    row_name, row_values = _read_axis("rows", rows)
    column_name, column_values = _read_axis("columns", columns)
    if row_name == column_name:
        raise ValueError(f"rows and columns must differ, both are {row_name!r}.")
    known = {*_DEFAULTS, "prompt"}
    for name in settings:
        if name not in known:
            raise ValueError(f"Unknown setting {name!r}. Known are: {', '.join(sorted(known))}.")
        if name in (row_name, column_name):
            raise ValueError(f"{name} is given twice: as an axis of the grid, and for all cells.")
    if "prompt" not in (row_name, column_name, *settings):
        raise ValueError('A comparison needs a prompt: prompt="...", or prompts as an axis.')
    shared = _DEFAULTS | settings
    return SettingsGrid(
        row_labels=[_write_label(row_name, value) for value in row_values],
        column_labels=[_write_label(column_name, value) for value in column_values],
        cells=[
            [shared | {row_name: row, column_name: column} for column in column_values]
            for row in row_values
        ],
    )


def paint_cell(components: "Components", settings: Mapping[str, Any]) -> "Image.Image":
    """Paint one cell. A fresh generator of its seed draws the noise, so equal seeds start equal.

    Args:
        components: the five parts.
        settings: one of the grid's cells.

    Returns:
        RGB picture.

    Raises:
        ValueError: as `generate`.
    """
    (image,) = generate(components, show_progress=False, **settings)
    return image


def _read_axis(where: str, axis: Axis) -> tuple[str, list]:
    """Give the name and the values of an axis, checked."""
    if not isinstance(axis, Mapping) or len(axis) != 1 or not set(axis) <= set(AXES):
        raise ValueError(
            f"{where} must name one of {', '.join(AXES)} with its values, such as "
            f'{{"guidance_scale": [1, 4, 7.5]}}; got {axis!r}.'
        )
    ((name, values),) = axis.items()
    if isinstance(values, str) or not isinstance(values, Sequence | range) or not len(values):
        raise ValueError(f"{where}: {name} needs a list of one value or more, got {values!r}.")
    return name, list(values)


def _write_label(name: str, value: object) -> str:
    """Write a value of an axis; prompts stand for themselves."""
    if name == "prompt":
        return str(value)
    if name == "scheduler":
        return value if isinstance(value, str) else "own" if value is None else type(value).__name__
    if name == "num_inference_steps":
        return f"{value} step{'s' * (value != 1)}"
    return f"{name.removesuffix('_scale')} {value}"
