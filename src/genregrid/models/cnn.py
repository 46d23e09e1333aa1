"""Convolutions along a track's slices: what changes from one slice to the next, wherever it happens.

Source: Collobert et al., "Natural language processing (almost) from scratch", JMLR 12, 2011, section 3.2.2.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from genregrid.errors import UserError
from genregrid.models.base import check_counts, check_shares
from genregrid.models.network import Network
from genregrid.models.pooling import inside, masked_max, masked_mean


class CNN(Network):
    """Convolution layers over slices, the mean and the largest over slices, and a linear layer on both.

    Args:
        hidden_size: channels of each layer, 1 or more.
        num_layers: convolution layers, 1 or more.
        kernel_size: slices that a convolution spans, odd, 1 or more.
        dropout: probability in [0, 1) of dropping a feature behind each layer.
        shared: arguments of `Network`.

    Raises:
        UserError: an even kernel size.
    """

    def __init__(
        self,
        *,
        hidden_size: int = 128,
        num_layers: int = 2,
        kernel_size: int = 3,
        dropout: float = 0.5,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_counts(hidden_size=hidden_size, num_layers=num_layers, kernel_size=kernel_size)
        check_shares(dropout=dropout)
        if kernel_size % 2 == 0:
            raise UserError(f"model.kernel_size={kernel_size}: an odd number of slices.")
        sizes = [len(self.feature_names)] + [hidden_size] * num_layers
        self.convolutions = nn.ModuleList(
            nn.Conv1d(i, o, kernel_size, padding=kernel_size // 2) for i, o in pairwise(sizes)
        )
        self.between = nn.Sequential(nn.GELU(), nn.Dropout(dropout))
        self.head = nn.Linear(2 * hidden_size, len(self.genres))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        padding = ~inside(features, length).unsqueeze(1)
        states = features.transpose(1, 2)  # (batch, feature, slice)
        for convolution in self.convolutions:
            # zeros again before each layer, as the last one has reached over the end
            states = self.between(convolution(states.masked_fill(padding, 0.0)))
        states = states.transpose(1, 2)
        logits: Tensor = self.head(torch.cat([masked_mean(states, length), masked_max(states, length)], dim=1))
        return logits
