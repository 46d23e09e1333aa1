"""Kernel ridge regression on sets of slices (`genregrid.models.kernel` has the source)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.kernel import SetKernelClassifier


class SetKernel(EstimatorClassifier):
    """Two windows are alike as far as their slices are, each with each: nothing is averaged before it is compared.

    Args:
        gamma: of the radial kernel of two slices, above 0, in units of one over the number of features; the larger, the
            nearer a training slice must be to count.
        ridge: above 0; the larger, the smoother.
        shared: arguments of `EstimatorClassifier`; `summary` is ``None``, as slices are not summed up.

    Raises:
        UserError: a value that is not above 0, or a summary.
    """

    hears_sets = True

    def __init__(self, *, gamma: float = 1.0, ridge: float = 0.03, **shared: Any) -> None:
        super().__init__(**{"summary": None} | shared)
        if gamma <= 0 or ridge <= 0:
            raise UserError(f"model.gamma={gamma:g} and model.ridge={ridge:g} must be above 0.")
        if self.summary is not None:
            raise UserError(f"model.summary={self.summary}: slices are compared one by one here; set it to null.")
        self.gamma = gamma
        self.ridge = ridge

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted `SetKernelClassifier`."""
        model = SetKernelClassifier(len(self.feature_names), self.gamma, self.ridge, self.whitening)
        return model.fit(vectors, genre, track)
