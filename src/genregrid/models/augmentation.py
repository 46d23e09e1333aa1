"""Training windows changed a little each time they are seen, so that a small corpus is not learnt by heart."""

import torch
from torch import Tensor

from genregrid.models.pooling import inside


def drop_slices(features: Tensor, length: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """Leave slices out at random; those that stay keep their order and move to the front.

    Args:
        features: (batch, slice, feature).
        length: (batch,) int64, slices that are not padding.
        probability: of leaving a slice out, in [0, 1). A window that would lose every slice keeps all.

    Returns:
        Features of the same shape, and the new lengths, each 1 or more.
    """
    known = inside(features, length)
    kept = known & (torch.rand(known.shape, device=length.device) >= probability)
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, known)
    order = kept.logical_not().int().argsort(dim=1, stable=True)
    return features.gather(1, order.unsqueeze(2).expand_as(features)), kept.sum(dim=1)


def mix_windows(features: Tensor, length: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Each window mixed with another of its batch, slice by slice, and their targets alike.

    Where one of a pair is shorter, the mixture is as short: padding is never mixed in.

    Args:
        features: (batch, slice, feature), transformed.
        length: (batch,) int64, slices that are not padding.
        target: (batch, genre) float32, probabilities.
        alpha: of the beta distribution that each window's mixing weight is drawn from, above 0; a window is always the
            larger part of its own mixture.

    Source: Zhang et al., "mixup: Beyond empirical risk minimization", ICLR 2018.
    """
    weight = torch.distributions.Beta(alpha, alpha).sample((len(length), 1)).to(features)
    weight = weight.maximum(1 - weight)
    other = torch.randperm(len(length), device=length.device)
    mixed = torch.lerp(features[other], features, weight.unsqueeze(2))
    return mixed, length.minimum(length[other]), torch.lerp(target[other], target, weight)
