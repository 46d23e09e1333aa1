"""Temperatures and conformal thresholds are fitted on validation tracks only, run by run."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from genregrid.metrics.calibration import fit_temperature
from genregrid.published.reference import read_reference
from genregrid.report.cell import Cell, genre_numbers, log_probs_of, read_grid
from genregrid.report.paper import certainty_table, correlation_table, table1
from genregrid.report.trust import calibration_table, conformal_table, tempered

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
