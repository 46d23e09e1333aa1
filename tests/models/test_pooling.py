"""Pooling of slices: padding has no effect, and a pooled window is a long slice of reslice."""

from collections.abc import Callable

import pytest
import torch

from genregrid.data.reslice import reslice
from genregrid.data.table import FeatureTable
from genregrid.models.pooling import (
    filled,
    last_slice,
    late_mean,
    masked_max,
    masked_mean,
    masked_min,
    masked_quantile,
    masked_spread,
    pooled_slice,
)

FEATURES = torch.tensor([[[1.0], [3.0], [float("inf")]], [[2.0], [4.0], [6.0]]])
LENGTH = torch.tensor([2, 3])


def test_padding_is_left_out() -> None:
    assert masked_mean(FEATURES, LENGTH).tolist() == [[2.0], [4.0]]
    assert last_slice(FEATURES, LENGTH).tolist() == [[3.0], [6.0]]
    assert masked_max(FEATURES, LENGTH).tolist() == [[3.0], [6.0]]
    assert masked_min(FEATURES, LENGTH).tolist() == [[1.0], [2.0]]
    assert masked_quantile(FEATURES, LENGTH, 0.5).tolist() == [[2.0], [4.0]]
    assert late_mean(FEATURES, LENGTH).tolist() == [[3.0], [5.0]]
    assert masked_spread(FEATURES, LENGTH).flatten().tolist() == pytest.approx([1.0, (8 / 3) ** 0.5])


def test_one_slice_has_no_spread() -> None:
    assert masked_spread(FEATURES[:, :1], torch.tensor([1, 1])).flatten().tolist() == pytest.approx([0, 0], abs=1e-5)
    features = torch.ones(1, 1, 1, requires_grad=True)
    masked_spread(features, torch.tensor([1])).sum().backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()
    assert late_mean(FEATURES, torch.tensor([1, 1])).tolist() == [[1.0], [2.0]]


def test_a_window_pooled_is_the_slice_that_reslice_makes(make_table: Callable[..., FeatureTable]) -> None:
    table = make_table(tracks=3, slices=4)
    long = reslice(table, 12)
    windows = torch.from_numpy(table.features).reshape(9, 4, -1)
    padded = torch.nn.functional.pad(windows, (0, 0, 0, 2), value=1e6)
    pooled = pooled_slice(padded, torch.full((9,), 4), table.feature_names)
    same = [index for index, name in enumerate(table.feature_names) if name != "tempo"]  # a median there, a mean here
    torch.testing.assert_close(pooled[:, same], torch.from_numpy(long.features)[:, same], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.6, 1.0])
def test_quantiles_are_those_of_torch_to_the_last_bit(share: float) -> None:
    features = torch.randn(9, 13, 5, generator=torch.Generator().manual_seed(0))
    length = torch.arange(5, 14)
    expected = filled(features, length, torch.nan).nanquantile(share, dim=1)
    torch.testing.assert_close(masked_quantile(features, length, share), expected, atol=0, rtol=0)
