"""Transforms of descriptors, against scikit-learn and by hand."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
import torch
from sklearn.preprocessing import PowerTransformer

from genregrid.models.transform import TRANSFORMS, FeatureTransform

NAMES = ["rms_mean", "rms_var", "tempo", "mfcc1_mean"]


def draw(num: int = 400) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(num, 4, generator=generator)
    return torch.stack(
        [normal[:, 0].exp(), (2 * normal[:, 1]).exp() * 1e-4, 120 + 20 * normal[:, 2], -300 + 90 * normal[:, 3]], 1
    )


def fitted(kind: str, features: torch.Tensor) -> FeatureTransform:
    transform = FeatureTransform(kind, NAMES)
    transform.fit(features)
    return transform


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_training_slices_have_mean_0_and_deviation_1_and_a_constant_becomes_0(kind: str) -> None:
    features = draw()
    features[:, 2] = 66149.0
    transformed = fitted(kind, features)(features)
    varying = transformed[:, [0, 1, 3]]
    torch.testing.assert_close(varying.mean(dim=0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(varying.std(dim=0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    assert transformed[:, 2].abs().max() < 0.01


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_values_beyond_the_training_slices_stay_finite(kind: str) -> None:
    transform = fitted(kind, draw())
    assert torch.isfinite(transform(torch.tensor([[0.0] * 4, [1e9] * 4, [-1e9] * 4]))).all()


@pytest.mark.parametrize("kind", TRANSFORMS)
def test_order_of_values_is_kept(kind: str) -> None:
    transform = fitted(kind, draw())
    column = torch.linspace(0.05, 5.0, 50)
    rows = draw(1).repeat(50, 1)
    rows[:, 0] = column
    assert (transform(rows)[:, 0].diff() >= 0).all()


def test_variances_alone_are_logarithmic() -> None:
    features = draw()
    changed = fitted("log_variance", features)(features)
    plain = fitted("standardise", features)(features)
    torch.testing.assert_close(changed[:, [0, 2, 3]], plain[:, [0, 2, 3]], atol=1e-5, rtol=1e-5)
    log = features[:, 1].log()
    expected = (log - log.mean()) / log.std(correction=0)
    torch.testing.assert_close(changed[:, 1], expected, atol=1e-3, rtol=1e-3)


def test_log_takes_every_descriptor_that_is_never_negative() -> None:
    features = draw()
    changed = fitted("log", features)(features)
    for column in (0, 1, 2):
        log = features[:, column].log()
        torch.testing.assert_close(changed[:, column], (log - log.mean()) / log.std(correction=0), atol=1e-3, rtol=1e-3)
    plain = fitted("standardise", features)(features)
    torch.testing.assert_close(changed[:, 3], plain[:, 3], atol=1e-5, rtol=1e-5)


def test_a_silent_variance_is_no_outlier_of_all_others() -> None:
    features = draw()
    features[0, 1] = 0.0
    assert fitted("log_variance", features)(features)[0, 1] > -6


def test_yeo_johnson_is_scikit_learns() -> None:
    features = draw()
    standard = ((features - features.mean(0)) / features.std(0, correction=0)).double().numpy()
    expected = PowerTransformer().fit_transform(standard)
    np.testing.assert_allclose(fitted("yeo_johnson", features)(features).numpy(), expected, atol=2e-3)


def test_quantiles_of_the_training_slices_are_normal() -> None:
    features = draw(1000)
    transformed = fitted("quantile", features)(features)
    for share, normal in ((0.5, 0.0), (0.8413, 1.0), (0.0228, -2.0)):
        assert torch.quantile(transformed[:, 1], share).item() == pytest.approx(normal, abs=0.1)


def test_numbers_are_saved_with_the_weights() -> None:
    features = draw()
    for kind in TRANSFORMS:
        first, second = fitted(kind, features), FeatureTransform(kind, NAMES)
        second.load_state_dict(first.state_dict())
        torch.testing.assert_close(second(features), first(features), atol=0, rtol=0)


def test_an_unknown_transform_is_refused(user_error: Callable[..., AbstractContextManager[None]]) -> None:
    with user_error("model.transform", "ln", hint="choose one of standardise, log_variance, log"):
        FeatureTransform("ln", NAMES)
