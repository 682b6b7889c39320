"""Short stored runs for the tests of live controls, and a counter of what the model is asked."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import ipywidgets
import numpy as np
from PIL import Image

from sdhelpers import denoise
from sdhelpers.guidance import join_embeddings
from sdhelpers.latents import initial_latents, make_generator
from sdhelpers.model.parts import Components
from sdhelpers.schedule import make_scheduler
from sdhelpers.steps import Step
from sdhelpers.text import encode_prompt
from tests.conftest import PROMPT

NASTY = "<img src=x onerror=alert(1)>"  # what a reader may type
ESCAPED = "&lt;img src=x onerror=alert(1)&gt;"


def make_run(
    components: Components,
    *,
    num_inference_steps: int = 4,
    guidance_scale: float = 7.5,
    batch_size: int = 1,
    scheduler: str = "K-LMS",
) -> list[Step]:
    """Give the steps of a short run."""
    text_embeddings, uncond_embeddings = encode_prompt(
        components.tokenizer, components.text_encoder, [PROMPT] * batch_size
    )
    noise = initial_latents(
        components.unet, components.vae, make_generator(0), batch_size=batch_size
    )
    steps = denoise(
        components.unet,
        make_scheduler(scheduler, components.scheduler.config),
        noise,
        join_embeddings(uncond_embeddings, text_embeddings),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
    )
    return list(steps)


def look_at(shown: ipywidgets.Image) -> np.ndarray:
    """Give the levels (H, W, 3) of the picture that a widget shows."""
    return np.asarray(Image.open(io.BytesIO(shown.value)))


@contextmanager
def count_calls(components: Components) -> Iterator[list[str]]:
    """Collect the name of every part of the model that is called inside the block."""
    called = []
    parts = {
        "unet": components.unet,
        "encoder": components.vae.encoder,
        "decoder": components.vae.decoder,
        "text_encoder": components.text_encoder,
    }

    def keep(name: str):
        return lambda module, given, result: called.append(name)

    hooks = [part.register_forward_hook(keep(name)) for name, part in parts.items()]
    try:
        yield called
    finally:
        for hook in hooks:
            hook.remove()
