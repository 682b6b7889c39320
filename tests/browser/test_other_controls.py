import re

import pytest

from tests.browser.pages import (
    drag,
    hash_picture,
    open_in_lab,
    press,
    run_all,
    type_into,
    wait_for_text,
)


@pytest.fixture
def explorer(page):
    explorer = page.locator(".sd-trajectory-explorer")
    explorer.scroll_into_view_if_needed()
    type_into(explorer.locator(".sd-explorer-step .widget-readout"), "1")
    wait_for_text(explorer.locator(".sd-explorer-caption"), "step 1 of 20")
    return explorer


def test_arrow_keys_walk_through_the_run(explorer) -> None:
    guess = explorer.locator("img.sd-explorer-clean-guess-image")
    first = hash_picture(guess)
    press(explorer.locator(".sd-explorer-step .noUi-handle"), "ArrowRight", "ArrowRight")
    wait_for_text(explorer.locator(".sd-explorer-caption"), "step 3 of 20")
    third = hash_picture(guess)
    press(explorer.locator(".sd-explorer-step .noUi-handle"), "ArrowLeft", "ArrowLeft")
    wait_for_text(explorer.locator(".sd-explorer-caption"), "step 1 of 20")
    assert hash_picture(guess) == first != third


def test_dragging_scrubs(explorer) -> None:
    names = ("latents", "channels", "clean-guess", "noise", "curves")
    images = [explorer.locator(f"img.sd-explorer-{name}-image") for name in names]
    before = [hash_picture(image) for image in images]
    drag(explorer.locator(".sd-explorer-step .noUi-handle"), 400)
    wait_for_text(explorer.locator(".sd-explorer-caption"), "step 20 of 20")
    after = [hash_picture(image) for image in images]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_play_moves_on_by_itself(explorer) -> None:
    button = explorer.locator(".sd-explorer-play button").first
    button.click()
    # A busy machine may show the fourth step for too short a time to be seen.
    later = re.compile(r"step (?:[4-9]|\d\d) of 20")
    wait_for_text(explorer.locator(".sd-explorer-caption"), later)
    button.click()  # pause


def test_the_other_noise(explorer) -> None:
    image = explorer.locator("img.sd-explorer-noise-image")
    before = hash_picture(image)
    explorer.get_by_role("button", name="guidance difference").click()
    wait_for_text(explorer.locator(".sd-explorer-noise-caption"), "text minus unconditional")
    assert hash_picture(image) != before
    explorer.get_by_role("button", name="noise prediction").click()
    wait_for_text(explorer.locator(".sd-explorer-noise-caption"), "took for noise")
    assert hash_picture(image) == before


def test_the_mixer_follows_and_decodes_when_it_rests(page) -> None:
    mixer = page.locator(".sd-guidance-mixer")
    mixer.scroll_into_view_if_needed()
    scale = mixer.locator(".sd-mixer-guidance-scale")
    type_into(scale.locator(".widget-readout"), "2")
    wait_for_text(mixer.locator(".sd-mixer-decoded-caption"), "guidance scale 2, step")
    names = ("preview", "decoded")
    images = [mixer.locator(f"img.sd-mixer-{name}-image") for name in names]
    before = [hash_picture(image) for image in images]
    press(scale.locator(".noUi-handle"), *["PageUp"] * 2)
    readout = f"{float(scale.locator('.widget-readout').inner_text()):g}"
    assert readout != "2"
    decoded = mixer.locator(".sd-mixer-decoded-caption")
    decoded.filter(has_text=f"scale {readout},").filter(has_not_text="on release").wait_for()
    assert f"guidance scale {readout}," in mixer.locator(".sd-mixer-caption").inner_text()
    after = [hash_picture(image) for image in images]
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_the_comparison_fills_all_cells(page) -> None:
    status = wait_for_text(page.locator(".sd-comparison-status"), "pictures")
    cells = page.locator("img.sd-comparison-picture")
    assert status == f"{cells.count()} of {cells.count()} pictures"
    pictures = [hash_picture(cells.nth(index)) for index in range(cells.count())]
    assert len(set(pictures)) == len(pictures) >= 4
    assert "".join(page.locator(".sd-comparison-message").all_inner_texts()).strip() == ""


def test_a_live_picture_of_the_other_notebooks(browser, lab: str) -> None:
    page = open_in_lab(browser, lab, "live.ipynb")
    run_all(page)
    live = page.locator(".sd-live-picture")
    live.wait_for()
    wait_for_text(live.locator(".sd-caption"), "red is 0")
    before = hash_picture(live.locator("img.sd-picture"))
    press(live.locator(".sd-level .noUi-handle"), "ArrowRight")
    wait_for_text(live.locator(".sd-caption"), "red is 128")
    assert hash_picture(live.locator("img.sd-picture")) != before
    assert page.errors == []
    page.close()
