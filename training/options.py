"""What the command line decides about a run: budget, folder, precision, changed settings."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator

from training.settings import REAL_SETTINGS, SMOKE_SETTINGS, StageSettings, override

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_FOLDER = Path("runs/tiny")


@dataclass(frozen=True)
class RunOptions:
    """What the command line decides about a run, beside the settings.

    Attributes:
        folder: where all stages of the run keep their files.
        num_steps, minutes: the budget; exactly one of them is given.
        precision: "no" (float32), "bf16", or "auto": bf16 where it is faster.
        use_compile: whether torch.compile translates the model first.
        start: a model folder whose weights a new run starts from; None starts from random ones.
    """

    folder: Path
    num_steps: int | None = None
    minutes: float | None = None
    precision: str = "auto"
    use_compile: bool = False
    start: Path | None = None


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that every training stage takes."""
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="training time, stops left out")
    budget.add_argument("--steps", type=int, help="optimiser steps, for repeatable runs")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for long runs")
    add_shared_arguments(parser)


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that every stage takes: folder, precision, settings."""
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="the run's files")
    parser.add_argument("--precision", choices=("auto", "no", "bf16"), default="auto")
    parser.add_argument("--smoke", action="store_true", help="tiny settings: does it run at all?")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="change entries of settings.py"
    )


def read_settings(arguments: argparse.Namespace, stage: str) -> StageSettings:
    """Return a stage's settings as the command line wants them."""
    settings = (SMOKE_SETTINGS if arguments.smoke else REAL_SETTINGS)[stage]
    return override(settings, arguments.set)


def read_options(arguments: argparse.Namespace) -> RunOptions:
    """Return the `RunOptions` of a command line parsed with `add_run_arguments`."""
    return RunOptions(
        arguments.folder,
        arguments.steps,
        arguments.minutes,
        arguments.precision,
        arguments.compile,
        getattr(arguments, "start", None),
    )


def train_from_command_line(
    description: str | None, stage: str, train: Callable[[StageSettings, RunOptions], None]
) -> None:
    """Train one stage as the command line says.

    Args:
        description: for `--help`.
        stage: the stage's name in `settings.py`.
        train: takes the stage's settings and `RunOptions`.
    """
    parser = argparse.ArgumentParser(description=description)
    add_run_arguments(parser)
    parser.add_argument(
        "--start", type=Path, help="a model folder whose weights a new run starts from"
    )
    arguments = parser.parse_args()
    train(read_settings(arguments, stage), read_options(arguments))


def seconds_per_convolution(dtype: torch.dtype, repeats: int = 5) -> float:
    """Time a convolution like the VAE's on the CPU, forward and backward, in seconds."""
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    values = torch.zeros(8, 64, 32, 32).to(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            layer(values).square().mean().backward()
        best = min(best, time.perf_counter() - started)
    return best


def choose_precision(precision: str) -> str:
    """Turn "auto" into "bf16" where bfloat16 is faster (Apple's GPU not asked), else "no"."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if torch.backends.mps.is_available():
        return "no"
    is_faster = seconds_per_convolution(torch.bfloat16) < seconds_per_convolution(torch.float32)
    return "bf16" if is_faster else "no"


def make_accelerator(precision: str) -> Accelerator:
    """Return the accelerator of a run, in the precision that suits the machine."""
    torch.backends.cudnn.benchmark = True  # a GPU tries its convolutions: sizes stay the same
    return Accelerator(mixed_precision=choose_precision(precision))
