"""How far to trust predictions: calibration, certainty of right and wrong ones, and sets with the true genre."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.exhibit import figure
from genregrid.exhibit.mark import union
from genregrid.exhibit.table import Exhibit, Section, Table, columns
from genregrid.metrics.calibration import (
    brier,
    calibrated_ece,
    ece,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    rescale,
)
from genregrid.metrics.conformal import conformal_sets
from genregrid.metrics.interval import Estimate, Statistic
from genregrid.metrics.retrained import retrained
from genregrid.metrics.selective import accuracy_at_coverage, augrc, auroc, confidences, risk_coverage
from genregrid.report.cell import Cell, genre_numbers, log_probs_of
from genregrid.report.rows import INTERVALS, best_cells, cell_table, one_hot

_COVERAGES = (0.5, 0.8, 0.9)
#: Probability that a conformal set contains the true genre.
_LEVEL = 0.9
_MOST_PANELS = 8
_OTHER_FOLDS, _VALIDATION = "other folds", "validation"


class Calibration(NamedTuple):
    """Predictions that calibrate the sets of one run: of tracks that its model was not trained on and not tested on."""

    run: int
    log_probs: NDArray[np.float64]  # (row, genre)
    genre: NDArray[np.int64]  # (row,) true genres
    source: str  # "other folds" or "validation"


def trust_section(cells: Sequence[Cell]) -> Section:
    """Show calibration, certainty and conformal sets of every cell, with figures for the best of each protocol."""
    best = {cell.title: cell for cell in best_cells(cells)[:_MOST_PANELS]}
    marks = union(cell.marks for cell in best.values())
    bins = {name: reliability(np.exp(cell.log_probs.max(axis=1)), cell.correct) for name, cell in best.items()}
    curves = {name: risk_coverage(cell.predictions["certainty"], cell.correct)[:2] for name, cell in best.items()}
    exhibits: list[Exhibit] = [
        training_table(cells),
        calibration_table(cells),
        figure.reliability(figure.Caption("reliability", "Reliability", marks), bins),
        certainty_order_table(cells),
        figure.risk_coverage(figure.Caption("risk_coverage", "Risk and coverage", marks), curves),
        conformal_table(cells),
    ]
    text = (
        "The intervals of this report hold for the models that were trained here. Those of a method that is trained "
        "anew are wider; they are called 'trained anew' here and 'by folds' in the comparison. A model is calibrated "
        "if, of the predictions with a probability of 70 %, 70 % are right. Its certainty is "
        "useful if it is larger for right predictions than for wrong ones. A conformal set contains as many genres as "
        f"are needed to include the true one with a probability of {100 * _LEVEL:.0f} %. Temperatures are fitted on "
        "the validation tracks of each run, which also chose the epoch of a network and the weights of an ensemble. A "
        "model that is refitted keeps the temperature of the fit before."
    )
    return Section("trust", "How far to trust it", text, tuple(exhibits))


def training_table(cells: Sequence[Cell]) -> Table:
    """Show the accuracy of every cell with two intervals: for its trained models, and for models trained anew."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for cell in cells:
        trained, frame = cell.bootstrap.mean(cell.correct), cell.predictions
        division = frame["run"].map(cell.runs.set_index("run")["split_seed"])
        if frame["fold"].groupby([division, frame["track"]]).nunique().max() > 1:  # a leak, or checkpoints scored again
            anew = Estimate(trained.value, why="folds share tracks")
        else:
            anew = retrained(cell.correct, frame["fold"], division, trained)
        row: dict[str, object] = {"folds": cell.runs["fold"].nunique(), "runs": len(cell.runs)}
        rows.append((cell, row | trained.columns("trained") | anew.columns("retrained")))
    shown = columns("count", folds="folds", runs="runs")
    shown += columns("percent", trained="accuracy %: these models", retrained="accuracy %: trained anew")
    note = (
        "Both columns have the accuracy on all test tracks; only the 95 % intervals differ. The first is for new "
        "tracks, predicted by these trained models. The second is for models of the same method that are trained on "
        "other tracks of the same kind, and for their new tracks. It comes from the spread between folds and is never "
        "the narrower one. Use it to describe how good a method is. It needs three folds or more."
    )
    return cell_table("training", "These models, and the method trained anew", rows, shown, note)


def tempered(cell: Cell) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rescale a cell's predictions by temperatures fitted on validation.

    Returns temperatures (run,), NaN for a run without validation, and log-probabilities (prediction, genre).
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
    """Show NLL, Brier score and ECE of every cell, as trained and rescaled by the temperature of validation."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for cell in cells:
        temperatures, rescaled = tempered(cell)
        variants = [("as trained", cell.log_probs, np.array([1.0]))]
        variants += [("rescaled", rescaled, temperatures)] if np.isfinite(temperatures).all() else []
        for name, log_probs, used in variants:
            confidence = np.exp(log_probs.max(axis=1))
            row: dict[str, object] = {"probabilities": name, "num": len(cell.correct), "temperature": np.median(used)}
            row |= cell.bootstrap.mean(negative_log_likelihood(log_probs, cell.genre)).columns("nll")
            row |= cell.bootstrap.mean(brier(log_probs, cell.genre)).columns("brier")
            row["ece"] = ece(confidence, cell.correct)
            row["ece_calibrated"] = calibrated_ece(confidence, cell.correct, cell.predictions["group"])
            rows.append((cell, row))
    shown = columns(probabilities="probabilities") + columns("count", num="n")
    shown += columns("decimal", temperature="temperature") + columns("fine", nll="NLL, nats", brier="Brier")
    shown += columns("percent", ece="ECE %", ece_calibrated="if calibrated")
    note = (
        "n is the number of predictions for test tracks. NLL is the mean negative log-likelihood of the true genre. "
        "The Brier score is the squared error summed over genres, from 0 to 2. ECE, the expected calibration error, is "
        "the mean difference between the largest probability and accuracy in 15 bins of equal size; 'if calibrated' is "
        "the ECE that chance gives a calibrated model on as many tracks, artists and seeds. All are better when "
        "smaller. Rescaled logarithms of probabilities are divided by the temperature (its median is shown; above 1, "
        f"the model was too confident). {INTERVALS}"
    )
    return cell_table("calibration", "Calibration", rows, shown, note)


def certainty_order_table(cells: Sequence[Cell]) -> Table:
    """Show how well four confidences separate right from wrong, and the accuracy without the doubtful tracks."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for cell in cells:
        row: dict[str, object] = {"num": len(cell.correct)}
        known = confidences(cell.log_probs)
        asked: dict[str, Statistic] = {f"auroc_{name}": partial(auroc, known[name], cell.correct) for name in known}
        certainty = cell.predictions["certainty"].to_numpy(np.float64)
        asked["augrc"] = partial(augrc, certainty, cell.correct)
        for coverage in _COVERAGES:
            asked[f"accuracy_{100 * coverage:.0f}"] = partial(accuracy_at_coverage, certainty, cell.correct, coverage)
        for name, estimate in cell.bootstrap.statistics(asked).items():
            row |= estimate.columns(name)
        rows.append((cell, row))
    names = {"certainty": "certainty", "max_probability": "largest p", "margin": "margin", "entropy": "entropy"}
    kept = [f"{100 * share:.0f}" for share in _COVERAGES]
    shown = columns("count", num="n")
    shown += columns("fine", **{f"auroc_{name}": f"AUROC: {title}" for name, title in names.items()}, augrc="AUGRC")
    shown += columns("percent", **{f"accuracy_{share}": f"accuracy % of the most certain {share} %" for share in kept})
    note = (
        "n is the number of predictions for test tracks. AUROC is the probability that a right prediction has a "
        "larger confidence than a wrong one: 1 is perfect, 0.5 is chance. Margin is that of the two largest "
        "probabilities, and entropy is negative. AUGRC is the area under the generalised risk-coverage curve, from 0 "
        f"to 0.5; smaller is better (Traub et al. 2024). {INTERVALS}"
    )
    return cell_table("sorting", "Is the model more certain when it is right?", rows, shown, note)


def calibrations(cell: Cell) -> list[Calibration]:
    """Choose the predictions that calibrate the sets of each run; runs that have none are left out.

    These are the test predictions of the other folds with the same seeds, without tracks that a group of this run's
    test part has too. Nothing was chosen on them. If there are none, as in a run of a single fold, they are those of
    the run's validation tracks.

    Source: Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74, 2015, with one
    threshold for each fold instead of a p-value.
    """
    validation, found = dict(_validation_by_run(cell)), []
    division = cell.runs.groupby(["split_seed", "seed", "val_fold"]).ngroup().to_numpy()
    fold, run_of_row = cell.runs["fold"].to_numpy(), cell.predictions["run"].to_numpy()
    group = cell.predictions["group"].to_numpy()
    for run in range(len(cell.runs)):
        others = np.flatnonzero((division == division[run]) & (fold != fold[run]))
        rows = np.isin(run_of_row, others) & ~np.isin(group, group[run_of_row == run])
        if rows.any():
            found.append(Calibration(run, cell.log_probs[rows], cell.genre[rows], _OTHER_FOLDS))
        elif run in validation:
            frame = validation[run]
            genre = genre_numbers(frame, cell.genres)
            found.append(Calibration(run, log_probs_of(frame), genre, _VALIDATION))
    return found


def conformal_table(cells: Sequence[Cell]) -> Table:
    """Show coverage and size of the conformal sets of every cell, over all genres and by genre."""
    rows = [(cell, row) for cell in cells for method in ("lac", "aps") for row in _conformal_rows(cell, method)]
    shown = columns(method="method", calibrated_on="calibrated on", genre="genre") + columns("count", num="n")
    shown += columns("percent", coverage="coverage %") + columns("decimal", size="genres in a set")
    note = (
        f"Coverage is the share of test tracks whose set contains the true genre; {100 * _LEVEL:.0f} % is intended for "
        "all genres together, not for a single genre. A good method has this coverage with few genres in a set. LAC "
        "includes every genre with a probability above one threshold (Sadinle, Lei and Wasserman 2019). APS includes "
        "genres in the order of their probability up to a sum, and treats genres more equally (Romano, Sesia and "
        "Candès 2020). Thresholds of a fold are set on the test predictions of the other folds, by which nothing was "
        "chosen. A run of a single fold sets them on its validation tracks. These also chose the epoch of a network, "
        "and such sets then contain the true genre of about 88 % of new tracks, not 90 %. n is the number of "
        f"predictions. {INTERVALS}"
    )
    return cell_table("conformal", "Sets with the true genre", rows, shown, note)


def _conformal_rows(cell: Cell, method: str) -> list[dict[str, object]]:
    known = calibrations(cell)
    if len(known) < len(cell.runs):
        return []
    sets = np.zeros(cell.log_probs.shape, bool)
    for run, log_probs, genre, _ in known:
        rows = (cell.predictions["run"] == run).to_numpy()
        sets[rows] = conformal_sets(log_probs, genre, cell.log_probs[rows], method=method, level=_LEVEL)
    sources = " and ".join(sorted({one.source for one in known}))
    held, size = sets[np.arange(len(sets)), cell.genre], sets.sum(axis=1)
    true = one_hot(cell.predictions["genre"], cell.genres)
    coverage = [cell.bootstrap.mean(held), *cell.bootstrap.ratios(true * held[:, None], true, is_share=True)]
    sizes = [cell.bootstrap.mean(size), *cell.bootstrap.ratios(true * size[:, None], true)]
    num = [len(sets), *true.sum(axis=0).astype(int)]
    about = {"method": method.upper(), "calibrated_on": sources}
    return [
        about | {"genre": genre, "num": own} | one.columns("coverage") | other.columns("size")
        for genre, own, one, other in zip(["all", *cell.genres], num, coverage, sizes, strict=True)
    ]
