"""The solvers written out: every latent of whole runs against diffusers, the oracle."""

from collections.abc import Callable, Iterator

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    LMSDiscreteScheduler,
    PNDMScheduler,
    SchedulerMixin,
)

from sdhelpers.latents import initial_latents, make_generator
from sdhelpers.lessons import solvers
from sdhelpers.lessons.solvers import (
    MULTISTEP_WEIGHTS,
    lms_weights,
    mix_predictions,
    run_ddim,
    run_euler,
    run_k_lms,
    run_pndm,
    step_ddim,
    step_euler,
)
from sdhelpers.schedule import (
    alphas_cumprod_to_sigmas,
    betas_to_alphas_cumprod,
    interpolate_sigmas,
    make_betas,
    plan_timesteps,
)

STABLE_DIFFUSION = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
}
LEADING = {"timestep_spacing": "leading", "steps_offset": 1}
LINSPACE = {"timestep_spacing": "linspace"}
OWN_END = {"set_alpha_to_one": False, "steps_offset": 1}
ORACLES = {
    "DDIM": (DDIMScheduler, OWN_END | {"clip_sample": False}),
    "PNDM": (PNDMScheduler, OWN_END | {"skip_prk_steps": True}),
    "Euler": (EulerDiscreteScheduler, LINSPACE),
    "Euler, leading": (EulerDiscreteScheduler, LEADING),
    "K-LMS": (LMSDiscreteScheduler, LINSPACE),
    "K-LMS, leading": (LMSDiscreteScheduler, LEADING),
}
TOLERANCE = 1e-4
ALPHAS_CUMPROD = betas_to_alphas_cumprod(make_betas())

PredictNoise = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

every_oracle = pytest.mark.parametrize("name", ORACLES)


def predict_smoothly(latents: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Stand in for the UNet: any smooth function of the latents and of t."""
    return 0.8 * torch.sin(1.3 * latents + 0.002 * float(t)) + 0.2 * latents.roll(1, -1)


def make_oracle(name: str, num_inference_steps: int) -> SchedulerMixin:
    scheduler_class, options = ORACLES[name]
    scheduler = scheduler_class(**STABLE_DIFFUSION, **options)
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


def run_oracle(
    scheduler: SchedulerMixin, predict_noise: PredictNoise, noise: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Walk with the library's scheduler, as every pipeline does."""
    latents = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        noise_pred = predict_noise(scheduler.scale_model_input(latents, t), t)
        latents = scheduler.step(noise_pred, t, latents).prev_sample
        yield latents


def run_ours(
    name: str, num_inference_steps: int, predict_noise: PredictNoise, noise: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Walk with ours; nothing is asked of the library, not even the plan."""
    spacing = "linspace" if ORACLES[name][1] == LINSPACE else "leading"
    timesteps = plan_timesteps(num_inference_steps, spacing=spacing)
    if name in ("DDIM", "PNDM"):
        run = {"DDIM": run_ddim, "PNDM": run_pndm}[name]
        return run(predict_noise, noise, timesteps, ALPHAS_CUMPROD)
    sigmas = interpolate_sigmas(timesteps, alphas_cumprod_to_sigmas(ALPHAS_CUMPROD))
    start = sigmas[0] if spacing == "linspace" else (sigmas[0] ** 2 + 1).sqrt()
    run = run_k_lms if name.startswith("K-LMS") else run_euler
    return run(predict_noise, noise * start, timesteps, sigmas)


def largest_difference(
    name: str, num_inference_steps: int, predict_noise: PredictNoise, noise: torch.Tensor
) -> float:
    """Compare all latents of two runs; NaN counts as infinitely far."""
    oracle = make_oracle(name, num_inference_steps)
    expected = list(run_oracle(oracle, predict_noise, noise))
    actual = list(run_ours(name, num_inference_steps, predict_noise, noise))
    assert len(actual) == len(expected) >= num_inference_steps
    differences = [
        float((one - other).abs().max()) for one, other in zip(actual, expected, strict=True)
    ]
    assert all(float(latents.abs().max()) > 0.01 for latents in expected), "a test of nothing"
    return max(float("inf") if one != one else one for one in differences)


def draw_noise(shape: tuple[int, ...] = (2, 4, 6, 5)) -> torch.Tensor:
    return torch.randn(shape, generator=make_generator(0))


@pytest.mark.parametrize("num_inference_steps", [1, 2, 3, 4, 5, 7, 10, 20, 50, 100])
@every_oracle
def test_whole_runs_equal_the_librarys(name, num_inference_steps) -> None:
    noise = draw_noise().double()  # float32 adds up to 1e-4 of rounding on some processors
    difference = largest_difference(name, num_inference_steps, predict_smoothly, noise)
    assert difference <= TOLERANCE


@every_oracle
def test_whole_runs_equal_with_the_real_unet(components, name) -> None:
    noise = initial_latents(components.unet, components.vae, make_generator(0))
    width = components.unet.config.cross_attention_dim
    embeddings = torch.randn((1, 9, width), generator=make_generator(1))

    @torch.no_grad()
    def predict_noise(latents: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return components.unet(latents, t, encoder_hidden_states=embeddings).sample

    assert largest_difference(name, 6, predict_noise, noise) <= TOLERANCE


@pytest.mark.parametrize("num_inference_steps", [5, 50])
def test_swapped_multistep_weights_are_noticed(monkeypatch, num_inference_steps) -> None:
    swapped = {order: weights[::-1] for order, weights in MULTISTEP_WEIGHTS.items()}
    monkeypatch.setattr(solvers, "MULTISTEP_WEIGHTS", swapped)
    assert largest_difference("PNDM", num_inference_steps, predict_smoothly, draw_noise()) > 0.1


@pytest.mark.parametrize("num_inference_steps", [5, 50])
def test_swapped_lms_weights_are_noticed(monkeypatch, num_inference_steps) -> None:
    right = solvers.lms_weights
    monkeypatch.setattr(solvers, "lms_weights", lambda *given: right(*given)[::-1])
    assert largest_difference("K-LMS", num_inference_steps, predict_smoothly, draw_noise()) > 0.1


@pytest.mark.parametrize("num_inference_steps", [5, 20])
def test_fewer_remembered_predictions_are_noticed(num_inference_steps) -> None:
    """Order 1 is Euler, exactly; order 3 is no longer diffusers' K-LMS."""
    timesteps = plan_timesteps(num_inference_steps, spacing="linspace")
    sigmas = interpolate_sigmas(timesteps, alphas_cumprod_to_sigmas(ALPHAS_CUMPROD))
    start = draw_noise() * sigmas[0]
    walk = (predict_smoothly, start, timesteps, sigmas)
    *_, first_order = run_k_lms(*walk, order=1)
    *_, third_order = run_k_lms(*walk, order=3)
    *_, fourth_order = run_k_lms(*walk)
    *_, by_euler = run_euler(*walk)
    torch.testing.assert_close(first_order, by_euler)
    assert float((third_order - fourth_order).abs().max()) > 1e-3


@pytest.mark.parametrize("num_inference_steps", [5, 20])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_lms_weights_equal_the_librarys_integrals(order, num_inference_steps) -> None:
    oracle = make_oracle("K-LMS", num_inference_steps)
    for index in range(num_inference_steps):
        used = min(order, index + 1)
        expected = [oracle.get_lms_coefficient(used, index, place) for place in range(used)]
        actual = lms_weights(oracle.sigmas, index, order)
        assert actual == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_lms_weights_share_out_the_step() -> None:
    """If all predictions are equal, any method must go the whole step, and no further."""
    sigmas = torch.tensor([9.0, 7.0, 4.0, 3.5, 1.0, 0.0])
    for index in range(5):
        step = float(sigmas[index + 1] - sigmas[index])
        assert sum(lms_weights(sigmas, index)) == pytest.approx(step)


def test_pndms_weights_are_those_of_k_lms_for_equal_steps() -> None:
    sigmas = torch.linspace(5, 0, 6)
    assert list(MULTISTEP_WEIGHTS) == [1, 2, 3, 4]
    for order, weights in MULTISTEP_WEIGHTS.items():
        assert [-weight for weight in lms_weights(sigmas, 4, order)] == pytest.approx(weights)
        assert sum(weights) == pytest.approx(1)


def test_mix_predictions_takes_the_newest_first() -> None:
    old, new = torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)
    torch.testing.assert_close(mix_predictions([old, new]), 1.5 * new)
    torch.testing.assert_close(mix_predictions([new, old]), -0.5 * new)
    many = [torch.full((1,), float(number)) for number in (100, 100, 1, 2, 4, 8)]
    expected = torch.tensor([(55 * 8 - 59 * 4 + 37 * 2 - 9 * 1) / 24])
    torch.testing.assert_close(mix_predictions(many), expected)
    with pytest.raises(ValueError, match="at least one"):
        mix_predictions([])


def test_ddim_and_euler_are_one_step_in_two_coordinates() -> None:
    """Dividing by sqrt(abar) turns DDIM's latents into Euler's."""
    latents, noise_pred = draw_noise(), draw_noise().flip(-1)
    abar, prev_abar = ALPHAS_CUMPROD[601], ALPHAS_CUMPROD[401]
    sigma, next_sigma = alphas_cumprod_to_sigmas(torch.stack([abar, prev_abar]))
    by_ddim = step_ddim(latents, noise_pred, abar, prev_abar)
    by_euler = step_euler(latents / abar.sqrt(), noise_pred, sigma, next_sigma)
    torch.testing.assert_close(by_ddim / prev_abar.sqrt(), by_euler)


def test_a_perfect_prediction_leads_to_the_clean_latents_in_one_step() -> None:
    clean, noise = draw_noise(), draw_noise().flip(-1)
    abar = ALPHAS_CUMPROD[700]
    sigma = alphas_cumprod_to_sigmas(abar)
    noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
    torch.testing.assert_close(step_ddim(noisy, noise, abar, torch.tensor(1.0)), clean)
    torch.testing.assert_close(step_euler(clean + sigma * noise, noise, sigma, 0.0), clean)


@pytest.mark.parametrize("run", [run_ddim, run_pndm, run_euler, run_k_lms])
def test_runs_leave_their_arguments_unchanged_and_may_be_repeated(run) -> None:
    timesteps = plan_timesteps(5)
    levels = ALPHAS_CUMPROD
    if run in (run_euler, run_k_lms):
        levels = interpolate_sigmas(timesteps, alphas_cumprod_to_sigmas(ALPHAS_CUMPROD))
    noise = draw_noise()
    *_, first = run(predict_smoothly, noise, timesteps, levels)
    torch.testing.assert_close(noise, draw_noise(), atol=0, rtol=0)
    *_, second = run(predict_smoothly, noise, timesteps, levels)
    torch.testing.assert_close(first, second, atol=0, rtol=0)


@pytest.mark.parametrize("num_inference_steps", [1, 2, 5, 20])
def test_pndm_asks_once_more_than_it_has_levels(num_inference_steps) -> None:
    asked = []

    def predict_noise(latents: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(int(t))
        return predict_smoothly(latents, t)

    timesteps = plan_timesteps(num_inference_steps)
    list(run_pndm(predict_noise, draw_noise(), timesteps, ALPHAS_CUMPROD))
    assert asked == make_oracle("PNDM", num_inference_steps).timesteps.tolist()
    assert len(asked) == num_inference_steps + (num_inference_steps > 1)


@pytest.mark.parametrize("run", [run_euler, run_k_lms])
def test_sigmas_need_one_more_than_timesteps(run) -> None:
    with pytest.raises(ValueError, match=r"one more.*got 5 sigmas for 5 timesteps"):
        list(run(predict_smoothly, draw_noise(), plan_timesteps(5), torch.linspace(5, 0, 5)))


@pytest.mark.parametrize("order", [0, 5])
def test_only_four_orders(order) -> None:
    with pytest.raises(ValueError, match="order must be from 1 to 4"):
        lms_weights(torch.linspace(5, 0, 6), 4, order)
