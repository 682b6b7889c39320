"""The playground's settings, and the PNG files that carry them."""

import dataclasses
import errno
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sdhelpers.playground.settings import (
    Settings,
    encode_painting,
    make_settings,
    read_settings,
    write_new_file,
)
from sdhelpers.widgets.panes import encode_png

SETTINGS = Settings(
    prompt='a "photograph" of <b>an astronaut</b>,\nnäher: 宇宙飛行士 🚀 \x00',
    negative_prompt="\udcff a lone surrogate",
    guidance_scale=7.3,
    num_inference_steps=33,
    seed=2**53 - 1,
    scheduler="DPM-Solver++",
    height=128,
    width=192,
)


def make_png(settings: str | dict) -> bytes:
    """Make a file that says this; a dict is written as JSON."""
    info = PngImagePlugin.PngInfo()
    info.add_text("sdhelpers", settings if isinstance(settings, str) else json.dumps(settings))
    return encode_png(Image.new("RGB", (2, 2)), info)


def test_a_png_gives_back_settings_and_every_level() -> None:
    image = Image.frombytes("RGB", (16, 16), bytes(range(256)) * 3)
    png = encode_painting(image, SETTINGS)
    assert read_settings(png) == SETTINGS
    assert Image.open(io.BytesIO(png)).tobytes() == image.tobytes()
    plain = encode_png(image)
    assert Image.open(io.BytesIO(plain)).tobytes() == image.tobytes()
    assert len(plain) < len(png)


def test_numpys_numbers_are_written_down() -> None:
    numbers = {"seed": np.int64(3), "guidance_scale": np.float32(2.5)}
    png = encode_painting(Image.new("RGB", (2, 2)), dataclasses.replace(SETTINGS, **numbers))
    assert read_settings(png) == dataclasses.replace(SETTINGS, seed=3, guidance_scale=2.5)


def test_any_program_can_read_the_text() -> None:
    text = Image.open(io.BytesIO(encode_painting(Image.new("RGB", (2, 2)), SETTINGS))).text
    assert json.loads(text["sdhelpers"]) == dataclasses.asdict(SETTINGS)


@pytest.mark.parametrize(
    ("png", "message"),
    [
        (b"", "not a whole PNG"),
        (b"GIF89a", "not a whole PNG"),
        (encode_painting(Image.new("RGB", (64, 64)), SETTINGS)[:70], "not a whole PNG"),
        (encode_painting(Image.new("RGB", (64, 64)), SETTINGS)[:-60], "not a whole PNG"),
        (
            encode_painting(Image.new("RGB", (2, 2)), SETTINGS).replace(b"192", b"193"),
            "not a whole PNG",  # its checksum is wrong
        ),
        (encode_png(Image.new("RGB", (2, 2))), "holds no settings"),
        (make_png("{"), "no JSON"),
        (make_png("[" * 100_000), "no JSON"),
        (make_png("[1, 2]"), "must name exactly prompt, .*; got list"),
        (make_png('{"prompt": "a cat", "tool": "another"}'), "got prompt, tool"),
        (make_png(vars(SETTINGS) | {"guidance_scale": float("nan")}), "must be a finite number"),
    ],
)
def test_what_is_no_saved_picture_is_told_apart(png: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_settings(png)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prompt", None, "prompt must be a string"),
        ("negative_prompt", ["a"], "negative_prompt must be a string"),
        ("guidance_scale", "7", "finite number"),
        ("guidance_scale", -0.5, "from 0 to 20"),
        ("guidance_scale", 20.5, "from 0 to 20"),
        ("num_inference_steps", 0, "from 1 to 100"),
        ("num_inference_steps", 101, "from 1 to 100"),
        ("num_inference_steps", 2.0, "from 1 to 100"),
        ("seed", -1, "seed must be"),
        ("seed", 2**53, "seed must be"),
        ("seed", True, "seed must be"),
        ("scheduler", ["K-LMS"], "scheduler must be a string"),
        ("height", 0, "height must be"),
        ("width", 12.5, "width must be"),
    ],
)
def test_bad_settings_are_refused(name: str, value: object, message: str) -> None:
    values = dataclasses.asdict(SETTINGS) | {name: value}
    with pytest.raises(ValueError, match=message):
        Settings(**values)
    with pytest.raises(ValueError, match=message):
        make_settings(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [("guidance_scale", 0), ("guidance_scale", 20), ("num_inference_steps", 100), ("seed", 0)],
)
def test_the_ends_of_the_ranges_are_allowed(name: str, value: float) -> None:
    settings = dataclasses.replace(SETTINGS, **{name: value})
    assert make_settings(dataclasses.asdict(settings)) == settings


def test_a_caption_names_every_setting() -> None:
    settings = dataclasses.replace(SETTINGS, prompt="a cat", negative_prompt="a dog")
    assert settings.describe() == (
        '"a cat", not "a dog" · guidance 7.3 · 33 steps of DPM-Solver++ · '
        "seed 9007199254740991 · 192 x 128"
    )
    assert ", not" not in dataclasses.replace(settings, negative_prompt="").describe()
    assert "· 1 step of" in dataclasses.replace(settings, num_inference_steps=1).describe()


def test_a_full_disk_leaves_no_half_picture(tmp_path: Path, monkeypatch) -> None:
    class Full(io.BytesIO):
        def write(self, content: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def open_full(path: Path, mode: str) -> Full:
        path.touch(exist_ok=False)
        return Full()

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="No space left"):
        write_new_file(tmp_path, b"png")
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "playground-002.png").write_bytes(b"mine")
    paths = [write_new_file(tmp_path, bytes([number])) for number in range(3)]
    assert [path.name for path in paths] == [
        "playground-001.png",
        "playground-003.png",
        "playground-004.png",
    ]
    assert [path.read_bytes() for path in paths] == [b"\0", b"\1", b"\2"]
    assert (tmp_path / "playground-002.png").read_bytes() == b"mine"
    with pytest.raises(OSError, match="nowhere"):
        write_new_file(tmp_path / "nowhere", b"")
