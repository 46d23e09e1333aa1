"""A support vector machine with a radial kernel.

Source: Cortes and Vapnik, "Support-vector networks", Machine Learning 20, 1995; Guo et al., "On calibration of modern
neural networks", ICML 2017, for the temperature that makes probabilities of its decision values.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorClassifier

_CALIBRATION_FOLDS = 5


class SVM(EstimatorClassifier):
    """RBF-SVM on standardised vectors, with probabilities by a temperature.

    Args:
        inverse_penalty: scikit-learn's C, above 0; the smaller, the more training slices may lie on the wrong side.
        gamma: of the radial kernel, above 0, in units of one over the number of features; the larger, the nearer a
            training vector must be to count.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: a value that is not above 0.
    """

    def __init__(self, *, inverse_penalty: float = 10.0, gamma: float = 1.0, **shared: Any) -> None:
        super().__init__(**shared)
        if inverse_penalty <= 0 or gamma <= 0:
            raise UserError(f"model.inverse_penalty={inverse_penalty:g} and model.gamma={gamma:g} must be above 0.")
        self.inverse_penalty = inverse_penalty
        self.gamma = gamma

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted SVM that gives probabilities."""
        return fit_svm(vectors, genre, track, self.inverse_penalty, self.gamma, self.front())


def fit_svm(
    vectors: NDArray[np.float32],
    genre: NDArray[np.int64],
    track: NDArray[np.int64],
    inverse_penalty: float,
    gamma: float = 1.0,
    front: Sequence[Any] = (),
) -> CalibratedClassifierCV:
    """An RBF-SVM, and a temperature fitted on tracks that its like has not seen.

    Args:
        vectors: (row, feature) float32.
        genre: (row,) int64.
        track: (row,) int64; rows of one track are in one of the folds that the temperature is fitted on.
        inverse_penalty: scikit-learn's C, above 0.
        gamma: above 0, in units of one over the number of features.
        front: transformers that stand before it.

    Raises:
        UserError: a genre has one training track only.
    """
    fewest = min(len(np.unique(track[genre == number])) for number in np.unique(genre))
    if fewest < 2:
        raise UserError("a genre has one training track only, and an SVM's probabilities take two: take another model.")
    folds = StratifiedGroupKFold(min(_CALIBRATION_FOLDS, fewest))
    machine = make_pipeline(*front, SVC(C=inverse_penalty, gamma=gamma / vectors.shape[1]))
    parts = list(folds.split(vectors, genre, groups=track))
    return CalibratedClassifierCV(machine, method="temperature", cv=parts, ensemble=False).fit(vectors, genre)
