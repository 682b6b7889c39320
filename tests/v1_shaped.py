"""A model in the shape of Stable Diffusion v1, with narrow layers and random weights.

Everything that a caller can see is as in v1-4: 77 x 768 embeddings, latents with 4 channels, the
published configs of scheduler and tokenizer, the files' names, half-precision variants beside the
full ones, and the files that the notebooks don't need.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sdhelpers.lessons.architecture import SD_V1_CONFIGS, make_networks
from sdhelpers.model.folder import TINY_SD
from training.export import name_as_clip_did

WEIGHTS = {
    "text_encoder": "model",
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
}
# As in v1-4, but for their width and depth.
NARROW = {
    "text_encoder": {"num_hidden_layers": 1, "intermediate_size": 64, "num_attention_heads": 12},
    "unet": {
        "block_out_channels": [32, 32, 64, 64],
        "layers_per_block": 1,
        "attention_head_dim": 2,
    },
    "vae": {"block_out_channels": [32, 32, 32, 64], "layers_per_block": 1},
}


def make_v1_shaped(folder: Path, sample_size: int = 64, has_variant: bool = True) -> Path:
    """Write the model, always the same one.

    Args:
        folder: to be made.
        sample_size: of the latents; v1's 64, or less for tests that paint a lot.
        has_variant: also write the weights in half precision, as `*.fp16.safetensors`.

    Returns:
        The folder.
    """
    shutil.copytree(SD_V1_CONFIGS, folder, ignore=shutil.ignore_patterns("README.md"))
    for part, changes in NARROW.items():
        path = folder / part / "config.json"
        config = json.loads(path.read_bytes()) | changes
        if part != "text_encoder":
            # diffusers rewrites the size of a UNet that says it is older than 0.9.
            config |= {"_diffusers_version": "0.42.1"}
            config |= {"sample_size": sample_size * (8 if part == "vae" else 1)}
        path.write_text(json.dumps(config, indent=2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = make_networks(folder, device="cpu")
    for part, network in networks._asdict().items():
        network.save_pretrained(folder / part)  # rewrites the config, too, in today's form
        if part == "text_encoder":
            name_as_clip_did(folder / part / "model.safetensors")
        if has_variant:
            write_variant(folder / part / f"{WEIGHTS[part]}.safetensors")
    write_tokenizer(folder / "tokenizer")
    classes = {
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.2.2", **classes}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def write_variant(weights: Path) -> None:
    """Write weights again in half precision, under the hub's name for that."""
    halves = {name: tensor.half() for name, tensor in load_file(weights).items()}
    save_file(halves, weights.with_suffix(".fp16.safetensors"), metadata={"format": "pt"})


def write_tokenizer(folder: Path) -> None:
    """Write the tokenizer in the files that v1-4 has, from those of the built-in model."""
    folder.mkdir()
    model = json.loads((TINY_SD / "tokenizer" / "tokenizer.json").read_bytes())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    end = {"content": "<|endoftext|>", "lstrip": False, "normalized": True}
    end |= {"rstrip": False, "single_word": False}
    start = end | {"content": "<|startoftext|>"}
    special = {"bos_token": start, "eos_token": end, "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special | {"unk_token": end}))
    config = {
        "add_prefix_space": False,
        "bos_token": start | {"__type": "AddedToken"},
        "do_lower_case": True,
        "eos_token": end | {"__type": "AddedToken"},
        "errors": "replace",
        "model_max_length": 77,
        "name_or_path": "openai/clip-vit-large-patch14",
        "pad_token": "<|endoftext|>",
        "special_tokens_map_file": "./special_tokens_map.json",
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": end | {"__type": "AddedToken"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
