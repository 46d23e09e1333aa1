"""A feed-forward network on the set of a track's slices: their order does not count.

Source: Zaheer et al., "Deep sets", NeurIPS 2017: a network for each member, a pooling, a network for the pool.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from genregrid.errors import UserError
from genregrid.models.base import check_counts, check_shares
from genregrid.models.network import Network
from genregrid.models.pooling import SUMMARIES, Attention, masked_max, masked_mean, masked_spread


class SetMLP(Network):
    """Layers for each slice; mean, largest, spread and attention over slices side by side; a layer and a linear layer.

    Args:
        hidden_size: features of each layer, 1 or more.
        num_layers: layers for each slice, 1 or more.
        dropout: probability in [0, 1) of dropping a feature before each layer behind the slices; half of it between
            layers for slices.
        input_dropout: probability in [0, 1) of dropping a descriptor of a slice; twice as much, at most 0.9, of
            a summary.
        summary: names of `genregrid.models.pooling.SUMMARIES`: what else is told of a window's slices, through a layer
            of its own; none: nothing.
        shared: arguments of `Network`.

    Raises:
        UserError: an unknown summary.
    """

    def __init__(
        self,
        *,
        hidden_size: int = 128,
        num_layers: int = 2,
        dropout: float = 0.5,
        input_dropout: float = 0.1,
        summary: Sequence[str] = (),
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        check_counts(hidden_size=hidden_size, num_layers=num_layers)
        check_shares(dropout=dropout, input_dropout=input_dropout)
        if not isinstance(summary, list | tuple) or not {*summary} <= {*SUMMARIES}:
            raise UserError(f"model.summary={summary}: a list of {', '.join(SUMMARIES)}, or [].")
        self.summary = list(summary)
        sizes = [len(self.feature_names)] + [hidden_size] * num_layers
        layers: list[nn.Module] = []
        for number, (i, o) in enumerate(pairwise(sizes)):
            layers += [nn.Dropout(dropout / 2 if number else input_dropout), nn.Linear(i, o), nn.GELU()]
        self.each_slice = nn.Sequential(*layers)
        self.attention = Attention(hidden_size, hidden_size // 2 or 1)
        if summary:
            self.of_summary = nn.Sequential(
                nn.Dropout(min(2 * input_dropout, 0.9)),
                nn.Linear(len(summary) * len(self.feature_names), hidden_size),
                nn.GELU(),
            )
        self.head = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear((4 + bool(summary)) * hidden_size, hidden_size),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_size, len(self.genres)),
        )

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        states = self.each_slice(features)
        pools = [pool(states, length) for pool in (masked_mean, masked_max, masked_spread, self.attention)]
        if self.summary:
            known = torch.cat([SUMMARIES[name](features, length) for name in self.summary], dim=1)
            pools.append(self.of_summary(known))
        logits: Tensor = self.head(torch.cat(pools, dim=1))
        return logits
