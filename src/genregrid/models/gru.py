"""A gated recurrent unit, which has fewer weights than an LSTM.

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.
"""

from typing import Any

from torch import Tensor, nn

from genregrid.models.argument import Depth, Share, Width
from genregrid.models.network import Network
from genregrid.models.pooling import last_slice


class GRU(Network):
    """GRU layers, dropout, and a linear layer on the state at the last slice.

    Args:
        hidden_size: features of the state, 1 or more.
        num_layers: GRU layers, 1 or more.
        dropout: probability in [0, 1) of dropping a feature of the last state.
    """

    def __init__(self, *, hidden_size: Width = 128, num_layers: Depth = 1, dropout: Share = 0.5, **shared: Any) -> None:
        super().__init__(**shared)
        self.gru = nn.GRU(len(self.feature_names), hidden_size, num_layers, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden_size, len(self.genres)))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute logits, (batch, genre), from features (batch, slice, feature) and length (batch,).

        Padding follows a sequence and the GRU runs forward, so the state at the last slice does not depend on it.
        """
        logits: Tensor = self.head(last_slice(self.gru(features)[0], length))
        return logits
