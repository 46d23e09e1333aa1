"""Gradient boosting of trees, by LightGBM.

Source: Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline

from genregrid.errors import UserError
from genregrid.models.base import check_counts
from genregrid.models.estimator import EstimatorClassifier

try:
    import lightgbm
except ModuleNotFoundError:
    raise UserError('lightgbm is not installed: model=boosting needs `pip install -e ".[boosting]"`.') from None

_ROW_SHARE = 0.7  # of the training rows, drawn anew for every tree: trees that see the same rows err alike


class Boosting(EstimatorClassifier):
    """Small trees, each fitted to what those before it got wrong.

    Args:
        num_rounds: trees of a genre, 1 or more.
        learning_rate: share of each tree that is added, above 0.
        num_leaves: of a tree, 2 or more.
        min_leaf: training rows in a leaf, 1 or more.
        feature_share: share of the descriptors, in (0, 1], that each tree may use.
        shared: arguments of `EstimatorClassifier`.

    Raises:
        UserError: a value out of range.
    """

    def __init__(
        self,
        *,
        num_rounds: int = 200,
        learning_rate: float = 0.05,
        num_leaves: int = 8,
        min_leaf: int = 10,
        feature_share: float = 0.3,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_counts(num_rounds=num_rounds, num_leaves=num_leaves, min_leaf=min_leaf)
        if num_leaves < 2 or learning_rate <= 0 or not 0 < feature_share <= 1:
            raise UserError(
                f"model.num_leaves={num_leaves}: 2 or more; learning_rate={learning_rate:g}: above 0; "
                f"feature_share={feature_share:g}: above 0, at most 1."
            )
        self.num_rounds = num_rounds
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_leaf = min_leaf
        self.feature_share = feature_share

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted pipeline that ends in an LGBMClassifier."""
        model = lightgbm.LGBMClassifier(
            n_estimators=self.num_rounds,
            learning_rate=self.learning_rate,
            num_leaves=self.num_leaves,
            min_child_samples=self.min_leaf,
            colsample_bytree=self.feature_share,
            subsample=_ROW_SHARE,
            subsample_freq=1,
            random_state=int(torch.randint(2**31, ())),
            n_jobs=torch.get_num_threads(),
            verbose=-1,
        )
        try:
            return make_pipeline(*self.front(), model).fit(vectors, genre)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(str(error)) from error
