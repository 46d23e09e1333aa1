"""Certainty against its definition on probabilities, and where probabilities no longer suffice."""

import numpy as np
import pytest
import torch

from genregrid.metrics.certainty import Certainty, certainty


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
