"""How sure a figure is: bootstrap intervals over what was drawn independently."""

import numpy as np
from numpy.typing import ArrayLike

NUM_RESAMPLES = 2000


def cluster_interval(
    correct: ArrayLike, cluster: ArrayLike, *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of an accuracy, clusters resampled whole.

    Tracks of one artist, or predictions of one track by several seeds, are no independent draws; resampling them
    one by one would make the interval too narrow.

    Args:
        correct: (prediction,) bool or 0/1.
        cluster: (prediction,) int, predictions with the same number are resampled together.
        level: coverage aimed at, in (0, 1).
        seed: of the resampling.

    Returns:
        Lower and upper bound as fractions; both are the accuracy itself where there is one cluster only.

    Source: Field and Welsh, "Bootstrapping clustered data", JRSS B 69, 2007.
    """
    numbers = np.unique(np.asarray(cluster), return_inverse=True)[1]
    hits = np.bincount(numbers, weights=np.asarray(correct, float))
    size = np.bincount(numbers)
    random = np.random.default_rng(seed)
    accuracy = np.empty(NUM_RESAMPLES)
    for resample in range(NUM_RESAMPLES):  # one at a time: all at once would not fit memory for 100 000 clusters
        weights = np.bincount(random.integers(len(size), size=len(size)), minlength=len(size))
        accuracy[resample] = (weights @ hits) / (weights @ size)
    low, high = np.quantile(accuracy, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
