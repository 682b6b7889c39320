"""Evaluate a model: the VAE, prompt fidelity, a Fréchet distance, diversity, curves, speed.

Everything comes from seeds and prompts that training never saw. It takes hours on a CPU; killed and
started again, it goes on with the part that it was at.

Run: python -m training.evaluate
Or, for a model and a judge of your own: --model FOLDER --judge runs/tiny/judge/model
"""

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from sdhelpers import TINY_SD, Components, load_components
from training.engine.checkpoints import Kept, fingerprint, write_atomically
from training.engine.settings import override
from training.judging.evaluation import (
    measure_diversity,
    measure_fidelity,
    measure_judge,
    measure_point,
    measure_vae,
)
from training.judging.judge import JUDGE_FOLDER, Judge, ask_judge, load_judge
from training.judging.painting import Sampling, render, seconds_for_one
from training.judging.prompts import (
    EvaluationSettings,
    diversity_prompts,
    draw_prompt_set,
    join,
    seen_captions,
)
from training.judging.report import make_report, put_into_card

RESULTS_PATH = Path(__file__).parent / "results.json"


def describe_machine(device: torch.device) -> dict:
    """Say what the seconds were measured on."""
    is_cuda = device.type == "cuda"
    other = f"{platform.machine()} {device.type.upper()}"
    return {
        "device": torch.cuda.get_device_name(device) if is_cuda else other,
        "num_threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def measure_curves(
    components: Components,
    judge: Judge,
    settings: EvaluationSettings,
    barred: frozenset[str],
    keep: Kept,
    say: Callable[[str], None],
) -> tuple[list[dict], list[dict], Sampling]:
    """Measure both curves.

    Returns:
        (guidance_curve, steps_curve, sampling): lists of points as of `measure_point`, and the
        sampling of the main figures, at the chosen or the best guidance scale.
    """
    prompt_set = draw_prompt_set("curve", settings.num_curve_prompts, barred)
    others = draw_prompt_set("curve_reference", settings.num_curve_prompts, barred)
    target = ask_judge(judge, render(join(others))).features

    def measure(sampling: Sampling) -> dict:
        point = keep(
            f"point {sampling}",
            lambda: measure_point(
                components, judge, prompt_set, target, sampling, settings.batch_size
            ),
        )
        say(f"{sampling}: mean fidelity {point['mean_fidelity']:.3f}")
        return point

    first = Sampling(settings.schedulers[0], settings.num_inference_steps)
    guidance_curve = [measure(replace(first, guidance_scale=s)) for s in settings.guidance_scales]
    best = max(guidance_curve, key=lambda point: point["mean_fidelity"])["guidance_scale"]
    chosen = best if settings.guidance_scale is None else settings.guidance_scale
    steps_curve = [
        measure(Sampling(scheduler, num_steps, chosen))
        for scheduler in settings.schedulers
        for num_steps in settings.step_counts
    ]
    return guidance_curve, steps_curve, replace(first, guidance_scale=chosen)


def evaluate(
    components: Components,
    judge: Judge,
    settings: EvaluationSettings,
    keep: Kept,
    say: Callable[[str], None] = print,
) -> dict:
    """Measure everything.

    Args:
        components: of the model, in float32.
        judge: the trained judge, on the same device.
        settings: how much of everything.
        keep: the parts that a killed evaluation has measured already.
        say: is told how far it is.

    Returns:
        dict for JSON, see the functions of `evaluation`.

    Raises:
        ValueError: before any painting, if training saw nearly all possible prompts.
    """
    seen = seen_captions(settings.first_training_seed, settings.num_training_scenes)
    prompt_set = draw_prompt_set("prompts", settings.num_prompts, seen)
    reference = draw_prompt_set("reference", settings.num_prompts, seen)
    open_prompts = diversity_prompts(settings.num_diversity_prompts, seen)
    results = {"settings": asdict(settings), "machine": describe_machine(components.unet.device)}
    say(f"{len(seen)} captions of the training are barred")
    results["vae"] = keep("vae", lambda: measure_vae(components, settings.num_vae_scenes))
    say(f"VAE: PSNR {results['vae']['psnr']:.2f} dB, SSIM {results['vae']['ssim']:.4f}")
    results["judge"] = keep(
        "judge", lambda: measure_judge(components, judge, settings.num_examined)
    )
    barred = seen | {prompt.text for prompt in join(prompt_set)}  # the scale is chosen on others
    guidance_curve, steps_curve, sampling = measure_curves(
        components, judge, settings, barred, keep, say
    )
    say(f"painting the main figures with {sampling}")
    results["sampling"] = asdict(sampling)
    results |= keep(
        "fidelity",
        lambda: measure_fidelity(
            components, judge, prompt_set, reference, sampling, settings.batch_size
        ),
    )
    results["diversity"] = keep(
        "diversity",
        lambda: measure_diversity(components, judge, open_prompts, sampling, settings),
    )
    results["seconds_for_one_picture"] = seconds_for_one(components, sampling)
    return {**results, "guidance_curve": guidance_curve, "steps_curve": steps_curve}


def read_arguments() -> argparse.Namespace:
    """Read the command line; what belongs to the `EvaluationSettings` has their fields' names."""
    default = EvaluationSettings()
    parser = argparse.ArgumentParser(description=__doc__)

    def add_setting(option: str, name: str, type_: type, text: str) -> None:
        value = getattr(default, name)
        parser.add_argument(option, dest=name, type=type_, default=value, help=text)

    parser.add_argument("--model", type=Path, default=TINY_SD, help="model folder")
    parser.add_argument("--judge", type=Path, default=JUDGE_FOLDER, help="folder")
    add_setting("--prompts", "num_prompts", int, "per category")
    add_setting("--curve-prompts", "num_curve_prompts", int, "per category, at each point")
    add_setting("--vae-scenes", "num_vae_scenes", int, "for PSNR and SSIM")
    add_setting("--guidance", "guidance_scale", float, "of the main figures; else the best")
    add_setting("--batch-size", "batch_size", int, "pictures at a time")
    add_setting(
        "--training-scenes", "num_training_scenes", int, "the cache's num_scenes, if changed"
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="other EvaluationSettings"
    )
    parser.add_argument("--out", type=Path, default=RESULTS_PATH, help="a .md is put beside it")
    parser.add_argument("--card", type=Path, help="model card whose table is to be replaced")
    arguments = parser.parse_args()
    if arguments.out.suffix == ".md":
        parser.error("--out names the JSON file; the tables come beside it, as .md")
    return arguments


def write_results(results: dict, out: Path, card: Path | None) -> None:
    """Write the figures as JSON, the tables as Markdown beside it, and into the model card."""
    texts = {out: json.dumps(results, indent=1), out.with_suffix(".md"): make_report(results)}
    if card is not None:
        texts[card] = put_into_card(card.read_text(encoding="utf-8"), make_report(results))
    for path, text in texts.items():
        data = text.encode()
        write_atomically(path, lambda file, data=data: file.write(data))


def main() -> None:
    """Evaluate as the command line says."""
    arguments = read_arguments()
    names = {field.name for field in fields(EvaluationSettings)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    settings = EvaluationSettings(**given)
    settings = override(settings, arguments.set)
    if arguments.card is not None:  # better now than in an hour
        put_into_card(arguments.card.read_text(encoding="utf-8"), "")
    components = load_components(arguments.model, dtype=torch.float32)
    judge, config = load_judge(arguments.judge)
    mark = fingerprint([arguments.model, arguments.judge], asdict(settings))
    keep = Kept(arguments.out.with_suffix(".unfinished.json"), mark)
    results = evaluate(components, judge.to(components.unet.device), settings, keep)
    results = {"model": arguments.model.resolve().name, **results}
    results["judge"]["num_steps"] = config["num_steps"]
    write_results(results, arguments.out, arguments.card)
    keep.drop()
    print(make_report(results))


if __name__ == "__main__":
    main()
