import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTextModel

from sdhelpers import load_components
from sdhelpers.text import tokenize_prompt
from training.engine.options import RunOptions
from training.engine.settings import SMOKE_SETTINGS, override
from training.export import compressed_megabytes, export
from training.judging.painting import Sampling, paint_images, save_grid
from training.smoke import NUM_STEPS, run_chain
from training.stages.latent_cache import load_latents
from training.train_unet import train_unet
from training.train_vae import train_vae
from training.world.data import bytes_to_pixel_values, load_tokenizer, render_all
from training.world.scenes import scene

PROMPTS = ("a photograph of an astronaut riding a horse", "two cats in the snow")
pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The smoke run of the whole chain, on synthetic sprites, in float32."""
    folder = tmp_path_factory.mktemp("run")
    run_chain(folder)
    return folder


@pytest.mark.parametrize(("stage", "factor"), [("vae", 0.7), ("text_encoder", 0.7), ("unet", 0.5)])
def test_the_loss_falls(folder, stage, factor):
    history = json.loads((folder / stage / "history.json").read_bytes())
    assert history[-1]["step"] == NUM_STEPS[stage]
    assert history[-1]["loss"] < factor * history[0]["loss"]


def test_all_four_channels_of_the_latents_live(folder):
    cache = load_latents(folder)
    mean, scaling_factor = cache.mean, cache.scaling_factor
    channel_stds = mean.float().std((0, 2, 3)) * scaling_factor
    assert channel_stds.min() > 0.2
    assert (cache.std.float() > 0).all()
    vae = AutoencoderKL.from_pretrained(folder / "vae" / "model")
    assert vae.config.scaling_factor == scaling_factor
    assert (mean.float() * scaling_factor).std() == pytest.approx(1, abs=0.15)


def test_the_decoder_alone_can_learn_on(folder, tmp_path):
    settings = override(SMOKE_SETTINGS["vae"], ["trains_encoder=False", "num_scenes=16"])
    options = RunOptions(tmp_path, num_steps=2, start=folder / "model")
    train_vae(settings, options)
    before, after = (
        AutoencoderKL.from_pretrained(path, dtype=torch.float32)
        for path in (folder / "model" / "vae", tmp_path / "vae" / "model")
    )
    assert after.config.scaling_factor == before.config.scaling_factor
    moved = {
        name for name, old in before.state_dict().items() if not old.equal(after.state_dict()[name])
    }
    assert moved
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in moved)


def test_a_decoder_needs_its_encoder(tmp_path):
    settings = override(SMOKE_SETTINGS["vae"], ["trains_encoder=False"])
    with pytest.raises(ValueError, match="give --start"):
        train_vae(settings, RunOptions(tmp_path, num_steps=2))


def test_the_cache_holds_the_scenes_of_its_seeds(folder):
    settings = SMOKE_SETTINGS["cache"]
    cache = load_latents(folder)
    assert len(cache.mean) == len(cache.input_ids) == settings.num_scenes
    tokenizer = load_tokenizer()
    vae = AutoencoderKL.from_pretrained(folder / "vae" / "model")
    for index in (0, settings.num_scenes - 1):
        seed = settings.first_seed + index
        made = scene(seed)
        expected_ids = tokenize_prompt(tokenizer, made.caption)[0]
        assert torch.equal(cache.input_ids[index].long(), expected_ids)
        wrong = made.contrary_caption
        expected_ids = tokenize_prompt(tokenizer, wrong)[0] if wrong else expected_ids * 0
        assert torch.equal(cache.contrary_ids[index].long(), expected_ids)
        pictures = render_all(range(seed, seed + 1))
        with torch.inference_mode():
            expected = vae.encode(bytes_to_pixel_values(pictures)).latent_dist.mean[0]
        assert (cache.mean[index].float() - expected).abs().max() < 0.01 * expected.abs().max()


def test_unused_embedding_rows_are_zero_and_used_ones_are_not(folder):
    text_encoder = CLIPTextModel.from_pretrained(folder / "model" / "text_encoder")
    weight = text_encoder.get_input_embeddings().weight
    used = load_latents(folder).input_ids.long().unique()
    is_used = torch.zeros(len(weight), dtype=torch.bool)
    is_used[used] = True
    assert len(weight) == 49_408
    assert 50 < len(used) < 1000
    assert (weight[~is_used] == 0).all()
    assert (weight[is_used].abs().max(1).values > 0).all()


def test_a_text_encoder_that_learns_along_is_the_one_that_is_exported(folder, tmp_path):
    for name in ("vae", "latents", "text_encoder"):
        shutil.copytree(folder / name, tmp_path / name)
    settings = override(SMOKE_SETTINGS["unet"], ["trains_text_encoder=True"])
    train_unet(settings, RunOptions(tmp_path, num_steps=3))
    export(tmp_path, tmp_path / "model")
    frozen, learnt = (
        CLIPTextModel.from_pretrained(path, dtype=torch.float32).get_input_embeddings().weight
        for path in (folder / "text_encoder" / "model", tmp_path / "model" / "text_encoder")
    )
    is_used = (frozen != 0).any(1)
    assert (learnt[is_used] - frozen[is_used]).abs().max() > 1e-4
    assert not learnt[~is_used].any()
    assert (tmp_path / "unet" / "samples_000003.png").is_file()


def test_the_text_encoder_does_not_see_what_follows(folder):
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder" / "model")
    input_ids = tokenize_prompt(load_tokenizer(), PROMPTS)
    with torch.inference_mode():
        whole = text_encoder(input_ids).pooler_output
        cut = text_encoder(input_ids[:, :14]).pooler_output
    assert (whole - cut).abs().max() < 1e-5
    assert (whole[0] - whole[1]).abs().max() > 0.1


def load_pipeline(folder):
    """As anyone would."""
    return StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)


def test_the_exported_model_is_half_on_disk_and_float32_in_memory(folder):
    pipeline = load_pipeline(folder / "model")
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.float32}
    config = json.loads((folder / "model" / "text_encoder" / "config.json").read_bytes())
    assert config["dtype"] == "float32"
    scheduler = json.loads((folder / "model" / "scheduler" / "scheduler_config.json").read_bytes())
    expected = {
        "_class_name": "PNDMScheduler",
        "beta_schedule": "scaled_linear",
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    }
    assert expected.items() <= scheduler.items()
    num_bytes = sum(path.stat().st_size for path in (folder / "model").rglob("*.safetensors"))
    num_parameters = sum(
        parameter.numel()
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)
        for parameter in part.parameters()
    )
    assert num_bytes < 2.1 * num_parameters
    assert 0 < compressed_megabytes(folder / "model") < num_bytes / 1e6


def test_an_exported_model_does_not_name_the_folder_it_came_from(folder):
    configs = list((folder / "model").rglob("*.json"))
    assert len(configs) >= 5
    assert not [path for path in configs if str(folder) in path.read_text(encoding="utf-8")]


def test_save_and_load_give_equal_samples(folder, tmp_path):
    load_pipeline(folder / "model").save_pretrained(tmp_path / "again")
    first, second = (
        paint_images(load_components(path, "cpu"), PROMPTS, (0, 1), Sampling(num_inference_steps=3))
        for path in (folder / "model", tmp_path / "again")
    )
    for ours, theirs in zip(first, second, strict=True):
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert not np.array_equal(np.asarray(first[0]), np.asarray(first[1]))


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        save_grid([], tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"training\.cache_latents first"):
        load_latents(tmp_path)
