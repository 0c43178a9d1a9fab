"""The page itself: its policy, names, keyboard, narrow screens, dark scheme, contrast."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.shown import choose, shown

SCHEMES = ("light", "dark")
CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3, level AA

# Every text that is seen, with the contrast between its colour and the first opaque one behind it
# (WCAG 2.2: contrast ratio, relative luminance).
CONTRASTS = """() => {
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => {
      const c = value / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, alpha = 1] = numbers(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    throw new Error("no background");
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    const element = texts.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    const front = luminance(numbers(getComputedStyle(element).color).slice(0, 3));
    const back = luminance(behind(element));
    const [dark, light] = [front, back].sort((a, b) => a - b);
    found.push([text, (light + 0.05) / (dark + 0.05)]);
  }
  return found;
}"""

FOCUSED = """() => {
  const element = document.activeElement;
  const shown = element.closest("label") ?? element;
  const style = getComputedStyle(shown);
  const name = element.id || element.querySelector("img")?.alt || element.textContent.trim();
  return { name, outline: style.outlineStyle, width: parseFloat(style.outlineWidth) };
}"""


def test_it_has_a_language_a_title_and_headings_in_order(page: Page) -> None:
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("button", name="Bag").wait_for()  # the model has come
    assert page.title() == "fashion_lenet: try it"
    page.get_by_role("button", name="Bag").click()
    shown(page)
    levels = page.locator("h1, h2, h3").evaluate_all("found => found.map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_everything_has_an_accessible_name(page: Page) -> None:
    page.get_by_role("button", name="Bag").click()
    shown(page)
    tree = page.locator("body").aria_snapshot()
    kinds = "button|link|combobox|slider|img|progressbar|textbox|region|list|table"
    named = re.findall(rf"^\s*- (?:{kinds})\b( \"[^\"]+\")?", tree, re.MULTILINE)
    assert len(named) >= 40
    assert "" not in named, tree
    assert re.search(r'progressbar "Ankle boot"', tree)
    assert page.locator("table").get_by_role("progressbar").count() == 10


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page: Page) -> None:
    page.get_by_role("button", name="Bag").press("Enter")
    shown(page)
    page.locator("h1").click()
    reached: list[str] = []
    for _ in range(page.locator(":is(a, button, input, select):visible").count()):
        page.keyboard.press("Tab")
        focused: dict[str, Any] = page.evaluate(FOCUSED)
        assert (focused["outline"], focused["width"] >= 2) == ("solid", True), focused
        reached.append(focused["name"])
    samples = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
    samples += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    before, after = ["API documentation", "file"], ["pen", "clear", "mode", "copy", "download"]
    assert reached == [*before, *samples, *after]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_has_enough_contrast(page: Page, photo: Path, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    choose(page, photo)
    shown(page)
    texts = page.evaluate(CONTRASTS)
    page.evaluate("document.dispatchEvent(new DragEvent('drop', {dataTransfer: new DataTransfer}))")
    texts += page.evaluate(CONTRASTS)
    lowest = min(texts, key=lambda text: text[1])
    print(f"{len(texts)} texts, the lowest contrast {lowest[1]:.2f}: {lowest[0]!r}")
    assert len(texts) > 60
    assert lowest[1] >= CONTRAST, lowest


def test_the_dark_scheme_is_dark(page: Page) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    page.emulate_media(color_scheme="light")
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    assert max(dark) < 64
    assert min(light) > 192


def test_nothing_moves_where_motion_is_not_wanted(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    durations = page.locator("*").evaluate_all(
        "all => all.map(e => getComputedStyle(e)).filter(style =>"
        " style.transitionDuration !== '0s' || style.animationName !== 'none').length"
    )
    assert durations == 0


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_width_scrolls_sideways(page: Page, photo: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) == 0
    choose(page, photo.rename(photo.with_name("x" * 200 + ".png")))
    shown(page)
    assert page.evaluate(overflow) == 0


def test_on_a_phone_the_answer_is_in_sight_of_the_samples(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Bag").click()
    shown(page)
    box = page.locator("#verdict").bounding_box()
    assert box is not None
    assert 0 <= box["y"] <= 844 - box["height"]


def test_on_a_phone_the_answer_covers_the_drawing_only_together_with_its_pen(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Bag").click()
    shown(page)
    page.locator("#canvas").evaluate(
        "canvas => scrollBy(0, canvas.getBoundingClientRect().bottom"
        " - document.getElementById('headline').getBoundingClientRect().top)"
    )  # the canvas is just above the answer
    assert page.locator("#pen").evaluate(
        """pen => {
          const { x, y, width, height } = pen.getBoundingClientRect();
          return document.elementFromPoint(x + width / 2, y + height / 2) === pen;
        }"""
    )


def test_on_a_phone_nothing_is_covered_before_there_is_an_answer(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    position = "headline => getComputedStyle(headline).position"
    assert page.locator("#headline").evaluate(position) == "static"
    page.get_by_role("button", name="Bag").click()
    shown(page)
    assert page.locator("#headline").evaluate(position) == "sticky"


def test_the_policy_stops_inline_scripts_and_other_hosts(page: Page, complaints: list[str]) -> None:
    page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'run'";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", "<p style='color: red'></p>");
          return fetch("http://127.0.0.2:1/").catch(() => {});
        }"""
    )
    assert page.title() == "fashion_lenet: try it"
    for directive in ("script-src 'self'", "style-src 'self'", "connect-src 'self'"):
        assert any(directive in text for text in complaints), complaints
    complaints.clear()


def test_it_works_below_a_proxys_path(page: Page) -> None:
    """Every address in the page is relative to its own."""
    links = page.locator("[src], [href]").evaluate_all(
        "all => all.map(e => e.getAttribute('src') ?? e.getAttribute('href'))"
    )
    assert links
    assert all(link.startswith(("./", "blob:")) for link in links)
