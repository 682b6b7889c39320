"""The training loop, as a generator: it takes steps; who iterates decides what else happens.

`Plan` says how long it lasts and how the learning rate rises and falls.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate.utils import broadcast_object_list

if TYPE_CHECKING:
    from accelerate import Accelerator

# No unit. Larger gradients are scaled down to this norm: one odd batch can't undo an hour.
MAX_GRADIENT_NORM = 1.0
# (model, step, share of the budget spent) -> (scalar loss, further figures).
ComputeLoss = Callable[[torch.nn.Module, int, float], tuple[torch.Tensor, dict[str, torch.Tensor]]]


@dataclass(frozen=True)
class Plan:
    """A budget of steps or of minutes, and the learning rate along it.

    The rate warms up, stays, and falls to zero along a cosine in the last part. A budget of steps
    makes a run repeatable, on one CPU to the last bit; one of minutes makes it end in time on any
    machine. Given a larger budget later, a finished run goes on: the rate rises again.

    Attributes:
        peak: the highest learning rate.
        num_warmup_steps: steps of linear rise.
        decay_share: share of the run in which the rate falls, in (0, 1].
        num_steps: the run's length in steps, or None.
        minutes: its length in minutes of training, stops left out, or None.
    """

    peak: float
    num_warmup_steps: int
    decay_share: float
    num_steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        """Check that there is exactly one budget, and a usable one."""
        if (self.num_steps is None) == (self.minutes is None):
            raise ValueError(
                f"a run needs a budget of steps or of minutes, got num_steps={self.num_steps} "
                f"and minutes={self.minutes}; give exactly one"
            )
        budget = self.num_steps if self.minutes is None else self.minutes
        if budget <= 0:
            raise ValueError(f"the budget is {budget}; give a number above 0")

    def share_done(self, step: int, seconds: float) -> float:
        """Return the share of the budget that is spent, 0 to 1.

        Args:
            step: steps done.
            seconds: training time so far.
        """
        if self.minutes is None:
            return min(1.0, step / self.num_steps)
        return min(1.0, seconds / (60 * self.minutes))

    def learning_rate(self, step: int, share: float) -> float:
        """Return the learning rate of the step numbered `step` from 0, at this share of the run."""
        rate = self.peak * min(1.0, (step + 1) / max(1, self.num_warmup_steps))
        fall = max(0.0, share - (1 - self.decay_share)) / self.decay_share
        return rate * 0.5 * (1 + math.cos(math.pi * fall))

    def seconds_left(self, step: int, seconds: float) -> float:
        """Estimate the training time that remains, from the rate so far."""
        if self.minutes is not None:
            return max(0.0, 60 * self.minutes - seconds)
        return max(0, self.num_steps - step) * seconds / max(1, step)


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
