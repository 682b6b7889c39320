"""What a model and a run will cost: memory before anything is fetched, seconds before a start."""

import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sdhelpers.latents import picture_size, vae_scale_factor
from sdhelpers.lessons.architecture import SD_V1_CONFIGS, count_parameters, make_networks
from sdhelpers.model.device import execution_device
from sdhelpers.model.hub import fetch_model, write_size
from sdhelpers.model.known import SD_V1_4, SD_V1_5
from sdhelpers.model.parts import Components, Networks
from sdhelpers.schedule import make_plan
from sdhelpers.validation import is_count

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class PartBudget:
    """What one network needs, in bytes.

    Attributes:
        part: its name.
        num_parameters: how many numbers it is made of.
        weights: bytes of these.
        peak: bytes of all that one call has in memory at the same time, besides the weights.
    """

    part: str
    num_parameters: int
    weights: int
    peak: int


@dataclass(frozen=True)
class MemoryBudget:
    """What a model needs, in bytes.

    Attributes:
        parts: one PartBudget for text_encoder, unet and vae.
        height, width: in pixels.
        dtype: of weights and tensors.
    """

    parts: tuple[PartBudget, ...]
    height: int
    width: int
    dtype: torch.dtype

    @property
    def peak(self) -> int:
        """Bytes with all parts on the device: all weights, and the hungriest call."""
        return sum(part.weights for part in self.parts) + max(part.peak for part in self.parts)

    @property
    def peak_offloaded(self) -> int:
        """Bytes on the device with `cpu_offload`: one part at a time."""
        return max(part.weights + part.peak for part in self.parts)

    def __str__(self) -> str:
        """Write a table."""
        lines = [
            f"{self.width} x {self.height} pixels, {str(self.dtype).removeprefix('torch.')}",
            f"{'part':<14}{'parameters':>14}{'weights':>11}{'one call':>11}",
        ]
        lines += [
            f"{part.part:<14}{part.num_parameters:>14,}{write_size(part.weights):>11}"
            f"{write_size(part.peak):>11}"
            for part in self.parts
        ]
        lines.append(f"at most at once: {write_size(self.peak)}")
        lines.append(f"with cpu_offload, on the GPU: {write_size(self.peak_offloaded)}")
        return "\n".join(lines)


def memory_budget(
    model: str | Path,
    height: int | None = None,
    width: int | None = None,
    dtype: torch.dtype = torch.float32,
    *,
    batch_size: int = 1,
) -> MemoryBudget:
    """Estimate what painting takes, without loading any weights.

    It is what torch's own tensors take. Libraries below it add some: scratch space of
    convolutions, and on a GPU a few hundred megabytes for CUDA itself. Attention is taken as
    fused, as torch computes it today.

    Args:
        model: a folder in the standard layout, or an id. v1-4 and v1-5 need no download; of
            others the configs are fetched.
        height: in pixels; None: the size of training.
        width: likewise.
        dtype: float32, float16 or bfloat16.
        batch_size: pictures at a time.

    Raises:
        ValueError: if an argument does not fit.
        ModelError: if configs can't be fetched.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, _DTYPES))}, got {dtype!r}.")
    folder = _find_configs(model)
    with FakeTensorMode(), torch.no_grad():
        networks = make_networks(folder, device="cpu", dtype=dtype)
        height, width = picture_size(networks.unet, networks.vae, height, width)
        calls = _make_calls(networks, height, width, batch_size)
        parts = tuple(
            _measure(part, network, calls[part]) for part, network in networks._asdict().items()
        )
    return MemoryBudget(parts, height, width, dtype)


def _find_configs(model: str | Path) -> Path:
    """Give a folder with the model's configs."""
    if model in (SD_V1_4, SD_V1_5):
        return SD_V1_CONFIGS
    folder = Path(model).expanduser()
    return folder if folder.is_dir() else fetch_model(str(model), parts=())


def _make_calls(
    networks: Networks, height: int, width: int, batch_size: int
) -> dict[str, Callable[[], object]]:
    """Give for each part the call of it that painting makes; guidance doubles the UNet's."""
    if not is_count(batch_size):
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}.")
    text_encoder, unet, vae = networks
    factor = vae_scale_factor(vae)
    shape = (unet.config.in_channels, height // factor, width // factor)
    length = text_encoder.config.max_position_embeddings
    place = {"device": execution_device(unet), "dtype": unet.dtype}
    input_ids = torch.zeros((2 * batch_size, length), device=place["device"], dtype=torch.long)
    latents = torch.zeros((batch_size, *shape), **place)
    doubled = torch.zeros((2 * batch_size, *shape), **place)
    text_embeddings = torch.zeros(
        (2 * batch_size, length, unet.config.cross_attention_dim), **place
    )
    return {
        "text_encoder": lambda: text_encoder(input_ids),
        "unet": lambda: unet(doubled, 0, encoder_hidden_states=text_embeddings),
        "vae": lambda: vae.decode(latents),
    }


def _measure(part: str, network: torch.nn.Module, call: Callable[[], object]) -> PartBudget:
    """Call a network once and follow what it allocates."""
    weights = [*network.parameters(), *network.buffers()]
    with _Ledger(weights) as ledger:
        call()
    num_bytes = sum(tensor.untyped_storage().nbytes() for tensor in weights)
    return PartBudget(part, count_parameters(network), num_bytes, ledger.peak)


class _Ledger(TorchDispatchMode):
    """Add up the memory of tensors as they come and go.

    Attributes:
        peak: most bytes that were there at the same time.
    """

    def __init__(self, not_counted: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self._bytes = {tensor.untyped_storage()._cdata: 0 for tensor in not_counted}
        self._now = self.peak = 0

    def __torch_dispatch__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        """Do what torch was asked for, and enter its new tensors; views share their storage."""
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._enter(leaf.untyped_storage())
        return result

    def _enter(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._bytes:
            return
        self._bytes[key] = storage.nbytes()
        self._now += storage.nbytes()
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._leave, key)

    def _leave(self, key: int) -> None:
        self._now -= self._bytes.pop(key)


@torch.no_grad()
def measure_unet_call(
    components: Components,
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
    networks = components.networks
    height, width = picture_size(networks.unet, networks.vae, height, width)
    call_unet = _make_calls(networks, height, width, batch_size)["unet"]
    seconds = []
    for _ in range(num_calls + 1):
        started = time.perf_counter()
        call_unet()
        _wait_for(execution_device(networks.unet))
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])


def describe_price(
    components: Components, num_inference_steps: int, seconds_per_call: float
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
