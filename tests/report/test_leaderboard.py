"""Cells are compared on tracks that both tested, and by folds only if the folds are of one division."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.metrics.comparison import corrected_t_test
from genregrid.report.cell import Cell, read_grid
from genregrid.report.comparison import comparison, paired
from genregrid.report.leaderboard import chosen, leaderboard
from genregrid.report.paper import certainty_table, table1
from genregrid.report.rows import honest_cells


def only_pair(cells: list[Cell]) -> dict[str, object]:
    table = comparison(cells)
    assert table is not None
    (pair,) = table.frame.to_dict(orient="records")
    return pair


def test_a_difference_is_computed_on_the_same_tracks_and_seeds(make_grid: Callable[..., Path]) -> None:
    cells, _ = read_grid(make_grid({"model": "a"}, {"model": "b", "skill": 0.5}))
    pair = only_pair(cells)
    first, second = (cell.predictions.set_index(["track", "seed"]) for cell in cells)
    right = pd.concat([one["genre"] == one["predicted"] for one in (first, second)], axis=1)
    assert pair["difference"] == pytest.approx(right[0].mean() - right[1].mean())
    assert pair["only_first"] == (right[0] & ~right[1]).sum()
    assert pair["difference_low"] < pair["difference"] < pair["difference_high"]
    assert not pair["exact"]  # a track has predictions of two seeds


def test_the_t_test_uses_the_shares_of_the_folds_division(make_grid: Callable[..., Path]) -> None:
    cells, _ = read_grid(make_grid({"model": "a"}, {"model": "b", "skill": 0.5}))
    runs = [cell.runs.set_index(["fold", "seed"])["accuracy"] for cell in cells]
    expected = corrected_t_test((runs[0] - runs[1]).to_numpy(), 1 / 2 * 3 / 4, 1 / 2)
    pair = only_pair(cells)
    assert pair["t_p"] == pytest.approx(expected.p_value, rel=1e-4)
    assert pair["t_difference"] == pytest.approx(expected.mean, abs=1e-6)


def test_two_folds_have_no_interval_of_hundreds_of_points(make_grid: Callable[..., Path]) -> None:
    cells, _ = read_grid(make_grid({"model": "a"}, {"model": "b", "skill": 0.5}, seeds=1))
    pair = only_pair(cells)
    assert np.isfinite([pair["t_difference"], pair["t_p"]]).all()
    assert np.isnan([pair["t_difference_low"], pair["t_difference_high"]]).all()
    assert pair["t_difference_why"] == "2 folds"


def test_seeds_of_a_fit_are_no_further_runs_of_the_t_test(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for model, skill in (("a", 1.0), ("b", 0.5)):
        for fold in range(3):
            for seed in range(2):
                run = make_run(f"grid/{model}{fold}{seed}", model=model, fold=fold, folds=3, seed=seed, skill=skill)
                facts = json.loads((run / "run.json").read_text())
                (run / "run.json").write_text(json.dumps(facts | {"split_seed": 0}))
    cells, _ = read_grid(tmp_path / "grid")
    runs = [cell.runs.groupby("fold")["accuracy"].mean() for cell in cells]
    expected = corrected_t_test(runs[0] - runs[1], 2 / 3 * 3 / 4, 1 / 3)
    pair = only_pair(cells)
    assert pair["t_p"] == pytest.approx(expected.p_value, rel=1e-4)
    assert -1 <= pair["t_difference_low"] == pytest.approx(max(-1, expected.low), abs=1e-5)


def test_folds_that_agree_have_no_p(make_grid: Callable[..., Path], change_run: Callable[..., None]) -> None:
    grid = make_grid({"model": "a", "skill": 9.0}, {"model": "b", "skill": 9.0}, seeds=1)
    for number, wrong in ((0, 0), (1, 6)):  # 6 of 18 tracks in each of two folds
        for fold in range(2):
            change_run(grid / f"{number}-{fold}-0", partial(_with_mistakes, num=wrong))
    pair = only_pair(read_grid(grid)[0])
    assert pair["t_difference"] == pytest.approx(1 / 3)
    assert np.isnan([pair["t_p"], pair["t_difference_low"], pair["t_difference_high"]]).all()


def _with_mistakes(frame: pd.DataFrame, num: int) -> pd.DataFrame:
    genres = sorted(set(frame["genre"]))
    other = frame["genre"].map(dict(zip(genres, [*genres[1:], genres[0]], strict=True)))
    return frame.assign(predicted=np.where(np.arange(len(frame)) < num, other, frame["genre"]))


@pytest.mark.parametrize("other", [{"folds": 3}, {"fold": 1}])
def test_folds_of_two_divisions_or_a_single_fold_are_not_compared(
    make_run: Callable[..., Path], tmp_path: Path, other: dict[str, int]
) -> None:
    for seed in (0, 1):
        for fold in (0, 1) if "folds" in other else (1,):
            make_run(f"grid/a{seed}{fold}", model="a", seed=seed, fold=fold)
            make_run(f"grid/b{seed}{fold}", **{"model": "b", "seed": seed, "fold": fold, "skill": 0.5, **other})
    pair = only_pair(read_grid(tmp_path / "grid")[0])
    assert np.isnan([pair["t_p"], pair["t_difference"]]).all()
    assert pair["tracks"] > 0


def test_tracks_that_one_of_two_cells_keeps_together_are_resampled_together(make_grid: Callable[..., Path]) -> None:
    grid = make_grid({"model": "a"}, {"model": "b"}, seeds=1)
    for path in grid.glob("1-*/split.csv"):
        frame = pd.read_csv(path)
        frame.assign(group=frame.index // 9).to_csv(path, index=False)
    cells, _ = read_grid(grid)
    _, cluster = paired(cells[0], cells[1])
    assert len(np.unique(cluster)) == 4
    _, cluster = paired(cells[1], cells[0])
    assert len(np.unique(cluster)) == 4


def test_honest_cells_have_no_leaks_and_keep_the_order_of_corpora(make_grid: Callable[..., Path]) -> None:
    grid = make_grid(
        {"dataset": "a", "skill": 0.2},
        {"dataset": "a", "split": "artist", "skill": 1.0},
        {"dataset": "a", "split": "row-LEAKS", "skill": 9.0},
        {"dataset": "b", "skill": 3.0},
    )
    cells, _ = read_grid(grid)
    assert [(cell.dataset, cell.split) for cell in honest_cells(cells)] == [("a", "artist"), ("b", "track")]


def test_every_score_of_the_leaderboard_has_an_interval(make_grid: Callable[..., Path]) -> None:
    frame = leaderboard(read_grid(make_grid({"model": "a", "skill": 1.0}))[0]).frame
    for name in ("accuracy", "top3", "f1_macro"):
        assert frame[f"{name}_low"][0] < frame[name][0] <= frame[f"{name}_high"][0]


def test_a_genre_of_two_artists_has_their_number_instead_of_an_interval(make_grid: Callable[..., Path]) -> None:
    cells, _ = read_grid(make_grid({"split": "artist", "tracks": 4, "skill": 0.5}))
    frame = table1(cells, None, "table1", "here").frame.set_index(["metric", "genre"])
    name = cells[0].label
    for score in ("precision", "recall", "f1"):
        assert frame.loc[(score, "jazz"), [f"{name}_low", f"{name}_high"]].isna().all()
        assert frame.loc[(score, "jazz"), f"{name}_why"] == "2 artists"
    assert frame.loc[("accuracy", "all"), f"{name}_low"] > 0  # of six artists
    certainty = certainty_table(cells, None)
    assert all("(2 artists)" in cell for row in certainty.cells for cell in row[-2:])


def test_the_row_with_the_best_validation_accuracy_is_chosen_and_not_that_of_the_best_test_accuracy(
    make_grid: Callable[..., Path],
) -> None:
    grid = make_grid({"model": "a", "skill": 3.0}, {"model": "b", "skill": 1.5}, {"model": "c", "skill": 0.0})
    for path in grid.glob("0-*/predictions_val.csv"):  # the best on test is the worst on validation
        frame = pd.read_csv(path)
        shuffled = frame.assign(genre=np.roll(frame["genre"], 3))
        path.write_text(shuffled.to_csv(index=False))
        split = pd.read_csv(path.with_name("split.csv")).set_index("track")
        split.loc[shuffled["track"], "genre"] = shuffled["genre"].to_numpy()
        split.reset_index().to_csv(path.with_name("split.csv"), index=False)
    cells, _ = read_grid(grid)
    table = leaderboard(cells)
    assert table.frame["model"].tolist() == ["a", "b", "c"]
    assert table.frame["chosen"].tolist() == ["", "yes", ""]
    right = cells[1].validation["genre"] == cells[1].validation["predicted"]
    assert table.frame["validation"][1] == pytest.approx(right.mean())  # all runs validate as many tracks
    assert [cell.model for cell in chosen(cells)] == ["b"]


@pytest.mark.parametrize(
    "cells", [[{"model": "a"}], [{"model": "a"}, {"model": "a", "split": "artist"}], [{"split": "row-LEAKS"}] * 2]
)
def test_nothing_is_chosen_without_two_rows_of_an_honest_protocol(
    make_grid: Callable[..., Path], cells: list[dict[str, str]]
) -> None:
    different = [{**cell, "settings": {"number": number}} for number, cell in enumerate(cells)]
    table = leaderboard(read_grid(make_grid(*different, seeds=1))[0])
    assert not (table.frame["chosen"] == "yes").any()
    assert "chosen" not in [column.name for column in table.columns]


def test_a_row_without_validation_or_with_fewer_folds_is_no_candidate(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    for model, skill, folds in (("a", 1.0, 2), ("b", 2.0, 2), ("c", 3.0, 1), ("d", 4.0, 2)):
        for fold in range(folds):
            folder = make_run(f"grid/{model}{fold}", model=model, skill=skill, fold=fold)
    (folder / "predictions_val.csv").unlink()
    assert [cell.model for cell in chosen(read_grid(tmp_path / "grid")[0])] == ["b"]
