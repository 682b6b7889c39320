"""The caller's side of the loop, shared by the stages: EMA, progress, checkpoints, resume."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from training.checkpoints import load_checkpoint, save_checkpoint, write_atomically
from training.compiled import compile_checked
from training.loop import ComputeLoss, training_steps
from training.plan import Plan
from training.progress import Progress, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from accelerate import Accelerator

    from training.options import RunOptions
    from training.settings import TextEncoderSettings, UnetSettings, VaeSettings

SECONDS_BETWEEN_REPORTS = 15
SECONDS_BETWEEN_CHECKPOINTS = 180
SECONDS_BETWEEN_SAMPLES = 600


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
        settings: VaeSettings | TextEncoderSettings | UnetSettings,
        options: RunOptions,
        stage: str,
    ) -> None:
        self.accelerator = accelerator
        self.settings = settings
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
            "settings": json.dumps(asdict(self.settings)),
            "precision": self.accelerator.mixed_precision,
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
        saved, current = (
            json.loads(state["settings"]),
            json.loads(json.dumps(asdict(self.settings))),
        )
        changed = [name for name in current if saved.get(name) != current[name]]
        if changed:
            raise ValueError(
                f"{path} was made with other settings ({', '.join(changed)} differ); use them "
                "again, choose another --folder, or delete the checkpoint"
            )
        precision = state["precision"]
        if precision != self.accelerator.mixed_precision:  # "auto" may choose anew each time
            raise ValueError(f"{path} was made in another precision; say --precision {precision}")
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
