"""What the playground looks like: its controls, its texts, its picture and its history."""

import html
from collections.abc import Callable, Sequence

import ipywidgets
from PIL import Image

from sdhelpers.playground.painter import Painting, Progress, Request
from sdhelpers.playground.settings import HIGHEST_INTEGER, MOST_STEPS, Settings
from sdhelpers.schedule import SCHEDULERS
from sdhelpers.show.charts import BLANK
from sdhelpers.widgets.panes import (
    CONTROL_WIDTH,
    PICTURE_WIDTH,
    describe_error,
    encode_png,
    make_guidance_slider,
    make_image,
    make_text,
)

MOST_REMEMBERED = 8  # pictures
_THUMBNAIL_WIDTH = "96px"
_COLUMN_WIDTHS = "450px", "400px"  # side by side on a page of 1280 pixels, below it at 800

# ipywidgets gives text the height of a button for each line.
_STYLE = "<style>.sd-playground .widget-html-content { line-height: 1.35; }</style>"
_LINES = ("caption", "price", "words", "message", "error")


class View:
    """The widgets of the page, and how things are written on it: text from outside is escaped here.

    Attributes:
        controls: name of a setting -> ipywidgets control; height and width are one, "size".
        buttons: "dice", "paint", "stop" and "save".
        load: takes a PNG file that was saved here.
        picture: the picture, or while a run is at work the clean guess.
        caption: the settings of the picture, or step, sigma and seconds.
        price: what the present settings cost.
        words: what the model can't read in the prompts.
        message: what was saved, or what to do next.
        error: what went wrong last; empty again with the next move.
        history: the last eight pictures.
        boxes: all of these, laid out.
        shown: the Painting or the Progress that the picture is of; None before the first step.
    """

    def __init__(self, settings: Settings, sizes: Sequence[tuple[int, int]]) -> None:
        """Make the widgets; nothing is connected to them.

        Args:
            settings: the values to start from.
            sizes: (height, width) in pixels of the pictures that are offered.
        """
        self.controls = _make_controls(settings, sizes)
        self.buttons = {
            "dice": _make_button("dice", "Dice", "random", "Take another seed"),
            "paint": _make_button("paint", "Paint", "play", "Paint with these settings"),
            "stop": _make_button("stop", "Stop", "stop", "Stop at the next step"),
            "save": _make_button("save", "Save", "save", "Save as PNG, the settings inside"),
        }
        self.load = ipywidgets.FileUpload(
            accept=".png", multiple=False, description="Load", layout={"width": "94px"}
        )
        self.load.add_class("sd-load")
        self.picture = make_image("sd-picture", f"{PICTURE_WIDTH}px")
        self.picture.value = encode_png(Image.new("RGB", (1, 1), BLANK))
        lines = [make_text(f"sd-{name}") for name in _LINES]
        for line in lines:
            line.layout.max_width = "97%"
        self.caption, self.price, self.words, self.message, self.error = lines
        self.history = History()
        self.shown: Progress | Painting | None = None
        style = ipywidgets.HTML(_STYLE, layout={"display": "none"})
        self.boxes = [style, self._lay_out(), self.history]

    @property
    def settings(self) -> Settings:
        """What the controls say now.

        Raises:
            ValueError: if a value does not fit.
        """
        values = {name: control.value for name, control in self.controls.items()}
        height, width = values.pop("size")
        return Settings(**values, height=height, width=width)

    def set_controls(self, settings: Settings) -> None:
        """Let the controls say this."""
        for name, control in self.controls.items():
            if name == "size":
                _choose_size(control, settings)
            else:
                control.value = getattr(settings, name)

    def show_waiting(self) -> None:
        """Say that a run begins; what stood here before is no longer what is painted."""
        self.shown = None
        self.caption.value = "Waiting for the first step."

    def show_progress(self, progress: Progress) -> None:
        """Show the clean guess of a step."""
        self.shown = progress
        self.picture.value = progress.png
        self.caption.value = f"Step {progress.describe()}"

    def show_painting(self, painting: Painting) -> None:
        """Show a finished picture and its settings."""
        self.shown = painting
        self.picture.value = painting.png
        seconds = "" if painting.seconds is None else f" · {painting.seconds:.1f} s"
        self.caption.value = html.escape(painting.settings.describe()) + seconds

    def show_stopped(self) -> None:
        """Say how far a run came, if it gave no picture."""
        if isinstance(self.shown, Painting):  # it was finished just now
            return
        where = f"after step {self.shown.describe()}" if self.shown else "before the first step"
        self.caption.value = f"Stopped {where}."

    def show_price(self, request: Request, seconds: float | None) -> None:
        """Say what a picture costs, in seconds as far as that is known."""
        about = "not measured yet" if seconds is None else f"about {seconds:.1f} s"
        self.price.value = f"Price: {request.price}, {about}"

    def show_words(self, trouble: Sequence[str]) -> None:
        """Say what the model can't read, one line for each trouble."""
        self.words.value = "<br>".join(map(html.escape, trouble))

    def show_message(self, message: str) -> None:
        """Say something that is no error."""
        self.message.value = html.escape(message)

    def show_error(self, error: Exception) -> None:
        """Say what went wrong."""
        self.error.value = describe_error(error)

    def _lay_out(self) -> ipywidgets.Widget:
        """Put controls and texts left, the picture right, or below where the page is narrow."""
        row = {"flex_flow": "row wrap"}
        buttons = ipywidgets.Box([*self.buttons.values(), self.load], layout=row)
        texts = [self.price, self.words, self.message, self.error]
        columns = [[*self.controls.values(), buttons, *texts], [self.picture, self.caption]]
        boxes = [
            ipywidgets.VBox(column, layout={"width": width, "max_width": "100%"})
            for column, width in zip(columns, _COLUMN_WIDTHS, strict=True)
        ]
        return ipywidgets.Box(boxes, layout=row)


class History(ipywidgets.Box):
    """The newest pictures, each with a button below it.

    The widgets are made once and filled again and again: a widget that is thrown away stays in
    memory until it is closed.

    Attributes:
        paintings: what is shown, newest first, at most eight.
        buttons: one for each place.
    """

    def __init__(self) -> None:
        self.paintings: list[Painting] = []
        self._pictures = [
            make_image("sd-thumbnail", _THUMBNAIL_WIDTH) for _ in range(MOST_REMEMBERED)
        ]
        self._labels = [ipywidgets.HTML() for _ in range(MOST_REMEMBERED)]
        self.buttons = [
            ipywidgets.Button(description="Restore", layout={"width": _THUMBNAIL_WIDTH})
            for _ in range(MOST_REMEMBERED)
        ]
        places = []
        for place in zip(self._pictures, self._labels, self.buttons, strict=True):
            places.append(ipywidgets.VBox(place, layout={"display": "none"}))
        for number, button in enumerate(self.buttons, start=1):
            button.add_class(f"sd-restore-{number}")
        super().__init__(places, layout={"flex_flow": "row wrap"})
        self.add_class("sd-history")

    def add(self, painting: Painting) -> None:
        """Put a painting first; one with the same settings makes way, then the oldest."""
        others = [one for one in self.paintings if one.settings != painting.settings]
        self.paintings = [painting, *others][:MOST_REMEMBERED]
        for index, shown in enumerate(self.paintings):
            settings = shown.settings
            self._pictures[index].value = shown.png
            self._labels[index].value = (
                f"guidance {settings.guidance_scale:g}<br>{settings.num_inference_steps} steps"
                f"<br>seed {settings.seed}"
            )
            self.buttons[index].tooltip = settings.describe()
            self.children[index].layout.display = "flex"

    def on_pick(self, callback: Callable[[Painting], None]) -> None:
        """Have a function called with the painting whose button is pressed."""
        for button in self.buttons:
            button.on_click(lambda pressed: callback(self.paintings[self.buttons.index(pressed)]))


def _make_controls(
    settings: Settings, sizes: Sequence[tuple[int, int]]
) -> dict[str, ipywidgets.Widget]:
    """Make one control for each setting, in the order of the page; height and width share one.

    Text and sliders report when Enter is pressed or the handle is released, not before.
    """
    late = {"continuous_update": False}
    controls = {
        "prompt": ipywidgets.Text(value=settings.prompt, **late),
        "negative_prompt": ipywidgets.Text(value=settings.negative_prompt, **late),
        "guidance_scale": make_guidance_slider(settings.guidance_scale, **late),
        "num_inference_steps": ipywidgets.IntSlider(
            value=settings.num_inference_steps, min=1, max=MOST_STEPS, **late
        ),
        "seed": ipywidgets.BoundedIntText(value=settings.seed, min=0, max=HIGHEST_INTEGER, **late),
        "scheduler": ipywidgets.Dropdown(options=list(SCHEDULERS), value=settings.scheduler),
        "size": ipywidgets.Dropdown(options=[_write_size(*size) for size in sizes]),
    }
    for name, control in controls.items():
        control.description = {"num_inference_steps": "steps"}.get(name, name.replace("_", " "))
        control.style.description_width = "110px"
        control.layout.width, control.layout.max_width = CONTROL_WIDTH, "100%"
        control.add_class(f"sd-{name.replace('_', '-')}")
    _choose_size(controls["size"], settings)
    return controls


def _make_button(name: str, description: str, icon: str, tooltip: str) -> ipywidgets.Button:
    """Make a button with a class of its own."""
    button = ipywidgets.Button(
        description=description, icon=icon, tooltip=tooltip, layout={"width": "82px"}
    )
    button.add_class(f"sd-{name}")
    return button


def _choose_size(control: ipywidgets.Dropdown, settings: Settings) -> None:
    """Set the control of the size, and give it one more entry where it has none that fits."""
    size = (settings.height, settings.width)
    if size not in [value for _, value in control.options]:
        control.options = [*control.options, _write_size(*size)]
    control.value = size


def _write_size(height: int, width: int) -> tuple[str, tuple[int, int]]:
    """Give the entry of a size: people write the width first."""
    return f"{width} x {height}", (height, width)
