"""Compare an epoch and a whole command of genregrid with a plain PyTorch loop and Keras, as ratios in one run.

    python benchmarks/train_speed.py

The work is the training of the paper's LSTM: 800 sequences of ten slices of 58 features, batches of 16, Adam, and 100
sequences for validation after every epoch. The hand-written loop keeps its tensors in memory, runs on one thread and
logs nothing. genregrid's epoch is a real run by `genregrid.training.run.train`: validation with metrics, best
checkpoint, W&B offline. Rounds alternate between the peers, and the figures are medians, as machines are noisy. Keras
is measured if it is installed (`pip install keras` with a backend such as tensorflow-cpu); genregrid does not need it.

The last lines are the figures: ``name: value``.
"""

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir

from genregrid.config import register_schemas
from genregrid.data.columns import FEATURE_NAMES

ROOT = Path(__file__).resolve().parents[1]
NUM_TRAIN, NUM_VAL, NUM_SLICES, NUM_FEATURES, NUM_GENRES, BATCH_SIZE = 800, 100, 10, 58, 10, 16

HAND_WRITTEN = textwrap.dedent(
    """
    import sys, time
    import torch, torch.nn as nn, torch.nn.functional as F

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(58, 64, 2, batch_first=True)
            self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    def fit(x, y, vx, vy, epochs):
        torch.manual_seed(0)
        net = Net()
        optimiser = torch.optim.Adam(net.parameters(), lr=0.001)
        times = []
        for _ in range(epochs):
            begin = time.perf_counter()
            net.train()
            for chosen in torch.randperm(len(x)).split(16):
                loss = F.cross_entropy(net(x[chosen]), y[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            net.eval()
            with torch.no_grad():
                logits = net(vx)
                F.cross_entropy(logits, vy).item(), (logits.argmax(1) == vy).float().mean().item()
            times.append(time.perf_counter() - begin)
        return times
    """
)
HAND_WRITTEN_COMMAND = HAND_WRITTEN + textwrap.dedent(
    """
    import pandas as pd
    torch.set_num_threads(1)
    frame = pd.read_csv(sys.argv[1])
    labels, genre = frame["label"].factorize()[0][::10], None
    x = torch.tensor(frame.drop(columns=["filename", "label"]).to_numpy("float32")).view(-1, 10, 58)
    y = torch.tensor(labels)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    train, val = order[:800], order[800:900]
    mean, scale = x[train].mean((0, 1)), x[train].std((0, 1)).clamp(min=1e-6)
    x = (x - mean) / scale
    fit(x[train], y[train], x[val], y[val], int(sys.argv[2]))
    """
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Training speed, as ratios to named peers.")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of every peer; figures are medians over them")
    parser.add_argument("--epochs", type=int, default=6, help="epochs of a round; the first is not counted")
    parser.add_argument("--command-epochs", type=int, default=50, help="epochs of the whole commands; 0 skips them")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        csv = Path(folder) / "speed.csv"
        _draw_corpus(csv)
        peers: dict[str, Callable[[], list[float]]] = {
            "hand-written": lambda: _hand_written(options.epochs),
            "genregrid": lambda: _genregrid(csv, Path(folder), options.epochs),
        }
        if (keras := _keras_peer(options.epochs)) is not None:
            peers["keras"] = keras
        times: dict[str, list[float]] = {name: [] for name in peers}
        for _ in range(options.rounds):
            for name, measure in peers.items():
                times[name] += measure()[1:]
        medians = {name: statistics.median(values) for name, values in times.items()}
        for name, median in medians.items():
            print(f"{name}: {1000 * median:.0f} ms an epoch, median of {len(times[name])}", flush=True)
        command = _command_ratio(csv, Path(folder), options.command_epochs) if options.command_epochs else None
    print(f"epoch_ratio_to_handwritten: {medians['genregrid'] / medians['hand-written']:.2f}")
    if "keras" in medians:
        print(f"epoch_ratio_to_keras: {medians['genregrid'] / medians['keras']:.2f}")
    if command is not None:
        print(f"command_ratio_to_handwritten: {command:.2f}")


def _draw_corpus(path: Path) -> None:
    """1000 tracks: 800 to train, 100 to validate and 100 to test, by `split.folds=10 split.val_folds=9`."""
    random = np.random.default_rng(0)
    genres = [f"genre{number}" for number in range(NUM_GENRES)]
    tracks = [f"{genre}.{number:05d}" for genre in genres for number in range(100)]
    names = [f"{track}.{index}.wav" for track in tracks for index in range(NUM_SLICES)]
    frame = pd.DataFrame(random.normal(size=(len(names), len(FEATURE_NAMES))), columns=list(FEATURE_NAMES))
    frame.insert(0, "filename", names)
    frame.insert(1, "length", 66149 + np.arange(len(frame)) % 2)
    frame["label"] = [name.split(".")[0] for name in names]
    frame.to_csv(path, index=False)


def _tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(NUM_TRAIN + NUM_VAL, NUM_SLICES, NUM_FEATURES, generator=generator)
    y = torch.randint(NUM_GENRES, (NUM_TRAIN + NUM_VAL,), generator=generator)
    return x[:NUM_TRAIN], y[:NUM_TRAIN], x[NUM_TRAIN:], y[NUM_TRAIN:]


def _hand_written(epochs: int) -> list[float]:
    """Seconds of each epoch of the plain loop."""
    space: dict[str, Callable[..., list[float]]] = {}
    exec(HAND_WRITTEN, space)
    return space["fit"](*_tensors(), epochs)


def _genregrid(csv: Path, folder: Path, epochs: int) -> list[float]:
    """Seconds of each epoch of a real run: from the start of one training epoch to the start of the next."""
    from genregrid.models.base import GenreClassifier
    from genregrid.training import run

    starts: list[float] = []
    # a hook put on from outside, so that the timed run is the shipped code and nothing besides
    GenreClassifier.on_train_epoch_start = lambda self: starts.append(time.perf_counter())  # type: ignore[method-assign]  # timed from outside
    register_schemas()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", [*_overrides(csv), f"trainer.max_epochs={epochs + 1}"])
    with contextlib.redirect_stdout(io.StringIO()):
        run.train(cfg, Path(tempfile.mkdtemp(dir=folder)), "lstm")
    return list(np.diff(starts))


def _overrides(csv: Path) -> list[str]:
    data = ["dataset=csv", f"dataset.path={csv}", "dataset.include_length=true", "split.folds=10", "split.val_folds=9"]
    return ["model=lstm", "slice=3", "logger.mode=offline", "trainer.progress_bar=true", *data]


def _keras_peer(epochs: int) -> Callable[[], list[float]] | None:
    """The same model and work in Keras, or ``None`` where it is not installed."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            import keras
    except ImportError:
        print("Keras is not installed: its ratio is left out")
        return None
    layers = keras.layers
    x, y, vx, vy = (values.numpy() for values in _tensors())

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
        def __init__(self) -> None:
            super().__init__()
            self.starts: list[float] = []

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            self.starts.append(time.perf_counter())

    def fit() -> list[float]:
        model = keras.Sequential(
            [
                keras.Input((NUM_SLICES, NUM_FEATURES)),
                layers.LSTM(64, return_sequences=True),
                layers.LSTM(64),
                layers.Dense(64, activation="relu"),
                layers.Dropout(0.3),
                layers.Dense(NUM_GENRES, activation="softmax"),
            ]
        )
        model.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"])
        clock = Clock()
        model.fit(x, y, BATCH_SIZE, epochs + 1, verbose=0, validation_data=(vx, vy), callbacks=[clock])
        return list(np.diff(clock.starts))

    return fit


def _command_ratio(csv: Path, folder: Path, epochs: int) -> float:
    """Wall time of `python train.py` over that of the hand-written script, start to finish; median of three pairs."""
    script = folder / "hand_written.py"
    script.write_text(HAND_WRITTEN_COMMAND)
    hand = [sys.executable, str(script), str(csv), str(epochs)]
    ours = [sys.executable, str(ROOT / "train.py"), *_overrides(csv), f"trainer.max_epochs={epochs}"]
    environment = os.environ | {"WANDB_MODE": "offline"}
    ratios = []
    for _ in range(3):
        seconds = []
        for words in (hand, ours):
            begin = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True, cwd=folder, env=environment)
            seconds.append(time.perf_counter() - begin)
        print(
            f"{epochs} epochs as a command: hand-written {seconds[0]:.1f} s, genregrid {seconds[1]:.1f} s", flush=True
        )
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


if __name__ == "__main__":
    main()
