"""One multivariate normal distribution per genre.

Source: Tzanetakis and Cook, "Musical genre classification of audio signals", IEEE Transactions on Speech and Audio
Processing 10, 2002, section IV, the simple Gaussian classifier.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from genregrid.models.estimator import EstimatorClassifier, known_shrinkage


class Gaussian(EstimatorClassifier):
    """A mean and a covariance matrix per genre, every genre as likely as another.

    Args:
        shrinkage: share of each covariance, in [0, 1], that gives way to a multiple of the identity matrix; ``None``
            takes Ledoit and Wolf's for each genre. A genre has hardly more tracks than descriptors, and its own
            covariance alone could hardly be inverted.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: shrinkage out of range.
    """

    def __init__(self, *, shrinkage: float | None = None, **shared: Any) -> None:
        super().__init__(**shared)
        self.shrinkage = known_shrinkage(shrinkage)

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in a QuadraticDiscriminantAnalysis."""
        num = len(np.unique(genre))
        # scikit-learn takes a variance below `tol` for none and gives up; a shrunken one is small and real
        model = QuadraticDiscriminantAnalysis(
            solver="eigen", shrinkage=self.shrinkage, priors=np.full(num, 1 / num), tol=1e-12
        )
        return make_pipeline(*self.front(), model).fit(vectors.astype(np.float64), genre)
