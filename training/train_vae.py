"""Stage 1: train the autoencoder, pixels to latents and back.

Run: python -m training.train_vae --minutes 90
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from torch import nn

from sdhelpers.images import tensor_to_images
from training.autoencoder import (
    Autoencoder,
    JudgedAutoencoder,
    encode_decode,
    make_discriminator,
    make_vae,
)
from training.data import bytes_to_pixel_values, render_all
from training.loop import ComputeLoss, make_step_generator
from training.options import (
    RunOptions,
    make_accelerator,
    train_from_command_line,
)
from training.run import Run
from training.sample import save_grid
from training.scenes import FIRST_EVALUATION_SEED, IMAGE_SIZE
from training.start import load_start, lower_noise, wake_silent_channels
from training.vae_losses import adversarial_losses, peak_signal_to_noise, vae_losses

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

    from training.settings import VaeSettings

NUM_SHOWN = 8
NUM_LISTENED = 128  # pictures, to find channels of a started model that say nothing


def load_vae(settings: VaeSettings, options: RunOptions, pictures: torch.Tensor) -> AutoencoderKL:
    """Return the autoencoder of `options.start`, all channels speaking, with little noise.

    If the encoder doesn't learn, it stays exactly as it is.

    Raises:
        ValueError: if its architecture is not that of the settings.
    """
    names = ("block_out_channels", "latent_channels", "norm_num_groups")
    wanted = {name: getattr(settings, name) for name in names}
    vae = load_start(AutoencoderKL, options.start, "vae", wanted)
    if not settings.trains_encoder:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
        print(f"starting from {options.start}; the encoder stays as it is")
        return vae
    lower_noise(vae, settings.initial_log_variance)
    woken = wake_silent_channels(vae, pictures[:NUM_LISTENED])
    print(f"starting from {options.start}; channels woken: {woken or 'none'}")
    return vae


def draw_pixel_values(
    pictures: torch.Tensor, settings: VaeSettings, share: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw the crops of one step, or whole pictures near the end of the run.

    Args:
        pictures: (N, 3, 128, 128) uint8.
        settings: `VaeSettings`.
        share: share of the run that is over.
        generator: torch.Generator, on the pictures' device.

    Returns:
        (B, 3, H, W) float32 in [-1, 1]. Whole pictures are fewer, so that a step costs the same.
    """
    is_whole = share >= 1 - settings.whole_share
    size, device = IMAGE_SIZE if is_whole else settings.crop_size, pictures.device
    count = max(1, settings.batch_size * settings.crop_size**2 // size**2)
    chosen = torch.randint(len(pictures), (count, 1, 1), generator=generator, device=device)
    corners = torch.randint(
        IMAGE_SIZE - size + 1, (2, count, 1, 1), generator=generator, device=device
    )
    window = torch.arange(size, device=device)
    rows, columns = corners[0] + window[:, None], corners[1] + window
    crops = pictures[chosen, :, rows, columns]  # (B, H, W, 3)
    return bytes_to_pixel_values(crops.permute(0, 3, 1, 2))


def make_compute_loss(
    pictures: torch.Tensor, settings: VaeSettings, accelerator: Accelerator
) -> ComputeLoss:
    """Return the loss function of the VAE's training steps.

    Args:
        pictures: (N, 3, 128, 128) uint8, on the accelerator's device.
        settings: `VaeSettings`.
        accelerator: accelerate.Accelerator.
    """
    device = accelerator.device

    def compute_loss(
        model: nn.Module, step: int, share: float
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        generator = make_step_generator(settings.seed, step, accelerator.process_index, device)
        pixel_values = draw_pixel_values(pictures, settings, share, generator)
        latent_size = pixel_values.shape[-1] // 8
        shape = (len(pixel_values), settings.latent_channels, latent_size, latent_size)
        noise = torch.randn(shape, generator=generator, device=device)
        reconstruction, mean, logvar, *verdicts = model(pixel_values, noise)
        losses = vae_losses(reconstruction.float(), pixel_values, mean, logvar)
        loss = (
            losses["l1"]
            + settings.squared_weight * losses["squared"]
            + settings.gradient_weight * losses["gradient"]
            + settings.kl_weight * losses["kl"]
        )
        if verdicts:
            losses |= adversarial_losses(*(verdict.float() for verdict in verdicts))
            is_heard = share >= 1 - settings.adversarial_share
            weight = settings.adversarial_weight * is_heard
            loss = loss + losses["discriminator"] + weight * losses["adversarial"]
        return loss, {name: value.detach() for name, value in losses.items()}

    return compute_loss


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
    psnr = peak_signal_to_noise(reconstructions, bytes_to_pixel_values(pictures))
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
        vae = load_vae(settings, options, pictures)
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
    train_from_command_line(__doc__, "vae", train_vae)


if __name__ == "__main__":
    main()
