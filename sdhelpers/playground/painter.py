"""Paint step by step for the playground, remember what can be remembered, and name the price."""

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from sdhelpers.guidance import join_embeddings
from sdhelpers.images import tensor_to_image
from sdhelpers.latents import (
    LinearPreview,
    decode_latents,
    fit_linear_preview,
    initial_latents,
    latents_to_rgb,
    make_generator,
    picture_size,
    vae_scale_factor,
)
from sdhelpers.model.device import execution_device
from sdhelpers.model.memory import explained_memory_errors
from sdhelpers.playground.settings import Settings, encode_painting
from sdhelpers.sampling import denoise
from sdhelpers.schedule import make_plan, make_scheduler
from sdhelpers.text import find_lost_words, token_table, unknown_words
from sdhelpers.widgets.panes import encode_png

if TYPE_CHECKING:
    from sdhelpers.model.parts import Components

# A third of the usual number: on pictures of the tiny model the preview errs by 21.9 levels of 256
# with 8 and by 22.0 with 24, and the reader waits for it only once.
NUM_PREVIEW_IMAGES = 8

# Multiples of the trained height and width.
_SHAPES = ((0.75, 0.75), (1, 1), (1, 1.5), (1.5, 1), (1.5, 1.5))
_MOST_EMBEDDINGS = 32  # prompts; 8 MB in all for Stable Diffusion 1


@dataclass(frozen=True)
class Request:
    """Settings, checked against the model, with both prompts as ids."""

    settings: Settings
    prompt_ids: tuple[int, ...]
    negative_ids: tuple[int, ...]
    num_unet_calls: int

    @property
    def price(self) -> str:
        """What a run costs, on any machine."""
        return f"{self.num_unet_calls} UNet call{'s' * (self.num_unet_calls != 1)}"


@dataclass(frozen=True)
class Progress:
    """One step of a run: `png` holds the clean guess, one pixel for each latent cell."""

    request: Request
    index: int
    sigma: float
    seconds: float
    png: bytes

    def describe(self) -> str:
        """Write step, sigma and seconds."""
        return (
            f"{self.index + 1} of {self.request.num_unet_calls} · sigma {self.sigma:.2f} · "
            f"{self.seconds:.1f} s"
        )


@dataclass(frozen=True)
class Painting:
    """A finished picture: `png` carries the settings; seconds is None for one from a file."""

    settings: Settings
    png: bytes
    seconds: float | None


class Painter:
    """Paint with one model.

    Attributes:
        components: the five parts, left unchanged.
    """

    def __init__(self, components: "Components") -> None:
        self.components = components
        # A copy: JupyterLab may run a control's callbacks beside a cell, in a subshell's thread.
        self._tokenizer = copy.deepcopy(components.tokenizer)
        self._preview: LinearPreview | None = None
        self._embeddings: dict[tuple[int, ...], torch.Tensor] = {}
        self._seconds_per_pixel: float | None = None

    def prepare(self, settings: Settings) -> Request:
        """Check settings against the model, and turn the prompts into ids.

        The tokenizer is used here, not in `paint`, which runs in another thread: two threads in
        one tokenizer can disturb each other.

        Raises:
            ValueError: if the scheduler, the size or the number of steps does not fit the model.
        """
        _, _, unet, vae, own_scheduler = self.components
        tokenizer = self._tokenizer
        picture_size(unet, vae, settings.height, settings.width)
        scheduler = make_scheduler(settings.scheduler, own_scheduler.config)
        plan = make_plan(scheduler, settings.num_inference_steps)
        return Request(
            settings=settings,
            prompt_ids=tuple(row.input_id for row in token_table(tokenizer, settings.prompt)),
            negative_ids=tuple(
                row.input_id for row in token_table(tokenizer, settings.negative_prompt)
            ),
            num_unet_calls=len(plan.timesteps),
        )

    def suggest_sizes(self) -> list[tuple[int, int]]:
        """Give (height, width) in pixels around the size that the model was trained for."""
        _, _, unet, vae, _ = self.components
        factor = vae_scale_factor(vae)
        trained_height, trained_width = picture_size(unet, vae)
        cells = [
            (round(trained_height * down / factor), round(trained_width * across / factor))
            for down, across in _SHAPES
        ]
        return [(height * factor, width * factor) for height, width in dict.fromkeys(cells)]

    def paint(self, request: Request) -> Iterator[Progress | Painting]:
        """Walk from noise to a picture.

        Yields:
            A Progress for each step, then the Painting: the same picture, to the last bit, that
            `sampling.generate` gives for these settings.

        Raises:
            FloatingPointError: at the step that makes latents NaN or infinite.
            torch.OutOfMemoryError: with a note on what helps.
        """
        with explained_memory_errors():
            yield from self._walk_from_noise(request)

    def _walk_from_noise(self, request: Request) -> Iterator[Progress | Painting]:
        """Run the loop with a preview of each step, and decode what it ends with."""
        started = time.perf_counter()
        settings, (_, _, unet, vae, own_scheduler) = request.settings, self.components
        if self._preview is None:
            self._preview = fit_linear_preview(vae, num_images=NUM_PREVIEW_IMAGES)
        generator = make_generator(settings.seed)
        size = {"height": settings.height, "width": settings.width}
        latents = initial_latents(unet, vae, generator, **size)
        text_embeddings = join_embeddings(
            self._encode(request.negative_ids), self._encode(request.prompt_ids)
        )
        steps = denoise(
            unet,
            make_scheduler(settings.scheduler, own_scheduler.config),
            latents,
            text_embeddings.to(latents),
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            generator=generator,
        )
        called = time.perf_counter()
        for step in steps:
            answered = time.perf_counter()
            self._seconds_per_pixel = (answered - called) / _num_pixels(settings)
            latents = step.prev_sample
            clean_guess = latents_to_rgb(step.pred_original_sample, self._preview)
            yield Progress(
                request=request,
                index=step.index,
                sigma=step.sigma,
                seconds=time.perf_counter() - started,
                png=encode_png(tensor_to_image(clean_guess)),
            )
            called = time.perf_counter()
        image = tensor_to_image(decode_latents(vae, latents))
        yield Painting(settings, encode_painting(image, settings), time.perf_counter() - started)

    def estimate_seconds(self, request: Request) -> float | None:
        """Estimate what the UNet calls of a run take, from the last call that was measured.

        Returns:
            Seconds; None before the first call. Taken as proportional to the number of pixels
            and of predictions per call: one for guidance 0 and 1, otherwise two.
        """
        if self._seconds_per_pixel is None:
            return None
        return self._seconds_per_pixel * _num_pixels(request.settings) * request.num_unet_calls

    def find_word_trouble(self, settings: Settings) -> list[str]:
        """Say in kind words what the model can't read in the prompts; plain text, not escaped."""
        tokenizer, text_encoder = self._tokenizer, self.components.text_encoder
        trouble = []
        for name in ("prompt", "negative_prompt"):
            prompt = getattr(settings, name)
            title = f"The {name.replace('_', ' ')}"
            unknown = unknown_words(tokenizer, text_encoder, prompt)
            if unknown:
                trouble.append(
                    f"{title} has words that this model never saw in training: {_quote(unknown)}. "
                    "Such a word takes a place, says nothing, and can spoil the picture: try a "
                    "simpler one."
                )
            lost = find_lost_words(tokenizer, prompt)
            if lost:
                trouble.append(
                    f"{title} is longer than the {tokenizer.model_max_length} tokens that the "
                    f'model reads. It never sees the end: "{lost}".'
                )
        return trouble

    @torch.no_grad()
    def _encode(self, input_ids: tuple[int, ...]) -> torch.Tensor:
        """Give the text embeddings (1, 77, D) of one prompt, computed once."""
        if input_ids not in self._embeddings:
            text_encoder = self.components.text_encoder
            batch = torch.tensor([input_ids], device=execution_device(text_encoder))
            while len(self._embeddings) >= _MOST_EMBEDDINGS:
                del self._embeddings[next(iter(self._embeddings))]
            self._embeddings[input_ids] = text_encoder(batch).last_hidden_state
        return self._embeddings[input_ids]


def _num_pixels(settings: Settings) -> int:
    """Count the pixels of all predictions that one UNet call makes."""
    num_predictions = 1 if settings.guidance_scale in (0, 1) else 2
    return num_predictions * settings.height * settings.width


def _quote(words: list[str]) -> str:
    """Write "a", "b" and "c"."""
    quoted = [f'"{word}"' for word in words]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)
