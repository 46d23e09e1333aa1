"""An LSTM as a maker of features, and another classifier on them.

Source: Yi, Zhu, Yue and Wang, "Music genre classification with LSTM based on time and frequency domain features",
ICCCS 2021.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from genregrid.errors import UserError
from genregrid.models.estimator import EstimatorHead, is_fitting
from genregrid.models.lstm import LSTM


class DeepFeatureLSTM(LSTM):
    """Base of the two: the LSTM learns by its own last layer; what is scored is an estimator on its last state.

    Before each validation the LSTM is frozen as it is, and the estimator fitted on the states of the training windows;
    the epoch that is kept is thus the best of the two together. A subclass has a `fit_estimator`.

    Args:
        smoothing: share of every probability, in (0, 1), that is spread over all genres (`EstimatorHead`).
        shared: arguments of `LSTM`; `ema_decay` must stay ``None``.

    Raises:
        UserError: smoothing out of range, or an average of weights.
    """

    def __init__(self, *, smoothing: float = 1e-3, **shared: Any) -> None:
        super().__init__(**shared)
        if self.ema_decay is not None:
            raise UserError(
                f"model.ema_decay={self.ema_decay:g}: the estimator is fitted on the LSTM's own states, not on "
                "those of an average of its weights; set it to null."
            )
        self.estimator = EstimatorHead(len(self.genres), smoothing)

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted classifier of scikit-learn, from vectors (row, feature), genres (row,) and tracks (row,)."""
        raise NotImplementedError  # both subclasses have their own

    def vectors(self, batch: dict[str, Tensor]) -> Tensor:
        """The LSTM's state at the last slice of each window, (batch, hidden)."""
        features, length = batch["features"].to(self.device), batch["length"].to(self.device)
        return self.last_state(self.transform(features), length)

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """The estimator's logits of a batch of raw features, (batch, genre) float32."""
        logits: Tensor = self.estimator(self.vectors(batch))
        return logits

    def on_validation_epoch_start(self) -> None:
        """Fit the estimator on the LSTM as it is, where this validation stands at the end of a training epoch."""
        if is_fitting(self):
            self.estimator.fit(self.trainer.train_dataloader, self.vectors, self.fit_estimator)  # type: ignore[arg-type]  # Lightning leaves the type open
