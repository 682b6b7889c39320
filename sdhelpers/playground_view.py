"""What the playground looks like: its widgets and their places, without what they do."""

import html
from collections.abc import Sequence

import ipywidgets
from PIL import Image

from sdhelpers.painter import Painting, Progress
from sdhelpers.panes import LivePage, describe_error
from sdhelpers.playground_controls import History, choose_size, make_button, make_controls
from sdhelpers.playground_state import Settings
from sdhelpers.png import encode_png

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
