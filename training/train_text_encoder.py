"""Stage 3: train the text encoder, as CLIP was: each caption must find its own picture.

The pictures are the cached latents, so a step costs little. The image tower is thrown away
afterwards; the text encoder is frozen from then on, as in Stable Diffusion, or learns on with the
UNet (`trains_text_encoder`).

Run: python -m training.train_text_encoder --minutes 25
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from training.cache_latents import LatentCache, load_latents
from training.contrast import ContrastiveModel, contrastive_loss, gather_with_gradient
from training.loop import ComputeLoss, make_step_generator
from training.options import (
    RunOptions,
    make_accelerator,
    train_from_command_line,
)
from training.run import Run
from training.start import fit_vocabulary, load_start
from training.vocabulary import load_tokenizer, used_token_ids

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator
    from transformers import CLIPTokenizer

    from training.settings import TextEncoderSettings


def load_text_encoder(
    settings: TextEncoderSettings, folder: Path, used_ids: torch.Tensor
) -> CLIPTextModel:
    """Return the text encoder of a model, with embeddings for the words that it doesn't know yet.

    Raises:
        ValueError: if its architecture is not that of the settings.
    """
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    wanted = {name: getattr(settings, name) for name in names}
    text_encoder = load_start(CLIPTextModel, folder, "text_encoder", wanted)
    num_new = fit_vocabulary(text_encoder, used_ids, settings.embedding_std)
    print(f"starting from {folder}; {num_new} of {len(used_ids)} tokens are new")
    return text_encoder


def make_text_encoder(
    settings: TextEncoderSettings, tokenizer: CLIPTokenizer, used_ids: torch.Tensor
) -> CLIPTextModel:
    """Return a new text encoder whose unused embedding rows are exactly zero.

    A row that no caption uses gets no gradient, and weight decay leaves zero at zero, so those
    rows stay zero and the shipped file compresses well.

    Args:
        settings: `TextEncoderSettings`.
        tokenizer: CLIPTokenizer.
        used_ids: (K,) int64, the ids that occur in training.
    """
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.hidden_size,
            intermediate_size=settings.intermediate_size,
            num_hidden_layers=settings.num_hidden_layers,
            num_attention_heads=settings.num_attention_heads,
            projection_dim=settings.projection_dim,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    weight = text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        weight.zero_()
        weight[used_ids] = torch.randn(len(used_ids), settings.hidden_size) * settings.embedding_std
    return text_encoder


def shorten(input_ids: torch.Tensor, eos_token_id: int) -> torch.Tensor:
    """Cut off columns that are padding in every row; the encoder is causal and can't see them."""
    longest = int((input_ids == eos_token_id).int().argmax(1).max()) + 1
    return input_ids[:, :longest]


def make_compute_loss(
    cache: LatentCache,
    settings: TextEncoderSettings,
    accelerator: Accelerator,
    eos_token_id: int,
) -> ComputeLoss:
    """Return the loss function of the text encoder's training steps.

    Args:
        cache: `LatentCache`; 2.7 kB a scene at most move to the accelerator's device.
        settings: `TextEncoderSettings`.
        accelerator: accelerate.Accelerator.
        eos_token_id: the id that ends every caption.
    """
    device = accelerator.device
    latents = (cache.mean * cache.scaling_factor).to(device)
    # A contrary caption holds the same tokens, so it is as long as the true one.
    input_ids = shorten(cache.input_ids, eos_token_id).to(device)
    contrary_ids = cache.contrary_ids[:, : input_ids.shape[1]].to(device)

    def compute_loss(
        model: nn.Module, step: int, share: float
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        generator = make_step_generator(settings.seed, step, accelerator.process_index, device)
        order = torch.randperm(len(latents), generator=generator, device=device)
        chosen = order[: settings.batch_size]
        wrong_ids = contrary_ids[chosen]
        ids = torch.cat([input_ids[chosen], wrong_ids]).long()
        text, image, scale = model(ids, latents[chosen].float())
        is_wrong = (wrong_ids != 0).any(1)
        parts = (*text.float().chunk(2), image.float())
        true, wrong, image = (gather_with_gradient(part, accelerator) for part in parts)
        logits, wrong_logits = scale * true @ image.T, scale * wrong @ image.T
        is_none = ~accelerator.gather(is_wrong)
        loss = contrastive_loss(logits, wrong_logits.masked_fill(is_none[:, None], -math.inf))
        return loss, accuracies(logits.detach(), wrong_logits.detach(), is_none)

    return compute_loss


def accuracies(
    logits: torch.Tensor, wrong_logits: torch.Tensor, is_none: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Return how often captions find their pictures, and pictures reject contrary captions.

    Args:
        logits: (B, B), captions by pictures.
        wrong_logits: (B, B), contrary captions by pictures.
        is_none: (B,) bool, rows without a contrary caption.

    Returns:
        "accuracy": the share of captions whose own picture comes first. "order": the share of the
        contrary captions that fit the picture less than the true ones; a half is chance.
    """
    hits = logits.argmax(1) == torch.arange(len(logits), device=logits.device)
    rejected = (logits.diag() > wrong_logits.diag()) & ~is_none
    return {"accuracy": hits.float().mean(), "order": rejected.sum() / (~is_none).sum()}


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
    train_from_command_line(__doc__, "text_encoder", train_text_encoder)


if __name__ == "__main__":
    main()
