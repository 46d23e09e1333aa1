"""A mixture of normal distributions per genre.

Source: Tzanetakis and Cook, "Musical genre classification of audio signals", IEEE Transactions on Speech and Audio
Processing 10, 2002, section IV, the Gaussian mixture model classifier.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.mixture import GaussianMixture

from genregrid.models.argument import Count, Positive


@dataclass(eq=False, repr=False)
class MixturePerGenre(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """A GaussianMixture with diagonal covariances per genre; all genres are equally likely beforehand."""

    num_components: Count = 3  # normal distributions of a genre, 1 or more; fewer if it has fewer rows
    variance_floor: Positive = 0.1  # added to every variance, above 0

    def fit(self, vectors: NDArray[np.float32], genre: NDArray[np.int64]) -> Self:
        """Fit a mixture to the vectors (row, feature) of each genre (row,)."""
        self.classes_ = np.unique(genre)
        self.mixtures_ = [self._mixture(vectors[genre == number]) for number in self.classes_]
        return self

    def _mixture(self, vectors: NDArray[np.float32]) -> GaussianMixture:
        num = min(self.num_components, len(vectors))
        mixture = GaussianMixture(num, covariance_type="diag", reg_covar=self.variance_floor, max_iter=200)
        return mixture.fit(vectors.astype(np.float64))

    def predict_proba(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute probabilities, (row, genre) float64."""
        log = [mixture.score_samples(vectors.astype(np.float64)) for mixture in self.mixtures_]
        return np.asarray(softmax(np.stack(log, axis=1), axis=1))
