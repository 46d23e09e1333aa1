"""A feed-forward network on the set of a track's slices; their order has no effect.

Source: Zaheer et al., "Deep sets", NeurIPS 2017: a network for each member, a pooling, a network for the pool.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from genregrid.models.argument import Allowed, Depth, Share, Width
from genregrid.models.network import Network
from genregrid.models.pooling import MOST_SUMMARIES, SUMMARIES, Attention, masked_max, masked_mean, masked_spread

Summary = Annotated[
    Sequence[str],
    Allowed(
        f"must be a list of {', '.join(SUMMARIES)}, or []",
        lambda value: isinstance(value, list | tuple) and len(value) <= MOST_SUMMARIES and {*value} <= {*SUMMARIES},
    ),
]


class SetMLP(Network):
    """Layers for each slice; mean, maximum, spread and attention over slices side by side; a layer and a linear layer.

    Args:
        hidden_size: features of each layer, 1 or more.
        num_layers: layers for each slice, 1 or more.
        dropout: probability in [0, 1) of dropping a feature before each layer after the pooling; half of it between
            layers for slices.
        input_dropout: probability in [0, 1) of dropping a descriptor of a slice; for a summary, twice as much, at most
            0.9.
        summary: names of `genregrid.models.pooling.SUMMARIES`, which are a second input with a separate layer; may be
            empty.
    """

    def __init__(
        self,
        *,
        hidden_size: Width = 128,
        num_layers: Depth = 2,
        dropout: Share = 0.5,
        input_dropout: Share = 0.1,
        summary: Summary = (),
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
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
        """Compute logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        states = self.each_slice(features)
        pools = [pool(states, length) for pool in (masked_mean, masked_max, masked_spread, self.attention)]
        if self.summary:
            known = torch.cat([SUMMARIES[name](features, length) for name in self.summary], dim=1)
            pools.append(self.of_summary(known))
        logits: Tensor = self.head(torch.cat(pools, dim=1))
        return logits
