"""Stage 1: train the autoencoder, pixels to latents and back.

Run: python -m training.train_vae --minutes 90
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL

from sdhelpers.images import tensor_to_images
from training.engine.options import RunOptions, make_accelerator, train_from_command_line
from training.engine.run import Run
from training.engine.settings import SMOKE_SETTINGS, VaeSettings
from training.engine.start import load_start
from training.judging.measures import picture_psnrs
from training.judging.painting import save_grid
from training.stages.autoencoder import (
    Autoencoder,
    JudgedAutoencoder,
    encode_decode,
    make_compute_loss,
    make_discriminator,
    make_vae,
    vae_architecture,
)
from training.world.data import bytes_to_pixel_values, render_all
from training.world.scenes import FIRST_EVALUATION_SEED

NUM_SHOWN = 8


def load_vae(settings: VaeSettings, folder: Path) -> AutoencoderKL:
    """Return the autoencoder of a model. If the encoder doesn't learn, it is frozen as it is.

    Raises:
        ValueError: if its architecture is not that of the settings.
    """
    vae = load_start(AutoencoderKL, folder, "vae", vae_architecture(settings))
    if not settings.trains_encoder:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    print(f"starting from {folder}")
    return vae


def show_reconstructions(autoencoder: Autoencoder, pictures: torch.Tensor, path: Path) -> None:
    """Write a picture: originals above, decoded below."""
    _, reconstructions = encode_decode(autoencoder.vae, pictures)
    rows = torch.cat([bytes_to_pixel_values(pictures), reconstructions])
    save_grid(tensor_to_images(rows), path, num_columns=len(pictures))


def finish(autoencoder: Autoencoder, pictures: torch.Tensor, folder: Path) -> str:
    """Measure the scale of the latents, save the VAE and return a line of figures.

    The scale belongs to the encoder: with one that was not trained it stays to the last digit.
    """
    unscaled_latents, reconstructions = encode_decode(autoencoder.vae, pictures)
    if autoencoder.vae.quant_conv.weight.requires_grad:
        autoencoder.vae.register_to_config(scaling_factor=1 / unscaled_latents.std().item())
    scaling_factor = autoencoder.vae.config.scaling_factor
    autoencoder.vae.save_pretrained(folder)
    channels = ", ".join(f"{std:.2f}" for std in unscaled_latents.std((0, 2, 3)).tolist())
    psnr = picture_psnrs(reconstructions, bytes_to_pixel_values(pictures)).mean().item()
    return f"PSNR {psnr:.2f} dB  scaling_factor {scaling_factor:.4f}  channel std {channels}"


def train_vae(settings: VaeSettings, options: RunOptions) -> None:
    """Train the VAE into `options.folder / "vae"`.

    At the end it prints the PSNR on held-out scenes and the spread of the latents.

    Raises:
        ValueError: if the decoder alone shall learn, and there is no encoder to learn it for.
    """
    if not settings.trains_encoder and options.start is None:
        raise ValueError(
            "trains_encoder=False needs an encoder that is trained: give --start FOLDER"
        )
    accelerator = make_accelerator(options.precision)
    torch.manual_seed(settings.seed)
    vae = make_vae(settings)  # before the renderers, which draw from the same source of chance
    pictures = render_all(range(settings.num_scenes))
    held_out = render_all(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 128))
    if options.start is not None:
        vae = load_vae(settings, options.start)
    autoencoder = Autoencoder(vae)
    if settings.adversarial_weight > 0:
        discriminator = make_discriminator(settings.discriminator_width)
        autoencoder = JudgedAutoencoder(vae, discriminator)
    run = Run(accelerator, autoencoder, settings, options, "vae")
    averaged = run.train(
        make_compute_loss(pictures.to(accelerator.device), settings, accelerator),
        lambda model, path: show_reconstructions(model, held_out[:NUM_SHOWN], path),
    )
    if accelerator.is_main_process:
        print(finish(averaged, held_out, run.folder / "model"))


def main() -> None:
    """Train the VAE as the command line says."""
    train_from_command_line(__doc__, VaeSettings(), SMOKE_SETTINGS["vae"], train_vae)


if __name__ == "__main__":
    main()
