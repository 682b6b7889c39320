"""Answers to the exercises of notebook 04; and ours are those of the library."""

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from sdhelpers.exercises.unet import (
    StandInUNet,
    check_count_skips,
    check_cross_attention_parameters,
    check_implied_noise,
    check_training_loss,
    training_loss,
)
from sdhelpers.lessons.hooks import find_modules
from sdhelpers.model.parts import Components


def right_noise(noisy, guess, abar):
    return (noisy - abar.sqrt() * guess) / (1 - abar).sqrt()


def right_skips(levels, layers):
    return 1 + levels * layers + levels - 1


def right_parameters(channels, width):
    to_q, to_k, to_v = channels * channels, width * channels, width * channels
    return to_q + to_k + to_v + channels * channels + channels


def mix(clean, noise, abar):
    return abar.sqrt() * clean + (1 - abar).sqrt() * noise


def make_loss(mix=mix, target=lambda clean, noise: noise, reduce=lambda d: (d**2).mean()):
    """Give the training's loss, with one of its three parts replaced by a mistake."""

    def loss(unet, alphas_cumprod, clean, noise, timesteps, embeddings):
        abar = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        noisy = mix(clean, noise, abar)
        answer = unet(noisy, timesteps, encoder_hidden_states=embeddings).sample
        return reduce(answer - target(clean, noise))

    return loss


def deaf_loss(unet, alphas_cumprod, clean, noise, timesteps, embeddings):
    silence = torch.zeros_like(embeddings)
    return make_loss()(unet, alphas_cumprod, clean, noise, timesteps, silence)


RIGHT = [
    (check_implied_noise, right_noise),
    (check_count_skips, right_skips),
    (check_cross_attention_parameters, right_parameters),
    (check_training_loss, make_loss()),
]
WRONG = [
    (check_implied_noise, lambda noisy, guess, abar: noisy - guess, "both the picture and"),
    (check_implied_noise, lambda noisy, guess, abar: noisy - abar.sqrt() * guess, "still shrunk"),
    (
        check_implied_noise,
        lambda noisy, guess, abar: (noisy - abar * guess) / (1 - abar),
        "square roots",
    ),
    (
        check_implied_noise,
        lambda noisy, guess, abar: (noisy - (1 - abar).sqrt() * guess) / abar.sqrt(),
        "solved for the picture",
    ),
    (check_count_skips, lambda levels, layers: levels * layers, "before the first block"),
    (check_count_skips, lambda levels, layers: levels * layers + levels - 1, "first convolution"),
    (check_count_skips, lambda levels, layers: levels * layers + 1, "between two levels"),
    (check_count_skips, lambda levels, layers: 1 + levels * (layers + 1), "does not shrink"),
    (check_cross_attention_parameters, lambda c, d: 2 * c * (c + d), "output layer also"),
    (check_cross_attention_parameters, lambda c, d: 2 * c * (c + d) + 4 * c, "only the output"),
    (check_cross_attention_parameters, lambda c, d: 4 * c * c + c, "self-attention"),
    (check_cross_attention_parameters, lambda c, d: c * c + c * d + c, "four matrices"),
    (
        check_training_loss,
        make_loss(mix=lambda clean, noise, abar: abar * clean + (1 - abar) * noise),
        "square roots",
    ),
    (check_training_loss, make_loss(target=lambda clean, noise: clean), "not with the picture"),
    (
        check_training_loss,
        make_loss(mix=lambda clean, noise, abar: clean + noise),
        "depends on the timestep",
    ),
    (check_training_loss, make_loss(reduce=lambda d: (d**2).sum()), "not their sum"),
    (check_training_loss, make_loss(reduce=lambda d: d.abs().mean()), "Square the differences"),
    (check_training_loss, deaf_loss, None),
]


def test_a_loss_that_forgets_to_broadcast_is_no_crash(verdict) -> None:
    """One abar for each picture of a batch needs three more axes."""
    flat = make_loss(mix=lambda clean, noise, abar: mix(clean, noise, abar.flatten()))
    assert "raised RuntimeError" in verdict(check_training_loss, flat)


def make_unet(num_levels: int, layers_per_block: int) -> UNet2DConditionModel:
    """A UNet of Stable Diffusion's plan, as small as can be."""
    return UNet2DConditionModel(
        sample_size=2**num_levels,
        block_out_channels=(8,) * num_levels,
        layers_per_block=layers_per_block,
        cross_attention_dim=6,
        norm_num_groups=4,
        attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D",) * (num_levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (num_levels - 1),
    )


@pytest.mark.parametrize(("num_levels", "layers_per_block"), [(3, 1), (4, 2), (5, 3)])
def test_skips_are_those_of_the_library(num_levels: int, layers_per_block: int) -> None:
    """The oracle: what the library's up blocks are really handed."""
    unet = make_unet(num_levels, layers_per_block)
    seen = []
    for block in unet.up_blocks:
        block.register_forward_pre_hook(
            lambda module, args, kwargs: seen.extend(kwargs["res_hidden_states_tuple"]),
            with_kwargs=True,
        )
    side = unet.config.sample_size
    with torch.no_grad():
        unet(torch.zeros(1, 4, side, side), 5, encoder_hidden_states=torch.zeros(1, 3, 6))
    assert len(seen) == right_skips(num_levels, layers_per_block)


def test_parameters_are_those_of_the_library(components: Components) -> None:
    unet = components.unet
    modules = find_modules(unet, "attn2").values()
    assert len(modules) > 3
    for module in modules:
        counted = sum(parameter.numel() for parameter in module.parameters())
        expected = right_parameters(module.to_q.in_features, unet.config.cross_attention_dim)
        assert counted == expected


def test_loss_is_that_of_the_library_s_training_recipe() -> None:
    """The oracle mixes with DDPMScheduler.add_noise and torch's own mean squared error."""
    scheduler = DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn((2, 3, 4, 5, 5), generator=generator)
    embeddings = torch.randn((3, 7, 6), generator=generator)
    timesteps = torch.tensor([0, 500, 999])
    unet = StandInUNet()
    answer = unet(scheduler.add_noise(clean, noise, timesteps), timesteps, embeddings).sample
    torch.testing.assert_close(
        training_loss(unet, scheduler.alphas_cumprod, clean, noise, timesteps, embeddings),
        torch.nn.functional.mse_loss(answer, noise),
    )
