"""What a reader does on a page: open, run, drag, press, look."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

PATIENCE = 60_000  # milliseconds: a slow machine paints slowly
RUN_PATIENCE = 300_000  # for a whole notebook
HASH_PICTURE = """async image => {
    const bytes = await (await fetch(image.src)).arrayBuffer();
    const hash = await crypto.subtle.digest("SHA-256", bytes);
    return Array.from(new Uint8Array(hash), byte => byte.toString(16)).join(" ");
}"""
# Leaves are widgets that hold no other widget; a box of no size is hidden.
FIND_LAYOUT_TROUBLE = """root => {
    const trouble = [];
    const name = element => element.className + " " + element.textContent.slice(0, 40);
    const leaves = [...root.querySelectorAll(".jupyter-widgets")].filter(
        element => !element.querySelector(".jupyter-widgets") && element.offsetWidth > 0
            && element.offsetHeight > 0);
    const boxes = leaves.map(element => element.getBoundingClientRect());
    const room = root.getBoundingClientRect();
    leaves.forEach((element, i) => {
        if (boxes[i].right > room.right + 2) trouble.push("beyond the page: " + name(element));
        for (let j = i + 1; j < leaves.length; j++) {
            const width = Math.min(boxes[i].right, boxes[j].right)
                - Math.max(boxes[i].left, boxes[j].left);
            const height = Math.min(boxes[i].bottom, boxes[j].bottom)
                - Math.max(boxes[i].top, boxes[j].top);
            if (width > 2 && height > 2)
                trouble.push("overlapping: " + name(element) + " | " + name(leaves[j]));
        }
    });
    for (const label of root.querySelectorAll(".widget-label, .jupyter-button")) {
        if (label.scrollWidth > label.clientWidth + 1) trouble.push("cut: " + name(label));
    }
    return {count: leaves.length, trouble};
}"""


def open_in_lab(browser: "Browser", address: str, notebook: str) -> "Page":
    """Open a notebook; `errors` of the page collects what its scripts raise."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(f"{address}/lab/tree/{notebook}?reset")
    page.wait_for_function(
        "window.jupyterapp?.commands.hasCommand('notebook:run-all-cells')"
        " && window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel"
    )
    page.wait_for_selector(".jp-Notebook-cell")
    return page


def run_all(page: "Page") -> None:
    """Run all cells, wait until the last one is done, and look for errors."""
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
    raised = page.locator("[data-mime-type='application/vnd.jupyter.error']").all_inner_texts()
    assert not raised, raised


def as_written(part: str | re.Pattern) -> re.Pattern:
    """Make a pattern of a text: Playwright trims texts, and "seed 21 " would find "seed 217"."""
    return part if isinstance(part, re.Pattern) else re.compile(re.escape(part))


def wait_for_text(line: "Locator", part: str | re.Pattern) -> str:
    """Wait until a line of text has a part, and give the line."""
    line.filter(has_text=as_written(part)).wait_for()
    return line.inner_text()


def drag(handle: "Locator", pixels: int) -> None:
    """Drag a slider's handle to the right, or to the left."""
    handle.scroll_into_view_if_needed()
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = handle.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + pixels, y, steps=8)
    mouse.up()


def press(handle: "Locator", *keys: str) -> None:
    """Press keys while a control has the focus."""
    handle.focus()
    for key in keys:
        handle.page.keyboard.press(key)


def type_into(readout: "Locator", text: str) -> None:
    """Replace a slider's readout, as a reader types a number."""
    readout.click()
    readout.page.keyboard.press("Control+a")
    readout.page.keyboard.type(text)
    readout.page.keyboard.press("Enter")


def hash_picture(image: "Locator") -> str:
    """Give a hash of the bytes that a picture on the page is made of."""
    return image.evaluate(HASH_PICTURE)


def find_layout_trouble(control: "Locator") -> list[str]:
    """Name what overlaps, is cut, or stands beyond the page."""
    found = control.evaluate(FIND_LAYOUT_TROUBLE)
    assert found["count"] > 3, "no widgets found: the selector no longer fits"
    return found["trouble"]
