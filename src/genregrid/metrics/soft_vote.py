"""Soft vote of several models: which weights make their mixture of probabilities likeliest."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MAX_STEPS = 1000
_ENOUGH = 1e-6  # no weight moves by more in a step


def mixture_weights(probs: ArrayLike, genre: ArrayLike, prior_rows: float = 0.0) -> NDArray[np.float64]:
    """Weights of models whose mixture gives validation rows the greatest likelihood; (model,) float64, summing to 1.

    Expectation maximisation: a row is shared out among the models by what each says of its true genre, and a model's
    weight is its share of all rows. The likelihood is concave, so there is one maximum, and every step climbs.

    Args:
        probs: (model, row, genre) float, each model's probabilities.
        genre: (row,) int, true genres by number.
        prior_rows: imagined rows, 0 or more, that favour no model; the more, the closer to equal weights.

    Raises:
        ValueError: no rows.

    Source: Dempster, Laird and Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 39, 1977,
    section 4.3, with the components fixed.

    >>> mixture_weights([[[0.9, 0.1], [0.2, 0.8]], [[0.5, 0.5], [0.5, 0.5]]], [0, 1]).round(3).tolist()
    [1.0, 0.0]
    """
    probs = np.asarray(probs, np.float64)
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
        if moved < _ENOUGH:
            break
    return weights
