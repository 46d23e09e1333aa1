"""An LSTM in both directions of a track, with attention over its slices (`genregrid.models.pooling`).

Source: Graves and Schmidhuber, "Framewise phoneme classification with bidirectional LSTM", Neural Networks 18, 2005.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from genregrid.models.argument import Depth, Share, Width
from genregrid.models.network import Network
from genregrid.models.pooling import Attention


class BiLSTMAttention(Network):
    """Bidirectional LSTM layers, a weighted mean of their states, dropout and a linear layer.

    Args:
        hidden_size: features of each direction's state, 1 or more.
        num_layers: LSTM layers, 1 or more.
        dropout: probability in [0, 1) of dropping a feature of the weighted mean.
    """

    def __init__(self, *, hidden_size: Width = 128, num_layers: Depth = 1, dropout: Share = 0.5, **shared: Any) -> None:
        super().__init__(**shared)
        self.lstm = nn.LSTM(len(self.feature_names), hidden_size, num_layers, batch_first=True, bidirectional=True)
        self.attention = Attention(2 * hidden_size, hidden_size)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden_size, len(self.genres)))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        num_slices = features.shape[1]
        if bool((length == num_slices).all()):
            states, _ = self.lstm(features)
        else:  # packed, so that the backward direction starts at the end of a sequence and not in its padding
            packed = pack_padded_sequence(features, length.cpu(), batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=num_slices)
        logits: Tensor = self.head(self.attention(states, length))
        return logits
