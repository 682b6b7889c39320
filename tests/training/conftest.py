"""What the training's tests share: small sprites, so that they need neither artwork nor network."""

import colorsys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageDraw

from training.engine.settings import SMOKE_SETTINGS
from training.stages.autoencoder import make_vae
from training.world import paint, sprites
from training.world.nouns import NOUNS, RECOLOURED_PART


def draw_sprite(index: int, is_pale: bool) -> Image.Image:
    """Draw an ellipse or a box with a darker half; its hue and its shape depend on the index."""
    saturation = 0.05 if is_pale else 0.8
    size = (60, 40 + index % 3 * 10)
    image = Image.new("RGBA", size)
    draw = ImageDraw.Draw(image)
    shape = draw.ellipse if index % 2 else draw.rectangle
    for value, box in ((0.9, (0, 0, 59, size[1] - 1)), (0.6, (6, size[1] // 2, 30, size[1] - 6))):
        rgb = colorsys.hsv_to_rgb(index / len(NOUNS), saturation, value)
        shape(box, fill=(*(round(255 * part) for part in rgb), 255))
    return image


@pytest.fixture(scope="session")
def sprite_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a sprite for every noun."""
    folder = tmp_path_factory.mktemp("sprites")
    for index, noun in enumerate(NOUNS):
        sprite = draw_sprite(index, RECOLOURED_PART.get(noun) == "pale")
        sprite.save(folder / sprites.sprite_file_names(noun)[0], lossless=True)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _synthetic_sprites(sprite_files: Path) -> Iterator[None]:
    """Let all scenes be made of these sprites, those of child processes, too."""

    def forget() -> None:
        sprites.load_sprite.cache_clear()
        paint.coloured_sprite.cache_clear()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(sprites.FOLDER_VARIABLE, str(sprite_files))
        forget()
        yield
    forget()


@pytest.fixture(scope="session")
def untrained_vae() -> AutoencoderKL:
    """Give an autoencoder of the smoke run's size, changed by none."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_vae(SMOKE_SETTINGS["vae"])
