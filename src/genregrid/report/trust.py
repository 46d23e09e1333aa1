"""How far a model's word can be taken: calibration, sorting right from wrong, and sets that hold the true genre."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.exhibit import figure
from genregrid.exhibit.table import Column, Exhibit, Section, Table
from genregrid.metrics.calibration import (
    brier,
    calibrated_ece,
    calibration_gaps,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    rescale,
)
from genregrid.metrics.conformal import conformal_sets
from genregrid.metrics.interval import Statistic
from genregrid.metrics.selective import accuracy_at_coverage, augrc, auroc, confidences, risk_coverage
from genregrid.report.cell import Cell, genre_numbers, log_probs_of
from genregrid.report.leaderboard import PLACE, best_cells, place

_COVERAGES = (0.5, 0.8, 0.9)
#: Probability with which a conformal set is to hold the true genre.
_LEVEL = 0.9
_MOST_PANELS = 8


def trust_section(cells: Sequence[Cell]) -> Section:
    """Calibration, selective prediction and conformal sets of every cell, with figures of the best of each protocol."""
    best = {cell.title: cell for cell in best_cells(cells)[:_MOST_PANELS]}
    bins = {name: reliability(np.exp(cell.log_probs.max(axis=1)), cell.correct) for name, cell in best.items()}
    curves = {
        name: risk_coverage(cell.predictions["certainty"].to_numpy(), cell.correct)[:2] for name, cell in best.items()
    }
    exhibits: list[Exhibit] = [
        calibration_table(cells),
        figure.reliability("reliability", bins),
        sorting_table(cells),
        figure.risk_coverage("risk_coverage", curves),
        conformal_table(cells),
    ]
    text = (
        "Calibration asks whether a model that says 70 % is right in 70 % of cases. Sorting asks whether it is surer "
        "where it is right, so that doubtful tracks can be left to a listener. A conformal set names as many genres as "
        f"are needed to hold the true one in {100 * _LEVEL:.0f} % of cases, which is promised only where test tracks "
        "and validation tracks are drawn alike, one by one: under artist they are not, as an artist's tracks come "
        "together. Temperatures and thresholds are fitted on each run's validation tracks, by which its epoch was "
        "chosen too, and by which an ensemble is weighed; of a refitted model they are those of the fit before."
    )
    return Section("trust", "How far to trust it", text, tuple(exhibits))


def tempered(cell: Cell) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Temperatures (run,), fitted on validation and NaN where there is none, and rescaled log-probabilities.

    Returns:
        Temperatures, and log-probabilities (prediction, genre), those of a run without temperature as they were.
    """
    temperatures = np.full(len(cell.runs), np.nan)
    log_probs = cell.log_probs.copy()
    for run, frame in _validation_by_run(cell):
        temperatures[run] = fit_temperature(log_probs_of(frame), genre_numbers(frame, cell.genres))
        rows = (cell.predictions["run"] == run).to_numpy()
        log_probs[rows] = rescale(cell.log_probs[rows], temperatures[run])
    return temperatures, log_probs


def _validation_by_run(cell: Cell) -> list[tuple[int, pd.DataFrame]]:
    return [(int(run), frame) for run, frame in cell.validation.groupby("run")] if len(cell.validation) else []


def calibration_table(cells: Sequence[Cell]) -> Table:
    """NLL, Brier score and adaptive ECE of every cell, as trained and with the temperature of validation."""
    rows = []
    for cell in cells:
        temperatures, rescaled = tempered(cell)
        variants = [("as trained", cell.log_probs, np.array([1.0]))]
        variants += [("rescaled", rescaled, temperatures)] if np.isfinite(temperatures).all() else []
        for name, log_probs, used in variants:
            gaps = calibration_gaps(np.exp(log_probs.max(axis=1)), cell.correct)
            row = place(cell) | {"probabilities": name, "num": len(cell.correct), "temperature": np.median(used)}
            row |= cell.bootstrap.mean(negative_log_likelihood(log_probs, cell.genre)).columns("nll")
            row |= cell.bootstrap.mean(brier(log_probs, cell.genre)).columns("brier")
            row |= cell.bootstrap.distance(gaps).columns("ece")
            rows.append(row | {"ece_calibrated": calibrated_ece(np.exp(log_probs.max(axis=1)))})
    columns = (
        *PLACE,
        Column("probabilities", "probabilities"),
        Column("num", "n", "count"),
        Column("temperature", "temperature", "decimal"),
        Column("nll", "NLL, nats", "fine"),
        Column("brier", "Brier", "fine"),
        Column("ece", "ECE %", "percent"),
        Column("ece_calibrated", "if calibrated", "percent"),
    )
    note = (
        "NLL: mean negative log-likelihood of the true genre. Brier: squared error summed over genres, 0 to 2. ECE: "
        "expected calibration error of the largest probability in 15 bins of equal number. It is never 0: the last "
        "column is what a calibrated model would read on as many independent tracks. Temperature: median over runs, "
        "each fitted on its validation tracks; above 1, the model was too sure."
    )
    return Table("calibration", "Calibration", pd.DataFrame(rows), columns, note)


def sorting_table(cells: Sequence[Cell]) -> Table:
    """How well four confidences tell right from wrong, and what is gained by leaving doubtful tracks out."""
    rows = []
    for cell in cells:
        row = place(cell) | {"num": len(cell.correct)}
        known = confidences(cell.log_probs)
        asked: dict[str, Statistic] = {f"auroc_{name}": partial(auroc, known[name], cell.correct) for name in known}
        sure = cell.predictions["certainty"].to_numpy(np.float64)
        asked["augrc"] = partial(augrc, sure, cell.correct)
        for coverage in _COVERAGES:
            asked[f"accuracy_{100 * coverage:.0f}"] = partial(accuracy_at_coverage, sure, cell.correct, coverage)
        for name, estimate in cell.bootstrap.statistics(asked).items():
            row |= estimate.columns(name)
        rows.append(row)
    names = {"certainty": "certainty", "max_probability": "largest p", "margin": "margin", "entropy": "entropy"}
    columns = (
        *PLACE,
        Column("num", "n", "count"),
        *(Column(f"auroc_{name}", f"AUROC: {title}", "fine") for name, title in names.items()),
        Column("augrc", "AUGRC", "fine"),
        *(
            Column(f"accuracy_{100 * c:.0f}", f"accuracy % of the surest {100 * c:.0f} %", "percent")
            for c in _COVERAGES
        ),
    )
    note = (
        "AUROC: probability that a right verdict is surer than a wrong one; 0.5 is chance. AUGRC: area under the "
        "generalised risk-coverage curve, the smaller the better (Traub et al. 2024). AUGRC and the last columns "
        "order tracks by certainty."
    )
    return Table("sorting", "Is it surer where it is right?", pd.DataFrame(rows), columns, note)


def conformal_table(cells: Sequence[Cell]) -> Table:
    """Coverage and size of the conformal sets of every cell, over all and by genre."""
    rows = [row for cell in cells for method in ("lac", "aps") for row in _conformal_rows(cell, method)]
    columns = (
        *PLACE,
        Column("method", "method"),
        Column("genre", "genre"),
        Column("num", "n", "count"),
        Column("coverage", "coverage %", "percent"),
        Column("size", "genres in a set", "decimal"),
    )
    note = (
        f"Sets aimed at {100 * _LEVEL:.0f} % coverage over all genres together; by genre nothing is promised. LAC: "
        "every genre above one threshold (Sadinle, Lei and Wasserman 2019), the smallest sets. APS: genres by falling "
        "probability up to a sum (Romano, Sesia and Candès 2020), more even over genres."
    )
    frame = pd.DataFrame(rows, columns=None if rows else [column.name for column in columns])
    return Table("conformal", "Sets that hold the true genre", frame, columns, note)


def _conformal_rows(cell: Cell, method: str) -> list[dict[str, object]]:
    validation = _validation_by_run(cell)
    if len(validation) < len(cell.runs):
        return []
    sets = np.zeros(cell.log_probs.shape, bool)
    for run, frame in validation:
        rows = (cell.predictions["run"] == run).to_numpy()
        genre = genre_numbers(frame, cell.genres)
        sets[rows] = conformal_sets(log_probs_of(frame), genre, cell.log_probs[rows], method=method, level=_LEVEL)
    held, size = sets[np.arange(len(sets)), cell.genre], sets.sum(axis=1)
    true = np.eye(len(cell.genres))[cell.genre]
    true = np.concatenate([np.ones((len(true), 1)), true], axis=1)
    coverage = cell.bootstrap.ratios(true * held[:, None], true, is_share=True)
    sizes = cell.bootstrap.ratios(true * size[:, None], true)
    return [
        place(cell)
        | {"method": method.upper(), "genre": genre, "num": int(num)}
        | one.columns("coverage")
        | other.columns("size")
        for genre, num, one, other in zip(["all", *cell.genres], true.sum(axis=0), coverage, sizes, strict=True)
    ]
