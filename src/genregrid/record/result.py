"""The result of a run, and the files that it writes into the run folder.

A run folder holds ``metrics.json`` (every score by name), ``run.json`` (`genregrid.record.facts.RunFacts`),
``per_genre.csv``, ``predictions.csv``, ``timeline.csv``, ``confusion.csv``, ``confusion_slice.csv`` and ``split.csv``,
and if a model was trained, ``predictions_val.csv``, ``curves.csv``, ``config.yaml`` and ``checkpoint.ckpt``.
"""

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from genregrid.data.datamodule import GenreDataModule
from genregrid.data.note import UNKNOWN_RECIPE
from genregrid.data.split import PARTS, Split
from genregrid.data.table import FeatureTable
from genregrid.errors import counted, printable
from genregrid.exhibit.spreadsheet import write_csv
from genregrid.files import write_text
from genregrid.metrics.interval import cluster_interval
from genregrid.metrics.score import PER_GENRE, confusion_matrix
from genregrid.models.base import GenreClassifier, voted
from genregrid.record.facts import RunFacts
from genregrid.record.folder import BEST_CHECKPOINT, with_hashes


@dataclass(frozen=True)
class Result:
    """Scores and predictions of one run."""

    facts: RunFacts  # what was run
    scores: dict[str, float]  # every score by name
    predictions: pd.DataFrame  # of test tracks: track, part, genre, and the columns of `prediction_columns`
    validation: pd.DataFrame  # the same for validation tracks; empty if nothing was trained
    #: One row per test slice: track, slice (from 0), start_seconds, stop_seconds, genre, and the prediction of the
    #: window that ends with that slice, in the columns of `predictions`; empty for an ensemble.
    timeline: pd.DataFrame
    confusion: pd.DataFrame  # counts of test tracks, true genre by predicted genre
    window_confusion: pd.DataFrame | None  # of test windows; None for an ensemble: its members may have other windows
    split: pd.DataFrame  # one row per track: track, part, genre, group (in one part together), num_slices
    group: NDArray[np.int64]  # (test track,), the group of each row of `predictions`
    curves: pd.DataFrame  # one row per epoch; empty if nothing was trained
    notes: list[str] = field(default_factory=list)  # a sentence for each thing that was left out, merged or ignored

    @property
    def genres(self) -> list[str]:
        """Genre names in the order of the logits."""
        return list(self.confusion.index)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the track accuracy, from the spread between groups of tracks; NaN if these are too few."""
        return cluster_interval(self.predictions["genre"] == self.predictions["predicted"], self.group)

    @property
    def title(self) -> str:
        """Description of the run in one line, with its marks."""
        facts = self.facts
        trained_on = f", trained on {facts.trained_on}" if facts.trained_on else ""
        is_usual = facts.recipe in (None, UNKNOWN_RECIPE) or str(facts.recipe).startswith("kaggle-")
        by = "" if is_usual else f" by {facts.recipe}"
        return (
            f"{facts.model}, {facts.slice_seconds:g} s slices{by}, {facts.dataset_title}, "
            f"split {facts.split_label}, fold {facts.fold} of {facts.folds}, seed {facts.seed}{trained_on}"
        )

    def per_genre(self, level: str = "test") -> pd.DataFrame:
        """Return precision, recall, F1 and certainty of each genre, for ``test`` (tracks) or ``test_slice``; or NaN."""
        columns = {name: [self.scores[f"{level}/{name}/{genre}"] for genre in self.genres] for name in PER_GENRE}
        confusion = self.confusion if level == "test" or self.window_confusion is None else self.window_confusion
        return pd.DataFrame({"genre": self.genres, "num": confusion.sum(axis=1).to_numpy(), **columns})

    def write(self, folder: Path) -> None:
        """Write all files into a folder that exists."""
        # JSON has no NaN: the scores of a genre without test tracks are null
        metrics = {name: None if math.isnan(value) else round(value, 6) for name, value in sorted(self.scores.items())}
        _write_json(folder / "metrics.json", metrics)
        written = ["metrics.json", "config.yaml", BEST_CHECKPOINT]
        levels = {"track": "test"} | ({} if self.window_confusion is None else {"slice": "test_slice"})
        per_genre = pd.concat([self.per_genre(level).assign(level=name) for name, level in levels.items()])
        per_genre = per_genre.assign(dataset=self.facts.dataset_label, split=self.facts.split_label)
        if self.facts.marks:
            per_genre["marks"] = " ".join(self.facts.marks)
        tables = {"per_genre": per_genre, "predictions": self.predictions, "predictions_val": self.validation}
        for name, table in (tables | {"timeline": self.timeline, "split": self.split, "curves": self.curves}).items():
            if len(table):
                write_csv(table, folder / f"{name}.csv", index=False, float_format="%.6g")
                written.append(f"{name}.csv")
            else:  # that of an earlier attempt in this folder
                (folder / f"{name}.csv").unlink(missing_ok=True)
        index = next(name for name in ("genre", "true genre", "") if name not in self.genres)
        for name, table in (("confusion", self.confusion), ("confusion_slice", self.window_confusion)):
            if table is not None:
                write_csv(table, folder / f"{name}.csv", index_label=index)
                written.append(f"{name}.csv")
            else:
                (folder / f"{name}.csv").unlink(missing_ok=True)
        interval = [None if math.isnan(end) else round(end, 6) for end in self.interval]
        more: dict[str, Any] = {"accuracy_interval": interval, "notes": self.notes}
        if len(self.validation):
            correct = self.validation["genre"] == self.validation["predicted"]
            more["val_accuracy"] = round(float(correct.mean()), 6)
        content = with_hashes(self.facts.to_json() | more, folder, written)
        _write_json(folder / "run.json", content)  # last: it marks a finished run

    def summary(self) -> str:
        """Return a table for the screen: the main scores with the interval, then a line per genre."""
        low, high = self.interval
        interval = f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
        if math.isnan(low):
            interval = "too few groups of tracks for an interval"
        scores = self.scores
        table = self.per_genre()
        table["genre"] = table["genre"].map(printable)
        for name in PER_GENRE:
            table[name] = table[name].map(_decimal if name == "certainty" else _percent)
        return "\n".join(
            [
                "",
                printable(self.title, 1000),
                f"accuracy {_percent(scores['test/accuracy'], ' %')}  ({interval}, "
                f"{counted(len(self.predictions), 'test track')})   top-3 {_percent(scores['test/top3'], ' %')}   "
                f"macro F1 {_percent(scores['test/f1_macro'], ' %')}   "
                f"by slice {_percent(scores['test_slice/accuracy'], ' %')}",
                "",
                table.rename(columns={"num": "tracks"}).to_string(index=False),
                "precision, recall, F1 in %; certainty in decades, by true genre",
            ]
        )


@runtime_checkable
class ResultLogger(Protocol):
    """A logger of epochs that also logs the result of a run and must be closed after it."""

    def log_result(self, result: Result) -> None:
        """Log tables, charts and summary values of a result."""

    def close(self, *, failed: bool) -> None:
        """End the logger's run, as failed or not."""


def result_of(model: GenreClassifier, datamodule: GenreDataModule, facts: RunFacts, notes: list[str]) -> Result:
    """Collect the result of a model that was tested on the windows of `datamodule`.

    Raises:
        RuntimeError: the model was not tested.
    """
    table, split, scored = datamodule.table, datamodule.split, model.scored
    if scored is None:
        raise RuntimeError("the model was not tested")
    genres = list(table.genres)
    return Result(
        facts=facts,
        scores=scored.scores,
        predictions=prediction_table(table, "test", scored.track, scored.log_probs),
        validation=_validation_table(model, datamodule),
        timeline=timeline_table(model, datamodule),
        confusion=pd.DataFrame(confusion_matrix(scored.log_probs, scored.genre, len(genres)).numpy(), genres, genres),
        window_confusion=pd.DataFrame(scored.window_confusion.numpy(), genres, genres),
        split=split_frame(table, split),
        group=split.group[scored.track.numpy()],
        curves=pd.DataFrame(model.curves),
        notes=notes,
    )


def split_frame(table: FeatureTable, split: Split) -> pd.DataFrame:
    """Return the part of each track, see `Result.split`; under a leaking protocol a track may be in several."""
    pairs = pd.DataFrame({"track": table.track, "part": split.part}).drop_duplicates()
    pairs = pairs[pairs["part"] >= 0].sort_values(["part", "track"])
    return pd.DataFrame(
        {
            "track": np.array(table.tracks, dtype=object)[pairs["track"]],
            "part": np.array(PARTS, dtype=object)[pairs["part"]],
            "genre": np.array(table.genres, dtype=object)[table.genre[pairs["track"]]],
            "group": split.group[pairs["track"]],
            "num_slices": table.num_slices[pairs["track"]],
        }
    )


def _validation_table(model: GenreClassifier, datamodule: GenreDataModule) -> pd.DataFrame:
    if not len(datamodule.val_dataloader()):
        return pd.DataFrame()
    log_probs, _, track = voted(
        *(model.validated or model.predict_logits(datamodule.val_dataloader(), datamodule.table.tracks))
    )
    return prediction_table(datamodule.table, "val", track, log_probs)


def timeline_table(model: GenreClassifier, datamodule: GenreDataModule) -> pd.DataFrame:
    """Return the timeline of every test track, see `Result.timeline`."""
    table, row = datamodule.table, datamodule.timeline_rows
    log_probs = model.predict_logits(datamodule.timeline_dataloader(), datamodule.table.tracks)[0].log_softmax(dim=1)
    frame = prediction_table(table, "test", torch.from_numpy(table.track[row]), log_probs).drop(columns="part")
    start = table.slice_seconds * table.slice_index[row]
    frame.insert(1, "slice", table.slice_index[row])
    frame.insert(2, "start_seconds", start)
    frame.insert(3, "stop_seconds", start + table.slice_seconds)
    return frame


def prediction_table(table: FeatureTable, part: str, track: Tensor, log_probs: Tensor) -> pd.DataFrame:
    """Return one row per track or slice: track, part, genre, and the columns of `prediction_columns`.

    `track` (row,) int64 is an index into the table's tracks; `log_probs` is (row, genre) float32, normalised.
    """
    number = track.numpy()
    names = np.array(table.genres, dtype=object)
    columns = {"track": np.array(table.tracks, dtype=object)[number], "part": part, "genre": names[table.genre[number]]}
    return pd.DataFrame(columns | prediction_columns(log_probs.numpy(), list(table.genres)))


def prediction_columns(log_probs: NDArray[np.float32], genres: list[str]) -> dict[str, Any]:
    """Return columns predicted, certainty, ``p_<genre>``, second and third of (row, genre) float32, normalised."""
    ranked = np.argsort(-log_probs, axis=1, kind="stable")
    names = np.array(genres, dtype=object)
    row = np.arange(len(log_probs))
    difference = log_probs[row, ranked[:, 0]] - log_probs[row, ranked[:, 1]]
    columns: dict[str, Any] = {"predicted": names[ranked[:, 0]], "certainty": difference / np.log(10)}
    probs = np.exp(log_probs.astype(np.float64))  # in float32, probabilities below 1e-45 would be zero
    columns |= {f"p_{name}": probs[:, number] for number, name in enumerate(genres)}
    columns |= {name: names[ranked[:, rank]] for rank, name in ((1, "second"), (2, "third")) if rank < len(genres)}
    return columns


def _percent(share: float, unit: str = "") -> str:
    """Write a share in per cent; a score that is not known is a dash.

    >>> _percent(0.5), _percent(0.5, " %"), _percent(math.nan, " %")
    ('50.0', '50.0 %', '-')
    """
    return "-" if math.isnan(share) else f"{100 * share:.1f}{unit}"


def _decimal(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
