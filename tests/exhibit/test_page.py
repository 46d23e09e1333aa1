"""The page of a report is one valid file that loads nothing from elsewhere and escapes all text."""

import base64
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import pandas as pd
import pytest

from genregrid.exhibit.drawing import finished, plot, styled
from genregrid.exhibit.mark import Mark
from genregrid.exhibit.page import render_page
from genregrid.exhibit.table import Column, Exhibit, Figure, Section, Table

NASTY = """</script><script>alert("x")</script><b>&'quoted"</b>"""
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10" role="img" aria-label=ALT>
 <g id="patch_1"><path id="m0a1b2" d="M 0 0 L 0 3" style="stroke: currentColor; fill: #0000ff"/></g>
 <g clip-path="url(#p1)"><use href="#m0a1b2" x="1" style="stroke: currentColor"/></g>
 <defs><clipPath id="p1"><rect x="0" y="0" width="1" height="1"/></clipPath></defs>
</svg>
"""


def figure(name: str, alt: str = "Two curves.") -> Figure:
    return Figure(name, f"Figure {name}", SVG.replace("ALT", quoteattr(alt)), alt)


def table(row_marks: list[tuple[Mark, ...]] | None = None, **columns: list[Any]) -> Table:
    forms = {"accuracy": "percent", "tracks": "count", "share": "share", "audio": "audio", "gain": "points"}
    shown = [Column(name, name, forms.get(name, "text")) for name in columns if not name.endswith(("_low", "_high"))]  # type: ignore[arg-type]
    return Table("scores", "Scores", pd.DataFrame(columns), tuple(shown), "n = 3", row_marks or [])


def page(*exhibits: Exhibit, marks: tuple[Mark, ...] = (), **kwargs: Any) -> str:
    return render_page("Title", "Subtitle", marks, [Section("summary", "Summary", "One.\n\nTwo.", exhibits)], **kwargs)


def listening_item(**changes: Any) -> dict[str, Any]:
    item = {"track": "blues.00001", "start_seconds": 3.0, "stop_seconds": 6.0, "audio": "audio/blues.00001.wav"}
    return item | {"genre": "blues", "model": "lstm", "predicted": "jazz", "certainty": 0.5} | changes


class Checker(HTMLParser):
    """Reads a page, and fails on errors that a browser would have to repair."""

    VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> is not HTML"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def full() -> str:
    """A page with one of everything."""
    scores = table(
        row_marks=[(), (Mark.LEAKS, Mark.SYNTHETIC)], run=["lstm", "mlp"],
        accuracy=[0.725, 0.9], accuracy_low=[0.7, 0.85], accuracy_high=[0.75, 1.0],
        share=[0.25, np.nan], audio=["a.wav#t=3,6", None],
    )  # fmt: skip
    parts = (scores, figure("curves"), figure("scores"), table(run=[]))
    return page(*parts, marks=(Mark.LEAKS, Mark.SYNTHETIC), listening=[listening_item(), listening_item(track=NASTY)])


def test_every_element_is_closed_and_no_attribute_is_repeated(full: str) -> None:
    assert {"table", "svg", "nav", "main", "button"} <= {tag for tag, _ in Checker(full).elements}


def test_an_empty_page_is_valid() -> None:
    assert "Listening test" not in render_page("T", "", (), [])
    Checker(render_page("T", "", (), []))


def test_nothing_is_loaded_from_outside_the_page(full: str) -> None:
    assert re.sub(r'xmlns(:\w+)?="[^"]*"', "", full).count("://") == 0
    assert not {"iframe", "object", "embed", "base"} & {tag for tag, _ in Checker(full).elements}
    assert Checker(full).attributes("src") == []
    assert {href[0] for href in Checker(full).attributes("href")} == {"#", "d", "a"}  # anchors, the icon, a.wav


def test_the_policy_allows_only_this_script(full: str) -> None:
    (policy,) = [value for value in Checker(full).attributes("content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert re.findall(r"script-src ([^;]*);", policy)[0].startswith("'sha256-")


def test_ids_are_unique_and_every_reference_has_its_id(full: str) -> None:
    checker = Checker(full)
    ids = checker.attributes("id")
    assert len(ids) == len(set(ids))
    assert {"summary", "scores", "curves", "scores-2", "scores-3"} <= set(ids)
    links = [*checker.attributes("href"), *checker.attributes("clip-path")]
    targets = {link.removeprefix("url(").strip("#)") for link in links if "#" in link and not link.startswith("a.wav")}
    assert {"main", "curves.m0a1b2", "scores-2.p1"} <= targets <= set(ids)
    assert set(checker.attributes("aria-labelledby")) <= set(ids)


def test_no_level_of_headings_is_skipped(full: str) -> None:
    levels = [int(tag[1]) for tag, _ in Checker(full).elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_every_drawing_is_an_image_with_its_alternative_text() -> None:
    drawings = [about for tag, about in Checker(page(figure("a", 'A "b" <c>'), figure("d"))).elements if tag == "svg"]
    assert [about["role"] for about in drawings] == ["img", "img"]
    assert [about["aria-label"] for about in drawings] == ['A "b" <c>', "Two curves."]


@styled
def test_a_drawing_takes_the_pages_colour_and_brings_no_style_sheet() -> None:
    html = page(finished("a", "Title", plot(50)[0], "Empty axes."))
    assert "stroke: currentColor" in html.partition("<svg")[2]
    assert html.count("<style") == 1


def test_text_of_users_is_escaped() -> None:
    exhibits = (Table("n", NASTY, pd.DataFrame({"t": [NASTY]}), (Column("t", NASTY),), NASTY), figure("f", NASTY))
    html = render_page(
        NASTY, NASTY, list(Mark), [Section("s", NASTY, NASTY, exhibits)], [listening_item(track=NASTY)], [NASTY]
    )
    tags = [tag for tag, _ in Checker(html).elements]
    assert tags.count("script") == 2
    assert "b" not in tags
    assert "alert(" not in html.replace("&lt;script&gt;alert(", "")


def test_the_source_does_not_show_the_answers() -> None:
    html = page(
        listening=[listening_item(track="secret.00001", genre="polka", audio="secret.wav")], genres=["polka", "rock"]
    )
    assert "secret" not in html
    assert "polka" not in html
    (data,) = re.findall(r'id="listening-data">([^<]*)<', html)
    shown = json.loads(base64.b64decode(data))
    assert shown["genres"] == ["polka", "rock"]
    assert shown["items"][0]["genre"] == "polka"


def test_listening_items_may_hold_numpy_scalars_and_nan() -> None:
    html = page(listening=[listening_item(start_seconds=np.float32(3), certainty=float("nan"))])
    shown = json.loads(base64.b64decode(re.findall(r'id="listening-data">([^<]*)<', html)[0]))
    assert shown["genres"] == ["blues", "jazz"]
    assert (shown["items"][0]["start_seconds"], shown["items"][0]["certainty"]) == (3.0, None)


def test_cells_keep_the_unrounded_numbers() -> None:
    html = page(table(run=["a"], accuracy=[0.72543], accuracy_low=[0.7], accuracy_high=[0.75], tracks=[1234567]))
    assert 'data-value="0.72543" data-more="0.7 0.75">72.5<span class="beside">(70.0 to 75.0)</span></td>' in html
    assert 'data-name="accuracy" data-more="low high"' in html
    assert 'data-value="1234567">1234567</td>' in html


def test_a_missing_number_is_an_empty_cell() -> None:
    html = page(table(run=["a", "b"], gain=[np.nan, -0.021], share=[None, 0.5]))
    assert '<td class="points numeric"></td><td class="share numeric"></td>' in html
    assert 'data-value="-0.021">\N{MINUS SIGN}2.1</td>' in html
    assert 'style="--share: 0.5">50.0</td>' in html


def test_marks_of_rows_exhibits_and_page_are_shown() -> None:
    html = page(table(row_marks=[(), (Mark.LEAKS,), (Mark.LEAKS, Mark.SYNTHETIC)], run=["lstm", "mlp", "gru"]))
    assert html.count('<tr class="leaks">') == 1
    assert html.count('<tr class="leaks synthetic">') == 1
    assert '<mark class="leaks">LEAKS</mark> <mark class="synthetic">SYNTHETIC</mark></h3>' in html
    assert '<th scope="row" class="text">mlp</th><td class="text"><mark class="leaks">LEAKS</mark></td>' in html
    assert '<li><mark class="leaks">LEAKS</mark></li>' in page(marks=(Mark.LEAKS,))


def test_a_word_in_a_cell_is_not_a_mark() -> None:
    html = page(table(run=["lstm", "lstm LEAKS", "BLEAKSHIRE"]))
    assert "<mark" not in html
    assert '<tr class="leaks' not in html


def test_a_table_without_rows_has_a_cell_that_reports_it() -> None:
    assert '<td colspan="1">No rows.</td>' in page(table(run=[]))
