"""The command `genregrid`: what starts each command, its help, and hints in the form that the user typed."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from genregrid.cli import main as module
from genregrid.cli.main import main
from genregrid.cli.overview import overview
from genregrid.program import PARENT, conf_folder

Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """`command("train", "slice=3")` runs `genregrid train slice=3` in this process and returns its exit code."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # the command sets it

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/genregrid", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(str(ended.value.code))

    return run


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were started: the name of each, and its arguments."""
    starts: list[list[str]] = []

    def run(name: str, conf: Path) -> int:
        assert (conf / f"{name}.yaml").is_file()
        starts.append([name, *sys.argv[1:]])
        return 0

    monkeypatch.setattr(module, "run", run)
    return starts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "-m", "slice=3,6"], ["train", "-m", "slice=3,6"]),
        (["evaluate", "checkpoint=latest"], ["evaluate", "checkpoint=latest"]),
        (["report", "out", "reference=paper"], ["evaluate", "runs=out", "reference=paper"]),
        (["report", "a", "b (1), c"], ["evaluate", "runs=['a','b (1), c']"]),
        (["report", "--config-dir", "own", "out"], ["evaluate", "runs=out", "--config-dir", "own"]),
        (["report", "runs=out"], ["evaluate", "runs=out"]),
        (["report", "--help"], ["evaluate", "--help"]),
    ],
)
def test_a_command_starts_what_the_scripts_start(
    arguments: list[str], words: list[str], command: Command, started: list[list[str]]
) -> None:
    assert command(*arguments) == 0
    assert started == [words]


def test_a_process_of_a_run_on_several_devices_trains(
    command: Command, started: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PARENT, str(os.getppid()))
    assert command("model=lstm", "hydra.run.dir=here") == 0
    assert started == [["train", "model=lstm", "hydra.run.dir=here"]]


def test_the_help_is_short_and_has_examples(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20
    assert sum(line.startswith("  genregrid ") for line in lines) == 4
    assert command() == 2  # nothing was done
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "write `genregrid train`"),
        (["model=lstm"], "begin with `genregrid train`"),
        (["checkpoint=latest"], "begin with `genregrid evaluate`"),
        (["x"], "choose one of train, evaluate, "),
        (["report"], "write `genregrid report outputs`"),
        (["report", "nowhere"], "give the folder of a multirun"),
        (["train", "epochs=5"], "write `genregrid train trainer.max_epochs=5`"),
        (["train", "model=lda,lstm"], "genregrid train -m model=lda,lstm"),
        (["evaluate", "song.mp3"], "write `genregrid evaluate checkpoint=PATH audio=song.mp3`"),
        (["evaluate", "seed=1,2"], "genregrid evaluate -m seed=1,2"),
        (["train", "song.mp3"], "`genregrid hear song.mp3`"),
        (["/"], "`genregrid hear /` for its genre"),
        (["train", "checkpoint=latest"], "`genregrid evaluate checkpoint=latest`"),
    ],
)
def test_a_mistake_is_one_line_with_the_command_as_it_is_typed(
    arguments: list[str], hint: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert hint in line
    assert "python" not in line


@pytest.mark.parametrize("name", ["features", "search"])
def test_other_commands_keep_their_options(name: str, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(name, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: genregrid {name} ")


def test_the_examples_of_help_are_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["genregrid"])
    lines = overview("train", conf_folder(), "", {}).splitlines()
    assert sum(line.startswith("  genregrid train") for line in lines) == 3
    assert not any("python" in line for line in lines)
