"""Whitening by the covariance within genres: distances between tracks then depend on what separates genres.

Source: Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for SVM-based speaker recognition",
Interspeech 2006.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin


@dataclass(eq=False, repr=False)
class GenreWhitening(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Multiplication of vectors by the inverse square root of their covariance within genres."""

    #: Multiple of the identity matrix, above 0, that is added to the covariance after it is scaled to a mean variance
    #: of 1. A larger one whitens less.
    shrinkage: float = 0.2

    def fit(self, vectors: NDArray[np.floating], genre: NDArray[np.int64]) -> Self:
        """Estimate the matrix from vectors (row, feature) and genres (row,)."""
        number = np.unique(genre, return_inverse=True)[1]
        count = np.bincount(number)[:, None]
        total = np.zeros((len(count), vectors.shape[1]))
        np.add.at(total, number, vectors)
        rest = vectors - (total / count)[number]
        covariance = rest.T @ rest / len(rest)
        covariance /= np.trace(covariance) / len(covariance)
        variance, direction = np.linalg.eigh(covariance)
        matrix = direction * (variance.clip(0) + self.shrinkage) ** -0.5
        # a mean square of 1, so that widths of kernels keep their meaning
        self.matrix_ = matrix / np.sqrt(np.mean(np.square(vectors @ matrix)))
        return self

    def transform(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return whitened vectors, (row, feature) float64."""
        return np.asarray(vectors @ self.matrix_, np.float64)
