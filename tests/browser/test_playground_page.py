import os
import re
from pathlib import Path

import pytest

from tests.browser.pages import (
    as_written,
    drag,
    find_layout_trouble,
    hash_picture,
    press,
    type_into,
    wait_for_text,
)

NASTY = '<img src=x onerror="window.hacked=1">'
FINISHED = re.compile(r"seed \d+ · \d+ x \d+ · [\d.]+ s")
ALL_PAINTED = re.compile(r"\b(\d+) of \1 pictures$")
CONTROLS = (".sd-playground", ".sd-trajectory-explorer", ".sd-guidance-mixer", ".sd-comparison")


@pytest.fixture
def play(page):
    """The playground, at rest with a few quick steps."""
    play = page.locator(".sd-playground")
    play.scroll_into_view_if_needed()
    type_into(play.locator(".sd-num-inference-steps .widget-readout"), "4")
    wait_for_text(play.locator(".sd-caption"), re.compile("· 4 steps"))
    return play


def finish(play, part: str) -> str:
    """Wait for the finished picture whose settings have this part."""
    play.locator(".sd-caption").filter(has_text=FINISHED).filter(
        has_text=as_written(part)
    ).wait_for()
    return play.locator(".sd-caption").inner_text()


def test_all_cells_run_and_show_the_controls(page) -> None:
    wait_for_text(page.locator(".sd-comparison-status"), ALL_PAINTED)
    assert page.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    for control in CONTROLS:
        assert page.locator(control).count() == 1


def test_dragging_guidance_paints_anew(play) -> None:
    picture, slider = play.locator("img.sd-picture"), play.locator(".sd-guidance-scale")
    type_into(slider.locator(".widget-readout"), "4")
    finish(play, "guidance 4 ")
    before = hash_picture(picture)
    drag(slider.locator(".noUi-handle"), 60)
    readout = slider.locator(".widget-readout").inner_text()
    assert float(readout) > 5
    finish(play, f"guidance {float(readout):g} ")
    assert hash_picture(picture) != before


def test_arrow_keys_move_the_steps(play) -> None:
    press(play.locator(".sd-num-inference-steps .noUi-handle"), "ArrowRight", "ArrowRight")
    finish(play, "6 steps")
    wait_for_text(play.locator(".sd-price"), "6 UNet calls")


def test_the_same_settings_give_the_same_picture(play) -> None:
    picture = play.locator("img.sd-picture")
    seed = play.locator(".sd-seed input")
    pictures = []
    for number in ("3", "4", "3"):
        seed.fill(number)
        seed.press("Enter")
        finish(play, f"seed {number} ")
        pictures.append(hash_picture(picture))
    assert pictures[0] == pictures[2] != pictures[1]


def test_a_prompt_is_text(play) -> None:
    prompt = play.locator(".sd-prompt input")
    prompt.fill(NASTY)
    prompt.press("Enter")
    assert NASTY in finish(play, "onerror")
    assert play.page.evaluate("window.hacked") is None
    assert play.locator("img[src=x]").count() == 0
    prompt.fill("a cat on the beach")
    prompt.press("Enter")
    finish(play, "a cat on the beach")


def test_the_dice_change_the_seed(play) -> None:
    seed = play.locator(".sd-seed input")
    before = seed.input_value()
    play.locator(".sd-dice").click()
    play.page.wait_for_function(
        "([input, old]) => input.value !== old", arg=[seed.element_handle(), before]
    )
    finish(play, f"seed {seed.input_value()} ")


def test_stop_and_go_on(play) -> None:
    type_into(play.locator(".sd-num-inference-steps .widget-readout"), "100")
    wait_for_text(play.locator(".sd-caption"), "of 100")
    play.locator(".sd-stop").click()
    stopped = wait_for_text(play.locator(".sd-caption"), "Stopped after step")
    done = int(re.search(r"step (\d+) of 100", stopped)[1])
    assert 0 < done < 100
    play.page.wait_for_timeout(500)
    assert play.locator(".sd-caption").inner_text() == stopped
    type_into(play.locator(".sd-num-inference-steps .widget-readout"), "3")
    finish(play, "3 steps")


def test_the_newest_of_quick_moves_wins(play) -> None:
    press(play.locator(".sd-num-inference-steps .noUi-handle"), *["ArrowRight"] * 10)
    finish(play, "14 steps")
    assert play.locator(".sd-error").inner_text() == ""


def test_a_picture_of_the_history_comes_back(play) -> None:
    seed, picture = play.locator(".sd-seed input"), play.locator("img.sd-picture")
    seed.fill("217")  # begins like the next
    seed.press("Enter")
    finish(play, "seed 217 ")
    seed.fill("21")
    seed.press("Enter")
    finish(play, "seed 21 ")
    before = hash_picture(picture)
    seed.fill("22")
    seed.press("Enter")
    finish(play, "seed 22 ")
    play.locator(".sd-restore-2").click()
    finish(play, "seed 21 ")
    assert seed.input_value() == "21"
    assert hash_picture(picture) == before


def test_saved_and_loaded_again(play, root) -> None:
    seed = play.locator(".sd-seed input")
    seed.fill("31")
    seed.press("Enter")
    finish(play, "seed 31 ")
    before = set(root.glob("*.png"))
    play.locator(".sd-save").click()
    wait_for_text(play.locator(".sd-message"), "Saved as")
    (saved,) = set(root.glob("*.png")) - before
    seed.fill("32")
    seed.press("Enter")
    finish(play, "seed 32 ")
    with play.page.expect_file_chooser() as chooser:
        play.locator(".sd-load").click()
    chooser.value.set_files(saved)
    wait_for_text(play.locator(".sd-caption"), "seed 31 ")
    assert seed.input_value() == "31"


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_overlaps_or_is_cut(page, width: int) -> None:
    wait_for_text(page.locator(".sd-comparison-status"), ALL_PAINTED)
    page.set_viewport_size({"width": width, "height": 1000})
    page.wait_for_timeout(500)
    for name in CONTROLS:
        control = page.locator(name)
        control.scroll_into_view_if_needed()
        if folder := os.environ.get("SD_SCREENSHOTS"):
            control.screenshot(path=Path(folder) / f"{name[1:]}_{width}.png")
        assert find_layout_trouble(control) == [], name
