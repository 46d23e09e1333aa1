"""Run folders: which files belong to a run, and which of them were changed after it."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from genregrid.record.folder import (
    REPAIR,
    RunFolder,
    check_replaceable,
    finished_run,
    read_run_json,
    run_folders,
    why_failed,
    with_hashes,
)

Expect = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "lstm-job1"
    folder.mkdir()
    (folder / "curves.csv").write_text("epoch\n1\n")
    content = with_hashes({"identity": "me", "notes": ["ä"]}, folder, ["curves.csv", "config.yaml"])
    (folder / "run.json").write_text(json.dumps(content, indent=2))
    return folder


def test_unchanged_files_are_read_whatever_the_layout_of_run_json(run: Path) -> None:
    content = read_run_json(run / "run.json")
    (run / "run.json").write_text(json.dumps(dict(reversed(content.items()))))
    assert RunFolder(run).csv("curves.csv")["epoch"].tolist() == [1]


def test_a_changed_file_is_named_with_the_way_out(run: Path, user_error: Expect) -> None:
    (run / "curves.csv").write_text("epoch\n2\n")
    with user_error(run / "curves.csv", problem="changed after the run", hint=REPAIR):
        RunFolder(run).csv("curves.csv")
    with user_error(run / "curves.csv", problem="changed after the run"):
        finished_run(run, "me")


@pytest.mark.parametrize("change", ["value", "no files", "no hash"])
def test_a_changed_run_json_is_named(run: Path, change: str, user_error: Expect) -> None:
    content = json.loads((run / "run.json").read_text())
    if change == "value":
        content["notes"] = ["a"]
    else:
        del content["files" if change == "no files" else "sha256"]
    (run / "run.json").write_text(json.dumps(content))
    with user_error(run / "run.json", hint=REPAIR):
        read_run_json(run / "run.json")


def test_folders_of_older_versions_have_no_hashes(run: Path) -> None:
    (run / "run.json").write_text('{"identity": "me"}')
    (run / "curves.csv").write_text("epoch\n2\n")
    assert finished_run(run, "me") == run


def test_a_damaged_run_of_another_job_is_no_hindrance(run: Path) -> None:
    other = run.with_name("lstm-job0")
    other.mkdir()
    (other / "run.json").write_text("{")
    assert finished_run(run.with_name("lstm-job2"), "me") == run


def test_links_to_folders_are_not_followed(run: Path, tmp_path: Path) -> None:
    (run / "circle").symlink_to(tmp_path)
    (tmp_path / "out").symlink_to("/")
    assert [path for path, _ in run_folders(tmp_path)] == [run]


def test_the_reason_of_a_failure_is_one_printable_line(run: Path) -> None:
    (run / "error.txt").write_bytes(b"\x1b[31mbad\xff\nTraceback\n" + b"x" * 10**6)
    assert why_failed(run) == r"\x1b[31mbad" + "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("name", ["metrics.json", "predictions.csv", "config.yaml", "recordings.csv"])
def test_files_of_others_are_not_replaced(tmp_path: Path, name: str, user_error: Expect) -> None:
    (tmp_path / name).write_text("mine")
    with user_error(tmp_path / name, hint="another folder"):
        check_replaceable(tmp_path, ("run.json", name))
    assert check_replaceable(tmp_path, ("run.json",)) is None


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("config.yaml", "dataset:\n  name: csv\n"),
        ("predictions.csv", "track,num_slices,predicted,certainty,p_a\n"),
        ("recordings.csv", "file,seconds,genre,certainty\n"),
        ("report.html", "<!doctype html>\n<title>genregrid report</title>\n"),
    ],
)
def test_an_unfinished_result_of_ours_is_replaced_without_a_line(tmp_path: Path, name: str, start: str) -> None:
    (tmp_path / name).write_text(start)
    (tmp_path / "metrics.json").write_text("{}")
    assert check_replaceable(tmp_path, ("metrics.json", name)) is None


def test_a_finished_run_is_named_before_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"model": "knn", "slice_seconds": 3}')
    line = check_replaceable(tmp_path, ("run.json",))
    assert line == f"{tmp_path}: its finished run of knn is replaced"
