"""The LSTM's last state into a support vector machine (`genregrid.models.deep_features` has the source)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from genregrid.errors import UserError
from genregrid.models.deep_features import DeepFeatureLSTM
from genregrid.models.svm import fit_svm


class LSTMSVM(DeepFeatureLSTM):
    """An RBF-SVM on the LSTM's features.

    Args:
        inverse_penalty: scikit-learn's C, above 0.
        shared: arguments of `DeepFeatureLSTM`.

    Raises:
        UserError: no positive inverse penalty.
    """

    def __init__(self, *, inverse_penalty: float = 1.0, **shared: Any) -> None:
        super().__init__(**shared)
        if inverse_penalty <= 0:
            raise UserError(f"model.inverse_penalty={inverse_penalty:g}: above 0.")
        self.inverse_penalty = inverse_penalty

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted SVM that gives probabilities."""
        return fit_svm(vectors, genre, track, self.inverse_penalty, front=[StandardScaler()])
