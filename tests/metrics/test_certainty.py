"""Certainty against its definition on probabilities, and where probabilities no longer suffice."""

import math
import pickle
from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from genregrid.metrics.certainty import Certainty, certainty
from genregrid.metrics.score import scores


def test_certainty_is_the_log_ratio_of_the_two_highest_probabilities() -> None:
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]])
    assert certainty(probs.log()).tolist() == pytest.approx([np.log10(3.5), np.log10(2.0)])


def test_certainty_does_not_depend_on_a_shift_of_the_logits() -> None:
    logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(certainty(logits), certainty(logits + 5.0), atol=1e-5, rtol=0)


def test_certainty_survives_where_a_softmax_underflows() -> None:
    logits = torch.tensor([[500.0, 0.0]])
    assert logits.softmax(dim=1)[0, 1] == 0.0
    assert certainty(logits).item() == pytest.approx(500 / np.log(10))


def test_certainty_of_a_tie_is_zero() -> None:
    assert certainty(torch.zeros(1, 10)).item() == 0.0


def test_mean_certainty_is_taken_over_the_true_genre() -> None:
    logits = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
    metric = Certainty(2)
    metric.update(logits, torch.tensor([0, 1, 1]))
    assert metric.compute().tolist() == pytest.approx([2 / np.log(10), 2.5 / np.log(10)])


def test_certainty_in_batches_equals_certainty_at_once() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, target = torch.randn(50, 3, generator=generator), torch.randint(3, (50,), generator=generator)
    whole, batched = Certainty(3), Certainty(3)
    whole.update(logits, target)
    for chosen in torch.arange(50).split(7):
        batched.update(logits[chosen], target[chosen])
    torch.testing.assert_close(whole.compute(), batched.compute())


def drawn(num_genres: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(50, num_genres, generator=generator), torch.randint(num_genres, (50,), generator=generator)


def test_metric_is_copied_after_a_training_step() -> None:
    logits, target = drawn()
    metric = Certainty(3)
    value = metric(logits.requires_grad_(), target)
    assert metric.is_differentiable == value.requires_grad
    torch.testing.assert_close(deepcopy(metric).compute(), metric.compute())
    torch.testing.assert_close(pickle.loads(pickle.dumps(metric)).compute(), metric.compute())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("changed", [True, False], ids=["state too", "logits only"])
def test_metric_takes_logits_of_any_precision(dtype: torch.dtype, changed: bool) -> None:
    logits, target = drawn()
    whole, metric = Certainty(3), Certainty(3)
    if changed:
        metric.set_dtype(dtype)
    torch.testing.assert_close(metric(logits.to(dtype), target), whole(logits, target), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("shape", [(50, 2), (50, 4), (49, 3), (50,), (50, 3, 1)])
def test_logits_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"logits must be \(sample, genre\), here \(50, 3\), not"):
        Certainty(3).update(torch.zeros(shape), drawn()[1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        certainty(torch.tensor([[0.0, value, 1.0]]))
    with pytest.raises(ValueError, match="finite"):
        scores(torch.tensor([[0.0, value], [1.0, 0.0]]), torch.tensor([0, 1]), ["a", "b"], "")


def test_one_genre_has_no_certainty() -> None:
    with pytest.raises(ValueError, match="two genres"):
        certainty(torch.zeros(4, 1))


def test_metric_is_drawn_with_a_point_per_genre() -> None:
    metric = Certainty(3)
    values = [metric(*drawn()), metric(*drawn())]
    for given in (None, values):
        figure, axes = metric.plot(given)
        assert axes.figure is figure
        assert len(axes.lines) == 3
        plt.close(figure)
