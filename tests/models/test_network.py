"""Options of all networks: each has the effect that its documentation describes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.table import FeatureTable
from genregrid.models.set_mlp import SetMLP
from genregrid.models.trained import load_checkpoint

GENRES = ["blues", "classical", "metal"]
Fit = Callable[..., pl.Trainer]


def build(**options: Any) -> SetMLP:
    pl.seed_everything(0, verbose=False)
    return SetMLP(
        genres=GENRES,
        feature_names=list(FEATURE_NAMES),
        slice_seconds=3.0,
        hidden_size=16,
        dropout=0.0,
        input_dropout=0.0,
        **options,
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("learning_rate", 0.0),
        ("weight_decay", -1.0),
        ("label_smoothing", 1.0),
        ("slice_dropout", 1.0),
        ("mixup", -0.1),
        ("mixup", 0.001),
        ("ema_decay", 1.0),
        ("one_cycle", "no"),
        ("num_layers", 0),
        ("summary", ["pooled"]),
        ("transform", "ln"),
    ],
)
def test_values_out_of_range_are_refused(
    key: str, value: Any, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    with user_error(f"model.{key}", value):
        build(**{key: value})


def test_one_cycle_rises_and_falls_to_zero(make_table: Callable[..., FeatureTable], fit: Fit) -> None:
    model = build(learning_rate=0.01, one_cycle=True)
    rates: list[float] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    model.configure_callbacks = lambda: [Watch()]  # type: ignore[method-assign]
    fit(model, make_table(genres=GENRES, tracks=12, slices=3), max_epochs=10)
    highest = max(range(len(rates)), key=rates.__getitem__)
    assert rates[highest] == pytest.approx(0.01, rel=0.05)
    assert 0.2 < highest / len(rates) < 0.4
    assert rates[0] < 0.001 > rates[-1]


def test_decoupled_decay_shrinks_weights_that_get_no_gradient() -> None:
    for decoupled, expected in ((False, None), (True, 1 - 0.01 * 0.5)):
        model = build(learning_rate=0.01, weight_decay=0.5, decoupled_weight_decay=decoupled)
        optimizer = model.configure_optimizers()
        assert isinstance(optimizer, torch.optim.Adam)
        before = model.head[-1].weight.detach().clone()
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
        ratio = (model.head[-1].weight / before).mean().item()
        assert ratio == pytest.approx(expected, abs=1e-4) if expected else abs(1 - ratio) > 1e-3


def loss(model: SetMLP, batch: dict[str, torch.Tensor]) -> float:
    torch.manual_seed(1)
    return float(model.training_step(batch, 0).detach())


def test_options_change_the_loss_they_belong_to() -> None:
    batch = {"features": torch.randn(6, 5, 57), "length": torch.full((6,), 5), "genre": torch.arange(6) % 3}
    plain = loss(build(), batch)
    assert loss(build(), batch) == plain
    for options in ({"label_smoothing": 0.2}, {"mixup": 1.0}, {"slice_dropout": 0.5}):
        assert loss(build(**options), batch) != plain


def test_label_smoothing_is_torchs() -> None:
    batch = {"features": torch.randn(6, 5, 57), "length": torch.full((6,), 5), "genre": torch.arange(6) % 3}
    model = build(label_smoothing=0.2)
    expected = torch.nn.functional.cross_entropy(model.logits(batch), batch["genre"], label_smoothing=0.2)
    assert loss(model, batch) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_an_average_of_the_weights_is_what_a_checkpoint_has(
    make_table: Callable[..., FeatureTable], fit: Fit, tmp_path: Path
) -> None:
    table = make_table(genres=GENRES, tracks=12, slices=3)
    plain, averaged = build(learning_rate=0.05), build(learning_rate=0.05, ema_decay=0.9)
    for name, model in (("plain", plain), ("averaged", averaged)):
        fit(model, table).save_checkpoint(tmp_path / f"{name}.ckpt")
    last, average = (load_checkpoint(tmp_path / f"{name}.ckpt").state_dict() for name in ("plain", "averaged"))
    start = build().state_dict()
    moved = [float((state["head.4.weight"] - start["head.4.weight"]).norm()) for state in (average, last)]
    assert 0 < moved[0] < 0.9 * moved[1]
