"""The parts of the evaluation: each measures one thing and returns plain values for JSON."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from sdhelpers.model.parts import Components
from training.judging.examination import examine, render_examination
from training.judging.judge import Answers, Judge, ask_judge
from training.judging.measures import (
    frechet_distance,
    mean_pairwise_distance,
    picture_psnrs,
    structural_similarities,
)
from training.judging.painting import Sampling, decode_encoded, paint, render, vary_unsaid
from training.judging.prompts import EvaluationSettings, Prompt, PromptSet, first_seed, join, score
from training.stages.autoencoder import encode_decode
from training.world.data import bytes_to_pixel_values, render_batches


def rows_of(answers: Answers, start: int, stop: int) -> Answers:
    """Return the answers about some of the pictures."""
    chosen = {question: indices[start:stop] for question, indices in answers.chosen.items()}
    return Answers(answers.nouns[start:stop], chosen, answers.features[start:stop])


def score_all(prompt_set: PromptSet, answers: Answers) -> dict[str, dict]:
    """Score every category, the answers being in the order of `join`."""
    results, start = {}, 0
    for category, prompts in prompt_set.items():
        stop = start + len(prompts)
        results[category] = score(category, prompts, rows_of(answers, start, stop))
        start = stop
    return results


def measure_vae(components: Components, num_scenes: int) -> dict:
    """Measure PSNR and SSIM of the VAE on held-out scenes: means over the pictures."""
    psnrs, similarities = [], []
    seeds = range(first_seed("vae"), first_seed("vae") + num_scenes)
    for pictures, *_ in render_batches(seeds, 32, num_workers=0):
        reconstructions = encode_decode(components.vae, pictures)[1].float()
        pixel_values = bytes_to_pixel_values(pictures)
        psnrs.append(picture_psnrs(reconstructions, pixel_values))
        similarities.append(structural_similarities(reconstructions, pixel_values))
    return {
        "num_scenes": num_scenes,
        "psnr": torch.cat(psnrs).mean().item(),
        "ssim": torch.cat(similarities).mean().item(),
    }


def measure_judge(components: Components, judge: Judge, num_scenes: int) -> dict:
    """Examine the judge on held-out renders, as they are and decoded through the VAE."""
    pictures, targets = render_examination(num_scenes, first_seed("examination"))
    return {
        "renders": examine(ask_judge(judge, pictures), targets),
        "decoded_renders": examine(ask_judge(judge, decode_encoded(components, pictures)), targets),
    }


def measure_fidelity(
    components: Components,
    judge: Judge,
    prompt_set: PromptSet,
    reference: PromptSet,
    sampling: Sampling,
    batch_size: int,
) -> dict:
    """Measure prompt fidelity and the Fréchet distance of the same pictures.

    Args:
        components: of the model.
        judge: the trained judge.
        prompt_set: the prompts to paint.
        reference: others, drawn the same way, whose renders the pictures are compared with.
        sampling: how to paint.
        batch_size: pictures at a time.

    Returns:
        "fidelity": category -> "painted", "renders" and "decoded_renders" (what the judge says of
        the true pictures: the highest share that a perfect model could reach); "frechet": the
        distance of each crowd to the reference.
    """
    prompts = join(prompt_set)
    renders = render(prompts)
    crowds = {
        "painted": paint(components, prompts, sampling, batch_size),
        "renders": renders,
        "decoded_renders": decode_encoded(components, renders),
    }
    target = ask_judge(judge, render(join(reference))).features
    answers = {name: ask_judge(judge, pictures) for name, pictures in crowds.items()}
    scores = {name: score_all(prompt_set, seen) for name, seen in answers.items()}
    return {
        "fidelity": {
            category: {name: scores[name][category] for name in crowds} for category in prompt_set
        },
        "frechet": {
            "num_pictures": len(prompts),
            **{name: frechet_distance(seen.features, target) for name, seen in answers.items()},
        },
    }


def measure_point(
    components: Components,
    judge: Judge,
    prompt_set: PromptSet,
    target: np.ndarray,
    sampling: Sampling,
    batch_size: int,
) -> dict:
    """Measure one point of a curve: fidelity, Fréchet distance, seconds per picture in a batch."""
    started = time.perf_counter()
    pictures = paint(components, join(prompt_set), sampling, batch_size)
    seconds = (time.perf_counter() - started) / len(pictures)
    answers = ask_judge(judge, pictures)
    scores = score_all(prompt_set, answers)
    return {
        "scheduler": sampling.scheduler,
        "num_inference_steps": sampling.num_inference_steps,
        "guidance_scale": sampling.guidance_scale,
        "fidelity": scores,
        "mean_fidelity": float(np.mean([result["share"] for result in scores.values()])),
        "frechet": frechet_distance(answers.features, target),
        "seconds_per_picture": seconds,
    }


def measure_diversity(
    components: Components,
    judge: Judge,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    settings: EvaluationSettings,
) -> dict:
    """Measure how much seeds differ: the mean pairwise distance of one prompt's pictures.

    Returns:
        "painted" and "renders": means over the prompts, of distances between 0 and 2; the renders
        draw anew whatever the prompt leaves open. "ratio": the first by the second.
    """
    distances = {"painted": [], "renders": []}
    for prompt in prompts:
        seeds = range(prompt.seed, prompt.seed + settings.num_seeds)
        varied = [replace(prompt, facts=vary_unsaid(prompt.facts, s), seed=s) for s in seeds]
        painted = paint(components, varied, sampling, settings.batch_size)
        for name, pictures in (("painted", painted), ("renders", render(varied))):
            features = ask_judge(judge, pictures).features
            distances[name].append(mean_pairwise_distance(features))
    means = {name: float(np.mean(values)) for name, values in distances.items()}
    first = {f"first_{name}": values[0] for name, values in distances.items()}
    return {
        "num_prompts": len(prompts),
        "num_seeds": settings.num_seeds,
        **means,
        "ratio": means["painted"] / means["renders"],
        "first_prompt": prompts[0].text,
        **first,
    }
