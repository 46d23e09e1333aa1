"""Fits trained as one computation are those trained one by one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from genregrid.config import register_schemas
from genregrid.data.datamodule import GenreDataModule
from genregrid.record.result import Result
from genregrid.training import fit as fitting
from genregrid.training import run
from genregrid.training.build import prepare
from genregrid.training.stack import StackCheckpoint, _Stack, can_be_stacked, fit_stack

CONF = Path(__file__).resolve().parents[2] / "conf"
QUICK = ("dataset=csv", "logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=3", "split.folds=3")


@pytest.fixture
def make_cfg(write_csv: Callable[..., Path]) -> Callable[..., DictConfig]:
    # parts of unequal size: 26 or 27 windows to train on make 6 or 7 batches of 4, the last of 2 or 3
    path = write_csv(tracks={"blues": 8, "classical": 9, "metal": 8}, slices=2, short={"blues.00002": 1})

    def make(*overrides: str) -> DictConfig:
        register_schemas()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", ["model=mlp", *QUICK, f"dataset.path={path}", *overrides])

    return make


def stacked_and_alone(cfgs: list[DictConfig], folder: Path) -> list[tuple[Result, Result]]:
    alone = [run.train(cfg, folder / f"alone{number}", "mlp") for number, cfg in enumerate(cfgs)]
    run.train_together([(cfg, folder / f"stacked{number}", "mlp") for number, cfg in enumerate(cfgs)])
    assert len(fitting._fitted) == len(cfgs)
    stacked = [run.train(cfg, folder / f"stacked{number}", "mlp") for number, cfg in enumerate(cfgs)]
    assert not fitting._fitted
    return list(zip(stacked, alone, strict=True))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("window=track", "batch_size=5"),
        ("model.dropout=0", "model.weight_decay=0.1"),
        ("model.weight_decay=0.1", "model.decoupled_weight_decay=true", "model.label_smoothing=0.1"),
        ("trainer.patience=1", "trainer.max_epochs=12", "model.learning_rate=0.05"),
    ],
)
def test_a_stack_comes_to_what_each_fit_comes_to_alone(
    overrides: tuple[str, ...], make_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
    cfgs = [make_cfg(f"split.fold={fold}", f"seed={seed}", *overrides) for fold in range(3) for seed in range(2)]
    pairs = stacked_and_alone(cfgs, tmp_path)
    assert len({len(result.curves) for result, _ in pairs}) > 1 or "trainer.patience=1" not in overrides
    for stacked, alone in pairs:
        pd.testing.assert_frame_equal(stacked.curves, alone.curves, rtol=1e-3, atol=1e-4)
        pd.testing.assert_frame_equal(stacked.predictions, alone.predictions, rtol=1e-3, atol=1e-4)
        pd.testing.assert_frame_equal(stacked.validation, alone.validation, rtol=1e-3, atol=1e-4)
        assert stacked.facts.identity == alone.facts.identity


def test_a_stacked_fit_leaves_the_files_of_any_other(make_cfg: Callable[..., DictConfig], tmp_path: Path) -> None:
    stacked_and_alone([make_cfg(f"seed={seed}", "logger=csv") for seed in range(2)], tmp_path)
    names = [sorted(path.name for path in (tmp_path / f"{kind}0").iterdir()) for kind in ("stacked", "alone")]
    assert names[0] == names[1]
    logged = [pd.read_csv(tmp_path / f"{kind}0/metrics.csv") for kind in ("stacked", "alone")]
    for column in ("epoch", "step", "train/loss", "val/loss"):
        assert logged[0][column].dropna().unique() == pytest.approx(logged[1][column].dropna().unique(), rel=1e-3)
    again = run.evaluate(
        evaluate_cfg(tmp_path / "stacked0/checkpoint.ckpt"),
        tmp_path / "again",
    )
    kept = pd.read_csv(tmp_path / "stacked0/predictions.csv")
    assert list(again.predictions["predicted"]) == list(kept["predicted"])


def evaluate_cfg(checkpoint: Path) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("evaluate", [f"checkpoint={checkpoint}"])


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.relu=true",),
        ("model.one_cycle=true",),
        ("model.mixup=0.2",),
        ("model.ema_decay=0.9",),
        ("model.slice_dropout=0.2", "window=track"),
        ("trainer.gradient_clip_val=1",),
        ("trainer.precision=bf16-mixed",),
        ("model=lstm",),
    ],
)
def test_what_a_stack_cannot_do_is_left_to_one_by_one(
    overrides: tuple[str, ...], make_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
    run.train_together([(make_cfg(f"seed={seed}", *overrides), tmp_path / str(seed), "mlp") for seed in range(2)])
    assert not fitting._fitted


def test_a_stack_that_would_fill_the_memory_is_not_made(make_cfg: Callable[..., DictConfig]) -> None:
    prepared = prepare(make_cfg(), "mlp")
    settings = prepared.settings.trainer
    assert can_be_stacked([prepared.model] * 2, settings, num_slices=1000)
    assert not can_be_stacked([prepared.model] * 2, settings, num_slices=10**7)


def test_a_fit_without_a_finite_loss_is_told_by_its_own_run(
    make_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
    cfgs = [make_cfg(f"seed={seed}", "model.learning_rate=1e30") for seed in range(2)]
    run.train_together([(cfg, tmp_path / str(number), "mlp") for number, cfg in enumerate(cfgs)])
    with pytest.raises(run.UserError, match="no epoch had a finite validation loss"):
        run.train(cfgs[0], tmp_path / "0", "mlp")
    fitting._fitted.clear()


def test_a_mistake_in_one_run_of_a_stack_is_left_to_that_run(
    make_cfg: Callable[..., DictConfig], tmp_path: Path
) -> None:
    cfgs = [make_cfg("split.fold=0"), make_cfg("split.fold=1"), make_cfg("split.fold=9")]
    run.train_together([(cfg, tmp_path / str(number), "mlp") for number, cfg in enumerate(cfgs)])
    assert len(fitting._fitted) == 2
    with pytest.raises(run.UserError, match="folds are numbered"):
        run.train(cfgs[2], tmp_path / "2", "mlp")
    fitting._fitted.clear()


def test_adam_is_torchs(make_cfg: Callable[..., DictConfig], tmp_path: Path) -> None:
    """One step by hand: a stack's own optimiser against torch.optim's on the same gradients."""
    prepared: Any = prepare(make_cfg("model.dropout=0", "batch_size=100", "trainer.max_epochs=1"), "mlp")
    model, datamodule = prepared.model, prepared.datamodule
    assert isinstance(datamodule, GenreDataModule)
    before = [weight.detach().clone() for weight in model.parameters()]
    kept = StackCheckpoint(tmp_path / "stack.ckpt", ["a", "b"], seconds=30, resume=False)
    chances = [torch.get_rng_state()] * 2
    (fitted, _) = fit_stack([model] * 2, [datamodule] * 2, chances, prepared.settings.trainer, kept)
    (batch,) = datamodule.train_dataloader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.nn.functional.cross_entropy(model.logits(batch), batch["genre"]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    for weight, old, name in zip(model.parameters(), before, fitted.weights, strict=True):
        np.testing.assert_allclose((fitted.weights[name] - old).numpy(), (weight - old).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("patience", ["null", "1"])
def test_a_stack_that_was_stopped_comes_to_the_same_bytes(
    patience: str, make_cfg: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("trainer.max_epochs=5", f"trainer.patience={patience}", "trainer.checkpoint_seconds=0")

    def fitted(place: str, *more: str, numbers: range = range(3)) -> dict[str, Any]:
        jobs = [
            (make_cfg(f"seed={number}", *words, *more), tmp_path / place / str(number), "mlp") for number in numbers
        ]
        run.train_together(jobs)
        found = {name: (result.curves, result.weights) for name, result in fitting._fitted.items()}
        fitting._fitted.clear()
        return found

    whole = fitted("whole")
    train_epoch, epochs = _Stack.train_epoch, []

    def stopped(self: _Stack, train: Any) -> torch.Tensor:
        if len(epochs) == 3:
            raise RuntimeError("stopped")
        epochs.append(1)
        return train_epoch(self, train)

    monkeypatch.setattr(_Stack, "train_epoch", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        fitted("grid")
    epochs.append(1)  # from here on nothing stops it
    again = fitted("grid", "resume=true")
    assert len(epochs) == 6 if patience == "null" else len(epochs) <= 6
    assert again.keys() == whole.keys()
    for name, (curves, weights) in whole.items():
        assert again[name][0] == curves
        assert all(torch.equal(again[name][1][key], value) for key, value in weights.items())
