"""The page works in headless Chromium: a recording is dropped and its verdict read, and no request leaves."""

import base64
import csv
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.exhibit.test_page_in_browser import ARGUMENTS, CHROMIUM, CONTRASTS, TARGETS, pytestmark, sync_api, until

from genregrid.listening.score import Scorer
from genregrid.page.app import App
from genregrid.page.document import write_page
from genregrid.page.scorer import PageScorer
from genregrid.page.serve import _bound

__all__ = ["pytestmark"]  # slow, and skipped without Chromium

LOCAL = ("http://127.0.0.1:", "blob:http://127.0.0.1:", "data:", "file:")
MICROPHONE = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
# Playwright sets files of inputs; a drop is an event that a script makes.
DROP = """(files) => {
  const data = new DataTransfer();
  for (const [name, content] of files) {
    data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
  }
  const options = { dataTransfer: data, bubbles: true, cancelable: true };
  document.querySelector(".drop").dispatchEvent(new DragEvent("drop", options));
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *MICROPHONE])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """`visit(address, width=1280, dark=False)` opens a page, which may ask nobody but this computer."""
    contexts, foreign = [], []

    def opened(address: str, width: int = 1280, dark: bool = False) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
        )
        context.set_default_timeout(8000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: foreign.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(LOCAL) else foreign.append(request.url))
        page.on("console", lambda message: foreign.append(message.text) if "Policy" in message.text else None)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert foreign == []


@pytest.fixture
def address(checkpoint: Path, tmp_path: Path) -> Iterator[str]:
    """A server of the page with a real model, in a thread."""
    (tmp_path / "uploads").mkdir()
    app = App(PageScorer(checkpoint), tmp_path / "uploads", "token")
    with _bound(0) as listener:
        config = uvicorn.Config(app.asgi, http="h11", ws="none", loop="asyncio", lifespan="off", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/token/"
        server.should_exit = True
        thread.join()
    assert list((tmp_path / "uploads").iterdir()) == []


def drop(page: Any, *files: tuple[str, bytes]) -> None:
    page.evaluate(DROP, [[name, base64.b64encode(content).decode()] for name, content in files])


def test_dropped_recordings_have_verdicts_a_timeline_and_a_table(
    visit: Callable[..., Any], address: str, recording: Callable[..., Path]
) -> None:
    high, low = recording("high").read_bytes(), recording("low").read_bytes()
    page = visit(address)
    drop(page, ("my song.wav", high))
    page.get_by_role("heading", name="high", exact=True).wait_for()
    assert page.locator(".file").text_content() == "my song.wav, 0:03"
    assert "times as probable as the second" in page.locator(".certainty").text_content()
    assert page.locator(".legend li").first.text_content().startswith("high")
    assert page.locator("svg .area").count() == 2
    assert page.get_by_role("heading", name="For high, against low").is_visible()

    until(page, "audio.readyState >= 1")
    chart = page.get_by_role("slider", name="Position in the recording")
    box = chart.bounding_box()
    page.mouse.click(box["x"] + 40 + 0.5 * (box["width"] - 40), box["y"] + 30)
    assert page.evaluate("audio.currentTime") == pytest.approx(1.65, abs=0.05)
    chart.press("Home")
    assert chart.get_attribute("aria-valuetext").startswith("0:00, high ")
    chart.press(" ")
    until(page, "audio.currentTime > 0.1")
    chart.press(" ")

    drop(page, ("deep.wav", low), ("<b>text.wav", b"no recording"))
    page.get_by_text("2 of 3 rows").or_(page.get_by_text("3 of 3 rows")).wait_for()
    page.get_by_text("<b>text.wav: Named .wav but without a RIFF header.").wait_for()
    page.locator("#overview thead button", has_text="Recording").click()
    rows = page.locator("#overview tbody tr")
    assert [rows.nth(number).locator("th").text_content() for number in range(3)] == [
        "<b>text.wav", "deep.wav", "my song.wav",
    ]  # fmt: skip
    page.get_by_role("searchbox").fill("low")
    assert rows.count() == 2  # its verdict, and its second genre
    page.get_by_role("button", name="deep.wav", exact=True).click()
    assert page.locator("#verdict").text_content() == "low"
    page.get_by_role("searchbox").fill("")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    with Path(download.value.path()).open(encoding="utf-8", newline="") as file:
        saved = {row["file"]: row for row in csv.DictReader(file)}
    assert (saved["deep.wav"]["genre"], saved["my song.wav"]["genre"]) == ("low", "high")
    assert saved["<b>text.wav"]["notes"].startswith("skipped: Named .wav")
    assert float(saved["deep.wav"]["p_low"]) > 0.5


def test_a_file_that_is_too_large_is_not_sent(visit: Callable[..., Any], address: str) -> None:
    page = visit(address)
    page.evaluate("page.mostBytes = 3")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    drop(page, ("a.wav", b"RIFF"))
    page.get_by_text("a.wav: It has more than 400 MB. Cut it, or save it as mp3 or flac.").wait_for()
    assert [url for url in sent if "score" in url] == []


def test_the_microphone_is_recorded_as_wav(visit: Callable[..., Any], address: str) -> None:
    page = visit(address)
    page.get_by_role("button", name="Record", exact=True).click()
    page.get_by_role("button", name="Stop").wait_for()
    page.wait_for_timeout(700)  # longer than a slice
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("recorded 1.wav, 0:0").wait_for()
    assert page.locator("#verdict").text_content() in ("high", "low")


def test_a_phone_scrolls_down_only_and_text_is_legible_in_both_modes(
    visit: Callable[..., Any], address: str, recording: Callable[..., Path]
) -> None:
    page = visit(address, width=360, dark=True)
    drop(page, ("a.wav", recording("high").read_bytes()), ("b.wav", recording("low").read_bytes()))
    page.get_by_text("2 of 2 rows").wait_for()
    until(page, "!document.querySelector('.count').textContent.includes('scored')")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for _ in range(2):
        found = [pair for pair in page.evaluate(CONTRASTS) if pair[1] not in ("high", "low")]  # names on areas
        assert found[0][0] >= 4.5, found[0]
        page.get_by_role("button", name="Dark mode").click()
    names = "(e) => e.textContent.trim() || e.ariaLabel || e.labels?.length || e.getAttribute('aria-labelledby')"
    assert page.evaluate(f"({TARGETS})().filter((e) => !({names})(e)).map((e) => e.outerHTML)") == []


def test_a_file_of_results_plays_without_a_server(
    visit: Callable[..., Any], checkpoint: Path, recording: Callable[..., Path], tmp_path: Path
) -> None:
    scorer = Scorer(checkpoint)
    scored = [scorer.score(recording(genre)) for genre in ("high", "low")]
    write_page(scored, tmp_path / "genres.html", "a model")
    page = visit((tmp_path / "genres.html").as_uri())
    assert page.get_by_text("2 of 2 rows").is_visible()
    assert page.locator("#verdict").text_content() == "high"
    page.get_by_role("button", name="Play low 99.wav").click()
    assert page.locator("#verdict").text_content() == "low"
    until(page, "audio.currentTime > 0.1")
    page.get_by_role("button", name="Pause low 99.wav").click()
    assert page.locator("#give").count() == 0
    assert json.loads(page.locator("#data").text_content())["served"] is False
