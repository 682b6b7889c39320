"""Train the judge that evaluates the model. It sees rendered scenes only, no painted picture.

Run: python -m training.train_judge --minutes 60
"""

import argparse
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional

from training.answers import Answers, ask_judge
from training.data import bytes_to_pixel_values
from training.judge import SMOKE_JUDGE, Judge, JudgeSettings, save_judge
from training.judge_data import render_examination, training_batches
from training.loop import ComputeLoss, make_step_generator
from training.measures import blur, gaussian_weights, share_with_interval
from training.options import RunOptions, add_run_arguments, make_accelerator, read_options
from training.questions import NO_ANSWER, QUESTIONS
from training.run import Run
from training.scenes import FIRST_EVALUATION_SEED
from training.settings import override

# Scenes of the examination at the end of training.
NUM_EXAMINED = 2000
BLUR_SIZE = 7  # pixels, the width of the widest blur's window


def degrade(
    pixel_values: torch.Tensor, settings: JudgeSettings, generator: torch.Generator
) -> torch.Tensor:
    """Blur some of the pictures and add noise, so that the judge doesn't live on crisp edges.

    Args:
        pixel_values: (B, 3, H, W) in [-1, 1]; left unchanged.
        settings: `JudgeSettings`.
        generator: the source of chance, on the pictures' device.

    Returns:
        The same shape, in [-1, 1].
    """
    device = pixel_values.device
    is_degraded = torch.rand(len(pixel_values), 1, 1, 1, generator=generator, device=device)
    width, strength = torch.rand(2, generator=generator, device=device).tolist()
    weights = gaussian_weights(BLUR_SIZE, 0.3 + (settings.max_blur - 0.3) * width)
    noise = torch.randn(pixel_values.shape, generator=generator, device=device)
    blurred = blur(pixel_values, weights, padding=BLUR_SIZE // 2)
    worse = (blurred + noise * settings.max_noise * strength).clamp(-1, 1)
    return torch.where(is_degraded < settings.degraded_share, worse, pixel_values)


def judge_loss(
    logits: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Add up the losses of all questions, in nats per picture.

    Args:
        logits: as of `Judge.forward`.
        targets: as of `make_targets`, stacked; `NO_ANSWER` costs nothing.

    Returns:
        (loss, figures): the scalar, and the share of right answers to each question.
    """
    loss = functional.binary_cross_entropy_with_logits(
        logits["nouns"].float(), targets["nouns"], reduction="sum"
    ) / len(targets["nouns"])
    figures = {}
    for question in QUESTIONS:
        target, is_asked = targets[question], targets[question] != NO_ANSWER
        num_asked = is_asked.sum().clamp(min=1)
        guesses = logits[question].float()
        losses = functional.cross_entropy(guesses, target, ignore_index=NO_ANSWER, reduction="sum")
        loss = loss + losses / num_asked
        figures[question] = (guesses.argmax(1) == target).sum() / is_asked.sum()
    return loss, figures


def make_compute_loss(
    batches: Iterator, settings: JudgeSettings, accelerator: Accelerator
) -> ComputeLoss:
    """Return the loss function of the judge's training steps.

    Args:
        batches: of `training_batches`, from the run's next step on.
        settings: `JudgeSettings`.
        accelerator: accelerate.Accelerator.
    """
    drawn = {}

    def compute_loss(
        model: nn.Module, step: int, share: float
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        if step not in drawn:  # a step may be asked for twice, to compare gradients
            drawn.clear()
            drawn[step] = next(batches)
        pictures, targets = drawn[step]
        device = accelerator.device
        generator = make_step_generator(settings.seed, step, accelerator.process_index, device)
        pixel_values = degrade(bytes_to_pixel_values(pictures.to(device)), settings, generator)
        targets = {name: target.to(device) for name, target in targets.items()}
        return judge_loss(model(pixel_values), targets)

    return compute_loss


def examine(answers: Answers, targets: dict[str, torch.Tensor]) -> dict[str, dict[str, float]]:
    """Compare answers with the truth, question by question.

    Args:
        answers: of the judge, about N pictures.
        targets: as of `make_targets`, stacked.

    Returns:
        question -> right, total, share, low, high (95 % Wilson interval). "nouns" counts the
        pictures whose nouns are all found and none besides. A question that no picture asks is
        absent.
    """
    is_right = (answers.nouns == targets["nouns"].bool().numpy()).all(1)
    results = {"nouns": share_with_interval(int(is_right.sum()), len(is_right))}
    for question in QUESTIONS:
        target = targets[question].numpy()
        total = int((target != NO_ANSWER).sum())
        if total:
            right = int((answers.chosen[question] == target).sum())
            results[question] = share_with_interval(right, total)
    return results


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
    parser = argparse.ArgumentParser(description=__doc__)
    add_run_arguments(parser)
    arguments = parser.parse_args()
    settings = SMOKE_JUDGE if arguments.smoke else JudgeSettings()
    train_judge(override(settings, arguments.set), read_options(arguments))


if __name__ == "__main__":
    main()
