"""Recurrent layers as a scan over slices, which keeps the number of slices open in an exported file.

torch exports its own LSTM and GRU layers with as many steps as the example has slices.
"""

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan  # not public yet; pyproject.toml names one exact torch

from genregrid.models.pooling import inside


class ScannedLayers(nn.Module):
    """The layers of an `nn.LSTM` or `nn.GRU` with ``batch_first``, and the same numbers up to rounding.

    Args:
        layers: the trained layers, without dropout between them.
    """

    def __init__(self, layers: nn.RNNBase) -> None:
        super().__init__()
        self.layers = layers
        self.step = _gru_step if isinstance(layers, nn.GRU) else _lstm_step
        self.num_states = 1 if isinstance(layers, nn.GRU) else 2

    def forward(self, features: Tensor, length: Tensor | None = None) -> tuple[Tensor, None]:
        """Compute states, (batch, slice, hidden), of features (batch, slice, feature).

        A second direction needs the length (batch,): it starts at the last slice that is not padding.
        """
        states = features
        for layer in range(self.layers.num_layers):
            directions = [self._scanned(states, f"_l{layer}")]
            if self.layers.bidirectional:
                assert length is not None
                backward = self._scanned(_reversed(states, length), f"_l{layer}_reverse")
                directions.append(_reversed(backward, length))
            states = torch.cat(directions, dim=2)
        return states, None

    def _scanned(self, features: Tensor, name: str) -> Tensor:
        """Run one direction of one layer, (batch, slice, feature) -> (batch, slice, hidden)."""
        named = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
        weight, bias, inner, inner_bias = (getattr(self.layers, part + name) for part in named)
        start = tuple(features.new_zeros(features.shape[0], inner.shape[1]) for _ in range(self.num_states))

        def step(states: tuple[Tensor, ...], gates: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
            after = self.step(states, gates, nn.functional.linear(states[0], inner, inner_bias))
            return after, after[0].clone()  # an output must not be the state itself

        gates = nn.functional.linear(features, weight, bias).transpose(0, 1)  # (slice, batch, gate)
        states: Tensor = scan(step, start, gates, dim=0)[1]
        return states.transpose(0, 1)


def _lstm_step(states: tuple[Tensor, ...], gates: Tensor, inner: Tensor) -> tuple[Tensor, ...]:
    entry, forget, cell, output = (gates + inner).chunk(4, dim=1)
    memory = forget.sigmoid() * states[1] + entry.sigmoid() * cell.tanh()
    return output.sigmoid() * memory.tanh(), memory


def _gru_step(states: tuple[Tensor, ...], gates: Tensor, inner: Tensor) -> tuple[Tensor, ...]:
    (reset, update, new), (inner_reset, inner_update, inner_new) = gates.chunk(3, dim=1), inner.chunk(3, dim=1)
    share = (update + inner_update).sigmoid()
    proposed = (new + (reset + inner_reset).sigmoid() * inner_new).tanh()
    return ((1 - share) * proposed + share * states[0],)


def _reversed(features: Tensor, length: Tensor) -> Tensor:
    """Reverse the slices before `length` of each window, and keep its padding."""
    position = torch.arange(features.shape[1], device=features.device)
    order = torch.where(inside(features, length), length.unsqueeze(1) - 1 - position, position)
    return features.gather(1, order.unsqueeze(2).expand_as(features))
