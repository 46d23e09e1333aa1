"""Fits that are trained as one computation give the results of separate fits."""

import copy
import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from genregrid.config import TrainConfig
from genregrid.data.datamodule import GenreDataModule
from genregrid.record.result import Result
from genregrid.training.build import prepare, typed
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.evaluation import evaluate
from genregrid.training.run import finished_before, train, train_together
from genregrid.training.stack import Fitted, StackCheckpoint, _Stack, can_be_stacked, fit_stack

QUICK = ("dataset=csv", "logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=3", "split.folds=3")
MakeConfig = Callable[..., DictConfig]
UserErrors = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def make_cfg(write_csv: Callable[..., Path], composed: MakeConfig) -> MakeConfig:
    # parts of unequal size: 26 or 27 training windows make 6 or 7 batches of 4, the last of 2 or 3
    path = write_csv(tracks={"blues": 8, "classical": 9, "metal": 8}, slices=2, short={"blues.00002": 1})
    return lambda *overrides: composed("model=mlp", *QUICK, f"dataset.path={path}", *overrides)


def fitted_together(cfgs: list[DictConfig], folder: Path) -> dict[str, Fitted]:
    return train_together([(cfg, folder / str(number), "mlp") for number, cfg in enumerate(cfgs)], CorpusReader())


def stacked_and_alone(cfgs: list[DictConfig], folder: Path) -> list[tuple[Result, Result]]:
    alone = [train(cfg, folder / f"alone/{number}", "mlp") for number, cfg in enumerate(cfgs)]
    fitted = fitted_together(cfgs, folder / "stacked")
    assert len(fitted) == len(cfgs)
    stacked = [train(cfg, folder / f"stacked/{number}", "mlp", fitted=fitted) for number, cfg in enumerate(cfgs)]
    return list(zip(stacked, alone, strict=True))


@pytest.mark.slow
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
def test_a_stacked_fit_has_the_results_of_a_separate_fit(
    overrides: tuple[str, ...], make_cfg: MakeConfig, tmp_path: Path
) -> None:
    cfgs = [make_cfg(f"split.fold={fold}", f"seed={seed}", *overrides) for fold, seed in ((0, 0), (1, 1), (2, 0))]
    pairs = stacked_and_alone(cfgs, tmp_path)
    assert len({len(result.curves) for result, _ in pairs}) > 1 or "trainer.patience=1" not in overrides
    for stacked, alone in pairs:
        pd.testing.assert_frame_equal(stacked.curves, alone.curves, rtol=1e-3, atol=1e-4)
        pd.testing.assert_frame_equal(stacked.predictions, alone.predictions, rtol=1e-3, atol=1e-4)
        pd.testing.assert_frame_equal(stacked.validation, alone.validation, rtol=1e-3, atol=1e-4)
        assert stacked.facts.identity == alone.facts.identity


@pytest.mark.slow
def test_a_stacked_fit_writes_the_files_of_a_separate_fit(
    make_cfg: MakeConfig, composed: MakeConfig, tmp_path: Path
) -> None:
    cfgs = [make_cfg(f"seed={seed}", "logger=csv") for seed in range(2)]
    stacked_and_alone(cfgs, tmp_path)
    stacked, alone = tmp_path / "stacked/0", tmp_path / "alone/0"
    assert sorted(path.name for path in stacked.iterdir()) == sorted(path.name for path in alone.iterdir())
    logged = [pd.read_csv(folder / "metrics.csv") for folder in (stacked, alone)]
    for column in ("epoch", "step", "train/loss", "val/loss"):
        assert logged[0][column].dropna().unique() == pytest.approx(logged[1][column].dropna().unique(), rel=1e-3)
    tests = [frame.dropna(subset="test/accuracy")[["epoch", "step"]].to_numpy().tolist() for frame in logged]
    assert tests[0] == tests[1]
    checkpoints = [torch.load(folder / "checkpoint.ckpt", weights_only=True) for folder in (stacked, alone)]
    assert checkpoints[0].keys() == checkpoints[1].keys()
    for key in ("epoch", "global_step"):
        assert checkpoints[0][key] == checkpoints[1][key]
    dataset = typed(cfgs[0], TrainConfig).dataset
    cfg = composed(f"checkpoint={stacked / 'checkpoint.ckpt'}", config="evaluate")
    again = evaluate(cfg, tmp_path / "again", dataset_named=lambda _: dataset)
    assert list(again.predictions["predicted"]) == list(pd.read_csv(stacked / "predictions.csv")["predicted"])


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
def test_fits_that_a_stack_cannot_train_are_left_to_single_runs(
    overrides: tuple[str, ...], make_cfg: MakeConfig, tmp_path: Path
) -> None:
    assert fitted_together([make_cfg(f"seed={seed}", *overrides) for seed in range(2)], tmp_path) == {}


def test_a_stack_that_would_fill_the_memory_is_not_made(make_cfg: MakeConfig) -> None:
    prepared = prepare(make_cfg(), "mlp", CorpusReader())
    settings = prepared.settings.trainer
    assert can_be_stacked([prepared.model] * 2, settings, num_slices=1000)
    assert not can_be_stacked([prepared.model] * 2, settings, num_slices=10**7)


def test_a_fit_without_a_finite_loss_is_reported_by_its_own_run(
    make_cfg: MakeConfig, user_error: UserErrors, tmp_path: Path
) -> None:
    cfgs = [make_cfg(f"seed={seed}", "model.learning_rate=1e30") for seed in range(2)]
    fitted = fitted_together(cfgs, tmp_path)
    assert len(fitted) == 2
    with user_error("model.learning_rate", problem="no epoch had a finite validation loss"):
        train(cfgs[0], tmp_path / "0", "mlp", fitted=fitted)


def test_a_mistake_in_one_run_of_a_stack_is_reported_by_that_run(
    make_cfg: MakeConfig, user_error: UserErrors, tmp_path: Path
) -> None:
    cfgs = [make_cfg("split.fold=0"), make_cfg("split.fold=1"), make_cfg("split.fold=9")]
    fitted = fitted_together(cfgs, tmp_path)
    assert len(fitted) == 2
    with user_error("split.fold", 9):
        train(cfgs[2], tmp_path / "2", "mlp", fitted=fitted)


def test_one_step_of_a_stack_is_one_step_of_adam(make_cfg: MakeConfig, tmp_path: Path) -> None:
    """One step by hand: a stack against torch.optim on the same gradients."""
    overrides = ("model.dropout=0", "batch_size=100", "trainer.max_epochs=1")
    prepared: Any = prepare(make_cfg(*overrides), "mlp", CorpusReader())
    model, datamodule = prepared.model, prepared.datamodule
    assert isinstance(datamodule, GenreDataModule)
    before = [weight.detach().clone() for weight in model.parameters()]
    checkpoint = StackCheckpoint(tmp_path / "stack.ckpt", ["a", "b"], seconds=30, resume=False)
    rng_states = [torch.get_rng_state()] * 2
    (fitted, _) = fit_stack([model] * 2, [datamodule] * 2, rng_states, prepared.settings.trainer, checkpoint)
    (batch,) = datamodule.train_dataloader()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    torch.nn.functional.cross_entropy(model.logits(batch), batch["genre"]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    for weight, old, name in zip(model.parameters(), before, fitted.weights, strict=True):
        np.testing.assert_allclose((fitted.weights[name] - old).numpy(), (weight - old).detach().numpy(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("patience", ["null", "1"])
def test_a_stack_that_resumes_has_the_bytes_of_one_that_was_not_interrupted(
    patience: str, make_cfg: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = ("trainer.max_epochs=5", f"trainer.patience={patience}", "trainer.checkpoint_seconds=0")
    cfgs = [make_cfg(f"seed={seed}", *overrides) for seed in range(3)]
    whole = fitted_together(cfgs, tmp_path / "whole")
    train_epoch, epochs = _Stack.train_epoch, []

    def interrupted(self: _Stack, windows: Any) -> torch.Tensor:
        if len(epochs) == 3:
            raise RuntimeError("interrupted")
        epochs.append(1)
        return train_epoch(self, windows)

    monkeypatch.setattr(_Stack, "train_epoch", interrupted)
    with pytest.raises(RuntimeError, match="interrupted"):
        fitted_together(cfgs, tmp_path / "grid")
    epochs.append(1)  # from here on nothing interrupts it
    resumed = [make_cfg(f"seed={seed}", *overrides, "resume=true") for seed in range(3)]
    again = fitted_together(resumed, tmp_path / "grid")
    assert len(epochs) == 6 if patience == "null" else len(epochs) <= 6
    assert again.keys() == whole.keys()
    for name, fitted in whole.items():
        assert again[name].curves == fitted.curves
        assert all(torch.equal(again[name].weights[key], value) for key, value in fitted.weights.items())


FILES = ("metrics.json", "predictions.csv", "predictions_val.csv", "curves.csv", "timeline.csv", "split.csv")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {f"{run.name}/{name}": (run / name).read_bytes() for run in folder.iterdir() for name in FILES}


def written(cfgs: list[DictConfig], folder: Path, fitted: dict[str, Fitted]) -> None:
    for number, cfg in enumerate(cfgs):
        if finished_before(cfg, folder / str(number), "mlp") is None:
            train(cfg, folder / str(number), "mlp", fitted=fitted)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["in the second epoch", "after one run was written", "without its checkpoint"])
def test_a_stack_that_is_interrupted_moved_and_resumed_writes_the_bytes_of_an_unbroken_one(
    moment: str, make_cfg: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stack of which some runs were written is trained as a whole again: smaller stacks have other last bits."""
    cfgs = [make_cfg(f"seed={seed}", "trainer.checkpoint_seconds=0") for seed in range(2)]
    resumed = [make_cfg(f"seed={seed}", "trainer.checkpoint_seconds=0", "resume=true") for seed in range(2)]
    written(cfgs, tmp_path / "whole", fitted_together(cfgs, tmp_path / "whole"))
    grid = tmp_path / "grid"
    if moment == "in the second epoch":
        save, saved = StackCheckpoint.save, []

        def interrupted(self: StackCheckpoint, states: Any) -> None:
            if saved:
                raise KeyboardInterrupt
            saved.append(save(self, states))

        with monkeypatch.context() as patched:
            patched.setattr(StackCheckpoint, "save", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fitted_together(cfgs, grid)
    else:
        train(cfgs[1], grid / "1", "mlp", fitted=fitted_together(cfgs, grid))
        if moment == "without its checkpoint":
            (grid / "0/stack.ckpt").unlink()
    before = {path: path.stat().st_mtime_ns for path in grid.rglob("run.json")}
    grid = grid.rename(tmp_path / "moved")
    fitted = fitted_together(resumed, grid)
    assert len(fitted) == 2
    written(resumed, grid, fitted)
    assert bytes_of(grid) == bytes_of(tmp_path / "whole")
    assert [(grid / path.relative_to(tmp_path / "grid")).stat().st_mtime_ns for path in before] == [*before.values()]


@contextmanager
def room_for_files_of(num_bytes: int) -> Iterator[None]:
    """Let no file grow over a size: writing then fails with EFBIG, as it fails with ENOSPC on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_the_checkpoint_of_a_stack_is_an_error_of_the_system_with_its_name(
    make_cfg: MakeConfig, tmp_path: Path
) -> None:
    cfgs = [make_cfg(f"seed={seed}", "trainer.checkpoint_seconds=0") for seed in range(2)]
    with room_for_files_of(20_000), pytest.raises(OSError, match=r"stack\.ckpt") as caught:
        fitted_together(cfgs, tmp_path)
    assert caught.value.errno == errno.EFBIG
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["config.yaml"]


def test_a_checkpoint_of_another_version_or_other_fits_is_ignored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(*identities: str, resume: bool = True) -> Any:
        return StackCheckpoint(path, identities, seconds=0, resume=resume).read(lambda states: states)

    keys = ("fitted", "weights", "optimizer", "rng_state", "order")
    path = tmp_path / "stack.ckpt"
    assert read("a", "b") is None
    StackCheckpoint(path, ["a", "b"], 0, resume=True).save(lambda: [dict.fromkeys(keys, 1), dict.fromkeys(keys, 2)])
    assert read("a", "b") == [dict.fromkeys(keys, 1), dict.fromkeys(keys, 2)]
    assert read("b") == [dict.fromkeys(keys, 2)]
    assert read("a", resume=False) is None
    assert capsys.readouterr().out == ""
    assert read("a", "c") is None
    torch.save({name: {"fitted": {}, "stack": {}, "order": {}} for name in "ab"}, path)
    assert read("a", "b") is None
    assert capsys.readouterr().out.count("stack.ckpt: ") == 2


def damaged_stacks(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield copies of a stack's checkpoint, each with one impossible value, and the name of the value."""
    first = next(iter(content))
    for where, value in (
        (("fitted",), 1),
        (("fitted", "curves"), []),
        (("fitted", "curves", 0, "val/loss"), float("nan")),
        (("fitted", "curves", 0, "epoch"), 10**9),
        (("fitted", "weights"), {}),
        (("weights",), torch.zeros(3)),
        (("weights",), content[first]["weights"] * torch.nan),
        (("optimizer", "step"), torch.tensor(1e9)),
        (("optimizer", "exp_avg_sq"), -content[first]["optimizer"]["exp_avg_sq"] - 1),
        (("rng_state",), torch.zeros(3, dtype=torch.uint8)),
        (("order", "order"), torch.full((5056,), 255, dtype=torch.uint8)),
    ):
        changed = copy.deepcopy(content)
        parent = changed[first]
        for key in where[:-1]:
            parent = parent[key]
        parent[where[-1]] = value
        yield ".".join(map(str, where)), changed


@pytest.mark.slow
def test_a_stack_begins_anew_from_a_checkpoint_that_is_damaged(
    make_cfg: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfgs = [make_cfg(f"seed={seed}", "trainer.checkpoint_seconds=0", "resume=true") for seed in range(2)]
    whole = fitted_together(cfgs, tmp_path / "grid")
    path = tmp_path / "grid/0/stack.ckpt"
    sound = path.read_bytes()
    content = torch.load(path, weights_only=True)
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 1
    cases = {"empty": b"", "cut": sound[:-1], "half": sound[: len(sound) // 2], "flipped": bytes(flipped), "text": b"x"}
    for name, changed in damaged_stacks(content):
        torch.save(changed, path)
        cases[name] = path.read_bytes()
    for name, damaged in cases.items():
        path.write_bytes(damaged)
        again = fitted_together(cfgs, tmp_path / "grid")
        assert "stack.ckpt: " in capsys.readouterr().out, name
        for identity, fitted in whole.items():
            assert again[identity].curves == fitted.curves, name
            assert all(torch.equal(again[identity].weights[key], value) for key, value in fitted.weights.items()), name
