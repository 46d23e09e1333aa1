"""The beginning of ``--help``: what a script does, examples, and every choice with a line."""

import shlex
from importlib import import_module
from pathlib import Path

import pytest

from genregrid.cli import overview as module
from genregrid.cli.argument import check_form
from genregrid.cli.evaluate import COMMANDS
from genregrid.cli.overview import overview


@pytest.mark.parametrize("script", ["train", "evaluate"])
def test_every_choice_has_a_line(script: str, project_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    own, conf = import_module(f"genregrid.cli.{script}"), project_root / "conf"
    lines = overview(script, conf, own.ABOUT, own.USAGES).splitlines()
    assert lines[0] == own.ABOUT
    assert sum(line.startswith(f"  python {script}.py") for line in lines) == 3
    assert len(lines) <= 60
    assert max(map(len, lines[1:])) <= 100
    begins = {line.split("  ")[1] for line in lines if line.startswith("  ")}
    for group in ("model", "dataset", "split", "experiment") if script == "train" else ("dataset", "split"):
        assert {path.stem for path in (conf / group).glob("*.yaml")} <= begins, group
    assert script == "train" or {" ".join([*one.needs, one.usage]) for one in COMMANDS} <= begins
    assert all(line.split("  ", 2)[2].strip() for line in lines if line.startswith("  "))


@pytest.mark.parametrize(("script", "examples"), [("train", module._TRAIN), ("evaluate", module._EVALUATE)])
def test_the_examples_are_right(script: str, examples: dict[str, str], project_root: Path) -> None:
    for example in examples:
        check_form(shlex.split(example), script, project_root / "conf")
