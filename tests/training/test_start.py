"""Training on from an earlier model: its weights are taken, and only what must change does."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from sdhelpers import TINY_SD
from sdhelpers.text import tokenize_prompt
from training.engine.options import RunOptions
from training.engine.settings import TextEncoderSettings, UnetSettings, VaeSettings, override
from training.engine.start import fit_vocabulary, load_start
from training.stages.contrast import make_text_encoder
from training.stages.latent_cache import take_vae
from training.stages.noise_prediction import TextToNoise, make_unet
from training.train_text_encoder import load_text_encoder
from training.train_unet import load_start_unet, take_text_encoder
from training.train_vae import load_vae
from training.world.data import load_tokenizer


def test_a_decoder_learns_on_with_its_encoder_as_it_is() -> None:
    settings = VaeSettings(trains_encoder=False)
    vae = load_vae(settings, TINY_SD)
    learning = {name.split(".")[0] for name, value in vae.named_parameters() if value.requires_grad}
    assert learning == {"decoder", "post_quant_conv"}


def test_new_words_get_embeddings_and_old_ones_keep_theirs(capsys) -> None:
    tokenizer = load_tokenizer()
    prompts = ["a cat in the snow", "a yak riding a zeppelin", ""]
    used_ids = torch.cat([tokenize_prompt(tokenizer, prompt).unique() for prompt in prompts])
    shipped = CLIPTextModel.from_pretrained(TINY_SD, subfolder="text_encoder")
    old = shipped.get_input_embeddings().weight
    text_encoder = load_text_encoder(TextEncoderSettings(), TINY_SD, used_ids.unique())
    new = text_encoder.get_input_embeddings().weight
    is_used = torch.zeros(len(new), dtype=torch.bool)
    is_used[used_ids] = True
    is_known = (old != 0).any(1)
    assert (is_used & ~is_known).sum() >= 2  # yak, zeppelin
    assert torch.equal(new[is_used & is_known], old[is_used & is_known])
    assert new[is_used & ~is_known].std().item() == pytest.approx(0.02, rel=0.2)
    assert (new[~is_used] == 0).all()
    assert f"{(is_used & ~is_known).sum()} of {is_used.sum()} tokens are new" in (
        capsys.readouterr().out
    )
    assert fit_vocabulary(text_encoder, used_ids, 0.02) == 0


def test_a_learning_text_encoder_comes_with_its_unet(tmp_path: Path) -> None:
    ids = tokenize_prompt(load_tokenizer(), "a yak riding a horse").unique()
    shipped = CLIPTextModel.from_pretrained(TINY_SD, subfolder="text_encoder", dtype=torch.float32)
    (tmp_path / "text_encoder").mkdir()
    shipped.save_pretrained(tmp_path / "text_encoder" / "model")
    options = RunOptions(tmp_path, num_steps=1, start=TINY_SD)
    known = shipped.get_input_embeddings().weight
    yak = tokenize_prompt(load_tokenizer(), "yak")[0, 1]
    assert not known[yak].any()
    for learns, start, is_extended in [
        (True, TINY_SD, True),
        (True, None, False),
        (False, TINY_SD, False),
    ]:
        settings = UnetSettings(trains_text_encoder=learns)
        found = take_text_encoder(settings, replace(options, start=start), ids)
        weight = found.get_input_embeddings().weight
        assert weight[yak].any() == is_extended
        horse = tokenize_prompt(load_tokenizer(), "horse")[0, 1]
        assert torch.equal(weight[horse], known[horse])


def test_without_stage_3_there_is_no_text_encoder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training\.train_text_encoder first"):
        take_text_encoder(UnetSettings(), RunOptions(tmp_path, num_steps=1), torch.tensor([0]))


def test_text_encoder_and_unet_learn_as_one() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text_encoder = make_text_encoder(
            TextEncoderSettings(hidden_size=32, intermediate_size=32, num_hidden_layers=1),
            load_tokenizer(),
            torch.tensor([320, 4558, 49406, 49407]),
        )
        settings = UnetSettings(block_out_channels=(16, 16), norm_num_groups=4)
        unet = make_unet(settings, (4, 8, 8), 32)
    model = TextToNoise(text_encoder, unet)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    input_ids = tokenize_prompt(load_tokenizer(), ["a horse", ""])
    latents, timesteps = torch.randn(2, 4, 8, 8), torch.tensor([10, 900])
    noise_pred = model(latents, timesteps, input_ids).sample
    embeddings = text_encoder(input_ids)[0]
    expected = unet(latents, timesteps, encoder_hidden_states=embeddings).sample
    torch.testing.assert_close(noise_pred, expected)
    before = text_encoder.get_input_embeddings().weight.detach().clone()
    noise_pred.square().mean().backward()
    optimizer.step()
    weight = text_encoder.get_input_embeddings().weight
    moved = (weight != before).any(1).nonzero().flatten().tolist()
    assert moved == [320, 4558, 49406, 49407]  # the others stay zeros


def test_a_unet_is_taken_whole() -> None:
    like = make_unet(UnetSettings(), (4, 16, 16), 256)
    unet = load_start_unet(TINY_SD, like)
    shipped = UNet2DConditionModel.from_pretrained(TINY_SD, subfolder="unet", dtype=torch.float32)
    like.load_state_dict(unet.state_dict())
    for name, value in shipped.state_dict().items():
        assert torch.equal(like.state_dict()[name], value), name


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"norm_num_groups=4 \(here 16\); name its values with"):
        load_start(AutoencoderKL, TINY_SD, "vae", {"norm_num_groups": 16, "latent_channels": 4})
    narrow = make_unet(override(UnetSettings(), ["layers_per_block=2"]), (4, 16, 16), 256)
    with pytest.raises(ValueError, match=r"layers_per_block=1 \(here 2\)"):
        load_start_unet(TINY_SD, narrow)


def test_a_folder_without_the_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no unet to start from"):
        load_start(UNet2DConditionModel, tmp_path, "unet", {})


def test_a_run_may_use_the_vae_of_a_model(tmp_path: Path) -> None:
    take_vae(TINY_SD, tmp_path)
    taken = AutoencoderKL.from_pretrained(tmp_path / "vae" / "model")
    shipped = AutoencoderKL.from_pretrained(TINY_SD, subfolder="vae", dtype=torch.float32)
    assert taken.config.scaling_factor == shipped.config.scaling_factor
    assert taken.dtype == torch.float32
    for name, value in shipped.state_dict().items():
        assert torch.equal(taken.state_dict()[name], value), name


def test_a_run_that_trains_a_vae_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "checkpoint.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="trains a VAE of its own"):
        take_vae(TINY_SD, tmp_path)
    assert not (tmp_path / "vae" / "model").exists()
