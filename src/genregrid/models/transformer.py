"""A transformer encoder over a track's slices.

Source: Vaswani et al., "Attention is all you need", NeurIPS 2017; Xiong et al., "On layer normalization in the
transformer architecture", ICML 2020, for normalising before each block.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from genregrid.errors import UserError
from genregrid.models.argument import Count, Depth, Share, Width
from genregrid.models.network import Network
from genregrid.models.pooling import filled, inside, masked_mean


class Transformer(Network):
    """A linear layer, sines of the position of each slice, encoder layers, the mean over slices, a linear layer.

    Args:
        hidden_size: features of each slice's state, a multiple of `num_heads` and of 2.
        num_layers: encoder layers, 1 or more.
        num_heads: attention heads, 1 or more.
        dropout: probability in [0, 1) of dropping a feature inside the layers and before the last.
    """

    def __init__(
        self,
        *,
        hidden_size: Width = 64,
        num_layers: Depth = 2,
        num_heads: Count = 4,
        dropout: Share = 0.3,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if hidden_size % num_heads or hidden_size % 2:
            problem = f"must be a multiple of 2 and of model.num_heads={num_heads}"
            raise UserError(problem, key="model.hidden_size", value=hidden_size)
        self.embed = nn.Linear(len(self.feature_names), hidden_size)
        layer = nn.TransformerEncoderLayer(
            hidden_size, num_heads, 2 * hidden_size, dropout, nn.functional.gelu, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers, nn.LayerNorm(hidden_size), enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden_size, len(self.genres)))

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Compute logits, (batch, genre), from features (batch, slice, feature) and length (batch,)."""
        outside = ~inside(features, length)
        embedded = self.embed(filled(features, length))
        states = self.encoder(embedded + positions(features.shape[1], embedded), src_key_padding_mask=outside)
        logits: Tensor = self.head(masked_mean(states, length))
        return logits


def positions(num_slices: int, like: Tensor) -> Tensor:
    """Compute sines and cosines of each position, (slice, feature), for states (batch, slice, feature) `like`."""
    size = like.shape[2]
    rate = torch.exp(torch.arange(0, size, 2, device=like.device) * (-math.log(10_000.0) / size))
    angle = torch.arange(num_slices, device=like.device).unsqueeze(1) * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1).to(like.dtype)
