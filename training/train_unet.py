"""Stage 4: train the UNet to predict the noise in latents, given the text embeddings.

Run: python -m training.train_unet --minutes 180
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from sdhelpers import Components
from training.engine.options import RunOptions, make_accelerator, train_from_command_line
from training.engine.run import Run
from training.engine.settings import SMOKE_SETTINGS, TextEncoderSettings, UnetSettings
from training.engine.start import fit_vocabulary, load_start
from training.judging.painting import Sampling, paint_images, save_grid
from training.stages.latent_cache import load_latents
from training.stages.noise_prediction import (
    TextToNoise,
    TrainingData,
    embed,
    load_scheduler,
    make_compute_loss,
    make_unet,
)
from training.world.data import load_tokenizer, tokenize, used_token_ids

# Two of them were never in training; the others show what was learnt first.
SHOWN_PROMPTS = (
    "a photograph of an astronaut riding a horse",
    "a photo of a blue horse on the grass",
    "a cat on a red background",
    "a strawberry in the snow",
    "a dog to the left of a house",
    "a panda wearing a crown at sunset",
    "two yellow balloons in the sky",
    "pixel art of a dinosaur on the beach",
)


def load_start_unet(folder: Path, like: UNet2DConditionModel) -> UNet2DConditionModel:
    """Return the UNet of a model.

    Args:
        folder: the model's.
        like: a new UNet, whose architecture it must have.

    Raises:
        ValueError: if it is built differently.
    """
    wanted = {name: value for name, value in like.config.items() if not name.startswith("_")}
    return load_start(UNet2DConditionModel, folder, "unet", wanted)


def take_text_encoder(
    settings: UnetSettings, options: RunOptions, used_ids: torch.Tensor
) -> CLIPTextModel:
    """Return the text encoder that the UNet listens to.

    It is that of stage 3. If both learn together from an earlier model, it is that model's: its
    UNet understands no other.

    Args:
        settings: `UnetSettings`.
        options: `RunOptions`.
        used_ids: (K,) int64, the ids that occur in training.

    Raises:
        ValueError: if stage 3 has left none, or the earlier model has none.
    """
    if not settings.trains_text_encoder or options.start is None:
        folder = options.folder / "text_encoder" / "model"
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"no text encoder in {folder}; run python -m training.train_text_encoder first"
            )
        return CLIPTextModel.from_pretrained(folder, dtype=torch.float32)
    text_encoder = load_start(CLIPTextModel, options.start, "text_encoder", {})
    fit_vocabulary(text_encoder, used_ids, TextEncoderSettings.embedding_std)
    return text_encoder


def train_unet(settings: UnetSettings, options: RunOptions) -> None:
    """Train the UNet into `options.folder / "unet"`, and put its text encoder there, too."""
    accelerator = make_accelerator(options.precision)
    tokenizer = load_tokenizer()
    cache = load_latents(options.folder)
    empty_ids = tokenize(tokenizer, [""])
    torch.manual_seed(settings.seed)
    used_ids = used_token_ids(cache.input_ids, tokenizer)
    text_encoder = take_text_encoder(settings, options, used_ids).to(accelerator.device)
    unet = make_unet(settings, cache.mean.shape[1:], text_encoder.config.hidden_size)
    if options.start is not None:
        unet.load_state_dict(load_start_unet(options.start, unet).state_dict())
    if settings.trains_text_encoder:
        model, conditions = TextToNoise(text_encoder, unet), (cache.input_ids, empty_ids)
    else:
        model = unet
        conditions = tuple(
            embed(text_encoder, ids, accelerator) for ids in (cache.input_ids, empty_ids)
        )
    vae = AutoencoderKL.from_pretrained(options.folder / "vae" / "model").to(accelerator.device)
    run = Run(accelerator, model, settings, options, "unet")

    def split(averaged: torch.nn.Module) -> tuple[CLIPTextModel, UNet2DConditionModel]:
        if settings.trains_text_encoder:
            return averaged.text_encoder, averaged.unet
        return text_encoder, averaged

    def show_samples(averaged: torch.nn.Module, path: Path) -> None:
        averaged_text_encoder, averaged_unet = split(averaged)
        components = Components(
            tokenizer, averaged_text_encoder, averaged_unet, vae, load_scheduler()
        )
        seeds = range(len(SHOWN_PROMPTS))
        save_grid(paint_images(components, SHOWN_PROMPTS, seeds, Sampling()), path)

    data = TrainingData(cache.mean, cache.std, *conditions, cache.scaling_factor)
    data = data.to(accelerator.device)
    averaged = run.train(make_compute_loss(data, settings, accelerator), show_samples)
    if accelerator.is_main_process:
        averaged_text_encoder, averaged_unet = split(averaged)
        averaged_unet.save_pretrained(run.folder / "model")
        averaged_text_encoder.save_pretrained(run.folder / "text_encoder")


def main() -> None:
    """Train the UNet as the command line says."""
    train_from_command_line(__doc__, UnetSettings(), SMOKE_SETTINGS["unet"], train_unet)


if __name__ == "__main__":
    main()
