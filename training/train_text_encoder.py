"""Stage 3: train the text encoder, as CLIP was: each caption must find its own picture.

The pictures are the cached latents, so a step costs little. The image tower is thrown away
afterwards; the text encoder is frozen from then on, as in Stable Diffusion, or learns on with the
UNet (`trains_text_encoder`).

Run: python -m training.train_text_encoder --minutes 25
"""

from pathlib import Path

import torch
from transformers import CLIPTextModel

from training.engine.options import RunOptions, make_accelerator, train_from_command_line
from training.engine.run import Run
from training.engine.settings import SMOKE_SETTINGS, TextEncoderSettings
from training.engine.start import fit_vocabulary, load_start
from training.stages.contrast import (
    ContrastiveModel,
    make_compute_loss,
    make_text_encoder,
    text_encoder_architecture,
)
from training.stages.latent_cache import load_latents
from training.world.data import load_tokenizer, used_token_ids


def load_text_encoder(
    settings: TextEncoderSettings, folder: Path, used_ids: torch.Tensor
) -> CLIPTextModel:
    """Return the text encoder of a model, with embeddings for the words that it doesn't know yet.

    Raises:
        ValueError: if its architecture is not that of the settings.
    """
    wanted = text_encoder_architecture(settings)
    text_encoder = load_start(CLIPTextModel, folder, "text_encoder", wanted)
    num_new = fit_vocabulary(text_encoder, used_ids, settings.embedding_std)
    print(f"starting from {folder}; {num_new} of {len(used_ids)} tokens are new")
    return text_encoder


def train_text_encoder(settings: TextEncoderSettings, options: RunOptions) -> None:
    """Train the text encoder into `options.folder / "text_encoder"`.

    At the end it prints how many rows of the embedding are in use.
    """
    accelerator = make_accelerator(options.precision)
    tokenizer = load_tokenizer()
    cache = load_latents(options.folder)
    used_ids = used_token_ids(cache.input_ids, tokenizer)
    torch.manual_seed(settings.seed)
    if options.start is None:
        text_encoder = make_text_encoder(settings, tokenizer, used_ids)
    else:
        text_encoder = load_text_encoder(settings, options.start, used_ids)
    model = ContrastiveModel(settings, text_encoder, cache.mean.shape[1])
    run = Run(accelerator, model, settings, options, "text_encoder")
    compute_loss = make_compute_loss(cache, settings, accelerator, tokenizer.eos_token_id)
    averaged = run.train(compute_loss)
    if accelerator.is_main_process:
        averaged.text_encoder.save_pretrained(run.folder / "model")
        print(f"{len(used_ids)} of {len(tokenizer)} embedding rows in use")


def main() -> None:
    """Train the text encoder as the command line says."""
    train_from_command_line(
        __doc__, TextEncoderSettings(), SMOKE_SETTINGS["text_encoder"], train_text_encoder
    )


if __name__ == "__main__":
    main()
