"""The judge: a small network that looks at pictures and answers the `QUESTIONS` about them."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import nn
from torch.nn import functional

from training.engine.checkpoints import write_atomically
from training.engine.settings import TrainingSettings
from training.judging.questions import QUESTIONS
from training.world.data import bytes_to_pixel_values
from training.world.facts import OBJECT_COLOURS
from training.world.nouns import NOUNS
from training.world.paint import IMAGE_SIZE

# The judge that the committed results come from.
JUDGE_FOLDER = Path(__file__).parents[1] / "judge_model"
# Questions about one of up to two things, and those about the whole picture.
ORDERS = ("first", "second")
WHOLE_PICTURE = ("relation", "background", "style")


@dataclass(frozen=True, kw_only=True)
class JudgeSettings(TrainingSettings):
    """Settings of the judge, from its network to its training."""

    # Channels per level: 64, 32, 16, 8 and 4 pixels wide. Enough to tell 129 sprites apart.
    channels: tuple[int, ...] = (32, 64, 128, 256, 256)
    # Groups of channels that are normalised together; must divide every width above.
    norm_num_groups: int = 16
    # Numbers per picture from which all answers are read, and which the distances compare. More
    # would need more pictures for a Fréchet distance.
    feature_dim: int = 256
    # Scenes per step, every one new.
    batch_size: int = 64
    # Seeds: apart from the scenes of the model's own training and below the evaluation's.
    first_seed: int = 100_000_000
    # Share of scenes with a combination that the model's training holds out.
    held_out_share: float = 0.05
    # Share of the pictures that are blurred and noisy, as a decoder's pictures may be.
    degraded_share: float = 0.5
    # Pixels, the widest blur, and noise in units of [-1, 1]: about what a VAE of 25 dB loses.
    max_blur: float = 1.2
    max_noise: float = 0.08
    # Processes that render; None takes as many as there are cores, 0 renders in between.
    num_workers: int | None = None
    num_warmup_steps: int = 100
    decay_share: float = 0.7
    ema_decay: float = 0.998
    seed: int = 3


SMOKE_JUDGE = JudgeSettings(
    channels=(16, 32, 32, 32, 64),
    norm_num_groups=8,
    feature_dim=64,
    batch_size=32,
    num_workers=0,
    num_warmup_steps=5,
    ema_decay=0.9,
)


def make_block(width: int, next_width: int, is_double: bool, norm_num_groups: int) -> nn.Sequential:
    """Return one level: a convolution that halves the size, and another one if it is double."""
    layers = [nn.Conv2d(width, next_width, 3, stride=2, padding=1)]
    layers += [nn.GroupNorm(norm_num_groups, next_width), nn.SiLU()]
    if is_double:
        layers += [nn.Conv2d(next_width, next_width, 3, padding=1)]
        layers += [nn.GroupNorm(norm_num_groups, next_width), nn.SiLU()]
    return nn.Sequential(*layers)


class Judge(nn.Module):
    """A convolutional network from pixels to answers: what is where, and where to look for what.

    A map of 8 x 8 places says which noun and which colour is at each. The picture as a whole, a
    feature vector, says where the first and the second thing are, and answers the rest. So a noun
    need not be learnt for every place anew.

    Args:
        settings: `JudgeSettings`.

    Raises:
        ValueError: if the levels don't halve the picture to 4 x 4.
    """

    def __init__(self, settings: JudgeSettings) -> None:
        super().__init__()
        last_size = IMAGE_SIZE >> len(settings.channels)
        if last_size != 4:
            raise ValueError(
                f"{len(settings.channels)} levels shrink {IMAGE_SIZE} pixels to {last_size}; "
                "give five entries of channels, which shrink it to 4"
            )
        blocks, width = [], 3
        for level, next_width in enumerate(settings.channels):
            is_middle = 0 < level < len(settings.channels) - 1
            blocks.append(make_block(width, next_width, is_middle, settings.norm_num_groups))
            width = next_width
        *to_map, self.last_block = blocks
        self.blocks = nn.Sequential(*to_map)
        # The 4 x 4 map is flattened, not averaged: left and right, above and below matter.
        self.projection = nn.Linear(width * last_size**2, settings.feature_dim)
        self.norm = nn.LayerNorm(settings.feature_dim)
        map_width, num_places = settings.channels[-2], (2 * last_size) ** 2
        self.noun_map = nn.Conv2d(map_width, len(NOUNS), 1)
        self.colour_map = nn.Conv2d(map_width, len(OBJECT_COLOURS), 1)
        self.places = nn.ModuleDict(
            {order: nn.Linear(settings.feature_dim, num_places) for order in ORDERS}
        )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(settings.feature_dim, len(QUESTIONS[name])) for name in WHOLE_PICTURE}
        )
        # Most nouns are absent: e^-4 is 2 %, and the sum over the places makes it no less rare.
        nn.init.constant_(self.noun_map.bias, -4.0 - math.log(num_places))

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits of all answers, and the features.

        Args:
            pixel_values: (B, 3, 128, 128) in [-1, 1].

        Returns:
            "nouns": (B, 129), one logit per noun: the smooth maximum over the places. Every
            question: (B, its answers). "features": (B, feature_dim) of length 1, for distances
            between 0 and 2.
        """
        at_places = self.blocks(pixel_values)
        normed = self.norm(self.projection(self.last_block(at_places).flatten(1)))
        seen = functional.silu(normed)
        noun_logits = self.noun_map(at_places).flatten(2)
        colour_logits = self.colour_map(at_places).flatten(2)
        logits = {"nouns": noun_logits.logsumexp(2)}
        for order, head in self.places.items():
            shares = head(seen).softmax(1)[..., None]
            logits[order] = (noun_logits @ shares).squeeze(2)
            logits[f"{order}_colour"] = (colour_logits @ shares).squeeze(2)
        logits |= {name: head(seen) for name, head in self.heads.items()}
        return {**logits, "features": functional.normalize(normed, dim=-1)}


def save_judge(judge: Judge, settings: JudgeSettings, num_steps: int, folder: Path) -> None:
    """Write a trained judge as `model.safetensors` (half precision) and `config.json`."""
    weights = {name: value.half().contiguous().cpu() for name, value in judge.state_dict().items()}
    data = save(weights)
    write_atomically(folder / "model.safetensors", lambda file: file.write(data))
    config = {"settings": asdict(settings), "num_steps": num_steps}
    text = json.dumps(config, indent=2).encode()
    write_atomically(folder / "config.json", lambda file: file.write(text))


def load_judge(folder: Path) -> tuple[Judge, dict]:
    """Load a judge, in float32, and its config, which holds its settings and "num_steps".

    Raises:
        ValueError: if the folder holds no judge.
    """
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} holds no judge; run python -m training.train_judge first")
    config = json.loads((folder / "config.json").read_bytes())
    saved = config["settings"]
    judge = Judge(JudgeSettings(**{**saved, "channels": tuple(saved["channels"])}))
    judge.load_state_dict(load_file(folder / "model.safetensors"))
    return judge.eval(), config


@dataclass(frozen=True)
class Answers:
    """What the judge sees in N pictures.

    Attributes:
        nouns: (N, 129) bool, whether each noun is there.
        chosen: question -> (N,) int, the index of the likeliest answer.
        features: (N, D) float32, of length 1.
    """

    nouns: np.ndarray
    chosen: dict[str, np.ndarray]
    features: np.ndarray

    def answer(self, row: int, question: str) -> str:
        """Return one answer in words."""
        return QUESTIONS[question][self.chosen[question][row]]

    def sees(self, row: int, noun: str) -> bool:
        """Say whether a noun is in a picture."""
        return bool(self.nouns[row, NOUNS.index(noun)])


@torch.inference_mode()
def ask_judge(judge: Judge, pictures: torch.Tensor, batch_size: int = 64) -> Answers:
    """Let the judge look at pictures.

    Args:
        judge: the network, on any device.
        pictures: (N, 3, 128, 128) uint8.
        batch_size: pictures at a time.

    Raises:
        ValueError: if the pictures have another shape or dtype.
    """
    if pictures.shape[1:] != (3, IMAGE_SIZE, IMAGE_SIZE) or pictures.dtype != torch.uint8:
        raise ValueError(
            f"got pictures {tuple(pictures.shape)} {pictures.dtype}; the judge reads "
            f"(N, 3, {IMAGE_SIZE}, {IMAGE_SIZE}) uint8"
        )
    device = next(judge.parameters()).device
    batches = [
        {name: values.float().cpu() for name, values in judge(pixel_values.to(device)).items()}
        for pixel_values in map(bytes_to_pixel_values, pictures.split(batch_size))
    ]
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    chosen = {question: joined[question].argmax(1).numpy() for question in QUESTIONS}
    return Answers((joined["nouns"] > 0).numpy(), chosen, joined["features"].numpy())
