"""The models that these notebooks are meant for, and the one switch between them."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from sdhelpers.model.folder import TINY_SD

SD_V1_4 = "CompVis/stable-diffusion-v1-4"
SD_V1_5 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
BK_SDM_TINY = "nota-ai/bk-sdm-tiny"


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

    @property
    def is_built_in(self) -> bool:
        """Tell whether it lies in the package; the others are fetched from the hub."""
        return self.name == str(TINY_SD)


_TINY_SD = KnownModel(
    name=str(TINY_SD),
    revision="built in",
    licence="MIT",
    num_parameters={"text_encoder": 15_037_952, "unet": 13_324_228, "vae": 3_884_295},
    needs="any laptop, no network",
)
_SD_V1_4 = KnownModel(
    name=SD_V1_4,
    revision="main",
    licence="CreativeML OpenRAIL-M: free to use, with a list of uses that it forbids",
    num_parameters={"text_encoder": 123_060_480, "unet": 859_520_964, "vae": 83_653_863},
    needs="a GPU with 6 GB (4 GB in half precision), or a CPU with 8 GB and patience",
)
_SD_V1_5 = replace(_SD_V1_4, name=SD_V1_5)  # the same shapes, trained for longer
_BK_SDM_TINY = replace(
    _SD_V1_4,
    name=BK_SDM_TINY,
    num_parameters=_SD_V1_4.num_parameters | {"unet": 323_384_964},
    needs="a CPU with 6 GB and some patience, or a small GPU",
)
KNOWN_MODELS = {model.name: model for model in (_TINY_SD, _SD_V1_4, _SD_V1_5, _BK_SDM_TINY)}


def pick_model(model: str | Path = TINY_SD) -> str | Path:
    """Give the model that a notebook runs with: the switch.

    Args:
        model: a folder in the standard layout, or an id on the Hugging Face hub.

    Returns:
        What the environment variable SD_MODEL says, if it is set and not empty, for it is meant
        for all notebooks at once; otherwise `model`.
    """
    return os.environ.get("SD_MODEL") or model
