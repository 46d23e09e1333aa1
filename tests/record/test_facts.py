"""The record of a run: what it writes it reads back, and a record that is not complete is refused in one sentence."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tests.record.example import FACTS

from genregrid.config import SplitConfig
from genregrid.errors import UserError
from genregrid.exhibit.mark import Mark
from genregrid.record.facts import Provenance, RunFacts, identity

PROVENANCE = Provenance(
    facts=FACTS,
    corpus="mine",
    twin_tracks=1000,
    split=SplitConfig(protocol="row", allow_leak=True, seed=7),
    window=None,
    hop_slices=None,
    batch_size=16,
    seed=1,
    tracks={"train": ["blues.00000"], "val": ["blues.00001"], "test": ["blues.00002"]},
    seen=[3, 4],
    source_slice_seconds=3.0,
    window_slices=10,
)
REQUIRED = ("model", "settings", "synthetic", "slice_seconds", "protocol", "leaks", "folds", "fold", "data_hashes")
Expect = Callable[..., AbstractContextManager[None]]


def test_a_record_is_read_back_as_it_was_written() -> None:
    assert RunFacts.from_json(FACTS.to_json(), "run.json") == FACTS
    evaluation = replace(FACTS, identity="", checkpoint="a.ckpt", trained_on=FACTS.origin, search={"score": "loss"})
    assert RunFacts.from_json(evaluation.to_json(), "run.json") == evaluation
    assert Provenance.from_json(PROVENANCE.to_json(), "a.ckpt") == PROVENANCE


def test_a_checkpoint_holds_facts_and_provenance_side_by_side() -> None:
    content = PROVENANCE.to_json()
    assert content.items() >= FACTS.to_json().items()
    assert list(content)[-5:] == ["config", "tracks", "seen", "source_slice_seconds", "window_slices"]


def test_facts_that_a_run_does_not_have_are_left_out() -> None:
    assert not {"checkpoint", "trained_on", "search", "members"} & set(FACTS.to_json())
    assert FACTS.to_json()["commit"] is None
    assert FACTS.to_json()["val_folds"] is None


@pytest.mark.parametrize("key", ["recipe", "val_fold", "identity", "marks", "split_label"])
def test_records_that_are_older_than_a_key_are_read(key: str) -> None:
    content = FACTS.to_json()
    del content[key]
    assert RunFacts.from_json(content, "run.json").cell_name == FACTS.cell_name


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(key: str, user_error: Expect) -> None:
    content = FACTS.to_json()
    del content[key]
    with user_error("old/run.json", problem=f"'{key}'"):
        RunFacts.from_json(content, "old/run.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [("fold", "1"), ("fold", True), ("synthetic", 1), ("slice_seconds", "3"), ("settings", []), ("commit", 5)],
)
def test_a_key_of_a_wrong_type_is_named(key: str, value: Any, user_error: Expect) -> None:
    with user_error("run.json", problem=f"'{key}'"):
        RunFacts.from_json(FACTS.to_json() | {key: value}, "run.json")


def test_a_missing_key_of_a_checkpoint_is_named(user_error: Expect) -> None:
    content = PROVENANCE.to_json()
    del content["seen"]
    with user_error("a.ckpt", problem="'seen'"):
        Provenance.from_json(content, "a.ckpt")


@pytest.mark.parametrize(
    ("leaks", "synthetic", "marks"),
    [
        (False, False, ()),
        (True, False, (Mark.LEAKS,)),
        (False, True, (Mark.SYNTHETIC,)),
        (True, True, (Mark.LEAKS, Mark.SYNTHETIC)),
    ],
)
def test_marks_come_from_content_and_not_from_labels(leaks: bool, synthetic: bool, marks: tuple[Mark, ...]) -> None:
    facts = replace(FACTS, leaks=leaks, synthetic=synthetic)
    assert facts.marks == marks
    assert facts.to_json()["marks"] == list(marks)
    assert facts.split_label == ("row-LEAKS" if leaks else "row")
    assert facts.cell_name == f"lstm-slice3-{facts.split_label}"
    for title, name in ((facts.dataset_title, "mine"), (facts.cell_title, facts.cell_name)):
        assert title == (f"{name} (SYNTHETIC)" if synthetic else name)


def old_content() -> dict[str, Any]:
    """Return the provenance as older versions wrote it: lists of tracks, and a configuration with paths."""
    content = PROVENANCE.to_json()
    content["config"] |= {
        "dataset": {"corpus": "mine", "num_tracks": 1000, "path": "/home/me/mine.csv", "root": "${oc.env:HOME}"}
    }
    return content | {"tracks": PROVENANCE.tracks, "seen": PROVENANCE.seen, "root": "${oc.env:HOME}"}


def test_provenance_of_older_versions_is_read_and_its_paths_are_only_text() -> None:
    assert Provenance.from_json(old_content(), "a.ckpt") == replace(PROVENANCE, path="/home/me/mine.csv")


def test_new_provenance_has_no_path() -> None:
    text = str(PROVENANCE.to_json())
    assert "root" not in text
    assert "downloads" not in text


@pytest.mark.parametrize("value", [..., None, -1, "x", [1], {"a": 1}, float("nan"), "a\x1b[31m"])
@pytest.mark.parametrize("key", [*FACTS.to_json(), "config", "tracks", "seen", "source_slice_seconds", "window_slices"])
def test_each_key_of_a_checkpoint_is_right_or_refused_in_one_sentence(key: str, value: Any) -> None:
    content = old_content() | {key: value}
    if value is ...:
        del content[key]
    sentence = "a.ckpt: "
    try:
        Provenance.from_json(content, "a.ckpt")
    except UserError as error:
        sentence = str(error)
    assert sentence.startswith("a.ckpt: ")
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_tracks", {"train": -1}),
        ("num_tracks", {"train": "1"}),
        ("data_hashes", {"a.csv": 1}),
        ("seed", -1),
        ("slice_seconds", 0.0),
        ("slice_seconds", float("inf")),
        ("model", "lstm\x1b[31m"),
        ("tracks", {"train": [1], "val": [], "test": []}),
        ("tracks", {"train": []}),
        ("settings", {"a": {1, 2}}),
        ("settings", {"a": {"b": [torch.zeros(1)]}}),
        ("settings", {"a": "\ud800"}),
        ("settings", {"a": ["\x1b[31m"]}),
        ("settings", {"a": {1: 2}}),
        ("settings", dict.fromkeys(map(str, range(2000)), "a" * 10_000)),
        ("versions", dict.fromkeys(map(str, range(2000)), "a" * 10_000)),
        ("search", {"a": torch.zeros(1)}),
        ("members", [{"a": torch.zeros(1)}]),
        ("seen", [2**64]),
        ("seen", ["1"]),
        ("window_slices", 0),
        ("config", {"dataset": {}, "split": {}}),
    ],
)
def test_values_inside_of_a_checkpoints_keys_are_checked(key: str, value: Any, user_error: Expect) -> None:
    with user_error("a.ckpt"):
        Provenance.from_json(old_content() | {key: value}, "a.ckpt")


def test_a_setting_that_older_versions_lack_does_not_change_the_identity_of_their_runs(
    composed: Callable[..., Any],
) -> None:
    config = OmegaConf.to_container(composed("model=mlp", "logger=none"))
    assert isinstance(config, dict)
    older = {**config, "dataset": {key: value for key, value in config["dataset"].items() if key != "official"}}
    assert identity("mlp", config, {}) == identity("mlp", older, {})
    config["dataset"]["official"] = "tracks.csv"
    assert identity("mlp", config, {}) != identity("mlp", older, {})
