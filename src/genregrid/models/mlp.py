"""The paper's baseline: a multilayer perceptron on one feature vector.

Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", sections 4 and 5.3.
"""

from typing import Any

from torch import Tensor, nn

from genregrid.models.base import check_counts, check_shares, check_switches
from genregrid.models.network import Network
from genregrid.models.pooling import masked_mean


class MLP(Network):
    """Two linear layers on the mean feature vector of a window (of one slice, as the paper trains it).

    Taken at its word, the paper has no activation between the layers, where its LSTM has a ReLU and says so; nor has
    this by default, and a ReLU does worse on validation tracks of GTZAN (docs/results.md). Dropout stands before the
    final layer: zeroing logits, as one sentence of the paper could be read, does worse too.

    Args:
        hidden_size: hidden features, 1 or more; ``None`` takes the paper's: 13 for 30-second slices, 64 for shorter.
        relu: whether a ReLU stands between the layers; without it the model is a softmax regression of rank
            `hidden_size`.
        dropout: probability in [0, 1) of dropping a hidden feature.
        shared: arguments of `Network`.
    """

    def __init__(
        self, *, hidden_size: int | None = None, relu: bool = False, dropout: float = 0.3, **shared: Any
    ) -> None:
        super().__init__(**shared)
        if hidden_size is None:
            hidden_size = 13 if self.slice_seconds >= 30 else 64
        check_counts(hidden_size=hidden_size)
        check_shares(dropout=dropout)
        check_switches(relu=relu)
        self.layers = nn.Sequential(
            nn.Linear(len(self.feature_names), hidden_size),
            nn.ReLU() if relu else nn.Identity(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, len(self.genres)),
        )

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        logits: Tensor = self.layers(self.pooled(features, length))
        return logits

    def pooled(self, features: Tensor, length: Tensor) -> Tensor:
        """What the layers see of each window, (batch, feature)."""
        return masked_mean(features, length)
