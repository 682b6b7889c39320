"""Classifier-free guidance: two predictions, mixed along a straight line.

The one home of the order [unconditional, text] in which the two travel through the UNet as one
batch, and of the formula that mixes them.
"""

import torch


def join_embeddings(uncond_embeddings: torch.Tensor, text_embeddings: torch.Tensor) -> torch.Tensor:
    """Stack both conditions into one batch, the unconditional half first.

    Args:
        uncond_embeddings: (B, L, D). Of the empty or the negative prompt; L is 77 for CLIP.
        text_embeddings: (B, L, D). Of the prompt.

    Returns:
        (2B, L, D), a new tensor; `split_prediction` takes the UNet's answer apart again.

    Raises:
        ValueError: if the two differ in shape.
    """
    _check_same_shape("uncond_embeddings", uncond_embeddings, "text_embeddings", text_embeddings)
    return torch.cat([uncond_embeddings, text_embeddings])


def split_prediction(noise_pred: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take the UNet's answer for a doubled batch apart.

    Args:
        noise_pred: (2B, 4, h, w), made from embeddings of `join_embeddings`.

    Returns:
        noise_pred_uncond, noise_pred_text: (B, 4, h, w) each, views of the input.

    Raises:
        ValueError: if the batch cannot be halved.
    """
    if noise_pred.ndim == 0 or len(noise_pred) == 0 or len(noise_pred) % 2:
        raise ValueError(
            "noise_pred must hold [unconditional, text] predictions, an even number of them, "
            f"got shape {tuple(noise_pred.shape)}."
        )
    noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
    return noise_pred_uncond, noise_pred_text


def apply_guidance(
    noise_pred_uncond: torch.Tensor, noise_pred_text: torch.Tensor, guidance_scale: float
) -> torch.Tensor:
    """Push the noise prediction away from "no prompt" and towards the prompt.

    Args:
        noise_pred_uncond: (B, 4, h, w). Prediction for the empty or the negative prompt.
        noise_pred_text: (B, 4, h, w). Prediction for the prompt.
        guidance_scale: no unit. 0 gives the unconditional prediction, 1 the plain conditional
            one, more extrapolates. Some codebases count from 0: their 6.5 is our 7.5.

    Returns:
        (B, 4, h, w), a new tensor; the inputs are left unchanged.

    Raises:
        ValueError: if the two predictions differ in shape.

    Source: Ho and Salimans 2022, Classifier-Free Diffusion Guidance, arXiv 2207.12598.
    """
    _check_same_shape("noise_pred_uncond", noise_pred_uncond, "noise_pred_text", noise_pred_text)
    return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)


def _check_same_shape(
    first_name: str, first: torch.Tensor, second_name: str, second: torch.Tensor
) -> None:
    """Raise a ValueError that names both tensors if their shapes differ."""
    if first.shape != second.shape:
        raise ValueError(
            f"{first_name} {tuple(first.shape)} and {second_name} {tuple(second.shape)} must have "
            "the same shape: one unconditional partner for each prompt."
        )
