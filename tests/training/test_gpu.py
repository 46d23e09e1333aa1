"""Runs on a GPU: the same files and, apart from rounding, the same numbers. Skipped where there is no GPU.

To run these alone: ``python -m pytest tests/training/test_gpu.py -m "slow or not slow"``.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from genregrid.config import TrainConfig
from genregrid.models.network import Network
from genregrid.record.result import Result
from genregrid.training.build import typed
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.evaluation import evaluate
from genregrid.training.run import train, train_together
from genregrid.training.stack import StackCheckpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
]
NETWORKS = ["mlp", "set_mlp", "lstm", "gru", "bilstm_attention", "cnn", "transformer"]
EXACT = ("metrics.json", "predictions.csv", "curves.csv")
MakeConfig = Callable[..., DictConfig]


@pytest.fixture
def make_cfg(write_csv: Callable[..., Path], composed: MakeConfig) -> MakeConfig:
    # 19 or 20 training tracks of 4 slices, in batches of 16: the last batch is smaller
    path = write_csv(tracks=10, slices=4, separation=0.3)
    fixed = ("dataset=csv", f"dataset.path={path}", "logger=none", "split.folds=3", "trainer.max_epochs=4")
    return lambda *overrides: composed(*fixed, *overrides)


def quietly(cfg: DictConfig, folder: Path, model: str) -> Result:
    with contextlib.redirect_stdout(io.StringIO()):
        return train(cfg, folder, model)


def assert_close(first: pd.DataFrame, second: pd.DataFrame, atol: float) -> None:
    pd.testing.assert_frame_equal(first, second, rtol=atol, atol=atol)


@pytest.mark.parametrize("model", [*NETWORKS, "lstm_knn", "lstm_svm", "lda"])
def test_the_cpu_predicts_what_the_gpu_predicted(
    model: str, make_cfg: MakeConfig, composed: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    cfg = make_cfg(f"model={model}")  # trainer.accelerator=auto
    run = quietly(cfg, tmp_path / "run", model)
    if model in NETWORKS:
        assert torch.cuda.max_memory_allocated() > before
    dataset = typed(cfg, TrainConfig).dataset
    score = composed(f"checkpoint={tmp_path / 'run/checkpoint.ckpt'}", config="evaluate")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with contextlib.redirect_stdout(io.StringIO()):
        again = evaluate(score, tmp_path / "cpu", dataset_named=lambda _: dataset)
    probabilities = [column for column in run.predictions if column.startswith("probability")]
    assert_close(run.predictions[probabilities], again.predictions[probabilities], atol=2e-3)


def test_a_fit_without_dropout_learns_the_same_on_gpu_and_cpu(make_cfg: MakeConfig, tmp_path: Path) -> None:
    cfgs = {name: make_cfg("model=mlp", "model.dropout=0", f"trainer.accelerator={name}") for name in ("gpu", "cpu")}
    runs = {name: quietly(cfg, tmp_path / name, "mlp") for name, cfg in cfgs.items()}
    assert_close(runs["gpu"].curves, runs["cpu"].curves, atol=5e-3)
    assert runs["gpu"].facts.identity == runs["cpu"].facts.identity


@pytest.mark.parametrize("model", NETWORKS)
def test_a_run_that_was_stopped_resumes_on_the_gpu(
    model: str, make_cfg: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cfg = make_cfg(f"model={model}", "trainer.checkpoint_seconds=0")
    whole = quietly(cfg, tmp_path / "whole", model)
    end_epoch = Network.on_train_epoch_end

    def stop(self: Network) -> None:
        if self.current_epoch == 3:
            raise RuntimeError("stopped")
        end_epoch(self)

    with monkeypatch.context() as patched:
        patched.setattr(Network, "on_train_epoch_end", stop)
        with pytest.raises(RuntimeError, match="stopped"):
            quietly(cfg, tmp_path / "run", model)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        cfg.resume = True
        resumed = train(cfg, tmp_path / "run", model)
    assert "anew" not in printed.getvalue()
    assert_close(resumed.curves, whole.curves, atol=1e-3)  # on a GPU sums have no fixed order


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_trains(precision: str, make_cfg: MakeConfig, tmp_path: Path) -> None:
    run = quietly(make_cfg("model=lstm", f"trainer.precision={precision}"), tmp_path / "run", "lstm")
    assert np.isfinite(run.curves.to_numpy(dtype=float)).all()


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_stack_on_the_gpu_equals_a_stack_on_the_cpu(dropout: float, make_cfg: MakeConfig, tmp_path: Path) -> None:
    curves = {}
    for device in ("gpu", "cpu"):
        cfgs = [
            make_cfg("model=mlp", f"model.dropout={dropout}", f"seed={seed}", f"trainer.accelerator={device}")
            for seed in range(4)
        ]
        jobs = [(cfg, tmp_path / device / str(number), "mlp") for number, cfg in enumerate(cfgs)]
        fitted = train_together(jobs, CorpusReader())
        curves[device] = [pd.DataFrame(one.curves) for one in fitted.values()]
    assert len(curves["gpu"]) == 4
    for on_gpu, on_cpu in zip(curves["gpu"], curves["cpu"], strict=True):
        assert_close(on_gpu, on_cpu, atol=5e-3)


def test_a_stack_that_was_stopped_resumes_on_the_gpu(
    make_cfg: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fitted(folder: str, *overrides: str) -> list[pd.DataFrame]:
        cfgs = [make_cfg("model=mlp", f"seed={seed}", "trainer.checkpoint_seconds=0", *overrides) for seed in range(3)]
        jobs = [(cfg, tmp_path / folder / str(number), "mlp") for number, cfg in enumerate(cfgs)]
        return [pd.DataFrame(one.curves) for one in train_together(jobs, CorpusReader()).values()]

    whole = fitted("whole")
    save, saved = StackCheckpoint.save, []

    def stop(self: StackCheckpoint, states: Any) -> None:
        save(self, states)
        saved.append(1)
        if len(saved) == 2:
            raise RuntimeError("stopped")

    monkeypatch.setattr(StackCheckpoint, "save", stop)
    with pytest.raises(RuntimeError, match="stopped"):
        fitted("run")
    resumed = fitted("run", "resume=true")
    assert len(saved) == 4
    assert "anew" not in capsys.readouterr().out
    for first, second in zip(resumed, whole, strict=True):
        assert_close(first, second, atol=1e-3)
