from tests.browser.pages import PATIENCE, RUN_PATIENCE, hash_picture, type_into, wait_for_text


def test_the_page_without_code(browser, voila: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(voila, timeout=RUN_PATIENCE)  # it runs all cells before it answers
    play = page.locator(".sd-playground")
    play.wait_for()
    assert page.locator(".jp-CodeCell .jp-InputArea:visible").count() == 0
    caption, guidance = play.locator(".sd-caption"), play.locator(".sd-guidance-scale")
    type_into(play.locator(".sd-num-inference-steps .widget-readout"), "3")
    wait_for_text(caption, "3 steps")
    before = hash_picture(play.locator("img.sd-picture"))
    type_into(guidance.locator(".widget-readout"), "9")
    wait_for_text(caption, "guidance 9 ")
    assert hash_picture(play.locator("img.sd-picture")) != before
    page.close()
