"""Every checker that needs no model: right answers, likely wrong ones with their hints, the stub.

The answers stand beside what else is known of an exercise, in the test module of its notebook. In
`WRONG`, the third entry is from the hint; None where no hint fits.
"""

from collections import Counter

import pytest

from sdhelpers.exercises import guidance, scheduler, text_encoder, unet, vae
from tests.exercises import test_guidance, test_scheduler, test_text_encoder, test_unet, test_vae

ANSWERS = {
    guidance: test_guidance,
    scheduler: test_scheduler,
    text_encoder: test_text_encoder,
    unet: test_unet,
    vae: test_vae,
}
CHECKS = [
    check
    for exercises in ANSWERS
    for name, check in vars(exercises).items()
    if name.startswith("check_")
]
RIGHT = [answer for answers in ANSWERS.values() for answer in answers.RIGHT]
WRONG = [answer for answers in ANSWERS.values() for answer in answers.WRONG]
IN_PLACE = [
    (guidance.check_guide_twice, test_guidance.guide_in_place),
    (scheduler.check_heun_step, test_scheduler.heun_in_place),
    (text_encoder.check_slerp, test_text_encoder.slerp_in_place),
    (vae.check_paste, test_vae.paste_in_place),
]


def test_every_checker_has_right_and_wrong_answers() -> None:
    assert len(CHECKS) == 20
    right, wrong = (Counter(check for check, *_ in answers) for answers in (RIGHT, WRONG))
    assert set(right) == set(wrong) == set(CHECKS)
    assert min(wrong.values()) >= 3


@pytest.mark.parametrize(("check", "attempt"), RIGHT)
def test_right_answers(verdict, check, attempt) -> None:
    said = verdict(check, attempt)
    assert said.startswith("right: ")
    assert "hint" not in said


@pytest.mark.parametrize(("check", "attempt", "hint"), WRONG)
def test_wrong_answers_get_the_hint_that_fits(verdict, check, attempt, hint) -> None:
    said = verdict(check, attempt)
    assert said.startswith("not yet: ")
    assert ("hint:" in said) == (hint is not None)
    assert (hint or "") in said.partition("hint:")[2]


@pytest.mark.parametrize(("check", "attempt"), IN_PLACE)
def test_answers_that_change_their_arguments_are_noticed(verdict, check, attempt) -> None:
    assert "changed its arguments" in verdict(check, attempt)


@pytest.mark.parametrize("check", CHECKS)
def test_stubs_and_errors(verdict, check) -> None:
    for stub in (lambda *arguments: ..., lambda *arguments: None, ...):
        assert verdict(check, stub).startswith("not attempted yet: ")
    assert "ZeroDivisionError" in verdict(check, lambda *arguments: 1 // 0)
