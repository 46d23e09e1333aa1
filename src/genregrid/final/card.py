"""The card of a final model, made from the runs on the folds."""

import math

import numpy as np

from genregrid.metrics.calibration import fit_temperature, rescale
from genregrid.metrics.conformal import nonconformity, threshold
from genregrid.metrics.interval import Estimate
from genregrid.record.card import GENRE_SCORES, LEVEL, Card, Score
from genregrid.report.cell import Cell, genre_numbers, log_probs_of
from genregrid.report.paper import genre_scores


def card_of(cell: Cell) -> Card:
    """Make the card of the settings that the runs of a cell share.

    The temperature is fitted on the validation tracks of all folds, if any of them is wrong. The sets are calibrated on
    the test tracks: no model was trained on the tracks that it predicts here, and they chose nothing.
    """
    estimates = genre_scores(cell.predictions, cell.genres, cell.bootstrap)
    temperature = _temperature(cell)
    log_probs, random = rescale(cell.log_probs, temperature), np.random.default_rng(0)  # lac draws nothing
    # with too few tracks the threshold is infinite: every genre is in every set, as with 1
    limit = min(threshold(log_probs, cell.genre, method="lac", level=LEVEL, random=random), 1.0)
    sets = nonconformity(log_probs, "lac", random) <= limit
    return Card(
        protocol=cell.split,
        folds=int(cell.runs["fold"].nunique()),
        num_tracks=len(cell.tracks),
        num_groups=int(cell.group_of_track.nunique()),
        unit=cell.unit,
        accuracy=_score(estimates["accuracy", "all"]),
        per_genre={genre: {name: _score(estimates[name, genre]) for name in GENRE_SCORES} for genre in cell.genres},
        tested={genre: int((cell.predictions["genre"] == genre).sum()) for genre in cell.genres},
        temperature=round(float(temperature), 4),
        threshold=float(limit),
        set_size=round(float(sets.sum(axis=1).mean()), 4),
        epochs=_median_epochs(cell),
    )


def _temperature(cell: Cell) -> float:
    """Fit a temperature on validation tracks; if all are right, on test tracks; if these are right too, it is 1.

    Tracks that are all right have no best temperature: the lower it is, the likelier they are.
    """
    for known in (cell.validation, cell.predictions):
        if len(known) and (known["genre"] != known["predicted"]).any():
            return fit_temperature(log_probs_of(known), genre_numbers(known, cell.genres))
    return 1.0


def _score(estimate: Estimate) -> Score:
    values = [None if math.isnan(value) else round(value, 4) for value in (estimate.value, estimate.low, estimate.high)]
    return Score(value=values[0], low=values[1], high=values[2])


def _median_epochs(cell: Cell) -> int | None:
    """Return the median over runs of the epoch with the lowest validation loss; ``None`` for models without epochs."""
    if cell.curves.empty:
        return None
    best = cell.curves.loc[cell.curves.groupby("run")["val/loss"].idxmin(), "epoch"]
    return max(1, int(np.median(best)))
