"""A wheel of this project, installed: its command works in any folder, with what the wheel brings along."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.slow
QUICK = ("model=lda", "dataset.num_tracks=50", "logger=none", "trainer.accelerator=cpu", "hydra.run.dir=outputs/run")
WITHOUT = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")

Run = Callable[..., str]


def run(*words: str | Path, cwd: Path) -> str:
    """Run a program that has to succeed, and return its output."""
    env = {name: value for name, value in os.environ.items() if name not in WITHOUT}
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def command(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a wheel that was built and installed without a network, in a new environment.

    Other packages are those of this environment.
    """
    pytest.importorskip("setuptools", minversion="77", reason="builds the wheel")
    folder = tmp_path_factory.mktemp("installation")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "conf"):
        shutil.copytree(project_root / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(project_root / name, source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / Path(sys.executable).name
    run(*pip, "--python", python, "install", "--no-index", "--no-deps", wheel, cwd=folder)
    (installed,) = (folder / "venv").rglob("site-packages/genregrid")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (installed.parent / "others.pth").write_text("\n".join(others) + "\n", encoding="utf-8")
    shutil.rmtree(source)
    return scripts / "genregrid"


def test_an_installed_wheel_trains_reports_and_answers_in_any_folder(command: Path, tmp_path: Path) -> None:
    (installed,) = command.parents[1].rglob("site-packages/genregrid")
    assert "genregrid train" in run(command, "--help", cwd=tmp_path)
    trained = run(command, "train", *QUICK, cwd=tmp_path).splitlines()
    assert trained[-1] == "run: outputs/run"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]
    reported = run(command, "report", "outputs", "hydra.run.dir=outputs/report", cwd=tmp_path).splitlines()
    assert reported[-1] == "run: outputs/report"
    assert "SYNTHETIC" in (tmp_path / "outputs/report/report.html").read_text(encoding="utf-8")
    random = np.random.default_rng(0)
    soundfile.write(tmp_path / "song.wav", 0.1 * random.standard_normal(11 * 22_050), 22_050)
    heard = run(command, "hear", "song.wav", cwd=tmp_path)
    assert heard.startswith("song.wav: ")
    assert "next: `genregrid hear FOLDER`" in heard
    usage = run(command, "train", "--help", cwd=tmp_path)
    assert {path.stem for path in (installed / "conf/model").glob("*.yaml")} <= set(usage.split())


def test_a_wheel_has_every_file_of_the_configuration_and_of_the_package(command: Path, project_root: Path) -> None:
    (installed,) = command.parents[1].rglob("site-packages/genregrid")
    for source, target in ((project_root / "conf", installed / "conf"), (project_root / "src/genregrid", installed)):
        files = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        assert {path for path in files if not (target / path).is_file()} == set()
