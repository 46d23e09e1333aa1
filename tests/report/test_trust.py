"""Temperatures and conformal thresholds are fitted on validation tracks only, run by run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import spearmanr

from genregrid.metrics.calibration import fit_temperature
from genregrid.metrics.conformal import conformal_sets
from genregrid.metrics.interval import Estimate
from genregrid.metrics.retrained import retrained
from genregrid.published.reference import read_reference
from genregrid.report.cell import Cell, genre_numbers, log_probs_of, read_grid
from genregrid.report.paper import certainty_table, correlation_table, table1
from genregrid.report.trust import calibration_table, calibrations, conformal_table, tempered, training_table

GENRES = ["blues", "classical", "country", "disco", "hiphop"]
CELL = {"model": "mlp", "slice_seconds": 30.0, "genres": GENRES, "skill": 1.5, "tracks": 40}


@pytest.fixture
def cell(make_grid: Callable[..., Path]) -> Cell:
    return read_grid(make_grid(CELL))[0][0]


def test_each_run_has_the_temperature_of_its_own_validation_tracks(cell: Cell) -> None:
    temperatures, rescaled = tempered(cell)
    for run, folder in enumerate(cell.runs["folder"]):
        frame = pd.read_csv(folder / "predictions_val.csv")
        expected = fit_temperature(log_probs_of(frame), genre_numbers(frame, GENRES))
        assert temperatures[run] == pytest.approx(expected)
        rows = (cell.predictions["run"] == run).to_numpy()
        ratio = cell.log_probs[rows][:, 0] - cell.log_probs[rows][:, 1]
        assert rescaled[rows][:, 0] - rescaled[rows][:, 1] == pytest.approx(ratio / expected)
    assert len(set(temperatures)) == 4
    assert np.exp(rescaled).sum(axis=1) == pytest.approx(1)


def test_test_tracks_do_not_change_a_temperature(cell: Cell, change_run: Callable[..., None]) -> None:
    folder = cell.runs["folder"][0]
    change_run(folder, lambda frame: frame.assign(genre=np.roll(frame["genre"], 7)))
    again = read_grid(folder.parent)[0][0]
    assert not (again.correct == cell.correct).all()
    assert tempered(again)[0].tolist() == tempered(cell)[0].tolist()


def test_a_cell_with_a_run_without_validation_has_no_rescaled_rows_and_sets(cell: Cell) -> None:
    (cell.runs["folder"][1] / "predictions_val.csv").unlink()
    again = read_grid(cell.runs["folder"][1].parent)[0]
    assert calibration_table(again).frame["probabilities"].tolist() == ["as trained"]
    assert conformal_table(again).frame.empty


def alone(grid: Path) -> Path:
    """Make every track a group of its own, so that folds share none."""
    for path in grid.glob("*/split.csv"):
        frame = pd.read_csv(path)
        frame.assign(group=frame.index).to_csv(path, index=False)
    return grid


def test_sets_of_a_fold_are_calibrated_on_the_test_tracks_of_its_other_folds_and_same_seed(
    make_grid: Callable[..., Path],
) -> None:
    (cell,), _ = read_grid(alone(make_grid({**CELL, "tracks": 20}, folds=3)))
    frame = cell.predictions
    for run, log_probs, genre, source in calibrations(cell):
        fold, seed = cell.runs.loc[run, ["fold", "seed"]]
        rows = ((frame["fold"] != fold) & (frame["seed"] == seed)).to_numpy()
        assert (log_probs == cell.log_probs[rows]).all()
        assert (genre == cell.genre[rows]).all()
        assert source == "other folds"
        assert not set(frame["track"][rows]) & set(frame["track"][frame["run"] == run])
    table = conformal_table([cell]).frame
    assert set(table["calibrated_on"]) == {"other folds"}
    sizes = [
        conformal_sets(log_probs, genre, cell.log_probs[(frame["run"] == run).to_numpy()]).sum()
        for run, log_probs, genre, _ in calibrations(cell)
    ]
    assert table["size"][0] == pytest.approx(sum(sizes) / len(frame))


def test_a_track_calibrates_no_set_of_its_own_group(make_grid: Callable[..., Path]) -> None:
    grid = alone(make_grid(CELL, seeds=1))
    for path in grid.glob("*/split.csv"):  # the last two tracks, one of each fold, are one sound
        frame = pd.read_csv(path)
        frame.loc[frame.index[-1], "group"] = frame["group"].iloc[-2]
        frame.to_csv(path, index=False)
    (cell,), _ = read_grid(grid)
    for one in calibrations(cell):
        assert len(one.genre) == (cell.predictions["run"] != one.run).sum() - 1


def test_a_run_of_one_fold_is_calibrated_on_its_validation_tracks(make_run: Callable[..., Path]) -> None:
    (cell,), _ = read_grid(make_run("grid/a", **CELL).parent)
    (one,) = calibrations(cell)
    assert (one.source, len(one.genre)) == ("validation", len(cell.validation))
    assert set(conformal_table([cell]).frame["calibrated_on"]) == {"validation"}


def test_sets_of_pooled_folds_keep_their_promise_where_validation_chose_the_epoch() -> None:
    """A run keeps the best of ten epochs by its 60 validation tracks; its test predictions are those of any epoch."""
    random = np.random.default_rng(0)

    def predictions(num: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        logits, genre = 2 * random.normal(size=(num, 5)), random.integers(5, size=num)
        logits[np.arange(num), genre] += 2
        return log_softmax(logits, axis=1), genre

    held: dict[str, list[float]] = {"validation": [], "other folds": []}
    for _ in range(60):
        folds = [predictions(60) for _ in range(5)]
        for number, (log_probs, genre) in enumerate(folds):
            epochs = [predictions(60) for _ in range(10)]
            chosen = max(epochs, key=lambda epoch: epoch[0][np.arange(60), epoch[1]].sum())
            others = [np.concatenate(parts) for parts in zip(*(folds[:number] + folds[number + 1 :]), strict=True)]
            for name, (known, true) in {"validation": chosen, "other folds": others}.items():
                held[name].append(conformal_sets(known, true, log_probs)[np.arange(60), genre].mean())
    assert np.mean(held["other folds"]) == pytest.approx(0.9, abs=0.01)
    assert np.mean(held["validation"]) < 0.885


def test_a_method_has_an_interval_of_its_own_from_three_folds_on(make_grid: Callable[..., Path]) -> None:
    (cell,), _ = read_grid(alone(make_grid(CELL, folds=3)))
    (row,) = training_table([cell]).frame.to_dict(orient="records")
    assert (row["folds"], row["runs"]) == (3, 6)
    assert row["retrained"] == row["trained"] == pytest.approx(cell.correct.mean())
    assert row["retrained_low"] <= row["trained_low"] < row["trained_high"] <= row["retrained_high"]
    division = cell.predictions["seed"]  # every seed divides anew
    trained = Estimate(row["trained"], row["trained_low"], row["trained_high"])
    expected = retrained(cell.correct, cell.predictions["fold"], division, trained)
    assert (row["retrained_low"], row["retrained_high"]) == (expected.low, expected.high)


def test_folds_that_share_tracks_are_no_sample_of_trainings(make_grid: Callable[..., Path]) -> None:
    grid = alone(make_grid(CELL, folds=3, seeds=1))
    for number in (1, 2):  # like checkpoints of all folds that are scored on one test part
        copy = grid / f"0-{number}-0"
        shutil.rmtree(copy)
        shutil.copytree(grid / "0-0-0", copy)
        facts = json.loads((copy / "run.json").read_text())
        (copy / "run.json").write_text(json.dumps(facts | {"fold": number}))
    (row,) = training_table(read_grid(grid)[0]).frame.to_dict(orient="records")
    assert row["retrained_why"] == "folds share tracks"


def test_rho_is_that_of_scipy_for_the_values_of_the_table(cell: Cell) -> None:
    table = certainty_table([cell], None).frame
    rho, printed = correlation_table([cell], read_reference()).frame.to_dict(orient="records")
    assert rho["rho"] == pytest.approx(spearmanr(table["certainty"], table["recall"]).statistic)
    assert -1 <= rho["rho_low"] < rho["rho"] < rho["rho_high"] <= 1
    assert printed["rho"] == pytest.approx(0.806, abs=0.001)
    # Bonett and Wright by hand: atanh 0.806 = 1.1156, half width 1.96 sqrt((1 + 0.325) / 7) = 0.853
    assert [printed["rho_low"], printed["rho_high"]] == pytest.approx(
        np.tanh([1.1156 - 0.853, 1.1156 + 0.853]), abs=0.002
    )


def test_the_papers_certainties_are_beside_its_own_model_only(make_grid: Callable[..., Path]) -> None:
    cells, _ = read_grid(make_grid(CELL, {**CELL, "model": "lstm"}))
    table = certainty_table(cells, read_reference()).frame.set_index(["model", "genre"])
    assert table.loc[("mlp 30 s", "classical"), "certainty_paper"] == 9.70
    assert table.loc["lstm 30 s", "certainty_paper"].isna().all()


def test_columns_have_the_papers_order_and_a_warning_about_another_corpus(make_grid: Callable[..., Path]) -> None:
    grid = make_grid({**CELL, "slice_seconds": 9.0, "model": "lstm"}, CELL)
    cells, _ = read_grid(grid)
    table = table1(cells, read_reference(), "table1", "drawn")
    assert "values are for gtzan" not in table.note  # the corpus of the drawn runs is gtzan
    assert [column.title for column in table.columns][:4] == ["score", "genre", cells[0].label, "paper"]
    for path in grid.glob("*/config.yaml"):
        path.write_text(path.read_text().replace("corpus: gtzan", "corpus: mine"))
    assert "values are for gtzan" in table1(read_grid(grid)[0], read_reference(), "table1", "drawn").note
