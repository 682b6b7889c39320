"""The whole chain at toy size, to see that every stage runs: python -m training.smoke."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch

from sdhelpers import load_components
from training.engine.options import RunOptions, make_accelerator
from training.engine.settings import SMOKE_SETTINGS
from training.export import export
from training.judging.painting import Sampling, paint_images, save_grid
from training.stages.latent_cache import cache_latents
from training.train_text_encoder import train_text_encoder
from training.train_unet import train_unet
from training.train_vae import train_vae

# Optimiser steps of each stage: enough for every loss to fall clearly.
NUM_STEPS = {"vae": 60, "text_encoder": 40, "unet": 60}


def run_chain(folder: Path) -> Path:
    """Train all stages, export the model, paint two pictures with it.

    Args:
        folder: where the run, the model and the pictures go.

    Returns:
        Path of the model folder.
    """
    train_vae(SMOKE_SETTINGS["vae"], RunOptions(folder, NUM_STEPS["vae"]))
    cache_latents(SMOKE_SETTINGS["cache"], folder, make_accelerator("no"))
    train_text_encoder(
        SMOKE_SETTINGS["text_encoder"], RunOptions(folder, NUM_STEPS["text_encoder"])
    )
    train_unet(SMOKE_SETTINGS["unet"], RunOptions(folder, NUM_STEPS["unet"]))
    export(folder, folder / "model")
    prompts = ("a photograph of an astronaut riding a horse", "a cat")
    components = load_components(folder / "model", dtype=torch.float32)
    images = paint_images(components, prompts, range(2), Sampling(num_inference_steps=4))
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
