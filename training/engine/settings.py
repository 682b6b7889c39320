"""Every number that a training run depends on, with its unit and its reason."""

import ast
from dataclasses import dataclass, fields, replace
from typing import TypeVar, get_type_hints


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """What every stage that trains has to set."""

    # Examples per step.
    batch_size: int
    # No unit. AdamW's peak, as high as stays stable for networks and batches of these sizes.
    learning_rate: float = 1e-3
    # Steps to reach the peak.
    num_warmup_steps: int = 200
    # Share of the run in which the rate falls to zero (cosine).
    decay_share: float
    # No unit. 0.999 averages about the last 1,000 steps, 0.998 the last 500.
    ema_decay: float = 0.999
    # Seed of the weights and of the draws of every step.
    seed: int


@dataclass(frozen=True, kw_only=True)
class VaeSettings(TrainingSettings):
    """Settings of the autoencoder, pixels to latents and back."""

    # Channels per level. Four levels halve the picture three times: factor 8, as in SD.
    block_out_channels: tuple[int, ...] = (32, 64, 128, 128)
    # Channels. SD's 4: 128 x 128 x 3 numbers become 16 x 16 x 4, 48 times fewer.
    latent_channels: int = 4
    # Groups of channels that are normalised together; must divide every width above. Groups of 8
    # channels and more keep flat colours, which groups of 2 forget: after 120 steps an L1 of 0.26
    # with 4 groups, 0.32 with 16.
    norm_num_groups: int = 4
    # Scenes, rendered once and kept in memory: 49 kB each.
    num_scenes: int = 12_000
    # Crops per step. More is slower per step, fewer is too noisy.
    batch_size: int = 16
    # Pixels. Crops train four times as many pictures a second as whole ones.
    crop_size: int = 64
    # Share of the run. The last part sees whole pictures, as the finished VAE will.
    whole_share: float = 0.2
    num_warmup_steps: int = 100
    decay_share: float = 0.6
    # No unit. Keeps the edges between neighbouring pixels, which L1 alone blurs.
    gradient_weight: float = 0.5
    # No unit. Counts the few large errors, at edges, which PSNR counts, too: 21.0 dB with 5 against
    # 20.1 without, after six minutes on one core.
    squared_weight: float = 10.0
    # No unit, times the mean KL of one latent. Pulls all channels towards unit variance; 1e-3
    # silenced one of the four.
    kl_weight: float = 1e-4
    # No unit. Above 0, a discriminator of patches learns along, for sharper edges; its verdicts
    # count so much beside the rest of the loss. For a GPU: on two CPU cores the time is better
    # spent on steps.
    adversarial_weight: float = 0.0
    # Share of the run in which the verdicts count. Before, the discriminator learns to judge.
    adversarial_share: float = 0.5
    # Channels of the discriminator's first layer.
    discriminator_width: int = 32
    # Whether the encoder learns, too. Without it the latents stay as they are, so that the decoder
    # can be improved after the UNet was trained on them.
    trains_encoder: bool = True
    # No unit. Log variance of the latents at the start: exp(-6) is a standard deviation of 0.05.
    # From 0 on, noise drowns the means, and the decoder paints grey for hundreds of steps.
    initial_log_variance: float = -6.0
    seed: int = 0


@dataclass(frozen=True)
class CacheSettings:
    """Settings of the cache of latents that the later stages train on."""

    # Scenes: 4 kB of latents each on disk, and 39 kB of embeddings in memory later.
    num_scenes: int = 60_000
    # Seeds; apart from the VAE's scenes, which start at 0, and below the evaluation's.
    first_seed: int = 1_000_000
    # Scenes per file. A killed run loses one file's work at most.
    shard_size: int = 2_000
    # Pictures per call of the VAE.
    batch_size: int = 32


@dataclass(frozen=True, kw_only=True)
class TextEncoderSettings(TrainingSettings):
    """Settings of the text encoder and of the image tower that teaches it."""

    # Numbers per token. SD has 768; our vocabulary of scenes is small.
    hidden_size: int = 256
    # Numbers inside the feed-forward layers, four times the width as usual.
    intermediate_size: int = 1024
    # Layers. Enough to tell who rides whom.
    num_hidden_layers: int = 3
    # Heads of 64 numbers, as in CLIP.
    num_attention_heads: int = 4
    # Numbers of the space in which captions and pictures meet.
    projection_dim: int = 256
    # Channels of the image tower's three levels (16, 8 and 4 latents wide).
    tower_channels: tuple[int, ...] = (64, 128, 256)
    # Pairs per step. Contrast needs many wrong captions beside each right one.
    batch_size: int = 256
    decay_share: float = 0.7
    # No unit. Standard deviation of new token embeddings, as in CLIP.
    embedding_std: float = 0.02
    # No unit. CLIP's first temperature, 1 / 0.07, and its ceiling.
    initial_logit_scale: float = 14.3
    max_logit_scale: float = 100.0
    ema_decay: float = 0.998
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class UnetSettings(TrainingSettings):
    """Settings of the UNet that predicts noise."""

    # Channels per level: 16, 8 and 4 latents wide.
    block_out_channels: tuple[int, ...] = (64, 128, 256)
    # Residual blocks per level on the way down; one more on the way up.
    layers_per_block: int = 1
    # Heads per attention layer (diffusers calls this number attention_head_dim).
    attention_head_dim: int = 4
    # Groups of channels that are normalised together.
    norm_num_groups: int = 16
    # Scenes per step.
    batch_size: int = 64
    learning_rate: float = 6e-4
    decay_share: float = 0.5
    # Whether the text encoder learns along. SD's is frozen; the shipped one learned along.
    trains_text_encoder: bool = False
    # Share of the captions replaced by "", so that guidance has something to push away from.
    empty_prompt_share: float = 0.1
    # No unit. The loss is weighed by SNR^-exponent: 0 weighs all timesteps alike, and nearly clean
    # latents take over; 0.5 lets all noise levels count about alike.
    snr_exponent: float = 0.5
    # No unit. Weights grow no further below this signal-to-noise ratio (timestep 795 of SD's
    # schedule), where little but the background can be told: without it the noisiest tenth of the
    # timesteps made up two thirds of the gradient's variance.
    snr_floor: float = 0.04
    # Bins of the noise level, over which the loss is reported.
    num_loss_bins: int = 5
    seed: int = 2


# A dataclass of settings, the same one going in and coming out.
SettingsT = TypeVar("SettingsT")

SMOKE_SETTINGS = {
    # The whole chain in seconds: proves that it runs, not that it paints.
    "vae": VaeSettings(
        block_out_channels=(16, 16, 32, 32),
        norm_num_groups=8,
        num_scenes=192,
        batch_size=8,
        num_warmup_steps=5,
        ema_decay=0.9,
    ),
    "cache": CacheSettings(num_scenes=256, shard_size=128),
    "text_encoder": TextEncoderSettings(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        projection_dim=32,
        tower_channels=(16, 32, 32),
        batch_size=64,
        num_warmup_steps=5,
        ema_decay=0.9,
    ),
    "unet": UnetSettings(
        block_out_channels=(32, 32, 64),
        batch_size=16,
        num_warmup_steps=5,
        ema_decay=0.9,
    ),
}


def override(settings: SettingsT, assignments: list[str]) -> SettingsT:
    """Return settings with some fields replaced.

    Args:
        settings: a dataclass, such as those above; left unchanged.
        assignments: list of "name=value", the value a Python literal.

    Raises:
        ValueError: if a name is unknown, or a value no literal or of another type.
    """
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    changes = {}
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        if name not in known:
            raise ValueError(f"no setting {name!r}; the settings are: {', '.join(known)}")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise ValueError(f"{text!r} is no Python literal; write {name}=VALUE") from error
        if isinstance(known[name], float) and isinstance(value, int):
            value = float(value)
        is_open = known[name] is None  # then the type is only in the annotation, "int | None"
        wanted = get_type_hints(type(settings))[name] if is_open else type(known[name])
        if not (isinstance(value, wanted) if is_open else type(value) is wanted):
            kind = str(wanted) if is_open else wanted.__name__
            raise ValueError(f"{name} is {value!r}; give a {kind}")
        changes[name] = value
    return replace(settings, **changes)
