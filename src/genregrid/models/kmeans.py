"""Clusters of slices as a classifier: k-means ignores genres, which are then counted in each cluster.

The paper compares itself with a source that classifies "using k-means clustering" at 61 %. That source, Tzanetakis and
Cook 2002, prints 61 % for its Gaussian mixtures (`genregrid.models.gmm`); this is the classifier that the paper's words
describe.

Source: MacQueen, "Some methods for classification and analysis of multivariate observations", 1967, for k-means.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans

from genregrid.models.argument import Count

_NUM_STARTS = 4  # random starts, of which the best is kept; genre shares differ little between starts


@dataclass(eq=False, repr=False)
class GenresOfClusters(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """k-means on all rows; the probabilities of a row are the shares of genres in its cluster."""

    num_clusters: Count = 100  # 1 or more; fewer if there are fewer rows

    def fit(self, vectors: NDArray[np.float32], genre: NDArray[np.int64]) -> Self:
        """Find clusters of vectors (row, feature), and count the genres (row,) in each."""
        self.classes_, number = np.unique(genre, return_inverse=True)
        self.clusters_ = KMeans(min(self.num_clusters, len(vectors)), n_init=_NUM_STARTS).fit(vectors)
        count = np.ones((self.clusters_.n_clusters, len(self.classes_)))  # 1, so that no share is 0
        np.add.at(count, (self.clusters_.labels_, number), len(self.classes_))
        self.shares_ = count / count.sum(axis=1, keepdims=True)
        return self

    def predict_proba(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities, (row, genre) float64."""
        return np.asarray(self.shares_[self.clusters_.predict(vectors)])
