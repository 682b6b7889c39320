"""Scenes rendered beforehand: the same ids as one by one, and what stage 2 encodes."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save_file

from sdhelpers.text import tokenize_prompt
from training.engine.options import make_accelerator
from training.engine.settings import CacheSettings
from training.stages.latent_cache import (
    cache_latents,
    load_latents,
    load_or_render,
    render_scenes,
    render_shard,
    shard_seeds,
    tokenize,
)
from training.world.data import load_tokenizer
from training.world.scenes import scene

SETTINGS = CacheSettings(num_scenes=10, first_seed=70, shard_size=6, batch_size=4)


def test_all_captions_at_once_have_the_ids_of_each_alone():
    tokenizer = load_tokenizer()
    captions = [scene(seed).caption for seed in range(40)]
    together = tokenize(tokenizer, [*captions, ""])
    assert together.dtype == torch.int32
    for row, caption in enumerate([*captions, ""]):
        assert torch.equal(together[row].long(), tokenize_prompt(tokenizer, caption)[0])


def test_a_caption_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="a caption has 102 tokens, and the text encoder reads 77"):
        tokenize(load_tokenizer(), ["a cat", "cat " * 100])


def test_the_files_hold_all_seeds_once():
    assert list(shard_seeds(SETTINGS)) == [range(70, 76), range(76, 80)]


def test_a_shard_holds_its_scenes():
    shard = render_shard(load_tokenizer(), range(70, 80), SETTINGS)
    scenes = [scene(seed) for seed in range(70, 80)]
    assert {made.contrary_caption is None for made in scenes} == {True, False}
    for row, made in enumerate(scenes):
        assert shard["pictures"][row].permute(1, 2, 0).numpy().tobytes() == made.image.tobytes()
        assert bool(shard["contrary_ids"][row].any()) == (made.contrary_caption is not None)


def test_latents_that_do_not_belong_together_are_refused(untrained_vae, tmp_path):
    untrained_vae.save_pretrained(tmp_path / "vae" / "model")
    cache_latents(SETTINGS, tmp_path, make_accelerator("no"))
    load_latents(tmp_path)
    config_path = tmp_path / "vae" / "model" / "config.json"
    config = json.loads(config_path.read_bytes())
    config_path.write_text(json.dumps(config | {"scaling_factor": 0.5}))
    with pytest.raises(ValueError, match="another VAE"):
        load_latents(tmp_path)
    config_path.write_text(json.dumps(config))
    cache_latents(replace(SETTINGS, shard_size=5), tmp_path, make_accelerator("no"))
    with pytest.raises(ValueError, match="holds some scenes twice"):
        load_latents(tmp_path)


def test_stage_2_encodes_the_scenes_that_are_there(untrained_vae, tmp_path):
    untrained_vae.save_pretrained(tmp_path / "vae" / "model")
    render_scenes(SETTINGS, tmp_path)
    cache_latents(SETTINGS, tmp_path, make_accelerator("no"))
    first = load_latents(tmp_path)
    path = tmp_path / "scenes" / "76_4.safetensors"
    kept = load(path.read_bytes())
    found = load_or_render(tmp_path, load_tokenizer(), range(76, 80), SETTINGS)
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    del found  # Windows replaces no file that is mapped
    save_file({**kept, "pictures": kept["pictures"] * 0}, path)
    shutil.rmtree(tmp_path / "latents")
    cache_latents(SETTINGS, tmp_path, make_accelerator("no"))
    second = load_latents(tmp_path)
    assert torch.equal(first.mean[:6], second.mean[:6])
    assert torch.equal(first.input_ids, second.input_ids)
    assert (second.mean[6:] == second.mean[6]).all()
    assert not torch.equal(first.mean[6:], second.mean[6:])
