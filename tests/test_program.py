"""How this process was started: the form of commands in hints, and modules that `python -m` does not run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import genregrid
from genregrid.program import command_name, conf_folder, install_command


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
