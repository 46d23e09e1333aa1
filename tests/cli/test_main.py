"""The command `genregrid`: what starts each command, its help, and hints in the form that the user typed."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import genregrid
from genregrid.cli import main as module
from genregrid.cli.main import main
from genregrid.cli.overview import overview
from genregrid.program import PARENT, command_name, conf_folder, install_command

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


def test_the_help_is_short_and_has_three_examples(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 20
    assert sum(line.startswith("  genregrid ") for line in lines) == 3
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
        (["train", "song.mp3"], "`genregrid features FOLDER "),
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


@pytest.mark.parametrize(
    ("started_as", "train", "features"),
    [
        ("/home/me/genregrid/train.py", "python train.py", "python -m genregrid.features"),
        ("/venv/bin/genregrid", "genregrid train", "genregrid features"),
        ("C:\\Scripts\\genregrid.exe", "genregrid train", "genregrid features"),
        (str(Path(genregrid.__file__).with_name("__main__.py")), "python -m genregrid train", None),
        ("ipykernel/__main__.py", "python train.py", "python -m genregrid.features"),
        ("", "python train.py", "python -m genregrid.features"),
    ],
)
def test_a_command_is_written_as_it_was_typed(
    started_as: str, train: str, features: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\\" in started_as and os.name == "posix":
        started_as = started_as.replace("\\", "/")
    monkeypatch.setattr(sys, "argv", [started_as])
    assert command_name("train") == train
    assert command_name("features") == (features or "python -m genregrid features")


def test_an_installation_without_scripts_names_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("genregrid.program._INSTALLED_CONF", tmp_path)
    monkeypatch.setattr(sys, "argv", ["notebook"])
    assert (command_name("train"), conf_folder()) == ("genregrid train", tmp_path)
    assert install_command("audio") == 'pip install "genregrid[audio]"'


def test_the_examples_of_help_are_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["genregrid"])
    lines = overview("train", conf_folder(), "", {}).splitlines()
    assert sum(line.startswith("  genregrid train") for line in lines) == 3
    assert not any("python" in line for line in lines)


def test_a_checkout_uses_its_own_configuration(project_root: Path) -> None:
    assert conf_folder() == project_root / "conf"


def commands() -> set[str]:
    """Return the modules that `python -m` runs: packages by their `__main__.py`, and files that start a function."""
    package = Path(genregrid.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        if re.search('^if __name__ == "__main__":', path.read_text(encoding="utf-8"), re.MULTILINE):
            module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            found.add(module.removesuffix(".__main__"))
    return found


@pytest.mark.parametrize("form", [["-m", "{}"], ["-m{}"], ["-X", "dev", "-Bm", "{}"]])
def test_a_module_that_is_no_command_does_not_pretend_to_have_run(
    form: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("genregrid.run", "genregrid.training.run", "genregrid.cli"):
        monkeypatch.setattr(sys, "orig_argv", ["python", *(word.format(name) for word in form)])
        with pytest.raises(SystemExit) as ended:
            genregrid._refuse_no_command()
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith(f"{name}: it is not a command")


def test_every_command_is_run_by_python_m(monkeypatch: pytest.MonkeyPatch) -> None:
    assert commands() == genregrid._COMMANDS
    for name in [*genregrid._COMMANDS, "genregrid.search.__main__"]:
        monkeypatch.setattr(sys, "orig_argv", ["python", "-m", name, "genregrid.run"])
        genregrid._refuse_no_command()


@pytest.mark.slow
def test_python_m_refuses_a_module_and_runs_the_command() -> None:
    for name, code in (("genregrid.run", 2), ("genregrid.training.run", 2), ("genregrid", 0)):
        words = [sys.executable, "-m", name, "--help"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stderr
        assert (name in done.stdout) == (code == 0)
