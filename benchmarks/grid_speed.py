"""Compare the paper's grid by launcher=local with a plain sequential loop of the same fits, as a ratio in one run.

    python benchmarks/grid_speed.py

Five cells (MLP at 30 and 3 s, LSTM at 3, 6 and 9 s), ten folds, three seeds: 150 fits on the statistical twin's 1000
tracks. The peer is a hand-written loop: one process on one thread (the fastest for such small models), tensors in
memory, validation after every epoch, the best epoch tested, nothing logged or kept. genregrid's time is the time of the
whole command: imports, run folders, reports of every run. Both train the paper's epochs times `--share`.

The last lines are the figures: ``name: value``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pandas as pd

from genregrid.data.reslice import reslice
from genregrid.data.table import table_from_frame
from genregrid.twin.draw import draw_twin

ROOT = Path(__file__).resolve().parents[1]
CELLS = (("mlp", 30), ("mlp", 3), ("lstm", 3), ("lstm", 6), ("lstm", 9))
EPOCHS = {"mlp": 100, "lstm": 50}
NUM_FOLDS, NUM_SEEDS = 10, 3

HAND_WRITTEN = textwrap.dedent(
    """
    import copy, sys
    import numpy as np, pandas as pd, torch, torch.nn as nn, torch.nn.functional as F

    class LSTM(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(57, 64, 2, batch_first=True)
            self.head = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10))

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    def mlp(hidden):
        return nn.Sequential(nn.Linear(57, hidden), nn.Dropout(0.3), nn.Linear(hidden, 10))

    def fit(net, rate, batch, epochs, x, y, train, val, test):
        mean, scale = x[train].flatten(0, -2).mean(0), x[train].flatten(0, -2).std(0).clamp(min=1e-6)
        x = (x - mean) / scale
        (tx, ty), (vx, vy) = (x[train], y[train]), (x[val], y[val])
        optimiser = torch.optim.Adam(net.parameters(), lr=rate)
        best = float("inf")
        for _ in range(epochs):
            net.train()
            for chosen in torch.randperm(len(tx)).split(batch):
                loss = F.cross_entropy(net(tx[chosen]), ty[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            net.eval()
            with torch.no_grad():
                loss = F.cross_entropy(net(vx), vy).item()
            if loss < best:
                best, state = loss, copy.deepcopy(net.state_dict())
        net.load_state_dict(state)
        with torch.no_grad():
            return (net(x[test]).argmax(1) == y[test]).float().mean().item()

    torch.set_num_threads(1)
    folder, share = sys.argv[1], float(sys.argv[2])
    for model, seconds in (("mlp", 30), ("mlp", 3), ("lstm", 3), ("lstm", 6), ("lstm", 9)):
        frame = pd.read_csv(f"{folder}/{seconds}.csv")
        track = frame["track"].factorize()[0]
        size = np.bincount(track)
        values = torch.tensor(frame.drop(columns=["track", "label"]).to_numpy("float32"))
        labels = torch.tensor(frame["label"].factorize()[0])
        if model == "lstm":  # one sequence a track; a short one repeats its last slice
            first = np.cumsum(size) - size
            rows = first[:, None] + np.minimum(np.arange(size.max()), size[:, None] - 1)
            x, y, of = values[rows], labels[first], np.arange(len(size))
        else:
            x, y, of = values, labels, track
        for seed in range(3):
            torch.manual_seed(seed)
            part = np.random.default_rng(seed).permutation(len(size))
            for fold in range(10):
                is_test = part % 10 == fold
                is_val = ~is_test & (part // 10 % 8 == 0)
                where = [torch.from_numpy(np.flatnonzero(mask[of])) for mask in (~is_test & ~is_val, is_val, is_test)]
                if model == "lstm":
                    fit(LSTM(), 0.001, 16, round(50 * share), x, y, *where)
                else:
                    fit(mlp(13 if seconds == 30 else 64), 0.01, 4, round(100 * share), x, y, *where)
        print(model, seconds, flush=True)
    """
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The paper's grid, as a ratio to a plain loop.")
    parser.add_argument("--share", type=float, default=0.25, help="share of the paper's epochs that both train")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _write_tables(Path(folder))
        script = Path(folder) / "hand_written.py"
        script.write_text(HAND_WRITTEN)
        hand = _seconds([sys.executable, str(script), folder, str(options.share)], folder)
        print(f"hand-written, one after the other: {hand:.0f} s", flush=True)
        ours = 0.0
        for model, epochs in EPOCHS.items():  # a command for each number of epochs
            words = [f"model={model}", f"trainer.max_epochs={round(epochs * options.share)}", "logger=none"]
            folds = ["split.folds=10", f"split.fold={','.join(map(str, range(NUM_FOLDS)))}", "launcher=local"]
            command = [sys.executable, str(ROOT / "train.py"), "-m", "experiment=paper", *words, *folds]
            ours += _seconds(command, folder)
        num_runs = len(list(Path(folder).rglob("run.json")))
        print(f"genregrid, launcher=local on {os.cpu_count()} cores: {ours:.0f} s", flush=True)
    print(f"runs: {num_runs} of {len(CELLS) * NUM_FOLDS * NUM_SEEDS}")
    print(f"grid_ratio_to_handwritten: {ours / hand:.2f}")


def _write_tables(folder: Path) -> None:
    table = table_from_frame(draw_twin(num_tracks=1000).frame, source="twin")
    for seconds in sorted({seconds for _, seconds in CELLS}):
        pooled = reslice(table, seconds)
        frame = pd.DataFrame(pooled.features, columns=list(pooled.feature_names))
        frame.insert(0, "track", [pooled.tracks[number] for number in pooled.track])
        frame["label"] = [pooled.genres[pooled.genre[number]] for number in pooled.track]
        frame.to_csv(folder / f"{seconds}.csv", index=False)


def _seconds(command: list[str], folder: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
