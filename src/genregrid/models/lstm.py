"""The paper's main model: a long short-term memory network on the sequence of a track's slices.

Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", sections 4 and 5.3.
"""

from typing import Any

from torch import Tensor, nn

from genregrid.models.base import check_counts, check_shares
from genregrid.models.network import Network
from genregrid.models.pooling import last_slice


class LSTM(Network):
    """LSTM layers, a dense layer with ReLU, dropout, and a linear layer on the state at the last slice.

    Args:
        hidden_size: features of the LSTM's state and of the dense layer, 1 or more.
        num_layers: LSTM layers, 1 or more.
        dropout: probability in [0, 1) of dropping a feature of the dense layer.
        shared: arguments of `Network`.
    """

    def __init__(self, *, hidden_size: int = 64, num_layers: int = 2, dropout: float = 0.3, **shared: Any) -> None:
        super().__init__(**shared)
        check_counts(hidden_size=hidden_size, num_layers=num_layers)
        check_shares(dropout=dropout)
        self.lstm = nn.LSTM(len(self.feature_names), hidden_size, num_layers, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, len(self.genres)),
        )
        self._initialise_as_keras()

    def _initialise_as_keras(self) -> None:
        """The initial weights of Keras, in which the paper's model was written; PyTorch's own learn more slowly."""
        for name, weight in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(weight)
            elif "weight" in name:
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.zeros_(weight)
        for layer in range(self.lstm.num_layers):
            # gates stand in the order input, forget, cell, output; a forget gate that begins open keeps the past
            bias = getattr(self.lstm, f"bias_ih_l{layer}")
            nn.init.ones_(bias.detach()[self.lstm.hidden_size : 2 * self.lstm.hidden_size])

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Logits, (batch, genre), from features (batch, slice, feature) and length (batch,).

        Padding stands behind a sequence and the LSTM runs forward, so the state at the last slice never sees it.
        """
        logits: Tensor = self.head(self.last_state(features, length))
        return logits

    def last_state(self, features: Tensor, length: Tensor) -> Tensor:
        """State at the last slice, (batch, hidden): what the network has made of the sequence."""
        return last_slice(self.lstm(features)[0], length)
