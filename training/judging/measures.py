"""Measures: how alike two pictures are, how alike two crowds of them, how sure a share is."""

import numpy as np
import torch
from scipy.spatial.distance import pdist
from scipy.stats import binomtest
from torch.nn import functional

# SSIM's window and constants, as Wang et al. 2004 published them.
SSIM_WINDOW_SIZE = 11  # pixels
SSIM_WINDOW_STD = 1.5  # pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03  # no unit, times the largest possible value


def check_same_shape(first: torch.Tensor, second: torch.Tensor) -> None:
    """Raise a ValueError unless both are batches of pictures of one shape."""
    if first.shape != second.shape or first.ndim != 4 or 0 in first.shape:
        raise ValueError(
            f"got pictures of shapes {tuple(first.shape)} and {tuple(second.shape)}; give two "
            "batches of one shape (B, C, H, W)"
        )


def picture_psnrs(ours: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Measure the peak signal-to-noise ratio of each picture.

    Args:
        ours: (B, C, H, W) in [-1, 1], for example decoded pictures.
        true: the same shape and range.

    Returns:
        (B,) float64 in dB: 10 * log10(2^2 / mean squared error); infinite for equal pictures.

    Raises:
        ValueError: if the shapes differ.
    """
    check_same_shape(ours, true)
    errors = (ours.double() - true.double()).square().flatten(1).mean(1)
    return 10 * (4 / errors).log10()


def gaussian_weights(size: int, std: float) -> torch.Tensor:
    """Return (size,) float32 weights of a Gaussian around the middle; they add up to 1."""
    distances = torch.arange(size) - (size - 1) / 2
    weights = (-distances.square() / (2 * std**2)).exp()
    return weights / weights.sum()


def blur(pixel_values: torch.Tensor, weights: torch.Tensor, padding: int = 0) -> torch.Tensor:
    """Average every pixel's neighbourhood, each channel by itself.

    Args:
        pixel_values: (B, C, H, W).
        weights: (K,), used down and across.
        padding: pixels by which the border is repeated first; K // 2 keeps the size.

    Returns:
        (B, C, H + 2 * padding - K + 1, W + 2 * padding - K + 1).
    """
    if padding:
        pixel_values = functional.pad(pixel_values, (padding,) * 4, mode="replicate")
    channels = pixel_values.shape[1]
    kernel = weights.to(pixel_values).expand(channels, 1, -1)
    down = functional.conv2d(pixel_values, kernel[..., None], groups=channels)
    return functional.conv2d(down, kernel[:, :, None], groups=channels)


def structural_similarities(ours: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Measure the SSIM of each picture: the mean over windows and channels.

    Per window, with means m, variances v and covariance c of the two (Gaussian weights):
    (2 m1 m2 + C1) (2 c + C2) / ((m1^2 + m2^2 + C1) (v1 + v2 + C2)), C = (K * 2)^2.

    Args:
        ours: (B, C, H, W) in [-1, 1]; H and W at least 11.
        true: the same shape and range.

    Returns:
        (B,) float64, at most 1, which is only reached by equal pictures.

    Raises:
        ValueError: if the shapes differ, or the pictures are smaller than the window.

    Source: Wang et al. 2004, Image Quality Assessment: From Error Visibility to Structural
    Similarity. Only windows that lie wholly inside the picture count.
    """
    check_same_shape(ours, true)
    if min(ours.shape[2:]) < SSIM_WINDOW_SIZE:
        raise ValueError(
            f"the pictures are {tuple(ours.shape[2:])} pixels; SSIM's window needs at least "
            f"{SSIM_WINDOW_SIZE} x {SSIM_WINDOW_SIZE}"
        )
    # From [-1, 1] to [0, 1], where the largest possible value is 1.
    first, second = (ours.double() + 1) / 2, (true.double() + 1) / 2
    weights = gaussian_weights(SSIM_WINDOW_SIZE, SSIM_WINDOW_STD)
    weights = weights.double() / weights.double().sum()
    mean_1, mean_2 = blur(first, weights), blur(second, weights)
    variance_1 = blur(first.square(), weights) - mean_1.square()
    variance_2 = blur(second.square(), weights) - mean_2.square()
    covariance = blur(first * second, weights) - mean_1 * mean_2
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    likeness = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    scale = (mean_1.square() + mean_2.square() + c1) * (variance_1 + variance_2 + c2)
    return (likeness / scale).flatten(1).mean(1)


def check_features(features: np.ndarray, least: int) -> None:
    """Raise a ValueError unless these are at least `least` finite vectors."""
    if features.ndim != 2 or len(features) < least or not np.isfinite(features).all():
        raise ValueError(
            f"got features of shape {features.shape}; give at least {least} finite vectors (N, D)"
        )


def symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """Return the root (D, D) of a symmetric matrix without negative eigenvalues."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Measure the Fréchet distance of two crowds of feature vectors, each taken for a Gaussian.

    With means m and covariances S: |m1 - m2|^2 + tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2). It is
    FID's formula, but only on Inception's features is the result called FID. Few vectors make it
    larger, so compare only distances of equally many.

    Args:
        first: (N, D) features; 2 vectors or more, better many times D.
        second: (M, D).

    Returns:
        float, at least 0, in squared units of the features.

    Raises:
        ValueError: if a crowd is too small, or D differs.
    """
    for features in (first, second):
        check_features(features, 2)
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"the features have {first.shape[1]} and {second.shape[1]} numbers; they must come "
            "from one judge"
        )
    first, second = first.astype(np.float64), second.astype(np.float64)
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    covariance_1 = np.cov(first, rowvar=False).reshape(first.shape[1], -1)
    covariance_2 = np.cov(second, rowvar=False).reshape(first.shape[1], -1)
    root_1 = symmetric_root(covariance_1)
    overlap = np.linalg.eigvalsh(root_1 @ covariance_2 @ root_1)
    spread = np.trace(covariance_1) + np.trace(covariance_2)
    return max(0.0, float(shift + spread - 2 * np.sqrt(overlap.clip(0)).sum()))


def mean_pairwise_distance(features: np.ndarray) -> float:
    """Return the mean Euclidean distance over all pairs of different rows of (N, D) features.

    Raises:
        ValueError: if there are fewer than two rows.
    """
    check_features(features, 2)
    return float(pdist(features).mean())


def share_with_interval(right: int, total: int) -> dict[str, float]:
    """Return a share and its 95 % Wilson interval as a dict for JSON.

    Args:
        right: successes.
        total: trials, at least 1.

    Raises:
        ValueError: if the counts are no counts.
    """
    interval = binomtest(right, total).proportion_ci(0.95, method="wilson")
    share = right / total
    return {
        "right": right,
        "total": total,
        "share": share,
        "low": interval.low,
        "high": interval.high,
    }
