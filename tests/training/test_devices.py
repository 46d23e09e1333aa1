"""Which process of a run prints and writes: variables that other launchers left in the environment do not matter."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from genregrid.config import TrainerConfig
from genregrid.training.devices import announce_parent, check_devices, forget_ranks, is_first_process


@pytest.mark.parametrize("rank", ["1", "x", "", "-1"])
def test_a_rank_that_another_launcher_left_means_nothing(rank: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "RANK", "SLURM_PROCID"):
        monkeypatch.setenv(name, rank)
    assert is_first_process()
    forget_ranks(in_job=True)
    assert "LOCAL_RANK" not in os.environ
    assert os.environ["SLURM_PROCID"] == rank  # submitit reads it
    forget_ranks()
    assert "SLURM_PROCID" not in os.environ


def test_only_children_of_a_run_on_several_devices_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "from genregrid.training.devices import forget_ranks, is_first_process\n"
        "forget_ranks()\nprint(is_first_process())"
    )

    def is_first(rank: str) -> str:
        monkeypatch.setenv("LOCAL_RANK", rank)
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setenv("GENREGRID_PARENT", "1")  # for monkeypatch to restore
    assert is_first("1") == "True"
    announce_parent(TrainerConfig(devices=2))
    assert [is_first("0"), is_first("1")] == ["True", "False"]
    assert is_first_process()  # the parent itself


def test_more_devices_than_cores_are_refused(user_error: Callable[..., AbstractContextManager[None]]) -> None:
    with user_error("trainer.devices", 100_000):
        check_devices(TrainerConfig(devices=100_000))


@pytest.mark.torture
def test_a_run_writes_its_results_whatever_launchers_left(project_root: Path, tmp_path: Path) -> None:
    left = {"LOCAL_RANK": "1", "RANK": "", "WORLD_SIZE": "4", "MASTER_PORT": "x", "PL_GLOBAL_SEED": "x"}
    left |= {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1", "SLURM_PROCID": "x"}
    words = [sys.executable, str(project_root / "train.py"), "model=lda", "dataset.num_tracks=50", "logger=none"]
    done = subprocess.run(
        [*words, "hydra.run.dir=run"], cwd=tmp_path, env=os.environ | left, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "run: run"
    assert (tmp_path / "run/run.json").is_file()
