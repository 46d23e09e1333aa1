"""Random changes of training windows, against overfitting on a small corpus."""

import torch
from torch import Tensor

from genregrid.models.pooling import inside


def drop_slices(features: Tensor, length: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Drop slices of (batch, slice, feature) with a probability in [0, 1); return new features and lengths (batch,).

    The other slices keep their order and move to the front. A window that would lose every slice keeps all.
    """
    known = inside(features, length)
    kept = known & (torch.rand(known.shape, device=length.device) >= probability)
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, known)
    order = kept.logical_not().int().argsort(dim=1, stable=True)
    return features.gather(1, order.unsqueeze(2).expand_as(features)), kept.sum(dim=1)


def mix_windows(features: Tensor, length: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mix each window with another of its batch, slice by slice, and their targets with the same weight.

    The mixture is as short as the shorter of the two, so that padding is never mixed in.

    Args:
        features: (batch, slice, feature), transformed.
        length: (batch,) int64, slices that are not padding.
        target: (batch, genre) float32, probabilities.
        alpha: of the beta distribution of mixing weights, above 0; the weight of the window itself is at least 0.5.

    Source: Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018.
    """
    weight = torch.distributions.Beta(alpha, alpha).sample((len(length), 1)).to(features)
    weight = weight.maximum(1 - weight)
    other = torch.randperm(len(length), device=length.device)
    mixed = torch.lerp(features[other], features, weight.unsqueeze(2))
    return mixed, length.minimum(length[other]), torch.lerp(target[other], target, weight)
