"""Jobs in processes of their own (``launcher=local``): a killed grid is resumed, and failing jobs fail alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.singleton import Singleton
from hydra.types import HydraContext
from omegaconf import DictConfig

from genregrid.cli import train
from genregrid.cli.job import Job
from genregrid.grid.job import Grid
from genregrid.training.stack import StackCheckpoint
from hydra_plugins.genregrid_launcher import _StackRunner


def command(project_root: Path, *overrides: str) -> list[str]:
    fixed = ["dataset.num_tracks=60", "logger=none", "trainer.accelerator=cpu", "launcher=local"]
    return [sys.executable, str(project_root / "train.py"), "-m", *fixed, *overrides]


def results_of(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.rglob("predictions.csv")}


@pytest.mark.slow
@pytest.mark.torture
def test_a_grid_that_is_killed_moved_and_resumed_gives_the_same_bytes(project_root: Path, tmp_path: Path) -> None:
    """``kill -9`` in the middle, then ``resume=true``: every job once, and every byte of its predictions."""
    overrides = ("model=lstm,mlp", "seed=0,1", "trainer.max_epochs=10", "trainer.checkpoint_seconds=0")
    with subprocess.Popen(
        command(project_root, *overrides), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and not (
            list(tmp_path.rglob("run.json")) and list(tmp_path.rglob("last.ckpt"))
        ):
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    (killed,) = (tmp_path / "outputs/multirun").iterdir()
    grid = killed.rename(killed.with_name("moved"))
    finished = {path.parent: path.stat().st_mtime_ns for path in grid.rglob("run.json")}
    assert 0 < len(finished) < 4
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
    assert len(results_of(grid)) == 4
    assert results_of(grid) == results_of(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.torture
def test_the_other_jobs_run_when_one_fails_and_one_ends_its_process(project_root: Path, tmp_path: Path) -> None:
    """An impossible slice length, and a model that kills its process in the first of two jobs that run together."""
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


def test_a_stack_without_room_for_its_checkpoint_leaves_one_sentence_in_each_of_its_jobs(
    config_loader: ConfigLoader,
    composed: Callable[..., DictConfig],
    write_csv: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: StackCheckpoint, states: object) -> None:
        raise OSError(28, "No space left on device", "0/stack.ckpt")

    monkeypatch.setattr(StackCheckpoint, "save", full)
    # in this process it would load Hydra's plugins once more, whose classes later grids could not send to processes
    monkeypatch.setattr(Singleton, "set_state", lambda _: None)
    data = ["dataset=csv", f"dataset.path={write_csv(tracks=9, slices=2)}", "split.folds=3", "model=mlp", "logger=none"]
    config = composed("hydra.mode=MULTIRUN", hydra=True)
    grid = Grid(HydraContext(config_loader, Callbacks(config)), config, Job(train.main))
    _StackRunner(grid, Singleton.get_state()["instances"])([(0, [*data, "seed=0"]), (1, [*data, "seed=1"])])
    errors = [path.read_text() for path in tmp_path.rglob("error.txt")]
    assert errors == ["0/stack.ckpt: No space left on device; hydra.sweep.dir=PATH writes elsewhere.\n"] * 2
    assert not list(tmp_path.rglob("run.json"))
