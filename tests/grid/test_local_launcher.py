"""Jobs in processes of their own (``launcher=local``): a killed grid is resumed, and failing jobs fail alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def command(project_root: Path, *overrides: str) -> list[str]:
    fixed = ["dataset.num_tracks=200", "logger=none", "trainer.accelerator=cpu", "launcher=local"]
    return [sys.executable, str(project_root / "train.py"), "-m", *fixed, *overrides]


def results_of(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.rglob("predictions.csv")}


def test_a_grid_that_is_killed_and_resumed_gives_the_same_bytes(project_root: Path, tmp_path: Path) -> None:
    """``kill -9`` in the middle, then ``resume=true``: every job once, and every byte of its predictions."""
    overrides = ("model=lstm,set_mlp,mlp", "seed=0,1", "trainer.max_epochs=15", "trainer.checkpoint_seconds=0")
    with subprocess.Popen(
        command(project_root, *overrides), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not (
            list(tmp_path.rglob("run.json")) and list(tmp_path.rglob("last.ckpt"))
        ):
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    (grid,) = (tmp_path / "outputs/multirun").iterdir()
    finished = {path.parent: path.stat().st_mtime_ns for path in grid.rglob("run.json")}
    assert 0 < len(finished) < 6
    again = subprocess.run(
        command(project_root, *overrides, "resume=true"), cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0, again.stderr
    assert f"resuming {grid.relative_to(tmp_path)}" in again.stdout
    assert again.stdout.splitlines()[-1] == f"run: {grid.relative_to(tmp_path)}"
    assert list((tmp_path / "outputs/multirun").iterdir()) == [grid]
    assert {path: (path / "run.json").stat().st_mtime_ns for path in finished} == finished
    whole = subprocess.run(
        command(project_root, *overrides, "hydra.sweep.dir=whole"), cwd=tmp_path, capture_output=True, timeout=300
    )
    assert whole.returncode == 0
    assert len(results_of(grid)) == 6
    assert results_of(grid) == results_of(tmp_path / "whole")


def test_the_other_jobs_run_when_one_fails_and_one_ends_its_process(project_root: Path, tmp_path: Path) -> None:
    """An impossible slice length, a model that kills its process, and stacks of fits: all in one grid."""
    (tmp_path / "deadly.py").write_text(
        "import os\nfrom genregrid.models.estimator import EstimatorClassifier\n\n\n"
        "class Deadly(EstimatorClassifier):\n    def vectors(self, batch):\n        os.kill(os.getpid(), 9)\n"
    )
    target = "model._target_=genregrid.models.estimator.EstimatorClassifier,deadly.Deadly"
    done = subprocess.run(
        command(project_root, "model=lda", target, "slice=3,4", "split.fold=0,1", "hydra.sweep.dir=grid"),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert "6 of 8 jobs failed:" in lines
    assert sum(" and 3 more: slice=4: this table can make slices" in line for line in lines) == 1
    assert sum(" and 1 more: its process ended: out of memory, or killed" in line for line in lines) == 1
    assert len(list((tmp_path / "grid").rglob("run.json"))) == 2
    assert "Traceback" not in done.stderr
    assert "grid: 2 of 8 jobs done, 6 failed" in done.stdout
    (output, *_) = [path for path in (tmp_path / "grid").rglob("output.txt") if (path.parent / "run.json").exists()]
    assert "accuracy" in output.read_text()
