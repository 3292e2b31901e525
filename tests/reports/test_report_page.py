"""The page in a real browser: it sorts, filters, copies, fits a phone, follows the dark, and asks for nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterpoise.reports.outputs.write import write_report
from pages_kit import figure, small_report

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with hostile names in it."""
    folder = tmp_path_factory.mktemp("page")
    return write_report(small_report(folder, hostile=True), folder / "report")[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with those that people give."""
    folder = tmp_path_factory.mktemp("page")
    return write_report(small_report(folder), folder / "report")[0]


class Opened:
    """A page, and whatever it complained about or asked for."""

    def __init__(self, browser: Any, path: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def column(self, place: int) -> list[str]:
        """What stands in a column of the first table's rows that are seen."""
        script = f"rows => rows.filter(r => !r.hidden).map(r => r.cells[{place}].innerText.split('\\n')[0].trim())"
        return list(self.page.eval_on_selector_all("#table-1 tbody tr", script))

    def overflow(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture
def opened(browser: Any, plain: Path) -> Iterator[Opened]:
    opened = Opened(browser, plain, permissions=["clipboard-read", "clipboard-write"])
    yield opened
    assert opened.said == []
    assert opened.asked == [plain.as_uri()]
    opened.context.close()


def test_a_click_on_a_heading_sorts(opened: Opened) -> None:
    given = opened.column(0)
    heading = opened.page.locator("#table-1 thead th").nth(1)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    figures = [float(text.split(" ")[0]) for text in opened.column(1)]
    assert figures == sorted(figures, reverse=True), "figures begin with the largest"
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(text.split(" ")[0]) for text in opened.column(1)] == figures[::-1]
    rows = opened.page.locator("#table-1 thead th").nth(0)
    rows.get_by_role("button").click()
    assert (rows.get_attribute("aria-sort"), heading.get_attribute("aria-sort")) == ("ascending", None)
    assert opened.column(0) == sorted(given, key=str.lower)


def test_the_first_click_shows_the_best_first_where_small_is_better(browser: Any, tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    (data,) = report.data
    rows = tuple(replace(row, figures={"log_loss": figure([0.2 + i / 10])}) for i, row in enumerate(data.rows))
    data = replace(data, rows=rows[::-1], metric="log_loss", maximise=False, comparisons=())
    opened = Opened(browser, write_report(replace(report, data=(data,)), tmp_path / "report")[0])
    heading = opened.page.locator("#table-1 thead th").nth(1)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert opened.column(1)[0] == "0.2000"
    opened.context.close()


def test_what_is_not_defined_stays_last_whichever_way(opened: Opened) -> None:
    heading = opened.page.locator("#table-1 thead th", has_text="ROC-AUC")
    place = int(heading.evaluate("h => h.cellIndex"))
    for _ in range(2):
        heading.get_by_role("button").click()
        assert opened.column(place)[-1] == "–"


def test_the_keyboard_sorts_too(opened: Opened) -> None:
    heading = opened.page.locator("#table-1 thead th").nth(1)
    heading.get_by_role("button").focus()
    opened.page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    opened.page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "ascending"


def test_the_filter_hides_the_other_rows(browser: Any, tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    (data,) = report.data
    more = tuple(replace(data.rows[0], name=f"GIN {place}") for place in range(6))
    path = write_report(replace(report, data=(replace(data, rows=(*data.rows, *more)),)), tmp_path / "report")[0]
    opened = Opened(browser, path)
    box = opened.page.get_by_role("searchbox").first
    box.fill("TF parameters")
    assert opened.column(0) == []
    box.fill("cnn 0.001")
    assert opened.column(0) == ["TextCNN optimizer.lr=0.001"]
    assert opened.page.get_by_role("status").first.inner_text() == "1 of 12 rows"
    box.fill("")
    assert len(opened.column(0)) == 12
    assert opened.said == []
    opened.context.close()


def test_the_command_is_copied(opened: Opened) -> None:
    opened.page.locator("details[open] .copy button").click()
    opened.page.wait_for_function("document.querySelector('details[open] .copy button').textContent !== 'Copy'")
    assert opened.page.evaluate("getSelection().toString() || navigator.clipboard.readText()").startswith(
        "python src/train.py model=gnn seed=7"
    )


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_no_page_is_wider_than_the_screen(browser: Any, written: Path, width: int) -> None:
    opened = Opened(browser, written, viewport={"width": width, "height": 800})
    opened.page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
    assert opened.overflow() <= 0
    opened.context.close()


def test_a_phone_shows_every_picture_whole_and_with_text_that_can_be_read(browser: Any, plain: Path) -> None:
    opened = Opened(browser, plain, viewport={"width": 390, "height": 800})
    opened.page.eval_on_selector_all("details", "all => all.forEach(d => { d.open = true; })")
    boxes = (
        "all => all.filter(b => b.offsetWidth).map(b => [b.scrollWidth - b.clientWidth, "
        "Math.min(...[...b.querySelectorAll('text')].map(t => parseFloat(getComputedStyle(t).fontSize) * "
        "Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b)))])"
    )
    found = opened.page.eval_on_selector_all("figure .box", boxes)
    assert len(found) > 6
    assert max(wider for wider, _ in found) <= 0
    assert min(pixels for _, pixels in found) > 7
    opened.context.close()


def test_a_wide_screen_and_a_narrow_one_have_a_picture_of_their_own(browser: Any, plain: Path) -> None:
    for width, shown in ((390, "narrow"), (1280, "wide")):
        opened = Opened(browser, plain, viewport={"width": width, "height": 800})
        seen = opened.page.locator("section[aria-labelledby=data-1] figure .box:visible")
        assert seen.count() == 1
        assert shown in (seen.get_attribute("class") or "").split()
        opened.context.close()


def test_hostile_names_do_nothing_but_be_read(browser: Any, written: Path) -> None:
    opened = Opened(browser, written)
    opened.page.wait_for_timeout(100)
    assert opened.said == []
    assert opened.asked == [written.as_uri()]
    assert "<script>alert(1)</script>" in opened.page.inner_text("#table-1 tbody tr:first-child th")
    assert opened.page.locator("script").count() == 1
    opened.context.close()


def test_nothing_could_be_loaded_even_if_it_were_asked_for(browser: Any, plain: Path) -> None:
    opened = Opened(browser, plain)
    tried = (
        "new Promise(done => { const image = new Image(); image.onerror = () => done('refused'); "
        "image.src = 'http://127.0.0.1/x.png'; })"
    )
    assert opened.page.evaluate(tried) == "refused"
    assert any("Content Security Policy" in line for line in opened.said)
    opened.context.close()


def test_the_dark_is_followed_by_text_and_pictures(browser: Any, plain: Path) -> None:
    def shades(scheme: str) -> tuple[float, float, float]:
        opened = Opened(browser, plain, color_scheme=scheme)
        light = (
            "e => { const m = getComputedStyle(e)[{0}].match(/[0-9.]+/g).map(Number); return (m[0]+m[1]+m[2])/765; }"
        )
        ground = opened.page.eval_on_selector("body", light.replace("{0}", "'backgroundColor'"))
        ink = opened.page.eval_on_selector("body", light.replace("{0}", "'color'"))
        svg = opened.page.eval_on_selector("figure svg text", light.replace("{0}", "'fill'"))
        opened.context.close()
        return ground, ink, svg

    ground, ink, svg = shades("light")
    assert ground > 0.9
    assert max(ink, svg) < 0.3
    ground, ink, svg = shades("dark")
    assert ground < 0.15
    assert min(ink, svg) > 0.8


def test_without_scripts_everything_is_there(browser: Any, plain: Path) -> None:
    opened = Opened(browser, plain, java_script_enabled=False)
    assert opened.page.locator("#table-1 tbody tr").count() == 6
    assert opened.page.locator("button").count() == 0, "what would do nothing is not shown"
    assert opened.page.locator("details[open] svg").count() == 6
    opened.context.close()
