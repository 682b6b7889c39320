"""Loading: the standard folder by each part's own class, and every way in which it can fail."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from sdhelpers import TINY_SD, generate, load_components, pick_device, pick_dtype
from sdhelpers.model.device import check_dtype
from sdhelpers.model.folder import PARTS, find_model_problems
from sdhelpers.model.loading import find_model
from sdhelpers.model.parts import Components
from tests.conftest import PROMPT, copy_model

WEIGHTS = ["text_encoder/model", "unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny model that may be damaged."""
    return copy_model(TINY_SD, tmp_path / "model")


def replace(path: Path, content: bytes) -> None:
    """Give a file new content without touching what its hard links see."""
    path.unlink()
    path.write_bytes(content)


def test_the_five_parts_load_by_their_own_classes(components) -> None:
    parts = Components(
        CLIPTokenizer.from_pretrained(TINY_SD, subfolder="tokenizer"),
        CLIPTextModel.from_pretrained(TINY_SD, subfolder="text_encoder"),
        UNet2DConditionModel.from_pretrained(TINY_SD, subfolder="unet"),
        AutoencoderKL.from_pretrained(TINY_SD, subfolder="vae"),
        PNDMScheduler.from_pretrained(TINY_SD, subfolder="scheduler"),
    )
    for ours, theirs in zip(components, parts, strict=True):
        assert type(ours) is type(theirs)
    for ours, theirs in zip(components.networks, parts.networks, strict=True):
        expected = theirs.state_dict()
        assert ours.dtype == theirs.dtype == torch.float32
        assert not ours.training
        for name, values in ours.state_dict().items():
            assert torch.equal(values, expected[name])
    assert components._fields == PARTS


def test_the_whole_pipeline_loads_and_paints_the_same(components) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(TINY_SD)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    theirs = pipeline(PROMPT, num_inference_steps=2, generator=generator).images[0]
    ours = generate(components, PROMPT, seed=0, num_inference_steps=2, show_progress=False)[0]
    apart = [abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes(), strict=True)]
    assert max(apart) <= 1


@pytest.mark.parametrize("weights", WEIGHTS)
def test_half_precision_on_disk(weights: str) -> None:
    with safe_open(TINY_SD / f"{weights}.safetensors", "pt") as tensors:
        loaded = [tensors.get_tensor(name) for name in tensors.keys()]  # noqa: SIM118
    assert {tensor.dtype for tensor in loaded if tensor.is_floating_point()} == {torch.float16}


def test_the_schedulers_config_is_stable_diffusions() -> None:
    config = json.loads((TINY_SD / "scheduler" / "scheduler_config.json").read_bytes())
    expected = {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "clip_sample": False,
        "trained_betas": None,
    }
    assert expected.items() <= config.items()


def test_the_vocabulary_is_clips(components) -> None:
    tokenizer, text_encoder = components.tokenizer, components.text_encoder
    assert len(tokenizer) == text_encoder.config.vocab_size == 49408
    assert tokenizer.model_max_length == text_encoder.config.max_position_embeddings == 77
    assert text_encoder.config.hidden_size == components.unet.config.cross_attention_dim
    assert components.vae.config.latent_channels == components.unet.config.in_channels


def test_a_given_dtype_is_kept() -> None:
    components = load_components(dtype=torch.bfloat16, device="cpu")
    assert {one.dtype for one in components.networks} == {torch.bfloat16}


def test_device_and_dtype(monkeypatch) -> None:
    assert pick_device().type == "cpu"  # the tests say so, in conftest.py
    monkeypatch.setenv("SDHELPERS_DEVICE", "abacus")
    with pytest.raises(ValueError, match="no device 'abacus'"):
        pick_device()
    monkeypatch.delenv("SDHELPERS_DEVICE")
    assert pick_dtype("cpu") == pick_dtype("mps") == torch.float32
    assert pick_dtype("cuda") == torch.float16
    for has_cuda, has_mps, expected in [
        (True, False, "cuda"),
        (False, True, "mps"),
        (False, False, "cpu"),
    ]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda has_mps=has_mps: has_mps)
        assert pick_device().type == expected


def test_half_precision_where_it_cannot_be_computed(monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.functional, "conv2d", refuse)
    with pytest.raises(ValueError, match=r"'cpu' cannot run these networks in torch.float16"):
        load_components(dtype=torch.float16, device="cpu")


def test_a_dtype_for_no_network() -> None:
    with pytest.raises(ValueError, match=r"dtype=torch\.float32"):
        check_dtype(torch.device("cpu"), torch.int64)


def test_a_whole_folder_has_no_problems() -> None:
    assert find_model_problems(TINY_SD) == []


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("size", [0, 5, 1000, -1])
def test_a_truncated_file_is_named(folder: Path, weights: str, size: int) -> None:
    path = folder / f"{weights}.safetensors"
    replace(path, path.read_bytes()[:size])
    with pytest.raises(ValueError, match=rf"{path.parent.name}.{path.name} is truncated"):
        load_components(folder)


def test_the_variant_that_was_asked_for_is_looked_over(folder: Path) -> None:
    whole = folder / f"{WEIGHTS[1]}.safetensors"
    half = whole.with_suffix(".fp16.safetensors")
    half.write_bytes(whole.read_bytes()[:-1])
    assert find_model(folder) == folder
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.fp16.* is truncated"):
        find_model(folder, variant="fp16")
    half.unlink()  # the other weights will do
    assert find_model(folder, variant="fp16") == folder


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer/tokenizer.json",
        "tokenizer/tokenizer_config.json",
        "text_encoder/config.json",
        "unet/config.json",
        "vae/config.json",
        "scheduler/scheduler_config.json",
        *(f"{name}.safetensors" for name in WEIGHTS),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"{Path(name).name} is missing"):
        load_components(str(folder))


def test_all_problems_are_named_at_once(folder: Path) -> None:
    replace(folder / "unet" / "config.json", b'{"in_channels": ')
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "vae" / "diffusion_pytorch_model.bin").write_bytes(b"pickle")
    shutil.rmtree(folder / "scheduler")
    problems = find_model_problems(folder)
    assert len(problems) == 3
    assert "cannot be read as JSON" in problems[0]
    assert "It holds diffusion_pytorch_model.bin, which is not loaded" in problems[1]
    assert "scheduler_config.json is missing" in problems[2]


@pytest.mark.parametrize("header", [b"not JSON", b"[]", b"{}", b'{"a": {}}', b'{"a": 3}'])
def test_a_file_that_is_not_safetensors(folder: Path, header: bytes) -> None:
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    replace(path, len(header).to_bytes(8, "little") + header + bytes(100))
    with pytest.raises(ValueError, match="its header is not that of a safetensors file"):
        load_components(folder)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_missing_weights_are_not_made_up(folder: Path, weights: str) -> None:
    path = folder / f"{weights}.safetensors"
    tensors = load_file(path)
    lost = sorted(name for name in tensors if name.endswith("weight"))[-1]
    del tensors[lost]
    path.unlink()
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks 1 of its weights"):
        load_components(folder)


def test_the_text_encoders_weights_are_named_as_old_transformers_wants() -> None:
    """Before 5.6 it reads no other names, and says nothing."""
    with safe_open(TINY_SD / "text_encoder" / "model.safetensors", "pt") as tensors:
        names = list(tensors.keys())
    assert names
    assert all(name.startswith("text_model.") for name in names)


def test_weights_in_shards(folder: Path) -> None:
    """Every shard that the index lists must be there."""
    whole = folder / "vae" / "diffusion_pytorch_model.safetensors"
    whole.rename(whole.with_name("part-1.safetensors"))
    index = {"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}}
    whole.with_name(f"{whole.name}.index.json").write_text(json.dumps(index))
    assert find_model_problems(folder) == [f"{whole.with_name('part-2.safetensors')} is missing."]


@pytest.mark.parametrize("content", [b"{}", b'{"_class_name": "NoSuchScheduler"}'])
def test_a_scheduler_of_no_class(folder: Path, content: bytes) -> None:
    replace(folder / "scheduler" / "scheduler_config.json", content)
    with pytest.raises(ValueError, match="names the class"):
        load_components(folder)


def test_the_model_that_all_tests_share_is_unharmed() -> None:
    assert find_model_problems(TINY_SD) == []


@pytest.mark.parametrize("model", ["no/such/folder", "nothing here", "./gone", Path("gone/x")])
def test_neither_folder_nor_id(model: str | Path) -> None:
    with pytest.raises(ValueError, match=r"cannot be loaded.\n  There is no folder"):
        load_components(model)


@pytest.mark.parametrize("model", ["", None, 5])
def test_what_is_no_model(model: object) -> None:
    with pytest.raises(ValueError, match="model must be a folder or the id of a model"):
        load_components(model)


@pytest.mark.parametrize("device", ["gpu", "warp", 2.5])
def test_unknown_device(device: object) -> None:
    with pytest.raises(ValueError, match=f"no device {device!r}"):
        load_components(device=device)


def test_progress_bars_are_put_back() -> None:
    from transformers.utils import logging

    assert logging.is_progress_bar_enabled()
    load_components(device="cpu")
    assert logging.is_progress_bar_enabled()
