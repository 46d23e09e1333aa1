"""Compare the twin with the real tables, for docs/twin.md: accuracies of classifiers and of the LSTM, and medians.

    python -m benchmarks.twin ROOT [--seed SEED] [--split artist]

ROOT holds gtzan/ with the Kaggle tables, the 10-second table and the artist index. Takes most of an hour on one core;
``--split`` chooses one protocol.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tools.estimate_twin import Ints, load, track_of

from genregrid.twin.draw import draw_twin

SLOW = ("logistic", "SVM RBF, C 10", "ExtraTrees 100")


def classifiers() -> dict[str, Any]:
    """Plain slice classifiers of the comparison by name, each after a scaler fitted on training rows."""
    models = {
        "kNN, k = 1": KNeighborsClassifier(1),
        "LDA": LinearDiscriminantAnalysis(),
        "logistic": LogisticRegression(C=0.1, max_iter=300),
        "SVM RBF, C 10": SVC(C=10),
        "ExtraTrees 100": ExtraTreesClassifier(100, random_state=0),
    }
    return {name: make_pipeline(StandardScaler(), model) for name, model in models.items()}


def units(tracks: npt.NDArray[Any], artists: dict[str, str], protocol: str) -> npt.NDArray[Any]:
    """What is drawn at random and resampled for each row: its artist under ``artist``, otherwise its track."""
    if protocol != "artist":
        return tracks
    return np.array([artists.get(name) or name for name in tracks])


def folds(
    labels: npt.NDArray[Any], tracks: npt.NDArray[Any], artists: dict[str, str], protocol: str, seed: int = 0
) -> Ints:
    """Test fold, 0 to 4, of every row.

    Args:
        labels: Genre of each row.
        tracks: Track of each row.
        artists: Artist by track; a track without one is a group of its own.
        protocol: ``row``, ``track`` or ``artist``.
        seed: Of the shuffle.
    """
    fold = np.zeros(len(labels), dtype=np.int64)
    if protocol == "row":
        splits = StratifiedKFold(5, shuffle=True, random_state=seed).split(labels, labels)
    else:
        groups = units(tracks, artists, protocol)
        splits = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(labels, labels, groups)
    for number, (_, test) in enumerate(splits):
        fold[test] = number
    return fold


def interval(right: npt.NDArray[Any], unit: npt.NDArray[Any]) -> str:
    """Accuracy in per cent with its 95 % interval from 1000 bootstrap draws of whole tracks or artists, see `units`."""
    sums = pd.DataFrame({"right": right, "unit": unit}).groupby("unit").right.agg(["sum", "count"]).to_numpy()
    drawn = sums[np.random.default_rng(0).integers(len(sums), size=(1000, len(sums)))].sum(axis=1)
    low, high = np.percentile(100.0 * drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return f"{100.0 * np.mean(right):.1f} ({low:.1f} to {high:.1f})"


def fit_lstm(inputs: Any, target: Any, train: Ints, validation: Ints, test: Ints) -> Ints:
    """Predictions of the paper's LSTM on test tracks at the epoch of least validation loss.

    Args:
        inputs: Standardised, ``(track, slice, feature) float32`` tensor.
        target: ``(track,) int64`` tensor.
        train: Rows to fit.
        validation: Rows that choose the epoch.
        test: Rows to predict.
    """
    torch.manual_seed(0)
    recurrent = torch.nn.LSTM(inputs.shape[2], 64, 2, batch_first=True)
    head = torch.nn.Sequential(
        torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(64, int(target.max()) + 1)
    )
    optimiser = torch.optim.Adam([*recurrent.parameters(), *head.parameters()], lr=1e-3)
    best, predicted = np.inf, np.zeros(len(test), dtype=np.int64)
    for _ in range(50):
        head.train()
        for batch in torch.split(torch.tensor(train)[torch.randperm(len(train))], 16):
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(head(recurrent(inputs[batch])[0][:, -1]), target[batch])
            torch.autograd.backward(loss)
            optimiser.step()
        head.eval()
        with torch.no_grad():
            logits = head(recurrent(inputs)[0][:, -1])
        validation_loss = float(torch.nn.functional.cross_entropy(logits[validation], target[validation]))
        if validation_loss < best:
            best, predicted = validation_loss, logits[test].argmax(dim=1).numpy()
    return predicted


def lstm_score(table: pd.DataFrame, columns: list[str], artists: dict[str, str], protocol: str) -> str:
    """Five-fold track accuracy of the LSTM; tracks shorter than the longest repeat their last slice."""
    groups = table.groupby("track", sort=True)
    size = int(groups.size().max())
    rows = [[*places, *[places[-1]] * (size - len(places))] for places in groups.indices.values()]
    cube = table[columns].to_numpy()[np.array(rows)]
    tracks = np.array(list(groups.indices))
    labels = groups.label.first().to_numpy(dtype=str)
    target = pd.factorize(labels, sort=True)[0]
    fold = folds(labels, tracks, artists, protocol)
    right = np.zeros(len(tracks), dtype=np.bool_)
    for number in range(5):
        rest, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        inner = folds(labels[rest], tracks[rest], artists, protocol, seed=1)
        train = rest[inner != 0]
        scaled = (cube - cube[train].mean(axis=(0, 1))) / cube[train].std(axis=(0, 1))
        inputs = torch.tensor(scaled, dtype=torch.float32)
        right[test] = fit_lstm(inputs, torch.tensor(target), train, rest[inner == 0], test) == target[test]
    return interval(right, units(tracks, artists, protocol))


def pooled(table: pd.DataFrame, columns: list[str], num_slices: int) -> pd.DataFrame:
    """Join runs of slices: mean of means, and total variance where a mean is beside it; a rest joins the last run."""
    index = table.filename.str.extract(r"\.(\d+)\.wav$", expand=False).astype(int) // num_slices
    groups = table.groupby(["track", index.clip(upper=10 // num_slices - 1).rename("run")], sort=True)
    joined = groups[columns].mean()
    means = [name for name in columns if name.endswith("_mean")]
    joined[[name.replace("_mean", "_var") for name in means]] += groups[means].var(ddof=0).to_numpy()
    return joined.assign(label=groups.label.first()).reset_index()


def score_row(
    name: str, table: pd.DataFrame, columns: list[str], artists: dict[str, str], model: Any, protocols: list[str]
) -> str:
    """One line of the table: accuracies of a model under each protocol; None is the LSTM, not run under ``row``."""
    features, labels = table[columns].to_numpy(), table.label.to_numpy(dtype=str)
    tracks = table.track.to_numpy(dtype=str)
    cells = [name]
    for protocol in protocols:
        if model is None:
            cells.append("none" if protocol == "row" else lstm_score(table, columns, artists, protocol))
            continue
        fold = folds(labels, tracks, artists, protocol)
        right = np.zeros(len(labels), dtype=np.bool_)
        for number in range(5):
            test = fold == number
            right[test] = model.fit(features[~test], labels[~test]).predict(features[test]) == labels[test]
        cells.append(interval(right, units(tracks, artists, protocol)))
    return f"| {' | '.join(cells)} |"


def compare(root: Path, seed: int, protocols: list[str]) -> None:
    """Print docs/twin.md's tables: accuracies and medians of real tables and of the twin.

    Args:
        root: Folder that holds ``gtzan/``.
        seed: Of the twin.
        protocols: Of ``row``, ``track`` and ``artist``.
    """
    torch.set_num_threads(1)
    twin = draw_twin(seed)
    table = twin.frame.assign(track=track_of(twin.frame.filename))
    columns = list(twin.frame.columns[2:-1])
    clips, slices, artists = load(root)
    ten = pd.read_csv(root / "gtzan" / "features_10_sec.csv")
    ten = ten.assign(track=track_of(ten.filename))
    same = table[table.track.isin(slices.track)]
    corpora = [
        ("real, 10 s", ten, artists, True),
        ("twin, 9 s", pooled(table, columns, 3), twin.artists, False),
        ("twin, 3 s", table, twin.artists, True),
        ("real, 3 s, 438 tracks", slices, artists, True),
        ("twin, 3 s, 438 tracks", same, twin.artists, True),
        ("real, 30 s", clips, artists, False),
        ("twin, 30 s pooled", pooled(table, columns, 10), twin.artists, False),
    ]
    for name, corpus, owner, sequences in corpora:
        print(f"\n{name}: {len(corpus)} rows, {corpus.track.nunique()} tracks\n")
        print(f"| model | {' | '.join(protocols)} |\n|---|{'---|' * len(protocols)}")
        models = classifiers() | ({"LSTM, tracks": None} if sequences else {})
        if len(corpus) > 4000:  # these would take most of an hour on the 3-second rows
            models = {title: model for title, model in models.items() if title not in SLOW}
        for title, model in models.items():
            print(score_row(title, corpus, columns, owner, model, protocols), flush=True)
    real = pd.DataFrame({"real": slices[columns].median(), "twin": same[columns].median()})
    spans = (slices[columns].quantile(0.75) - slices[columns].quantile(0.25)).rename("real interquartile range")
    print("\n3 s, 438 tracks, medians\n\n" + real.join(spans).to_string(float_format="{:.4g}".format))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The twin and the real tables side by side.")
    parser.add_argument("root", type=Path, help="folder that holds gtzan/")
    parser.add_argument("--seed", type=int, default=0, help="of the twin")
    parser.add_argument("--split", choices=["row", "track", "artist"], help="one protocol; by default all")
    options = parser.parse_args()
    compare(options.root, options.seed, [options.split] if options.split else ["row", "track", "artist"])
