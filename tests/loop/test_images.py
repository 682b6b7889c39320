"""Pictures to tensors and back, compared with the library's image processor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from sdhelpers.images import image_to_tensor, load_image, tensor_to_image, tensor_to_images


def random_image(seed: int, width: int = 24, height: int = 16) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(levels)


def test_all_256_levels_survive() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([levels, levels.T, 255 - levels], axis=-1))
    returned = tensor_to_image(image_to_tensor(image))
    np.testing.assert_array_equal(np.asarray(returned), np.asarray(image))


def test_equal_to_the_library() -> None:
    images = [random_image(seed) for seed in range(3)]
    processor = VaeImageProcessor(vae_scale_factor=8)
    pixel_values = image_to_tensor(images)
    torch.testing.assert_close(pixel_values, processor.preprocess(images), atol=1e-6, rtol=0)

    decoded = torch.randn((4, 3, 16, 24), generator=torch.Generator().manual_seed(0)) * 1.2
    for ours, theirs in zip(
        tensor_to_images(decoded), processor.postprocess(decoded, output_type="pil"), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_range_and_layout() -> None:
    image = Image.new("RGB", (3, 2), (0, 255, 51))
    pixel_values = image_to_tensor(image)
    assert pixel_values.shape == (1, 3, 2, 3)
    assert pixel_values.dtype == torch.float32
    expected = torch.tensor([-1.0, 1.0, -0.6]).view(1, 3, 1, 1).expand(1, 3, 2, 3)
    torch.testing.assert_close(pixel_values, expected)


def test_grey_and_transparent_pictures() -> None:
    grey = image_to_tensor(Image.new("L", (2, 2), 255))
    torch.testing.assert_close(grey, torch.ones(1, 3, 2, 2))
    transparent = image_to_tensor(Image.new("RGBA", (2, 2), (10, 20, 30, 0)))
    torch.testing.assert_close(transparent, torch.ones(1, 3, 2, 2))
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([255, 0, 0])
    torch.testing.assert_close(image_to_tensor(palette)[0, :, 0, 0], torch.tensor([1.0, -1, -1]))


def test_values_outside_are_clipped_and_input_is_unchanged() -> None:
    pixel_values = torch.tensor([-7.0, 0.0, 7.0]).view(1, 3, 1, 1)
    kept = pixel_values.clone()
    assert np.asarray(tensor_to_image(pixel_values)).tolist() == [[[0, 128, 255]]]
    torch.testing.assert_close(pixel_values, kept, atol=0, rtol=0)


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_deeper_pictures_are_not_silently_clipped(mode: str) -> None:
    with pytest.raises(ValueError, match=f"mode {mode} have more than 256 levels"):
        image_to_tensor(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("image", [[], "cat.png", None, 5, [random_image(0), None]])
def test_not_a_picture(image: object) -> None:
    with pytest.raises(ValueError, match="PIL images"):
        image_to_tensor(image)


def test_sizes_differ() -> None:
    with pytest.raises(ValueError, match="one size"):
        image_to_tensor([random_image(0, width=8), random_image(1, width=16)])


@pytest.mark.parametrize(
    "pixel_values",
    [torch.zeros(1, 4, 8, 8), torch.zeros(8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)],
)
def test_wrong_tensor(pixel_values: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="floating-point tensor of shape"):
        tensor_to_images(pixel_values)


def test_not_finite() -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        tensor_to_image(torch.full((3, 2, 2), torch.nan))


def test_one_picture_means_one() -> None:
    with pytest.raises(ValueError, match="2 pictures, not 1"):
        tensor_to_image(torch.zeros(2, 3, 8, 8))


def test_load_takes_the_middle(tmp_path: Path) -> None:
    """Of five stripes in a wide picture, a square crop shows the middle three."""
    stripes = np.repeat(np.array([0, 50, 100, 150, 200], dtype=np.uint8), 20)
    wide = Image.fromarray(np.tile(stripes, (60, 1)))
    wide.save(tmp_path / "wide.png")
    loaded = load_image(tmp_path / "wide.png", 60)
    assert (loaded.mode, loaded.size) == ("RGB", (60, 60))
    np.testing.assert_array_equal(np.asarray(loaded)[:, :, 0], np.asarray(wide)[:, 20:80])
    small = load_image(str(tmp_path / "wide.png"), (6, 3))
    assert small.size == (6, 3)


def test_load_of_the_right_size_changes_nothing(tmp_path: Path) -> None:
    image = random_image(0)
    image.save(tmp_path / "image.png")
    loaded = load_image(tmp_path / "image.png", image.size)
    np.testing.assert_array_equal(np.asarray(loaded), np.asarray(image))


def test_load_turns_a_photograph_upright_and_lays_glass_over_white(tmp_path: Path) -> None:
    image = random_image(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    loaded = load_image(tmp_path / "turned.png", (image.height, image.width))
    np.testing.assert_array_equal(np.asarray(loaded), np.rot90(np.asarray(image), -1))
    Image.new("RGBA", (4, 4), (9, 9, 9, 0)).save(tmp_path / "glass.png")
    assert np.asarray(load_image(tmp_path / "glass.png", 2)).min() == 255


@pytest.mark.parametrize("size", [0, -8, 2.5, "128", (8,), (8, 0), None])
def test_load_wrong_size(tmp_path: Path, size: object) -> None:
    random_image(0).save(tmp_path / "image.png")
    with pytest.raises(ValueError, match="size must be one or two positive integers"):
        load_image(tmp_path / "image.png", size)


def test_load_no_such_file_or_too_deep(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none.png", 8)
    Image.new("I;16", (8, 8)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match="more than 256 levels"):
        load_image(tmp_path / "deep.png", 8)
