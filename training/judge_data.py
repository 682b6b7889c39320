"""Scenes with the true answers to the judge's questions, for its training and its examination."""

import itertools
import os
from collections.abc import Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Dataset

from training.judge import JudgeSettings
from training.questions import draw_judged_facts, make_targets
from training.scenes import FIRST_EVALUATION_SEED, paint_facts


class JudgedScenes(Dataset):
    """Scenes with the true answers; the seed is the index.

    Args:
        held_out_share: see `JudgeSettings`.
    """

    def __init__(self, held_out_share: float) -> None:
        self.held_out_share = held_out_share

    def __getitem__(self, seed: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return (picture, targets); the picture is (3, 128, 128) uint8."""
        facts = draw_judged_facts(seed, self.held_out_share)
        picture = np.array(paint_facts(facts, seed))
        return torch.from_numpy(picture).permute(2, 0, 1), make_targets(facts)


def batch_seeds(
    settings: JudgeSettings, step: int, process_index: int, num_processes: int
) -> range:
    """Return the seeds of one step on one process; no two steps share any."""
    start = (step * num_processes + process_index) * settings.batch_size
    seeds = range(settings.first_seed + start, settings.first_seed + start + settings.batch_size)
    if seeds[-1] >= FIRST_EVALUATION_SEED:
        raise ValueError(f"step {step} would train on seed {seeds[-1]}, kept for evaluation")
    return seeds


def training_batches(settings: JudgeSettings, accelerator: Accelerator, step: int) -> Iterator:
    """Render the batches of all steps from `step` on, ahead of time where cores allow.

    Yields:
        (pictures, targets): (B, 3, 128, 128) uint8, and a dict as of `make_targets`, stacked.
    """
    seeds = (
        batch_seeds(settings, index, accelerator.process_index, accelerator.num_processes)
        for index in itertools.count(step)
    )
    num_workers = (os.cpu_count() or 1) if settings.num_workers is None else settings.num_workers
    dataset = JudgedScenes(settings.held_out_share)
    yield from DataLoader(dataset, batch_sampler=seeds, num_workers=num_workers)


def render_examination(num_scenes: int, first_seed: int) -> tuple[torch.Tensor, dict]:
    """Render scenes as training draws them, from seeds of their own, with their true answers."""
    scenes = JudgedScenes(JudgeSettings().held_out_share)
    seeds = range(first_seed, first_seed + num_scenes)
    # No workers: they would be forked from a process that has trained, whose threads don't follow.
    batches = list(DataLoader(scenes, 64, sampler=seeds))
    pictures = torch.cat([pictures for pictures, _ in batches])
    names = batches[0][1]
    return pictures, {name: torch.cat([targets[name] for _, targets in batches]) for name in names}
