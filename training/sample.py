"""Paint pictures with the model: from a folder on disk, or from its parts in training.

Run: python -m training.sample --prompts "a cat in the snow" "a blue car" --out samples.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
)
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

SHIPPED_FOLDER = Path(__file__).parents[1] / "sdhelpers" / "tiny_sd"
SCHEDULERS = {
    "dpm": DPMSolverMultistepScheduler,
    "ddim": DDIMScheduler,
    "pndm": PNDMScheduler,
}


def make_scheduler() -> PNDMScheduler:
    """Return PNDM with the settings of Stable Diffusion v1-4: the config file that ships."""
    return PNDMScheduler.from_pretrained(SHIPPED_FOLDER, subfolder="scheduler")


def make_pipeline(
    vae: AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    unet: UNet2DConditionModel,
) -> StableDiffusionPipeline:
    """Put the parts together as the library's pipeline, quiet and without safety checker."""
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def use_scheduler(pipeline: StableDiffusionPipeline, name: str) -> None:
    """Give a pipeline one of the `SCHEDULERS`, on the same noise schedule.

    Raises:
        ValueError: if the name is none of them.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"no scheduler {name!r}; choose one of {', '.join(SCHEDULERS)}")
    pipeline.scheduler = SCHEDULERS[name].from_config(pipeline.scheduler.config)


def sample_images(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    first_seed: int = 0,
    num_inference_steps: int = 20,
    guidance_scale: float = 5.0,
    scheduler: str = "dpm",
    batch_size: int = 8,
) -> list[Image.Image]:
    """Paint one picture for each prompt; the picture of row i has the seed first_seed + i.

    The noise is drawn on the CPU, one generator per picture, so that a picture depends neither
    on its neighbours in the batch nor on the device.

    Args:
        pipeline: StableDiffusionPipeline; its scheduler is replaced.
        prompts: sequence of str.
        first_seed: int.
        num_inference_steps: steps of the scheduler.
        guidance_scale: no unit; 1 is no guidance.
        scheduler: one of `SCHEDULERS`.
        batch_size: pictures at a time.

    Returns:
        list of PIL RGB.
    """
    use_scheduler(pipeline, scheduler)
    images = []
    for start in range(0, len(prompts), batch_size):
        batch = list(prompts[start : start + batch_size])
        generators = [
            torch.Generator().manual_seed(first_seed + start + row) for row in range(len(batch))
        ]
        images += pipeline(
            batch,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=generators,
        ).images
    return images


def save_grid(images: Sequence[Image.Image], path: Path, num_columns: int = 8) -> None:
    """Write pictures of one size into one PNG, row by row.

    Raises:
        ValueError: if there are no pictures.
    """
    if not images:
        raise ValueError("no images to show; give at least one")
    width, height = images[0].size
    num_columns = min(num_columns, len(images))
    num_rows = -(-len(images) // num_columns)
    grid = Image.new("RGB", (num_columns * width, num_rows * height), "white")
    for index, image in enumerate(images):
        grid.paste(image, (index % num_columns * width, index // num_columns * height))
    grid.save(path)


def load_pipeline(folder: Path | str) -> StableDiffusionPipeline:
    """Load a model folder as a quiet pipeline, in float32.

    Raises:
        ValueError: if the folder holds no model.
    """
    if not (Path(folder) / "model_index.json").is_file():
        raise ValueError(f"{folder} holds no model_index.json; run python -m training.export first")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def main() -> None:
    """Paint what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED_FOLDER, help="model folder")
    parser.add_argument("--prompts", nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the first picture")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--scheduler", choices=SCHEDULERS, default="dpm")
    parser.add_argument("--out", type=Path, default=Path("samples.png"))
    arguments = parser.parse_args()
    images = sample_images(
        load_pipeline(arguments.model),
        arguments.prompts,
        arguments.seed,
        arguments.steps,
        arguments.guidance,
        arguments.scheduler,
    )
    save_grid(images, arguments.out)


if __name__ == "__main__":
    main()
