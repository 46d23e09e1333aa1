"""Exported files compute the probabilities of their checkpoint, and run where genregrid is not."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from tests.deploy.test_program import fitted, windows
from tests.record.test_card import CARD

from genregrid.cli.export import main
from genregrid.deploy import export as module
from genregrid.deploy.export import ENDINGS, Kind, compare, draw_windows, export
from genregrid.models.base import GenreClassifier
from genregrid.models.trained import load_checkpoint
from genregrid.record.facts import Provenance
from genregrid.training.run import train

APART = Path(sys.prefix) / "export"  # where .ci/run puts the packages of the extra
if APART.is_dir():
    sys.path.append(str(APART))
pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="the extra export is not installed")
ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "conf/model").glob("*.yaml"))
# In .ci/run: a scan, a linear model, trees and a kernel; the MLP is in other tests. All take minutes.
SHORT = {(name, "torch") for name in ("lstm", "logistic", "extra_trees", "kernel_ridge")}
PAIRS = [(name, kind) for name in NAMES for kind in ENDINGS]
# Fewer steps and trees take less time.
SMALL = {"logistic": {"summary": ["mean"]}, "kernel_ridge": {"summary": ["mean"]}, "lstm": {"num_layers": 1}}
SMALL |= {"extra_trees": {"summary": ["mean"], "num_trees": 5, "min_leaf": 6}}
Compute = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Refused = Callable[..., AbstractContextManager[None]]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, composed: Callable[..., DictConfig], make_frame: Callable[..., Any]
) -> Path:
    """The folder of a training of the MLP on tracks of six slices."""
    folder = tmp_path_factory.mktemp("trained")
    frame = make_frame(tracks=6, slices=6, short={"blues.00001": 2}, separation=0.3)
    frame.iloc[::-1].to_csv(folder / "slices.csv", index=False)
    settings = ["model=mlp", "logger=none", "trainer.max_epochs=1", "trainer.accelerator=cpu", "split.folds=3"]
    settings += ["slice=3", "dataset=csv", f"dataset.path={folder / 'slices.csv'}", "dataset.recipe=kaggle-reflect"]
    train(composed(*settings), folder / "mlp", "mlp")
    return folder / "mlp"


@pytest.fixture(scope="module")
def written(trained: Path) -> Callable[[Kind], Path]:
    """`written("onnx")` is the exported file of that training; it is exported once."""

    def run(kind: Kind) -> Path:
        path = trained.with_suffix(ENDINGS[kind])
        if not path.exists():
            export(load_checkpoint(trained), kind, path)
        return path

    return run


@pytest.mark.parametrize(
    ("name", "kind"), [pair if pair in SHORT else pytest.param(*pair, marks=pytest.mark.torture) for pair in PAIRS]
)
def test_a_file_has_the_probabilities_of_its_model(
    name: str, kind: Kind, trained: Path, composed: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """It is read here without the code that wrote it."""
    model = fitted(composed(f"model={name}").model, windows(), **SMALL.get(name, {}))
    model.provenance = load_checkpoint(trained).provenance
    path = export(model, kind, tmp_path / f"file{ENDINGS[kind]}").path
    compute = _torch(path) if kind == "torch" else _onnx(path)
    for size, num_slices in ((1, 1), (2, 9), (30, 4)):
        features, length = draw_windows(model.transform, size, num_slices)
        with torch.no_grad():
            expected = model.logits({"features": features, "length": length}).softmax(dim=1)
            log_probs = compute(features, length)
        torch.testing.assert_close(log_probs.exp(), expected, atol=1e-5, rtol=0)


def _torch(path: Path) -> Compute:
    module: Compute = torch.export.load(path).module()
    return module


def _onnx(path: Path) -> Compute:
    import onnxruntime

    run = onnxruntime.InferenceSession(path).run
    return lambda features, length: torch.from_numpy(
        run(["log_probs"], {"features": features.numpy(), "length": length.numpy()})[0]
    )


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_an_example_without_genregrid_has_the_predictions_of_the_run(
    kind: Kind, trained: Path, written: Callable[[Kind], Path]
) -> None:
    code = "import sys, runpy; sys.modules['genregrid'] = None; sys.path[:0] = sys.argv.pop(1).split('|'); "
    code += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-I", "-c", code, "|".join(sys.path), str(ROOT / f"docs/deploy/run_{kind}.py")]
    done = subprocess.run([*command, written(kind), trained.parent / "slices.csv"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = {track: (genre, float(prob)) for track, genre, prob in csv.reader(done.stdout.splitlines())}
    assert len(printed) == 18
    for row in pd.read_csv(trained / "predictions.csv").itertuples():
        genre, prob = printed[str(row.track)]
        assert genre == row.predicted
        assert prob == pytest.approx(getattr(row, f"p_{genre}"), abs=1e-4)


def test_a_file_has_what_is_needed_to_use_it_and_no_path_of_this_machine(
    trained: Path, written: Callable[[Kind], Path]
) -> None:
    import onnx

    model = load_checkpoint(trained)
    extra = {module.METADATA: ""}
    torch.export.load(written("torch"), extra_files=extra)
    about = json.loads(extra[module.METADATA])
    loaded = onnx.load(written("onnx"))
    assert {each.key: json.loads(each.value) for each in loaded.metadata_props} == about
    assert (about["genres"], about["feature_names"]) == (model.genres, model.feature_names)
    assert (about["slice_seconds"], about["recipe"], about["window"]) == (3.0, "kaggle-reflect", 1)
    for kind in ENDINGS:
        assert str(ROOT).encode() not in written(kind).read_bytes()


def test_probabilities_of_a_model_with_a_card_are_calibrated(trained: Path, tmp_path: Path) -> None:
    model = load_checkpoint(trained)
    provenance = Provenance.of(model, "model")
    model.provenance = replace(provenance, card=CARD).to_json()
    path = tmp_path / "final.pt2"
    export(model, "torch", path)
    extra = {module.METADATA: ""}
    program = torch.export.load(path, extra_files=extra).module()
    about = json.loads(extra[module.METADATA])
    assert (about["temperature"], about["threshold"]) == (CARD.temperature, CARD.threshold)
    features, length = draw_windows(model.transform, 4, 2)
    with torch.no_grad():
        expected = (model.logits({"features": features, "length": length}) / CARD.temperature).log_softmax(dim=1)
        torch.testing.assert_close(program(features, length), expected)


def test_a_file_that_differs_is_not_kept(
    trained: Path, tmp_path: Path, user_error: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(content: bytes, kind: Kind) -> module.Run:
        return lambda features, length: np.full((len(length), 3), np.log(1 / 3), np.float32)

    monkeypatch.setattr(module, "_written", lambda *_: b"other")
    monkeypatch.setattr(module, "_runner", other)
    with user_error("model", problem="would differ"):
        export(load_checkpoint(trained), "torch", tmp_path / "mlp.pt2")
    assert list(tmp_path.iterdir()) == []


def test_windows_that_rounding_moves_across_a_threshold_are_left_out(trained: Path) -> None:
    """The model is a step at the median of a descriptor; its file has another last bit of it."""
    model = load_checkpoint(trained)
    step = draw_windows(model.transform, 50, 1)[0][7, 0, 0]

    def logits(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return (batch["features"][:, 0, :1] < step) * torch.tensor([[1.0, 0.0, 0.0]])

    def run(given: np.ndarray, _: np.ndarray) -> np.ndarray:
        return logits({"features": torch.from_numpy(given * np.float32(1 - 2**-23))}).log_softmax(dim=1).numpy()

    model.logits = logits  # type: ignore[method-assign]
    found = compare(model, 1.0, run, 1)
    assert found.num_unstable == 1
    found.check()
    model.logits = lambda batch: logits(batch) * 1.001  # type: ignore[method-assign]
    assert compare(model, 1.0, run, 1).largest_difference > 1e-4


def test_the_command_writes_a_file_once(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def quick(model: GenreClassifier, kind: Kind, path: Path) -> module.Exported:
        path.write_bytes(b"0" * 10_000)
        return module.Exported(path, "mlp, trained on csv", module.Comparison(129, 0, 1.23e-7))

    monkeypatch.setattr(module, "export", quick)
    assert main([str(trained), "torch"]) == 0
    assert "differ by at most 1e-07 on 129 random windows" in capsys.readouterr().out
    assert Path("mlp-slice3-track.pt2").is_file()
    assert main([str(trained), "torch"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([str(trained), "torch", "--overwrite"]) == 0
    assert main([str(trained), "torch", "--out", "missing/file.pt2"]) == 2
