"""The five parts of a model, by name, and the three of them that are networks."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer


class Networks(NamedTuple):
    """The three parts that have weights, in the order in which a prompt meets them."""

    text_encoder: "CLIPTextModel"
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"


class Components(NamedTuple):
    """The five parts of Stable Diffusion, in the order in which a prompt meets them."""

    tokenizer: "CLIPTokenizer"
    text_encoder: "CLIPTextModel"
    unet: "UNet2DConditionModel"
    vae: "AutoencoderKL"
    scheduler: "SchedulerMixin"

    @property
    def networks(self) -> Networks:
        """The three parts that have weights."""
        return Networks(self.text_encoder, self.unet, self.vae)
