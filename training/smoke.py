"""The whole chain at toy size, to see that every stage runs: python -m training.smoke."""

import argparse
import json
import tempfile
import time
from pathlib import Path

from training.cache_latents import cache_latents
from training.export import export
from training.options import RunOptions, choose_precision
from training.sample import load_pipeline, sample_images, save_grid
from training.settings import SMOKE_SETTINGS
from training.train_text_encoder import train_text_encoder
from training.train_unet import train_unet
from training.train_vae import train_vae

# Optimiser steps of each stage: enough for every loss to fall clearly.
NUM_STEPS = {"vae": 60, "text_encoder": 40, "unet": 60}


def run_chain(folder: Path, precision: str = "auto") -> Path:
    """Train all stages, export the model, paint two pictures with it.

    Args:
        folder: where the run, the model and the pictures go.
        precision: see `RunOptions`.

    Returns:
        Path of the model folder.
    """
    precision = choose_precision(precision)

    def options(stage: str) -> RunOptions:
        return RunOptions(folder, num_steps=NUM_STEPS[stage], precision=precision)

    train_vae(SMOKE_SETTINGS["vae"], options("vae"))
    cache_latents(SMOKE_SETTINGS["cache"], folder, precision)
    train_text_encoder(SMOKE_SETTINGS["text_encoder"], options("text_encoder"))
    train_unet(SMOKE_SETTINGS["unet"], options("unet"))
    export(folder, folder / "model")
    prompts = ("a photograph of an astronaut riding a horse", "a cat")
    images = sample_images(load_pipeline(folder / "model"), prompts, num_inference_steps=4)
    save_grid(images, folder / "samples.png")
    return folder / "model"


def main() -> None:
    """Run the chain in a temporary folder, or in a named one, and say how the losses fell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        run_chain(folder)
        for stage in NUM_STEPS:
            history = json.loads((folder / stage / "history.json").read_bytes())
            print(f"{stage}: loss {history[0]['loss']:.3f} -> {history[-1]['loss']:.3f}")
    print(f"the whole chain ran in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
