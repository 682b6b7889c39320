"""Answers to the exercises of notebook 05, one of them the library's."""

import numpy as np
import torch
from diffusers import DDIMScheduler

from sdhelpers.exercises.scheduler import (
    check_heun_step,
    check_sigmas_to_alphas_cumprod,
    check_trailing_plan,
    check_two_point_weights,
)


def heun(latents, sigma, next_sigma, slope):
    step = next_sigma - sigma
    first = slope(latents, sigma)
    return latents + step * (first + slope(latents + step * first, next_sigma)) / 2


def heun_from_first_try(latents, sigma, next_sigma, slope):
    step = next_sigma - sigma
    first = slope(latents, sigma)
    first_try = latents + step * first
    return first_try + step * (first + slope(first_try, next_sigma)) / 2


def heun_in_place(latents, sigma, next_sigma, slope):
    result = heun(latents, sigma, next_sigma, slope)
    return latents.copy_(result)


def weights(older, now, after):
    step = after - now
    ahead = step / 2 / (now - older)
    return [step * (1 + ahead), -step * ahead]


def trailing(steps, levels):
    return torch.arange(levels, 0, -levels / steps)[:steps].round().long() - 1


def by_library(steps, levels):
    scheduler = DDIMScheduler(num_train_timesteps=levels, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    return scheduler.timesteps


RIGHT = [
    (check_sigmas_to_alphas_cumprod, lambda sigmas: 1 / (1 + sigmas**2)),
    (check_sigmas_to_alphas_cumprod, lambda sigmas: (sigmas.square() + 1).reciprocal()),
    (check_trailing_plan, trailing),
    (check_trailing_plan, by_library),
    (check_trailing_plan, lambda n, levels: [round(levels - k * levels / n) - 1 for k in range(n)]),
    (check_heun_step, heun),
    (check_two_point_weights, weights),
    (check_two_point_weights, lambda *sigmas: tuple(map(torch.tensor, weights(*sigmas)))),
    (check_two_point_weights, lambda *sigmas: np.array(weights(*sigmas))),
]
WRONG = [
    (check_sigmas_to_alphas_cumprod, lambda sigmas: 1 / (1 + sigmas), "square the sigma"),
    (check_sigmas_to_alphas_cumprod, lambda sigmas: (1 + sigmas**2) ** -0.5, "sqrt(abar)"),
    (check_sigmas_to_alphas_cumprod, lambda sigmas: 1 - 1 / (1 + sigmas**2), "share of the noise"),
    (check_sigmas_to_alphas_cumprod, lambda sigmas: sigmas, None),
    (check_trailing_plan, lambda n, levels: trailing(n, levels) + 1, "the last of 1000 is 999"),
    (
        check_trailing_plan,
        lambda n, levels: [levels - k * (levels // n) - 1 for k in range(n)],
        "not rounded down",
    ),
    (
        check_trailing_plan,
        lambda n, levels: [1 + k * (levels // n) for k in reversed(range(n))],
        '"leading"',
    ),
    (check_trailing_plan, lambda n, levels: trailing(n, levels).flip(0), "wrong order"),
    (check_trailing_plan, lambda n, levels: levels, None),
    (
        check_heun_step,
        lambda x, sigma, after, slope: x + (after - sigma) * slope(x, sigma),
        "Euler",
    ),
    (
        check_heun_step,
        lambda x, sigma, after, slope: heun(x, sigma, after, lambda at, _: slope(at, sigma)),
        "at next_sigma",
    ),
    (
        check_heun_step,
        lambda x, sigma, after, slope: 2 * heun(x, sigma, after, slope) - x,
        "their mean",
    ),
    (check_heun_step, heun_from_first_try, "from the start"),
    (check_heun_step, lambda x, sigma, after, slope: slope(x, after), None),
    (
        check_two_point_weights,
        lambda older, now, after: [(after - now) * 3 / 2, (now - after) / 2],
        "equal steps",
    ),
    (check_two_point_weights, lambda *sigmas: weights(*sigmas)[::-1], "the newest first"),
    (
        check_two_point_weights,
        lambda older, now, after: [w / (after - now) for w in weights(older, now, after)],
        "add up to 1",
    ),
    (check_two_point_weights, lambda *sigmas: [-w for w in weights(*sigmas)], "turned round"),
    (check_two_point_weights, lambda *sigmas: sum(weights(*sigmas)), None),
]
