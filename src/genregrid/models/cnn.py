"""Convolutions along a track's slices: they detect changes between neighbouring slices at any position.

Source: Collobert et al., "Natural language processing (almost) from scratch", JMLR 12, 2011, section 3.2.2.
"""

from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from genregrid.models.argument import Allowed, Depth, Share, Width, is_whole
from genregrid.models.network import Network
from genregrid.models.pooling import inside, masked_max, masked_mean

Odd = Annotated[
    int, Allowed("must be an odd whole number below 1000", lambda value: is_whole(value, 1, 999) and value % 2 == 1)
]


class CNN(Network):
    """Convolution layers over slices, mean and maximum over slices, and a linear layer on both.

    Args:
        hidden_size: channels of each layer, 1 or more.
        num_layers: convolution layers, 1 or more.
        kernel_size: slices that a convolution spans, odd, 1 or more.
        dropout: probability in [0, 1) of dropping a feature after each layer.
    """

    def __init__(
        self,
        *,
        hidden_size: Width = 128,
        num_layers: Depth = 2,
        kernel_size: Odd = 3,
        dropout: Share = 0.5,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        sizes = [len(self.feature_names)] + [hidden_size] * num_layers
        layers = (nn.Conv1d(i, o, kernel_size, padding=kernel_size // 2) for i, o in pairwise(sizes))
        self.convolutions = nn.ModuleList(layers)
        self.between = nn.Sequential(nn.GELU(), nn.Dropout(dropout))
        self.head = nn.Linear(2 * hidden_size, len(self.genres))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        padding = ~inside(features, length).unsqueeze(1)
        states = features.transpose(1, 2)  # (batch, feature, slice)
        for convolution in self.convolutions:
            # zeros again before each layer, as the previous one has written to padding
            states = self.between(convolution(states.masked_fill(padding, 0.0)))
        states = states.transpose(1, 2)
        logits: Tensor = self.head(torch.cat([masked_mean(states, length), masked_max(states, length)], dim=1))
        return logits
