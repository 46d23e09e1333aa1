"""The same numbers whatever way a run is started, resumed, evaluated or stored: a table of ways, each for three models.

The reference is a run that is trained directly, on one thread. A way is equal to it byte by byte, or up to the digits
that docs/protocols.md names.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from genregrid.cli.start import start
from genregrid.data import datamodule
from genregrid.models.estimator import EstimatorHead
from genregrid.models.network import Network
from genregrid.training.evaluation import evaluate
from genregrid.training.run import train

pytestmark = pytest.mark.slow

MODELS = ("lstm", "logistic", "set_mlp")  # a network, an estimator, a network with averaged weights
SETTINGS = ("logger=none", "trainer.accelerator=cpu", "split.folds=3", "trainer.max_epochs=3")
FILES = ("metrics.json", "predictions.csv", "timeline.csv")
# As docs/protocols.md has it. A track's probability is at most 1; certainties of a few decades differ as much.
MOST_BY_BATCH = 2e-5
MOST_BY_THREADS_OF_TRAINING = 1e-4


@pytest.fixture(scope="module")
def numbers(
    project_root: Path, composed: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory
) -> "Numbers":
    return Numbers(project_root, composed, tmp_path_factory.mktemp("numbers"))


class Numbers:
    """Runs on one drawn CSV; the reference of a model, and a grid of a launcher, are made once."""

    def __init__(self, project_root: Path, composed: Callable[..., DictConfig], folder: Path) -> None:
        self.folder = folder
        self.csv = folder / "features.csv"
        self._project_root = project_root
        self._composed = composed
        self._num_runs = 0

    def new_folder(self) -> Path:
        self._num_runs += 1
        return self.folder / f"run{self._num_runs}"

    def train(self, model: str, *overrides: str, csv: Path | None = None, folder: Path | None = None) -> Path:
        folder = folder or self.new_folder()
        data = () if "dataset=twin" in overrides else ("dataset=csv", f"dataset.path={csv or self.csv}")
        cfg = self._composed(*SETTINGS, *data, f"model={model}", *overrides)
        train(cfg, folder, model)
        return folder

    def reference(self, model: str) -> Path:
        folder = self.folder / model
        return folder if folder.exists() else self.train(model, folder=folder)

    def evaluate(self, model: str, *, csv: Path | None = None, checkpoint: Path | None = None) -> Path:
        folder = self.new_folder()
        checkpoint = checkpoint or self.reference(model) / "checkpoint.ckpt"
        data = ("dataset=csv", f"dataset.path={csv or self.csv}")
        evaluate(self._composed(f"checkpoint={checkpoint}", *data, config="evaluate"), folder)
        return folder

    def job(self, model: str, *launcher: str) -> Path:
        grid = self.folder / f"grid{len(launcher)}"
        if not grid.exists():
            words = ["dataset=csv", f"dataset.path={self.csv}", f"model={','.join(MODELS)}", *launcher]
            words.append(f"hydra.sweep.dir={grid}")
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(sys, "argv", ["train.py", "-m", *SETTINGS, *words])
                patched.setenv("HYDRA_FULL_ERROR", "0")  # the script sets it
                patched.setenv("OMP_NUM_THREADS", "4")  # of the processes of a launcher
                with pytest.raises(SystemExit) as ended:
                    start("train", self._project_root / "conf")
            assert not ended.value.code
        (folder,) = grid.glob(f"*/{model}-*")
        return folder


@pytest.fixture(autouse=True)
def drawn(numbers: Numbers, make_frame: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    frame = make_frame(tracks=24, separation=0.2)
    if not numbers.csv.exists():
        frame.to_csv(numbers.csv, index=False)
    return frame


@contextmanager
def interrupted() -> Iterator[None]:
    """Interrupt a training: a network's in its second epoch, an estimator's before it is fitted."""
    end_epoch = Network.on_train_epoch_end

    def stop(self: Network) -> None:
        if self.current_epoch == 1:
            raise KeyboardInterrupt
        end_epoch(self)

    def stop_at_once(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Network, "on_train_epoch_end", stop)
        patched.setattr(EstimatorHead, "fit", stop_at_once)
        with pytest.raises(KeyboardInterrupt):
            yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Set the number of threads of torch and of NumPy's BLAS, as variables such as OMP_NUM_THREADS do."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def batches_of(num_windows: int) -> Iterator[None]:
    """Evaluate in batches of another size."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(datamodule, "EVALUATION_BATCH_SIZE", num_windows)
        yield


def changed(numbers: Numbers, frame: pd.DataFrame) -> Path:
    path = numbers.new_folder().with_suffix(".csv")
    frame.to_csv(path, index=False)
    return path


def shuffled_rows(numbers: Numbers) -> Path:
    return changed(numbers, pd.read_csv(numbers.csv).sample(frac=1, random_state=1))


def shuffled_columns(numbers: Numbers) -> Path:
    return changed(numbers, pd.read_csv(numbers.csv).sample(frac=1, axis=1, random_state=1))


def trained_after_an_interruption(numbers: Numbers, model: str) -> Path:
    folder = numbers.new_folder()
    overrides = ("trainer.checkpoint_seconds=0", "resume=true")
    with interrupted():
        numbers.train(model, *overrides, folder=folder)
    assert (folder / "last.ckpt").exists() == (model != "logistic")
    return numbers.train(model, *overrides, folder=folder)


def moved_after_an_interruption(numbers: Numbers, model: str) -> Path:
    before, folder = numbers.new_folder(), numbers.new_folder()
    overrides = ("trainer.checkpoint_seconds=0", "resume=true")
    with interrupted():
        numbers.train(model, *overrides, folder=before)
    before.rename(folder)
    return numbers.train(model, *overrides, folder=folder)


def trained_in(model: str, numbers: Numbers, count: int) -> Path:
    with threads(count):
        return numbers.train(model)


def evaluated_on_threads(numbers: Numbers, model: str, count: int) -> Path:
    with threads(count):
        return numbers.evaluate(model)


def evaluated_with_another_training_batch(numbers: Numbers, model: str) -> Path:
    content = torch.load(numbers.reference(model) / "checkpoint.ckpt", weights_only=True)
    content["genregrid"]["batch_size"] = 3
    path = numbers.new_folder().with_suffix(".ckpt")
    torch.save(content, path)
    return numbers.evaluate(model, checkpoint=path)


def evaluated_in_batches(numbers: Numbers, model: str, num_windows: int) -> Path:
    with batches_of(num_windows):
        return numbers.evaluate(model)


@dataclass(frozen=True)
class Way:
    """A way to the numbers of the reference, and how much they may differ; 0: not in a byte."""

    run: Callable[[Numbers, str], Path]
    most: float = 0.0
    models: tuple[str, ...] = MODELS


NETWORKS = ("lstm", "set_mlp")
WAYS = {
    "trained again": Way(lambda n, model: n.train(model)),
    "a job of a multirun": Way(lambda n, model: n.job(model)),
    "a job of launcher=local, OMP_NUM_THREADS=4": Way(lambda n, model: n.job(model, "launcher=local")),
    "resumed after an interruption": Way(trained_after_an_interruption),
    "moved and resumed after an interruption": Way(moved_after_an_interruption, models=NETWORKS),
    "rows of the CSV shuffled": Way(lambda n, model: n.train(model, csv=shuffled_rows(n))),
    "columns of the CSV shuffled": Way(lambda n, model: n.train(model, csv=shuffled_columns(n))),
    "a stored table": Way(lambda n, model: n.train(model, f"dataset.cache={n.folder / 'cache'}")),
    "trained where 4 threads are the default": Way(lambda n, model: trained_in(model, n, 4)),
    "trainer.threads=1": Way(lambda n, model: n.train(model, "trainer.threads=1")),
    "a network, trainer.threads=2": Way(
        lambda n, model: n.train(model, "trainer.threads=2"), MOST_BY_THREADS_OF_TRAINING, NETWORKS
    ),
    "a network, trainer.threads=4": Way(
        lambda n, model: n.train(model, "trainer.threads=4"), MOST_BY_THREADS_OF_TRAINING, NETWORKS
    ),
    "evaluated": Way(lambda n, model: n.evaluate(model)),
    "evaluated, rows shuffled": Way(lambda n, model: n.evaluate(model, csv=shuffled_rows(n))),
    "evaluated, columns shuffled": Way(lambda n, model: n.evaluate(model, csv=shuffled_columns(n))),
    "evaluated where 4 threads are the default": Way(lambda n, model: evaluated_on_threads(n, model, 4)),
    "evaluated after batch_size=3 in training's facts": Way(evaluated_with_another_training_batch),
    "evaluated in batches of 1": Way(lambda n, model: evaluated_in_batches(n, model, 1), MOST_BY_BATCH),
    "evaluated in batches of 7": Way(lambda n, model: evaluated_in_batches(n, model, 7), MOST_BY_BATCH),
}
ROWS = [pytest.param(way, model, id=f"{model}, {name}") for name, way in WAYS.items() for model in way.models]


@pytest.mark.parametrize(("way", "model"), ROWS)
def test_numbers_are_those_of_a_direct_run(way: Way, model: str, numbers: Numbers) -> None:
    reference, run = numbers.reference(model), way.run(numbers, model)
    assert reference != run
    if way.most == 0:
        for name in FILES:
            assert (run / name).read_bytes() == (reference / name).read_bytes(), name
    assert_close(run, reference, way.most)


def assert_close(run: Path, reference: Path, most: float) -> None:
    for name in ("predictions.csv", "timeline.csv"):
        mine, other = pd.read_csv(run / name), pd.read_csv(reference / name)
        assert list(mine.columns) == list(other.columns)
        for column in mine.columns:
            if mine[column].dtype.kind == "f":
                np.testing.assert_allclose(mine[column], other[column], rtol=0, atol=most, err_msg=column)
            else:
                assert mine[column].tolist() == other[column].tolist(), column


@pytest.mark.parametrize("model", NETWORKS)
def test_an_evaluation_has_the_numbers_of_a_training_on_four_threads(model: str, numbers: Numbers) -> None:
    """Predictions are made on one thread, whatever number the training had."""
    trained = numbers.train(model, "trainer.threads=4")
    again = numbers.evaluate(model, checkpoint=trained / "checkpoint.ckpt")
    for name in FILES:
        assert (again / name).read_bytes() == (trained / name).read_bytes(), name


@pytest.mark.parametrize(
    ("model", "overrides"), [("logistic", ()), ("boosting", ("model.num_rounds=2", "model.summary=[mean]", "window=1"))]
)
def test_an_estimator_has_the_same_numbers_on_any_number_of_threads(
    model: str, overrides: tuple[str, ...], numbers: Numbers
) -> None:
    """On ten genres and 2000 slices: in smaller matrices the number of threads has no effect."""
    if model == "boosting":
        pytest.importorskip("lightgbm")
    twin = ("dataset=twin", "dataset.num_tracks=200", *overrides)
    one, four = (numbers.train(model, *twin, f"trainer.threads={count}") for count in (1, 4))
    for name in FILES:
        assert (four / name).read_bytes() == (one / name).read_bytes(), name
