"""What the playground looks like: its controls, its history, its texts and its picture."""

import html
from collections.abc import Callable, Sequence

import ipywidgets
from PIL import Image

from sdhelpers.playground.painter import Painting, Progress
from sdhelpers.playground.settings import HIGHEST_GUIDANCE_SCALE, HIGHEST_SEED, MOST_STEPS, Settings
from sdhelpers.schedule import SCHEDULERS
from sdhelpers.widgets.panes import LivePage, describe_error, encode_png

MOST_REMEMBERED = 8  # pictures
_CONTROL_WIDTH = "420px"
_THUMBNAIL_WIDTH = "96px"

# Multiples of the trained side, (height, width).
_SHAPES = ((0.75, 0.75), (1, 1), (1, 1.5), (1.5, 1), (1.5, 1.5))


def make_controls(settings: Settings, trained_side: int) -> dict[str, ipywidgets.Widget]:
    """Make one control for each setting; height and width share one.

    Args:
        settings: the values to start from.
        trained_side: of the pictures that the model was trained for, in pixels.

    Returns:
        Name -> control, in the order of the page. Text and sliders report when Enter is pressed
        or the handle is released, not before.
    """
    late = {"continuous_update": False}
    controls = {
        "prompt": ipywidgets.Text(value=settings.prompt, **late),
        "negative_prompt": ipywidgets.Text(value=settings.negative_prompt, **late),
        "guidance_scale": ipywidgets.FloatSlider(
            value=settings.guidance_scale,
            min=0,
            max=HIGHEST_GUIDANCE_SCALE,
            step=0.1,
            readout_format=".1f",
            **late,
        ),
        "num_inference_steps": ipywidgets.IntSlider(
            value=settings.num_inference_steps, min=1, max=MOST_STEPS, **late
        ),
        "seed": ipywidgets.BoundedIntText(value=settings.seed, min=0, max=HIGHEST_SEED, **late),
        "scheduler": ipywidgets.Dropdown(options=list(SCHEDULERS), value=settings.scheduler),
        "size": ipywidgets.Dropdown(options=_size_options(trained_side)),
    }
    for name, control in controls.items():
        control.description = {"num_inference_steps": "steps"}.get(name, name.replace("_", " "))
        control.style.description_width = "110px"
        control.layout.width, control.layout.max_width = _CONTROL_WIDTH, "100%"
        control.add_class(f"sd-{name.replace('_', '-')}")
    choose_size(controls["size"], settings)
    return controls


def choose_size(control: ipywidgets.Dropdown, settings: Settings) -> None:
    """Set the control of the size, and give it one more entry where it has none that fits."""
    size = (settings.height, settings.width)
    if size not in [value for _, value in control.options]:
        control.options = [*control.options, (_write_size(*size), size)]
    control.value = size


def make_button(name: str, description: str, icon: str, tooltip: str) -> ipywidgets.Button:
    """Make a button with a class of its own."""
    button = ipywidgets.Button(
        description=description, icon=icon, tooltip=tooltip, layout={"width": "82px"}
    )
    button.add_class(f"sd-{name}")
    return button


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
            ipywidgets.Image(format="png", layout={"width": _THUMBNAIL_WIDTH})
            for _ in range(MOST_REMEMBERED)
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


def _size_options(trained_side: int) -> list[tuple[str, tuple[int, int]]]:
    """List a few sizes around the one that the model was trained for."""
    sizes = [
        (round(trained_side * height), round(trained_side * width)) for height, width in _SHAPES
    ]
    return [(_write_size(*size), size) for size in sizes]


def _write_size(height: int, width: int) -> str:
    """Write a size as people do, the width first."""
    return f"{width} x {height}"


_PICTURE_WIDTH = "320px"
_COLUMN_WIDTHS = "450px", "400px"  # side by side on a page of 1280 pixels, below it at 800

# ipywidgets gives text the height of a button for each line.
_STYLE = "<style>.sd-playground .widget-html-content { line-height: 1.35; }</style>"
_LINES = ("caption", "price", "words", "message", "error")


class PlaygroundView(LivePage):
    """The page, and how things are written on it: text from outside is escaped here.

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
    """

    def __init__(self, settings: Settings, trained_side: int) -> None:
        self.controls = make_controls(settings, trained_side)
        self.buttons = {
            "dice": make_button("dice", "Dice", "random", "Take another seed"),
            "paint": make_button("paint", "Paint", "play", "Paint with these settings"),
            "stop": make_button("stop", "Stop", "stop", "Stop at the next step"),
            "save": make_button("save", "Save", "save", "Save as PNG, the settings inside"),
        }
        self.load = ipywidgets.FileUpload(
            accept=".png", multiple=False, description="Load", layout={"width": "94px"}
        )
        self.load.add_class("sd-load")
        self.picture = ipywidgets.Image(
            format="png",
            value=encode_png(Image.new("RGB", (1, 1), "#eeeeee")),
            layout={"width": _PICTURE_WIDTH},
        )
        self.picture.add_class("sd-picture")
        self.caption, self.price, self.words, self.message, self.error = map(_make_line, _LINES)
        self.history = History()
        style = ipywidgets.HTML(_STYLE, layout={"display": "none"})
        super().__init__([style, self._lay_out(), self.history])
        self.add_class("sd-playground")

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
                choose_size(control, settings)
            else:
                control.value = getattr(settings, name)

    def show_progress(self, progress: Progress) -> None:
        """Show the clean guess of a step."""
        self.picture.value = progress.png
        self.caption.value = f"Step {progress.describe()}"

    def show_painting(self, painting: Painting) -> None:
        """Show a finished picture and its settings."""
        self.picture.value = painting.png
        seconds = "" if painting.seconds is None else f" · {painting.seconds:.1f} s"
        self.caption.value = html.escape(painting.settings.describe()) + seconds

    def show_price(self, num_unet_calls: int, seconds: float | None) -> None:
        """Say what a picture costs."""
        about = "not measured yet" if seconds is None else f"about {seconds:.1f} s"
        calls = f"{num_unet_calls} UNet call{'s' * (num_unet_calls != 1)}"
        self.price.value = f"Price: {calls}, {about}"

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

    def describe(self) -> str:
        """Say what can be moved, and where it stands."""
        return ", ".join(f"{name} = {control.value}" for name, control in self.controls.items())

    def give_picture(self) -> bytes:
        """Give the present picture as a PNG file."""
        return self.picture.value


def _make_line(name: str) -> ipywidgets.HTML:
    """Make a place for text with a class of its own."""
    line = ipywidgets.HTML(layout={"max_width": "97%"})
    line.add_class(f"sd-{name}")
    return line
