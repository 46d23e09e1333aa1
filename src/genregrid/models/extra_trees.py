"""Extremely randomised trees.

Source: Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 63, 2006.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline

from genregrid.models.base import check_counts
from genregrid.models.estimator import EstimatorClassifier


class ExtraTrees(EstimatorClassifier):
    """Many trees that choose among random thresholds of random descriptors, averaged.

    Args:
        num_trees: 1 or more.
        min_leaf: training rows in a leaf, 1 or more.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: a value below 1.
    """

    def __init__(self, *, num_trees: int = 300, min_leaf: int = 1, **shared: Any) -> None:
        super().__init__(**shared)
        check_counts(num_trees=num_trees, min_leaf=min_leaf)
        self.num_trees = num_trees
        self.min_leaf = min_leaf

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in an ExtraTreesClassifier."""
        model = ExtraTreesClassifier(self.num_trees, min_samples_leaf=self.min_leaf)
        return make_pipeline(*self.front(), model).fit(vectors, genre)
