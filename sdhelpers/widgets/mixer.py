"""The guidance mixer: a stored step's two predictions, mixed anew at once."""

import asyncio
import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

import ipywidgets
import torch

from sdhelpers.images import tensor_to_images
from sdhelpers.latents import LinearPreview, decode_latents, fit_linear_preview, latents_to_rgb
from sdhelpers.show.pictures import show_film_strip
from sdhelpers.steps import Step, check_both_predictions, pick_picture, remix_step
from sdhelpers.validation import check_guidance_scale
from sdhelpers.widgets.frames import enlarge
from sdhelpers.widgets.panes import (
    CONTROL_WIDTH,
    HIGHEST_GUIDANCE_SCALE,
    TWIN_INCHES,
    LivePage,
    describe_error,
    encode_png,
    make_guidance_slider,
    make_image,
    make_pane,
    make_row,
    make_text,
)
from sdhelpers.widgets.threads import release_cpu_threads

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

_SIDE = "256px"
_MOST_REMEMBERED = 32  # decoded pictures

# ipywidgets reports a slider's moves, not its release: resting this long counts as released.
_RELEASED_AFTER = 0.25  # seconds


class GuidanceMixer(LivePage):
    """The clean guess of a step for any guidance scale, as a preview and decoded.

    Attributes:
        steps: those that can be mixed.
        mixed: the Step as mixed for the present position.
        guidance_scale: ipywidgets.FloatSlider, 0 to 20.
        step: ipywidgets.IntSlider over the steps, from 1; hidden if there is only one.
        preview, decoded: ipywidgets.Image.
        caption, decoded_caption: ipywidgets.HTML.
    """

    def __init__(
        self,
        steps: list[Step],
        vae: "AutoencoderKL",
        linear_preview: LinearPreview,
        guidance_scale: float,
    ) -> None:
        self.steps = steps
        self._vae = vae
        self._linear_preview = linear_preview
        self._remembered: dict[tuple[int, float], bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._make_sliders(guidance_scale)
        self.preview = make_image("sd-mixer-preview-image", _SIDE)
        self.decoded = make_image("sd-mixer-decoded-image", _SIDE)
        self.caption = make_text("sd-mixer-caption")
        self.decoded_caption = make_text("sd-mixer-decoded-caption")
        panes = make_row(
            make_pane("clean guess, preview", "sd-mixer-preview", self.preview),
            make_pane(
                "clean guess, decoded", "sd-mixer-decoded", self.decoded, self.decoded_caption
            ),
        )
        super().__init__([self.guidance_scale, self.step, self.caption, panes])
        self.add_class("sd-guidance-mixer")
        for control in (self.guidance_scale, self.step):
            control.observe(lambda change: self._move(), names="value")
        self._show_preview()
        self.decode()

    def _make_sliders(self, guidance_scale: float) -> None:
        """Make the sliders of scales and of steps, which report every move."""
        style = {"description_width": "initial"}
        self.guidance_scale = make_guidance_slider(
            guidance_scale,
            description="guidance scale",
            style=style,
            layout={"width": CONTROL_WIDTH},
        )
        self.guidance_scale.add_class("sd-mixer-guidance-scale")
        is_single = len(self.steps) == 1
        self.step = ipywidgets.IntSlider(
            value=1,
            min=1,
            max=len(self.steps),
            description="step",
            style=style,
            layout={"width": CONTROL_WIDTH, "display": "none" if is_single else None},
        )
        self.step.add_class("sd-mixer-step")

    def decode(self) -> None:
        """Decode the clean guess for the present position, now; an error becomes the caption."""
        self._forget_timer()
        position = (self.step.value, self.guidance_scale.value)
        try:
            if position not in self._remembered:
                pixel_values = decode_latents(self._vae, self.mixed.pred_original_sample)
                if len(self._remembered) >= _MOST_REMEMBERED:
                    self._remembered.pop(next(iter(self._remembered)))
                self._remembered[position] = encode_png(tensor_to_images(pixel_values)[0])
        except Exception as error:  # shown where the reader looks, not lost in a log
            self.decoded_caption.value = describe_error(error)
            return
        finally:
            release_cpu_threads()
        self.decoded.value = self._remembered[position]
        self.decoded_caption.value = html.escape(self.describe())

    def close(self) -> None:
        """Close the widget; nothing is decoded any more."""
        self._forget_timer()
        super().close()

    def _move(self) -> None:
        """Follow a control: the preview at once, the decoded picture once the control rests."""
        self._forget_timer()
        self._show_preview()
        if (self.step.value, self.guidance_scale.value) in self._remembered:
            self.decode()
            return
        self.decoded_caption.value = html.escape(f"{self.describe()}: decoded on release")
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # a plain script, where nobody drags: it calls decode()
            return
        self._timer = loop.call_later(_RELEASED_AFTER, self.decode)

    def _show_preview(self) -> None:
        """Mix, and show the preview of the clean guess."""
        step = self.steps[self.step.value - 1]
        self.mixed = remix_step(step, self.guidance_scale.value)
        pixel_values = latents_to_rgb(self.mixed.pred_original_sample, self._linear_preview)
        self.preview.value = encode_png(enlarge(tensor_to_images(pixel_values)[0]))
        size = self.mixed.noise_pred.float().square().mean().sqrt().item()
        self.caption.value = html.escape(
            f"{self.describe()}; root mean square of the noise prediction {size:.3f}"
        )

    def describe(self) -> str:
        """Say what is shown."""
        return (
            f"guidance scale {self.guidance_scale.value:g}, step {self.mixed.index + 1}, "
            f"sigma {self.mixed.sigma:.3g}"
        )

    def _forget_timer(self) -> None:
        """Call off a decoding that waits for the control to rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def give_picture(self) -> bytes:
        """Give the present picture as a PNG file."""
        return self.decoded.value


def guidance_mixer(
    step: Step | Sequence[Step],
    vae: "AutoencoderKL",
    *,
    preview: LinearPreview | None = None,
    guidance_scale: float = 7.5,
    picture: int = 0,
) -> GuidanceMixer:
    """Make a slider that mixes a step's two stored predictions anew, without the UNet.

    The clean guess follows the slider as a linear preview, and is decoded when the slider comes
    to rest. The static twin is `show_guidance_mix`.

    Args:
        step: a Step of a run whose guidance_scale was neither 0 nor 1; or a whole run of them,
            for a second slider that chooses one.
        vae: decodes the clean guess.
        preview: of that VAE; None: fitted here.
        guidance_scale: to begin with, 0 to 20.
        picture: which one of the batch.

    Returns:
        A widget: make it the last line of a cell to show it.

    Raises:
        ValueError: if a step lacks a prediction, the scale is out of range, or there is no such
            picture.
    """
    steps = pick_picture([step] if isinstance(step, Step) else step, picture)
    for each in steps:
        check_both_predictions(each)
    check_guidance_scale(guidance_scale)
    if not 0 <= guidance_scale <= HIGHEST_GUIDANCE_SCALE:
        raise ValueError(
            f"guidance_scale must lie on the slider, 0 to {HIGHEST_GUIDANCE_SCALE:g}, got "
            f"{guidance_scale!r}. remix_step mixes any other."
        )
    preview = fit_linear_preview(vae) if preview is None else preview
    return GuidanceMixer(steps, vae, preview, float(guidance_scale))


def show_guidance_mix(
    step: Step,
    vae: "AutoencoderKL",
    scales: Sequence[float] = (0, 1, 3, 7.5, 12, 20),
    *,
    preview: LinearPreview | None = None,
    picture: int = 0,
) -> None:
    """Show what `guidance_mixer` mixes: a step's clean guess for several guidance scales.

    Args:
        step: a Step of a run whose guidance_scale was neither 0 nor 1.
        vae: decodes the clean guesses.
        scales: the guidance scales.
        preview: of that VAE; None: fitted here.
        picture: which one of the batch.

    Raises:
        ValueError: if the step lacks a prediction, or there is no scale or no such picture.
    """
    if len(scales) == 0:
        raise ValueError("scales must hold one guidance scale or more, got none.")
    (step,) = pick_picture([step], picture)
    mixed = [remix_step(step, scale) for scale in scales]
    guesses = torch.cat([each.pred_original_sample for each in mixed])
    preview = fit_linear_preview(vae) if preview is None else preview
    rows = {
        "preview": latents_to_rgb(guesses, preview),
        "decoded": decode_latents(vae, guesses),
    }
    show_film_strip(rows, [f"guidance scale {scale:g}" for scale in scales], inches=TWIN_INCHES)
