"""Time what the live controls do: `python -m tools.bench_widgets`.

Everything is also given in multiples of one UNet call (of a doubled batch, as guidance needs it),
timed in the same minute: on a busy machine the multiples mean more than the milliseconds.
"""

import argparse
import statistics
import threading
import time
from collections.abc import Callable

import torch

from sdhelpers import load_components
from sdhelpers.images import tensor_to_image
from sdhelpers.latents import LinearPreview, fit_linear_preview, latents_to_rgb
from sdhelpers.model.parts import Components
from sdhelpers.steps import Step
from sdhelpers.widgets import guidance_mixer, playground, trajectory_explorer
from sdhelpers.widgets.explorer import TrajectoryExplorer
from sdhelpers.widgets.frames import enlarge
from sdhelpers.widgets.mixer import GuidanceMixer
from sdhelpers.widgets.panes import encode_png
from tests.runs import make_run

LARGEST_MOVE = 0.050  # seconds
LARGEST_MOVE_IN_CALLS = 0.5
LARGEST_OVERHEAD = 0.10
LARGEST_WAIT = 0.300  # seconds from a control's release to the first preview
LARGEST_PICTURE = 1.0  # seconds
NUM_STORED_STEPS = 6


def seconds(do: Callable[[], object]) -> float:
    """Time one call."""
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


@torch.no_grad()
def call_unet(components: Components, step: Step) -> None:
    """Ask the UNet once, as one step of the loop does."""
    components.unet(
        torch.cat([step.latents] * 2),
        step.timestep,
        encoder_hidden_states=torch.zeros(2, 77, components.unet.config.cross_attention_dim),
    )


def time_moves(
    components: Components, explorer: TrajectoryExplorer, mixer: GuidanceMixer, num_rounds: int
) -> dict[str, list[float]]:
    """Move each control to a new place once a round, and call the UNet once."""
    timed = {"UNet call": [], "mixer move": [], "explorer move": []}

    def move_mixer() -> None:
        mixer.guidance_scale.value = (mixer.guidance_scale.value + 0.7) % 20

    def move_explorer() -> None:
        explorer.slider.value = explorer.slider.value % NUM_STORED_STEPS + 1

    for _ in range(num_rounds):
        timed["UNet call"].append(seconds(lambda: call_unet(components, mixer.steps[0])))
        timed["mixer move"].append(seconds(move_mixer))
        timed["explorer move"].append(seconds(move_explorer))
    return timed


def time_previews(
    components: Components, preview: LinearPreview, num_steps: int, num_rounds: int
) -> dict[str, list[float]]:
    """Run the loop with a preview of every step, and without, in turns.

    A run's own steps differ more from minute to minute than previews cost, so both are also
    timed apart: what a run with previews spends outside the loop is their cost.
    """
    timed = {"run": [], "run with previews": [], "previews alone": []}
    steps = make_run(components, num_inference_steps=num_steps)

    def draw_previews() -> None:
        for step in steps:
            draw_preview(step, preview)

    def run_with_previews() -> None:
        for step in make_run(components, num_inference_steps=num_steps):
            draw_preview(step, preview)

    for index in range(num_rounds):
        runs = {
            "run": lambda: make_run(components, num_inference_steps=num_steps),
            "run with previews": run_with_previews,
            "previews alone": draw_previews,
        }
        for name in list(runs)[:: 1 if index % 2 else -1]:
            timed[name].append(seconds(runs[name]))
    return timed


def time_playground(
    components: Components, num_steps: int, num_rounds: int
) -> dict[str, list[float]]:
    """Release the guidance slider, and wait for the first preview, then for the picture."""
    timed = {"first preview": [], "picture": []}
    play = playground(components, num_inference_steps=num_steps, scheduler="DPM-Solver++")
    play.wait()
    has_changed = threading.Event()
    play.picture.observe(lambda change: has_changed.set(), names="value")
    slider = play.controls["guidance_scale"]
    for _ in range(num_rounds):
        has_changed.clear()
        started = time.perf_counter()
        slider.value = (slider.value + 0.7) % 20
        if not has_changed.wait(60):
            raise RuntimeError("no preview within a minute")
        timed["first preview"].append(time.perf_counter() - started)
        play.wait()
        timed["picture"].append(time.perf_counter() - started)
    play.close()
    return timed


def draw_preview(step: Step, preview: LinearPreview) -> bytes:
    """Draw what a live preview of a step shows: the clean guess, as the bytes of a picture."""
    pixel_values = latents_to_rgb(step.pred_original_sample, preview)
    return encode_png(enlarge(tensor_to_image(pixel_values)))


def main() -> None:
    """Print medians, in milliseconds and in UNet calls, beside what they may be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of moves")
    parser.add_argument("--runs", type=int, default=5, help="of the whole loop")
    parser.add_argument("--steps", type=int, default=20, help="of each run")
    options = parser.parse_args()
    components = load_components(device="cpu")
    preview = fit_linear_preview(components.vae)
    steps = make_run(components, num_inference_steps=NUM_STORED_STEPS)
    explorer = trajectory_explorer(steps, components.vae, preview=preview)
    mixer = guidance_mixer(steps[0], components.vae, preview=preview)

    timed = time_moves(components, explorer, mixer, options.rounds)
    timed |= time_previews(components, preview, options.steps, options.runs)
    timed |= time_playground(components, options.steps, options.runs)
    medians = {name: statistics.median(values) for name, values in timed.items()}
    one_call = medians["UNet call"]
    for name, median in medians.items():
        print(f"{name:<18} median {median * 1000:8.1f} ms  {median / one_call:6.3f} UNet calls")
    print(f"a move: at most {LARGEST_MOVE * 1000:.0f} ms, or {LARGEST_MOVE_IN_CALLS} UNet calls")
    print(
        f"first preview: at most {LARGEST_WAIT * 1000:.0f} ms; "
        f"a picture of 20 steps: at most {LARGEST_PICTURE * 1000:.0f} ms"
    )
    measured = medians["run with previews"] / medians["run"] - 1
    added = medians["previews alone"] / medians["run"]
    print(
        f"overhead of previews: {measured:.1%} by the whole runs, {added:.1%} by the previews "
        f"alone (at most {LARGEST_OVERHEAD:.0%})"
    )


if __name__ == "__main__":
    main()
