import copy
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.training_utils import compute_snr

from training.engine import run as run_module
from training.engine.checkpoints import load_checkpoint, save_checkpoint, write_atomically
from training.engine.loop import Plan, make_step_generator
from training.engine.options import RunOptions, make_accelerator
from training.engine.run import Progress, Run, format_duration, update_average
from training.engine.settings import SMOKE_SETTINGS, UnetSettings, VaeSettings, override
from training.judging.judge import JudgeSettings
from training.stages.autoencoder import Autoencoder, draw_pixel_values, make_vae, vae_losses
from training.stages.contrast import accuracies, contrastive_loss, shorten
from training.stages.noise_prediction import (
    TrainingData,
    draw_noisy_batch,
    load_scheduler,
    make_compute_loss,
    make_unet,
    mean_per_bin,
    snr_weights,
)

TINY_UNET = UnetSettings(
    block_out_channels=(32, 32),
    attention_head_dim=2,
    norm_num_groups=8,
    batch_size=6,
    num_warmup_steps=3,
    ema_decay=0.9,
)


def make_data(count=20):
    generator = torch.Generator().manual_seed(0)
    return TrainingData(
        torch.randn(count, 4, 8, 8, generator=generator).half(),
        torch.rand(count, 4, 8, 8, generator=generator).half(),
        torch.randn(count, 5, 16, generator=generator).half(),
        torch.randn(1, 5, 16, generator=generator).half(),
        0.7,
    )


def make_ddpm():
    return DDPMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    )


def test_the_training_follows_stable_diffusions_schedule():
    assert (load_scheduler().alphas_cumprod - make_ddpm().alphas_cumprod).abs().max() == 0


@pytest.mark.parametrize(("floor", "least"), [(0.0, 0.0047), (0.04, 0.04)])
@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_snr_weights_agree_with_the_librarys_snr(exponent, floor, least):
    ddpm = make_ddpm()
    snr = np.maximum(compute_snr(ddpm, torch.arange(1000)).double().numpy(), floor)
    unscaled = snr**-exponent
    weights = snr_weights(ddpm.alphas_cumprod, exponent, floor)
    assert np.allclose(weights, unscaled / unscaled.mean(), rtol=1e-4)
    assert weights[-1] / weights[0] == pytest.approx((1175.44 / least) ** exponent, rel=0.02)


def test_errors_are_averaged_per_noise_level():
    errors, timesteps = torch.tensor([1.0, 3.0, 5.0, 8.0]), torch.tensor([0, 199, 200, 999])
    means = {name: mean.item() for name, mean in mean_per_bin(errors, timesteps, 1000, 5).items()}
    expected = {"t0": 2.0, "t1": 5.0, "t2": math.nan, "t3": math.nan, "t4": 8.0}
    assert means == pytest.approx(expected, nan_ok=True)


def test_the_unets_loss_is_the_weighted_error_of_its_prediction():
    data, accelerator = make_data(), make_accelerator("no")
    seen = {}

    def predict(noisy_latents, timesteps, text_embeddings):
        seen.update(latents=noisy_latents, timesteps=timesteps, text=text_embeddings)
        return SimpleNamespace(sample=0.5 * noisy_latents)

    loss, bins = make_compute_loss(data, TINY_UNET, accelerator)(predict, 3, 0.0)
    ddpm = make_ddpm()
    generator = make_step_generator(TINY_UNET.seed, 3)
    floor = TINY_UNET.snr_floor
    snrs = [max(share / (1 - share), floor) for share in ddpm.alphas_cumprod.tolist()]
    all_weights = [snr**-0.25 for snr in snrs]  # half of an exponent of 0.5
    frequencies = torch.tensor(all_weights)
    _, noise, timesteps, _ = draw_noisy_batch(
        data, ddpm.alphas_cumprod, frequencies, TINY_UNET, generator
    )
    assert torch.equal(seen["timesteps"], timesteps)
    total = 0.0
    for row, timestep in enumerate(timesteps.tolist()):
        weight = all_weights[timestep] / sum(all_weights) * len(all_weights)
        difference = 0.5 * seen["latents"][row] - noise[row]
        total += weight * (difference**2).sum().item() / difference.numel()
    assert loss.item() == pytest.approx(total / len(timesteps), rel=1e-4)
    assert bins


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_half_drawn_and_half_weighed_is_the_loss_that_weighs_evenly_drawn_timesteps(exponent):
    accelerator = make_accelerator("no")
    made = make_data()
    data = replace(made, mean=torch.full_like(made.mean, 0.5), std=torch.zeros_like(made.std))
    settings = override(TINY_UNET, ["batch_size=20000", f"snr_exponent={exponent}"])
    ddpm, errors = make_ddpm(), torch.linspace(2.0, 0.1, 1000)

    def predict(noisy_latents, timesteps, text_embeddings):
        share = ddpm.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        clean = 0.5 * data.scaling_factor  # known, so that an error of choice can be put on top
        noise = (noisy_latents - share.sqrt() * clean) / (1 - share).sqrt()
        return SimpleNamespace(sample=noise + errors[timesteps].sqrt().view(-1, 1, 1, 1))

    loss, _ = make_compute_loss(data, settings, accelerator)(predict, 0, 0.0)
    weights = snr_weights(ddpm.alphas_cumprod, exponent, settings.snr_floor)
    half = snr_weights(ddpm.alphas_cumprod, exponent / 2, settings.snr_floor)
    expected = (weights * errors).mean() * half.square().mean()  # only the scale differs
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)


def test_one_caption_in_ten_is_empty_and_the_latents_are_scaled():
    data = make_data()
    settings = override(TINY_UNET, ["batch_size=4000"])
    clean = torch.ones(1000)  # no noise at all: what remains are the latents
    latents, noise, timesteps, text = draw_noisy_batch(
        data, clean, torch.ones(1000), settings, make_step_generator(0, 0)
    )
    is_empty = (text == data.empty_condition.float()).flatten(1).all(1)
    assert 0.08 < is_empty.float().mean() < 0.12
    expected = (data.mean.float().var() + data.std.float().square().mean()).sqrt() * 0.7
    assert latents.std() == pytest.approx(expected.item(), rel=0.02)
    assert noise.std() == pytest.approx(1, rel=0.02)
    assert timesteps.float().mean() == pytest.approx(499.5, rel=0.05)


def test_captions_are_drawn_as_ids_for_a_text_encoder_that_learns_along():
    with_embeddings = make_data()
    ids = torch.arange(100, dtype=torch.int32).reshape(20, 5)
    with_ids = replace(with_embeddings, conditions=ids, empty_condition=ids[:1] * 0 - 1)
    settings = override(TINY_UNET, ["batch_size=400"])
    drawn = [
        draw_noisy_batch(
            data, torch.ones(1000), torch.ones(1000), settings, make_step_generator(0, 0)
        )
        for data in (with_embeddings, with_ids)
    ]
    assert torch.equal(drawn[0][0], drawn[1][0])
    text_embeddings, input_ids = drawn[0][3], drawn[1][3]
    assert input_ids.dtype == torch.int64
    is_empty = (input_ids == -1).all(1)
    assert is_empty.any()
    assert torch.equal(text_embeddings[is_empty][:1], with_embeddings.empty_condition.float())
    rows = input_ids[~is_empty][:, 0] // 5
    assert torch.equal(text_embeddings[~is_empty], with_embeddings.conditions[rows].float())


def test_the_draws_of_a_step_depend_on_seed_step_and_process_only():
    def draw(*numbers):
        return torch.randn(4, generator=make_step_generator(*numbers))

    assert torch.equal(draw(0, 5, 1), draw(0, 5, 1))
    different = [draw(0, 5, 1), draw(1, 5, 1), draw(0, 6, 1), draw(0, 5, 0), draw(5, 0, 1)]
    for index, first in enumerate(different):
        assert not any(torch.equal(first, other) for other in different[index + 1 :])


def test_the_vaes_latents_are_narrow_at_first():
    """Noise of standard deviation 1 would drown the untrained means."""
    torch.manual_seed(0)
    autoencoder = Autoencoder(make_vae(SMOKE_SETTINGS["vae"]))
    pixel_values = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        _, mean, logvar = autoencoder(pixel_values, torch.zeros(2, 4, 8, 8))
        posterior = autoencoder.vae.encode(pixel_values).latent_dist
    assert abs(logvar.mean().item() + 6) < 1
    assert mean.abs().mean() > 3 * posterior.std.mean()


def test_the_vaes_losses_agree_with_plain_formulas_and_the_library():
    generator = torch.Generator().manual_seed(0)
    ours, true = torch.rand(2, 2, 3, 6, 6, generator=generator)
    moments = torch.randn(2, 8, 2, 2, generator=generator)
    mean, logvar = moments.chunk(2, dim=1)
    losses = vae_losses(ours, true, mean, logvar)
    a, b = ours.numpy(), true.numpy()
    assert losses["l1"].item() == pytest.approx(np.abs(a - b).mean(), rel=1e-5)
    assert losses["squared"].item() == pytest.approx(((a - b) ** 2).mean(), rel=1e-5)
    steps = [np.abs(np.diff(a, axis=axis) - np.diff(b, axis=axis)).mean() for axis in (2, 3)]
    assert losses["gradient"].item() == pytest.approx(sum(steps), rel=1e-5)
    library = DiagonalGaussianDistribution(moments).kl().mean().item() / mean[0].numel()
    assert losses["kl"].item() == pytest.approx(library, rel=1e-5)


def test_crops_are_windows_of_the_pictures_and_whole_ones_come_last():
    settings = VaeSettings(batch_size=16, crop_size=64, whole_share=0.2)
    rows = torch.arange(128, dtype=torch.uint8).expand(128, 128)
    pictures = torch.stack([torch.full((128, 128), 7, dtype=torch.uint8), rows, rows.T])[None]
    crops = draw_pixel_values(pictures, settings, 0.79, make_step_generator(0, 0))
    assert crops.shape == (16, 3, 64, 64)
    values = ((crops + 1) * 127.5).round()
    assert (values[:, 0] == 7).all()
    assert (values[:, 1].diff(dim=-1) == 1).all()
    assert (values[:, 2].diff(dim=-2) == 1).all()
    assert len(values[:, 1, 0, 0].unique()) > 8
    whole = draw_pixel_values(pictures, settings, 0.8, make_step_generator(0, 0))
    assert whole.shape == (4, 3, 128, 128)


def test_the_contrastive_loss_is_two_cross_entropies():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    rows = -np.mean([row.log_softmax(0)[i].item() for i, row in enumerate(logits)])
    columns = -np.mean([row.log_softmax(0)[i].item() for i, row in enumerate(logits.T)])
    assert contrastive_loss(logits).item() == pytest.approx((rows + columns) / 2, rel=1e-5)
    assert contrastive_loss(torch.eye(5) * 100).item() < 1e-6


def test_contrary_captions_are_further_choices_of_the_pictures():
    generator = torch.Generator().manual_seed(0)
    logits, wrong = torch.randn(2, 4, 4, generator=generator)
    wrong[2] = -math.inf  # has none
    captions = -np.mean([row.log_softmax(0)[i].item() for i, row in enumerate(logits)])
    kept = torch.cat([logits, wrong[[0, 1, 3]]])
    pictures = -np.mean([row.log_softmax(0)[i].item() for i, row in enumerate(kept.T)])
    loss = contrastive_loss(logits, wrong).item()
    assert loss == pytest.approx((captions + pictures) / 2, rel=1e-5)
    assert loss > contrastive_loss(logits).item()


def test_the_order_counts_only_where_there_is_one():
    logits, wrong = torch.diag(torch.tensor([3.0, 1.0, 2.0])), torch.diag(torch.tensor([1.0, 2, 9]))
    found = accuracies(logits, wrong, torch.tensor([False, False, True]))
    assert found == {"accuracy": torch.tensor(1.0), "order": torch.tensor(0.5)}


def test_shortening_keeps_every_captions_end():
    ids = torch.tensor([[1, 5, 9, 9, 9, 9], [1, 5, 6, 9, 9, 9]])
    assert shorten(ids, 9).tolist() == [[1, 5, 9, 9], [1, 5, 6, 9]]


def test_the_average_follows_the_formula():
    model = torch.nn.Linear(1, 1, bias=False)
    average = copy.deepcopy(model)
    expected = None
    for count, value in enumerate((3.0, 7.0, 1.0, 4.0)):
        with torch.no_grad():
            model.weight.fill_(value)
        update_average(average, model, 0.5, count)
        decay = min(0.5, (1 + count) / (10 + count))
        expected = value if count == 0 else decay * expected + (1 - decay) * value
    assert average.weight.item() == pytest.approx(expected, rel=1e-6)


def test_the_learning_rate_rises_stays_and_falls():
    plan = Plan(peak=2.0, num_warmup_steps=4, decay_share=0.5, num_steps=100)
    rates = [plan.learning_rate(step, plan.share_done(step, 0)) for step in range(100)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert set(rates[4:51]) == {2.0}
    assert rates[75] == pytest.approx(1.0)
    assert rates[99] < 0.01
    assert sorted(rates[50:], reverse=True) == rates[50:]


def test_a_budget_of_minutes_counts_time():
    plan = Plan(peak=1.0, num_warmup_steps=1, decay_share=1.0, minutes=10)
    assert plan.share_done(5, 300) == 0.5
    assert plan.share_done(5, 10_000) == 1
    assert plan.seconds_left(5, 300) == 300
    assert Plan(1.0, 1, 1.0, num_steps=50).seconds_left(10, 20) == 80


@pytest.mark.parametrize("budget", [{}, {"num_steps": 5, "minutes": 1}, {"minutes": 0}])
def test_a_bad_budget_is_refused(budget):
    with pytest.raises(ValueError, match="budget"):
        Plan(1.0, 1, 0.5, **budget)


def test_settings_are_overridden_by_name_and_type():
    settings = override(UnetSettings(), ["batch_size=8", "snr_exponent=1", "seed=3"])
    assert (settings.batch_size, settings.snr_exponent, settings.seed) == (8, 1.0, 3)
    assert override(UnetSettings(), ["ema_decay=1"]).ema_decay == 1.0
    for wrong, message in (
        ("batch=8", "no setting 'batch'; the settings are: batch_size"),
        ("batch_size=many", "no Python literal"),
        ("batch_size=0.5", "give a int"),
    ):
        with pytest.raises(ValueError, match=message):
            override(UnetSettings(), [wrong])


def test_a_setting_that_is_open_takes_what_its_annotation_allows():
    assert override(JudgeSettings(), ["num_workers=3"]).num_workers == 3
    assert override(JudgeSettings(num_workers=3), ["num_workers=4"]).num_workers == 4
    with pytest.raises(ValueError, match=r"num_workers is 0.5; give a int \| None"):
        override(JudgeSettings(), ["num_workers=0.5"])


def test_progress_averages_between_reports():
    history = []
    progress = Progress(Plan(1.0, 1, 0.5, num_steps=4), history)
    for step, loss in enumerate((4.0, 2.0, 1.0), start=1):
        taken = SimpleNamespace(
            step=step,
            seconds=step * 10.0,
            share=step / 4,
            loss=torch.tensor(loss),
            metrics={"t0": torch.tensor(loss if step == 1 else math.nan)},
            learning_rate=1.0,
        )
        progress.add(taken)
        if step == 2:
            assert "left 0 min 20 s" in progress.report(taken)
    progress.report(taken)
    assert history[0] == {"step": 2, "seconds": 20.0, "loss": 3.0, "t0": 4.0}
    assert history[1] == {"step": 3, "seconds": 30.0, "loss": 1.0}
    assert format_duration(7500) == "2 h 05 min"


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "state"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half of the new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"


def test_killed_in_the_middle_of_a_checkpoint_the_previous_one_is_good(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1, "weights": torch.full((1000,), 1.0)})
    script = f"""
import os
from training.engine import checkpoints
def die(file):
    file.write(b"x" * 5_000)
    file.flush()
    os._exit(9)  # no cleaning up, as after a kill
checkpoints.write_atomically({str(path)!r}, die)
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", script], cwd=root, check=False)
    assert killed.returncode == 9
    assert len(os.listdir(tmp_path)) == 2  # the good file and the torn one beside it
    state = load_checkpoint(path)
    assert state["step"] == 1
    assert torch.equal(state["weights"], torch.full((1000,), 1.0))
    save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path) == {"step": 2}
    assert os.listdir(tmp_path) == ["checkpoint.pt"]


def test_a_broken_or_missing_checkpoint_is_said_so(tmp_path):
    assert load_checkpoint(tmp_path / "none.pt") is None
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="delete it to start anew"):
        load_checkpoint(tmp_path / "bad.pt")
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(OSError, match="folder"):  # nothing is said of deleting: it may be good
        load_checkpoint(tmp_path / "folder.pt")


def make_run(folder, settings=TINY_UNET):
    accelerator = make_accelerator("no")
    torch.manual_seed(0)
    unet = make_unet(settings, (4, 8, 8), cross_attention_dim=16)
    run = Run(accelerator, unet, settings, RunOptions(folder, num_steps=8), "unet")
    return run, make_compute_loss(make_data(), settings, accelerator)


def flat(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "SECONDS_BETWEEN_CHECKPOINTS", 0)
    monkeypatch.setattr(run_module, "SECONDS_BETWEEN_REPORTS", 0)
    whole, compute_loss = make_run(tmp_path / "whole")
    start = flat(whole.model).clone()
    whole_average = whole.train(compute_loss)
    first, compute_loss = make_run(tmp_path / "parts")

    def stop_after_five(model, step, share):
        if step == 5:
            raise KeyboardInterrupt
        return compute_loss(model, step, share)

    with pytest.raises(KeyboardInterrupt):
        first.train(stop_after_five)
    second, compute_loss = make_run(tmp_path / "parts")
    assert second.step == 5
    average = second.train(compute_loss)
    assert (flat(whole.model) - start).abs().max() > 1e-4
    assert (flat(whole_average) - flat(whole.model)).abs().max() > 1e-6
    assert (flat(second.model) - flat(whole.model)).abs().max() < 1e-6
    assert (flat(average) - flat(whole_average)).abs().max() < 1e-6
    assert len(whole.history) == len(second.history) == 8
    for ours, theirs in zip(whole.history, second.history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path):
    run, compute_loss = make_run(tmp_path)
    run.train(compute_loss)
    with pytest.raises(ValueError, match=r"learning_rate differ.*another --folder"):
        make_run(tmp_path, override(TINY_UNET, ["learning_rate=0.5"]))


def test_a_checkpoint_of_another_precision_is_refused(tmp_path):
    run, _ = make_run(tmp_path)
    run.terms["precision"] = "bf16"
    run.save()
    with pytest.raises(ValueError, match="precision differ"):
        make_run(tmp_path)
