"""The playground: move a control, watch the picture form, stop it, keep it.

The widgets' callbacks run in the kernel's threads and only ask; the painting is done by a `Runner`,
so the kernel stays free, and the newest wish wins.
"""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdhelpers.playground.painter import Painter, Painting, Progress, Request
from sdhelpers.playground.settings import (
    START_PROMPT,
    Settings,
    fit_settings,
    read_settings,
    write_new_file,
)
from sdhelpers.playground.view import View
from sdhelpers.widgets.panes import LivePage, describe_controls
from sdhelpers.widgets.threads import Runner, release_cpu_threads

if TYPE_CHECKING:
    from sdhelpers.model.parts import Components

_MOST_UNASKED = 60.0  # seconds: what is dearer waits for the button
_SEEDS = 10**6  # on the dice


def playground(
    components: "Components",
    prompt: str = START_PROMPT,
    *,
    folder: str | Path = ".",
    **settings: Any,
) -> "Playground":
    """Make a page of controls that paints in the background while they are moved.

    The static twin is `show_playground`.

    Args:
        components: the five parts, as `load_components` gives them. Left unchanged.
        prompt: what the page starts with; so for all settings.
        folder: where the Save button writes.
        settings: `negative_prompt`, by default the empty one; `guidance_scale` in [0, 20], by
            default 7.5; `num_inference_steps` in [1, 100], 20; `seed` in [0, 2**53), 0;
            `scheduler`, a name of `schedule.SCHEDULERS`, by default the model's own, or else the
            first; `height` and `width` in pixels, multiples of the VAE's factor, by default the
            size of training.

    Returns:
        A widget: make it the last line of a cell to show it. It begins to paint at once.

    Raises:
        ValueError: if an argument does not fit.
    """
    fitted = fit_settings(components, prompt=prompt, **settings)
    painter = Painter(components)
    painter.prepare(fitted)  # what does not fit the model makes no page
    return Playground(painter, fitted, Path(folder))


class Playground(LivePage):
    """What `playground` gives.

    Attributes:
        view: all that stands on the page, such as `view.caption`; these three are parts of it:
        controls: name of a setting -> ipywidgets control; height and width are one, "size".
        picture: ipywidgets.Image: the picture, or while a run is at work the clean guess.
        history: the last eight pictures; `history.paintings` are they and their settings.
    """

    def __init__(self, painter: Painter, settings: Settings, folder: Path) -> None:
        self._painter = painter
        self._runner = Runner(painter.paint, self._show, self._fail)
        self._folder = folder
        self._turn = threading.RLock()  # reentrant: rolling the dice moves a control
        self._is_restoring = False
        self.view = View(settings, painter.suggest_sizes())
        self.controls, self.picture = self.view.controls, self.view.picture
        self.history = self.view.history
        super().__init__(self.view.boxes)
        self.add_class("sd-playground")
        self._connect()
        self._move()

    @property
    def painting(self) -> Painting | None:
        """The finished picture that is shown; None while there is none."""
        return self.view.shown if isinstance(self.view.shown, Painting) else None

    def wait(self, timeout: float = 60.0) -> bool:
        """Wait until the picture is finished.

        Args:
            timeout: seconds, at most.

        Returns:
            True if no work is left; False if time was up.
        """
        return self._runner.wait(timeout)

    def close(self) -> None:
        """Stop, wait for the thread to end, and take the widget off the page."""
        self._runner.close()
        super().close()

    def describe(self) -> str:
        """Say what can be moved, and where it stands."""
        return describe_controls(self.controls)

    def give_picture(self) -> bytes:
        """Give the present picture as a PNG file."""
        return self.picture.value

    def _connect(self) -> None:
        """Say what each control and button does."""
        view = self.view
        for control in view.controls.values():
            control.observe(self._in_turn(lambda change: self._move()), names="value")
        view.buttons["dice"].on_click(self._in_turn(lambda button: self._roll()))
        view.buttons["paint"].on_click(self._in_turn(lambda button: self._move(is_asked=True)))
        view.buttons["stop"].on_click(self._in_turn(lambda button: self._stop()))
        view.buttons["save"].on_click(self._in_turn(lambda button: self._save()))
        view.load.observe(self._in_turn(lambda change: self._load(change["new"])), names="value")
        view.history.on_pick(self._in_turn(self._restore))

    def _in_turn(self, react: Callable) -> Callable:
        """Let a callback wait for the one at work: JupyterLab may use two threads of the kernel."""

        def wait_and_react(cause: object) -> None:
            with self._turn:
                react(cause)

        return wait_and_react

    # The kernel's side: nothing here calls a network.

    def _move(self, is_asked: bool = False) -> None:
        """Name the price of what the controls say, then paint that and nothing asked before."""
        if self._is_restoring:
            return
        self._begin()
        try:
            request = self._prepare(self.view.settings)
            seconds = self._painter.estimate_seconds(request)
            if seconds is not None and seconds > _MOST_UNASKED and not is_asked:
                self.view.show_message("Press Paint to begin.")
                return
            self.view.show_waiting()
            release_cpu_threads()  # the worker's team is to be the only one
            self._runner.submit(request)
        except Exception as error:  # shown where the reader looks, not lost in a log
            self.view.show_error(error)

    def _begin(self) -> None:
        """End what is at work; after this the worker shows nothing of it any more."""
        self._stop()
        self.view.error.value = self.view.message.value = ""

    def _prepare(self, settings: Settings) -> Request:
        """Check settings against the model; show their price and the words it can't read."""
        request = self._painter.prepare(settings)
        self._show_price(request)
        self.view.show_words(self._painter.find_word_trouble(settings))
        return request

    def _roll(self) -> None:
        """Take another seed."""
        self.controls["seed"].value = secrets.randbelow(_SEEDS)

    def _stop(self) -> None:
        """Stop at the next step, and say where that was."""
        if self._runner.stop():
            self.view.show_stopped()

    def _save(self) -> None:
        """Write the picture into a new file."""
        if self.painting is None:
            self.view.show_message("There is no finished picture to save yet.")
            return
        try:
            path = write_new_file(self._folder, self.painting.png)
        except OSError as error:
            self.view.show_error(error)
            return
        self.view.show_message(f"Saved as {path}, with its settings inside.")

    def _load(self, uploaded: dict | tuple) -> None:
        """Restore what was saved."""
        # ipywidgets 7 gives name -> file, 8 a tuple of files.
        files = list(uploaded.values() if isinstance(uploaded, dict) else uploaded)
        if not files:
            return
        png = bytes(files[0]["content"])
        if isinstance(uploaded, tuple):
            self.view.load.value = ()  # or the same file could not be loaded again
        try:
            painting = Painting(read_settings(png), png, seconds=None)
            self._restore(painting)
            self.history.add(painting)
        except Exception as error:
            self.view.show_error(error)

    def _restore(self, painting: Painting) -> None:
        """Set the controls to what a picture was painted with, and show it; nothing is painted."""
        self._painter.prepare(painting.settings)  # before any change: a file may not fit the model
        self._begin()
        self._is_restoring = True
        try:
            self.view.set_controls(painting.settings)
        finally:
            self._is_restoring = False
        self._prepare(painting.settings)
        self.view.show_painting(painting)

    # Both sides'.

    def _show_price(self, request: Request) -> None:
        """Say what a request costs, as far as that is known."""
        self.view.show_price(request, self._painter.estimate_seconds(request))

    # The worker's side, called with each step; `_move` waits while one of these is at work.

    def _show(self, item: Progress | Painting) -> None:
        """Show a step, or the picture."""
        if isinstance(item, Painting):
            self.history.add(item)  # before the caption says that it is there
            self.view.show_painting(item)
            return
        self.view.show_progress(item)
        if item.index in (0, item.request.num_unet_calls - 1):
            self._show_price(item.request)  # in seconds, as the call before this was measured

    def _fail(self, error: Exception) -> None:
        """Show what ended a run."""
        self.view.show_stopped()
        self.view.show_error(error)
