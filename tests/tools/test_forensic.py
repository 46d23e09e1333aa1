"""`tools/forensic.py` finds all whole numbers that rounded scores were computed from, and no others."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from fractions import Fraction
from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from tools.forensic import (
    Counts,
    class_counts,
    contradictions,
    largest_p_value,
    main,
    misfits,
    misprints,
    odds,
    read_table,
    report,
)

from genregrid.published.reference import read_reference

LSTM = [("lstm", 3), ("lstm", 6), ("lstm", 9)]
TRACKS = {
    "blues": 15,
    "classical": 23,
    "country": 18,
    "disco": 20,
    "hiphop": 13,
    "jazz": 23,
    "metal": 30,
    "pop": 20,
    "reggae": 19,
    "rock": 19,
}


@pytest.fixture(scope="module")
def paper() -> pd.DataFrame:
    return read_reference().table


def table_of(*confusions: NDArray[np.int64]) -> pd.DataFrame:
    """Scores of (true genre, predicted genre) counts, one column each, by scikit-learn, in hundredths."""
    rows: list[tuple[str, float, str, str, float]] = []
    for seconds, confusion in enumerate(confusions, start=1):
        genres = list("abcdef"[: len(confusion)])
        pairs = [pair for pair in product(genres, genres) for _ in range(confusion[tuple(map(genres.index, pair))])]
        true, predicted = zip(*pairs, strict=True)
        rows.append(("m", seconds, "accuracy", "all", accuracy_score(true, predicted)))
        scores = precision_recall_fscore_support(true, predicted, labels=genres, zero_division=0)
        for metric, values in zip(("precision", "recall", "f1"), scores, strict=False):
            rows += [("m", seconds, metric, genre, value) for genre, value in zip(genres, values, strict=True)]
    table = pd.DataFrame(rows, columns=["model", "slice_seconds", "metric", "genre", "value"])
    return table.assign(value=table["value"].round(2))


def columns_of(table: pd.DataFrame) -> list[tuple[str, float]]:
    return list(table[["model", "slice_seconds"]].drop_duplicates().itertuples(index=False, name=None))


# --- the paper's table --------------------------------------------------------------------------------------------


def test_papers_lstm_columns_fit_one_test_set_of_200_tracks(paper: pd.DataFrame) -> None:
    counts = class_counts(paper, LSTM, limit=300)
    assert counts.smallest_total == 200
    assert counts.solutions.to_numpy().tolist() == [[200, 185, 151, 146, 1]]
    numbers = counts.numbers.set_index(["slice_seconds", "genre"])
    for seconds, right in ((3, 185), (6, 151), (9, 146)):
        assert numbers.loc[seconds, "tracks"].to_dict() == TRACKS
        assert numbers.loc[seconds, "hits"].sum() == right
        assert numbers.loc[seconds, "predictions"].sum() == 200
    assert numbers.loc[3, "hits"].tolist() == [15, 23, 14, 19, 12, 22, 29, 15, 17, 19]


def test_papers_scores_follow_from_the_counts_but_for_one(paper: pd.DataFrame) -> None:
    found = misprints(paper, class_counts(paper, LSTM, limit=200))
    assert found.drop(columns="counted").to_numpy().tolist() == [["lstm", 3, "blues", "precision", 83]]
    assert found["counted"].item() == pytest.approx(100 * 15 / 17)


def test_papers_precision_of_blues_needs_one_prediction_too_many(paper: pd.DataFrame) -> None:
    numbers = class_counts(paper, LSTM, limit=200).numbers
    others = numbers[(numbers["slice_seconds"] == 3) & (numbers["genre"] != "blues")]["predictions"].sum()
    of_fifteen = [predictions for predictions in range(15, 200) if round(1500 / predictions) == 83]
    assert [predictions + others for predictions in of_fifteen] == [201]


def test_paper_as_printed_contradicts_itself_in_one_cell(paper: pd.DataFrame) -> None:
    found = contradictions(paper)
    assert found[["model", "slice_seconds", "genre", "f1"]].to_numpy().tolist() == [["lstm", 3, "blues", 94]]
    assert found["lowest"].item() == pytest.approx(2 * 82.5 * 99.5 / 182)
    assert found["highest"].item() == pytest.approx(2 * 83.5 * 100 / 183.5)
    assert class_counts(paper, LSTM, limit=300, as_printed=True).solutions.empty


def test_columns_without_the_contradiction_give_the_same_test_set(paper: pd.DataFrame) -> None:
    counts = class_counts(paper, LSTM[1:], limit=250, as_printed=True)
    assert counts.numbers.drop_duplicates("genre").set_index("genre")["tracks"].to_dict() == TRACKS


def test_papers_mlp_was_not_scored_on_that_test_set(paper: pd.DataFrame) -> None:
    counts = class_counts(paper, LSTM, limit=200)
    assert set(misfits(paper, ("mlp", 30), counts)) == set(TRACKS) - {"country", "hiphop"}
    assert misfits(paper, LSTM[0], counts) == []
    alone = class_counts(paper, [("mlp", 30)], limit=300)
    assert alone.smallest_total == 298
    assert alone.solutions.empty


# --- tables of our own --------------------------------------------------------------------------------------------


def test_numbers_of_a_made_up_confusion_table_are_recovered() -> None:
    first = np.array([[13, 2, 1], [3, 15, 1], [0, 4, 19]])
    second = np.array([[9, 5, 2], [1, 17, 1], [2, 0, 21]])
    table = table_of(first, second)
    counts = class_counts(table, columns_of(table), limit=70)
    numbers = counts.numbers.set_index(["slice_seconds", "genre"])
    for seconds, confusion in ((1, first), (2, second)):
        assert numbers.loc[seconds, "tracks"].tolist() == confusion.sum(axis=1).tolist()
        assert numbers.loc[seconds, "hits"].tolist() == confusion.diagonal().tolist()
        assert numbers.loc[seconds, "predictions"].tolist() == confusion.sum(axis=0).tolist()
    assert misprints(table, counts).empty


@pytest.mark.slow
@given(counts=st.lists(st.integers(0, 5), min_size=9, max_size=9))
def test_the_true_numbers_are_always_found(counts: list[int]) -> None:
    confusion = np.array(counts).reshape(3, 3) + np.diag([1, 1, 1])
    table = table_of(confusion)
    assert contradictions(table).empty
    found = class_counts(table, columns_of(table), limit=int(confusion.sum())).solutions
    assert [confusion.sum(), confusion.trace()] in found[["tracks", "hits 1"]].to_numpy().tolist()


def prints(part: int, whole: int, percent: int) -> bool:
    """Whether part / whole may be printed as `percent`: an independent, slow implementation."""
    return percent == 0 if whole == 0 else abs(Fraction(100 * part, whole) - percent) <= Fraction(1, 2)


@pytest.mark.slow
@given(confusion=st.lists(st.integers(0, 4), min_size=4, max_size=4))
def test_ways_equal_those_of_trying_every_number(confusion: list[int]) -> None:
    limit = 12
    table = table_of(np.array(confusion).reshape(2, 2) + np.diag([1, 1]))
    percent = {(metric, genre): round(100 * value) for _, _, metric, genre, value in table.itertuples(index=False)}
    fitting = [
        [
            (tracks, hits, called)
            for tracks, hits, called in product(range(1, limit), range(limit), range(limit + 1))
            if hits <= min(tracks, called)
            and prints(hits, called, percent["precision", genre])
            and prints(hits, tracks, percent["recall", genre])
            and prints(2 * hits, tracks + called, percent["f1", genre])
        ]
        for genre in "ab"
    ]
    sums = [np.add(one, other) for one, other in product(*fitting)]
    fits = [
        tracks
        for tracks, hits, called in sums
        if tracks == called <= limit and prints(hits, tracks, percent["accuracy", "all"])
    ]
    assert class_counts(table, columns_of(table), limit=limit).solutions["ways"].sum() == len(fits)


@pytest.mark.parametrize("percent", [12, 13])
def test_an_exact_half_may_have_been_rounded_up_or_down(percent: int) -> None:
    table = table_of(np.array([[1, 7], [7, 1]])).replace(0.12, percent / 100)
    found = class_counts(table, columns_of(table), limit=16).solutions
    assert [16, 2] in found[["tracks", "hits 1"]].to_numpy().tolist()


def test_an_impossible_table_has_no_solution() -> None:
    table = table_of(np.array([[13, 2, 1], [3, 15, 1], [0, 4, 19]]))
    wrong = table.assign(value=table["value"].mask(table["metric"] == "accuracy", 0.5))
    assert class_counts(wrong, columns_of(table), limit=100).solutions.empty
    assert "no whole numbers give these scores" in report(wrong, limit=100)


def test_too_many_numbers_are_reported_and_not_listed(
    monkeypatch: pytest.MonkeyPatch, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    monkeypatch.setattr("tools.forensic._MOST_SUMS", 5)
    table = table_of(np.array([[9, 5, 2], [1, 17, 1], [2, 0, 21]]))
    with user_error("--limit", 100, hint="fewer than 100 tracks"):
        class_counts(table, columns_of(table), limit=100)
    assert "too many numbers fit" in report(table, limit=100)


def test_odds_are_the_binomial_tail() -> None:
    by_hand = sum(comb(200, hits) * 3 ** (hits) for hits in range(185, 201)) / 4**200
    assert odds(185, 200, 0.75) == pytest.approx(by_hand, rel=1e-9)
    assert odds(185, 200, 0.75) == pytest.approx(1 - binom.cdf(184, 200, 0.75), abs=1e-15)
    assert odds(185, 200, 0.75) == pytest.approx(1.4e-10, rel=0.02)
    assert odds(0, 10, 0.3) == 1


def test_largest_p_is_that_of_the_worst_compatible_tracks() -> None:
    tracks, first, second = [5, 4], [5, 3], [2, 2]
    column = [("lstm", 3.0), ("lstm", 6.0)]
    rows = [
        (genre, *name, tracks[genre], hits[genre], 0)
        for name, hits in zip(column, (first, second), strict=True)
        for genre in range(2)
    ]
    names = ["genre", "model", "slice_seconds", "tracks", "hits", "predictions"]
    counts = Counts(9, pd.DataFrame(), pd.DataFrame(rows, columns=names))
    # both have 2 of the first genre, and 1 or 2 of the second; with 1 they disagree most
    by_hand = max(binomtest(5, 6).pvalue, binomtest(4, 4).pvalue)
    assert largest_p_value(counts, *column) == (5, 1, pytest.approx(by_hand))


# --- the command --------------------------------------------------------------------------------------------------


def test_command_prints_the_papers_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--limit", "200"]) == 0
    printed = capsys.readouterr().out
    assert "one set of whole numbers" in printed
    assert "right of 200: 3 s 185 = 92.5 %, 6 s 151 = 75.5 %, 9 s 146 = 73.0 %" in printed
    assert "misprint: lstm at 3 s, blues: precision 83 %, but 88.2 % by these numbers" in printed
    assert "185 or more have the probability 1.4e-10" in printed
    assert "3 s against 6 s, 185 and 151 of the same 200 tracks: p is at most 2.4e-05" in printed
    assert "(McNemar; 49 tracks that only the first has right, 15 only the second)" in printed
    assert "mlp at 30 s on the test set of lstm at 3, 6, 9 s: 8 genres do not fit" in printed


def test_command_reads_a_users_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of(np.array([[9, 5, 2], [1, 17, 1], [2, 0, 21]]))
    table.to_csv(tmp_path / "own.csv", index=False)
    pd.testing.assert_frame_equal(read_table(tmp_path / "own.csv"), table, check_dtype=False)
    assert main([str(tmp_path / "own.csv"), "--limit", "60"]) == 0
    assert "right of 58: 1 s 47 = 81.0 %" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (None, "", "cannot be read as a CSV (FileNotFoundError)"),
        ("", "", "cannot be read as a CSV (EmptyDataError)"),
        ("model,genre\nm,a\n", "", "no column slice_seconds, metric, value"),
        ("model,slice_seconds,metric,genre,value\n", "", "no rows"),
        ("model,slice_seconds,metric,genre,value\nm,3,accuracy,all,0.925\n", ", line 2", "such as 0.83"),
        ("model,slice_seconds,metric,genre,value\nm,3,accuracy,all,93\n", ", line 2", "such as 0.83"),
        (
            "model,slice_seconds,metric,genre,value\nm,3,accuracy,all,0.9\nm,3,f1,a,0.9\n",
            "",
            "m at 3 s needs one accuracy",
        ),
    ],
)
def test_wrong_file_is_one_sentence_and_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    place: str,
    problem: str,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    path = tmp_path / "scores.csv"
    if content is not None:
        path.write_text(content)
    assert main([str(path)]) == 2
    with user_error(f"{path}{place}", problem=problem):
        read_table(path)
    printed = capsys.readouterr()
    assert printed.err.startswith(str(path))
    assert printed.err.count("\n") == 1
    assert not printed.out


def test_limit_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--limit", "0"]) == 2
    assert capsys.readouterr().err == "--limit=0: a test set has 1 track or more.\n"
