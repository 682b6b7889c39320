"""The five parts of a model, by name."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch
    from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


class Components(NamedTuple):
    """The five parts of Stable Diffusion, in the order in which a prompt meets them."""

    tokenizer: "CLIPTokenizer"
    text_encoder: "CLIPTextModel"
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"
    scheduler: "SchedulerMixin"

    @property
    def networks(self) -> "dict[str, torch.nn.Module]":
        """The three parts that have weights, by name, in the order in which a prompt meets them."""
        return {"text_encoder": self.text_encoder, "unet": self.unet, "vae": self.vae}
