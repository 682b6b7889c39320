"""The training loop, as a generator: it takes steps; who iterates decides what else happens."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import broadcast_object_list

if TYPE_CHECKING:
    from accelerate import Accelerator

    from training.plan import Plan

# No unit. Larger gradients are scaled down to this norm: one odd batch can't undo an hour.
MAX_GRADIENT_NORM = 1.0
# (model, step, share of the budget spent) -> (scalar loss, further figures).
ComputeLoss = Callable[[torch.nn.Module, int, float], tuple[torch.Tensor, dict[str, torch.Tensor]]]


@dataclass(frozen=True)
class TrainingStep:
    """What one optimiser step did.

    Attributes:
        step: steps done, this one included.
        seconds: training time so far, earlier parts of the run included.
        share: share of the budget spent.
        loss: the loss before the step, on this process: a scalar that stays on its device, for to
            read it would make a GPU wait.
        metrics: further figures, name -> scalar, likewise.
        learning_rate: the rate of this step.
    """

    step: int
    seconds: float
    share: float
    loss: torch.Tensor
    metrics: dict[str, torch.Tensor]
    learning_rate: float


def agree_on(value: float, accelerator: Accelerator) -> float:
    """Return the main process's value on every process."""
    if accelerator.num_processes == 1:
        return value
    return broadcast_object_list([value])[0]


def training_steps(
    accelerator: Accelerator,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    compute_loss: ComputeLoss,
    plan: Plan,
    step: int = 0,
    seconds: float = 0.0,
) -> Iterator[TrainingStep]:
    """Take optimiser steps until the budget is spent, yielding after each.

    Args:
        accelerator: accelerate.Accelerator.
        model: the prepared model.
        optimizer: the prepared optimiser.
        compute_loss: function (model, step, share) -> (scalar loss, dict of metrics). All its
            chance must come from `step`, so that a resumed run repeats an uninterrupted one.
        plan: `Plan`, the budget and the learning rate.
        step: steps already behind.
        seconds: training time already behind.

    Yields:
        `TrainingStep`. Time between two requests counts as training time too.
    """
    started = time.monotonic() - seconds
    share = plan.share_done(step, seconds)
    for index in itertools.count(step):
        if share >= 1:
            return
        learning_rate = plan.learning_rate(index, share)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        with accelerator.autocast():
            loss, metrics = compute_loss(model, index, share)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
        optimizer.step()
        seconds = agree_on(time.monotonic() - started, accelerator)
        share = plan.share_done(index + 1, seconds)
        yield TrainingStep(index + 1, seconds, share, loss.detach(), metrics, learning_rate)


def make_step_generator(
    seed: int, step: int, process_index: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return the source of all chance of one step on one process.

    It depends on nothing else, so the step number in a checkpoint *is* the random state.

    Args:
        seed: of the stage.
        step: its number, from 0.
        process_index: of the process.
        device: where it draws; the same seed draws other numbers on another kind of device.
    """
    sequence = np.random.SeedSequence((seed, step, process_index))
    return torch.Generator(device).manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
