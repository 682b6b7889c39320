"""The playground: move a control, watch the picture form, stop it, keep it.

The widgets' callbacks run in the kernel's threads and only ask; the painting is done by a `Runner`,
so the kernel stays free, and the newest wish wins.
"""

import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sdhelpers.latents import picture_size
from sdhelpers.playground.painter import Painter, Painting, Progress, Request
from sdhelpers.playground.settings import (
    START_PROMPT,
    Settings,
    fit_settings,
    read_settings,
    write_new_file,
)
from sdhelpers.playground.view import PlaygroundView
from sdhelpers.widgets.threads import Runner, release_cpu_threads

if TYPE_CHECKING:
    from sdhelpers.model.parts import Components

_MOST_UNASKED = 60.0  # seconds: what is dearer waits for the button
_SEEDS = 10**6  # on the dice


def playground(
    components: "Components",
    prompt: str = START_PROMPT,
    *,
    negative_prompt: str = "",
    guidance_scale: float = 7.5,
    num_inference_steps: int = 20,
    seed: int = 0,
    scheduler: str | None = None,
    height: int | None = None,
    width: int | None = None,
    folder: str | Path = ".",
) -> "Playground":
    """Make a page of controls that paints in the background while they are moved.

    Args:
        components: the five parts, as `load_components` gives them. Left unchanged.
        prompt: what the page starts with; so for all that follows.
        negative_prompt: what to push away from; "" is the empty prompt.
        guidance_scale: [0, 20].
        num_inference_steps: [1, 100].
        seed: [0, 2**53).
        scheduler: a name of `schedule.SCHEDULERS`; None: the model's own, or else the first.
        height: in pixels, a multiple of the VAE's factor; None: the size of training.
        width: likewise.
        folder: where the Save button writes.

    Returns:
        A widget: make it the last line of a cell to show it. It begins to paint at once.

    Raises:
        ValueError: if an argument does not fit.
    """
    settings = fit_settings(
        components,
        prompt=prompt,
        negative_prompt=negative_prompt,
        guidance_scale=guidance_scale,
        num_inference_steps=num_inference_steps,
        seed=seed,
        scheduler=scheduler,
        height=height,
        width=width,
    )
    return Playground(components, settings, Path(folder))


class Playground(PlaygroundView):
    """What `playground` gives; the widgets are attributes of `PlaygroundView`.

    Attributes:
        painting: the finished picture that is shown; None while there is none.
    """

    def __init__(self, components: "Components", settings: Settings, folder: Path) -> None:
        self._painter = Painter(components)
        self._runner = Runner(self._painter.paint, self._show, self._fail)
        self._folder = folder
        self._is_restoring = False
        self._turn = threading.RLock()  # reentrant: rolling the dice moves a control
        self._request: Request | None = None
        self._progress: Progress | None = None
        self.painting: Painting | None = None
        trained_side, _ = picture_size(components.unet, components.vae)
        super().__init__(settings, trained_side)
        self._connect()
        self._move()

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

    def _connect(self) -> None:
        """Say what each control and button does."""
        for control in self.controls.values():
            control.observe(self._in_turn(lambda change: self._move()), names="value")
        self.buttons["dice"].on_click(self._in_turn(lambda button: self._roll()))
        self.buttons["paint"].on_click(self._in_turn(lambda button: self._move(is_asked=True)))
        self.buttons["stop"].on_click(self._in_turn(lambda button: self._stop()))
        self.buttons["save"].on_click(self._in_turn(lambda button: self._save()))
        self.load.observe(self._in_turn(lambda change: self._load(change["new"])), names="value")
        self.history.on_pick(self._in_turn(self._restore))

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
            self._prepare(self.settings)
            seconds = self._painter.estimate_seconds(self._request)
            if seconds is not None and seconds > _MOST_UNASKED and not is_asked:
                self.message.value = "Press Paint to begin."
                return
            self.painting = self._progress = None
            self.caption.value = "Waiting for the first step."
            release_cpu_threads()  # the worker's team is to be the only one
            self._runner.submit(self._request)
        except Exception as error:  # shown where the reader looks, not lost in a log
            self.show_error(error)

    def _begin(self) -> None:
        """End what is at work; after this the worker shows nothing of it any more."""
        self._stop()
        self.error.value = self.message.value = ""

    def _prepare(self, settings: Settings) -> None:
        """Check settings against the model; show their price and the words it can't read."""
        self._request = self._painter.prepare(settings)
        self._show_price()
        self.show_words(self._painter.find_word_trouble(settings))

    def _roll(self) -> None:
        """Take another seed."""
        self.controls["seed"].value = secrets.randbelow(_SEEDS)

    def _stop(self) -> None:
        """Stop at the next step, and say where that was."""
        if self._runner.stop() and self.painting is None:  # or it was finished just now
            self._say_stopped()

    def _say_stopped(self) -> None:
        """Say how far a run came that gave no picture."""
        done = self._progress
        where = f"after step {done.describe()}" if done else "before the first step"
        self.caption.value = f"Stopped {where}."

    def _save(self) -> None:
        """Write the picture into a new file."""
        if self.painting is None:
            self.show_message("There is no finished picture to save yet.")
            return
        try:
            path = write_new_file(self._folder, self.painting.png)
        except OSError as error:
            self.show_error(error)
            return
        self.show_message(f"Saved as {path}, with its settings inside.")

    def _load(self, uploaded: dict | tuple) -> None:
        """Restore what was saved."""
        # ipywidgets 7 gives name -> file, 8 a tuple of files.
        files = list(uploaded.values() if isinstance(uploaded, dict) else uploaded)
        if not files:
            return
        png = bytes(files[0]["content"])
        if isinstance(uploaded, tuple):
            self.load.value = ()  # or the same file could not be loaded again
        try:
            painting = Painting(read_settings(png), png, seconds=None)
            self._restore(painting)
            self.history.add(painting)
        except Exception as error:
            self.show_error(error)

    def _restore(self, painting: Painting) -> None:
        """Set the controls to what a picture was painted with, and show it; nothing is painted."""
        self._painter.prepare(painting.settings)  # before any change: a file may not fit the model
        self._begin()
        self._is_restoring = True
        try:
            self.set_controls(painting.settings)
        finally:
            self._is_restoring = False
        self._prepare(painting.settings)
        self._hang(painting)

    # The worker's side, called with each step; `_move` waits while one of these is at work.

    def _fail(self, error: Exception) -> None:
        """Show what ended a run."""
        if self.painting is None:
            self._say_stopped()
        self.show_error(error)

    def _show(self, item: Progress | Painting) -> None:
        """Show a step, or the picture."""
        if isinstance(item, Painting):
            self.history.add(item)  # before the caption says that it is there
            self._hang(item)
            self._show_price()
            return
        self._progress = item
        self.show_progress(item)
        if item.index == 0:
            self._show_price()  # in seconds, if this was the first call of all

    def _hang(self, painting: Painting) -> None:
        """Show a finished picture, and remember which it is."""
        self.painting = painting
        self.show_painting(painting)

    def _show_price(self) -> None:
        """Say what the present settings cost, as far as that is known."""
        seconds = self._painter.estimate_seconds(self._request)
        self.show_price(self._request.num_unet_calls, seconds)
