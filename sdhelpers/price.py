"""What a run will cost, said before it starts: one UNet call is timed, the rest is counting."""

import time
from typing import TYPE_CHECKING

import torch

from sdhelpers.device import execution_device
from sdhelpers.noise import initial_latents, make_generator
from sdhelpers.schedule import make_plan
from sdhelpers.validation import is_count

if TYPE_CHECKING:
    from sdhelpers.components import Components


@torch.no_grad()
def measure_unet_call(
    components: "Components",
    *,
    height: int | None = None,
    width: int | None = None,
    batch_size: int = 1,
    num_calls: int = 1,
) -> float:
    """Time the UNet as one step with guidance calls it, on a doubled batch.

    Args:
        components: the five parts. Left unchanged.
        height: in pixels; None: the size of training.
        width: likewise.
        batch_size: pictures at a time.
        num_calls: timed after one more to warm up; the fastest counts.

    Returns:
        Seconds.

    Raises:
        ValueError: if a size does not fit, or num_calls is not positive.
    """
    if not is_count(num_calls):
        raise ValueError(f"num_calls must be a positive integer, got {num_calls!r}.")
    unet, vae = components.unet, components.vae
    latents = initial_latents(
        unet, vae, make_generator(0), batch_size=batch_size, height=height, width=width
    )
    doubled = torch.cat([latents] * 2)
    length = components.text_encoder.config.max_position_embeddings
    shape = (2 * batch_size, length, unet.config.cross_attention_dim)
    text_embeddings = torch.zeros(shape, device=doubled.device, dtype=doubled.dtype)
    seconds = []
    for _ in range(num_calls + 1):
        started = time.perf_counter()
        unet(doubled, 0, encoder_hidden_states=text_embeddings)
        _wait_for(execution_device(unet))
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def describe_price(
    components: "Components", num_inference_steps: int, seconds_per_call: float
) -> str:
    """Say what a run costs, such as "21 UNet calls, about 3 min 30 s".

    Args:
        components: the five parts; the scheduler says how many calls its steps take.
        num_inference_steps: as for `generate`.
        seconds_per_call: as `measure_unet_call` gives it.
    """
    num_calls = len(make_plan(components.scheduler, num_inference_steps).timesteps)
    seconds = num_calls * seconds_per_call
    if seconds < 10:
        about = f"{seconds:.1f} s"
    elif seconds < 120:
        about = f"{seconds:.0f} s"
    else:
        about = "{} min {} s".format(*divmod(round(seconds), 60))
    return f"{num_calls} UNet calls, about {about}"


def _wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; the CPU does it at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
