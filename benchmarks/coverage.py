"""Simulate how often the intervals of a report hold the true value, and how often its tests raise a false alarm.

    python benchmarks/coverage.py --quick
    python benchmarks/coverage.py --workers 2

Every replicate draws the predictions of two equally good models and makes the tables of a report of them, by the
report's own functions. Every number with an interval is compared with its true value. The output are Markdown tables:
rows are the numbers of a report, columns the designs. A cell has the share of 95 % intervals that hold the true value,
or of tests with p < 0.05, in per cent, with its Monte Carlo standard error. Scores of a genre are the mean of all
genres, with the lowest one in brackets. "none" is where the report prints no interval, or in fewer than one of twenty
replicates. The last table has means. The last two lines are the lowest coverage and the highest share of false alarms.

The world:

- A model is right on a track if difficulty of the genre + effect of the artist + residual is above 0: a probit model.
  The effect has the standard deviation 0.9, the residual 1. This makes intervals of accuracy as wide as those of
  GTZAN's real predictions under `artist`. Difficulties give recalls of 45 to 85 %, 62 % on average.
- A wrong prediction is another genre: in six of ten cases the artist's own, else one of three genres near the true one.
- The model sees the sum with noise of standard deviation 2, and gives its prediction the probability that it is right.
  The rest falls to the other genres at random, three times as much to the true one. Then it is made too sure: all
  logarithms of probabilities are multiplied by 1.3. Certainty has an AUROC of 0.78, and the ECE is 8 %.
- Half of the variance of the effect, and of the residual, is common to two models. Seeds and epochs of a model share
  70 % of the variance of its residual.
- A run has five epochs. It keeps the one with the lowest loss on its validation tracks, one in eight of those that it
  does not test.
- Artists have as many tracks as in GTZAN, by Sturm's index (`train.py dataset=gtzan split=artist` downloads it), and
  tracks without an artist are groups of their own. Without that file genres have 9 to 60 artists, and the numbers of
  their tracks fall off with their rank.

Designs:

- `single tracks`: 1000 independent tracks in five folds. `artists`: the same tracks by artist. `three seeds`: the same
  with three seeds. `one fold`: only the first of the five folds of `artists`.
- `filtered`: the 290 tracks of the published test list, which are by fewer artists.
- Where a number is about models that are trained anew (`trained anew`, `by folds`, the corrected t-test), every run has
  an effect of its own. Half of its variance is common to all folds, as their training parts overlap. Its standard
  deviation is 0.08, or 2.3 points of accuracy; for single tracks it is 0.05, as their training parts differ less.
- The best of 21 settings is that of equally good ones that share 95 % of their variance.
"""

import argparse
import gc
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import norm, spearmanr

from genregrid.data.catalogue import read_artists, read_lists
from genregrid.data.split import stratified_folds
from genregrid.metrics.calibration import calibrated_ece, ece
from genregrid.metrics.comparison import holm, mcnemar
from genregrid.metrics.conformal import nonconformity, threshold
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.record.facts import RunFacts
from genregrid.record.result import prediction_columns
from genregrid.report.cell import Cell
from genregrid.report.comparison import comparison
from genregrid.report.leaderboard import leaderboard
from genregrid.report.paper import certainty_table, correlation_table, table1
from genregrid.report.trust import (
    calibration_table,
    calibrations,
    certainty_order_table,
    conformal_table,
    training_table,
)

GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
NAMES = np.array(GENRES, dtype=object)
RECALL = np.array([0.60, 0.85, 0.50, 0.50, 0.60, 0.70, 0.80, 0.65, 0.55, 0.45])
NUM_ARTISTS, FILTERED_ARTISTS = np.geomspace(9, 60, 10).astype(int), np.geomspace(3, 24, 10).astype(int)  # of a genre
ARTIST_SD, RESIDUAL_SD = 0.9, 1.0
DIFFICULTY = np.hypot(ARTIST_SD, RESIDUAL_SD) * norm.ppf(RECALL)
COMMON, OF_THE_FIT = 0.5, 0.3  # shares of variance
NOISE_SD, SHARPNESS = 2.0, 1.3
EPOCHS, FOLDS, VAL_FOLDS = 5, 5, 8
RUN_SD, RUN_SD_OF_SINGLE_TRACKS = 0.08, 0.05
LEVEL = 0.9
POPULATION = 100_000  # tracks, for true values
MANY, ALIKE = 21, 0.95  # settings whose best one is looked for, and what they have in common


@dataclass(frozen=True)
class Design:
    """Tracks, who made them, and which are tested by how many runs."""

    name: str
    genre: NDArray[np.int64]  # (track,)
    group: NDArray[np.int64]  # (track,) artists, from 0
    fold: NDArray[np.int64]  # (track,)
    seeds: int = 1
    tested: tuple[int, ...] = tuple(range(FOLDS))
    folds: int = FOLDS

    @property
    def is_tested(self) -> NDArray[np.bool_]:
        """(track,) bool."""
        return np.isin(self.fold, self.tested)

    @cached_property
    def val_fold(self) -> NDArray[np.int64]:
        """(tested fold, track) validation fold of each track that the fold does not test; 0 validates."""
        parts = np.full((len(self.tested), len(self.genre)), -1)
        for number, fold in enumerate(self.tested):
            rest = np.flatnonzero(self.fold != fold)
            parts[number, rest] = stratified_folds(self.genre[rest], self.group[rest], VAL_FOLDS, 0)
        return parts


class OneValue(ClusterBootstrap):
    """The values of a population, without resampling."""

    def __init__(self, num: int) -> None:
        super().__init__(np.arange(num) % 50, num_resamples=10)
        self.num = num

    def statistics(self, functions: Mapping[str, Any], **_: Any) -> dict[str, Estimate]:
        """Return values without bounds."""
        once = np.ones((1, self.num))
        return {name: Estimate(float(function(once)[0])) for name, function in functions.items()}


@dataclass
class Tally:
    """Outcomes of all replicates, by design and name of a number."""

    held: defaultdict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    alarm: defaultdict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    value: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    replicates: int = 0

    def add(self, other: "Tally") -> None:
        """Take over the outcomes of other replicates."""
        self.replicates += other.replicates
        for name in ("held", "alarm", "value"):
            for key, outcomes in getattr(other, name).items():
                getattr(self, name)[key] += outcomes


def designs(artists: Path | None, test: Path | None) -> list[Design]:
    """Make the designs from GTZAN's artists, or from as many artists of drawn sizes."""
    genre = np.repeat(np.arange(len(GENRES)), 100)
    if artists is not None:
        group = _numbered([f"{name}.{number:05d}" for name in GENRES for number in range(100)], read_artists(artists))
    else:
        group = _by_rank(NUM_ARTISTS, 100)
    fold = stratified_folds(genre, group, FOLDS, 0)
    alone = np.arange(len(genre))
    by_artist = Design("artists", genre, group, fold)
    if artists is not None and test is not None:
        tracks = sorted(read_lists({"test": test}))
        tested = np.array([GENRES.index(track.partition(".")[0]) for track in tracks])
        tested_group = _numbered(tracks, read_artists(artists))
    else:
        tested, tested_group = np.repeat(np.arange(len(GENRES)), 29), _by_rank(FILTERED_ARTISTS, 29)
    # the validation part has the same number of tracks, by other artists
    both = np.concatenate([tested, tested])
    filtered_group = np.concatenate([tested_group, tested_group + len(tested)])
    part = np.repeat([0, 1], len(tested))
    filtered = Design("filtered", both, filtered_group, part, tested=(0,), folds=1)
    return [
        Design("single tracks", genre, alone, stratified_folds(genre, alone, FOLDS, 0)),
        by_artist,
        replace(by_artist, name="three seeds", seeds=3),
        filtered,
        replace(by_artist, name="one fold", tested=(0,)),
    ]


def _numbered(tracks: list[str], artist: Mapping[str, str]) -> NDArray[np.int64]:
    names = [artist.get(track, track).casefold() for track in tracks]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _by_rank(num_artists: NDArray[np.int64], num_tracks: int) -> NDArray[np.int64]:
    """Number the artists of each genre, whose tracks fall off as the square root of their rank."""
    groups, first = [], 0
    for num in num_artists:
        shares = 1 / np.sqrt(np.arange(1, num + 1))
        ends = np.round(shares.cumsum() / shares.sum() * num_tracks)
        groups.append(first + np.searchsorted(ends, np.arange(num_tracks), side="right"))
        first += num
    return np.concatenate(groups)


@dataclass
class Model:
    """The predictions of one drawn model: the parts of its scores that its runs share."""

    design: Design
    random: np.random.Generator
    score: NDArray[np.float64]  # (track,) without the part of a fit
    noise: NDArray[np.float64]  # (track,) between the score and what the model sees of it
    weight: NDArray[np.float64]  # (track, genre) of genres that are not predicted
    rival: NDArray[np.int64]  # (track,) what is predicted instead of the true genre
    sharpness: NDArray[np.float64]  # (track,)

    def log_probs(self, score: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (row, genre) float64 of some tracks with their scores, (row,)."""
        row, genre = np.arange(len(rows)), self.design.genre[rows]
        predicted = np.where(score > 0, genre, self.rival[rows])
        seen = (score + self.noise[rows] - DIFFICULTY.mean()) / math.hypot(ARTIST_SD, RESIDUAL_SD, NOISE_SD)
        confidence = np.clip(norm.cdf(norm.ppf(RECALL.mean()) + 0.9 * seen), 0.25, 0.98)
        weight = self.weight[rows].copy()
        weight[row, genre] *= 3
        weight[row, predicted] = 0
        probs = weight * ((1 - confidence) / weight.sum(axis=1))[:, None]
        probs = np.minimum(probs, 0.95 * confidence[:, None])
        probs[row, predicted] = confidence
        return np.asarray(log_softmax(self.sharpness[rows][:, None] * np.log(probs), axis=1))

    def of_the_fit(self, *size: int) -> NDArray[np.float64]:
        """Draw the part of the residual that differs between fits and epochs."""
        return RESIDUAL_SD * np.sqrt(OF_THE_FIT) * self.random.standard_normal(size)


def draw_models(
    random: np.random.Generator,
    design: Design,
    num: int,
    difficulty: NDArray[np.float64] = DIFFICULTY,
    sharpness: NDArray[np.float64] | None = None,
    common_share: float = COMMON,
) -> list[Model]:
    """Draw equally good models of the same tracks, with a share of the variance in common."""
    num_tracks, num_groups = len(design.genre), int(design.group.max()) + 1

    def drawn(size: int, sd: float) -> NDArray[np.float64]:
        common = random.standard_normal(size)
        own = random.standard_normal((num, size))
        return sd * (np.sqrt(common_share) * common + np.sqrt(1 - common_share) * own)

    artist = drawn(num_groups, ARTIST_SD)
    residual = drawn(num_tracks, RESIDUAL_SD * np.sqrt(1 - OF_THE_FIT))
    sharp = np.full(len(GENRES), SHARPNESS) if sharpness is None else sharpness
    models = []
    for number in range(num):
        habit = random.random(num_groups)[design.group]  # which wrong genre an artist is mostly predicted as
        habit = np.where(random.random(num_tracks) < 0.6, habit, random.random(num_tracks))
        rival = (design.genre + 1 + (3 * habit).astype(int)) % len(GENRES)
        weight = 0.2 + random.standard_exponential((num_tracks, len(GENRES)))
        score = difficulty[design.genre] + artist[number][design.group] + residual[number]
        noise = NOISE_SD * random.standard_normal(num_tracks)
        models.append(Model(design, random, score, noise, weight, rival, sharp[design.genre]))
    return models


def cell_of(
    model: Model, name: str, *, run_sd: float = 0.0, has_probs: bool = True, has_validation: bool = True
) -> Cell:
    """Make the runs of a model as a cell of a report, with or without probabilities and validation."""
    design, random = model.design, model.random
    common = np.sqrt(COMMON) * random.standard_normal()
    runs, frames, validation = [], [], []
    for seed in range(design.seeds):
        for number, fold in enumerate(design.tested):
            effect = run_sd * (common + np.sqrt(1 - COMMON) * random.standard_normal())
            # in any order, as the random numbers of the sets by APS are the same in every replicate
            rows = random.permutation(np.flatnonzero(design.fold == fold))
            score = model.score[rows] + effect + model.of_the_fit(len(rows))
            about = {"run": len(runs), "fold": fold, "seed": seed}
            if has_probs:
                predicted = prediction_columns(model.log_probs(score, rows).astype(np.float32), GENRES)
            else:
                predicted = {"predicted": NAMES[np.where(score > 0, design.genre[rows], model.rival[rows])]}
            frames.append(pd.DataFrame(_columns(design, rows, **about) | predicted))
            if has_probs and has_validation:
                val = np.flatnonzero(design.val_fold[number] == 0 if design.folds > 1 else ~design.is_tested)
                best = prediction_columns(_best_epoch(model, val, effect), GENRES)
                validation.append(pd.DataFrame(_columns(design, val, run=len(runs)) | best))
            accuracy = float((score > 0).mean())
            runs.append(about | {"split_seed": 0, "val_fold": 0, "accuracy": accuracy})
    return _cell(name, design, runs, frames, validation)


def hits(model: Model) -> NDArray[np.bool_]:
    """Draw whether the predictions of a model are right, (prediction,) bool, for each test track and seed."""
    tested = np.flatnonzero(model.design.is_tested)
    return np.asarray(model.score[tested] + model.of_the_fit(model.design.seeds, len(tested)) > 0).ravel()


def cluster_of_hits(design: Design) -> NDArray[np.int64]:
    """Return the artists of `hits`, (prediction,)."""
    return np.tile(design.group[design.is_tested], design.seeds)


def _best_epoch(model: Model, val: NDArray[np.int64], effect: float) -> NDArray[np.float32]:
    """Draw the epochs of a run and return the validation predictions, (track, genre), with the lowest loss."""
    epochs = [model.log_probs(score, val) for score in model.score[val] + effect + model.of_the_fit(EPOCHS, len(val))]
    row, genre = np.arange(len(val)), model.design.genre[val]
    return max(epochs, key=lambda log_probs: float(log_probs[row, genre].sum())).astype(np.float32)


def _cell(
    name: str,
    design: Design,
    runs: list[dict[str, Any]],
    frames: list[pd.DataFrame],
    validation: list[pd.DataFrame],
) -> Cell:
    facts = RunFacts(
        model=name,
        seed=0,
        settings={"window": "track"},
        started="",
        versions={},
        commit=None,
        dataset="simulated",
        dataset_label="simulated",
        synthetic=True,
        slice_seconds=3.0,
        protocol="artist",
        leaks=False,
        folds=design.folds,
        fold=0,
        split_seed=0,
        val_folds=VAL_FOLDS if design.folds > 1 else None,
        num_tracks={"train": 1, "test": 1},
        data_hashes={},
    )
    table = pd.DataFrame(runs).assign(folder=Path(), num_train=1, num_test=1, started="", commit="")
    cell = Cell(
        "simulated", "artist", "", name, 3.0, "", "", facts, {}, table, pd.concat(frames, ignore_index=True), ()
    )
    if validation:
        vars(cell)["validation"] = pd.concat(validation, ignore_index=True)
    return cell


def _columns(design: Design, rows: NDArray[np.int64], **about: int) -> dict[str, Any]:
    return {"track": rows, "genre": NAMES[design.genre[rows]], "group": design.group[rows], **about}


def population(design: Design) -> tuple[Cell, Model]:
    """Draw very many tracks, with the genres of a design's test part, each by an artist of its own."""
    tested = design.genre[design.is_tested]
    genre = np.tile(tested, POPULATION // len(tested))
    alone = np.arange(len(genre))
    many = Design(design.name, genre, alone, np.zeros(len(genre), np.int64), tested=(0,), folds=1)
    (model,) = draw_models(np.random.default_rng(1), many, 1)
    log_probs = model.log_probs(model.score + model.of_the_fit(len(genre)), alone)
    about = {"run": 0, "fold": 0, "seed": 0}
    frame = pd.DataFrame(_columns(many, alone, **about) | prediction_columns(log_probs.astype(np.float32), GENRES))
    cell = _cell("a", many, [about | {"split_seed": 0, "val_fold": 0, "accuracy": 0.0}], [frame], [])
    vars(cell)["bootstrap"] = OneValue(len(genre))
    return cell, model


def figures(cell: Cell) -> Iterator[tuple[str, Estimate]]:
    """Yield every number of the report's tables that has an interval, by name."""
    board = leaderboard([cell]).frame.iloc[0]
    for name, title in {"accuracy": "accuracy", "top3": "top 3", "f1_macro": "macro F1"}.items():
        yield title, _estimate(board, name)
    for _, row in table1([cell], None, "table1", "").frame.iterrows():
        if row["metric"] != "accuracy":
            yield f"{row['metric']} of {row['genre']}", _estimate(row, cell.label)
    for _, row in certainty_table([cell], None).frame.iterrows():
        yield f"certainty of {row['genre']}", _estimate(row, "certainty")
    sorting = certainty_order_table([cell]).frame
    for name in (name for name in sorting if f"{name}_low" in sorting):
        yield SORTING.get(str(name), str(name)), _estimate(sorting.iloc[0], str(name))
    for _, row in calibration_table([cell]).frame.iterrows():
        for name, title in {"nll": "NLL", "brier": "Brier score"}.items():
            yield f"{title}, {row['probabilities']}", _estimate(row, name)


SORTING = {
    "auroc_certainty": "AUROC: certainty",
    "auroc_max_probability": "AUROC: largest p",
    "auroc_margin": "AUROC: margin",
    "auroc_entropy": "AUROC: entropy",
    "augrc": "AUGRC",
} | {f"accuracy_{share}": f"accuracy of the most certain {share} %" for share in (50, 80, 90)}


def _pair(cells: list[Cell]) -> "pd.Series[Any]":
    """Return the only row of the comparison of two cells."""
    table = comparison(cells)
    assert table is not None  # both cells have the same corpus and protocol
    return table.frame.iloc[0]


def _estimate(row: "pd.Series[Any]", name: str) -> Estimate:
    return Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


@dataclass
class Truth:
    """True values of a design's numbers: of a population, at any temperature and any threshold of sets."""

    values: dict[str, float]
    temperatures: NDArray[np.float64]
    rescaled: dict[str, NDArray[np.float64]]  # by name, at each temperature
    true: dict[str, list[NDArray[np.float64]]]  # sorted nonconformity of the true genre by method: all, each genre
    sizes: dict[str, list[tuple[NDArray[np.float64], int]]]  # of all genres of a track, and the number of tracks


def truth_of(design: Design) -> Truth:
    """Compute the true values of a design."""
    cell, _ = population(design)
    values = {name: estimate.value for name, estimate in figures(cell)}
    temperatures = np.geomspace(0.7, 5, 10)
    rescaled = defaultdict(list)
    for temperature in temperatures:
        log_probs = log_softmax(cell.log_probs / temperature, axis=1)
        vars(cell)["log_probs"], kept = log_probs, cell.log_probs
        for _, row in calibration_table([cell]).frame.iterrows():
            for name, title in {"nll": "NLL", "brier": "Brier score"}.items():
                rescaled[f"{title}, rescaled"].append(row[name])
        vars(cell)["log_probs"] = kept
    true, sizes = {}, {}
    for method in ("lac", "aps"):
        table = nonconformity(cell.log_probs, method, np.random.default_rng(2))
        own = table[np.arange(len(table)), cell.genre]
        parts = [np.ones(len(own), bool), *(cell.genre == number for number in range(len(GENRES)))]
        true[method] = [np.sort(own[part]) for part in parts]
        sizes[method] = [(np.sort(table[part], axis=None), int(part.sum())) for part in parts]
    return Truth(values, temperatures, {name: np.array(known) for name, known in rescaled.items()}, true, sizes)


def set_figures(cell: Cell, truth: Truth) -> Iterator[tuple[str, Estimate, float]]:
    """Yield coverage and size of the sets, by name, and their true values for the thresholds that the runs have."""
    calibrated = calibrations(cell)
    weight = cell.predictions["run"].value_counts(normalize=True)
    table = conformal_table([cell]).frame
    for method in ("lac", "aps"):
        own = [
            (weight[one.run], threshold(one.log_probs, one.genre, method=method, level=LEVEL, random=_fresh()))
            for one in calibrated
        ]
        rows = table[table["method"] == method.upper()]
        for number, (_, row) in enumerate(rows.iterrows()):
            of, name = row["genre"], method.upper()
            held, (sizes, num) = truth.true[method][number], truth.sizes[method][number]
            true = sum(share * np.searchsorted(held, limit, side="right") / len(held) for share, limit in own)
            size = sum(share * np.searchsorted(sizes, limit, side="right") / num for share, limit in own)
            ending = "" if of == "all" else f" of {of}"
            yield f"coverage of sets, {name}{ending}", _estimate(row, "coverage"), float(true)
            yield f"size of sets, {name}{ending}", _estimate(row, "size"), float(size)


def _fresh() -> np.random.Generator:
    return np.random.default_rng(0)


def replicate(design: Design, truth: Truth, number: int) -> Tally:
    """Draw two models once, make their tables, and compare every interval with the true value."""
    tally, random = Tally(replicates=1), np.random.default_rng([number, *design.name.encode()])
    first, second, *more = draw_models(random, design, 4)
    cells = [cell_of(first, "a"), cell_of(second, "b", has_probs=False)]

    def compare(name: str, estimate: Estimate, true: float) -> None:
        if np.isfinite([estimate.low, estimate.high]).all() and estimate.low < estimate.high:
            tally.held[design.name, name].append(bool(estimate.low <= true <= estimate.high))

    temperature = calibration_table(cells[:1]).frame["temperature"].iloc[-1]
    for name, estimate in figures(cells[0]):
        if name.endswith("rescaled"):
            true = np.interp(np.log(temperature), np.log(truth.temperatures), truth.rescaled[name])
        else:
            true = truth.values[name]
        compare(name, estimate, float(true))
    for name, estimate, true in set_figures(cells[0], truth):
        compare(name, estimate, true)
        if name.startswith("coverage of sets, ") and name.endswith(("LAC", "APS")):
            tally.value[design.name, f"{name}, %"].append(estimate.value)
    pair = _pair(cells)
    compare("difference of two models", _estimate(pair, "difference"), 0.0)
    test = "exact" if pair["exact"] else "clustered"
    if np.isfinite(pair["p"]):
        tally.alarm[design.name, f"McNemar's test, {test}"].append(pair["p"] < 0.05)
    if len(design.tested) > 1:  # trained anew: every run has an effect of its own
        run_sd = RUN_SD if len(np.unique(design.group)) < len(design.group) else RUN_SD_OF_SINGLE_TRACKS
        cells = [cell_of(model, name, run_sd=run_sd, has_probs=False) for model, name in ((first, "a"), (second, "b"))]
        pair = _pair(cells)
        training = training_table(cells[:1]).frame.iloc[0]
        compare("accuracy, trained anew", _estimate(training, "retrained"), truth.values["accuracy"])
        holds = training["trained_low"] <= truth.values["accuracy"] <= training["trained_high"]
        tally.value[design.name, "accuracy, trained anew, by the interval of these models, %"].append(float(holds))
        compare("difference by folds", _estimate(pair, "t_difference"), 0.0)
        if np.isfinite(pair["t_p"]):
            tally.alarm[design.name, "corrected t-test"].append(pair["t_p"] < 0.05)
    (model,) = draw_models(random, design, 1, *draw_genres(random))
    rho = correlation_table([cell_of(model, "a", has_validation=False)], None).frame.iloc[0]
    compare("rho of certainty and recall", _estimate(rho, "rho"), true_rho())
    tally.value[design.name, f"100 rho of certainty and recall (true {100 * true_rho():.1f})"].append(rho["rho"])
    confidence, correct, group = calibrated_rows(random, design)
    tally.value[design.name, "ECE of a calibrated model, %"].append(ece(confidence, correct))
    tally.value[design.name, "'if calibrated', as printed, %"].append(calibrated_ece(confidence, correct, group))
    many = [
        float((model.score > 0)[design.is_tested].mean())
        for model in draw_models(random, design, MANY, common_share=ALIKE)
    ]
    tally.value[design.name, f"best of {MANY} settings less their mean, points"].append(
        max(many) - float(np.mean(many))
    )
    four = [hits(model) for model in (first, second, *more)]
    p_values = [mcnemar(a, b, cluster_of_hits(design)).p_value for a, b in combinations(four, 2)]
    tally.alarm[design.name, "any of six pairs (McNemar, Holm)"].append(bool((holm(p_values) < 0.05).any()))
    return tally


def draw_genres(random: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw difficulty and sharpness of genres, (genre,), for rho, which treats genres as the sample."""
    first, second = random.standard_normal((2, len(GENRES)))
    difficulty = DIFFICULTY.mean() + DIFFICULTY.std() * first
    return difficulty, SHARPNESS * np.exp(0.25 * (0.5 * first + second))


@cache
def true_rho() -> float:
    """Compute Spearman's rho of mean certainty and recall over very many genres, each with very many tracks."""
    random, genre = np.random.default_rng(3), np.repeat(np.arange(len(GENRES)), 1000)
    alone = np.arange(len(genre))
    design, certainty, recall = Design("", genre, alone, np.zeros_like(alone)), [], []
    for _ in range(100):
        (model,) = draw_models(random, design, 1, *draw_genres(random))
        score = model.score + model.of_the_fit(len(genre))
        second, first = np.sort(model.log_probs(score, alone), axis=1)[:, -2:].T
        certainty.append((first - second).reshape(len(GENRES), -1).mean(axis=1))
        recall.append((score > 0).reshape(len(GENRES), -1).mean(axis=1))
    return float(spearmanr(np.concatenate(certainty), np.concatenate(recall)).statistic)


def calibrated_rows(
    random: np.random.Generator, design: Design
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Draw confidence, correctness and artist of the test tracks of a calibrated model, seed after seed."""
    tracks = np.flatnonzero(design.is_tested)
    confidence, group = random.beta(4, 2, len(tracks)), design.group[tracks]
    luck = ARTIST_SD * random.standard_normal(group.max() + 1)[group]
    luck += RESIDUAL_SD * np.sqrt(1 - OF_THE_FIT) * random.standard_normal(len(tracks))
    fits = RESIDUAL_SD * np.sqrt(OF_THE_FIT) * random.standard_normal((design.seeds, len(tracks)))
    correct = norm.cdf((luck + fits) / np.hypot(ARTIST_SD, RESIDUAL_SD)) < confidence
    return np.tile(confidence, design.seeds), correct.ravel(), np.tile(group, design.seeds)


def run(todo: tuple[Callable[[int], Tally], range]) -> Tally:
    """Make some replicates."""
    once, numbers = todo
    tally = Tally()
    for number in numbers:
        tally.add(once(number))
    return tally


def share(outcomes: list[bool]) -> tuple[float, float]:
    """Return a share and its Monte Carlo standard error, in per cent; the error of one success or failure at least."""
    found, num = float(np.mean(outcomes)), len(outcomes)
    inside = min(max(found, 1 / num), 1 - 1 / num) if num > 1 else 0.5
    return 100 * found, 100 * math.sqrt(inside * (1 - inside) / num)


def table(
    title: str, shares: Mapping[tuple[str, str], list[bool]], names: list[str], replicates: int, *, worst: Any
) -> float:
    """Print one table of shares and return the worst one; scores of all genres share a row that names the worst."""
    print(f"\n| {title} | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    grouped: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(name for _, name in shares):
        start, _, genre = name.rpartition(" of ")
        grouped[f"{start} of a genre" if genre in GENRES else name].append(name)
    shown: list[float] = []
    for row, members in grouped.items():
        cells = []
        for design in names:
            known = {name: shares[design, name] for name in members if len(shares[design, name]) * 20 >= replicates}
            if known:
                value, error = share([outcome for outcomes in known.values() for outcome in outcomes])
                extreme = worst(known, key=lambda name: np.mean(known[name]))
                shown.append(share(known[extreme])[0])
                text = f"{value:.1f} ± {error:.1f}"
                if len(members) > 1:
                    text += f" ({shown[-1]:.1f} {extreme.rpartition(' of ')[2]})"
                printed = 100 * sum(map(len, known.values())) / (replicates * len(members))
                cells.append(text + (f", printed in {printed:.0f} %" if printed < 99.5 else ""))
            else:
                cells.append("none")
        print(f"| {row} | {' | '.join(cells)} |")
    return float(worst(shown))


def print_tables(tally: Tally, names: list[str], replicates: int) -> None:
    """Print the tables of all designs, and the last two lines."""
    lowest = table("95 % interval of", tally.held, names, replicates, worst=min)
    highest = table("false alarms of", tally.alarm, names, replicates, worst=max)
    print(f"\n| mean | {' | '.join(names)} |\n|---|{'---:|' * len(names)}")
    for name in dict.fromkeys(name for _, name in tally.value):
        cells = []
        for design in names:
            values = 100 * np.array(tally.value[design, name])
            known = f"{values.mean():.1f} ± {values.std() / math.sqrt(len(values)):.1f}" if len(values) else "none"
            cells.append(known)
        print(f"| {name} | {' | '.join(cells)} |")
    print(f"\nmin_coverage: {lowest:.1f}\nmax_false_alarms: {highest:.1f}")


def main() -> None:
    """Simulate and print the table."""
    corpus = Path(os.environ.get("GENREGRID_DATA", "data")) / "gtzan"
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="100 replicates instead of 2000")
    parser.add_argument("--replicates", type=int, help="another number of replicates")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    index, tested = corpus / "meta/GTZANindex.txt", corpus / "splits/filtered/test_filtered.txt"
    parser.add_argument("--artists", type=Path, default=index, help="Sturm's index (default: %(default)s)")
    parser.add_argument("--test", type=Path, default=tested, help="filtered test tracks (default: %(default)s)")
    args = parser.parse_args()
    replicates = args.replicates or (100 if args.quick else 2000)
    artists = args.artists if args.artists.is_file() else None
    test = args.test if args.test.is_file() else None
    gc.freeze()  # statsmodels collects garbage in every test
    tally, all_designs = Tally(), designs(artists, test)
    start, names = time.time(), [design.name for design in all_designs]
    truths: dict[bytes, Truth] = {}
    true_rho()
    for design in all_designs:
        tested = np.sort(design.genre[design.is_tested]).tobytes()
        if tested not in truths:
            truths[tested] = truth_of(design)
        once = partial(replicate, design, truths[tested])
        chunks = [(once, range(first, min(first + 20, replicates))) for first in range(0, replicates, 20)]
        if args.workers == 1:
            done = list(map(run, chunks))
        else:
            with ProcessPoolExecutor(args.workers) as pool:
                done = list(pool.map(run, chunks))
        for one in done:
            tally.add(one)
        print(f"{design.name}: {time.time() - start:.0f} s", file=sys.stderr, flush=True)
    source = "drawn numbers of tracks per artist" if artists is None else f"artists of {artists.name}"
    print(f"{replicates} replicates of each design, {source}")
    print_tables(tally, names, replicates)


if __name__ == "__main__":
    main()
