"""Stage 5: assemble the model folder, half precision on disk, float32 in memory.

Run: python -m training.export --out sdhelpers/tiny_sd
"""

import argparse
import io
import json
import zipfile
from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load, save
from transformers import CLIPTextModel

from training.engine.checkpoints import write_atomically
from training.engine.options import DEFAULT_FOLDER
from training.stages.noise_prediction import load_scheduler
from training.world.data import load_tokenizer


def export(folder: Path, out: Path) -> None:
    """Write the trained parts of a run as one folder that every diffusers pipeline loads.

    Args:
        folder: the run's folder.
        out: the model folder; files of an earlier model in it are replaced.
    """
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(folder / "vae" / "model").half(),
        text_encoder=CLIPTextModel.from_pretrained(folder / "unet" / "text_encoder").half(),
        tokenizer=load_tokenizer(),
        unet=UNet2DConditionModel.from_pretrained(folder / "unet" / "model").half(),
        scheduler=load_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in ("vae", "unet"):  # diffusers would write down the folder that it read from
        getattr(pipeline, part).register_to_config(_name_or_path=part)
    pipeline.save_pretrained(out)
    # transformers would otherwise load the text encoder in the precision it has on disk.
    config_path = out / "text_encoder" / "config.json"
    config = json.loads(config_path.read_bytes())
    config["dtype"] = "float32"
    config_path.write_text(json.dumps(config, indent=2) + "\n")
    name_as_clip_did(out / "text_encoder" / "model.safetensors")


def name_as_clip_did(weights: Path) -> None:
    """Let the names of a text encoder's weights begin with "text_model.", as in Stable Diffusion.

    transformers since 5.6 writes them without and reads both; before, it reads only these, and
    fills what it doesn't find with random numbers.
    """
    prefix = "text_model."
    named = load(weights.read_bytes())  # not `load_file`: Windows replaces no file that is mapped
    longer = {prefix + name.removeprefix(prefix): tensor for name, tensor in named.items()}
    data = save(longer, metadata={"format": "pt"})
    write_atomically(weights, lambda file: file.write(data))


def compressed_megabytes(folder: Path | str) -> float:
    """Return the size of a folder's files in a zip archive, which a wheel is, in 10^6 bytes."""
    with zipfile.ZipFile(io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(Path(folder).rglob("*")):
            archive.write(path, path.relative_to(folder))
        return sum(entry.compress_size for entry in archive.infolist()) / 1e6


def main() -> None:
    """Export the run that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="the run's files")
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    arguments = parser.parse_args()
    export(arguments.folder, arguments.out)
    print(f"{arguments.out}: {compressed_megabytes(arguments.out):.1f} MB compressed")


if __name__ == "__main__":
    main()
