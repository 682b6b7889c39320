"""Compare our loop's time and memory with the pipeline's: `python -m tools.bench_loop`.

Both paint the same picture with the same parts, in turns, in one run. Noise on a busy machine hits
both alike, so the ratio of the medians means more than the seconds.
"""

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from sdhelpers import generate, load_components
from sdhelpers.model.parts import Components
from tests.conftest import PROMPT, make_pipeline

LARGEST_RATIO = 1.02
MEBIBYTE = 2**20


def make_painters(components: Components, num_inference_steps: int) -> dict[str, Callable]:
    """Give both ways of painting the same picture, from a prompt to a PIL image."""
    pipeline = make_pipeline(components)
    steps = {"num_inference_steps": num_inference_steps}
    return {
        "ours": lambda: generate(components, PROMPT, seed=0, show_progress=False, **steps),
        "pipeline": lambda: (
            pipeline(PROMPT, generator=torch.Generator().manual_seed(0), **steps).images
        ),
    }


def time_in_turns(painters: dict[str, Callable], num_rounds: int) -> dict[str, list[float]]:
    """Time every painter once a round, in changing order; seconds."""
    seconds = {name: [] for name in painters}
    for index in range(num_rounds):
        order = list(painters) if index % 2 else list(painters)[::-1]
        for name in order:
            started = time.perf_counter()
            painters[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def peak_memory(paint: Callable) -> int:
    """Give the most bytes that tensors made during one run held at any moment."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        paint()
    held = peak = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def main() -> None:
    """Print medians, their ratio and both peaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    painters = make_painters(load_components(device="cpu"), options.steps)
    for paint in painters.values():
        paint()  # the first run of anything is slow

    seconds = time_in_turns(painters, options.rounds)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    peaks = {name: peak_memory(paint) for name, paint in painters.items()}
    for name in painters:
        print(
            f"{name:<9} median {medians[name]:.4f} s  fastest {min(seconds[name]):.4f} s  "
            f"peak {peaks[name] / MEBIBYTE:.2f} MiB"
        )
    ratio = medians["ours"] / medians["pipeline"]
    print(f"time: {ratio:.3f} of the pipeline's (at most {LARGEST_RATIO})")
    print(f"peak memory: {peaks['ours'] / peaks['pipeline']:.3f} of the pipeline's (at most 1)")


if __name__ == "__main__":
    main()
