"""A feed-forward network on the set of a track's slices: their order does not count.

Source: Zaheer et al., "Deep sets", NeurIPS 2017: a network for each member, a pooling, a network for the pool.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from genregrid.models.network import Network
from genregrid.models.pooling import masked_max, masked_mean


class SetMLP(Network):
    """Layers for each slice, the mean and the largest over slices, and a linear layer on both.

    Args:
        hidden_size: features of each layer, 1 or more.
        num_layers: layers for each slice, 1 or more.
        dropout: probability in [0, 1) of dropping a feature behind each layer.
        shared: arguments of `Network`.
    """

    def __init__(self, *, hidden_size: int = 256, num_layers: int = 2, dropout: float = 0.5, **shared: Any) -> None:
        super().__init__(**shared)
        sizes = [len(self.feature_names)] + [hidden_size] * num_layers
        layers: list[nn.Module] = []
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), nn.LayerNorm(o), nn.GELU(), nn.Dropout(dropout)]
        self.each_slice = nn.Sequential(*layers)
        self.head = nn.Linear(2 * hidden_size, len(self.genres))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        states = self.each_slice(features)
        logits: Tensor = self.head(torch.cat([masked_mean(states, length), masked_max(states, length)], dim=1))
        return logits
