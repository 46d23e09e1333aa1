"""Logistic regression: the plainest model that learns weights.

Source: Hastie, Tibshirani and Friedman, "The elements of statistical learning", 2009, section 4.4.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorClassifier


class Logistic(EstimatorClassifier):
    """Multinomial logistic regression with an L2 penalty.

    Args:
        inverse_penalty: scikit-learn's C, above 0; the smaller, the smaller the weights.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: no positive inverse penalty.
    """

    def __init__(self, *, inverse_penalty: float = 0.1, **shared: Any) -> None:
        super().__init__(**shared)
        if inverse_penalty <= 0:
            raise UserError(f"model.inverse_penalty={inverse_penalty:g}: above 0.")
        self.inverse_penalty = inverse_penalty

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in a LogisticRegression."""
        model = LogisticRegression(C=self.inverse_penalty, max_iter=2000)
        return make_pipeline(*self.front(), model).fit(vectors, genre)
