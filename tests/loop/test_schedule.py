"""The table of schedulers and the sigmas of a plan."""

import pytest
import torch
from diffusers import LMSDiscreteScheduler

from sdhelpers.schedule import SCHEDULERS, has_unit_variance, make_plan, make_scheduler, plan_sigmas


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


def test_stable_diffusions_range_of_sigmas() -> None:
    """0.029 to 14.61 for SD 1's betas over all thousand timesteps."""
    scheduler = LMSDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000
    )
    sigmas = plan_sigmas(make_plan(scheduler, 1000))
    assert sigmas[0] == pytest.approx(14.6146, abs=1e-3)
    assert sigmas[-1] == pytest.approx(0.0292, abs=1e-3)


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
