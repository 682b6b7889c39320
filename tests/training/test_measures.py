import itertools
import json
import math
import random
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import scipy.linalg
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from sdhelpers import TINY_SD, Components
from sdhelpers.text import tokenize_prompt
from training.engine.checkpoints import Kept, fingerprint
from training.engine.options import RunOptions, make_accelerator
from training.engine.settings import SMOKE_SETTINGS, override
from training.evaluate import RESULTS_PATH, evaluate, read_arguments, write_results
from training.judging.evaluation import score_all
from training.judging.examination import (
    batch_seeds,
    degrade,
    examine,
    judge_loss,
    render_examination,
    training_batches,
)
from training.judging.judge import (
    SMOKE_JUDGE,
    Answers,
    Judge,
    JudgeSettings,
    ask_judge,
    load_judge,
    save_judge,
)
from training.judging.measures import (
    frechet_distance,
    mean_pairwise_distance,
    picture_psnrs,
    share_with_interval,
    structural_similarities,
)
from training.judging.painting import Sampling, paint, render, vary_unsaid
from training.judging.prompts import (
    CATEGORIES,
    SEEDS,
    EvaluationSettings,
    Prompt,
    diversity_prompts,
    draw_prompt_set,
    draw_prompts,
    first_seed,
    is_right,
    join,
    score,
    seen_captions,
)
from training.judging.questions import (
    NO_ANSWER,
    NUM_HELD_OUT,
    QUESTIONS,
    draw_held_out,
    draw_judged_facts,
    make_targets,
    settle_sides,
)
from training.judging.report import CARD_END, CARD_START, make_report, put_into_card
from training.stages.contrast import make_text_encoder
from training.stages.noise_prediction import load_scheduler
from training.train_judge import train_judge
from training.world.data import load_tokenizer
from training.world.facts import HELD_OUT_RIDES, NEXT_TO, Facts, Thing, is_held_out
from training.world.nouns import NOUNS
from training.world.scenes import FIRST_EVALUATION_SEED, paint_facts, scene

NUM_JUDGE_STEPS = 100


@pytest.fixture(scope="module")
def components():
    """A model with random weights, far too small to paint anything."""
    torch.manual_seed(0)
    widths = (8, 8, 8, 8)
    tokenizer = load_tokenizer()
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=128,
        scaling_factor=0.5,
    )
    unet = UNet2DConditionModel(
        sample_size=16,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 16),
        attention_head_dim=2,
        norm_num_groups=8,
        layers_per_block=1,
        cross_attention_dim=64,
    )
    used_ids = tokenize_prompt(tokenizer, ["a photograph of an astronaut riding a horse"]).unique()
    text_encoder = make_text_encoder(SMOKE_SETTINGS["text_encoder"], tokenizer, used_ids)
    return Components(tokenizer, text_encoder, unet, vae, load_scheduler())


def answers_for(*all_facts):
    """Answers that are exactly right for given facts, as a perfect judge would give them."""
    targets = [make_targets(settle_sides(facts, random.Random(0))) for facts in all_facts]
    nouns = torch.stack([target["nouns"] for target in targets]).bool().numpy()
    chosen = {
        question: np.array([max(0, int(target[question])) for target in targets])
        for question in QUESTIONS
    }
    return Answers(nouns, chosen, np.zeros((len(targets), 4), np.float32))


# ---- measures


def test_psnr_agrees_with_the_formula_on_bytes():
    first, second = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 12, 14))
    errors = np.square(first - second).mean((1, 2, 3))
    ours = picture_psnrs(*(torch.tensor(a / 127.5 - 1) for a in (first, second)))
    assert ours.numpy() == pytest.approx(20 * np.log10(255) - 10 * np.log10(errors), abs=1e-6)
    grey = torch.zeros(1, 3, 2, 2)
    assert picture_psnrs(grey, grey + 0.2) == pytest.approx(20)


def scipys_ssim(first, second):
    """SSIM of two (C, H, W) arrays in [0, 1] by the paper's formula, on scipy's averages."""

    def average(values):
        smooth = gaussian_filter(values, 1.5, radius=5, axes=(1, 2))
        return smooth[:, 5:-5, 5:-5]  # windows that lie wholly inside

    mean_1, mean_2 = average(first), average(second)
    variances = average(first**2) - mean_1**2 + average(second**2) - mean_2**2
    covariance = average(first * second) - mean_1 * mean_2
    likeness = (2 * mean_1 * mean_2 + 0.01**2) * (2 * covariance + 0.03**2)
    return (likeness / (mean_1**2 + mean_2**2 + 0.01**2) / (variances + 0.03**2)).mean()


def test_ssim_agrees_with_scipys_averages():
    source = np.random.default_rng(1)
    first = source.random((2, 3, 17, 14))
    second = np.stack([0.7 * first[0] + 0.3 * source.random((3, 17, 14)), 1 - first[1]])
    ours = structural_similarities(torch.tensor(first * 2 - 1), torch.tensor(second * 2 - 1))
    expected = [scipys_ssim(a, b) for a, b in zip(first, second, strict=True)]
    assert ours.numpy() == pytest.approx(expected, abs=1e-6)
    assert expected[1] < 0 < 0.5 < expected[0] < 0.99
    same = torch.tensor(first)
    assert structural_similarities(same, same).numpy() == pytest.approx([1, 1])


@pytest.mark.parametrize("measure", [picture_psnrs, structural_similarities])
def test_pictures_of_different_shape_are_refused(measure):
    with pytest.raises(ValueError, match="two batches of one shape"):
        measure(torch.zeros(2, 3, 16, 16), torch.zeros(1, 3, 16, 16))


def test_ssim_refuses_pictures_smaller_than_its_window():
    with pytest.raises(ValueError, match="at least 11 x 11"):
        structural_similarities(torch.zeros(1, 3, 10, 16), torch.zeros(1, 3, 10, 16))


def crowd(mean, covariance, count, seed):
    """Vectors whose sample mean and sample covariance are exactly the given ones."""
    values = np.random.default_rng(seed).normal(size=(count, len(mean)))
    values -= values.mean(0)
    whitener = np.linalg.inv(np.linalg.cholesky(np.cov(values, rowvar=False))).T
    return values @ whitener @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_agrees_with_the_closed_form_of_gaussians():
    mean_1, mean_2 = np.array([1.0, 2.0, 3.0]), np.array([0.0, 4.0, 3.0])
    first = crowd(mean_1, np.diag([1.0, 4.0, 9.0]), 40, seed=0)
    second = crowd(mean_2, np.diag([4.0, 1.0, 9.0]), 50, seed=1)
    # Diagonal: |m1 - m2|^2 plus the sum of (std1 - std2)^2.
    assert frechet_distance(first, second) == pytest.approx(5 + 1 + 1 + 0, abs=1e-9)
    source = np.random.default_rng(2)
    covariance_1, covariance_2 = (a @ a.T + np.eye(3) for a in source.normal(size=(2, 3, 3)))
    assert np.abs(covariance_1 @ covariance_2 - covariance_2 @ covariance_1).max() > 0.1
    root = scipy.linalg.sqrtm(covariance_1 @ covariance_2).real
    expected = 5 + np.trace(covariance_1 + covariance_2 - 2 * root)
    first, second = crowd(mean_1, covariance_1, 40, 3), crowd(mean_2, covariance_2, 50, 4)
    assert frechet_distance(first, second) == pytest.approx(expected, abs=1e-8)
    assert frechet_distance(second, first) == pytest.approx(expected, abs=1e-8)


def test_frechet_distance_of_a_crowd_to_itself_is_zero_even_if_flat():
    features = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)  # rank 4 of 8
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(features, features + 1) == pytest.approx(8, abs=1e-5)


def test_frechet_distance_refuses_what_it_cannot_compare():
    features = np.zeros((4, 3))
    with pytest.raises(ValueError, match="at least 2 finite vectors"):
        frechet_distance(features[:1], features)
    with pytest.raises(ValueError, match="at least 2 finite vectors"):
        frechet_distance(features, features * np.nan)
    with pytest.raises(ValueError, match="one judge"):
        frechet_distance(features, features[:, :2])


def test_the_mean_pairwise_distance_takes_every_pair_once():
    features = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]])
    assert mean_pairwise_distance(features) == pytest.approx((5 + 8 + 5) / 3)
    with pytest.raises(ValueError, match="at least 2"):
        mean_pairwise_distance(features[:1])


def test_a_shares_interval_is_wilsons():
    found = share_with_interval(470, 500)
    z, share = 1.959964, 0.94  # of 95 %
    middle = (share + z**2 / 1000) / (1 + z**2 / 500)
    half = z * math.sqrt(share * (1 - share) / 500 + (z / 1000) ** 2) / (1 + z**2 / 500)
    assert found == pytest.approx(
        {"right": 470, "total": 500, "share": share, "low": middle - half, "high": middle + half}
    )


# ---- the judge's questions


@pytest.mark.parametrize(
    ("facts", "relation", "first", "second", "colours"),
    [
        (
            Facts((Thing("cat"), Thing("car", "red")), "riding"),
            "riding",
            "cat",
            "car",
            (None, "red"),
        ),
        (
            Facts((Thing("owl"), Thing("key")), "to the left of"),
            "beside",
            "owl",
            "key",
            (None,) * 2,
        ),
        (
            Facts((Thing("owl"), Thing("book", "blue")), "to the right of"),
            "beside",
            "book",
            "owl",
            ("blue", None),
        ),
        (Facts((Thing("owl"), Thing("key")), "above"), "stacked", "owl", "key", (None,) * 2),
        (Facts((Thing("owl"), Thing("key")), "below"), "stacked", "key", "owl", (None,) * 2),
        (Facts((Thing("heart", "green", count=3),)), "alone", "heart", None, ("green", None)),
        (Facts((Thing("panda", has_crown=True),)), "wearing", "panda", "crown", (None,) * 2),
    ],
)
def test_targets_are_the_facts_in_the_pictures_order(facts, relation, first, second, colours):
    facts = replace(facts, background="at sunset", style="pixel art")
    targets = make_targets(facts)
    expected = dict(
        zip(QUESTIONS, (relation, first, second, *colours, "at sunset", "pixel art"), strict=True)
    )
    for question, answer in expected.items():
        index = int(targets[question])
        assert answer == (None if index == NO_ANSWER else QUESTIONS[question][index]), question
    nouns = {NOUNS[index] for index in targets["nouns"].nonzero().flatten().tolist()}
    assert nouns == {noun for noun in (first, second) if noun}


def test_next_to_must_be_settled_and_then_has_both_orders():
    facts = Facts((Thing("owl"), Thing("key")), NEXT_TO)
    with pytest.raises(ValueError, match="settle_sides first"):
        make_targets(facts)
    settled = {settle_sides(facts, random.Random(seed)).relation for seed in range(20)}
    assert settled == {"to the left of", "to the right of"}


def test_every_question_has_each_answer_once():
    assert len(QUESTIONS["background"]) == 21
    assert len(QUESTIONS["first"]) == len(NOUNS)
    for answers in QUESTIONS.values():
        assert len(set(answers)) == len(answers) > 3


def test_held_out_combinations_all_occur_and_the_judge_knows_them():
    drawn = [draw_held_out(index, random.Random(index)) for index in range(4 * NUM_HELD_OUT)]
    assert len(drawn) == 128
    assert all(is_held_out(facts) for facts in drawn)
    names = {frozenset((thing.noun, thing.colour) for thing in facts.things) for facts in drawn}
    assert len(names) == NUM_HELD_OUT
    judged = [draw_judged_facts(seed, 0.05) for seed in range(2000)]
    assert 0.03 < sum(map(is_held_out, judged)) / 2000 < 0.07
    assert all(facts.relation != NEXT_TO for facts in judged)


def test_training_seeds_never_repeat_nor_reach_the_evaluation():
    settings = JudgeSettings(batch_size=4)
    seeds = [
        seed
        for step in range(5)
        for process in range(2)
        for seed in batch_seeds(settings, step, process, 2)
    ]
    assert sorted(seeds) == list(range(settings.first_seed, settings.first_seed + 40))
    with pytest.raises(ValueError, match="kept for evaluation"):
        batch_seeds(settings, 10**9, 0, 1)


# ---- fidelity


def test_the_prompts_suit_their_category_and_training_saw_none():
    cached = seen_captions(1_000_000, 3000)
    assert scene(1_002_999).caption in cached
    prompt_set = draw_prompt_set("prompts", 12, cached)
    assert tuple(prompt_set) == CATEGORIES
    prompts = join(prompt_set)
    assert len(prompts) == 12 * len(CATEGORIES) == len({prompt.seed for prompt in prompts})
    for prompt in prompts:
        assert prompt.text not in cached
        assert prompt.seed >= FIRST_EVALUATION_SEED
        assert prompt.facts.style == "plain"
    assert all(len(prompt.facts.things) == 1 for prompt in prompt_set["single_object"])
    assert {prompt.facts.relation for prompt in prompt_set["two_objects"]} == {NEXT_TO}
    assert all(f"{p.facts.things[0].colour} " in p.text for p in prompt_set["object_colour"])
    assert all(p.facts.background in p.text for p in prompt_set["background"])
    assert [is_held_out(p.facts) for p in prompts] == [False] * 60 + [True] * 12
    riders = [tuple(thing.noun for thing in p.facts.things) for p in prompt_set["held_out"][:10]]
    assert tuple(riders) == HELD_OUT_RIDES


def test_captions_of_the_training_are_passed_over():
    first = draw_prompts("single_object", 5, FIRST_EVALUATION_SEED)
    barred = frozenset(prompt.text for prompt in first[:3])
    second = draw_prompts("single_object", 5, FIRST_EVALUATION_SEED, barred)
    assert second[:2] == first[3:]


def test_no_prompt_comes_twice():
    prompts = draw_prompts("held_out", 300, FIRST_EVALUATION_SEED)
    assert len({prompt.text for prompt in prompts}) == 300


def test_bad_requests_for_prompts_are_refused():
    with pytest.raises(ValueError, match="choose one of single_object"):
        draw_prompts("numbers", 1, FIRST_EVALUATION_SEED)
    with pytest.raises(ValueError, match="training uses those below"):
        draw_prompts("relation", 1, FIRST_EVALUATION_SEED - 1)

    class Everything(frozenset):
        def __contains__(self, item):
            return True

    with pytest.raises(ValueError, match="found only 0 of 1"):
        draw_prompts("relation", 1, FIRST_EVALUATION_SEED, Everything())


def test_seeds_of_the_parts_do_not_overlap():
    starts = sorted(SEEDS.values())
    assert starts == list(SEEDS.values())
    assert min(b - a for a, b in itertools.pairwise(starts)) >= 100_000
    assert first_seed("vae") - first_seed("examination") > EvaluationSettings.num_examined
    ends = [join(draw_prompt_set(part, 3, frozenset()))[-1].seed for part in ("prompts", "curve")]
    assert ends[0] < first_seed("reference")
    assert ends[1] < first_seed("curve_reference")


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_perfect_picture_is_right_and_another_wrong(category):
    prompts = draw_prompts(category, 40, FIRST_EVALUATION_SEED)
    facts = [prompt.facts for prompt in prompts]
    result = score(category, prompts, answers_for(*facts))
    assert (result["right"], result["total"]) == (40, 40)
    others = answers_for(*facts[1:], facts[0])
    assert score(category, prompts, others)["share"] < 0.3
    if "kinds" in result:
        assert sum(kind["total"] for kind in result["kinds"].values()) == 40
        assert len(result["kinds"]) > 3


@pytest.mark.parametrize(
    "relation", ["riding", "to the left of", "to the right of", "above", "below"]
)
def test_the_order_counts(relation):
    facts = Facts((Thing("cat"), Thing("horse")), relation)
    swapped = replace(facts, things=facts.things[::-1])
    answers = answers_for(facts, swapped)
    assert is_right("relation", facts, answers, 0)
    assert not is_right("relation", facts, answers, 1)
    assert is_right("relation", swapped, answers, 1)
    assert is_right("two_objects", replace(facts, relation=NEXT_TO), answers, 1)


def test_next_to_takes_either_order_but_no_other_relation():
    facts = Facts((Thing("dog"), Thing("pizza")), NEXT_TO)
    answers = answers_for(
        replace(facts, relation="to the left of"),
        replace(facts, relation="to the right of"),
        replace(facts, relation="above"),
    )
    assert [is_right("held_out", facts, answers, row) for row in range(3)] == [True, True, False]


def test_a_held_out_colour_or_crown_must_be_seen():
    blue, crowned = Facts((Thing("horse", "blue"),)), Facts((Thing("fox", has_crown=True),))
    answers = answers_for(blue, Facts((Thing("horse", "red"),)), Facts((Thing("car", "blue"),)))
    assert [is_right("held_out", blue, answers, row) for row in range(3)] == [True, False, False]
    answers = answers_for(crowned, Facts((Thing("fox"),)), Facts((Thing("owl", has_crown=True),)))
    assert [is_right("held_out", crowned, answers, row) for row in range(3)] == [True, False, False]


def test_the_background_counts_in_its_category_only():
    facts = Facts((Thing("owl"),), background="blue")
    answers = answers_for(replace(facts, background="red"))
    assert not is_right("background", facts, answers, 0)
    assert is_right("single_object", facts, answers, 0)


def test_scores_are_counted_category_by_category():
    prompt_set = {name: draw_prompts(name, 3, FIRST_EVALUATION_SEED) for name in CATEGORIES[:2]}
    answers = answers_for(*(prompt.facts for prompt in join(prompt_set)))
    answers.nouns[4] = False  # the second pair
    scores = score_all(prompt_set, answers)
    assert [result["right"] for result in scores.values()] == [3, 2]
    with pytest.raises(ValueError, match="6 pictures were judged for 3 prompts"):
        score("single_object", prompt_set["single_object"], answers)


# ---- the judge


@pytest.mark.thorough
def test_the_judge_beats_chance_by_far(tmp_path, monkeypatch):
    monkeypatch.setattr("training.train_judge.NUM_EXAMINED", 64)
    settings = override(SMOKE_JUDGE, ["learning_rate=3e-3"])
    train_judge(settings, RunOptions(tmp_path, num_steps=NUM_JUDGE_STEPS))
    judge, config = load_judge(tmp_path / "judge" / "model")
    assert config["num_steps"] == NUM_JUDGE_STEPS
    pictures, targets = render_examination(200, FIRST_EVALUATION_SEED)
    results = examine(ask_judge(judge, pictures), targets)
    untrained = examine(ask_judge(Judge(SMOKE_JUDGE).eval(), pictures), targets)
    for question in ("relation", "background"):
        share = results[question]["share"]
        commonest = targets[question].bincount().max().item() / len(pictures)
        assert share > commonest + 0.08, question
        assert share > untrained[question]["share"] + 0.08, question
    history = json.loads((tmp_path / "judge" / "history.json").read_bytes())
    assert history[-1]["loss"] < 0.9 * history[0]["loss"]


def test_a_resumed_run_sees_the_scenes_of_an_uninterrupted_one():
    settings, accelerator = override(SMOKE_JUDGE, ["batch_size=4"]), make_accelerator("no")
    batches = training_batches(settings, accelerator, 0)
    first, second = next(batches), next(batches)
    resumed = next(training_batches(settings, accelerator, 1))
    assert torch.equal(second[0], resumed[0])
    assert torch.equal(second[1]["first"], resumed[1]["first"])
    assert not torch.equal(first[0], resumed[0])


def test_the_judges_loss_agrees_with_plain_formulas():
    source = torch.Generator().manual_seed(0)
    logits = {"nouns": torch.randn(2, len(NOUNS), generator=source)}
    logits |= {q: torch.randn(2, len(a), generator=source) for q, a in QUESTIONS.items()}
    facts = [Facts((Thing("cat"), Thing("car", "red")), "riding"), Facts((Thing("owl"),))]
    targets = [make_targets(one) for one in facts]
    stacked = {name: torch.stack([target[name] for target in targets]) for name in targets[0]}
    loss, figures = judge_loss(logits, stacked)
    shares = 1 / (1 + np.exp(-logits["nouns"].double().numpy()))
    is_there = stacked["nouns"].numpy() == 1
    expected = -np.log(np.where(is_there, shares, 1 - shares)).sum() / 2
    for question in QUESTIONS:
        asked = [row for row in range(2) if int(targets[row][question]) != NO_ANSWER]
        rows = logits[question].double().numpy()
        losses = [
            np.log(np.exp(rows[row]).sum()) - rows[row][int(targets[row][question])]
            for row in asked
        ]
        expected += sum(losses) / len(losses) if losses else 0
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert set(figures) == set(QUESTIONS)
    unasked = [question for question, figure in figures.items() if math.isnan(figure)]
    assert unasked == ["first_colour"]  # neither picture has one


def test_degraded_pictures_keep_their_range_and_some_stay_as_they_are():
    pixel_values = torch.rand(200, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    worse = degrade(pixel_values, JudgeSettings(), torch.Generator().manual_seed(1))
    assert worse.shape == pixel_values.shape
    assert worse.abs().max() <= 1
    is_kept = (worse == pixel_values).flatten(1).all(1).float().mean()
    assert 0.35 < is_kept < 0.65
    even = torch.full((4, 3, 16, 16), 0.5)
    settings = JudgeSettings(max_noise=0.0, degraded_share=1.0)
    assert (degrade(even, settings, torch.Generator()) - 0.5).abs().max() < 1e-5


def test_the_judge_reads_a_things_noun_and_colour_where_the_thing_is():
    judge = Judge(SMOKE_JUDGE).eval()
    pixel_values = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    row, column = 5, 2  # of the 8 x 8 places
    with torch.no_grad():
        for order, far in (("first", 100.0), ("second", 0.0)):
            torch.nn.init.zeros_(judge.places[order].weight)
            torch.nn.init.zeros_(judge.places[order].bias)
            judge.places[order].bias[8 * row + column] = far
        logits = judge(pixel_values)
        at_places = judge.blocks(pixel_values)
        nouns, colours = judge.noun_map(at_places), judge.colour_map(at_places)
    assert at_places.shape[2:] == (8, 8)
    assert torch.allclose(logits["nouns"], nouns.exp().sum((2, 3)).log(), atol=1e-4)
    assert torch.allclose(logits["first"], nouns[:, :, row, column], atol=1e-5)
    assert torch.allclose(logits["first_colour"], colours[:, :, row, column], atol=1e-5)
    assert torch.allclose(logits["second"], nouns.mean((2, 3)), atol=1e-5)
    assert torch.allclose(logits["second_colour"], colours.mean((2, 3)), atol=1e-5)
    assert set(logits) == {"nouns", "features", *QUESTIONS}
    assert torch.allclose(logits["features"].norm(dim=1), torch.ones(3))


def test_a_judge_is_kept_in_half_precision_and_answers_as_before(tmp_path):
    judge = Judge(SMOKE_JUDGE).eval()
    save_judge(judge, SMOKE_JUDGE, 7, tmp_path)
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} == {
        torch.float16
    }
    loaded, config = load_judge(tmp_path)
    assert config["num_steps"] == 7
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    pixel_values = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        for name, values in judge(pixel_values).items():
            assert torch.allclose(loaded(pixel_values)[name], values, atol=0.01), name


def test_the_judge_refuses_what_it_cannot_read(tmp_path):
    judge = Judge(SMOKE_JUDGE)
    with pytest.raises(ValueError, match="uint8"):
        ask_judge(judge, torch.zeros(1, 3, 128, 128))
    with pytest.raises(ValueError, match="the judge reads"):
        ask_judge(judge, torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    with pytest.raises(ValueError, match="give five entries"):
        Judge(override(SMOKE_JUDGE, ["channels=(16, 16)"]))
    with pytest.raises(ValueError, match=r"training\.train_judge first"):
        load_judge(tmp_path)


# ---- the evaluation


def test_what_a_prompt_leaves_open_varies_and_nothing_else():
    facts = Facts(
        (Thing("cat"), Thing("car", "red", says_colour=False)), "riding", says_background=False
    )
    varied = [vary_unsaid(facts, seed) for seed in range(60)]
    assert len({one.background for one in varied}) > 10
    assert len({one.things[1].colour for one in varied}) > 4
    assert {(one.things[0], one.relation, one.style) for one in varied} == {
        (Thing("cat"), "riding", "plain")
    }
    said = Facts((Thing("car", "red"),), background="white")
    assert {vary_unsaid(said, seed) for seed in range(20)} == {said}
    prompts = diversity_prompts(4, frozenset())
    assert prompts[0].text == "a photograph of an astronaut riding a horse"
    assert [prompt.facts.says_background for prompt in prompts] == [False] * 4


def test_a_painted_picture_depends_on_its_own_seed_only(components):
    sampling = Sampling("DDIM", 2, 3.0)
    asked = (("a cat", 5), ("a dog", 6), ("a cat", 5))
    prompts = [Prompt(text, Facts((Thing("cat"),)), seed) for text, seed in asked]
    together = paint(components, prompts, sampling, batch_size=2)
    assert together.shape == (3, 3, 128, 128)
    difference = (together[0].int() - together[2].int()).abs().max()
    assert difference <= 1
    assert (together[0].int() - together[1].int()).abs().max() > 5


def test_renders_show_the_prompts_facts():
    prompts = draw_prompts("relation", 2, FIRST_EVALUATION_SEED)
    pictures = render(prompts)
    for prompt, picture in zip(prompts, pictures, strict=True):
        expected = np.asarray(paint_facts(prompt.facts, prompt.seed))
        assert np.array_equal(picture.permute(1, 2, 0).numpy(), expected)


@pytest.mark.thorough
def test_the_whole_evaluation_at_toy_size(components, tmp_path, monkeypatch):
    settings = EvaluationSettings(
        num_prompts=2,
        num_curve_prompts=1,
        num_vae_scenes=3,
        num_examined=8,
        num_diversity_prompts=2,
        num_seeds=2,
        guidance_scales=(1.0, 3.0),
        step_counts=(2, 3),
        num_inference_steps=2,
        num_training_scenes=50,
    )
    said = []
    keep = Kept(tmp_path / "unfinished.json", "a mark")
    torch.manual_seed(0)
    judge = Judge(SMOKE_JUDGE).eval()
    results = evaluate(components, judge, settings, keep, said.append)
    with monkeypatch.context() as patch:  # killed at the very end, and started again
        patch.setattr("training.judging.evaluation.paint", None)
        again = evaluate(components, judge, settings, Kept(keep.path, keep.mark), said.append)
    seconds = {"seconds_for_one_picture": results["seconds_for_one_picture"]}
    assert again | seconds == results
    keep.drop()
    card = tmp_path / "README.md"
    card.write_text(f"before\n{CARD_START}\nold\n{CARD_END}\nafter\n")
    write_results(results, tmp_path / "results.json", card)
    read = json.loads((tmp_path / "results.json").read_bytes())
    assert read == json.loads(json.dumps(results))
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md", "README.md"}
    assert set(read["settings"]) == {field.name for field in fields(settings)}
    assert read["vae"]["num_scenes"] == 3
    assert 0 < read["vae"]["psnr"] < 40
    assert set(read["fidelity"]) == set(CATEGORIES)
    for crowds in read["fidelity"].values():
        assert set(crowds) == {"painted", "renders", "decoded_renders"}
        for result in crowds.values():
            assert result["total"] == 2
            assert result["low"] <= result["share"] <= result["high"]
    distances = read["frechet"]
    assert distances["num_pictures"] == 12
    assert 0 < distances["renders"] < distances["painted"]
    assert [point["guidance_scale"] for point in read["guidance_curve"]] == [1, 3]
    assert [
        (point["scheduler"], point["num_inference_steps"]) for point in read["steps_curve"]
    ] == [(name, steps) for name in ("DPM-Solver++", "PNDM", "DDIM") for steps in (2, 3)]
    best = max(read["guidance_curve"], key=lambda point: point["mean_fidelity"])
    assert read["sampling"] == asdict(Sampling("DPM-Solver++", 2, best["guidance_scale"]))
    for point in read["guidance_curve"] + read["steps_curve"]:
        shares = [result["share"] for result in point["fidelity"].values()]
        assert point["mean_fidelity"] == pytest.approx(sum(shares) / 6)
        assert point["seconds_per_picture"] > 0
    assert read["diversity"]["ratio"] == pytest.approx(
        read["diversity"]["painted"] / read["diversity"]["renders"]
    )
    assert set(read["judge"]) == {"renders", "decoded_renders"}
    assert read["seconds_for_one_picture"] > 0
    report = (tmp_path / "results.md").read_text(encoding="utf-8")
    for figure in (f"{read['vae']['psnr']:.2f} dB", f"{distances['painted']:.4f}", "held out"):
        assert figure in report
    whole = card.read_text(encoding="utf-8")
    assert whole == f"before\n{CARD_START}\n\n{report}\n{CARD_END}\nafter\n"
    assert said


def test_the_tables_name_is_refused_for_the_results(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["evaluate", "--out", "results.md"])
    with pytest.raises(SystemExit):
        read_arguments()
    assert "--out names the JSON file" in capsys.readouterr().err


def test_results_are_kept_for_the_same_models_and_settings_only(tmp_path):
    def fail() -> None:
        raise RuntimeError("measured again")

    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    mark = fingerprint([model], {"num_prompts": 5})
    path = tmp_path / "kept.json"
    assert Kept(path, mark)("vae", lambda: {"psnr": 27.5}) == {"psnr": 27.5}
    with pytest.raises(RuntimeError):
        Kept(path, mark)("judge", fail)
    assert Kept(path, mark)("vae", fail) == {"psnr": 27.5}
    with pytest.raises(RuntimeError):
        Kept(path, fingerprint([model], {"num_prompts": 6}))("vae", fail)
    (model / "config.json").write_text('{"width": 3}')
    with pytest.raises(RuntimeError):
        Kept(path, fingerprint([model], {"num_prompts": 5}))("vae", fail)


def test_a_card_without_its_markers_is_refused():
    for card in (
        "",
        f"{CARD_START}",
        f"{CARD_END} {CARD_START}",
        f"{CARD_START}{CARD_START}{CARD_END}",
    ):
        with pytest.raises(ValueError, match="card"):
            put_into_card(card, "report")


def test_the_published_tables_are_made_from_the_results() -> None:
    report = make_report(json.loads(RESULTS_PATH.read_bytes()))
    assert RESULTS_PATH.with_suffix(".md").read_text(encoding="utf-8") == report
    card = (TINY_SD / "README.md").read_text(encoding="utf-8")
    assert put_into_card(card, report) == card
