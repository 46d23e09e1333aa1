"""The page of a report works in a real browser: headless Chromium, with the page as a file and no network."""

import csv
import shutil
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genregrid.exhibit.drawing import finished, plot, styled
from genregrid.exhibit.mark import Mark
from genregrid.exhibit.page import render_page
from genregrid.exhibit.table import Column, Figure, Section, Table

sync_api = pytest.importorskip("playwright.sync_api", reason="the page's browser tests need `pip install playwright`")
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"the page's browser tests need one of {', '.join(NAMES)}"),
]

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock", "ska"]
ROWS = 80

# Contrast of each visible piece of text with its background (WCAG 2.2, 1.4.3), the lowest first.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const mix = (colours) => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb
    .map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !parent.checkVisibility() || parent.closest("script, style")) continue;
    const layers = [];
    for (let up = parent; up; up = up.parentElement) layers.unshift(getComputedStyle(up).backgroundColor);
    const style = getComputedStyle(parent);
    const text = parent instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [light(mix(layers)), light(mix([...layers, text]))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), walker.currentNode.data.trim()]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""
# Elements that Tab must reach: all that can be pressed, typed into or scrolled.
TARGETS = """() => [...document.querySelectorAll("a[href], button, input, audio, [tabindex='0']")]
  .filter((e) => e.checkVisibility({visibilityProperty: true}) && !e.disabled)"""


def write_tone(path: Path, seconds: float = 4.0, hz: float = 440.0) -> None:
    time = np.arange(int(8000 * seconds)) / 8000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes((8000 * np.sin(2 * np.pi * hz * time)).astype("<i2").tobytes())


@styled
def curves() -> Figure:
    drawing, axes = plot(200)
    axes.plot([0, 1], [1, 0])
    axes.set(xlabel="epoch")
    return finished("curves", "Curves", drawing, "A line that falls.")


def sections() -> list[Section]:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"track": [f"{GENRES[i % 10]}.{i:05d}" for i in range(ROWS)]})
    frame["protocol"] = ["row" if i % 20 == 0 else "artist" for i in range(ROWS)]
    marks = [(Mark.LEAKS,) if i % 20 == 0 else () for i in range(ROWS)]
    frame["accuracy"] = draw.permutation(np.linspace(0.01, 1, ROWS))
    frame["accuracy_low"], frame["accuracy_high"] = frame["accuracy"] - 0.01, frame["accuracy"] + 0.01
    frame["gain"] = draw.normal(0, 0.1, ROWS)
    frame.loc[3, "gain"] = np.nan
    frame["share"] = frame["accuracy"]
    frame["audio"] = ["tone.wav#t=1,2.2", "missing.wav", *[None] * (ROWS - 2)]
    columns = (
        Column("track", "Track"), Column("protocol", "Protocol"), Column("accuracy", "Accuracy, %", "percent"),
        Column("gain", "Gain, points", "points"), Column("share", "Share, %", "share"),
        Column("audio", "Listen", "audio"),
    )  # fmt: skip
    scores = Table("scores", "Scores of tracks", frame, columns, "One row per track.", marks)
    few = Table("few", "A few rows", frame.head(3), columns[:2])
    return [Section("summary", "Summary", "Text.", (scores, few)), Section("more", "More", "Text.", (curves(),))]


def slices() -> list[dict[str, Any]]:
    """Five slices, each of another genre; the recording of the last is missing."""
    return [
        {
            "track": f'{genre}.00001, "live"', "start_seconds": 0.5 * i, "stop_seconds": 0.5 * i + 0.4,
            "audio": "tone.wav" if i < 4 else "missing.wav", "genre": genre, "model": "lstm",
            "predicted": "rock", "certainty": 0.25 * i,
        }
        for i, genre in enumerate(["blues", "ska", "jazz", "rock", "pop"])
    ]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("page")
    write_tone(folder / "tone.wav")
    html = render_page("A report", "Drawn", list(Mark), sections(), slices(), GENRES)
    (folder / "index.html").write_text(html, encoding="utf-8")
    return (folder / "index.html").as_uri()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """`visit(seed=1, width=1280, dark=False)` opens the page; afterwards it must have logged no error."""
    contexts, errors = [], []

    def opened(seed: int = 1, width: int = 1280, dark: bool = False, silent: bool = True, **options: Any) -> Any:
        look: dict[str, Any] = {"color_scheme": "dark" if dark else "light", "reduced_motion": "reduce"}
        context = browser.new_context(viewport={"width": width, "height": 800}, **look, **options)
        context.set_default_timeout(5000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: errors.append(request.url) if not is_local(request.url) else None)
        if silent:
            page.on("console", lambda message: errors.append(message.text))
        page.goto(f"{address}#seed={seed}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


def is_local(url: str) -> bool:
    return url.startswith(("file:", "data:", "blob:"))


def until(page: Any, fact: str) -> None:
    """Wait until an expression is true; Playwright's own function is refused by the page's policy."""
    for _ in range(250):
        if page.evaluate(fact):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"this never became true: {fact}")


def column(page: Any, number: int, table: str = "#scores") -> list[str]:
    cells = page.locator(f"{table} tbody tr:not([hidden]) > :nth-child({number})")
    return [text.replace("\N{MINUS SIGN}", "-").split("(")[0].strip() for text in cells.all_text_contents()]


def saved_rows(page: Any, press: Callable[[], None]) -> list[dict[str, str]]:
    with page.expect_download() as download:
        press()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_click_and_a_key_sort_by_number_with_missing_values_last(visit: Callable[..., Any]) -> None:
    page = visit()
    head, button = page.locator("#scores th").nth(4), page.locator("#scores th button").nth(4)
    given = column(page, 5)
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Show all 80 rows").click()
    rising = column(page, 5)
    assert rising[-1] == ""
    assert [float(text) for text in rising[:-1]] == sorted(float(text) for text in rising[:-1])
    button.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert column(page, 5) == [*reversed(rising[:-1]), ""]
    button.press("Space")
    assert head.get_attribute("aria-sort") is None
    assert column(page, 5)[:25] == given


def test_a_filter_needs_every_word_and_searches_folded_rows(visit: Callable[..., Any]) -> None:
    page = visit()
    page.get_by_role("searchbox").first.fill("ROCK 7")
    shown = column(page, 1)
    assert "rock.00079" in shown
    assert len(shown) < 25
    assert all("rock" in text for text in shown)
    assert page.locator("#scores .controls [role=status]").text_content() == f"{len(shown)} of 80 rows"
    page.get_by_role("searchbox").first.fill("no such track")
    assert column(page, 1) == []


def test_a_long_table_is_folded_until_all_rows_are_requested(visit: Callable[..., Any]) -> None:
    page = visit()
    assert len(column(page, 1)) == 25
    assert page.locator("#scores .controls [role=status]").text_content() == "80 of 80 rows, the first 25 shown"
    page.get_by_role("button", name="Show all 80 rows").click()
    assert len(column(page, 1)) == ROWS
    assert not page.locator("#few .more").is_visible()


def test_a_saved_table_holds_the_shown_rows_unrounded(visit: Callable[..., Any]) -> None:
    page = visit()
    page.get_by_role("searchbox").first.fill("LEAKS")
    rows = saved_rows(page, page.get_by_role("button", name="Save as CSV").first.click)
    frame = sections()[0].exhibits[0].frame.iloc[::20]  # type: ignore[union-attr]
    assert [row["track"] for row in rows] == frame["track"].tolist()
    for name in ("accuracy", "accuracy_low", "accuracy_high", "gain", "share"):
        assert [float(row[name]) for row in rows] == pytest.approx(frame[name].tolist(), rel=1e-5)
    assert rows[0]["audio"] == "tone.wav#t=1,2.2"
    assert {row["marks"] for row in rows} == {"LEAKS"}


def test_dark_and_light_differ_and_all_text_is_legible_in_both(visit: Callable[..., Any]) -> None:
    page = visit()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    assert page.evaluate(CONTRASTS)[0][0] >= 4.5
    page.get_by_role("button", name="Dark mode").click()
    assert page.get_by_role("button", name="Dark mode").get_attribute("aria-pressed") == "true"
    assert page.evaluate(ground) != light
    contrasts = page.evaluate(CONTRASTS)
    assert contrasts[0][0] >= 4.5
    assert "epoch" in {text for _, text in contrasts}  # text of a drawing in its ink
    dark = page.evaluate(ground)
    page.reload()
    assert page.evaluate(ground) == dark


def test_the_page_follows_the_system_unless_the_person_chooses(visit: Callable[..., Any]) -> None:
    page = visit(dark=True)
    assert page.get_by_role("button", name="Dark mode").get_attribute("aria-pressed") == "true"
    assert page.evaluate(CONTRASTS)[0][0] >= 4.5


def test_a_phone_scrolls_down_only(visit: Callable[..., Any]) -> None:
    page = visit(width=360)
    page.get_by_role("button", name="Show all 80 rows").click()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("#scores .scroll")
    assert box.evaluate("box => box.scrollWidth > box.clientWidth && box.tabIndex === 0")
    box.evaluate("box => box.scrollTo({left: 200})")
    assert page.locator("#scores tbody th").first.bounding_box()["x"] == pytest.approx(box.bounding_box()["x"], abs=1)


@pytest.mark.parametrize("width", [360, 1280])
def test_tab_reaches_every_control_and_each_has_a_name(visit: Callable[..., Any], width: int) -> None:
    page = visit(width=width, silent=False)
    page.locator("td button.play").nth(0).click()  # opens the player
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    wanted = page.evaluate(f"({TARGETS})().map((e, i) => (e.dataset.stop = i, e.outerHTML.slice(0, 90)))")
    page.evaluate("""() => {
        window.reached = new Set();
        addEventListener("focusin", (event) => reached.add(Number(event.target.dataset.stop)));
        getSelection().setBaseAndExtent(document.body, 0, document.body, 0);
    }""")
    for _ in range(len(wanted) + 8):  # the player has more controls
        page.keyboard.press("Tab")
    assert page.evaluate("[...reached]") != []
    assert [wanted[i] for i in set(range(len(wanted))) - set(page.evaluate("[...reached]"))] == []
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "textbox", "searchbox", "image", "img", "table", "group"}
    named = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert {"button", "link", "searchbox", "textbox"} <= {node["role"]["value"] for node in named}
    assert [node for node in named if not node["name"]["value"].strip()] == []


def test_a_drawing_is_an_image_with_a_name_in_the_pages_font(visit: Callable[..., Any]) -> None:
    page = visit()
    assert page.get_by_role("img", name="A line that falls.").is_visible()
    fonts = "[...document.querySelectorAll('svg text, td')].map((e) => getComputedStyle(e).fontFamily)"
    assert len(set(page.evaluate(fonts))) == 1


def test_a_play_button_plays_its_part_and_pauses(visit: Callable[..., Any]) -> None:
    page = visit()
    assert page.locator("audio").count() == 0
    button = page.get_by_role("button", name="Play blues.00000, 1 to 2.2 s")
    button.click()
    until(page, "document.querySelector('audio').currentTime > 1")
    page.get_by_role("button", name="Pause blues.00000").click()
    button.wait_for()
    assert page.evaluate("document.querySelector('audio').paused")
    assert page.evaluate("document.querySelector('audio').currentTime") < 2.2
    button.click()
    until(page, "document.querySelector('audio').currentTime > 2.1")
    button.wait_for()
    assert page.evaluate("document.querySelector('audio').currentTime") < 3


def test_a_missing_recording_is_reported(visit: Callable[..., Any]) -> None:
    page = visit(silent=False)  # the browser itself logs an error
    page.get_by_role("button", name="Play classical.00001").click()
    page.get_by_text("classical.00001 cannot be loaded").wait_for()


def play(page: Any) -> None:
    page.keyboard.press("p")
    page.locator(".listen.playing").wait_for()


def test_the_listening_test_shows_the_answer_only_after_a_guess(visit: Callable[..., Any]) -> None:
    page = visit(seed=4)
    order = "[...document.querySelectorAll('.panel *')].map(e => e.outerHTML).join()"
    page.locator(".panel").focus()
    page.keyboard.press("1")
    assert page.locator(".feedback").text_content() == "Play it first."
    play(page)
    before = page.evaluate(order)
    assert "lstm" not in before
    assert ".0000" not in before
    assert "tone.wav" not in page.evaluate("document.documentElement.outerHTML.split('listening-test').pop()")
    page.locator(".listen:not(.playing)").wait_for()  # the slice has ended
    page.keyboard.press("A")  # the eleventh genre
    assert page.locator(".feedback").text_content().startswith("It is ")
    assert "lstm predicts rock, with a certainty of" in page.locator(".feedback").text_content()
    assert "answered slice: you" in page.locator(".score").text_content()
    assert page.locator(".choices .truth").count() == 1
    page.keyboard.press("Enter")
    assert page.locator(".feedback").text_content() == ""
    assert page.locator(".progress").text_content() == "Slice 2 of 5"


def test_the_seed_sets_the_order_and_answers_survive_a_reload(visit: Callable[..., Any]) -> None:
    page = visit(seed=2, silent=False)  # the browser itself logs an error for the missing file
    export = page.get_by_role("button", name="Export answers.csv")
    assert export.is_disabled()
    page.get_by_label("Your name").fill('Ada "A", Lovelace')
    page.locator(".panel").focus()
    answered = 0
    for _ in range(5):
        page.keyboard.press("Space")
        page.locator(".listen.playing").or_(page.locator(".feedback", has_text="cannot be loaded")).wait_for()
        if "cannot be loaded" in page.locator(".feedback").text_content():
            page.keyboard.press("s")
            continue
        page.keyboard.press("0")
        page.keyboard.press("Enter")
        answered += 1
    assert answered == 4
    assert page.locator(".progress").text_content() == "4 of 5 slices answered."
    rows = saved_rows(page, export.click)
    truth = {item["track"]: item for item in slices()}
    header = "person,track,start_seconds,stop_seconds,genre,guess,model,predicted,certainty,seconds_taken"
    assert ",".join(rows[0]) == header
    assert {row["track"] for row in rows} == {item["track"] for item in slices()[:4]}
    for row in rows:
        item = truth[row["track"]]
        assert (row["person"], row["guess"], row["genre"]) == ('Ada "A", Lovelace', "rock", item["genre"])
        assert (float(row["start_seconds"]), float(row["certainty"])) == (item["start_seconds"], item["certainty"])
        assert 0 <= float(row["seconds_taken"]) < 5
    page.reload()
    assert page.locator(".progress").text_content() == "Slice 5 of 5"
    assert "4 answered slices: you 1 (25 %); lstm: 1 (25 %)" in page.locator(".score").text_content()
    assert saved_rows(page, export.click) == rows
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Start over").click()
    assert page.locator(".progress").text_content() == "Slice 1 of 5"
    assert export.is_disabled()


def test_the_page_can_be_read_without_its_script(visit: Callable[..., Any]) -> None:
    page = visit(java_script_enabled=False)
    assert len(column(page, 1)) == ROWS
    assert page.get_by_role("button").count() == 0
    assert page.get_by_role("link", name="play", exact=True).count() == 2
    assert page.get_by_text("The listening test needs JavaScript.").is_visible()
