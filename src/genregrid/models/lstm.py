"""The paper's main model: a long short-term memory network on the sequence of a track's slices.

Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", sections 4 and 5.3.
"""

from typing import Any

from torch import Tensor, nn

from genregrid.models.argument import Depth, Share, Width
from genregrid.models.network import Network
from genregrid.models.pooling import last_slice


class LSTM(Network):
    """LSTM layers, a dense layer with ReLU, dropout, and a linear layer on the state at the last slice.

    Args:
        hidden_size: features of the LSTM's state and of the dense layer, 1 or more.
        num_layers: LSTM layers, 1 or more.
        dropout: probability in [0, 1) of dropping a feature of the dense layer.
    """

    def __init__(self, *, hidden_size: Width = 64, num_layers: Depth = 2, dropout: Share = 0.3, **shared: Any) -> None:
        super().__init__(**shared)
        self.lstm = nn.LSTM(len(self.feature_names), hidden_size, num_layers, batch_first=True)
        dense, last = nn.Linear(hidden_size, hidden_size), nn.Linear(hidden_size, len(self.genres))
        self.head = nn.Sequential(dense, nn.ReLU(), nn.Dropout(dropout), last)
        self._initialise_as_keras()

    def _initialise_as_keras(self) -> None:
        """Set the initial weights of Keras, which the paper used; with PyTorch's own the model learns more slowly."""
        for name, weight in self.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(weight)
            elif "weight" in name:
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.zeros_(weight)
        for layer in range(self.lstm.num_layers):
            # the order of gates is input, forget, cell, output; an open forget gate keeps the past at first
            bias = getattr(self.lstm, f"bias_ih_l{layer}")
            nn.init.ones_(bias.detach()[self.lstm.hidden_size : 2 * self.lstm.hidden_size])

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute logits, (batch, genre), from features (batch, slice, feature) and length (batch,).

        Padding follows a sequence and the LSTM runs forward, so the state at the last slice does not depend on it.
        """
        logits: Tensor = self.head(self.last_state(features, length))
        return logits

    def last_state(self, features: Tensor, length: Tensor) -> Tensor:
        """Return the state at the last slice, (batch, hidden)."""
        return last_slice(self.lstm(features)[0], length)
