"""The result of a run is written and printed whole, also where something cannot be computed."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tests.record.example import FACTS

from genregrid.metrics.score import confusion_matrix, scores
from genregrid.record.facts import RunFacts
from genregrid.record.result import Result, prediction_columns

GENRES = ["blues", "jazz"]


def result(facts: RunFacts, group: list[int]) -> Result:
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).log_softmax(dim=1)
    target = torch.tensor([0, 0, 1, 1])
    tracks = pd.DataFrame({"track": list("abcd"), "part": "test", "genre": [GENRES[one] for one in target]})
    return Result(
        facts=facts,
        scores=scores(logits, target, GENRES, "test/"),
        predictions=tracks.assign(**prediction_columns(logits.numpy(), GENRES)),
        validation=pd.DataFrame(),
        timeline=pd.DataFrame(),
        confusion=pd.DataFrame(confusion_matrix(logits, target, 2).numpy(), GENRES, GENRES),
        window_confusion=None,
        split=tracks.assign(group=group, num_slices=1),
        group=np.array(group),
        curves=pd.DataFrame(),
    )


def test_too_few_groups_have_no_interval(facts: RunFacts, tmp_path: Path) -> None:
    few = result(facts, [0, 0, 0, 1])
    few.write(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["accuracy_interval"] == [None, None]
    few = replace(few, scores=few.scores | {"test_slice/accuracy": 0.5})
    assert "(too few groups of tracks for an interval, 4 test tracks)" in few.summary()


def test_groups_have_an_interval(facts: RunFacts, tmp_path: Path) -> None:
    result(facts, [0, 1, 2, 3]).write(tmp_path)
    low, high = json.loads((tmp_path / "run.json").read_text())["accuracy_interval"]
    assert 0 < low < 0.75 < high < 1


def test_scores_of_a_genre_without_tracks_are_empty_everywhere(facts: RunFacts, tmp_path: Path) -> None:
    one = result(facts, [0, 1, 2, 3])
    logits, target = torch.tensor([[2.0, 0.0]] * 4), torch.tensor([0, 0, 0, 0])
    known = scores(logits, target, GENRES, "test/")
    confusion = pd.DataFrame(confusion_matrix(logits, target, 2).numpy(), GENRES, GENRES)
    one = replace(one, scores=known | {"test_slice/accuracy": math.nan}, confusion=confusion)
    one.write(tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["test/recall/blues"], metrics["test/recall/jazz"], metrics["test/f1_macro"]) == (1.0, None, None)
    assert (tmp_path / "per_genre.csv").read_text().splitlines()[2].startswith("jazz,0,,,,,track")
    lines = one.summary().splitlines()
    assert lines[2].endswith("macro F1 -   by slice -")
    assert [line.split() for line in lines if line.strip().startswith(("blues", "jazz"))] == [
        ["blues", "4", "-", "100.0", "-", "0.87"],
        ["jazz", "0", "-", "-", "-", "-"],
    ]


@pytest.fixture
def facts() -> RunFacts:
    """A run of four test tracks."""
    return replace(
        FACTS,
        settings={"window": "track"},
        dataset="csv",
        dataset_label="csv",
        protocol="artist",
        num_tracks={"train": 6, "val": 2, "test": 4},
    )
