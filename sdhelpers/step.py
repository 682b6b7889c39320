"""What the loop hands out: one Step per timestep."""

from dataclasses import dataclass
from functools import cached_property

import torch


@dataclass(frozen=True, eq=False)
class Step:
    """What one turn of the loop saw and did; all tensors (B, 4, h, w), on the UNet's device.

    The tensors are the loop's own, not copies. Editing `prev_sample` in place while the loop runs
    steers it (but for PNDM's first turn: its second begins again with the first latents); clone any
    other before editing, since some schedulers remember it.

    Attributes:
        index: place in the plan, from 0.
        timestep: the noise level as the UNet counts it, [0, num_train_timesteps).
        sigma: the noise-to-signal ratio at that timestep.
        signal_scale: what the clean latents are multiplied by inside `latents`: sqrt(abar) for
            DDIM, PNDM and DPM-Solver++, 1 for K-LMS and Euler.
        latents: before the step.
        noise_pred_uncond: prediction for the empty or negative prompt; None if guidance_scale
            is exactly 1, where it is neither needed nor computed.
        noise_pred_text: prediction for the prompt; None if guidance_scale is exactly 0.
        noise_pred: the two, mixed by guidance.
        prev_sample: after the step. "Previous" counts in diffusion time: here it comes next.
    """

    index: int
    timestep: float
    sigma: float
    signal_scale: float
    latents: torch.Tensor
    noise_pred_uncond: torch.Tensor | None
    noise_pred_text: torch.Tensor | None
    noise_pred: torch.Tensor
    prev_sample: torch.Tensor

    @cached_property
    def pred_original_sample(self) -> torch.Tensor:
        """The current guess of the clean latents, computed when first asked for.

        It solves latents = signal_scale * (clean + sigma * noise) for the clean latents, with
        the predicted noise in place of the true one (arXiv 2010.02502, equation 9).
        """
        return self.latents / self.signal_scale - self.sigma * self.noise_pred
