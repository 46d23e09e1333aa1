"""Clusters of slices, each named by the genres in it.

The paper compares itself with a source that classifies "using k-means clustering" at 61 %. That source, Tzanetakis and
Cook 2002, prints 61 % for its Gaussian mixtures (`genregrid.models.gmm`); this is the classifier that the paper's words
describe.

Source: MacQueen, "Some methods for classification and analysis of multivariate observations", 1967, for k-means.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline

from genregrid.models.base import check_counts
from genregrid.models.estimator import EstimatorClassifier

_NUM_STARTS = 4  # the best of so many random beginnings; a genre's shares change little from one to the next


class GenresOfClusters(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """k-means on all rows, whatever their genre; a row has the shares of genres of the cluster that it falls into.

    Args:
        num_clusters: 1 or more; fewer where there are fewer rows.
    """

    def __init__(self, num_clusters: int = 100) -> None:
        self.num_clusters = num_clusters

    def fit(self, vectors: NDArray[np.float32], genre: NDArray[np.int64]) -> Self:
        """Find clusters of vectors (row, feature), and count the genres (row,) in each."""
        self.classes_, number = np.unique(genre, return_inverse=True)
        self.clusters_ = KMeans(min(self.num_clusters, len(vectors)), n_init=_NUM_STARTS).fit(vectors)
        count = np.ones((self.clusters_.n_clusters, len(self.classes_)))  # one of each: no cluster is ever sure
        np.add.at(count, (self.clusters_.labels_, number), len(self.classes_))
        self.shares_ = count / count.sum(axis=1, keepdims=True)
        return self

    def predict_proba(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities, (row, genre) float64."""
        return np.asarray(self.shares_[self.clusters_.predict(vectors)])


class KMeansClassifier(EstimatorClassifier):
    """Clusters of slices found without their genres, and the genres counted in each.

    Args:
        num_clusters: 1 or more.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: fewer than one cluster.
    """

    def __init__(self, *, num_clusters: int = 100, **shared: Any) -> None:
        super().__init__(**shared)
        check_counts(num_clusters=num_clusters)
        self.num_clusters = num_clusters

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in a `GenresOfClusters`."""
        model = GenresOfClusters(self.num_clusters)
        return make_pipeline(*self.front(), model).fit(vectors, genre)
