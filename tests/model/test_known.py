"""The table of models, the switch, and the true architecture counted."""

from pathlib import Path

import pytest

from sdhelpers import TINY_SD, pick_model
from sdhelpers.lessons.architecture import SD_V1_CONFIGS, count_parameters, make_networks
from sdhelpers.model.known import BK_SDM_TINY, KNOWN_MODELS, SD_V1_4, SD_V1_5

FOLDERS = {str(TINY_SD): TINY_SD, SD_V1_4: SD_V1_CONFIGS, SD_V1_5: SD_V1_CONFIGS}


@pytest.mark.parametrize("name", FOLDERS)
def test_the_table_counts_right(name: str) -> None:
    """Oracle: the networks themselves, built without numbers from their configs."""
    networks = make_networks(FOLDERS[name])
    counted = {part: count_parameters(one) for part, one in networks._asdict().items()}
    assert counted == KNOWN_MODELS[name].num_parameters
    assert all(one.device.type == "meta" and not one.training for one in networks)


def test_the_true_architecture() -> None:
    """The figures of the model's card and of the literature."""
    known = KNOWN_MODELS[SD_V1_4].num_parameters
    assert known == {"text_encoder": 123_060_480, "unet": 859_520_964, "vae": 83_653_863}
    unet = make_networks(SD_V1_CONFIGS).unet
    assert (unet.config.sample_size, unet.config.cross_attention_dim) == (64, 768)


def test_the_small_unet_for_cpus() -> None:
    """Oracle: v1-4's UNet without its innermost blocks, as BK-SDM's paper describes it."""
    import torch
    from diffusers import UNet2DConditionModel

    config = UNet2DConditionModel.load_config(SD_V1_CONFIGS, subfolder="unet")
    config |= {
        "block_out_channels": [320, 640, 1280],
        "down_block_types": ["CrossAttnDownBlock2D"] * 3,
        "up_block_types": ["CrossAttnUpBlock2D"] * 3,
        "layers_per_block": 1,
        "mid_block_type": None,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    assert count_parameters(unet) == KNOWN_MODELS[BK_SDM_TINY].num_parameters["unet"]


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SD_MODEL", raising=False)
    assert pick_model() == TINY_SD
    assert pick_model(SD_V1_4) == SD_V1_4
    monkeypatch.setenv("SD_MODEL", "")
    assert pick_model(Path("here")) == Path("here")
    monkeypatch.setenv("SD_MODEL", BK_SDM_TINY)
    assert pick_model() == pick_model(SD_V1_4) == BK_SDM_TINY
