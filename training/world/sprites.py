"""Fetch, verify and load the sprites: Fluent Emoji 3D by Microsoft (MIT licence).

The artwork is never part of this repository. `python -m training.sprites` fetches it once, by
npm or from a tar file at hand, checks it byte for byte and unpacks what the scenes need.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unicodedata
from functools import cache
from pathlib import Path

from PIL import Image

from training.world.nouns import EMOJI, NOUNS

PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"
SHA256 = "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"
FOLDER_VARIABLE = "SDHELPERS_SPRITES"
# Pixels. No object in a scene of 128 is larger, and smaller sprites paste faster.
MAX_SPRITE_SIZE = 128


def sprite_folder() -> Path:
    """Return the folder of the sprites: $SDHELPERS_SPRITES, or one in the platform's cache."""
    if os.environ.get(FOLDER_VARIABLE):
        return Path(os.environ[FOLDER_VARIABLE])
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "sdhelpers" / "fluent-emoji-3d-1.1.0"


def sprite_file_names(noun: str) -> tuple[str, str]:
    """Return the file names a noun's sprite may have: its code points, with or without FE0F.

    Raises:
        ValueError: if the noun is not in the vocabulary.
    """
    if noun not in EMOJI:
        raise ValueError(
            f"no sprite for {noun!r}; the {len(NOUNS)} known nouns are: {', '.join(NOUNS)}"
        )
    parts = [unicodedata.lookup(part) for part in EMOJI[noun].split(" + ")]
    code_points = "-".join(f"{ord(character):04x}" for character in "\u200d".join(parts))
    return f"{code_points}.webp", f"{code_points}-fe0f.webp"


def is_complete(folder: Path) -> bool:
    """Say whether every noun has its sprite in the folder."""
    return all(any((folder / name).is_file() for name in sprite_file_names(noun)) for noun in NOUNS)


def verify(tar_path: Path | str) -> None:
    """Compare the archive with the pinned SHA-256.

    Raises:
        ValueError: if it is another file, or a damaged one.
    """
    digest = hashlib.sha256(Path(tar_path).read_bytes()).hexdigest()
    if digest != SHA256:
        raise ValueError(
            f"{tar_path} has SHA-256 {digest}, expected {SHA256}: not {PACKAGE}, or damaged. "
            "Delete it and fetch it again."
        )


def download(folder: Path | str) -> Path:
    """Fetch the package with `npm pack` into a folder and return the path of the archive.

    Raises:
        RuntimeError: if npm is missing or fails.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(
            "npm is not installed, so the sprites can't be fetched. Install it, or fetch "
            f"{PACKAGE} elsewhere and run: python -m training.sprites --tar FILE"
        )
    result = subprocess.run(
        [npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise RuntimeError(f"npm pack {PACKAGE} failed:\n{result.stderr.strip()}")
    return Path(folder) / result.stdout.split()[-1]


def unpack(tar_path: Path | str, folder: Path) -> None:
    """Verify the archive and write the needed sprites to a folder, all of them or none."""
    verify(tar_path)
    wanted = {name for noun in NOUNS for name in sprite_file_names(noun)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        unpacked = Path(scratch) / "sprites"
        unpacked.mkdir()
        with tarfile.open(tar_path) as archive:
            for member in archive:
                name = Path(member.name).name
                if member.isfile() and name in wanted:
                    (unpacked / name).write_bytes(archive.extractfile(member).read())
        if folder.exists() and not is_complete(folder):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(unpacked, folder)
        except OSError:  # another process was first
            if not is_complete(folder):
                raise


def fetch_sprites(tar_path: Path | str | None = None) -> Path:
    """Make sure that the sprites are in the cache and return their folder.

    Args:
        tar_path: path of the package's archive; None fetches it with npm where needed.
    """
    folder = sprite_folder()
    if is_complete(folder):
        return folder
    if os.environ.get(FOLDER_VARIABLE) and folder.exists() and any(folder.iterdir()):
        raise ValueError(
            f"{FOLDER_VARIABLE} names {folder}, which lacks some of the {len(NOUNS)} sprites; "
            "unset it, or name an empty place."
        )
    with tempfile.TemporaryDirectory() as scratch:
        unpack(tar_path or download(scratch), folder)
    return folder


@cache
def load_sprite(noun: str) -> Image.Image:
    """Load a noun's sprite, cropped to what is visible and at most 128 pixels large.

    Returns:
        PIL RGBA; shared between callers, who must not change it.
    """
    folder = fetch_sprites()
    paths = [folder / name for name in sprite_file_names(noun)]
    sprite = Image.open(next(path for path in paths if path.is_file())).convert("RGBA")
    sprite = sprite.crop(sprite.getbbox())
    sprite.thumbnail((MAX_SPRITE_SIZE, MAX_SPRITE_SIZE), Image.Resampling.LANCZOS)
    return sprite
