"""The caller's side of the loop, shared by the stages: EMA, progress, checkpoints, resume."""

from __future__ import annotations

import copy
import json
import math
import time
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from training.engine.checkpoints import load_checkpoint, save_checkpoint, write_atomically
from training.engine.compiled import compile_checked
from training.engine.loop import ComputeLoss, Plan, training_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from accelerate import Accelerator

    from training.engine.loop import TrainingStep
    from training.engine.options import RunOptions
    from training.engine.settings import TrainingSettings

SECONDS_BETWEEN_REPORTS = 15
SECONDS_BETWEEN_CHECKPOINTS = 180
SECONDS_BETWEEN_SAMPLES = 600


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


@torch.no_grad()
def update_average(
    average: torch.nn.Module, model: torch.nn.Module, decay: float, num_averaged: int
) -> None:
    """Let a copy of a model follow a running average of the model's weights, in place.

    The average is short at first, so that it forgets the random start. (torch's `AveragedModel`
    counts on the device, and each look at its count makes a GPU wait.)

    Args:
        average: the copy.
        model: the model in training.
        decay: no unit; 0.999 averages about the last 1,000 steps.
        num_averaged: how many steps the average holds so far.
    """
    decay = min(decay, (1 + num_averaged) / (10 + num_averaged)) if num_averaged else 0.0
    values = [parameter.detach() for parameter in model.parameters()]
    torch._foreach_lerp_(list(average.parameters()), values, 1 - decay)


class Run:
    """One stage's run: the model in training, its average, and where it stands.

    Args:
        accelerator: accelerate.Accelerator.
        model: torch.nn.Module with its first weights.
        settings: the stage's settings.
        options: `RunOptions`.
        stage: the stage's name, which is also the name of its folder.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: torch.nn.Module,
        settings: TrainingSettings,
        options: RunOptions,
        stage: str,
    ) -> None:
        self.accelerator = accelerator
        self.settings = settings
        # What a resumed run must share with the one that it goes on with.
        self.terms = asdict(settings) | {"precision": accelerator.mixed_precision}
        self.folder = options.folder / stage
        self.plan = Plan(
            settings.learning_rate,
            settings.num_warmup_steps,
            settings.decay_share,
            options.num_steps,
            options.minutes,
        )
        self.model = model.to(accelerator.device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.model)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            settings.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.01,
            fused=True,
        )
        self.step, self.seconds, self.history = 0, 0.0, []
        self.restore()
        self.prepared_model, self.prepared_optimizer = accelerator.prepare(model, self.optimizer)
        self.use_compile = options.use_compile

    def state(self) -> dict[str, Any]:
        """Return everything that a resumed run needs. The step is also the random state."""
        return {
            "settings": json.dumps(self.terms),
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def save(self) -> None:
        """Write the checkpoint and, for people and plots, the history; main process only."""
        if self.accelerator.is_main_process:
            save_checkpoint(self.folder / "checkpoint.pt", self.state())
            text = json.dumps(self.history, indent=1).encode()
            write_atomically(self.folder / "history.json", lambda file: file.write(text))

    def restore(self) -> None:
        """Take up the checkpoint in the run's folder, if there is one.

        Raises:
            ValueError: if it was made with other settings, or in another precision.
        """
        path = self.folder / "checkpoint.pt"
        state = load_checkpoint(path)
        if state is None:
            return
        saved, current = json.loads(state["settings"]), json.loads(json.dumps(self.terms))
        changed = [name for name in current if saved.get(name) != current[name]]
        if changed:
            raise ValueError(
                f"{path} was made with other settings ({', '.join(changed)} differ); use them "
                "again, choose another --folder, or delete the checkpoint"
            )
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.history = state["history"]
        self.accelerator.print(f"resuming {path} after step {self.step}")

    def train(
        self,
        compute_loss: ComputeLoss,
        show_samples: Callable[[torch.nn.Module, Path], None] | None = None,
    ) -> torch.nn.Module:
        """Train until the budget is spent.

        Args:
            compute_loss: see `loop.training_steps`.
            show_samples: function (averaged model, path of a PNG to write), called now and then;
                None where a stage has nothing to show.

        Returns:
            torch.nn.Module: the averaged model.

        Raises:
            RuntimeError: if the run is to be compiled, and that would change its gradients.
        """
        model = self.prepared_model
        if self.use_compile:
            share = self.plan.share_done(self.step, self.seconds)
            model = compile_checked(model, compute_loss, self.step, share, self.accelerator)
        progress = Progress(self.plan, self.history)
        report_due = Stopwatch(SECONDS_BETWEEN_REPORTS)
        checkpoint_due = Stopwatch(SECONDS_BETWEEN_CHECKPOINTS)
        samples_due = Stopwatch(SECONDS_BETWEEN_SAMPLES)
        steps = training_steps(
            self.accelerator,
            model,
            self.prepared_optimizer,
            compute_loss,
            self.plan,
            self.step,
            self.seconds,
        )
        for training_step in steps:
            update_average(self.average, self.model, self.settings.ema_decay, self.step)
            self.step, self.seconds = training_step.step, training_step.seconds
            progress.add(training_step)
            is_last = training_step.share >= 1
            is_early = self.step.bit_count() == 1  # steps 1, 2, 4, 8, ...
            if report_due() or is_early or is_last:
                self.accelerator.print(progress.report(training_step), flush=True)
            if checkpoint_due() or is_last:
                self.save()
            is_shown = show_samples is not None and self.accelerator.is_main_process
            if is_shown and (samples_due() or is_last):
                show_samples(self.average, self.folder / f"samples_{self.step:06d}.png")
        self.accelerator.wait_for_everyone()
        return self.average
