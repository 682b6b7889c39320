"""Savings by name, offloading, and out-of-memory errors that say what to do."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from sdhelpers import TINY_SD, generate, load_components
from sdhelpers.model.device import execution_device
from sdhelpers.model.memory import explained_memory_errors, offload_to_cpu
from sdhelpers.model.parts import Components
from sdhelpers.validation import check_place

OPTIONS = {"num_inference_steps": 2, "show_progress": False}
PROMPTS = ["a castle", "a frog"]


@pytest.fixture(scope="module")
def expected(components: Components) -> list[bytes]:
    return [image.tobytes() for image in generate(components, PROMPTS, **OPTIONS)]


def largest_difference(ours: list, expected: list[bytes]) -> int:
    assert len(ours) == len(expected)
    return max(
        abs(a - b)
        for image, theirs in zip(ours, expected, strict=True)
        for a, b in zip(image.tobytes(), theirs, strict=True)
    )


@pytest.mark.parametrize("saving", ["attention_slicing", "vae_slicing", "vae_tiling"])
def test_savings_change_no_picture(expected: list[bytes], saving: str) -> None:
    saved = load_components(TINY_SD, device="cpu", **{saving: True})
    assert largest_difference(generate(saved, PROMPTS, **OPTIONS), expected) <= 1


def test_the_savings_are_really_on() -> None:
    saved = load_components(device="cpu", attention_slicing=True, vae_slicing=True, vae_tiling=True)
    assert saved.vae.use_slicing
    assert saved.vae.use_tiling
    names = {type(one).__name__ for one in saved.unet.attn_processors.values()}
    assert names == {"SlicedAttnProcessor"}


def test_tiles_of_a_large_picture_are_near_the_whole(components: Components) -> None:
    """Tiles overlap and are blended: a little apart from the whole, not a lot."""
    options = OPTIONS | {"height": 256, "width": 256}
    whole = generate(components, "a castle", **options)[0].tobytes()
    tiled = generate(load_components(device="cpu", vae_tiling=True), "a castle", **options)
    apart = [abs(a - b) for a, b in zip(tiled[0].tobytes(), whole, strict=True)]
    assert 0 < sum(apart) / len(apart) < 5


def test_offloading_is_for_gpus() -> None:
    with pytest.raises(ValueError, match=r"the device is 'cpu'. Leave it out"):
        load_components("nobody/nothing", device="cpu", cpu_offload=True)  # before it is sought


def test_offloaded_parts_paint_the_same(expected: list[bytes]) -> None:
    """On the CPU the hooks have nothing to move; that each call passes through them is the same."""
    offloaded = load_components(device="cpu")
    offload_to_cpu(offloaded, "cpu")
    assert largest_difference(generate(offloaded, PROMPTS, **OPTIONS), expected) == 0
    assert largest_difference(generate(offloaded, PROMPTS, **OPTIONS), expected) == 0


class Part(torch.nn.Module):
    """Remember where it was sent."""

    place = "cpu"

    def parameters(self, recurse: bool = True) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(device=torch.device(self.place))

    def to(self, place: torch.device | str) -> "Part":
        self.place = str(place)
        return self

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values


def test_only_the_part_at_work_is_on_the_gpu_even_if_another_is_skipped() -> None:
    """The playground asks the text encoder once for many pictures of the same prompt."""
    parts = Components(None, Part(), Part(), Part(), None)
    offload_to_cpu(parts, "meta")
    for name in ("text_encoder", "unet", "unet", "vae", "unet", "vae", "text_encoder", "vae"):
        getattr(parts, name)(torch.empty(1))
        places = {each: part.place for each, part in parts.networks._asdict().items()}
        assert places == dict.fromkeys(places, "cpu") | {name: "meta"}


def test_tensors_go_where_an_offloaded_part_computes() -> None:
    """The weights wait on the CPU; what is computed with them must not be put there."""
    offloaded = load_components(device="cpu")
    assert execution_device(offloaded.unet) == torch.device("cpu")
    offload_to_cpu(offloaded, "meta")  # stands in for a GPU: nothing is computed here
    assert offloaded.unet.device == torch.device("cpu")
    assert execution_device(offloaded.unet) == torch.device("meta")
    check_place("latents", torch.empty(1, device="meta"), offloaded.unet)
    with pytest.raises(ValueError, match=r"the UNet is torch.float32 on meta"):
        check_place("latents", torch.empty(1), offloaded.unet)


def test_a_gpu_without_its_number_is_the_first(components: Components) -> None:
    class Hook:
        execution_device = "cuda"

    class Network:
        _hf_hook = Hook()
        device, dtype = torch.device("cpu"), torch.float32

    class OnGpu:
        device, dtype = torch.device("cuda:0"), torch.float32

    check_place("latents", OnGpu(), Network())
    OnGpu.device = torch.device("cuda:1")
    with pytest.raises(ValueError, match=r"on cuda:1, the UNet is torch.float32 on cuda"):
        check_place("latents", OnGpu(), Network())


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 GB"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried 8 GB"), True),
        (NotImplementedError("'aten::x' is not currently implemented for the MPS device"), False),
    ],
)
def test_what_helps_is_named_in_order(
    components: Components, monkeypatch: pytest.MonkeyPatch, error: Exception, advice: bool
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(components.unet, "forward", fail)
    with pytest.raises(type(error)) as caught:
        generate(components, "a castle", **OPTIONS)
    (note,) = caught.value.__notes__
    if advice:
        places = [note.index(word) for word in ("float16", "attention_slicing", "cpu_offload")]
        assert places == sorted(places)
    else:
        assert "PYTORCH_ENABLE_MPS_FALLBACK=1" in note


def test_a_gpu_that_is_full_already_is_not_said_to_lack_the_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("sdhelpers.model.device.torch.ones", fail)
    with pytest.raises(torch.OutOfMemoryError) as caught:
        load_components(device="cpu")
    assert "What helps, in this order" in caught.value.__notes__[0]


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError) as caught, explained_memory_errors():
        raise RuntimeError("something else")
    assert not hasattr(caught.value, "__notes__")
