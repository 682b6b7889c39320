"""What the judge learns from, how it learns, and how it is examined on scenes it never saw."""

import itertools
import os
from collections.abc import Iterator

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from training.engine.loop import ComputeLoss, make_step_generator
from training.judging.judge import Answers, JudgeSettings
from training.judging.measures import blur, gaussian_weights, share_with_interval
from training.judging.questions import NO_ANSWER, QUESTIONS, draw_judged_facts, make_targets
from training.world.data import bytes_to_pixel_values, image_to_picture
from training.world.scenes import FIRST_EVALUATION_SEED, paint_facts

BLUR_SIZE = 7  # pixels, the width of the widest blur's window


class JudgedScenes(Dataset):
    """Scenes with the true answers; the seed is the index.

    Args:
        held_out_share: see `JudgeSettings`.
    """

    def __init__(self, held_out_share: float) -> None:
        self.held_out_share = held_out_share

    def __getitem__(self, seed: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return (picture, targets); the picture is (3, 128, 128) uint8."""
        facts = draw_judged_facts(seed, self.held_out_share)
        return image_to_picture(paint_facts(facts, seed)), make_targets(facts)


def batch_seeds(
    settings: JudgeSettings, step: int, process_index: int, num_processes: int
) -> range:
    """Return the seeds of one step on one process; no two steps share any."""
    start = (step * num_processes + process_index) * settings.batch_size
    seeds = range(settings.first_seed + start, settings.first_seed + start + settings.batch_size)
    if seeds[-1] >= FIRST_EVALUATION_SEED:
        raise ValueError(f"step {step} would train on seed {seeds[-1]}, kept for evaluation")
    return seeds


def training_batches(settings: JudgeSettings, accelerator: Accelerator, step: int) -> Iterator:
    """Render the batches of all steps from `step` on, ahead of time where cores allow.

    Yields:
        (pictures, targets): (B, 3, 128, 128) uint8, and a dict as of `make_targets`, stacked.
    """
    seeds = (
        batch_seeds(settings, index, accelerator.process_index, accelerator.num_processes)
        for index in itertools.count(step)
    )
    num_workers = (os.cpu_count() or 1) if settings.num_workers is None else settings.num_workers
    dataset = JudgedScenes(settings.held_out_share)
    yield from DataLoader(dataset, batch_sampler=seeds, num_workers=num_workers)


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


def render_examination(num_scenes: int, first_seed: int) -> tuple[torch.Tensor, dict]:
    """Render scenes as training draws them, from seeds of their own, with their true answers."""
    scenes = JudgedScenes(JudgeSettings().held_out_share)
    seeds = range(first_seed, first_seed + num_scenes)
    # No workers: they would be forked from a process that has trained, whose threads don't follow.
    batches = list(DataLoader(scenes, 64, sampler=seeds))
    pictures = torch.cat([pictures for pictures, _ in batches])
    names = batches[0][1]
    return pictures, {name: torch.cat([targets[name] for _, targets in batches]) for name in names}


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
