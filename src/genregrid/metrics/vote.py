"""Combine predictions of windows to predictions of tracks, by the mean of log-probabilities."""

import torch
from torch import Tensor


def track_vote(logits: Tensor, track: Tensor) -> tuple[Tensor, Tensor]:
    """Average the log-probabilities of each track's windows.

    `logits` is (window, genre) float32, `track` (window,) int64, any numbers. Returns normalised log-probabilities,
    (track, genre) float32, and the track numbers, (track,) int64, ascending.

    >>> log_probs, track = track_vote(torch.tensor([[9.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), torch.tensor([4, 4, 2]))
    >>> log_probs.argmax(dim=1).tolist(), track.tolist()
    ([1, 0], [2, 4])
    """
    numbers, position = torch.unique(track, return_inverse=True)
    count = torch.bincount(position, minlength=len(numbers)).unsqueeze(1)
    total = logits.new_zeros(len(numbers), logits.shape[1]).index_add_(0, position, logits.log_softmax(dim=1))
    return (total / count).log_softmax(dim=1), numbers
