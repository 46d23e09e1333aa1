"""An LSTM that computes features for another classifier.

Source: Yi, Zhu, Yue and Wang, "Music genre classification with LSTM based on time and frequency domain features",
ICCCS 2021.
"""

from collections.abc import Mapping
from typing import Any

from sklearn.preprocessing import StandardScaler
from torch import Tensor

from genregrid.errors import UserError
from genregrid.models.argument import Part, Switch, split_arguments
from genregrid.models.estimator import EstimatorHead, build_estimator, has_validation, is_fitting, skip_sanity_check
from genregrid.models.lstm import LSTM


class DeepFeatureLSTM(LSTM):
    """An LSTM trained with a linear last layer, and scored by an estimator on its last state.

    Before each validation the estimator is fitted on the LSTM's states of the training windows. The checkpoint thus
    holds the best epoch of both together.

    Args:
        estimator: dotted name of the classifier's class.
        names: as for `build_estimator`.
        standardise: whether the estimator's input is standardised.
        smoothing: as for `EstimatorHead`.
        shared: arguments of `LSTM`, and all others of the estimator; `ema_decay` must stay ``None``.
    """

    def __init__(
        self,
        *,
        estimator: str,
        names: Mapping[str, str] | None = None,
        standardise: Switch = True,
        smoothing: Part = 1e-3,
        **shared: Any,
    ) -> None:
        own, arguments = split_arguments(LSTM, shared)
        super().__init__(**own)
        if self.ema_decay is not None:
            problem = "the estimator is fitted on states of the LSTM, not of an average of its weights"
            raise UserError(problem, key="model.ema_decay", value=self.ema_decay, hint="set null")
        blank = build_estimator(estimator, arguments, names)
        self.estimator = EstimatorHead(len(self.genres), smoothing, blank, [StandardScaler()] if standardise else [])

    def setup(self, stage: str) -> None:
        """Fit the transform if it is not fitted, and skip the trainer's first check of validation."""
        super().setup(stage)
        skip_sanity_check(self)

    def vectors(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute the LSTM's state at the last slice of each window, (batch, hidden)."""
        features, length = batch["features"].to(self.device), batch["length"].to(self.device)
        return self.last_state(self.transform(features), length)

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute the estimator's logits of a batch of raw features, (batch, genre) float32."""
        logits: Tensor = self.estimator(self.vectors(batch))
        return logits

    def on_validation_epoch_start(self) -> None:
        """Fit the estimator on the current LSTM, if this validation ends a training epoch."""
        if is_fitting(self):
            self.estimator.fit(self.trainer.train_dataloader, self.vectors)  # type: ignore[arg-type]  # Lightning leaves the type open

    def on_train_end(self) -> None:
        """Fit the estimator on the last LSTM, if there was no validation."""
        if not has_validation(self):
            self.eval()
            self.estimator.fit(self.trainer.train_dataloader, self.vectors)  # type: ignore[arg-type]  # as above
