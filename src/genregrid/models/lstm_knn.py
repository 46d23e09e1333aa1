"""The LSTM's last state into nearest neighbours (`genregrid.models.deep_features` has the source)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from genregrid.models.base import check_counts
from genregrid.models.deep_features import DeepFeatureLSTM


class LSTMKNN(DeepFeatureLSTM):
    """k nearest neighbours among the LSTM's features.

    Args:
        num_neighbours: 1 or more; fewer where there are fewer training windows.
        shared: arguments of `DeepFeatureLSTM`.

    Raises:
        UserError: fewer than one neighbour.
    """

    def __init__(self, *, num_neighbours: int = 10, **shared: Any) -> None:
        super().__init__(**shared)
        check_counts(num_neighbours=num_neighbours)
        self.num_neighbours = num_neighbours

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted KNeighborsClassifier."""
        return KNeighborsClassifier(min(self.num_neighbours, len(vectors))).fit(vectors, genre)
