"""The paper's baseline: a multilayer perceptron on one feature vector.

Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", sections 4 and 5.3.
"""

from typing import Any

from torch import Tensor, nn

from genregrid.models.argument import Share, Switch, Width
from genregrid.models.network import Network
from genregrid.models.pooling import masked_mean


class MLP(Network):
    """Two linear layers on the mean feature vector of a window; the paper trains it on windows of one slice.

    The paper names no activation between the layers, but a ReLU in its LSTM. So there is none by default; a ReLU scores
    lower on validation tracks of GTZAN (docs/results.md). Dropout is applied before the final layer: dropout of logits,
    another reading of the paper, scores lower too.

    Args:
        hidden_size: hidden features, 1 or more; ``None`` for the paper's: 13 for 30-second slices, 64 for shorter ones.
        relu: whether there is a ReLU between the layers; without it the model is a softmax regression of rank
            `hidden_size`.
        dropout: probability in [0, 1) of dropping a hidden feature.
    """

    def __init__(
        self, *, hidden_size: Width | None = None, relu: Switch = False, dropout: Share = 0.3, **shared: Any
    ) -> None:
        super().__init__(**shared)
        if hidden_size is None:
            hidden_size = 13 if self.slice_seconds >= 30 else 64
        self.layers = nn.Sequential(
            nn.Linear(len(self.feature_names), hidden_size),
            nn.ReLU() if relu else nn.Identity(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, len(self.genres)),
        )

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        logits: Tensor = self.layers(self.pooled(features, length))
        return logits

    def pooled(self, features: Tensor, length: Tensor) -> Tensor:
        """Return the input of the first layer for each window, (batch, feature)."""
        return masked_mean(features, length)
