"""Noise, encoding, decoding and the linear preview, compared with torch and the VAE."""

import numpy as np
import pytest
import torch
from PIL import Image

from sdhelpers import generate
from sdhelpers.images import image_to_tensor
from sdhelpers.latents import (
    _fit_line,
    decode_latents,
    encode_image,
    fit_linear_preview,
    initial_latents,
    latents_to_rgb,
    make_generator,
    picture_size,
    vae_scale_factor,
)
from tests.conftest import PROMPT


@pytest.fixture(scope="module")
def image(components):
    return generate(
        components,
        PROMPT,
        seed=1,
        num_inference_steps=10,
        show_progress=False,
        scheduler="DPM-Solver++",
    )[0]


def test_make_generator_is_fresh_and_leaves_the_global_state_alone() -> None:
    state = torch.random.get_rng_state()
    first = torch.randn(5, generator=make_generator(3))
    again = torch.randn(5, generator=make_generator(3))
    other = torch.randn(5, generator=make_generator(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, torch.randn(5, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("seed", [-1, 1.0, "7", None, True, 2**63])
def test_bad_seed(seed) -> None:
    with pytest.raises(ValueError, match="seed must be an integer"):
        make_generator(seed)


def test_numpy_seed() -> None:
    assert make_generator(np.int64(3)).initial_seed() == 3


def test_factor_is_what_the_vae_does(components) -> None:
    size = 4 * vae_scale_factor(components.vae)
    encoded = components.vae.encode(torch.zeros(1, 3, size, size)).latent_dist.mean
    assert encoded.shape[2:] == (4, 4)


def test_picture_size(components) -> None:
    factor = vae_scale_factor(components.vae)
    trained = components.unet.config.sample_size * factor
    assert picture_size(components.unet, components.vae) == (trained, trained)
    size = picture_size(components.unet, components.vae, height=3 * factor)
    assert size == (3 * factor, trained)


def test_initial_latents_are_standard_normal(components) -> None:
    unet, vae = components.unet, components.vae
    latents = initial_latents(unet, vae, make_generator(0), batch_size=64)
    side = unet.config.sample_size
    assert latents.shape == (64, unet.config.in_channels, side, side)
    assert latents.dtype == unet.dtype
    assert latents.mean().abs() < 0.02
    assert (latents.std() - 1).abs() < 0.02


def test_initial_latents_one_generator_for_each(components) -> None:
    unet, vae = components.unet, components.vae
    pair = initial_latents(unet, vae, [make_generator(1), make_generator(2)], batch_size=2)
    for latents, seed in zip(pair, (1, 2), strict=True):
        expected = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(latents, expected)
    with pytest.raises(ValueError, match="2 generators or seeds were given for 3 pictures"):
        initial_latents(unet, vae, [make_generator(1), make_generator(2)], batch_size=3)


@pytest.mark.parametrize("generator", [None, 0, [0], "seed"])
def test_not_a_generator(components, generator) -> None:
    with pytest.raises(ValueError, match=r"make_generator\(seed\) makes one"):
        initial_latents(components.unet, components.vae, generator)


@pytest.mark.parametrize("batch_size", [0, -1, 1.5])
def test_bad_batch_size(components, batch_size) -> None:
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        initial_latents(components.unet, components.vae, make_generator(0), batch_size=batch_size)


@torch.no_grad()
def test_encode_and_decode_equal_the_vae(components, image) -> None:
    vae, pixel_values = components.vae, image_to_tensor(image)
    latent_dist = vae.encode(pixel_values).latent_dist
    factor = vae.config.scaling_factor
    torch.testing.assert_close(encode_image(vae, pixel_values), latent_dist.mean * factor)

    sampled = encode_image(vae, pixel_values, make_generator(5))
    noise = torch.randn(latent_dist.mean.shape, generator=torch.Generator().manual_seed(5))
    expected = (latent_dist.mean + latent_dist.std * noise) * factor
    torch.testing.assert_close(sampled, expected)

    decoded = decode_latents(vae, expected)
    torch.testing.assert_close(decoded, vae.decode(expected / factor).sample)
    assert not decoded.requires_grad


def test_a_picture_survives_the_vae(components, image) -> None:
    """The two scalings cancel: what comes back is the picture, not a paler one."""
    pixel_values = image_to_tensor(image)
    returned = decode_latents(components.vae, encode_image(components.vae, pixel_values))
    assert (returned - pixel_values).abs().mean() < 0.06


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 3, 17, 16), (1, 3, 0, 16), (1, 4, 16, 16)])
def test_encode_wrong_shape(components, shape) -> None:
    with pytest.raises(ValueError, match="multiples of"):
        encode_image(components.vae, torch.zeros(shape))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (torch.zeros((1, 3, 16, 16), dtype=torch.uint8), "torch.uint8"),
        (Image.new("RGB", (16, 16)), "Image"),
    ],
)
def test_encode_what_is_no_pixel_values(components, given, named) -> None:
    with pytest.raises(ValueError, match=f"got {named}"):
        encode_image(components.vae, given)


def test_decode_moves_latents_to_the_vae(components) -> None:
    latents = torch.zeros((1, components.vae.config.latent_channels, 2, 2), dtype=torch.float64)
    assert decode_latents(components.vae, latents).dtype == components.vae.dtype


@pytest.mark.parametrize("shape", [(4, 8, 8), (1, 3, 8, 8), (0, 4, 8, 8)])
def test_decode_wrong_shape(components, shape) -> None:
    with pytest.raises(ValueError, match="latents must be a tensor of shape"):
        decode_latents(components.vae, torch.zeros(shape))


def test_the_preview_is_close_to_the_decoded_picture(components) -> None:
    """It explains most of the colour of pictures that the fit never saw.

    Measured: 82 % of the variance; a line fitted to these very pictures 90 %.
    """
    preview = fit_linear_preview(components.vae)
    prompts = [PROMPT, "a red apple on a white background", "a cat at night", "a tree"]
    images = generate(
        components, prompts, num_inference_steps=10, scheduler="DPM-Solver++", show_progress=False
    )
    pixel_values = image_to_tensor(images)
    small = torch.nn.functional.avg_pool2d(pixel_values, vae_scale_factor(components.vae))
    guessed = latents_to_rgb(encode_image(components.vae, pixel_values), preview)
    assert guessed.shape == small.shape
    assert guessed.abs().max() <= 1
    explained = 1 - (guessed - small).var() / small.var()
    assert explained > 0.7
    shuffled = 1 - (guessed.flip(0) - small).var() / small.var()
    assert shuffled < 0.5


def test_the_preview_is_a_straight_line(components) -> None:
    """It is the same each time, and does what the formula says: numpy agrees."""
    preview = fit_linear_preview(components.vae, num_images=4)
    again = fit_linear_preview(components.vae, num_images=4)
    torch.testing.assert_close(preview.weight, again.weight, atol=1e-5, rtol=1e-4)
    channels = components.vae.config.latent_channels
    latents = torch.randn((1, channels, 2, 2), generator=make_generator(0)) * 0.1
    by_hand = np.einsum("bchw,cr->brhw", latents.numpy(), preview.weight.numpy())
    by_hand += preview.bias.numpy()[None, :, None, None]
    np.testing.assert_allclose(
        latents_to_rgb(latents, preview).numpy(), by_hand.clip(-1, 1), atol=1e-6
    )
    with pytest.raises(ValueError, match="latents must be a tensor of shape"):
        latents_to_rgb(torch.zeros(1, 3, 8, 8), preview)


def test_the_fit_is_numpys_least_squares() -> None:
    """On channels that all vary the small ridge hardly matters; a dead channel gets no weight."""
    random = np.random.default_rng(0)
    inputs = random.normal(size=(500, 4))
    inputs[:, 2] *= 1e-3
    targets = inputs @ random.normal(size=(4, 3)) + 0.3 + 0.05 * random.normal(size=(500, 3))
    preview = _fit_line(torch.from_numpy(inputs), torch.from_numpy(targets))
    expected = np.linalg.lstsq(np.c_[inputs, np.ones(500)], targets, rcond=None)[0]
    living = [0, 1, 3]
    np.testing.assert_allclose(preview.weight.numpy()[living], expected[living], atol=0.03)
    np.testing.assert_allclose(preview.bias.numpy(), expected[4], atol=0.03)
    assert preview.weight[2].abs().max() < 0.03 < np.abs(expected[2]).max()
