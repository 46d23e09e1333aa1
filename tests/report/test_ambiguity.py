"""Confusions, agreement and known problems of tracks, on cases small enough to count by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from genregrid.published.reference import read_reference
from genregrid.report.ambiguity import (
    agreement,
    agreement_table,
    confusion,
    counts_table,
    extremes_table,
    named_table,
)
from genregrid.report.cell import Cell, read_grid
from genregrid.report.doubt import doubts_of


@pytest.fixture
def cell(make_run: Callable[..., Path], change_run: Callable[..., None]) -> Cell:
    """Two seeds of one fold, right but for four tracks."""
    for seed, predicted in (
        (0, {"blues.00000": "jazz", "jazz.00000": "rock", "rock.00002": "blues"}),
        (1, {"blues.00000": "jazz", "jazz.00000": "blues", "rock.00004": "blues"}),
    ):
        other = pd.Series(predicted)
        change_run(
            make_run(f"grid/{seed}", seed=seed, skill=30.0),
            lambda frame, other=other: frame.assign(predicted=frame["track"].map(other).fillna(frame["predicted"])),
        )
    (cell,), _ = read_grid(make_run("other/0").parents[1] / "grid")
    return cell


def test_agreement_counts_predictions_by_track(cell: Cell) -> None:
    table = agreement([cell]).set_index("track")
    assert (table["num"] == 2).all()
    assert table.index[:2].tolist() == ["blues.00000", "jazz.00000"]  # never right, unanimous first
    assert table.loc["blues.00000", ["right", "said", "said_share"]].tolist() == [0, "jazz", 1]
    assert table.loc["jazz.00000", ["right", "said", "said_share"]].tolist() == [0, "blues", 0.5]
    assert table.loc["rock.00002", "right"] == 0.5
    assert (table["right"] == 1).sum() == 14


def test_the_note_counts_tracks_that_no_model_gets_right(cell: Cell) -> None:
    note = agreement_table([cell], "agreement", {}).note
    assert note == "2 of 18 tracks are never predicted as their label, by one cell."


def test_confusions_are_true_by_predicted(cell: Cell) -> None:
    assert confusion(cell).tolist() == [[10, 2, 0], [1, 10, 1], [2, 0, 10]]


def test_the_most_certain_mistakes_and_the_least_certain_hits_come_first(cell: Cell) -> None:
    table = extremes_table([cell], {}).frame
    mistakes = table[table["kind"] == "sure mistake"]
    assert (mistakes["genre"] != mistakes["predicted"]).all()
    assert mistakes["certainty"].is_monotonic_decreasing
    hits = table[table["kind"] == "unsure hit"]
    assert (hits["genre"] == hits["predicted"]).all()
    assert hits["certainty"].is_monotonic_increasing


def test_doubts_are_double_labels_tracks_that_lists_leave_out_and_published_faults(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_run("grid/a", genres=["pop", "reggae", "rock"], tracks=40, fold=1)
    split = pd.read_csv(folder / "split.csv")
    split.loc[split["track"].isin(["pop.00003", "rock.00005"]), "group"] = 999
    split.to_csv(folder / "split.csv", index=False)
    listed = [track for track in split["track"] if track != "reggae.00007"]
    (tmp_path / "train.txt").write_text("\n".join(f"{track.split('.')[0]}/{track}.wav" for track in listed))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["dataset"] |= {"root": str(tmp_path), "filtered": {"train": "train.txt"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (cell,), _ = read_grid(folder.parent)
    doubts = doubts_of([cell])
    texts = {track: [doubt.text for doubt in own] for track, own in doubts.items()}
    assert texts["pop.00003"] == ["the same sound as rock.00005"]
    assert texts["rock.00005"] == ["the same sound as pop.00003"]
    assert texts["reggae.00007"] == ["left out of the published lists"]
    assert texts["pop.00037"] == ["distorted"]
    assert len(doubts) == 4
    note = agreement_table([cell], "agreement", {}).note
    assert "One sound under two labels: " in note
    assert "of 2 tracks never are." in note
    assert "Left out of the published lists: " in note


def test_a_synthetic_twin_has_no_doubts_and_no_named_tracks(make_run: Callable[..., Path]) -> None:
    genres = ["pop", "reggae", "rock"]
    reference = read_reference()
    real, _ = read_grid(make_run("real/a", genres=genres, tracks=100, fold=1).parent)
    twin, _ = read_grid(make_run("twin/a", genres=genres, tracks=100, fold=1, synthetic=True).parent)
    assert doubts_of(twin) == {}
    assert doubts_of(real)
    assert named_table(twin, reference) is None
    table = named_table(real, reference)
    assert table is not None
    assert set(table.frame["track"]) == {"pop.00079", "reggae.00099", "rock.00059"}


def test_a_genre_with_the_name_of_a_column_of_counts_keeps_its_own_column() -> None:
    counts = np.array([[3, 1, 0], [0, 2, 2], [1, 0, 4]])
    table = counts_table(counts, ["rock", "rock_num", "jazz"], "confusion", "Confusion", {})
    shown = [[cell.text for cell in row[2:]] for row in table.parts]
    assert shown == [["75.0", "25.0", "0.0"], ["0.0", "50.0", "50.0"], ["20.0", "0.0", "80.0"]]
    assert [cell.beside for cell in table.parts[0][2:]] == ["(3)", "(1)", "(0)"]
