"""Linear discriminant analysis with a shrunken covariance.

Source: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
Multivariate Analysis 88, 2004, for how much it is shrunken.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorClassifier, known_shrinkage


class LDA(EstimatorClassifier):
    """A mean per genre and one covariance matrix for all.

    Args:
        shrinkage: share of the covariance, in [0, 1], that gives way to a multiple of the identity matrix; ``None``
            takes Ledoit and Wolf's.
        shared: arguments of `EstimatorClassifier`; `whitening` must stay ``None``.

    Raises:
        UserError: shrinkage out of range, or whitening.
    """

    def __init__(self, *, shrinkage: float | None = None, **shared: Any) -> None:
        super().__init__(**shared)
        if self.whitening is not None:
            raise UserError(
                f"model.whitening={self.whitening:g}: LDA whitens by the same covariance itself, and cannot "
                "estimate it on what has been whitened by it; set it to null."
            )
        self.shrinkage = known_shrinkage(shrinkage)

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in a LinearDiscriminantAnalysis."""
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage)
        return make_pipeline(*self.front(), model).fit(vectors.astype(np.float64), genre)
