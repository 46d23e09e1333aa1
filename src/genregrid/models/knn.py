"""The genres of the nearest training slices.

Source: Tzanetakis and Cook, "Musical genre classification of audio signals", IEEE Transactions on Speech and Audio
Processing 10, 2002, section IV, the k-nearest neighbour classifier.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from genregrid.models.base import check_counts
from genregrid.models.estimator import EstimatorClassifier


class KNN(EstimatorClassifier):
    """k nearest neighbours by Euclidean distance of transformed descriptors; each has one vote.

    Args:
        num_neighbours: 1 or more; fewer where there are fewer training rows.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: fewer than one neighbour.
    """

    def __init__(self, *, num_neighbours: int = 5, **shared: Any) -> None:
        super().__init__(**shared)
        check_counts(num_neighbours=num_neighbours)
        self.num_neighbours = num_neighbours

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in a KNeighborsClassifier."""
        model = KNeighborsClassifier(min(self.num_neighbours, len(vectors)))
        return make_pipeline(*self.front(), model).fit(vectors, genre)
