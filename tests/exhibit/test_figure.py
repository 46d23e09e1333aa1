"""Figures are small, reproducible SVG in the page's text colour, and their alternative texts describe them."""

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from genregrid.exhibit.drawing import INK, overlap, plot, write_beside
from genregrid.exhibit.figure import (
    Caption,
    accuracies,
    certainty_against_recall,
    confusion_matrix,
    genre_tree,
    heat,
    learning_curves,
    mutual_confusion,
    protocols,
    reliability,
    risk_coverage,
    timeline,
)
from genregrid.exhibit.mark import Mark
from genregrid.exhibit.table import Figure

ODD = "R&B <$x_{$ 音>"
GENRES = ["blues", "jazz", ODD]
NAN = float("nan")
CAPTION = Caption("f", "Title")


def curve(runs: int = 3, epochs: int = 4) -> pd.DataFrame:
    rows = [(run, epoch + 1, 0.2 * epoch + 0.01 * run, 0.1 * epoch) for run in range(runs) for epoch in range(epochs)]
    return pd.DataFrame(rows, columns=["run", "epoch", "train", "val"])


ACCURACIES = pd.DataFrame(
    {
        "label": ["mlp, track", f"{ODD}, track", "mlp, row-LEAKS"],
        "value": [0.7, NAN, 0.9],
        "low": [0.65, NAN, NAN],
        "high": [0.75, NAN, NAN],
        "leaks": [False, False, True],
        "paper": [0.8, NAN, NAN],
    }
)
PROTOCOLS = pd.DataFrame(
    [
        ("mlp", "track", 0.7, 0.65, 0.75, False),
        ("mlp", "row", 0.9, NAN, NAN, True),
        (ODD, "track", 0.6, 0.5, 0.7, False),
    ],
    columns=["model", "split", "value", "low", "high", "leaks"],
)
HEAT = pd.DataFrame(
    [("tempo", ODD, 0.12, 0.05, 0.2), (ODD, ODD, -0.03, NAN, NAN), ("sum", "all", 0.4, -0.1, 0.5)],
    columns=["row", "column", "value", "low", "high"],
)
CERTAINTY = pd.DataFrame(
    {
        "genre": [*GENRES, "silent"],
        "certainty": [0.5, 1.0, 1.5, NAN],
        "recall": [0.4, 0.6, 0.9, NAN],
        "certainty_paper": [0.6, NAN, 1.4, 1.0],
        "recall_paper": [0.5, NAN, 0.8, 1.0],
    }
)
BINS = pd.DataFrame({"confidence": [0.2, NAN, 0.9], "accuracy": [0.1, NAN, 0.7], "num": [10, 0, 30]})
RISK = (np.arange(1, 1001) / 1000, np.linspace(0, 0.4, 1000))
CONFUSION = np.array([[8, 2, 0], [4, 6, 0], [0, 0, 0]])
PROBS = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])

CASES: dict[str, tuple[Callable[[], Figure], list[str], list[str]]] = {
    # the figure, labels in it, and parts of its alternative text
    "curves": (
        lambda: learning_curves(CAPTION, {"mlp": curve(), ODD: curve(1)}),
        ["mlp", ODD, "epoch", "accuracy (%)", "training", "validation"],
        ["mlp ends at 30.0 % in validation and 61.0 % in training (4 epochs, 3 runs)", "(4 epochs, 1 run)"],
    ),
    "accuracies": (
        lambda: accuracies(CAPTION, ACCURACIES, [("chance", 0.1), (ODD, 0.95)]),
        ["mlp, row-LEAKS", f"{ODD}, track", "chance", ODD, "70.0 (65.0 to 75.0)", "90.0"],
        ["3 rows", "do not leak, the best of 1 is mlp, track at 70.0 (65.0 to 75.0) %", "mlp, row-LEAKS at 90.0 %"],
    ),
    "protocols": (
        lambda: protocols(CAPTION, PROTOCOLS, ["track", "row"]),
        ["mlp", ODD, "track", "row"],
        ["mlp 70.0 % under track, 90.0 % under row", "60.0 % under track."],
    ),
    "certainty": (
        lambda: certainty_against_recall(CAPTION, CERTAINTY),
        [*GENRES, "recall (%)", "certainty (decades)"],
        ["3 genres", "least certain of blues (0.50 decades, recall 40.0 %)", f"{ODD} (1.50 decades, recall 90.0 %)"],
    ),
    "reliability": (
        lambda: reliability(CAPTION, {"mlp": BINS, ODD: BINS[:0]}),
        ["mlp", ODD, "ECE 17.5", "confidence (%)"],
        ["mlp is 72.5 % sure and 55.0 % right, ECE 17.5."],
    ),
    "risk": (
        lambda: risk_coverage(CAPTION, {ODD: RISK}),
        [ODD, "risk: share of these that are wrong (%)"],
        ["40.0 % of all tracks and 20.0 % of the more certain half"],
    ),
    "tree": (
        lambda: genre_tree(CAPTION, CONFUSION, GENRES),
        GENRES,
        ["3 genres", "blues and jazz are closest, with 30.0 % of their tracks"],
    ),
    "confusion": (
        lambda: confusion_matrix(CAPTION, CONFUSION, GENRES),
        [*GENRES, "true genre", "predicted genre"],
        [f"3 genres: {CONFUSION.diagonal().sum():g} of {CONFUSION.sum():g} tracks are right."],
    ),
    "heat": (
        lambda: heat(CAPTION, HEAT, ["tempo", ODD, "sum"], ["all", ODD], "points", apart=["sum", "all"]),
        ["tempo", ODD, "sum", "all", "12.0", "-3.0", "40.0"],
        [f"all: sum +40.0, {ODD}: tempo +12.0."],
    ),
    "timeline": (
        lambda: timeline(CAPTION, [0, 3, 6], [3, 6, 9], PROBS, GENRES, "blues"),
        ["blues", "blues (true)", "jazz", ODD, "seconds", "probability"],
        ["Over 9 seconds the true genre blues has a mean probability of 46.7 %", "most probable is blues with 46.7 %"],
    ),
}


def texts(figure: Figure) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(figure.svg).iter() if element.tag.endswith("text")]


@pytest.mark.parametrize("case", CASES)
def test_a_figure_is_svg_in_the_colour_of_the_page(case: str) -> None:
    svg = CASES[case][0]().svg
    assert svg.startswith("<svg ")
    assert "currentColor" in svg
    for unwanted in (INK, "#000000", 'width="720pt"', "xlink", "<metadata", "<style", "nan"):
        assert unwanted not in svg
    ids = [element.get("id") for element in ElementTree.fromstring(svg).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("case", CASES)
def test_the_same_data_give_the_same_bytes(case: str) -> None:
    draw = CASES[case][0]
    assert draw() == draw()


@pytest.mark.parametrize("case", CASES)
def test_labels_are_text_and_the_alternative_text_has_the_essential_figures(case: str) -> None:
    draw, labels, facts = CASES[case]
    figure = draw()
    assert set(labels) <= set(texts(figure))
    for fact in facts:
        assert fact in figure.alt
    assert ElementTree.fromstring(figure.svg).get("aria-label") == figure.alt


def test_ids_that_a_figure_refers_to_differ_between_figures() -> None:
    """Two figures on one page must not draw each other's markers; the page makes the other ids unique."""
    references = re.compile(r'(?:href="#|url\(#)([^")]+)')
    one, two = (
        set(references.findall(risk_coverage(Caption(name, "Title"), {"mlp": RISK}).svg)) for name in ("one", "two")
    )
    assert one
    assert not one & two


def test_eight_panels_of_long_runs_stay_small() -> None:
    assert len(learning_curves(CAPTION, {f"model {number}": curve(5, 400) for number in range(8)}).svg) < 100_000
    assert len(reliability(CAPTION, {f"model {number}": BINS for number in range(8)}).svg) < 80_000
    assert len(risk_coverage(CAPTION, {f"model {number}": RISK for number in range(8)}).svg) < 80_000


@pytest.mark.parametrize("case", CASES)
def test_every_figure_shows_its_marks(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "CAPTION", Caption("f", "Title", (Mark.LEAKS, Mark.SYNTHETIC)))
    figure = CASES[case][0]()
    assert figure.marks == (Mark.LEAKS, Mark.SYNTHETIC)
    assert "LEAKS SYNTHETIC" in texts(figure)
    assert figure.alt.endswith("Marks: LEAKS, SYNTHETIC.")


def test_accuracies_without_interval_have_the_reason_beside_them() -> None:
    frame = ACCURACIES.assign(low=np.nan, high=np.nan, why="2 artists")
    assert "(2 artists)" in accuracies(CAPTION, frame).svg


def test_accuracies_without_interval_reference_and_paper_are_drawn() -> None:
    frame = ACCURACIES.drop(columns="paper")[1:2]
    figure = accuracies(CAPTION, frame)
    assert "none is known" in figure.alt
    assert "diamond" not in figure.note
    assert "Hatched" not in figure.note


def test_genres_that_are_never_confused_still_make_a_tree() -> None:
    assert "none are confused" in genre_tree(CAPTION, np.eye(3), GENRES).alt
    assert "1 genre " in genre_tree(CAPTION, np.array([[0]]), ["blues"]).alt


def test_certainty_of_no_genre_is_an_empty_drawing() -> None:
    assert "0 genres: none is known" in certainty_against_recall(CAPTION, CERTAINTY[3:]).alt


def test_mutual_confusion_by_hand() -> None:
    confusion = np.array([[6, 3, 1], [1, 9, 0], [2, 0, 0]])
    share = mutual_confusion(confusion)
    assert share[0, 1] == pytest.approx((3 + 1) / (10 + 10))
    assert share[0, 2] == pytest.approx((1 + 2) / (10 + 2))
    assert share[1, 2] == 0
    assert (share == share.T).all()
    assert (share.diagonal() == 0).all()


def test_mutual_confusion_of_genres_without_tracks_is_zero() -> None:
    assert (mutual_confusion(np.zeros((2, 2), int)) == 0).all()


def test_a_tree_joins_groups_at_the_mean_share() -> None:
    """Of tracks of a and b 30 % are confused, of a and c 10 %, of b and c none: they join at 30 % and at 5 %."""
    confusion = np.array([[6, 3, 1], [3, 7, 0], [1, 0, 9]])
    svg = ElementTree.fromstring(genre_tree(CAPTION, confusion, ["a", "b", "c"]).svg)
    ticks = {text.text: float(text.get("x", "")) for text in svg.iter() if text.tag.endswith("text")}
    scale = (ticks["20"] - ticks["0"]) / 0.2
    joints = [path.get("d", "") for path in svg.iter() if path.get("d", "").count("L") == 3]
    positions = sorted(float(joint.split("L")[1].split()[0]) for joint in joints)
    assert positions == pytest.approx([ticks["0"] + 0.05 * scale, ticks["0"] + 0.3 * scale], abs=0.2)


def test_labels_do_not_overlap() -> None:
    _, axes = plot(300)
    points = np.array([[0.5, 0.5], [0.505, 0.5], [0.5, 0.505], [0.98, 0.5]])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    write_beside(axes, points, ["blues", "classical", "country", "metal"])
    boxes: list[Any] = [text.get_window_extent().get_points() for text in axes.texts]
    assert all(overlap(one, other) < 10 for number, one in enumerate(boxes) for other in boxes[:number])
    assert axes.texts[-1].get_ha() == "right"  # at the right edge there is no room


def test_a_word_in_a_label_is_not_a_mark() -> None:
    frame = PROTOCOLS.replace({"split": {"row": "row-LEAKS"}})
    figure = protocols(CAPTION, frame, ["track", "row-LEAKS"])
    assert "row-LEAKS" in texts(figure)
    assert figure.marks == ()
    assert "LEAKS" not in texts(figure)


def test_long_names_of_panels_are_broken_into_lines() -> None:
    name = "one network of many, 10 s, somewhere, misaligned-LEAKS"
    shown = texts(reliability(CAPTION, {f"{name} {number}": BINS for number in range(8)}))
    assert max(map(len, shown)) < 30
    assert sum(text.startswith("one network of many") for text in shown) == 8


@pytest.mark.parametrize("name", ["_a", "$\\frac", "x" * 3000, "a\nb", "\x00\x07", "</svg><script>", "\ufffe"])
def test_any_name_of_a_genre_is_drawn_as_text(name: str) -> None:
    genres = [name, "other"]
    for figure in (
        genre_tree(Caption("tree", "t"), np.array([[3, 1], [2, 4]]), genres),
        timeline(Caption("line", "t"), [0.0, 1.0], [1.0, 2.0], np.full((2, 2), 0.5), genres, name),
    ):
        assert ElementTree.fromstring(figure.svg).tag.endswith("svg")
        assert "<script" not in figure.svg
        assert "\x00" not in figure.svg


def test_a_number_of_a_matrix_is_bold_where_its_interval_leaves_out_zero() -> None:
    svg = heat(CAPTION, HEAT, ["tempo", ODD, "sum"], ["all", ODD], "points").svg
    assert re.findall(r"<text[^>]*font-weight: 700[^>]*>([^<]*)<", svg) == ["12.0"]
