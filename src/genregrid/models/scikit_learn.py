"""Classifiers of scikit-learn that need more than arguments: a limit, a unit or a default that YAML cannot express.

`genregrid.models.estimator` reads two attributes of such classes: `fits_float64`, and `whitens`. docs/models.md has the
sources.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from genregrid.models.argument import Allowed, Count, Positive, is_number

Shrinkage = Annotated[float, Allowed("must be 0 to 1", lambda value: is_number(value, 0, 1))]


class NearestNeighbours(KNeighborsClassifier):  # type: ignore[misc]  # scikit-learn ships no types
    """`num_neighbours` nearest neighbours by Euclidean distance, each with one vote; fewer if there are fewer rows."""

    def __init__(self, num_neighbours: Count = 5) -> None:
        super().__init__()
        self.num_neighbours = num_neighbours

    def fit(self, vectors: NDArray[np.floating], genre: NDArray[np.int64]) -> Self:
        """Keep vectors (row, feature) and genres (row,)."""
        self.n_neighbors = min(self.num_neighbours, len(vectors))
        return super().fit(vectors, genre)  # type: ignore[no-any-return]


class GaussianPerGenre(QuadraticDiscriminantAnalysis):  # type: ignore[misc]  # scikit-learn ships no types
    """A mean and a covariance matrix per genre; all genres are equally likely beforehand.

    Args:
        shrinkage: share of each covariance, in [0, 1], that is replaced by a multiple of the identity matrix; ``None``
            estimates it for each genre by Ledoit and Wolf's formula. A genre has few more tracks than descriptors, so
            that its covariance is nearly singular without shrinkage.
    """

    fits_float64 = True

    def __init__(self, shrinkage: Shrinkage | None = None) -> None:
        # scikit-learn rejects variances below `tol`; after shrinkage they are small, but not zero
        super().__init__(solver="eigen", shrinkage=_known(shrinkage), tol=1e-12)

    def fit(self, vectors: NDArray[np.floating], genre: NDArray[np.int64]) -> Self:
        """Estimate means and covariances from vectors (row, feature) and genres (row,)."""
        num = len(np.unique(genre))
        self.priors = np.full(num, 1 / num)
        return super().fit(vectors, genre)  # type: ignore[no-any-return]


class ShrunkenLDA(LinearDiscriminantAnalysis):  # type: ignore[misc]  # scikit-learn ships no types
    """A mean per genre and one covariance matrix for all.

    Args:
        shrinkage: as for `GaussianPerGenre`.
    """

    fits_float64 = True
    whitens = True

    def __init__(self, shrinkage: Shrinkage | None = None) -> None:
        super().__init__(solver="lsqr", shrinkage=_known(shrinkage))

    def fit(self, vectors: NDArray[np.floating], genre: NDArray[np.int64]) -> Self:
        """Estimate means and the covariance from vectors (row, feature) and genres (row,)."""
        super().fit(vectors, genre)
        del self.covariance_  # predictions do without it, and 200 learned descriptors would fill 20 MB of a checkpoint
        return self


@dataclass(eq=False, repr=False)
class RadialSVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A support vector machine with a radial kernel, whose width does not depend on the number of features."""

    inverse_penalty: Positive = 10.0  # scikit-learn's C; with a smaller one more training rows may be misclassified
    gamma: Positive = 1.0  # of the kernel, in units of one over the number of features; a larger one is narrower

    def fit(self, vectors: NDArray[np.floating], genre: NDArray[np.int64]) -> Self:
        """Fit to vectors (row, feature) and genres (row,)."""
        self.machine_ = SVC(C=self.inverse_penalty, gamma=self.gamma / vectors.shape[1]).fit(vectors, genre)
        self.classes_ = self.machine_.classes_
        return self

    def decision_function(self, vectors: NDArray[np.floating]) -> Any:
        """Compute decision values, (row, genre) float64."""
        return self.machine_.decision_function(vectors)

    def predict(self, vectors: NDArray[np.floating]) -> Any:
        """Predict genres, (row,) int64."""
        return self.machine_.predict(vectors)


def _known(shrinkage: float | None) -> float | str:
    return "auto" if shrinkage is None else shrinkage
