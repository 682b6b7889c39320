"""The error of noise predictions per level, against the library's own parts."""

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from transformers import CLIPTokenizer

from sdhelpers import TINY_SD
from sdhelpers.model.loading import load_components
from training import noise_errors
from training.noise_errors import FIRST_SEED, TIMESTEPS, measure_noise_errors
from training.world.scenes import FIRST_EVALUATION_SEED, scene

BATCH_SIZE, NUM_SCENES = 4, 7  # more than one batch, and an odd rest


def noise_of_batch(index, shape):
    return torch.randn(shape, generator=noise_errors.make_step_generator(0, index))


@torch.no_grad()
@pytest.mark.thorough
def test_errors_agree_with_the_librarys_parts(monkeypatch):
    monkeypatch.setattr(noise_errors, "BATCH_SIZE", BATCH_SIZE)
    components = load_components(TINY_SD, device="cpu", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(TINY_SD / "tokenizer")
    ddpm = DDPMScheduler.from_pretrained(TINY_SD / "scheduler")
    found = measure_noise_errors(TINY_SD, NUM_SCENES)
    assert tuple(found) == TIMESTEPS
    scenes = [scene(FIRST_SEED + index) for index in range(NUM_SCENES)]
    noise = torch.cat(
        [noise_of_batch(0, (BATCH_SIZE, 4, 16, 16)), noise_of_batch(1, (3, 4, 16, 16))]
    )
    for timestep in (TIMESTEPS[0], TIMESTEPS[-1]):
        squares = []
        for row, made in enumerate(scenes):
            pixels = torch.from_numpy(np.array(made.image)).float()[None]
            pixel_values = pixels.permute(0, 3, 1, 2) / 127.5 - 1
            latents = components.vae.encode(pixel_values).latent_dist.mean
            latents = latents * components.vae.config.scaling_factor
            ids = tokenizer(
                made.caption, padding="max_length", truncation=True, return_tensors="pt"
            )
            text = components.text_encoder(ids.input_ids).last_hidden_state
            noisy = ddpm.add_noise(latents, noise[row : row + 1], torch.tensor([timestep]))
            noise_pred = components.unet(noisy, timestep, text).sample
            squares.append((noise_pred - noise[row]).square().mean())
        expected = torch.stack(squares).mean().item()
        assert found[timestep] == pytest.approx(expected, rel=1e-3)


def test_its_scenes_belong_to_the_evaluation():
    assert FIRST_SEED >= FIRST_EVALUATION_SEED


def test_no_scenes_and_a_folder_without_a_model_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        measure_noise_errors(TINY_SD, 0)
    with pytest.raises(ValueError, match="cannot be loaded"):
        measure_noise_errors(tmp_path, 1)
