"""Kernel ridge regression onto genres (`genregrid.models.kernel` has the source)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.kernel import KernelRidgeClassifier


class KernelRidge(EstimatorClassifier):
    """Regression onto one column per genre with a radial kernel on standardised vectors.

    Args:
        gamma: of the radial kernel, above 0, in units of one over the number of features; the larger, the nearer a
            training vector must be to count.
        ridge: above 0; the larger, the smoother.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: a value that is not above 0.
    """

    def __init__(self, *, gamma: float = 1.0, ridge: float = 0.3, **shared: Any) -> None:
        super().__init__(**shared)
        if gamma <= 0 or ridge <= 0:
            raise UserError(f"model.gamma={gamma:g} and model.ridge={ridge:g} must be above 0.")
        self.gamma = gamma
        self.ridge = ridge

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in a `KernelRidgeClassifier`."""
        model = make_pipeline(*self.front(), KernelRidgeClassifier(self.gamma, self.ridge))
        return model.fit(vectors, genre, kernelridgeclassifier__track=track)
