"""Random changes of training windows, and what they keep."""

import torch

from genregrid.models.augmentation import drop_slices, mix_windows


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    """Window 0 has slices 1 to 6, window 1 slices 1 to 3; padding is -9."""
    features = torch.arange(1.0, 7.0).repeat(2, 1).unsqueeze(2)
    features[1, 3:] = -9.0
    return features, torch.tensor([6, 3])


def test_kept_slices_are_in_order_and_without_padding() -> None:
    torch.manual_seed(0)
    for _ in range(50):
        features, length = windows()
        dropped, new_length = drop_slices(features, length, 0.5)
        for window, num, most in zip(dropped, new_length, length, strict=True):
            kept = window[:num, 0]
            assert 1 <= num <= most
            assert (kept.diff() > 0).all()
            assert ((kept >= 1) & (kept <= most)).all()


def test_the_share_of_dropped_slices_is_the_probability() -> None:
    torch.manual_seed(0)
    features, length = torch.ones(4000, 10, 1), torch.full((4000,), 10)
    share = drop_slices(features, length, 0.3)[1].float().mean() / 10
    assert abs(float(share) - 0.7) < 0.01


def test_mixed_windows_and_targets_have_one_weight() -> None:
    torch.manual_seed(0)
    features = torch.eye(3).unsqueeze(1).repeat(1, 4, 1)  # window i is genre i in every slice
    mixed, length, target = mix_windows(features, torch.full((3,), 4), torch.eye(3), 0.4)
    torch.testing.assert_close(mixed[:, 0], target)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(3))
    assert length.tolist() == [4, 4, 4]


def test_every_window_has_another_weight_of_at_least_half() -> None:
    torch.manual_seed(0)
    size = 200
    _, _, target = mix_windows(torch.zeros(size, 1, 1), torch.ones(size, dtype=torch.int64), torch.eye(size), 1.0)
    own = target.diagonal()
    assert own.min() >= 0.5
    assert own.unique().numel() > size / 2
    assert own.mean() < 0.8  # the larger of two weights drawn alike: three quarters


def test_a_mixture_is_as_short_as_the_shorter_of_its_pair() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        features, length = windows()
        mixed, new_length, _ = mix_windows(features, length, torch.eye(2), 1.0)
        for window, num in zip(mixed, new_length, strict=True):
            assert (window[:num] > 0).all()
