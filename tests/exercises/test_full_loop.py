"""Notebook 07's checkers: the right answer, wrong ones with their hints, and the empty stub."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import LMSDiscreteScheduler

from sdhelpers.exercises import full_loop
from sdhelpers.exercises.full_loop import (
    Parts,
    check_begin,
    check_encode,
    check_finish,
    check_predict,
    check_walk,
    choose_parts,
    make_parts,
)
from sdhelpers.model.parts import Components
from tests.conftest import PROMPT

CHECKS = {
    "encode": check_encode,
    "begin": check_begin,
    "predict": check_predict,
    "walk": check_walk,
    "finish": check_finish,
}


@pytest.fixture(scope="module")
def parts_of_07(components: Components) -> Components:
    scheduler = LMSDiscreteScheduler.from_config(components.scheduler.config)
    return components._replace(scheduler=scheduler)


def test_every_part_has_a_check() -> None:
    assert tuple(CHECKS) == Parts._fields


@pytest.mark.parametrize("name", CHECKS)
def test_right_answers_and_empty_stubs(verdict, parts_of_07, name: str) -> None:
    right = getattr(make_parts(parts_of_07), name)
    assert verdict(CHECKS[name], right, parts_of_07).startswith("right: ")
    stub = verdict(CHECKS[name], lambda *arguments: ..., parts_of_07)
    assert stub.startswith("not attempted yet")


def wrong_answers(components: Components) -> dict[str, tuple[str, Callable, str]]:
    """Give what -> (exercise, function written as a reader would, a word of the verdict)."""
    tokenizer, text_encoder, unet, vae, _ = components
    right = make_parts(components)

    def encode_unpadded(prompt):
        ids = [tokenizer(text, return_tensors="pt").input_ids for text in ("", prompt)]
        return torch.cat([text_encoder(i).last_hidden_state[:, :2] for i in ids])

    def encode_zeros(prompt):
        text_embeddings = right.encode(prompt)[1:]
        return torch.cat([torch.zeros_like(text_embeddings), text_embeddings])

    def weak(scheduler, seed):
        return torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(seed))

    def predict(scheduler, latents, t, both, scale, scaled=True, order=(0, 1)):
        doubled = torch.cat([latents, latents])
        doubled = scheduler.scale_model_input(doubled, t) if scaled else doubled
        noise_pred = unet(doubled, t, encoder_hidden_states=both).sample.chunk(2)
        uncond, text = noise_pred[order[0]], noise_pred[order[1]]
        return uncond + scale * (text - uncond)

    def added(scheduler, latents, t, both, scale):
        doubled = scheduler.scale_model_input(torch.cat([latents] * 2), t)
        uncond, text = unet(doubled, t, encoder_hidden_states=both).sample.chunk(2)
        return uncond + scale * text

    def walk_in_place(scheduler, latents, both, scale):
        for t in scheduler.timesteps:
            noise_pred = right.predict(scheduler, latents, t, both, scale)
            latents.copy_(scheduler.step(noise_pred, t, latents.clone()).prev_sample)
        return latents

    def walk_on_the_spot(scheduler, latents, both, scale):
        for t in scheduler.timesteps:
            noise_pred = right.predict(scheduler, latents, t, both, scale)
            result = scheduler.step(noise_pred, t, latents).prev_sample
        return result

    def walk_short(scheduler, latents, both, scale):
        for t in scheduler.timesteps[:-1]:
            noise_pred = right.predict(scheduler, latents, t, both, scale)
            latents = scheduler.step(noise_pred, t, latents).prev_sample
        return latents

    def decode(latents, factor, rounded=True, clipped=True):
        pixel_values = vae.decode(latents / factor).sample[0].permute(1, 2, 0)
        levels = (pixel_values / 2 + 0.5) * 255
        levels = levels.clamp(0, 255) if clipped else levels
        return (levels.round() if rounded else levels).to(torch.int64).numpy().astype(np.uint8)

    factor = vae.config.scaling_factor
    return {
        "order": ("encode", lambda prompt: right.encode(prompt).flip(0), "comes second"),
        "alone": ("encode", lambda prompt: right.encode(prompt)[1:], "prompt alone"),
        "zeros": ("encode", encode_zeros, "zeros"),
        "unpadded": ("encode", encode_unpadded, "the shape is"),
        "not a function": ("encode", torch.zeros(2), "asks for a function"),
        "weak noise": ("begin", weak, "strength 1"),
        "one noise": ("begin", lambda s, seed: weak(s, 0) * s.init_noise_sigma, "case 2 of 2"),
        "divided": ("begin", lambda s, seed: weak(s, seed) / s.init_noise_sigma, "don't divide"),
        "unscaled": ("predict", lambda *a: predict(*a, scaled=False), "scale_model_input"),
        "swapped": ("predict", lambda *a: predict(*a, order=(1, 0)), "in case"),
        "added": ("predict", added, "difference"),
        "unguided": ("predict", lambda s, x, t, both, scale: predict(s, x, t, both, 1.0), "alone"),
        "crash": ("predict", lambda *a: 1 / 0, "raised ZeroDivisionError"),
        "in place": ("walk", walk_in_place, "changed its arguments"),
        "on the spot": ("walk", walk_on_the_spot, "keep prev_sample"),
        "short": ("walk", walk_short, "last timestep is missing"),
        "not unscaled": ("finish", lambda x: decode(x, 1.0), "divide by vae.config.scaling_factor"),
        "cut off": ("finish", lambda x: decode(x, factor, rounded=False), "round before"),
        "wrapped": ("finish", lambda x: decode(x, factor, clipped=False), "in case"),
        "colours first": ("finish", lambda x: decode(x, factor).transpose(2, 0, 1), "come last"),
    }  # fmt: skip


@pytest.mark.parametrize("name", CHECKS)
@torch.no_grad()
def test_wrong_answers_hear_what_is_wrong(verdict, parts_of_07, name: str) -> None:
    answers = [answer for answer in wrong_answers(parts_of_07).values() if answer[0] == name]
    assert len(answers) >= 3
    for _, attempt, word in answers:
        found = verdict(CHECKS[name], attempt, parts_of_07)
        assert found.startswith("not yet: ")
        assert word in found


def test_choose_parts_takes_what_is_right(
    parts_of_07: Components, capsys: pytest.CaptureFixture
) -> None:
    right = make_parts(parts_of_07)
    attempts = Parts(
        encode=lambda prompt: right.encode(prompt),
        begin=lambda scheduler, seed: ...,
        predict=lambda *arguments: torch.zeros(1, 4, 16, 16),
        walk=lambda *arguments: right.walk(*arguments),
        finish=lambda latents: 1 / 0,
    )
    chosen = choose_parts(attempts, parts_of_07)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[1].strip(",") for line in printed] == [
        "yours", "ours", "ours", "yours", "ours",
    ]  # fmt: skip
    assert [ours is attempt for ours, attempt in zip(chosen, attempts, strict=True)] == [
        True, False, False, True, False,
    ]  # fmt: skip
    plan = full_loop.make_plan(parts_of_07.scheduler, 2)
    with torch.no_grad():
        latents = chosen.walk(plan, chosen.begin(plan, 0), chosen.encode(PROMPT), 4.0)
        assert chosen.finish(latents).shape == (128, 128, 3)
