"""Certainty: the ratio of the probabilities of the two most probable genres."""

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def certainty(logits: Tensor) -> Tensor:
    """Compute log10(p1 / p2) of the two most probable genres, in decades, 0 or more; (..., genre) -> (...).

    It is computed from logits as (z1 - z2) / ln 10, because a softmax in float32 rounds a small p2 to zero.

    Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", section 6.2.

    >>> certainty(torch.tensor([[0.0, 2.302585, -1.0]]))
    tensor([1.0000])
    """
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return (first - second) / math.log(10)


class Certainty(Metric):
    """Mean certainty of the samples of each true genre, (genre,) float32, in decades; NaN for a genre without samples.

    It is grouped by the true genre because the paper shows it together with recall. There are at least 2 genres.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, num_genres: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # float64: in float32, a sum over a million slices would lose its last digits
        self.add_state("total", torch.zeros(num_genres, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(num_genres, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add samples: `logits` (sample, genre), `target` (sample,) int64."""
        self.total.index_add_(0, target, certainty(logits).double())
        self.count.index_add_(0, target, torch.ones_like(target, dtype=torch.float64))

    def compute(self) -> Tensor:
        """Return the mean certainty of each genre, (genre,) float32."""
        return (self.total / self.count).float()
