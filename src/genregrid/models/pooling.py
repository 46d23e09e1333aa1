"""Pool the slices of a window into one vector, without padding."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def inside(features: Tensor, length: Tensor) -> Tensor:
    """Return a mask (batch, slice) bool of slices before `length` (batch,), for features (batch, slice, feature)."""
    return torch.arange(features.shape[1], device=features.device) < length.unsqueeze(1)


def last_slice(features: Tensor, length: Tensor) -> Tensor:
    """Return the last slice that is not padding, (batch, slice, feature) -> (batch, feature)."""
    return features[torch.arange(length.shape[0], device=length.device), length - 1]


def filled(features: Tensor, length: Tensor, value: float = 0.0) -> Tensor:
    """Replace padding by a value, (batch, slice, feature); zero times infinity would not be zero."""
    return features.masked_fill(~inside(features, length).unsqueeze(2), value)


def masked_mean(features: Tensor, length: Tensor) -> Tensor:
    """Average the slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    if features.shape[1] == 1:
        return features.squeeze(1)
    return filled(features, length).sum(dim=1) / length.unsqueeze(1)


def late_mean(features: Tensor, length: Tensor) -> Tensor:
    """Average the second half of the slices, after an introduction, (batch, slice, feature) -> (batch, feature)."""
    early = inside(features, length // 2)
    late = filled(features, length).masked_fill(early.unsqueeze(2), 0.0)
    return late.sum(dim=1) / (length - length // 2).unsqueeze(1)


def masked_max(features: Tensor, length: Tensor) -> Tensor:
    """Take the maximum over slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    return filled(features, length, -torch.inf).amax(dim=1)


def masked_min(features: Tensor, length: Tensor) -> Tensor:
    """Take the minimum over slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    return -masked_max(-features, length)


def masked_quantile(features: Tensor, length: Tensor, share: float) -> Tensor:
    """Take a quantile, `share` in [0, 1], over slices without padding, (batch, slice, feature) -> (batch, feature)."""
    # as `nanquantile`, to the last bit, in operations that can be exported
    ordered = filled(features, length, torch.inf).sort(dim=1).values
    rank = share * (length - 1).to(features.dtype)
    ends = (end.long().view(-1, 1, 1).expand(-1, 1, features.shape[2]) for end in (rank.floor(), rank.ceil()))
    low, high = (ordered.gather(1, end).squeeze(1) for end in ends)
    return torch.lerp(low, high, (rank - rank.floor()).unsqueeze(1))


def masked_spread(features: Tensor, length: Tensor) -> Tensor:
    """Compute the standard deviation over slices that are not padding, (batch, slice, feature) -> (batch, feature)."""
    distance = features - masked_mean(features, length).unsqueeze(1)
    # the gradient of a root is infinite at 0, which a window of one slice has
    return masked_mean(distance.square(), length).clamp_min(1e-12).sqrt()


def pooled_slice(features: Tensor, length: Tensor, feature_names: Sequence[str]) -> Tensor:
    """Pool raw descriptors of a window into those of one long slice, (batch, slice, feature) -> (batch, feature).

    All are averaged, and variances are pooled by the law of total variance, as in `genregrid.data.reslice`.
    """
    pooled = masked_mean(features, length)
    position = {name: index for index, name in enumerate(feature_names)}
    mean_of = {name: f"{name.removesuffix('_var')}_mean" for name in position if name.endswith("_var")}
    pairs = [(position[name], position[mean]) for name, mean in mean_of.items() if mean in position]
    if not pairs:
        return pooled
    variance, mean = torch.tensor(pairs, device=features.device).T
    return pooled.index_add(1, variance, masked_spread(features[..., mean], length).square())


_LEAST_SPREAD = 0.05  # standard deviations; a track of one slice has a spread of 0, which has no logarithm
#: Names of a list of summaries, which one vector holds side by side.
MOST_SUMMARIES = 20
#: Functions that pool the transformed slices of a window, (batch, slice, feature) -> (batch, feature).
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
    """A weighted mean over slices, with weights that a network of one hidden layer computes from each slice.

    Source: Yang et al., "Hierarchical attention networks for document classification", NAACL 2016, section 2.2.
    """

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        hidden, weight = nn.Linear(num_features, hidden_size), nn.Linear(hidden_size, 1, bias=False)
        self.score = nn.Sequential(hidden, nn.Tanh(), weight)

    def forward(self, features: Tensor, length: Tensor) -> Tensor:
        """Pool (batch, slice, feature) into (batch, feature), without padding."""
        scores = filled(self.score(features), length, -torch.inf).squeeze(2)  # (batch, slice)
        return (scores.softmax(dim=1).unsqueeze(2) * filled(features, length)).sum(dim=1)
