"""last.ckpt: a run may move before it resumes, and a damaged file is reported and never used."""

import contextlib
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from genregrid.models.network import Network
from genregrid.training.run import train

pytestmark = pytest.mark.slow
NAMES = ("metrics.json", "predictions.csv", "curves.csv")
Runs = Callable[..., str]


@pytest.fixture
def run(write_csv: Callable[..., Path], composed: Callable[..., DictConfig], tmp_path: Path) -> Runs:
    path = write_csv(tracks=9, slices=4)
    data = ("dataset=csv", f"dataset.path={path}", "logger=none", "trainer.accelerator=cpu", "split.folds=3")

    def trained(folder: str, model: str, *overrides: str) -> str:
        fixed = (f"model={model}", "trainer.max_epochs=4", "trainer.checkpoint_seconds=0", "model.learning_rate=0.05")
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            train(composed(*data, *fixed, *overrides), tmp_path / folder, model)
        return printed.getvalue()

    return trained


@pytest.fixture
def stop(run: Runs, monkeypatch: pytest.MonkeyPatch) -> Runs:
    def stopped(folder: str, model: str) -> str:
        def end(self: Network) -> None:
            if self.current_epoch == 3:
                raise RuntimeError("stopped")
            before(self)

        before = Network.on_train_epoch_end
        with monkeypatch.context() as patched:
            patched.setattr(Network, "on_train_epoch_end", end)
            with pytest.raises(RuntimeError, match="stopped"):
                run(folder, model)
        return folder

    return stopped


def bytes_of(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in NAMES]


@pytest.mark.parametrize(
    ("model", "best"),
    [("lstm", None), ("lstm", b""), ("lstm", b"damaged"), ("set_mlp", None), ("lstm_svm", b"damaged")],
)
def test_a_stopped_run_resumes_in_another_place_with_the_same_bytes(
    model: str, best: bytes | None, run: Runs, stop: Runs, tmp_path: Path
) -> None:
    run("whole", model)
    stop("stopped", model)
    (tmp_path / "stopped").rename(tmp_path / "moved")
    (tmp_path / "moved/checkpoint.ckpt").unlink()
    if best is not None:
        (tmp_path / "moved/checkpoint.ckpt").write_bytes(best)
    assert "anew" not in run("moved", model, "resume=true")
    assert bytes_of(tmp_path / "moved") == bytes_of(tmp_path / "whole")


def damaged(sound: bytes, content: Any) -> dict[str, bytes]:
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 1
    cases = {"empty": b"", "cut": sound[:-1], "half": sound[: len(sound) // 2], "flipped": bytes(flipped), "text": b"x"}
    weight = next(iter(content["state_dict"]))
    rows = content["genregrid_progress"]["curves"]
    for name, changed in {
        "nothing": {},
        "no optimizer": {key: value for key, value in content.items() if key != "optimizer_states"},
        "other weights": content | {"state_dict": content["state_dict"] | {weight: torch.zeros(2)}},
        "not finite": content | {"state_dict": content["state_dict"] | {weight: content["state_dict"][weight] / 0}},
        "random state": content | {"genregrid_progress": {"chance": {"cpu": torch.zeros(3)}, "curves": rows}},
        "too many epochs": content | {"genregrid_progress": content["genregrid_progress"] | {"curves": rows * 9}},
        "no curves": content | {"genregrid_progress": content["genregrid_progress"] | {"curves": 3}},
        "no loops": content | {"loops": {"fit_loop": {}}},
        "another run": content | {"genregrid": content["genregrid"] | {"identity": "0"}},
        "no best epoch": content | {"genregrid_best": torch.zeros(3, dtype=torch.uint8)},
    }.items():
        file = io.BytesIO()
        torch.save(changed, file)
        cases[name] = file.getvalue()
    return cases


def test_a_run_begins_anew_from_a_checkpoint_that_is_damaged(run: Runs, stop: Runs, tmp_path: Path) -> None:
    run("whole", "mlp")
    stop("run", "mlp")
    sound = (tmp_path / "run/last.ckpt").read_bytes()
    content = torch.load(tmp_path / "run/last.ckpt", weights_only=True)
    for name, changed in damaged(sound, content).items():
        (tmp_path / "run/last.ckpt").write_bytes(changed)
        (tmp_path / "run/run.json").unlink(missing_ok=True)
        assert "last.ckpt: " in run("run", "mlp", "resume=true"), name
        assert bytes_of(tmp_path / "run") == bytes_of(tmp_path / "whole"), name


@pytest.mark.parametrize("name", ["last.ckpt", "checkpoint.ckpt"])
def test_a_folder_with_the_name_of_a_checkpoint_is_refused_and_kept(
    name: str, run: Runs, tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / name / "mine").touch()
    with user_error(key=str(tmp_path / "run" / name), problem="it is a folder", hint="move it away"):
        run("run", "mlp")
    assert (tmp_path / "run" / name / "mine").exists()
