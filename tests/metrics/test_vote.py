"""The vote of a track's windows against a loop over tracks."""

import torch

from genregrid.metrics.vote import track_vote


def test_vote_is_the_mean_of_log_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, track = torch.randn(40, 5, generator=generator), torch.randint(8, (40,), generator=generator)
    log_probs, numbers = track_vote(logits, track)
    for row, number in enumerate(numbers.tolist()):
        mean = logits[track == number].log_softmax(dim=1).mean(dim=0)
        torch.testing.assert_close(log_probs[row], mean.log_softmax(dim=0))


def test_one_window_votes_for_itself() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    log_probs, _ = track_vote(logits, torch.tensor([7]))
    torch.testing.assert_close(log_probs, logits.log_softmax(dim=1))


def test_votes_are_normalised() -> None:
    log_probs, _ = track_vote(torch.randn(30, 4), torch.arange(30) // 3)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(10))


def test_a_sure_window_outvotes_two_unsure_ones() -> None:
    logits = torch.tensor([[9.0, 0.0], [0.0, 0.5], [0.0, 0.5]])
    log_probs, _ = track_vote(logits, torch.zeros(3, dtype=torch.int64))
    assert log_probs.argmax().item() == 0
