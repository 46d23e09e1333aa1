"""Soft vote of several models: the weights with which their mixture of probabilities is most likely."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genregrid.metrics.finite import finite

_MAX_STEPS = 1000
_TOLERANCE = 1e-6  # stop if no weight changes by more in a step


def mixture_weights(probs: ArrayLike, genre: ArrayLike, prior_rows: float = 0.0) -> NDArray[np.float64]:
    """Fit weights of models that maximise the likelihood of their mixture on validation rows; (model,) float64, sum 1.

    Expectation maximisation: each row is shared among the models in proportion to their weighted probabilities of its
    true genre, and a model's weight is its share of all rows. The log-likelihood is concave, so there is one maximum,
    and every step increases it.

    Args:
        probs: (model, row, genre) float, each model's probabilities.
        genre: (row,) int, true genres by number.
        prior_rows: additional rows, 0 or more, shared equally by all models; more rows give more equal weights.

    Raises:
        ValueError: no rows, or a value that is not finite.

    Source: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 39, 1977,
    section 4.3, with the components fixed.

    >>> mixture_weights([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]]], [0, 1]).round(3).tolist()
    [1.0, 0.0]
    """
    probs = finite("probs", probs)
    if not probs.shape[1]:
        raise ValueError("weights are fitted on validation rows, and there are none")
    likelihood = np.maximum(np.take_along_axis(probs, np.asarray(genre)[None, :, None], axis=2)[..., 0], 1e-300)
    num_models, num_rows = likelihood.shape
    weights = np.full(num_models, 1 / num_models)
    for _ in range(_MAX_STEPS):
        share = weights[:, None] * likelihood
        share /= share.sum(axis=0)
        new = (share.sum(axis=1) + prior_rows / num_models) / (num_rows + prior_rows)
        moved, weights = np.abs(new - weights).max(), new
        if moved < _TOLERANCE:
            break
    return weights
