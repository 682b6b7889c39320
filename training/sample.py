"""Paint pictures with a model that was trained, into one PNG.

Run: python -m training.sample --prompts "a cat in the snow" "a blue car" --out samples.png
"""

import argparse
from pathlib import Path

import torch

from sdhelpers import TINY_SD, load_components
from sdhelpers.schedule import SCHEDULERS
from training.judging.painting import Sampling, paint_images, save_grid


def main() -> None:
    """Paint what the command line asks for."""
    default = Sampling()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=TINY_SD, help="model folder")
    parser.add_argument("--prompts", nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the first picture")
    parser.add_argument("--steps", type=int, default=default.num_inference_steps)
    parser.add_argument("--guidance", type=float, default=default.guidance_scale)
    parser.add_argument("--scheduler", choices=SCHEDULERS, default=default.scheduler)
    parser.add_argument("--out", type=Path, default=Path("samples.png"))
    arguments = parser.parse_args()
    components = load_components(arguments.model, dtype=torch.float32)
    seeds = range(arguments.seed, arguments.seed + len(arguments.prompts))
    sampling = Sampling(arguments.scheduler, arguments.steps, arguments.guidance)
    save_grid(paint_images(components, arguments.prompts, seeds, sampling), arguments.out)


if __name__ == "__main__":
    main()
