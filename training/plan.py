"""How long a run lasts and how its learning rate rises and falls."""

import math
from dataclasses import dataclass


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
