"""Train the judge that evaluates the model. It sees rendered scenes only, no painted picture.

Run: python -m training.train_judge --minutes 60
"""

import torch

from training.engine.options import RunOptions, make_accelerator, train_from_command_line
from training.engine.run import Run
from training.judging.examination import (
    examine,
    make_compute_loss,
    render_examination,
    training_batches,
)
from training.judging.judge import SMOKE_JUDGE, Judge, JudgeSettings, ask_judge, save_judge
from training.world.scenes import FIRST_EVALUATION_SEED

# Scenes of the examination at the end of training.
NUM_EXAMINED = 2000


def train_judge(settings: JudgeSettings, options: RunOptions) -> None:
    """Train the judge into `options.folder / "judge"`, then examine it on held-out scenes."""
    accelerator = make_accelerator(options.precision)
    torch.manual_seed(settings.seed)
    run = Run(accelerator, Judge(settings), settings, options, "judge")
    batches = training_batches(settings, accelerator, run.step)
    averaged = run.train(make_compute_loss(batches, settings, accelerator))
    if accelerator.is_main_process:
        save_judge(averaged, settings, run.step, run.folder / "model")
        pictures, targets = render_examination(NUM_EXAMINED, FIRST_EVALUATION_SEED)
        for question, result in examine(ask_judge(averaged.eval(), pictures), targets).items():
            print(f"{question:14} {result['share']:.4f} of {result['total']}")


def main() -> None:
    """Train the judge as the command line says."""
    train_from_command_line(__doc__, JudgeSettings(), SMOKE_JUDGE, train_judge, can_start=False)


if __name__ == "__main__":
    main()
