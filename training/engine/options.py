"""What the command line decides about a run: budget, folder, precision, changed settings."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from accelerate import Accelerator

from training.engine.settings import SettingsT, override

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_FOLDER = Path("runs/tiny")


@dataclass(frozen=True)
class RunOptions:
    """What the command line decides about a run, beside the settings.

    Attributes:
        folder: where all stages of the run keep their files.
        num_steps, minutes: the budget; exactly one of them is given.
        precision: "no" (float32) or "bf16".
        use_compile: whether torch.compile translates the model first.
        start: a model folder whose weights a new run starts from; None starts from random ones.
    """

    folder: Path
    num_steps: int | None = None
    minutes: float | None = None
    precision: str = "no"
    use_compile: bool = False
    start: Path | None = None


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser what every stage takes: the folder, and changes of its settings."""
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="the run's files")
    parser.add_argument("--smoke", action="store_true", help="tiny settings: does it run at all?")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="change entries of the settings"
    )


def add_precision_argument(parser: argparse.ArgumentParser) -> None:
    """Give a parser the choice of precision.

    float32 runs well everywhere. A processor that can't multiply in bfloat16 imitates it, many
    times slower than float32, so bfloat16 is for those who know that theirs can.
    """
    parser.add_argument(
        "--precision",
        choices=("no", "bf16"),
        default="no",
        help="bf16 is faster on GPUs, and on CPUs with amx_bf16 or avx512_bf16; no is float32",
    )


def read_settings(
    arguments: argparse.Namespace, settings: SettingsT, smoke_settings: SettingsT
) -> SettingsT:
    """Return a stage's settings as a command line with `add_settings_arguments` wants them."""
    return override(smoke_settings if arguments.smoke else settings, arguments.set)


def train_from_command_line(
    description: str | None,
    settings: SettingsT,
    smoke_settings: SettingsT,
    train: Callable[[SettingsT, RunOptions], None],
    can_start: bool = True,
) -> None:
    """Train one stage as the command line says.

    Args:
        description: for `--help`.
        settings: the stage's.
        smoke_settings: tiny ones.
        train: takes the stage's settings and `RunOptions`.
        can_start: whether the stage can start from the weights of an earlier model.
    """
    parser = argparse.ArgumentParser(description=description)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float, help="training time, stops left out")
    budget.add_argument("--steps", type=int, help="optimiser steps, for repeatable runs")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for long runs")
    add_settings_arguments(parser)
    add_precision_argument(parser)
    if can_start:
        parser.add_argument(
            "--start", type=Path, help="a model folder whose weights a new run starts from"
        )
    arguments = parser.parse_args()
    options = RunOptions(
        arguments.folder,
        arguments.steps,
        arguments.minutes,
        arguments.precision,
        arguments.compile,
        arguments.start if can_start else None,
    )
    train(read_settings(arguments, settings, smoke_settings), options)


def make_accelerator(precision: str) -> Accelerator:
    """Return the accelerator of a run, in a precision of `RunOptions`."""
    torch.backends.cudnn.benchmark = True  # a GPU tries its convolutions: sizes stay the same
    return Accelerator(mixed_precision=precision)
