"""Certainty: the ratio of the probabilities of the two most probable genres."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torchmetrics import Metric

if TYPE_CHECKING:  # a run that draws nothing does not import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def certainty(logits: Tensor) -> Tensor:
    """Compute log10(p1 / p2) of the two most probable genres, in decades, 0 or more; (..., genre) -> (...).

    It is computed from logits as (z1 - z2) / ln 10, because a softmax in float32 rounds a small p2 to zero.

    Raises:
        ValueError: fewer than two genres, or a logit that is NaN or infinite.

    Source: DeMarco, Martz and Ta, "From Beethoven to Beyoncé", section 6.2.

    >>> certainty(torch.tensor([[0.0, 2.302585, -1.0]]))
    tensor([1.0000])
    """
    if logits.ndim == 0 or logits.shape[-1] < 2:
        raise ValueError("certainty compares two genres, and these logits have fewer")
    if not logits.isfinite().all():
        raise ValueError("logits must be finite numbers, and one is NaN or infinite")
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    return (first - second) / math.log(10)


class Certainty(Metric):
    """Mean certainty of the samples of each true genre, (genre,) float32, in decades; NaN for a genre without samples.

    It is grouped by the true genre because the paper shows it together with recall. There are at least 2 genres. The
    logits may have any precision; the sums of the state are float64.
    """

    is_differentiable = False  # sums of many batches keep no graph; `certainty` is differentiable
    higher_is_better = None
    full_state_update = False
    plot_lower_bound = 0.0
    plot_legend_name = "Genre"
    total: Tensor
    count: Tensor

    def __init__(self, num_genres: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # float64: in float32, a sum over a million slices would lose its last digits
        self.add_state("total", torch.zeros(num_genres, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(num_genres, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add samples: `logits` (sample, genre), `target` (sample,) int64.

        Raises:
            ValueError: another number of genres, other numbers of samples, or a logit that is NaN or infinite.
        """
        if logits.shape != (len(target), len(self.total)):
            expected = f"({len(target)}, {len(self.total)})"
            raise ValueError(f"logits must be (sample, genre), here {expected}, not {tuple(logits.shape)}")
        # the dtype of the state is another one after `set_dtype`
        self.total.index_add_(0, target, certainty(logits.detach()).to(self.total.dtype))
        self.count.index_add_(0, target, torch.ones_like(target, dtype=self.count.dtype))

    def compute(self) -> Tensor:
        """Return the mean certainty of each genre, (genre,) float32."""
        return (self.total / self.count).float()

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: "Axes | None" = None) -> "tuple[Figure, Axes]":
        """Draw one or several values of `compute`, by default the current one, a point per genre.

        `ax` is where to draw, by default a new figure.
        """
        figure, axes = self._plot(val, ax)
        return figure, cast("Axes", axes)
