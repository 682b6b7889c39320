"""The trajectory explorer: Play, a slider and arrow keys over a stored run."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets

from sdhelpers.latents import LinearPreview
from sdhelpers.show.charts import show_figure
from sdhelpers.show.pictures import pick_evenly, show_film_strip
from sdhelpers.steps import Step, pick_picture
from sdhelpers.validation import is_count
from sdhelpers.widgets.frames import (
    Frame,
    draw_run_curves,
    frame_to_image,
    make_frames,
    make_trajectory_gif,
    save_trajectory_gif,
)
from sdhelpers.widgets.panes import (
    LivePage,
    describe_error,
    encode_png,
    make_image,
    make_pane,
    make_row,
    make_text,
)

if TYPE_CHECKING:
    from pathlib import Path

    from diffusers import AutoencoderKL

_SIDE, _CURVES_WIDTH = "200px", "412px"
_STEP_INCHES = 1.2  # width of one picture
_PREDICTION, _DIFFERENCE = "noise prediction", "guidance difference"
_CAPTIONS = {
    _PREDICTION: "what the step took for noise, 4 channels",
    _DIFFERENCE: "text minus unconditional, 4 channels",
}


class TrajectoryExplorer(LivePage):
    """Four panes that show one step of a run, and controls that choose the step.

    Attributes:
        frames: one for each step, drawn beforehand.
        play: ipywidgets.Play; the browser moves it and the slider together.
        slider: ipywidgets.IntSlider, 1 to the number of steps; arrow keys move it.
        shown_noise: ipywidgets.ToggleButtons: which noise is shown.
        images: name -> ipywidgets.Image.
        caption: ipywidgets.HTML.
    """

    def __init__(self, frames: list[Frame], milliseconds: int) -> None:
        self.frames = frames
        self._pngs = [_encode_frame(frame) for frame in frames]
        self.milliseconds = milliseconds
        names = ("latents", "channels", "clean-guess", "noise", "curves")
        self.images = {
            name: make_image(
                f"sd-explorer-{name}-image", _CURVES_WIDTH if name == "curves" else _SIDE
            )
            for name in names
        }
        self.caption = make_text("sd-explorer-caption")
        self._make_moving_controls()
        self._make_export_controls()
        super().__init__(
            [
                make_row(self.play, self.slider, self.shown_noise),
                self.caption,
                self._arrange_panes(),
                make_row(self.file_name, self.save_button, self.message),
            ]
        )
        self.add_class("sd-trajectory-explorer")
        self.slider.observe(lambda change: self._show(), names="value")
        self.shown_noise.observe(lambda change: self._show(), names="value")
        self.save_button.on_click(lambda button: self._save())
        self._show()

    def to_gif(self) -> bytes:
        """Give the whole run as the bytes of an animated GIF."""
        return make_trajectory_gif(self.frames, milliseconds=self.milliseconds)

    def save_gif(self, path: "str | Path") -> None:
        """Write the whole run as an animated GIF; errors as in `save_trajectory_gif`."""
        save_trajectory_gif(path, self.frames, milliseconds=self.milliseconds)

    def _make_moving_controls(self) -> None:
        """Make what chooses the step and the noise."""
        last = len(self.frames)
        self.play = ipywidgets.Play(
            value=1, min=1, max=last, interval=self.milliseconds, description="play the run"
        )
        self.play.add_class("sd-explorer-play")
        self.slider = ipywidgets.IntSlider(
            value=1, min=1, max=last, description="step", layout={"width": "320px"}
        )
        self.slider.add_class("sd-explorer-step")
        # In the browser, so that playing needs no answer from the kernel to move on.
        self._link = ipywidgets.jslink((self.play, "value"), (self.slider, "value"))
        has_difference = self.frames[0].guidance_difference is not None
        self.shown_noise = ipywidgets.ToggleButtons(
            options=[_PREDICTION, _DIFFERENCE] if has_difference else [_PREDICTION],
            description="noise",
            style={"button_width": "150px", "description_width": "initial"},
        )
        self.shown_noise.add_class("sd-explorer-shown-noise")

    def _make_export_controls(self) -> None:
        """Make what saves the run."""
        self.file_name = ipywidgets.Text(value="trajectory.gif", description="file")
        self.file_name.add_class("sd-explorer-file")
        self.save_button = ipywidgets.Button(description="Save as GIF", icon="save")
        self.save_button.add_class("sd-explorer-save")
        self.message = make_text("sd-explorer-message")

    def _arrange_panes(self) -> ipywidgets.Box:
        """Lay out the four panes."""
        self._noise_caption = make_text("sd-explorer-noise-caption")
        return make_row(
            make_pane(
                "latents: preview and 4 channels",
                "sd-explorer-latents",
                make_row(self.images["latents"], self.images["channels"]),
            ),
            make_pane("clean guess, decoded", "sd-explorer-guess", self.images["clean-guess"]),
            make_pane(
                "noise",
                "sd-explorer-noise",
                self.images["noise"],
                self._noise_caption,
            ),
            make_pane("norms and sigma", "sd-explorer-curves", self.images["curves"]),
        )

    def _show(self) -> None:
        """Show the step that the slider is at: nothing is computed, only bytes are handed on."""
        index = self.slider.value - 1
        pngs = self._pngs[index]
        for name in ("latents", "channels", "clean-guess", "curves"):
            self.images[name].value = pngs[name]
        self.images["noise"].value = pngs[self.shown_noise.value]
        self._noise_caption.value = _CAPTIONS[self.shown_noise.value]
        self.caption.value = html.escape(self.frames[index].caption)

    def _save(self) -> None:
        """Save under the name in the box, and say what came of it."""
        try:
            self.save_gif(self.file_name.value)
        except Exception as error:  # shown where the reader looks, not lost in a log
            self.message.value = describe_error(error)
            return
        self.message.value = html.escape(f"saved {self.file_name.value}")

    def describe(self) -> str:
        """Say what can be moved, and where it stands."""
        return self.frames[self.slider.value - 1].caption

    def give_picture(self) -> bytes:
        """Give the present picture as a PNG file."""
        return encode_png(frame_to_image(self.frames[self.slider.value - 1]))


def trajectory_explorer(
    steps: Sequence[Step],
    vae: "AutoencoderKL",
    *,
    preview: LinearPreview | None = None,
    picture: int = 0,
    milliseconds: int = 300,
) -> TrajectoryExplorer:
    """Make controls that walk through a stored run.

    All steps are drawn here, once: this decodes one picture for each. Moving then costs no call
    of the UNet or the VAE. The static twin is `show_trajectory`.

    Args:
        steps: a run, such as `list(denoise(...))`.
        vae: decodes the clean guesses.
        preview: of that VAE; None: fitted here.
        picture: which one of the batch.
        milliseconds: of each step while it plays, and in a saved GIF.

    Returns:
        A widget: make it the last line of a cell to show it.

    Raises:
        ValueError: if there are no steps, no such picture, or the time is no positive integer.
    """
    if not is_count(milliseconds):
        raise ValueError(f"milliseconds must be a positive integer, got {milliseconds!r}.")
    return TrajectoryExplorer(
        make_frames(steps, vae, preview=preview, picture=picture), milliseconds
    )


def show_trajectory(
    steps: Sequence[Step],
    vae: "AutoencoderKL",
    *,
    preview: LinearPreview | None = None,
    picture: int = 0,
    num_columns: int = 6,
) -> None:
    """Show what `trajectory_explorer` walks through: a film strip, and curves of the norms.

    Args:
        steps: a run, such as `list(denoise(...))`.
        vae: decodes the clean guesses that are shown.
        preview: of that VAE; None: fitted here.
        picture: which one of the batch.
        num_columns: how many steps are shown, spread evenly from the first to the last.

    Raises:
        ValueError: if there are no steps, no such picture, or num_columns is not positive.
    """
    run = pick_picture(steps, picture)
    chosen = pick_evenly(range(len(run)), num_columns)
    frames = make_frames(run, vae, preview=preview, chosen=chosen)
    rows = {
        "latents": [frame.latents for frame in frames],
        "channels": [frame.channels for frame in frames],
        "clean guess": [frame.clean_guess for frame in frames],
        "noise prediction": [frame.noise_pred for frame in frames],
    }
    if frames[0].guidance_difference is not None:
        rows["text - uncond"] = [frame.guidance_difference for frame in frames]
    titles = [f"step {run[index].index + 1}\nsigma {run[index].sigma:.2f}" for index in chosen]
    show_film_strip(rows, titles, inches=_STEP_INCHES)
    show_figure(draw_run_curves(run))


def _encode_frame(frame: Frame) -> dict[str, bytes]:
    """Give the PNG files that a step shows."""
    images = {
        "latents": frame.latents,
        "channels": frame.channels,
        "clean-guess": frame.clean_guess,
        "curves": frame.curves,
        _PREDICTION: frame.noise_pred,
        _DIFFERENCE: frame.guidance_difference,
    }
    return {name: encode_png(image) for name, image in images.items() if image is not None}
