"""Scores against scikit-learn, and against six rows counted by hand."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from genregrid.metrics.score import PER_GENRE, confusion_matrix, scores
from genregrid.record.result import prediction_columns

GENRES = ["blues", "jazz", "metal", "rock"]


def logits_of(predicted: list[int], num_genres: int) -> torch.Tensor:
    return 2.0 * torch.nn.functional.one_hot(torch.tensor(predicted), num_genres)


def test_six_rows_counted_by_hand() -> None:
    # target    a a a b b c
    # predicted a a b b a c
    got = scores(logits_of([0, 0, 1, 1, 0, 2], 3), torch.tensor([0, 0, 0, 1, 1, 2]), ["a", "b", "c"], "test/")
    expected = {
        "test/accuracy": 4 / 6,
        "test/top3": 1.0,
        "test/precision/a": 2 / 3,
        "test/precision/b": 1 / 2,
        "test/precision/c": 1.0,
        "test/recall/a": 2 / 3,
        "test/recall/b": 1 / 2,
        "test/recall/c": 1.0,
        "test/f1/a": 2 / 3,
        "test/f1/b": 1 / 2,
        "test/f1/c": 1.0,
        "test/precision_macro": 13 / 18,
        "test/recall_macro": 13 / 18,
        "test/f1_macro": 13 / 18,
        **{f"test/certainty/{genre}": 2 / math.log(10) for genre in "abc"},
    }
    assert got == pytest.approx(expected)


@given(seed=st.integers(0, 10_000), num=st.integers(8, 60))
def test_scores_agree_with_scikit_learn(seed: int, num: int) -> None:
    random = np.random.default_rng(seed)
    logits, target = random.normal(size=(num, 4)).astype(np.float32), random.integers(0, 4, num)
    got = scores(torch.from_numpy(logits), torch.from_numpy(target), GENRES, "")
    predicted = logits.argmax(axis=1)
    options: dict[str, Any] = {"labels": range(4), "zero_division": 0}
    assert got["accuracy"] == pytest.approx(sk.accuracy_score(target, predicted))
    assert got["top3"] == pytest.approx(sk.top_k_accuracy_score(target, logits, k=3, labels=range(4)))
    for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        expected = np.where(np.isin(range(4), target), function(target, predicted, average=None, **options), np.nan)
        assert [got[f"{name}/{genre}"] for genre in GENRES] == pytest.approx(expected.tolist(), nan_ok=True)
        occurring = sorted({*target} if name == "recall" else {*target, *predicted})
        macro = function(target, predicted, average="macro", labels=occurring, zero_division=0)
        assert got[f"{name}_macro"] == pytest.approx(macro)
    matrix = confusion_matrix(torch.from_numpy(logits), torch.from_numpy(target), 4)
    assert matrix.tolist() == sk.confusion_matrix(target, predicted, labels=range(4)).tolist()


def test_genre_that_is_never_predicted_has_precision_zero() -> None:
    got = scores(logits_of([0, 0], 2), torch.tensor([0, 1]), ["a", "b"], "")
    assert got["precision/b"] == 0.0


@pytest.mark.parametrize("predicted", [[0, 1, 0], [0, 1, 2]])
def test_a_genre_without_samples_has_no_scores(predicted: list[int]) -> None:
    got = scores(logits_of(predicted, 3), torch.tensor([0, 1, 0]), ["a", "b", "c"], "")
    assert {name for name, value in got.items() if math.isnan(value)} == {f"{name}/c" for name in PER_GENRE}
    assert got["recall_macro"] == (got["recall/a"] + got["recall/b"]) / 2


def test_samples_of_one_genre_have_a_recall_and_no_precision() -> None:
    got = scores(logits_of([0, 1, 0, 0], 2), torch.tensor([0, 0, 0, 0]), ["a", "b"], "")
    certainty = pytest.approx(2 / math.log(10))
    known = {"accuracy": 0.75, "top3": 1.0, "recall_macro": 0.75, "recall/a": 0.75, "certainty/a": certainty}
    assert {name: value for name, value in got.items() if not math.isnan(value)} == known


def test_two_genres_have_a_top_three_of_two() -> None:
    assert scores(logits_of([0, 0], 2), torch.tensor([0, 1]), ["a", "b"], "")["top3"] == 1.0


def test_genres_with_equal_logits_are_ranked_as_in_the_predictions() -> None:
    random = np.random.default_rng(0)
    logits = random.integers(0, 3, size=(200, 6)).astype(np.float32)  # votes of a few neighbours
    target = random.integers(0, 6, 200)
    ranked = pd.DataFrame(prediction_columns(logits, list("abcdef")))[["predicted", "second", "third"]]
    expected = (ranked.to_numpy() == np.array(list("abcdef"))[target][:, None]).any(axis=1).mean()
    got = scores(torch.from_numpy(logits), torch.from_numpy(target), list("abcdef"), "")
    assert got["top3"] == pytest.approx(expected)
    first = ranked["predicted"].to_numpy() == np.array(list("abcdef"))[target]
    assert got["accuracy"] == pytest.approx(first.mean())
