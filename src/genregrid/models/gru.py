"""A gated recurrent unit: the LSTM's lighter peer.

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014.
"""

from typing import Any

from torch import Tensor, nn

from genregrid.models.base import check_counts, check_shares
from genregrid.models.network import Network
from genregrid.models.pooling import last_slice


class GRU(Network):
    """GRU layers, dropout, and a linear layer on the state at the last slice.

    Args:
        hidden_size: features of the state, 1 or more.
        num_layers: GRU layers, 1 or more.
        dropout: probability in [0, 1) of dropping a feature of the last state.
        shared: arguments of `Network`.
    """

    def __init__(self, *, hidden_size: int = 128, num_layers: int = 1, dropout: float = 0.5, **shared: Any) -> None:
        super().__init__(**shared)
        check_counts(hidden_size=hidden_size, num_layers=num_layers)
        check_shares(dropout=dropout)
        self.gru = nn.GRU(len(self.feature_names), hidden_size, num_layers, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden_size, len(self.genres)))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Logits, (batch, genre), from features (batch, slice, feature) and length (batch,).

        Padding stands behind a sequence and the GRU runs forward, so the state at the last slice never sees it.
        """
        logits: Tensor = self.head(last_slice(self.gru(features)[0], length))
        return logits
