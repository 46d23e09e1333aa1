"""Gradient boosting of trees, by LightGBM.

Source: Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from genregrid.errors import UserError
from genregrid.models.argument import Allowed, Count, Positive, is_number, is_whole
from genregrid.program import install_command

try:
    import lightgbm
except ModuleNotFoundError:
    hint = f"run {install_command('boosting')}"
    raise UserError("lightgbm is not installed", key="model", value="boosting", hint=hint) from None

_ROW_SHARE = 0.7  # of the training rows, drawn for every tree: trees of the same rows make the same errors
Leaves = Annotated[int, Allowed("must be a whole number, 2 or more", lambda value: is_whole(value, 2))]
FeatureShare = Annotated[
    float, Allowed("must be above 0, and at most 1", lambda value: is_number(value, 0, 1) and value != 0)
]


@dataclass(eq=False, repr=False)
class BoostedTrees(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Small trees, each fitted to the errors of those before it."""

    num_rounds: Count = 200  # trees of a genre, 1 or more
    learning_rate: Positive = 0.05  # share of each tree that is added, above 0
    num_leaves: Leaves = 8  # of a tree, 2 or more
    min_leaf: Count = 10  # training rows in a leaf, 1 or more
    feature_share: FeatureShare = 0.3  # share of the features, in (0, 1], that each tree may use

    def fit(self, vectors: NDArray[np.floating], genre: NDArray[np.int64]) -> Self:
        """Fit to vectors (row, feature) and genres (row,); torch's random state seeds LightGBM's."""
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
            deterministic=True,  # the same trees on every number of threads: sums of a feature are made by one of them
            force_col_wise=True,
            verbose=-1,
        )
        try:
            self.booster_ = model.fit(vectors, genre)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(str(error)) from error
        self.classes_ = model.classes_
        return self

    def predict_proba(self, vectors: NDArray[np.floating]) -> Any:
        """Compute probabilities, (row, genre) float64."""
        return self.booster_.predict_proba(vectors)
