"""The forward process: how much noise each of the timesteps means, and a plan over them.

Notation: betas are beta_t, alphas_cumprod are alpha-bar_t ("abar", the product of all 1 - beta up
to t), sigmas are sqrt((1 - abar) / abar). All computing is on the CPU, in float32.
"""

import torch


def make_betas(
    num_train_timesteps: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012
) -> torch.Tensor:
    """Make the betas of the schedule called "scaled linear": their roots rise in equal steps.

    Args:
        num_train_timesteps: T, the number of noise levels that the model was trained on.
        beta_start: the first. The defaults are those of Stable Diffusion 1.
        beta_end: the last.

    Returns:
        (T,) in (0, 1), rising: the share of the variance that a level replaces by noise.

    Source: Rombach et al. 2022, Latent Diffusion Models, arXiv 2112.10752, and its code.
    """
    return torch.linspace(beta_start**0.5, beta_end**0.5, num_train_timesteps) ** 2


def betas_to_alphas_cumprod(betas: torch.Tensor) -> torch.Tensor:
    """Multiply up what each level keeps of the picture's variance.

    Args:
        betas: (T,) in (0, 1).

    Returns:
        (T,) in (0, 1), falling: entry t is the product of 1 - beta over the levels 0 to t.

    Source: Ho et al. 2020, arXiv 2006.11239, above equation 4.
    """
    return torch.cumprod(1 - betas, dim=0)


def alphas_cumprod_to_sigmas(alphas_cumprod: torch.Tensor) -> torch.Tensor:
    """Convert to noise-to-signal ratios.

    Args:
        alphas_cumprod: any shape, (0, 1].

    Returns:
        Same shape, from 0 up: sqrt((1 - abar) / abar). DDIM's paper calls something else sigma,
        the noise *added* per step; here that is `std_dev_t`.
    """
    return ((1 - alphas_cumprod) / alphas_cumprod).sqrt()


def sigmas_to_alphas_cumprod(sigmas: torch.Tensor) -> torch.Tensor:
    """Convert noise-to-signal ratios back: abar = 1 / (1 + sigma^2).

    Args:
        sigmas: any shape, 0 or more.

    Returns:
        Same shape, (0, 1].
    """
    return 1 / (1 + sigmas**2)


def add_noise(
    latents: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor | float
) -> torch.Tensor:
    """Jump from clean latents to any noise level at once.

    Args:
        latents: (B, 4, h, w), clean, about unit variance.
        noise: likewise, unit variance.
        alphas_cumprod: the level's entry: a number, or (B,) with one for each of the B.

    Returns:
        (B, 4, h, w), about unit variance again: sqrt(abar) * latents + sqrt(1 - abar) * noise.
        The arguments are unchanged.

    Raises:
        ValueError: if latents and noise differ in shape.

    Source: Ho et al. 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239, equation 4.
    """
    if latents.shape != noise.shape:
        raise ValueError(
            f"latents {tuple(latents.shape)} and noise {tuple(noise.shape)} must have the same "
            "shape: each number gets noise of its own."
        )
    abar = torch.as_tensor(alphas_cumprod).to(latents)
    if abar.ndim == 1:
        abar = abar.reshape(-1, *[1] * (latents.ndim - 1))
    return abar.sqrt() * latents + (1 - abar).sqrt() * noise


def plan_timesteps(
    num_inference_steps: int, num_train_timesteps: int = 1000, *, spacing: str = "leading"
) -> torch.Tensor:
    """Spread a few timesteps over the many that the model was trained on.

    Args:
        num_inference_steps: S, 1 or more and fewer than T.
        num_train_timesteps: T.
        spacing: "leading" ends at timestep 1 and rises by T // S, as Stable Diffusion's own
            PNDM and DDIM do (`steps_offset=1`). "linspace" spreads evenly from T - 1 to 0, with
            stops between the levels, as K-LMS and Euler do when made without a model's config.

    Returns:
        (S,) descending; int64 for "leading", float32 for "linspace".

    Raises:
        ValueError: if S is out of range or the spacing is neither.

    Source: the names are those of Lin et al. 2023, arXiv 2305.08891, table 2.
    """
    if not 1 <= num_inference_steps < num_train_timesteps:
        raise ValueError(
            f"num_inference_steps must be from 1 to {num_train_timesteps - 1}, "
            f"got {num_inference_steps}."
        )
    if spacing == "leading":
        stride = num_train_timesteps // num_inference_steps
        return torch.arange(num_inference_steps).flip(0) * stride + 1
    if spacing == "linspace":
        return torch.linspace(0, num_train_timesteps - 1, num_inference_steps).flip(0)
    raise ValueError(f"spacing must be 'leading' or 'linspace', got {spacing!r}.")


def sigmas_of_plan(timesteps: torch.Tensor, sigmas: torch.Tensor) -> torch.Tensor:
    """Look up the sigmas of a plan, on straight lines between the levels, and add the end.

    Args:
        timesteps: (S,) descending, in [0, T - 1], whole or not.
        sigmas: (T,) of all levels.

    Returns:
        (S + 1,) descending; the last is 0, no noise at all.
    """
    places = timesteps.to(sigmas)
    below = places.floor().long()
    above = (below + 1).clamp(max=len(sigmas) - 1)
    between = torch.lerp(sigmas[below], sigmas[above], places - below)
    return torch.cat([between, torch.zeros(1).to(sigmas)])
