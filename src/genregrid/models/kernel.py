"""Kernel ridge regression onto genres, of vectors and of sets of slices.

Source: Saunders, Gammerman and Vovk, "Ridge regression learning algorithm in dual variables", ICML 1998; Gaertner,
Flach, Kowalczyk and Smola, "Multi-instance kernels", ICML 2002, for kernels of sets.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics.pairwise import rbf_kernel

from genregrid.errors import UserError
from genregrid.metrics.calibration import fit_temperature
from genregrid.models.argument import Count, Positive
from genregrid.models.whitening import GenreWhitening

MOST_ROWS = 15_000  # of the kernel matrix and its inverse: 2 GB each
_PAIRS_AT_ONCE = 10_000_000  # pairs of slices per block of a comparison of sets: 80 MB


@dataclass(eq=False, repr=False)
class KernelRidgeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Regression onto one column per genre with a radial kernel; all genres have the same weight.

    Probabilities are the softmax of the columns divided by a temperature. The temperature fits the left-out predictions
    of training tracks, which have a closed form in ridge regression and need no second fit. A track is left out of the
    regression, but not of the whitening before it.
    """

    gamma: Positive = 1.0  # of the kernel, in units of one over the number of features; a larger one is narrower
    ridge: Positive = 0.3  # added to the kernel matrix's diagonal; a larger one makes a smoother regression

    def fit(
        self, vectors: NDArray[np.floating], genre: NDArray[np.int64], track: NDArray[np.int64] | None = None
    ) -> Self:
        """Fit to vectors (row, feature) and genres (row,).

        Rows of a track (row,) are left out together; without tracks, rows are left out one by one.

        Raises:
            UserError: too many rows for one kernel matrix.
        """
        if len(vectors) > MOST_ROWS:
            problem = f"{len(vectors)} training windows are too many for a kernel matrix, the limit is {MOST_ROWS}"
            raise UserError(problem, key="model", hint="set window=track, or choose another model")
        self.vectors_ = self._stored(vectors)
        self.classes_, number = np.unique(genre, return_inverse=True)
        count = np.bincount(number)
        target = np.eye(len(count))[number] - 1 / len(count)
        system = self._kernel(self.vectors_, self.vectors_)
        system[np.diag_indices_from(system)] += self.ridge * count[number] / count.mean()
        inverse = cho_solve(cho_factor(system, overwrite_a=True, lower=True), np.eye(len(system)), overwrite_b=True)
        self.weights_ = inverse @ target
        left_out = target - _left_out(inverse, self.weights_, np.arange(len(number)) if track is None else track)
        # fit_temperature searches in the range of networks' logits; columns of a smooth regression are far smaller
        size = left_out.std()
        self.temperature_ = size * fit_temperature(left_out / size, number)
        return self

    def decision_function(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute the columns, (row, genre) float64: about 1 for the genre and 0 for others, minus their mean."""
        return np.asarray(self._kernel(self._stored(vectors), self.vectors_) @ self.weights_)

    def predict_proba(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """Compute probabilities, (row, genre) float64."""
        return np.asarray(softmax(self.decision_function(vectors) / self.temperature_, axis=1))

    def _stored(self, vectors: NDArray[np.floating]) -> Any:
        return np.asarray(vectors, np.float64)

    def _kernel(self, first: Any, second: Any) -> NDArray[np.float64]:
        return np.asarray(rbf_kernel(first, second, self.gamma / second.shape[1]))


def _left_out(
    inverse: NDArray[np.float64], weights: NDArray[np.float64], track: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute targets minus predictions of the regression without the row's track, (row, genre)."""
    error = np.empty_like(weights)
    order = np.argsort(track, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(track[order])) + 1):
        error[rows] = np.linalg.solve(inverse[np.ix_(rows, rows)], weights[rows])
    return error


@dataclass(eq=False, repr=False)
class SetKernelClassifier(KernelRidgeClassifier):
    """Kernel ridge regression on sets of slices, compared by the mean radial kernel over all pairs of their slices.

    A window is one row of all its slices, one after the other; padding is NaN.
    """

    takes_sets = True
    ridge: Positive = 0.03
    num_features: Count = 1  # of a slice
    whitening: Positive | None = None  # shrinkage of `GenreWhitening`; None for no whitening

    def fit(
        self, vectors: NDArray[np.floating], genre: NDArray[np.int64], track: NDArray[np.int64] | None = None
    ) -> Self:
        """Fit to windows (row, slice times feature) and genres (row,); rows of a track (row,) are left out together."""
        self.front_ = None
        if self.whitening is not None:
            slices, count = self._slices(vectors)
            self.front_ = GenreWhitening(self.whitening).fit(slices, np.repeat(genre, count))
        return super().fit(vectors, genre, track)

    def _slices(self, vectors: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the slices (slice, feature) of all windows, and the number of slices of each (window,)."""
        slices = np.asarray(vectors, np.float64).reshape(len(vectors), -1, self.num_features)
        real = ~np.isnan(slices[:, :, 0])
        return slices[real], real.sum(axis=1)

    def _stored(self, vectors: NDArray[np.floating]) -> Any:
        slices, count = self._slices(vectors)
        return [slices if self.front_ is None else self.front_.transform(slices), count]

    def _kernel(self, first: Any, second: Any) -> NDArray[np.float64]:
        (slices, count), (others, other_count) = first, second
        first_slice, other_first = np.cumsum(count) - count, np.cumsum(other_count) - other_count
        mean = np.empty((len(count), len(other_count)))
        at_once = max(1, _PAIRS_AT_ONCE // (len(others) * int(count.max())))
        for window in range(0, len(count), at_once):  # all pairs at once would not fit into memory
            part = slice(window, window + at_once)
            stop = first_slice[part][-1] + count[part][-1]
            pairs = rbf_kernel(slices[first_slice[window] : stop], others, self.gamma / self.num_features)
            by_window = np.add.reduceat(pairs, other_first, axis=1) / other_count
            mean[part] = np.add.reduceat(by_window, first_slice[part] - first_slice[window]) / count[part, None]
        return mean
