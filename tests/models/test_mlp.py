"""The paper's MLP."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from genregrid.data.columns import FEATURE_NAMES
from genregrid.models.mlp import MLP


def build(slice_seconds: float, **overrides: float) -> MLP:
    genres, names = [str(number) for number in range(10)], list(FEATURE_NAMES)
    return MLP(genres=genres, feature_names=names, slice_seconds=slice_seconds, learning_rate=0.01, **overrides)


@pytest.mark.parametrize(("slice_seconds", "hidden_size"), [(30.0, 13), (3.0, 64), (9.0, 64)])
def test_hidden_size_is_the_papers(slice_seconds: float, hidden_size: int) -> None:
    weights = [tuple(weight.shape) for name, weight in build(slice_seconds).named_parameters() if "weight" in name]
    assert weights == [(hidden_size, 57), (10, hidden_size)]


def test_learning_rate_must_be_positive(user_error: Callable[..., AbstractContextManager[None]]) -> None:
    with user_error("model.learning_rate", 0.0):
        MLP(genres=["a", "b"], feature_names=["x"], slice_seconds=3.0, learning_rate=0.0)
