"""Progress: averaged figures, a line now and then with the time left, a history on disk."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from training.loop import TrainingStep
    from training.plan import Plan


def format_duration(seconds: float) -> str:
    """Write a time as "2 h 05 min" or "3 min 20 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


class Progress:
    """Averages the figures of the steps between two reports.

    Args:
        plan: `Plan`, for the time left.
        history: earlier reports, from a checkpoint; extended in place.
    """

    def __init__(self, plan: Plan, history: list[dict[str, float]]) -> None:
        self.plan = plan
        self.history = history
        self.values = defaultdict(list)

    def add(self, training_step: TrainingStep) -> None:
        """Take in one `TrainingStep`; a metric may be absent from some steps, or not a number."""
        self.values["loss"].append(training_step.loss)
        for name, value in training_step.metrics.items():
            self.values[name].append(value)

    def report(self, training_step: TrainingStep) -> str:
        """Average what came in since the last report and return a line that says it."""
        means = {name: torch.stack(values).nanmean().item() for name, values in self.values.items()}
        averages = {name: mean for name, mean in means.items() if not math.isnan(mean)}
        self.values.clear()
        step, seconds = training_step.step, training_step.seconds
        self.history.append({"step": step, "seconds": round(seconds, 1), **averages})
        figures = "  ".join(f"{name} {value:.4f}" for name, value in averages.items())
        left = format_duration(self.plan.seconds_left(step, seconds))
        return (
            f"step {step:6d}  {training_step.share:4.0%}  {figures}  "
            f"rate {training_step.learning_rate:.1e}  left {left}"
        )


class Stopwatch:
    """Says, when called, whether its interval has passed since it last said yes.

    Args:
        interval: seconds.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.last = time.monotonic()

    def __call__(self) -> bool:
        """Return True once per interval."""
        is_due = time.monotonic() - self.last >= self.interval
        if is_due:
            self.last = time.monotonic()
        return is_due
