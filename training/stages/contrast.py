"""The text encoder, and what teaches it: an image tower, and captions that must find pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from training.engine.loop import ComputeLoss, make_step_generator
from training.engine.start import fit_vocabulary

if TYPE_CHECKING:
    from typing import Any

    from accelerate import Accelerator
    from transformers import CLIPTokenizer

    from training.engine.settings import TextEncoderSettings
    from training.stages.latent_cache import LatentCache


def text_encoder_architecture(settings: TextEncoderSettings) -> dict[str, Any]:
    """Return the entries of a text encoder's config that the settings decide."""
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {name: getattr(settings, name) for name in names}


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
            projection_dim=settings.projection_dim,
            max_position_embeddings=tokenizer.model_max_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **text_encoder_architecture(settings),
        )
    )
    nn.init.zeros_(text_encoder.get_input_embeddings().weight)
    fit_vocabulary(text_encoder, used_ids, settings.embedding_std)
    return text_encoder


class ImageTower(nn.Module):
    """A small convolutional network from latents to one vector.

    Args:
        settings: `TextEncoderSettings`.
        latent_channels: channels of the latents, 4 in SD.
    """

    def __init__(self, settings: TextEncoderSettings, latent_channels: int) -> None:
        super().__init__()
        layers, width = [], latent_channels
        for level, next_width in enumerate(settings.tower_channels):
            stride = 1 if level == 0 else 2
            layers += [
                nn.Conv2d(width, next_width, 3, stride, padding=1),
                nn.GroupNorm(8, next_width),
                nn.SiLU(),
                nn.Conv2d(next_width, next_width, 3, padding=1),
                nn.GroupNorm(8, next_width),
                nn.SiLU(),
            ]
            width = next_width
        self.layers = nn.Sequential(*layers)
        # The 4 x 4 map is flattened, not averaged: left and right, above and below matter.
        self.projection = nn.Linear(width * 16, settings.projection_dim)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Return (B, projection_dim) for latents (B, 4, 16, 16)."""
        return self.projection(self.layers(latents).flatten(1))


class ContrastiveModel(nn.Module):
    """The text encoder and the image tower with their shared space.

    Args:
        settings: `TextEncoderSettings`.
        text_encoder: CLIPTextModel.
        latent_channels: channels of the latents.
    """

    def __init__(
        self, settings: TextEncoderSettings, text_encoder: CLIPTextModel, latent_channels: int
    ) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.text_projection = nn.Linear(settings.hidden_size, settings.projection_dim, bias=False)
        self.image_tower = ImageTower(settings, latent_channels)
        self.log_scale = nn.Parameter(torch.tensor(math.log(settings.initial_logit_scale)))
        self.max_log_scale = math.log(settings.max_logit_scale)

    def forward(
        self, input_ids: torch.Tensor, latents: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return where captions and pictures lie in the shared space, and its scale.

        Args:
            input_ids: (C, L) int64; L may be less than 77 if every caption still ends in it.
            latents: (B, 4, 16, 16), scaled.

        Returns:
            (text, image, scale): (C, projection_dim) and (B, projection_dim) of length 1, and a
            scalar.
        """
        text = self.text_projection(self.text_encoder(input_ids).pooler_output)
        image = self.image_tower(latents)
        scale = self.log_scale.clamp(max=self.max_log_scale).exp()
        return functional.normalize(text, dim=-1), functional.normalize(image, dim=-1), scale


def gather_with_gradient(features: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    """Join the features of all processes, so that each contrasts with all pairs.

    Every process computes the same loss of all features, and sends it back through its own ones
    only; the average over processes that follows would divide that by their number, so it is
    multiplied by it here. One process alone gets its features back.

    Args:
        features: (B, D), this process's.
        accelerator: accelerate.Accelerator.

    Returns:
        (P * B, D) for P processes.
    """
    num_processes = accelerator.num_processes
    if num_processes == 1:
        return features
    parts = list(accelerator.gather(features.detach()).split(len(features)))
    own = num_processes * features - (num_processes - 1) * features.detach()
    parts[accelerator.process_index] = own
    return torch.cat(parts)


def contrastive_loss(
    logits: torch.Tensor, contrary_logits: torch.Tensor | None = None
) -> torch.Tensor:
    """Return CLIP's loss: the mean of two cross-entropies, captions to pictures and back.

    On the way back a picture may also fall for a contrary caption, one that names the same things
    in the wrong order. No other caption of a batch tells "a cat above a dog" from "a dog above a
    cat", so without them a text encoder has no reason to tell who is where.

    Source: Radford et al. 2021, arXiv 2103.00020; the contrary captions are Yuksekgonul et al.'s
    2022, arXiv 2210.01936.

    Args:
        logits: (B, B), captions by pictures; the diagonal holds the true pairs.
        contrary_logits: (C, B), contrary captions by pictures; -inf in the row of one that is none.
    """
    targets = torch.arange(len(logits), device=logits.device)
    candidates = logits if contrary_logits is None else torch.cat([logits, contrary_logits])
    return (
        functional.cross_entropy(logits, targets) + functional.cross_entropy(candidates.T, targets)
    ) / 2


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
