"""Measure what a trained model uses: exchange descriptors between its test tracks, and attribute its logits to them.

Nothing here chooses a model or a setting, so test tracks may be used.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genregrid.config import DatasetConfig
from genregrid.data.datamodule import GenreDataModule, WindowBatches, Windows
from genregrid.data.kind import BRIGHTNESS, LEARNED, kinds_and_unions, kinds_of
from genregrid.data.split import TEST, split_by_name
from genregrid.errors import UserError, counted
from genregrid.models.attribution import has_gradients, integrated_gradients
from genregrid.models.base import GenreClassifier, voted
from genregrid.models.network import Network
from genregrid.record.explanation import Evidence, Explanation
from genregrid.training.build import datamodule_of
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.evaluation import open_trained

# So many tracks are exchanged for each kind: the noise of a permutation is one of its tracks.
_TRACKS_IN_ALL = 2000
_FEWEST_PERMUTATIONS, _MOST_PERMUTATIONS = 2, 10
_MOST_POSITIONS = 10
_WINDOWS_AT_ONCE = 256


def explain(
    checkpoint: Path,
    given: DatasetConfig | None = None,
    corpora: CorpusReader | None = None,
    dataset_named: Callable[[str], DatasetConfig | None] = lambda _: None,
) -> Explanation:
    """Explain a checkpoint on the test part of its training; arguments as in `training.evaluation.open_trained`.

    Raises:
        UserError: the corpus does not fit the checkpoint or lacks its test tracks, there are fewer than two, or
            test tracks were trained on.
    """
    model, trained, dataset, corpus = open_trained(checkpoint, given, corpora, dataset_named)
    if trained.facts.leaks:
        problem = "its test tracks were trained on: what it uses for them is memory"
        raise UserError(problem, key="explain", value=True, hint="explain runs of a protocol that does not leak")
    test = set(trained.tracks["test"])
    missing = test - set(corpus.table.tracks)
    if missing or dataset.corpus != trained.corpus or corpus.table.is_unlabelled:
        what = f"the table lacks {len(missing)} of its {counted(len(test), 'test track')}, or their labels"
        hint = "repeat the dataset of the training, such as dataset=csv dataset.path=FILE"
        raise UserError(what, key="explain", value=True, hint=hint)
    if len(test) < 2:
        problem = f"it has {counted(len(test), 'test track')}, and values are exchanged between two or more"
        raise UserError(problem, key="explain", value=True)
    split = split_by_name(corpus.table, trained.facts.protocol, test)
    return explained(model, datamodule_of(corpus.table, split, trained))


def explained(model: GenreClassifier, datamodule: GenreDataModule) -> Explanation:
    """Explain a model on the test part of a datamodule, which has two tracks or more."""
    test = _TestPart(model, datamodule)
    table = datamodule.table
    kinds, groups = kinds_of(table.feature_names), kinds_and_unions(table.feature_names)
    kind_of = {table.feature_names[column]: kind for kind, columns in kinds.items() for column in columns}
    kind_of = {name: kind for name, kind in kind_of.items() if kind != LEARNED}
    num = int(np.clip(_TRACKS_IN_ALL // len(test.tracks), _FEWEST_PERMUTATIONS, _MOST_PERMUTATIONS))
    sources = [exchanged_rows(test.num_slices, seed) for seed in range(num)]
    position = {name: column for column, name in enumerate(table.feature_names)}
    right_by_kind = {kind: test.right_after(columns, sources) for kind, columns in groups.items()}
    evidence = _evidence(model, test, groups) if has_gradients(model) else None
    genres = np.array(table.genres, dtype=object)
    return Explanation(
        tracks=tuple(table.tracks[track] for track in test.tracks),
        genre=tuple(genres[table.genre[test.tracks]]),
        predicted=tuple(genres[test.predicted]),
        num_descriptors={kind: len(columns) for kind, columns in groups.items()},
        right_by_kind=right_by_kind,
        right_by_descriptor={name: test.right_after([position[name]], sources) for name in kind_of},
        kind_of=kind_of,
        num_permutations=num,
        brightness_hz=test.mean_of(position[BRIGHTNESS]) if BRIGHTNESS in position else np.empty(0),
        evidence=evidence,
    )


def exchanged_rows(num_slices: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return for every row the row whose values it gets when tracks exchange them, (row,) int64.

    Each track gets the slices of the next one in a random circle of all tracks, in their order; so it never keeps its
    own. Of a track with more or fewer slices it gets evenly spread ones.

    Args:
        num_slices: (track,) int64, slices of each track, whose rows follow each other; two tracks or more.
        seed: of the circle.

    >>> exchanged_rows(np.array([2, 4]), seed=0).tolist()
    [2, 4, 0, 0, 1, 1]
    """
    circle = np.random.default_rng(seed).permutation(len(num_slices))
    source = np.empty_like(circle)
    source[circle] = np.roll(circle, 1)
    first = np.cumsum(num_slices) - num_slices
    own, given = np.repeat(num_slices, num_slices), np.repeat(num_slices[source], num_slices)
    index = np.arange(len(own)) - np.repeat(first, num_slices)
    return np.asarray(np.repeat(first[source], num_slices) + index * given // own)


class _TestPart:
    """The test part of a datamodule as a small table of its own, and a model's predictions for it.

    Attributes:
        tracks: (track,) int64, numbers of the test tracks in the table, ascending.
        num_slices: (track,) int64.
        windows: of the test part; rows are those of the small table.
        features: (row, feature) float32, the small table.
        genre, predicted: (track,) int64.
    """

    def __init__(self, model: GenreClassifier, datamodule: GenreDataModule) -> None:
        table, windows = datamodule.table, datamodule.windows[TEST]
        rows = np.flatnonzero(datamodule.split.part == TEST)
        self._model, self._names = model, table.tracks
        self.tracks, self.num_slices = np.unique(table.track[rows], return_counts=True)
        self.track_of_row = np.searchsorted(self.tracks, table.track[rows])
        own = windows.rows.numpy()
        own = np.where(own < 0, -1, np.searchsorted(rows, own))
        self.windows = Windows(torch.from_numpy(own), windows.length, windows.genre, windows.track)
        self.features = np.asarray(table.features[rows])
        self.genre = table.genre[self.tracks]
        self.predicted = self._predict(self.features)

    def right_after(self, columns: Sequence[int], sources: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
        """Return the share of exchanges of some columns after which each track's prediction is right, (track,)."""
        features, right = self.features.copy(), np.zeros(len(self.tracks))
        for source in sources:
            features[:, columns] = self.features[source][:, columns]
            right += self._predict(features) == self.genre
        return right / len(sources)

    def mean_of(self, column: int) -> NDArray[np.float64]:
        """Return the mean of a column over the slices of each track, (track,)."""
        return np.bincount(self.track_of_row, self.features[:, column].astype(np.float64)) / self.num_slices

    def _predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        batches = WindowBatches(features, self.windows, 1).in_order()
        log_probs, _, _ = voted(*self._model.predict_logits(batches, self._names))
        return np.asarray(log_probs.argmax(dim=1))


def _evidence(model: Network, test: _TestPart, groups: dict[str, list[int]]) -> Evidence:
    """Attribute the evidence for the predicted genre of each test track: the mean over its windows."""
    window_track = np.searchsorted(test.tracks, test.windows.track.numpy())
    of_row, gap = np.zeros(test.features.shape), 0.0
    target = torch.from_numpy(test.predicted[window_track])
    num_windows = np.bincount(window_track, minlength=len(test.tracks))
    for start in range(0, len(window_track), _WINDOWS_AT_ONCE):
        part = slice(start, start + _WINDOWS_AT_ONCE)
        rows, length = test.windows.rows[part], test.windows.length[part]
        batch = {"features": torch.from_numpy(test.features[rows.numpy()]), "length": length}
        attributions, apart = integrated_gradients(model, batch, target[part])
        gap = max(gap, float(apart.max()))
        shares = attributions.numpy() / num_windows[window_track[part], None, None]
        known = rows.numpy() >= 0
        np.add.at(of_row, rows.numpy()[known], shares[known])
    track = test.track_of_row

    def of_track(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(track, values, len(test.tracks)), np.float64)

    by_kind = {kind: of_track(of_row[:, columns].sum(axis=1)) for kind, columns in groups.items()}
    num = int(min(test.num_slices.max(), _MOST_POSITIONS))
    parts = np.concatenate([shares_of_parts(int(own), num) for own in test.num_slices])
    total = of_row.sum(axis=1)
    by_position = np.stack([of_track(total * share) for share in parts.T], axis=1)
    return Evidence(by_kind, by_position, gap)


def shares_of_parts(num_slices: int, num_parts: int) -> NDArray[np.float64]:
    """Return the share of each slice of a track that is in each of its equal parts, (slice, part); rows sum to 1.

    >>> shares_of_parts(2, 3).round(2).tolist()
    [[0.67, 0.33, 0.0], [0.0, 0.33, 0.67]]
    """
    start = np.arange(num_slices)[:, None] / num_slices
    edge = np.arange(num_parts) / num_parts
    within = np.minimum(start + 1 / num_slices, edge + 1 / num_parts) - np.maximum(start, edge)
    return np.asarray(within.clip(0) * num_slices)
