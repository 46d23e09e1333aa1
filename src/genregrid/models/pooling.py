"""One vector of the slices of a window, padding left out."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def inside(features: Tensor, length: Tensor) -> Tensor:
    """(batch, slice) bool: which slices of (batch, slice, feature) stand before `length` (batch,)."""
    return torch.arange(features.shape[1], device=features.device) < length.unsqueeze(1)


def last_slice(features: Tensor, length: Tensor) -> Tensor:
    """The last slice that is not padding, (batch, slice, feature) -> (batch, feature)."""
    return features[torch.arange(len(length), device=length.device), length - 1]


def masked_mean(features: Tensor, length: Tensor) -> Tensor:
    """Mean over the slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    if features.shape[1] == 1:
        return features.squeeze(1)
    # (batch, slice) -> (batch, slice, 1); padding is replaced, not multiplied: zero times infinity is no zero
    total = features.masked_fill(~inside(features, length).unsqueeze(2), 0.0).sum(dim=1)
    return total / length.unsqueeze(1)


def late_mean(features: Tensor, length: Tensor) -> Tensor:
    """Mean over the second half of the slices, (batch, slice, feature) -> (batch, feature): behind an introduction."""
    position = torch.arange(features.shape[1], device=features.device)
    early = position < (length // 2).unsqueeze(1)
    sounding = features.masked_fill((early | ~inside(features, length)).unsqueeze(2), 0.0)
    return sounding.sum(dim=1) / (length - length // 2).unsqueeze(1)


def masked_max(features: Tensor, length: Tensor) -> Tensor:
    """Largest over the slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    return features.masked_fill(~inside(features, length).unsqueeze(2), -torch.inf).amax(dim=1)


def masked_min(features: Tensor, length: Tensor) -> Tensor:
    """Smallest over the slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    return -masked_max(-features, length)


def masked_quantile(features: Tensor, length: Tensor, share: float) -> Tensor:
    """Quantile over the slices that are not padding, (batch, slice, feature) -> (batch, feature); `share` in [0, 1]."""
    known = features.masked_fill(~inside(features, length).unsqueeze(2), torch.nan)
    return known.nanquantile(share, dim=1)


def masked_spread(features: Tensor, length: Tensor) -> Tensor:
    """Standard deviation over the slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    distance = features - masked_mean(features, length).unsqueeze(1)
    # the root of nothing has no slope, and a window may have one slice
    return masked_mean(distance.square(), length).clamp_min(1e-12).sqrt()


def pooled_slice(features: Tensor, length: Tensor, feature_names: Sequence[str]) -> Tensor:
    """The descriptors of a window as one long slice, (batch, slice, feature) -> (batch, feature), of raw descriptors.

    As `genregrid.data.reslice` pools: means by their mean, variances by the law of total variance. A descriptor that is
    neither, such as tempo, is averaged.
    """
    pooled = masked_mean(features, length)
    position = {name: index for index, name in enumerate(feature_names)}
    variances = [name for name in position if name.endswith("_var") and f"{name.removesuffix('_var')}_mean" in position]
    if not variances:
        return pooled
    column = torch.tensor([position[name] for name in variances], device=features.device)
    mean = torch.tensor([position[f"{name.removesuffix('_var')}_mean"] for name in variances], device=features.device)
    between = masked_spread(features[..., mean], length).square()
    return pooled.index_add(1, column, between)


_LEAST_SPREAD = 0.05  # deviations; a track of one slice has none, and a logarithm must not end
#: What may become of the transformed slices of a window, (batch, slice, feature) -> (batch, feature).
SUMMARIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": masked_mean,
    "spread": masked_spread,
    "log_spread": lambda features, length: (masked_spread(features, length) + _LEAST_SPREAD).log(),
    "late": late_mean,
    "lowest": masked_min,
    "highest": masked_max,
    "lower_quartile": lambda features, length: masked_quantile(features, length, 0.25),
    "upper_quartile": lambda features, length: masked_quantile(features, length, 0.75),
}


class Attention(nn.Module):
    """A weighted mean over slices, the weights learnt from what each slice holds.

    Args:
        num_features: of a slice.
        hidden_size: of the layer between a slice and its weight, 1 or more.

    Source: Yang et al., "Hierarchical attention networks for document classification", NAACL 2016, section 2.2.
    """

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.score = nn.Sequential(
            nn.Linear(num_features, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1, bias=False)
        )

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """(batch, slice, feature) -> (batch, feature), padding left out."""
        # (batch, slice, 1) -> (batch, slice)
        scores = self.score(features).squeeze(2).masked_fill(~inside(features, length), -torch.inf)
        known = features.masked_fill(~inside(features, length).unsqueeze(2), 0.0)
        pooled: Tensor = (scores.softmax(dim=1).unsqueeze(2) * known).sum(dim=1)
        return pooled
