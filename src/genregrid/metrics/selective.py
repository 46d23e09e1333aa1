"""Selective classification: how well a confidence separates right predictions from wrong ones."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import entr, log_softmax

from genregrid.metrics.finite import finite


class RiskCoverage(NamedTuple):
    """Risk if only rows above a confidence are predicted, (threshold,), by distinct confidence, the highest first."""

    coverage: NDArray[np.float64]  # fraction of rows that are predicted, ends at 1
    risk: NDArray[np.float64]  # fraction of predicted rows that are wrong
    generalized_risk: NDArray[np.float64]  # fraction of all rows that are predicted and wrong


def confidences(log_probs: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Compute confidences of each row by name, (row,) float64; higher is more confident.

    They are ``certainty``, log10(p1 / p2) in decades, 0 or more; ``max_probability``, p1; ``margin``, p1 - p2, 0 to 1;
    and ``entropy``, negated, in nats, 0 or less.

    Args:
        log_probs: (row, genre) float, at least two genres; unnormalised logits are allowed.
    """
    log_probs = log_softmax(finite("log_probs", log_probs), axis=1)
    second, first = np.partition(log_probs, -2, axis=1)[:, -2:].T
    return {
        "certainty": (first - second) / np.log(10),
        "max_probability": np.exp(first),
        "margin": np.exp(first) - np.exp(second),
        "entropy": -entr(np.exp(log_probs)).sum(axis=1),
    }


def auroc(confidence: ArrayLike, correct: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Compute the probability that a right row has a higher confidence than a wrong one; ties count half.

    A random confidence has 0.5.

    Args:
        confidence: (row,) float, of any scale.
        correct: (row,) bool.
        weights: (row,) or (resample, row), 0 or more; 1 if not given.

    Returns:
        One number, or (resample,) float64; NaN if no row is right or none is wrong.
    """
    right, wrong, won = _pairs(confidence, correct, weights)
    pairs = right * wrong
    return np.asarray(np.divide(won, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0))


def augrc(confidence: ArrayLike, correct: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Compute the area under the generalized risk over coverage, 0 to 0.5; lower is better.

    It is the mean generalized risk if every coverage is equally likely. Arguments and shapes are as in `auroc`. It is
    computed from pairs, (1 - auroc) acc (1 - acc) + (1 - acc)^2 / 2, which equals the area by trapezoids.

    Source: Traub et al., "Overcoming common flaws in the evaluation of selective classification systems", NeurIPS 2024.

    >>> float(augrc([0.9, 0.6], [False, True]))
    0.375
    """
    right, wrong, won = _pairs(confidence, correct, weights)
    return np.asarray((right * wrong - won + wrong**2 / 2) / (right + wrong) ** 2)


def accuracy_at_coverage(
    confidence: ArrayLike, correct: ArrayLike, coverage: float, weights: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Compute the accuracy of the most confident rows that make up `coverage` of all.

    Half of five rows are two and a half. If only a part of the rows of one confidence fits, each of them counts by that
    part, so that the order of rows does not matter.

    Arguments and shapes are as in `auroc`; `coverage` is in (0, 1], and weights are not all 0.

    >>> float(accuracy_at_coverage([0.9, 0.8, 0.7, 0.6], [True, True, False, True], 0.75))
    0.6666666666666666
    """
    confidence, correct = _checked(confidence, correct)
    order = np.argsort(-confidence, kind="stable")
    by_row = _by_row(weights, len(order))[order]
    last = np.append(np.diff(confidence[order]) != 0, True)  # of the rows of each confidence
    # summed from the highest confidence on, (confidence,) or (confidence, resample)
    reached, won = by_row.cumsum(axis=0), (by_row.T * correct[order].astype(by_row.dtype)).T.cumsum(axis=0)
    if not last.all():
        reached, won = reached[last], won[last]
    wanted = coverage * reached[-1]
    edge = np.expand_dims((reached < wanted).sum(axis=0), 0)
    below, won_below = (np.where(edge > 0, np.take_along_axis(one, edge - 1, axis=0), 0)[0] for one in (reached, won))
    above, won_above = (np.take_along_axis(one, edge, axis=0)[0] for one in (reached, won))
    return np.asarray((won_below + (won_above - won_below) * (wanted - below) / (above - below)) / wanted)


def risk_coverage(confidence: ArrayLike, correct: ArrayLike) -> RiskCoverage:
    """Compute the risk-coverage curves; arguments as in `auroc`.

    The area under the generalized curve from (0, 0) is `augrc`.
    """
    confidence, correct = _checked(confidence, correct)
    order = np.argsort(-confidence, kind="stable")
    wrong = (~correct[order]).cumsum()
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))  # equal confidences are predicted together
    return RiskCoverage((last + 1) / len(order), wrong[last] / (last + 1), wrong[last] / len(order))


def _checked(confidence: ArrayLike, correct: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return both as arrays; refuse confidences that are not finite, which have no order, and other numbers of rows."""
    values, outcomes = finite("confidence", confidence), np.asarray(correct, bool)
    if len(values) != len(outcomes):
        raise ValueError(f"there are {len(values)} confidences and {len(outcomes)} predictions")
    return values, outcomes


def _pairs(
    confidence: ArrayLike, correct: ArrayLike, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Sum weights of right rows, wrong rows, and pairs whose right row is more confident; one number or (resample,)."""
    confidence, correct = _checked(confidence, correct)
    order = np.argsort(confidence)
    order_right, order_wrong = order[correct[order]], order[~correct[order]]
    by_row = _by_row(weights, len(confidence))
    right = by_row[order_right]
    beaten = np.insert(by_row[order_wrong].cumsum(axis=0), 0, 0.0, axis=0)  # weight of the n least confident wrong rows
    less, up_to = (np.searchsorted(confidence[order_wrong], confidence[order_right], s) for s in ("left", "right"))
    won = np.einsum("i...,i...->...", right, beaten[less] + beaten[up_to]) / 2
    return np.asarray(right.sum(axis=0)), np.asarray(beaten[-1]), np.asarray(won)


def _by_row(weights: ArrayLike | None, num: int) -> NDArray[np.float64]:
    """Return weights as (row,) or (row, resample); with rows contiguous in memory, sorting is five times as fast."""
    if weights is None:
        return np.ones(num)
    return np.asarray(weights, np.result_type(np.asarray(weights), np.float32)).T
