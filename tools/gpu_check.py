"""Check an NVIDIA GPU: `python -m tools.gpu_check`. No download, random weights of the true size.

Our loop and the library's pipeline paint the same in turns. Printed, and asserted: the ratio of
their times, of their peak memories, the largest difference of their latents, that a seed means the
same noise as on the CPU, and what is said when the memory is full. Exits with 1 if a figure is out
of bounds, with 0 and a reason if there is no GPU.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch

from sdhelpers import generate
from sdhelpers.latents import initial_latents, make_generator
from sdhelpers.model.parts import Components
from tools.true_size import make_true_size, paint, paint_with_pipeline

LARGEST_TIME_RATIO = 1.02  # 1.00, and the noise of a measurement
LARGEST_MEMORY_RATIO = 1.00
LARGEST_DIFFERENCE = 1e-3  # of latents, in half precision


def measure(paint_once: Callable[[], tuple]) -> tuple[float, int]:
    """Give seconds and peak bytes of one run."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    started = time.perf_counter()
    paint_once()
    torch.cuda.synchronize()
    return time.perf_counter() - started, torch.cuda.max_memory_allocated()


def compare_runs(components: Components, num_steps: int, num_rounds: int) -> dict[str, float]:
    """Run both in turns; give ratios and the largest difference."""
    ways = {
        "ours": lambda: paint(components, num_steps),
        "pipeline": lambda: paint_with_pipeline(components, num_steps),
    }
    latents = {name: way()[0].float() for name, way in ways.items()}  # and warm up
    seconds, peaks = {name: [] for name in ways}, {name: [] for name in ways}
    for index in range(num_rounds):
        for name in list(ways)[:: 1 if index % 2 else -1]:
            one, peak = measure(ways[name])
            seconds[name].append(one)
            peaks[name].append(peak)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name in ways:
        print(f"{name:<9} median {medians[name]:.3f} s  peak {max(peaks[name]) / 1e6:.0f} MB")
    return {
        "time ratio": medians["ours"] / medians["pipeline"],
        "memory ratio": max(peaks["ours"]) / max(peaks["pipeline"]),
        "largest difference": (latents["ours"] - latents["pipeline"]).abs().max().item(),
    }


def compare_noise(components: Components) -> float:
    """Give the largest difference between a seed's noise here and on the CPU."""
    here = initial_latents(components.unet, components.vae, make_generator(3))
    shape = here.shape
    on_cpu = torch.randn(shape, generator=make_generator(3), dtype=torch.float32)
    return (here.cpu().float() - on_cpu.to(here.dtype).float()).abs().max().item()


def ask_for_too_much(components: Components) -> str:
    """Give what is said when the memory is full."""
    try:
        generate(
            components,
            "a castle",
            height=512 * 16,
            width=512 * 16,
            num_images_per_prompt=16,
            num_inference_steps=1,
            show_progress=False,
        )
    except torch.OutOfMemoryError as error:
        return " ".join(getattr(error, "__notes__", []))
    return ""


def main() -> int:
    """Check everything and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("No NVIDIA GPU here: nothing was checked.")
        return 0
    print(torch.cuda.get_device_name(), torch.__version__)
    components = make_true_size("cuda", torch.float16)
    found = compare_runs(components, options.steps, options.rounds)
    found["noise of a seed"] = compare_noise(components)
    note = ask_for_too_much(components)
    places = [note.find(word) for word in ("float16", "attention_slicing", "cpu_offload")]
    bounds = {
        "time ratio": LARGEST_TIME_RATIO,
        "memory ratio": LARGEST_MEMORY_RATIO,
        "largest difference": LARGEST_DIFFERENCE,
        "noise of a seed": 0.0,
    }
    is_good = min(places) >= 0 and places == sorted(places)
    print(f"out of memory: {note or 'nothing helpful was said'}")
    for name, value in found.items():
        fits = value <= bounds[name]  # False for NaN, too
        is_good &= fits
        print(f"{'ok ' if fits else 'BAD'}  {name:<20} {value:.5g} (at most {bounds[name]})")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
