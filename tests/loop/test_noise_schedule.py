"""The forward process by hand against diffusers, the oracle."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, LMSDiscreteScheduler

from sdhelpers.latents import make_generator
from sdhelpers.schedule import (
    add_noise,
    alphas_cumprod_to_sigmas,
    betas_to_alphas_cumprod,
    interpolate_sigmas,
    make_betas,
    plan_timesteps,
    sigmas_to_alphas_cumprod,
)

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@pytest.mark.parametrize("num_train_timesteps", [1000, 10])
def test_betas_and_alphas_cumprod_equal_the_librarys(num_train_timesteps) -> None:
    oracle = DDPMScheduler(num_train_timesteps=num_train_timesteps, **BETAS)
    betas = make_betas(num_train_timesteps)
    torch.testing.assert_close(betas, oracle.betas, atol=0, rtol=0)
    torch.testing.assert_close(
        betas_to_alphas_cumprod(betas), oracle.alphas_cumprod, atol=0, rtol=0
    )


def test_other_ends_are_not_the_same() -> None:
    oracle = DDPMScheduler(num_train_timesteps=1000, **BETAS | {"beta_schedule": "linear"})
    assert float((make_betas() - oracle.betas).abs().max()) > 1e-3
    assert float(make_betas(4, beta_start=0.01, beta_end=0.04)[0]) == pytest.approx(0.01)


def test_stable_diffusions_figures() -> None:
    alphas_cumprod = betas_to_alphas_cumprod(make_betas())
    sigmas = alphas_cumprod_to_sigmas(alphas_cumprod)
    assert alphas_cumprod[[0, -1]].tolist() == pytest.approx([0.99915, 0.00466], abs=1e-5)
    assert sigmas[[0, -1]].tolist() == pytest.approx([0.0292, 14.6146], abs=1e-4)


def test_sigmas_and_alphas_cumprod_convert_into_each_other() -> None:
    alphas_cumprod = betas_to_alphas_cumprod(make_betas())
    there = alphas_cumprod_to_sigmas(alphas_cumprod)
    torch.testing.assert_close(sigmas_to_alphas_cumprod(there), alphas_cumprod)
    assert float(sigmas_to_alphas_cumprod(torch.tensor(0.0))) == 1


def test_many_small_steps_equal_one_jump() -> None:
    """Keep sqrt(1 - beta) of the picture, add sqrt(beta) of noise, level by level."""
    betas = make_betas()
    alphas_cumprod = betas_to_alphas_cumprod(betas)
    signal, variance = 1.0, 0.0
    for t, beta in enumerate(betas.tolist()):
        signal, variance = signal * (1 - beta) ** 0.5, variance * (1 - beta) + beta
        assert signal**2 == pytest.approx(float(alphas_cumprod[t]), rel=1e-4)
        assert variance == pytest.approx(1 - float(alphas_cumprod[t]), rel=1e-4)


@pytest.mark.parametrize("t", [0, 1, 500, 999])
def test_add_noise_equals_the_librarys(t) -> None:
    oracle = DDIMScheduler(num_train_timesteps=1000, **BETAS)
    latents, noise = torch.randn((2, 3, 4, 5, 6), generator=make_generator(0))
    actual = add_noise(latents, noise, oracle.alphas_cumprod[t])
    expected = oracle.add_noise(latents, noise, torch.full((3,), t))
    torch.testing.assert_close(actual, expected)
    swapped = add_noise(noise, latents, oracle.alphas_cumprod[t])
    assert float((swapped - expected).abs().max()) > 0.01


def test_add_noise_takes_one_level_for_each() -> None:
    oracle = DDIMScheduler(num_train_timesteps=1000, **BETAS)
    latents, noise = torch.randn((2, 3, 4, 5, 6), generator=make_generator(0))
    t = torch.tensor([10, 400, 999])
    actual = add_noise(latents, noise, oracle.alphas_cumprod[t])
    torch.testing.assert_close(actual, oracle.add_noise(latents, noise, t))
    with pytest.raises(ValueError, match="same shape"):
        add_noise(latents, noise[:2], 0.5)


@pytest.mark.parametrize("num_inference_steps", [1, 2, 3, 5, 7, 10, 20, 50, 100, 999])
def test_plans_equal_the_librarys(num_inference_steps) -> None:
    leading = DDIMScheduler(num_train_timesteps=1000, steps_offset=1, **BETAS)
    linspace = LMSDiscreteScheduler(num_train_timesteps=1000, **BETAS)
    for oracle, spacing in ((leading, "leading"), (linspace, "linspace")):
        oracle.set_timesteps(num_inference_steps)
        actual = plan_timesteps(num_inference_steps, spacing=spacing)
        assert actual.tolist() == pytest.approx(oracle.timesteps.tolist(), abs=1e-3)
    sigmas = interpolate_sigmas(
        plan_timesteps(num_inference_steps, spacing="linspace"),
        alphas_cumprod_to_sigmas(betas_to_alphas_cumprod(make_betas())),
    )
    torch.testing.assert_close(sigmas, linspace.sigmas, atol=1e-5, rtol=1e-5)
    assert len(sigmas) == num_inference_steps + 1


def test_plans_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ValueError, match="from 1 to 999"):
        plan_timesteps(1000)
    with pytest.raises(ValueError, match="from 1 to 999"):
        plan_timesteps(0)
    with pytest.raises(ValueError, match="'leading' or 'linspace', got 'karras'"):
        plan_timesteps(10, spacing="karras")
