"""Attribute a network's logits to the descriptors of each slice, by integrated gradients.

Source: Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017.
"""

from copy import deepcopy
from typing import TypeGuard

import numpy as np
import torch
from torch import Tensor

from genregrid.models.base import GenreClassifier
from genregrid.models.estimator import EstimatorHead
from genregrid.models.network import Network
from genregrid.models.pooling import filled

#: Of the sum of attributions from the difference of evidence, relative to it, or to one logit if it is less.
TOLERANCE = 1e-3
# Points on the path, more of them where the sum is not within the tolerance: corners of the network, such as those of a
# ReLU, need many.
_NUM_POINTS = (64, 256, 1024)


def has_gradients(model: GenreClassifier) -> TypeGuard[Network]:
    """Return whether a model's logits are those of its `forward`, and not those of an estimator."""
    return isinstance(model, Network) and not any(isinstance(part, EstimatorHead) for part in model.modules())


def integrated_gradients(model: Network, batch: dict[str, Tensor], target: Tensor) -> tuple[Tensor, Tensor]:
    """Attribute the evidence for a genre to every descriptor of every slice.

    Evidence is the logit of the genre less the mean logit of all genres, because a constant on all logits has no
    meaning. The baseline is the mean training slice at every position, which the transform maps to zeros. The
    attributions of a window sum to the difference of evidence between the window and this baseline.

    Args:
        model: a network with `has_gradients`.
        batch: raw features and lengths, as those of `genregrid.data.datamodule`.
        target: genre of each window, (batch,) int64.

    Returns:
        Attributions (batch, slice, feature) float64, 0 for padding; and how far their sum is from the difference of
        evidence, (batch,) float64, relative to this difference, or to one logit if it is less.
    """
    network = deepcopy(model).double().eval().requires_grad_(False)  # sums in float32 are too coarse
    with torch.no_grad():
        features = filled(model.eval().transform(batch["features"]), batch["length"]).double()

    def evidence(inputs: Tensor, rows: Tensor) -> Tensor:
        logits: Tensor = network(inputs, batch["length"][rows])
        return logits.gather(1, target[rows, None]).squeeze(1) - logits.mean(dim=1)

    everywhere = torch.arange(len(target))
    with torch.no_grad():
        difference = evidence(features, everywhere) - evidence(torch.zeros_like(features), everywhere)
    attributions, gap = torch.zeros_like(features), torch.full_like(difference, torch.inf)
    for num_points in _NUM_POINTS:
        rows = torch.nonzero(gap > TOLERANCE).squeeze(1)
        if not len(rows):
            break
        gradient = torch.zeros_like(features[rows])
        points, weights = np.polynomial.legendre.leggauss(num_points)  # on [-1, 1]
        for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
            inputs = (point * features[rows]).requires_grad_()
            (slope,) = torch.autograd.grad(evidence(inputs, rows).sum(), inputs)
            gradient += weight * slope
        attributions[rows] = gradient * features[rows]
        distance = (attributions[rows].sum(dim=(1, 2)) - difference[rows]).abs()
        gap[rows] = distance / difference[rows].abs().clamp_min(1.0)
    return attributions, gap
