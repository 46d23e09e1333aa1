"""Read the runs of a grid and pool them, over folds and seeds, into cells: one model on one corpus and protocol."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.config import NO_TEST, PUBLISHED_PROTOCOLS
from genregrid.errors import UserError
from genregrid.exhibit.mark import Mark
from genregrid.metrics.interval import ClusterBootstrap
from genregrid.record.facts import RunFacts, marked_name
from genregrid.record.folder import ERROR_FILE, REPAIR, RunFolder, run_folders, why_failed
from genregrid.record.prediction import RunTables, genres_of

_GIVE_FOLDER = "give the folder of a multirun, or outputs"
# Files that a report can do without, but whose tables and figures then lack the run.
_OPTIONAL = ("config.yaml", "predictions_val.csv", "timeline.csv", "curves.csv")
# Characters of all labels and settings of a run together; those of an ensemble name its members.
_MOST_TEXT = 200_000
_LONGEST_LABEL = 2000
#: Columns that distinguish cells.
KEY = ("dataset", "split", "features", "model", "slice_seconds", "trained_on", "settings")
_MOST_NAMED = 3  # runs that were run again
_RUN_FACTS = ["folder", "fold", "seed", "split_seed", "val_fold"]
_RUN_FACTS += ["num_train", "num_test", "accuracy", "started", "commit"]


@dataclass(frozen=True)
class Cell:
    """Runs that differ only in fold, validation fold and seed, with their test predictions pooled."""

    dataset: str  # label of the corpus
    split: str  # label of the protocol
    features: str  # recipe of the descriptors; empty for old run folders
    model: str
    slice_seconds: float
    trained_on: str  # corpus and protocol of the training if a checkpoint was scored on another corpus, else empty
    settings: str  # that distinguish it from other cells of the model, such as ``model.hidden_size=32``
    facts: RunFacts  # of its first run
    config: dict[str, Any]  # config.yaml of its first run; empty if there is none
    runs: pd.DataFrame  # one row per run: run, from 0, and `_RUN_FACTS`
    predictions: pd.DataFrame  # of every run and test track: predictions.csv, and run, fold, seed and group
    tables: tuple[RunTables, ...]  # of each run
    names_features: bool = False  # whether the label names the features, as the corpus has cells of other ones

    @property
    def label(self) -> str:
        """Name of the cell within a corpus and protocol: model, slice length, features and settings."""
        trained_on = f"trained on {self.trained_on}" if self.trained_on else ""
        features = self.features if self.names_features else ""
        own = f"{self.model} {self.slice_seconds:g} s"
        return " ".join(filter(None, [own, features, self.settings, trained_on]))

    @property
    def title(self) -> str:
        """Name of the cell among all cells: label, corpus and protocol, with its marks."""
        return f"{self.label}, {self.dataset_title}, {self.split}"

    @property
    def dataset_title(self) -> str:
        """Label of the corpus, with its marks other than LEAKS."""
        return marked_name(self.dataset, self.marks)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Warnings that hold for its runs."""
        return self.facts.marks

    @property
    def missing_folds(self) -> int:
        """Number of folds that no run tested."""
        return self.facts.folds - int(self.runs["fold"].nunique())

    @property
    def corpus(self) -> str:
        """Name of the set of recordings that track names refer to; empty if its runs do not have it."""
        return str(self.config.get("dataset", {}).get("corpus", ""))

    @property
    def leaks(self) -> bool:
        """Whether test tracks were trained on."""
        return self.facts.leaks

    @property
    def genres(self) -> list[str]:
        """Genre names in the order of the logits."""
        return genres_of(self.predictions)

    @cached_property
    def group_of_track(self) -> "pd.Series[int]":
        """Group of each tested track, by track name."""
        return self.predictions.drop_duplicates("track").set_index("track")["group"]

    @cached_property
    def tracks(self) -> frozenset[str]:
        """Names of the tested tracks."""
        return frozenset(self.predictions["track"])

    @property
    def takes_single_slices(self) -> bool:
        """Whether the model takes single slices, which then vote for their track."""
        return bool(self.facts.settings.get("window") == 1)

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """(prediction,) bool, whether the predicted genre is the true one."""
        return np.asarray(self.predictions["genre"] == self.predictions["predicted"])

    @cached_property
    def genre(self) -> NDArray[np.int64]:
        """(prediction,) int64, true genres."""
        return genre_numbers(self.predictions, self.genres)

    @cached_property
    def log_probs(self) -> NDArray[np.float64]:
        """(prediction, genre) float64."""
        return log_probs_of(self.predictions)

    @cached_property
    def bootstrap(self) -> ClusterBootstrap:
        """Intervals by groups: tracks with their duplicates, or artists."""
        return self.bootstrap_of(self.predictions)

    def bootstrap_of(self, predictions: pd.DataFrame) -> ClusterBootstrap:
        """Make intervals by groups for predictions with the columns track and genre, of tracks or of slices."""
        group = predictions["track"].map(self.group_of_track)
        return ClusterBootstrap(group, stratum=predictions["genre"], unit=self.unit)

    @property
    def unit(self) -> str:
        """What the protocol keeps together, in the singular."""
        return "artist" if self.facts.protocol in ("artist", *PUBLISHED_PROTOCOLS) else "track"

    @cached_property
    def validation(self) -> pd.DataFrame:
        """predictions_val.csv of every run that has it, with the column run."""
        return self._read_all("predictions_val.csv", RunTables.validation)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """curves.csv of every run that has it, with the column run."""
        return self._read_all("curves.csv", RunTables.curves)

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """timeline.csv of every run that has it, with the column run."""
        return self._read_all("timeline.csv", RunTables.timeline)

    def _read_all(self, name: str, read: Callable[[RunTables], pd.DataFrame]) -> pd.DataFrame:
        frames = [read(own).assign(run=run) for run, own in enumerate(self.tables) if own.folder.has(name)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def genre_numbers(frame: pd.DataFrame, genres: list[str]) -> NDArray[np.int64]:
    """Return the column `genre` as numbers, (row,) int64."""
    return np.asarray(frame["genre"].map({genre: number for number, genre in enumerate(genres)}), np.int64)


def log_probs_of(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return logarithms of the columns ``p_<genre>``, (row, genre) float64; probabilities are at least 1e-300."""
    probs = frame[[f"p_{genre}" for genre in genres_of(frame)]].to_numpy(np.float64)
    return np.asarray(np.log(np.maximum(probs, 1e-300)))


def in_top_three(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Return whether the true genre is one of the three most probable ones, (row,) bool."""
    ranks = [name for name in ("predicted", "second", "third") if name in frame]
    return np.asarray(frame[ranks].eq(frame["genre"], axis=0).any(axis=1))


def read_grid(*folders: Path) -> tuple[list[Cell], list[str]]:
    """Read every finished run below some folders as cells; in each corpus and protocol the most accurate is first.

    A checkpoint scored on another corpus or split makes a separate cell. A checkpoint scored again on its own test part
    is not a new run and is skipped. If a run was made twice, only the later one counts. Cells that tested every fold
    come before others.

    Returns:
        The cells, and notes on skipped folders.

    Raises:
        UserError: a folder is missing, there is no finished run, or a run is damaged.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError("it is not a folder", key="runs", value=folder, hint=_GIVE_FOLDER)

    # real paths, as one folder may be inside another or be given twice
    found = {os.path.realpath(path): (path, names) for folder in folders for path, names in run_folders(folder)}
    finished = [path for _, (path, names) in sorted(found.items()) if "run.json" in names]
    notes = []
    for path, names in sorted(found.values()):
        if "run.json" not in names:
            failed = f"failed and was skipped: {why_failed(path)}" if ERROR_FILE in names else ""
            notes.append(f"{path} {failed or 'has no result yet and was skipped'}")
    runs = [run for path in finished if (run := _read_run(path)) is not None]
    for run in runs:
        missing = run["tables"].folder.missing(_OPTIONAL)
        notes += [f"{run['folder']} has lost its {name}, and what is made of it lacks this run" for name in missing]
    again = [run["folder"] for run in runs if run["repeats"]]
    notes += [f"{path} scores a checkpoint on its own split again and is no new run" for path in again]
    runs = [run for run in runs if not run["repeats"]]
    if not runs:
        problem = "it has no finished run, which is a folder with run.json and metrics.json"
        raise UserError(problem, key="runs", value=", ".join(map(str, folders)), hint=_GIVE_FOLDER)
    frame = pd.DataFrame(runs).sort_values("started", kind="stable")
    frame["settings"] = _settings(frame)
    frame["names_features"] = frame.groupby("dataset")["features"].transform("nunique") > 1
    repeated = frame.duplicated([*KEY, "fold", "val_fold", "seed", "split_seed", "scored"], keep="last")
    notes += _notes_on_repeated([*frame["folder"][repeated]])
    frame = frame[~repeated]
    cells = [_cell(dict(zip(KEY, key, strict=True)), runs) for key, runs in frame.groupby(list(KEY), sort=False)]
    cells.sort(key=lambda cell: (cell.dataset, cell.split, cell.missing_folds > 0, -cell.correct.mean()))
    return cells, [*notes, *_notes_on_comparing(cells)]


def _notes_on_repeated(folders: Sequence[object]) -> list[str]:
    """Return the notes on runs that were run again; a whole grid that was run again is one note.

    >>> _notes_on_repeated(["a", "b"])
    ['a was run again later and is not counted twice', 'b was run again later and is not counted twice']
    >>> _notes_on_repeated(["a", "b", "c", "d"])
    ['4 runs were run again later and are not counted twice, such as a']
    """
    if len(folders) > _MOST_NAMED:
        return [f"{len(folders)} runs were run again later and are not counted twice, such as {folders[0]}"]
    return [f"{path} was run again later and is not counted twice" for path in folders]


def _notes_on_comparing(cells: list[Cell]) -> Iterator[str]:
    """Warn of differences that make cells hard to compare."""
    for cell in cells:
        peers = [other for other in cells if (other.dataset, other.split) == (cell.dataset, cell.split)]
        if cell.missing_folds > min(other.missing_folds for other in peers):
            tested = f"{cell.runs['fold'].nunique()} of {cell.facts.folds} folds"
            yield f"{cell.title}: only {tested} were tested, so its tracks differ from those of other cells"
        if (num := cell.runs["commit"].nunique()) > 1:
            yield f"{cell.title}: its runs were made by {num} commits of the source"


def _read_run(path: Path) -> dict[str, Any] | None:
    """Read what a report needs of a run; ``None`` for a final model, which was not tested."""
    folder = RunFolder(path)
    facts = RunFacts.from_json(folder.content, path / "run.json")
    _check_facts(facts, path / "run.json")
    if facts.protocol == NO_TEST:
        return None
    tables = RunTables(folder)
    return vars(facts) | {
        "dataset": facts.dataset_label,
        "split": facts.split_label,
        "features": facts.recipe or "",
        "slice_seconds": float(facts.slice_seconds),
        "folder": path,
        "repeats": facts.trained_on == facts.origin,
        "trained_on": facts.trained_on or "",
        "scored": facts.checkpoint or "",
        "num_train": facts.num_tracks["train"],
        "num_test": facts.num_tracks["test"],
        "accuracy": tables.accuracy(),
        "knobs": facts.settings
        | {"folds": facts.folds, "val_folds": facts.val_folds}
        | {"genres": ",".join(tables.genres)}
        | {"data": hashlib.sha256(json.dumps(facts.data_hashes, sort_keys=True).encode()).hexdigest()[:8]},
        "facts": facts,
        "predictions": tables.predictions.assign(fold=facts.fold, seed=facts.seed),
        "tables": tables,
    }


def _check_facts(facts: RunFacts, source: Path) -> None:
    """Refuse facts of the right types that no run has."""
    labels = (facts.model, facts.dataset_label, facts.protocol, facts.trained_on or "", facts.started)
    wrong = {
        "slice_seconds": facts.slice_seconds <= 0,
        "folds": facts.folds < 1,
        "fold": not 0 <= facts.fold < max(facts.folds, 1),
        "val_folds": facts.val_folds is not None and facts.val_folds < 1,
        "num_tracks": not all(isinstance(facts.num_tracks.get(part), int) for part in ("train", "test")),
        "model, dataset_label, protocol, trained_on or started": max(map(len, labels)) > _LONGEST_LABEL,
        "settings": len(json.dumps(facts.settings)) > _MOST_TEXT,
    }
    if keys := [name for name, is_wrong in wrong.items() if is_wrong]:
        raise UserError(f"its key '{keys[0]}' has a value that no run has", key=source, hint=REPAIR)


def _settings(frame: pd.DataFrame) -> "pd.Series[str]":
    """Return the settings that differ between runs of one model, such as ``model.hidden_size=32``."""
    # as objects, because pandas makes a column of integers with missing values one of floats
    configs = pd.DataFrame(frame["knobs"].tolist(), index=frame.index, dtype=object)
    texts = pd.Series("", index=frame.index)
    for _, group in configs.groupby([frame[name] for name in KEY[:-1]]):
        written = {name: group[name].map(_setting) for name in group}
        for name, values in written.items():
            if values.nunique() > 1:
                texts.loc[group.index] += f" {name}=" + values
    return texts.str.strip()


def _setting(value: Any) -> str:
    """Write a setting as on a command line."""
    if isinstance(value, list):
        return f"[{','.join(map(_setting, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None or value != value else str(value)  # NaN: the run has no such setting


def _cell(key: dict[str, Any], runs: pd.DataFrame) -> Cell:
    runs = runs.sort_values(["seed", "fold", "val_fold"], kind="stable").assign(run=range(len(runs)))
    predictions = [frame.assign(run=run) for run, frame in zip(runs["run"], runs["predictions"], strict=True)]
    return Cell(
        **key,
        facts=runs["facts"].iloc[0],
        config=_config(runs["tables"].iloc[0].folder),
        runs=runs[["run", *_RUN_FACTS]].reset_index(drop=True),
        predictions=pd.concat(predictions, ignore_index=True),
        tables=tuple(runs["tables"]),
        names_features=bool(runs["names_features"].iloc[0]),
    )


def _config(folder: RunFolder) -> dict[str, Any]:
    """Read config.yaml; the types of what a report uses of it are checked."""
    config = folder.config()
    dataset = config.get("dataset", {})
    wrong = [] if isinstance(dataset, dict) else ["dataset"]
    if not wrong:
        texts = {f"dataset.{name}": dataset.get(name) for name in ("corpus", "root")}
        wrong = [name for name, value in texts.items() if not isinstance(value, str | None)]
        lists = dataset.get("filtered") or {}
        if not isinstance(lists, dict) or not all(isinstance(text, str) for text in (*lists, *lists.values())):
            wrong.append("dataset.filtered")
    if wrong:
        raise UserError(f"its key '{wrong[0]}' has a wrong type", key=folder.path / "config.yaml", hint=REPAIR)
    return config
