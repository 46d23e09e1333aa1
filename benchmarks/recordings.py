"""Measure the effect of slice length and recipe on 100 recordings of GTZAN, by repeated grouped cross-validation.

    python benchmarks/recordings.py ROOT OUT

ROOT is the folder that holds gtzan/audio and gtzan/meta. Describes the recordings at ten slice lengths by the recipe
`kaggle` and at four by `rich` into OUT. Prints two Markdown tables: accuracy by slice length, also drawn to
OUT/slice_length.svg, and `rich` against the 57 on the same folds. No artist is in two parts. Peers keep the same
settings everywhere and train on all tracks outside the test part. The LSTM is genregrid's, trained as by `python
train.py model=lstm`; it takes the epoch of the lowest validation loss from a part of those tracks.
"""

import contextlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from genregrid.config import DatasetConfig, SplitConfig, register_schemas
from genregrid.data.corpus import Corpus, load_corpus
from genregrid.data.split import TEST, split_table
from genregrid.features.extraction import extract
from genregrid.features.folder import find_tracks
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.known_recipe import columns_of
from genregrid.features.recipe import TableKey
from genregrid.metrics.interval import cluster_interval
from genregrid.metrics.vote import track_vote
from genregrid.training.run import train

LENGTHS = (0.5, 1.0, 2.0, 3.0, 5.0, 6.0, 9.0, 10.0, 15.0, 30.0)
RICH_LENGTHS = (3.0, 6.0, 10.0, 30.0)
FOLDS = 5
REPEATS = 10  # other folds each time
LSTM_REPEATS = 3
CONF = Path(__file__).resolve().parents[1] / "conf"
Floats = NDArray[np.floating]


def peers() -> dict[str, Any]:
    """Strong plain classifiers, with settings that nothing here was chosen for."""
    return {
        "logistic": LogisticRegression(C=0.1, max_iter=2000),
        "LDA": LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        "SVM": SVC(C=10),
        "ExtraTrees": ExtraTreesClassifier(300, random_state=0),
    }


def describe(root: Path, out: Path) -> None:
    """Extract what is not there yet."""
    for recipe, lengths in ((HandmadeRecipe("kaggle"), LENGTHS), (HandmadeRecipe("rich"), RICH_LENGTHS)):
        if not (out / recipe.descriptors / "tracks.csv").exists():
            outputs = {TableKey(recipe, length): csv_path(out, recipe.descriptors, length) for length in lengths}
            extract(find_tracks(root / "gtzan" / "audio"), outputs, num_workers=2)


def csv_path(out: Path, recipe: str, seconds: float) -> Path:
    """Where the features of a recipe and slice length lie."""
    return out / recipe / f"features_{seconds:g}_sec.csv"


def corpus_of(root: Path, out: Path, recipe: str, seconds: float) -> Corpus:
    """The table at one slice length, with the index of artists."""
    dataset = DatasetConfig(
        name="recordings",
        path=str(csv_path(out, recipe, seconds)),
        artists=str((root / "gtzan" / "meta" / "GTZANindex.txt").absolute()),
    )
    return load_corpus(dataset, seconds, columns_of)


def splits(corpus: Corpus, repeats: int) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Whether each row is of the test part, and the group of each track, for every repeat and fold."""
    for seed in range(repeats):
        for fold in range(FOLDS):
            split = split_table(
                corpus.table,
                SplitConfig(protocol="artist", folds=FOLDS, fold=fold, seed=seed),
                source=corpus.source,
                artists=corpus.artists(),
            )
            yield split.part == TEST, split.group


def peer_hits(corpus: Corpus, model: Any, repeats: int = REPEATS) -> tuple[Floats, NDArray[np.int64]]:
    """Share of repeats in which each track is right, (track,), and the group of each."""
    table = corpus.table
    logged = np.array([name.endswith(("_var", "_rms")) for name in table.feature_names])
    features = np.where(logged, np.log(np.maximum(table.features, 1e-10)), table.features)
    hits = np.zeros(len(table.tracks))
    for test, _ in splits(corpus, repeats):
        pipeline = make_pipeline(StandardScaler(), model)
        pipeline.fit(features[~test], table.genre[table.track[~test]])
        if hasattr(model, "predict_proba"):
            scores = np.log(np.maximum(pipeline.predict_proba(features[test]), 1e-12))
        else:
            scores = pipeline.decision_function(features[test])
        voted, tracks = track_vote(torch.from_numpy(scores), torch.from_numpy(table.track[test]))
        hits[tracks.numpy()] += voted.argmax(dim=1).numpy() == table.genre[tracks.numpy()]
    return hits / repeats, next(splits(corpus, 1))[1]


def lstm_hits(root: Path, out: Path, corpus: Corpus) -> tuple[Floats, NDArray[np.int64]]:
    """The same of genregrid's LSTM."""
    table, hits = corpus.table, np.zeros(len(corpus.table.tracks))
    number = {track: index for index, track in enumerate(table.tracks)}
    path = csv_path(out, "kaggle", table.slice_seconds)
    for seed in range(LSTM_REPEATS):
        for fold in range(FOLDS):
            with initialize_config_dir(str(CONF), version_base="1.3"):
                cfg = compose(
                    "train",
                    [
                        "model=lstm", "logger=none", "trainer.accelerator=cpu", "dataset=csv", f"dataset.path={path}",
                        f"dataset.artists={(root / 'gtzan/meta/GTZANindex.txt').absolute()}", "split=artist",
                        f"slice={table.slice_seconds}", f"split.folds={FOLDS}", f"split.fold={fold}",
                        f"split.seed={seed}", f"seed={seed}",
                    ],
                )  # fmt: skip
            with contextlib.redirect_stdout(io.StringIO()):
                result = train(cfg, out / "runs" / f"{table.slice_seconds:g}-{seed}-{fold}", "lstm")
            right = (result.predictions["genre"] == result.predictions["predicted"]).to_numpy()
            hits[[number[track] for track in result.predictions["track"]]] += right
    return hits / LSTM_REPEATS, next(splits(corpus, 1))[1]


def accuracy(hits: Floats, group: NDArray[np.int64]) -> tuple[float, float, float]:
    """Accuracy and its interval, in per cent, artists resampled whole."""
    low, high = cluster_interval(hits, group)
    return 100 * float(hits.mean()), 100 * low, 100 * high


def formatted(figure: tuple[float, float, float], form: str = ".1f") -> str:
    """A figure and its interval."""
    value, low, high = figure
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def by_length(root: Path, out: Path) -> None:
    """Print and draw accuracy against slice length, and print how far each length is from 3 s on the same folds."""
    names = ["logistic", "LDA", "ExtraTrees", "LSTM"]
    hits: dict[str, list[Floats]] = {name: [] for name in names}
    head = f"\n| slice | {' | '.join(names)} |\n|---|{'---|' * len(names)}"
    print(head)
    for seconds in LENGTHS:
        corpus = corpus_of(root, out, "kaggle", seconds)
        for name in names[:-1]:
            right, group = peer_hits(corpus, peers()[name])
            hits[name].append(right)
        hits["LSTM"].append(lstm_hits(root, out, corpus)[0])
        cells = [formatted(accuracy(hits[name][-1], group)) for name in names]
        print(f"| {seconds:g} s | {' | '.join(cells)} |", flush=True)
    print(head.replace("slice", "against 3 s"))
    for place, seconds in enumerate(LENGTHS):
        away = [hits[name][place] - hits[name][LENGTHS.index(3.0)] for name in names]
        print(f"| {seconds:g} s | {' | '.join(formatted(accuracy(one, group), '+.1f') for one in away)} |")
    draw(
        {name: [accuracy(right, group) for right in rights] for name, rights in hits.items()}, out / "slice_length.svg"
    )


def draw(lines: dict[str, list[tuple[float, float, float]]], path: Path) -> None:
    """Draw accuracy with its interval against slice length."""
    figure = Figure(figsize=(7, 3.6), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for number, (name, figures) in enumerate(lines.items()):
        value, low, high = np.array(figures).T
        place = np.array(LENGTHS) * 1.03 ** (number - 1.5)  # side by side
        axes.errorbar(place, value, [value - low, high - value], marker="o", markersize=4, capsize=2, label=name)
    axes.axhline(10, color="grey", linewidth=0.8, linestyle=":", label="chance")
    axes.set_xscale("log")
    axes.set_xticks(LENGTHS, [f"{seconds:g}" for seconds in LENGTHS], fontsize=8)
    axes.set_xticks([], minor=True)
    axes.set(xlabel="slice length in seconds", ylabel="tracks right, %", ylim=(0, 72))
    axes.legend(frameon=False, ncols=5, loc="upper center")
    figure.savefig(path)


def rich_against_kaggle(root: Path, out: Path) -> None:
    """Print accuracy by both recipes, and the difference with its interval."""
    print("\n| slice | classifier | the 57 | rich | difference |\n|---|---|---|---|---|")
    for seconds in RICH_LENGTHS:
        corpora = [corpus_of(root, out, recipe, seconds) for recipe in ("kaggle", "rich")]
        for name, model in peers().items():
            (few, group), (many, _) = (peer_hits(corpus, model) for corpus in corpora)
            cells = [
                formatted(accuracy(few, group)),
                formatted(accuracy(many, group)),
                formatted(accuracy(many - few, group), "+.1f"),
            ]
            print(f"| {seconds:g} s | {name} | {' | '.join(cells)} |", flush=True)


def main(root: Path, out: Path) -> None:
    """Describe, compare and print."""
    register_schemas()
    with threadpool_limits(1):
        describe(root, out)
        rich_against_kaggle(root, out)
        by_length(root, out)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python benchmarks/recordings.py ROOT OUT, ROOT the folder that holds gtzan/audio")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
