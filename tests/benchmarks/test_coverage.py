"""`benchmarks/coverage.py`, which simulates the intervals and tests of a report."""

from functools import partial

import numpy as np
import pytest
from benchmarks.coverage import Design, Tally, designs, print_tables, replicate, run, share, truth_of

from benchmarks import coverage


def test_designs_have_the_artists_of_the_corpus_in_one_fold_only() -> None:
    by_name = {design.name: design for design in designs(None, None)}
    artists = by_name["artists"]
    assert len(np.unique(artists.group[artists.genre == 0])) == 9
    for group in np.unique(artists.group):
        assert len(np.unique(artists.fold[artists.group == group])) == 1
    filtered = by_name["filtered"]
    tested = filtered.is_tested
    assert (tested.sum(), len(np.unique(filtered.group[tested & (filtered.genre == 0)]))) == (290, 3)
    assert not set(filtered.group[tested]) & set(filtered.group[~tested])


def test_a_replicate_compares_every_table_of_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "POPULATION", 360)
    monkeypatch.setattr(coverage, "true_rho", lambda: 0.7)
    track = np.arange(120)
    design = Design("small", track % 10, track // 2, track // 10 % 3, tested=(0, 1, 2), folds=3)
    tally = run((partial(replicate, design, truth_of(design)), range(1)))
    names = {name for _, name in tally.held}
    assert {"accuracy", "macro F1", "recall of blues", "NLL, rescaled", "AUGRC", "coverage of sets, LAC"} <= names
    assert {"difference of two models", "difference by folds", "accuracy, trained anew"} <= names
    assert all(len(outcomes) == 1 for outcomes in tally.held.values())
    assert {name for _, name in tally.alarm} >= {"McNemar's test, clustered", "corrected t-test"}


def test_the_last_lines_are_the_lowest_coverage_and_the_highest_share_of_false_alarms(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tally = Tally(replicates=40)
    tally.held["a", "accuracy"] = [True] * 38 + [False] * 2
    tally.held["a", "recall of blues"] = [True] * 40
    tally.held["a", "recall of jazz"] = [True] * 9 + [False]  # printed in a quarter of the replicates
    tally.held["a", "recall of rock"] = [False]  # too rarely to count
    tally.alarm["a", "a test"] = [True] + [False] * 39
    print_tables(tally, ["a", "b"], 40)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == ["min_coverage: 90.0", "max_false_alarms: 2.5"]
    assert "| accuracy | 95.0 ± 3.4 | none |" in lines
    assert "| recall of a genre | 98.0 ± 2.0 (90.0 jazz), printed in 42 % | none |" in lines


def test_a_share_without_failures_still_has_an_error() -> None:
    assert share([True] * 100) == pytest.approx((100.0, 0.995), abs=0.001)
