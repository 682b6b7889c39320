"""The forward process by hand, the table of schedulers and their plans, against diffusers."""

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, LMSDiscreteScheduler

from sdhelpers.latents import make_generator
from sdhelpers.schedule import (
    SCHEDULERS,
    add_noise,
    alphas_cumprod_to_sigmas,
    betas_to_alphas_cumprod,
    has_unit_variance,
    interpolate_sigmas,
    make_betas,
    make_plan,
    make_scheduler,
    plan_sigmas,
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
    """By hand, and read from the library's plan of all thousand timesteps."""
    alphas_cumprod = betas_to_alphas_cumprod(make_betas())
    sigmas = alphas_cumprod_to_sigmas(alphas_cumprod)
    assert alphas_cumprod[[0, -1]].tolist() == pytest.approx([0.99915, 0.00466], abs=1e-5)
    assert sigmas[[0, -1]].tolist() == pytest.approx([0.0292, 14.6146], abs=1e-4)
    planned = plan_sigmas(make_plan(LMSDiscreteScheduler(**BETAS), 1000))
    assert planned == pytest.approx(sigmas.flip(0).tolist(), rel=1e-4)


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


def test_add_noise_equals_the_librarys() -> None:
    """One level for all, and one for each."""
    oracle = DDIMScheduler(num_train_timesteps=1000, **BETAS)
    latents, noise = torch.randn((2, 3, 4, 5, 6), generator=make_generator(0))
    for t in (0, 1, 500, 999):
        actual = add_noise(latents, noise, oracle.alphas_cumprod[t])
        expected = oracle.add_noise(latents, noise, torch.full((3,), t))
        torch.testing.assert_close(actual, expected)
        swapped = add_noise(noise, latents, oracle.alphas_cumprod[t])
        assert float((swapped - expected).abs().max()) > 0.01
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


@pytest.mark.parametrize(
    ("num_inference_steps", "spacing", "message"),
    [
        (1000, "leading", "from 1 to 999"),
        (0, "linspace", "from 1 to 999"),
        (10, "karras", "'leading' or 'linspace', got 'karras'"),
    ],
)
def test_plans_refuse_what_they_cannot_do(num_inference_steps, spacing, message) -> None:
    with pytest.raises(ValueError, match=message):
        plan_timesteps(num_inference_steps, spacing=spacing)


def test_the_table_has_the_five() -> None:
    assert list(SCHEDULERS) == ["K-LMS", "PNDM", "DDIM", "Euler", "DPM-Solver++"]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_keeps_the_models_betas(components, name) -> None:
    scheduler = make_scheduler(name, components.scheduler.config)
    assert type(scheduler) is SCHEDULERS[name]
    torch.testing.assert_close(scheduler.betas, components.scheduler.betas, atol=0, rtol=0)
    assert not getattr(scheduler.config, "clip_sample", False)


def test_unknown_name_lists_the_known(components) -> None:
    with pytest.raises(ValueError, match=r"Unknown scheduler 'LMS'.*K-LMS, PNDM, DDIM, Euler, DPM"):
        make_scheduler("LMS", components.scheduler.config)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_change_that_is_no_setting_is_refused(components, name) -> None:
    config = components.scheduler.config
    spaced = make_scheduler(name, config, timestep_spacing="trailing")
    assert spaced.config.timestep_spacing == "trailing"
    make_scheduler(name, config, set_alpha_to_one=True)  # for some of them, but no mistake
    with pytest.raises(ValueError, match=r"No scheduler has .* timestep_spaceing.*, beta_start,"):
        make_scheduler(name, config, timestep_spaceing="trailing")


@pytest.mark.parametrize("name", ["PNDM", "DDIM"])
def test_sigmas_are_reckoned_on_the_cpu(components, name) -> None:
    """`add_noise` leaves the schedule where its latents are: on a GPU without float64, maybe."""

    class OnGpu(torch.Tensor):
        """A tensor on a GPU, as far as one asks for double precision."""

        def cpu(self) -> torch.Tensor:
            return self.as_subclass(torch.Tensor)

        def double(self) -> torch.Tensor:
            raise TypeError("no float64 on this device")

    plan = make_plan(make_scheduler(name, components.scheduler.config), 7)
    expected = plan_sigmas(plan)
    plan.alphas_cumprod = plan.alphas_cumprod.as_subclass(OnGpu)
    assert plan_sigmas(plan) == expected


@pytest.mark.parametrize("num_inference_steps", [1, 2, 7, 50, 500, 998])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_sigmas_fit_the_librarys_forward_process(components, name, num_inference_steps) -> None:
    """Noise a clean 1 with a noise of 1 and of 0: the ratio of the parts is sigma."""
    plan = make_plan(make_scheduler(name, components.scheduler.config), num_inference_steps)
    sigmas = plan_sigmas(plan)
    assert len(sigmas) == len(plan.timesteps) >= num_inference_steps
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for index in {0, 1, len(sigmas) // 2, len(sigmas) - 1} & set(range(len(sigmas))):
        t = plan.timesteps[index : index + 1]
        signal, noise = plan.add_noise(one, zero, t), plan.add_noise(zero, one, t)
        assert float(noise / signal) == pytest.approx(sigmas[index], rel=1e-4)
        if has_unit_variance(plan):
            assert float(noise**2 + signal**2) == pytest.approx(1, rel=1e-5)
        else:
            assert float(signal) == pytest.approx(1)


def test_a_plan_is_a_copy(components) -> None:
    scheduler = make_scheduler("PNDM", components.scheduler.config)
    scheduler.set_timesteps(4)
    plan = make_plan(scheduler, 9)
    assert (len(scheduler.timesteps), len(plan.timesteps)) == (5, 10)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_plan_that_leaves_the_schedule_is_refused(components, name) -> None:
    """With SD 1's "leading" spacing and offset the library plans 1000 steps from timestep 1000,
    which its own step cannot look up, or (DPM-Solver++) a thousand times timestep 1.
    """
    scheduler = make_scheduler(name, components.scheduler.config)
    most = 998 if name == "DPM-Solver++" else 999
    assert len(make_plan(scheduler, most).timesteps) >= most
    for too_many in range(most + 1, 1001):
        with pytest.raises(ValueError, match=f"{too_many} is too many"):
            make_plan(scheduler, too_many)
