"""What the judge sees in pictures."""

from dataclasses import dataclass

import numpy as np
import torch

from training.data import bytes_to_pixel_values
from training.judge import Judge
from training.nouns import NOUNS
from training.paint import IMAGE_SIZE
from training.questions import QUESTIONS


@dataclass(frozen=True)
class Answers:
    """What the judge sees in N pictures.

    Attributes:
        nouns: (N, 129) bool, whether each noun is there.
        chosen: question -> (N,) int, the index of the likeliest answer.
        features: (N, D) float32, of length 1.
    """

    nouns: np.ndarray
    chosen: dict[str, np.ndarray]
    features: np.ndarray

    def answer(self, row: int, question: str) -> str:
        """Return one answer in words."""
        return QUESTIONS[question][self.chosen[question][row]]

    def sees(self, row: int, noun: str) -> bool:
        """Say whether a noun is in a picture."""
        return bool(self.nouns[row, NOUNS.index(noun)])


@torch.inference_mode()
def ask_judge(judge: Judge, pictures: torch.Tensor, batch_size: int = 64) -> Answers:
    """Let the judge look at pictures.

    Args:
        judge: the network, on any device.
        pictures: (N, 3, 128, 128) uint8.
        batch_size: pictures at a time.

    Raises:
        ValueError: if the pictures have another shape or dtype.
    """
    if pictures.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE) or pictures.dtype != torch.uint8:
        raise ValueError(
            f"got pictures {tuple(pictures.shape)} {pictures.dtype}; the judge reads "
            f"(N, 3, {IMAGE_SIZE}, {IMAGE_SIZE}) uint8"
        )
    device = next(judge.parameters()).device
    batches = [
        {name: values.float().cpu() for name, values in judge(pixel_values.to(device)).items()}
        for pixel_values in map(bytes_to_pixel_values, pictures.split(batch_size))
    ]
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    chosen = {question: joined[question].argmax(1).numpy() for question in QUESTIONS}
    return Answers((joined["nouns"] > 0).numpy(), chosen, joined["features"].numpy())
