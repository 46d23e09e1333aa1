"""The real commands, each in its own process; they are few, because each takes seconds to import torch."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]
QUICK = ("trainer.max_epochs=2", "trainer.accelerator=cpu", "logger=none")


@pytest.fixture
def script(project_root: Path, tmp_path: Path) -> Run:
    """`script("train.py", *arguments)` runs a script from an empty folder."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, str(project_root / name), *arguments]
        return subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path)

    return run


def last_run(output: str) -> Path:
    label, path = output.splitlines()[-1].split(": ", 1)
    assert label == "run"
    return Path(path)


def test_a_grid_trains_and_its_leaderboard_and_a_checkpoint_are_scored(script: Run, tmp_path: Path) -> None:
    pick = ("slice=9,30", "split.fold=0", "seed=0")
    grid = script("train.py", "experiment=paper", *pick, "dataset.num_tracks=100", *QUICK)
    assert grid.returncode == 0, grid.stderr
    folder = tmp_path / last_run(grid.stdout)
    runs = sorted(path.parent for path in folder.rglob("run.json"))
    assert [run.name.split("-")[0] for run in runs] == ["lstm", "mlp"]
    assert "synthetic" in grid.stdout
    board = script("evaluate.py", f"runs={folder}", "reference=paper")
    assert board.returncode == 0, board.stderr
    report = tmp_path / last_run(board.stdout)
    assert "SYNTHETIC" in (report / "report.html").read_text()
    assert "mlp 30 s_paper" in (report / "table1.csv").read_text()
    assert board.stdout.count("twin-synthetic") == 2
    again = script("evaluate.py", f"checkpoint={runs[0] / 'checkpoint.ckpt'}")
    assert again.returncode == 0, again.stderr
    scores = json.loads((tmp_path / last_run(again.stdout) / "metrics.json").read_text())
    assert scores == json.loads((runs[0] / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("train.py", "model=foo"), "model=foo: "),
        (("train.py", "model.dropout=2", "dataset.num_tracks=50", "logger=none"), "model.dropout=2: "),
        (("evaluate.py", "audio=song.wav"), "audio=song.wav: "),
    ],
)
def test_a_users_mistake_ends_in_one_line_and_code_two(script: Run, arguments: tuple[str, ...], line: str) -> None:
    done = script(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(line)
    assert len(done.stderr.strip().splitlines()) == 1
    assert "run: " not in done.stdout


@pytest.mark.parametrize(
    "arguments", [("train", "--help"), ("train", "slcie=3"), ("evaluate", "runs=nowhere"), ("evaluate",)]
)
def test_help_mistakes_and_reports_do_not_import_torch(project_root: Path, arguments: tuple[str, ...]) -> None:
    name, *words = arguments
    code = (
        f"import sys, atexit\nfrom pathlib import Path\nsys.argv[1:] = {words}\n"
        "atexit.register(lambda: print('torch' in sys.modules, 'lightning' in sys.modules, 'wandb' in sys.modules))\n"
        f"from genregrid.cli.start import start\nstart({name!r}, Path({str(project_root / 'conf')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "False False False", done.stderr


@pytest.mark.torture
def test_two_processes_train_as_one_with_batches_twice_as_large(script: Run, tmp_path: Path) -> None:
    folders = {}
    for devices, batch_size in ((2, 8), (1, 16)):
        shared = ("dataset.num_tracks=300", "model.dropout=0", f"trainer.devices={devices}", f"batch_size={batch_size}")
        done = script("train.py", "model=lstm", *shared, *QUICK)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert done.stdout.count("run: ") == done.stdout.count("macro F1") == 1
        folders[devices] = tmp_path / last_run(done.stdout)
    assert sorted(tmp_path.glob("outputs/*/*")) == sorted(folders.values())
    two, one = ({path.name: path for path in folder.iterdir()} for folder in folders.values())
    assert two.keys() == one.keys()
    curves = [pd.read_csv(files["curves.csv"]) for files in (two, one)]
    pd.testing.assert_frame_equal(*curves, rtol=1e-4)
    assert len(curves[0]) == 2
    predictions = [pd.read_csv(files["predictions.csv"]) for files in (two, one)]
    assert predictions[0]["track"].tolist() == predictions[1]["track"].tolist()
    np.testing.assert_allclose(*(frame.filter(like="p_").to_numpy() for frame in predictions), atol=1e-4)
    assert two["split.csv"].read_bytes() == one["split.csv"].read_bytes()


def test_a_failed_job_does_not_stop_the_others_and_the_exit_code_reports_it(script: Run, tmp_path: Path) -> None:
    done = script("train.py", "-m", "slice=4,9", "dataset.num_tracks=50", *QUICK)
    assert done.returncode == 2
    assert "slice=4" in done.stderr
    assert len(list((tmp_path / last_run(done.stdout)).rglob("run.json"))) == 1


def test_ctrl_c_ends_in_one_line(project_root: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        str(project_root / "train.py"),
        "trainer.max_epochs=10000",
        "dataset.num_tracks=50",
        "logger=none",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("checkpoint.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["train.py", "evaluate.py"])
def test_missing_packages_are_reported_with_the_set_up_command(project_root: Path, name: str) -> None:
    words = [sys.executable, "-S", "-I", str(project_root / name)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "pip install -e ." in done.stderr
    assert "Traceback" not in done.stderr
