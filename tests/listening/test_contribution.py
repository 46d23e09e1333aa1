"""Contributions of descriptors: exact for a linear model, whose answer is known by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from genregrid.listening.contribution import contributions
from genregrid.models.base import GenreClassifier

NAMES = ["rms_mean", "tempo", "rolloff_mean"]
GENRES = ["blues", "jazz", "rock"]
TRAINING = np.array([[1.0, 100.0, 5.0], [3.0, 140.0, 5.0]], np.float32)  # means 2, 120, 5; deviations 1, 20, none
WEIGHTS = np.array([[2.0, 0.0, 9.0], [-1.0, 0.5, 9.0], [0.0, 0.0, 0.0]])  # (genre, feature)


class Linear(GenreClassifier):
    """Logits are a weighted sum of the mean of the transformed slices; padded slices count as those that are there."""

    weights: Tensor

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        return self.transform(batch["features"])[:, 0].double() @ self.weights.T


def linear(names: list[str], weights: np.ndarray, training: np.ndarray) -> Linear:
    model = Linear(genres=GENRES, feature_names=names, slice_seconds=3.0)
    model.weights = torch.from_numpy(weights)
    model.transform.fit(training)
    return model.eval()


def test_a_linear_model_has_the_weight_times_the_deviation() -> None:
    """Slices at 3 and 5 for rms: 1 and 3 deviations above the mean. Tempo: 0 and 1 deviations."""
    features = np.array([[3.0, 120.0, 5.0], [5.0, 140.0, 5.0]], np.float32)
    found = contributions(linear(NAMES, WEIGHTS, TRAINING), features, 1, 1, (0, 1))
    by_name = {one.name: one for one in found}
    assert [one.name for one in found] == ["rms_mean", "tempo", "rolloff_mean"]  # the largest first
    assert by_name["rms_mean"].decades == pytest.approx((2.0 - -1.0) * 2.0 / np.log(10), rel=1e-6)
    assert by_name["rms_mean"].deviations == pytest.approx(2.0)
    assert by_name["tempo"].decades == pytest.approx((0.0 - 0.5) * 0.5 / np.log(10), rel=1e-6)
    assert by_name["rolloff_mean"].decades == 0  # constant in training


def test_the_other_genre_has_the_opposite_effects_and_a_third_one_others() -> None:
    model, features = linear(NAMES, WEIGHTS, TRAINING), np.array([[3.0, 140.0, 5.0]], np.float32)
    there, back, third = (contributions(model, features, 1, None, pair) for pair in ((0, 1), (1, 0), (1, 2)))
    assert [one.decades for one in there] == [-one.decades for one in back]
    assert {one.name: one.decades for one in third}["tempo"] == pytest.approx(0.5 / np.log(10), rel=1e-6)


def test_the_contributions_of_a_linear_model_add_up_to_the_odds_beyond_those_of_the_mean() -> None:
    model, features = linear(NAMES, WEIGHTS, TRAINING), np.array([[4.0, 90.0, 5.0]], np.float32)
    logits = model.logits({"features": torch.from_numpy(features)[None]})[0]
    total = sum(one.decades for one in contributions(model, features, 1, None, (0, 1)))
    assert total == pytest.approx(float(logits[0] - logits[1]) / np.log(10), rel=1e-6)


def test_a_model_is_unchanged_afterwards() -> None:
    model, features = linear(NAMES, WEIGHTS, TRAINING), np.array([[4.0, 90.0, 5.0]], np.float32)
    before = model.transform(torch.from_numpy(features))
    contributions(model, features, 1, None, (0, 1))
    assert torch.equal(model.transform(torch.from_numpy(features)), before)


def test_many_columns_are_replaced_by_kind() -> None:
    names = [f"mfcc{number}_mean" for number in range(1, 66)] + ["tempo"]
    weights = np.zeros((3, 66))
    weights[0, :65] = 0.01
    training = np.array([np.zeros(66), np.full(66, 2.0)], np.float32)  # means 1, deviations 1
    found = contributions(linear(names, weights, training), np.full((1, 66), 3.0, np.float32), 1, None, (0, 1))
    assert [one.name for one in found] == ["MFCC means", "tempo"]
    assert found[0].decades == pytest.approx(65 * 0.01 * 2 / np.log(10), rel=1e-5)
    assert (found[0].deviations, found[1].deviations) == (None, pytest.approx(2.0))


def test_learned_values_have_no_names_to_show() -> None:
    names = [f"mtt{number}_mean" for number in range(1, 4)]
    assert contributions(linear(names, WEIGHTS, TRAINING), TRAINING, 1, None, (0, 1)) == []


def test_a_long_recording_takes_some_of_its_windows() -> None:
    features = np.column_stack([np.linspace(0, 4, 1001), np.full(1001, 120), np.full(1001, 5)]).astype(np.float32)
    found = contributions(linear(NAMES, WEIGHTS, TRAINING), features, 1, 1, (0, 2))
    assert found[-1].name in ("tempo", "rolloff_mean")
    assert {one.name: one.decades for one in found}["rms_mean"] == pytest.approx(0, abs=1e-4)


class Saturated(Linear):
    """Odds end at a limit, as those of estimators that are very sure."""

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        return super().logits(batch).clamp(-1, 1)


def test_a_model_that_is_very_sure_still_has_the_effect_of_each_descriptor_alone() -> None:
    """Without rms the odds stay at the limit of 1, and without tempo too. Alone, tempo moves them by 0.5."""
    model = Saturated(genres=GENRES, feature_names=NAMES, slice_seconds=3.0)
    model.weights = torch.tensor([[2.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    model.transform.fit(TRAINING)
    found = contributions(model.eval(), np.array([[9.0, 140.0, 5.0]], np.float32), 1, None, (0, 1))
    assert {one.name: one.decades for one in found}["tempo"] == pytest.approx(0.5 / 2 / np.log(10), rel=1e-6)
