"""Scores of a classifier, and their names in all outputs.

Names are ``<prefix>accuracy``, ``top3``, ``precision_macro``, ``recall_macro``, ``f1_macro``, and per genre
``precision/<genre>``, ``recall/<genre>``, ``f1/<genre>``, ``certainty/<genre>``. Prefixes are ``test/`` for tracks and
``test_slice/`` for single windows. Accuracies are fractions.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torchmetrics import ClasswiseWrapper, Metric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from genregrid.metrics.certainty import Certainty

#: Scores of single genres, by the first part of their names.
PER_GENRE = ("precision", "recall", "f1", "certainty")


class TopAccuracy(Metric):
    """Share of samples whose true genre is among the `num` most probable ones, a scalar float32; NaN without samples.

    Genres with equal logits are ranked in their order in the corpus, as in predictions.csv. torchmetrics' own `top_k`
    ranks them in no fixed order.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    hits: Tensor
    count: Tensor

    def __init__(self, num: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._num = num
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Add samples: `logits` (sample, genre), `target` (sample,) int64."""
        own = logits.gather(1, target[:, None])
        comes_first = torch.arange(logits.shape[1], device=logits.device) < target[:, None]
        rank = ((logits > own) | ((logits == own) & comes_first)).sum(dim=1)
        self.hits += (rank < self._num).sum()
        self.count += len(target)

    def compute(self) -> Tensor:
        """Return the share."""
        return self.hits / self.count


def genre_metrics(genres: Sequence[str], prefix: str = "") -> MetricCollection:
    """Make every score of a classifier, overall and per genre, from logits (sample, genre) and target (sample,) int64.

    A score whose denominator is zero (precision of a genre that was never predicted) is 0, as in scikit-learn;
    macro averages leave out genres that occur neither as target nor as prediction. Certainty of a genre without
    samples is NaN. `genres`, at least 2, are in the order of the logits; `prefix` is of every name, such as ``test/``.
    `scores` removes the values that have no meaning.
    """
    num, labels = len(genres), list(genres)
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(num, average="micro"),
            "top3": TopAccuracy(3),
            "precision_macro": MulticlassPrecision(num, average="macro"),
            "recall_macro": MulticlassRecall(num, average="macro"),
            "f1_macro": MulticlassF1Score(num, average="macro"),
            "precision": ClasswiseWrapper(MulticlassPrecision(num, average=None), labels, prefix="precision/"),
            "recall": ClasswiseWrapper(MulticlassRecall(num, average=None), labels, prefix="recall/"),
            "f1": ClasswiseWrapper(MulticlassF1Score(num, average=None), labels, prefix="f1/"),
            "certainty": ClasswiseWrapper(Certainty(num), labels, prefix="certainty/"),
        },
        prefix=prefix,
        # members keep different states; torchmetrics would guess groups of equal states from the first batch
        compute_groups=False,
    )


def scores(logits: Tensor, target: Tensor, genres: Sequence[str], prefix: str) -> dict[str, float]:
    """Compute all scores of `genre_metrics` at once, by name; those that the samples cannot show are NaN.

    These are the scores of a genre without samples, and precision and F1 where all samples are of one genre: then every
    prediction of that genre is right. The macro recall is the mean over genres with samples.
    """
    found = {name: float(value) for name, value in genre_metrics(genres, prefix)(logits, target).items()}
    has_samples = (torch.bincount(target, minlength=len(genres)) > 0).tolist()
    known = [genre for genre, has in zip(genres, has_samples, strict=True) if has]
    for genre in (genre for genre, has in zip(genres, has_samples, strict=True) if not has):
        found |= dict.fromkeys((f"{prefix}{name}/{genre}" for name in PER_GENRE), math.nan)
    found[f"{prefix}recall_macro"] = fmean(found[f"{prefix}recall/{genre}"] for genre in known)
    if len(known) == 1:
        found |= dict.fromkeys((f"{prefix}{name}" for name in ("precision_macro", "f1_macro")), math.nan)
        found |= dict.fromkeys((f"{prefix}{name}/{known[0]}" for name in ("precision", "f1")), math.nan)
    return found


def confusion_matrix(logits: Tensor, target: Tensor, num_genres: int) -> Tensor:
    """Count samples, (true genre, predicted genre) int64."""
    matrix: Tensor = MulticlassConfusionMatrix(num_genres)(logits, target)
    return matrix.to(torch.int64)
