"""The models that these notebooks are meant for, and the one switch between them."""

import os
from dataclasses import dataclass
from pathlib import Path

from sdhelpers.model.folder import TINY_SD

SD_V1_4 = "CompVis/stable-diffusion-v1-4"
SD_V1_5 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
BK_SDM_TINY = "nota-ai/bk-sdm-tiny"
_OPENRAIL_M = "CreativeML OpenRAIL-M: free to use, with a list of uses that it forbids"
_TEXT_ENCODER, _VAE = 123_060_480, 83_653_863  # the same in all of the first generation


@dataclass(frozen=True)
class KnownModel:
    """What is known of a model before anything is downloaded.

    Attributes:
        name: id on the Hugging Face hub, or the built-in folder.
        revision: branch, tag or commit that is asked for.
        licence: name and gist.
        num_parameters: part -> how many; times four bytes in single precision, two in half, it
            is the size of the download.
        needs: what a machine should have.
    """

    name: str
    revision: str
    licence: str
    num_parameters: dict[str, int]
    needs: str


KNOWN_MODELS = {
    model.name: model
    for model in (
        KnownModel(
            name=str(TINY_SD),
            revision="built in",
            licence="MIT",
            num_parameters={"text_encoder": 15_037_952, "unet": 13_324_228, "vae": 3_884_295},
            needs="any laptop, no network",
        ),
        KnownModel(
            name=SD_V1_4,
            revision="main",
            licence=_OPENRAIL_M,
            num_parameters={"text_encoder": _TEXT_ENCODER, "unet": 859_520_964, "vae": _VAE},
            needs="a GPU with 6 GB (4 GB in half precision), or a CPU with 8 GB and patience",
        ),
        KnownModel(
            name=SD_V1_5,
            revision="main",
            licence=_OPENRAIL_M,
            num_parameters={"text_encoder": _TEXT_ENCODER, "unet": 859_520_964, "vae": _VAE},
            needs="a GPU with 6 GB (4 GB in half precision), or a CPU with 8 GB and patience",
        ),
        KnownModel(
            name=BK_SDM_TINY,
            revision="main",
            licence=_OPENRAIL_M,
            num_parameters={"text_encoder": _TEXT_ENCODER, "unet": 323_384_964, "vae": _VAE},
            needs="a CPU with 6 GB and some patience, or a small GPU",
        ),
    )
}


def pick_model(model: str | Path = TINY_SD) -> str | Path:
    """Give the model that a notebook runs with: the switch.

    Args:
        model: a folder in the standard layout, or an id on the Hugging Face hub.

    Returns:
        What the environment variable SD_MODEL says, if it is set and not empty, for it is meant
        for all notebooks at once; otherwise `model`.
    """
    return os.environ.get("SD_MODEL") or model
