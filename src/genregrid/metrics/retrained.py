"""The interval of a method that is trained anew, from the folds of models that were trained once."""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from genregrid.errors import counted
from genregrid.metrics.interval import Estimate

#: Fewest folds with an interval.
LEAST_FOLDS = 3


def retrained(
    correct: ArrayLike, fold: ArrayLike, division: ArrayLike, trained: Estimate, *, level: float = 0.95
) -> Estimate:
    """Estimate the accuracy that a method has on new tracks if it is trained on other tracks of the same kind.

    The interval of trained models holds only for them. Here folds are the sample: each has test tracks and a training
    of its own, and its seeds are averaged. The half width is the standard error of the mean over folds times a quantile
    of Student's t. It is at least that of the trained models: by chance, a few folds may agree better than their tracks
    let expect. Several divisions have the same tracks: the squared standard errors are averaged, not divided by their
    number, and only the degrees of freedom add up.

    Training parts of folds overlap. If this makes their models alike, the interval is too narrow. The variance that
    Nadeau and Bengio assume for this ("Inference for the generalization error", Machine Learning 52, 2003) is right for
    a difference of two models on the same tracks, but here it doubles the interval. benchmarks/coverage.py simulates
    this interval, with models half of whose variation is common to all folds.

    Args:
        correct: (prediction,) bool.
        fold: (prediction,) number of the test fold.
        division: (prediction,) number of the division into folds, such as its seed.
        trained: the accuracy with the interval for these trained models.
        level: coverage of the interval, in (0, 1).

    Returns:
        The value of `trained` and bounds within 0 to 1; NaN with fewer than three folds in a division, or if `trained`
        has no bounds.
    """
    if math.isnan(trained.low):
        return trained
    table = pd.DataFrame({"correct": np.asarray(correct, float), "fold": fold, "division": division})
    folds = table.groupby(["division", "fold"])["correct"].mean().groupby("division").agg(["var", "size"])
    num = int(folds["size"].min())
    if num < LEAST_FOLDS:
        return Estimate(trained.value, why=counted(num, "fold"))
    error = math.sqrt((folds["var"] / folds["size"]).mean())
    half = error * float(stats.t.ppf((1 + level) / 2, (folds["size"] - 1).sum()))
    low, high = min(trained.low, trained.value - half), max(trained.high, trained.value + half)
    return Estimate(trained.value, max(low, 0.0), min(high, 1.0))
