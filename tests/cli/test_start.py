"""Starts of the real commands in odd environments, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import matplotlib
import pytest

from genregrid.cli.start import start

pytestmark = pytest.mark.slow
QUICK = ("model=lda", "dataset.num_tracks=50", "logger=none", "trainer.accelerator=cpu", "hydra.run.dir=out")


def started(
    project_root: Path, folder: Path, script: str, *arguments: str, variables: Mapping[str, str | None]
) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder, with changed variables of the environment; ``None`` removes one."""
    env = {name: value for name, value in {**os.environ, **variables}.items() if value is not None}
    words = [sys.executable, str(project_root / script), *arguments]
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.torture
def test_a_run_and_its_report_depend_on_no_variable_of_the_environment(project_root: Path, tmp_path: Path) -> None:
    fonts = matplotlib.get_cachedir()  # without it, as HOME is missing, matplotlib looks at every font again
    odd = {
        "MPLCONFIGDIR": fonts,
        "MPLBACKEND": "nonsense",
        "HOME": None,
        "LOCAL_RANK": "x",
        "USER": None,
        "LOGNAME": None,
    }
    odd["TERM"] = "nonsense"
    done = started(project_root, tmp_path, "train.py", *QUICK, variables=odd)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "run: out"
    odd |= {"LOCAL_RANK": "", "HOME": "/nowhere", "LANG": "nonsense", "PYTHONIOENCODING": "ascii", "COLUMNS": "x"}
    done = started(project_root, tmp_path, "evaluate.py", "runs=out", "hydra.run.dir=report", variables=odd)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "run: report"
    assert (tmp_path / "report/report.html").is_file()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_one_sentence(project_root: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    done = started(project_root, tmp_path / "closed", "train.py", *QUICK, variables={})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Permission denied; hydra.run.dir=PATH" in line


def test_a_clone_that_is_not_installed_is_one_sentence(
    project_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("genregrid.cli.start.version", missing)
    with pytest.raises(SystemExit) as ended:
        start("train", project_root / "conf")
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("genregrid: not installed in this Python; ")
