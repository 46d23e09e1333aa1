"""Ensembles of finished runs: a weighted soft vote per test part, written as a run folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import yaml
from numpy.typing import NDArray
from scipy.special import logsumexp

from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.table import Table, columns
from genregrid.files import folder_name, write_text
from genregrid.metrics.calibration import fit_temperature, rescale
from genregrid.metrics.interval import ClusterBootstrap
from genregrid.metrics.score import confusion_matrix, scores
from genregrid.metrics.soft_vote import mixture_weights
from genregrid.record.facts import RunFacts, start_facts
from genregrid.record.folder import run_folders
from genregrid.record.result import Result, prediction_columns
from genregrid.report.cell import Cell, genre_numbers, log_probs_of, read_grid

#: Validation rows, imagined, that favour no member.
_PRIOR_ROWS = 20.0
_FOLDERS_HINT = "give folders of runs, such as that of a multirun, or [A,B]"


def ensemble(runs: object, folder: Path) -> str:
    """Let the runs below some folders vote, and write one run folder per fold and seed of their splits.

    The members of a vote are the models (cells) of these folders with the same corpus, protocol, fold and split seed.
    Runs of one model that differ in seed or validation fold are averaged first. The probabilities of each member are
    rescaled by a temperature; temperatures and weights maximise the likelihood of the validation tracks. A test track
    counts if every member tested it, so that no member was trained on it. `runs` is a folder or a list of them.

    Returns:
        The text to print: accuracies of members and vote on the same tracks, and mean weights.

    Raises:
        UserError: a folder without runs, no two runs that fit together, or runs without validation predictions.
    """
    cells, notes = read_grid(*_folders(runs))
    notes += [f"{cell.title} is an ensemble itself and is left out" for cell in cells if cell.facts.members is not None]
    text, written = [], []
    groups = _groups([cell for cell in cells if cell.facts.members is None])
    for index, group in enumerate(groups):
        number = sum(other[0].split == group[0].split for other in groups[:index])
        votes = [vote for fold, seed in _divisions(group) if (vote := _vote(group, fold, seed, notes)) is not None]
        written += [(vote.result, group[0].config, number) for vote in votes]
        if votes:
            text.append(_summary(group, votes))
    if not text:
        if sum(len(cell.runs) for cell in cells) == 1:
            given = runs if isinstance(runs, str) else [str(path) for path in _folders(runs)]
            problem = "there is one run, and a vote needs two or more"
            raise UserError(problem, key="ensemble", value=given, hint=_FOLDERS_HINT)
        why = "".join(f". {note[0].upper()}{note[1:]}" for note in notes)
        raise UserError(f"no two runs share a corpus, a protocol, a fold and a split seed{why}", key="ensemble")
    for result, config, number in written:  # after all votes, as a damaged file of a later one would leave half of them
        result.write(_make_folder(result.facts, config, folder, number))
    return "\n\n".join([*text, *map(printable, notes)])


def _folders(runs: object) -> list[Path]:
    names = list(runs) if isinstance(runs, Sequence) and not isinstance(runs, str) else [runs]
    if not names:
        raise UserError("the list is empty", key="ensemble", value=[], hint=_FOLDERS_HINT)
    for name in names:
        if not isinstance(name, str) or not name or not Path(name).is_dir():
            hint = "write several folders in brackets, [A,B]" if "," in str(name) else _FOLDERS_HINT
            raise UserError("this is not a folder", key="ensemble", value=name, hint=hint)
        if not any("run.json" in names for _, names in run_folders(Path(name))):
            problem = "this folder has no finished run: a run folder has run.json and metrics.json"
            raise UserError(problem, key="ensemble", value=name)
    return [Path(str(name)) for name in names]


class _Vote(NamedTuple):
    """The vote for one fold and split seed."""

    result: Result
    weights: NDArray[np.float64]  # (member,)
    members_right: NDArray[np.bool_]  # (member, track)


def _make_folder(facts: RunFacts, config: dict[str, Any], folder: Path, number: int) -> Path:
    """Make the run folder of a vote, with the configuration of its corpus; `number` distinguishes groups."""
    name = f"ensemble{number or ''}-{facts.split_label}-fold{facts.fold}-seed{facts.seed}"
    path = folder / folder_name(facts.dataset_label) / folder_name(name)
    path.mkdir(parents=True, exist_ok=True)
    config = {"dataset": config.get("dataset", {})}
    write_text(path / "config.yaml", yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    return path


def _groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Group cells by corpus, protocol, genres and number of folds."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        if not cell.trained_on:  # a checkpoint scored on another corpus has no validation tracks there
            key = (cell.corpus or cell.dataset, cell.split, tuple(cell.genres), cell.facts.folds)
            groups.setdefault(key, []).append(cell)
    return list(groups.values())


def _divisions(cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """Return fold and split seed of every division of the tracks that a cell has."""
    pairs = pd.concat([cell.runs[["split_seed", "fold"]] for cell in cells]).drop_duplicates()
    return [(int(fold), int(seed)) for seed, fold in sorted(pairs.itertuples(index=False))]


def _vote(cells: Sequence[Cell], fold: int, split_seed: int, notes: list[str]) -> _Vote | None:
    where = f"fold {fold}, split seed {split_seed}"
    runs = [cell.runs[(cell.runs["fold"] == fold) & (cell.runs["split_seed"] == split_seed)] for cell in cells]
    num_runs = [len(own) for own in runs]
    if 0 in num_runs:
        notes.append(f"{where}: {cells[num_runs.index(0)].label} has no run, so that there is no vote")
        return None
    if sum(num_runs) < 2:
        return None
    members = [_Member(cell, own) for cell, own in zip(cells, runs, strict=True)]
    common = {}
    for part in ("test", "validation"):
        common[part] = sorted(set.intersection(*(set(getattr(member, part)["track"]) for member in members)))
        if not common[part]:
            raise UserError(f"{where}: the members have no {part} track in common", key="ensemble")
    tracks, known = common.values()
    num_more = max(member.test["track"].nunique() for member in members) - len(tracks)
    notes += [f"{where}: tracks left out, as not every member tested them: {num_more}"] if num_more else []
    every = pd.concat([frame[["track", "genre"]] for member in members for frame in (member.test, member.validation)])
    genre_of = every.drop_duplicates("track").set_index("track")[["genre"]]
    temperatures = [member.temperature(known) for member in members]
    test, validation = (
        np.stack([m.log_probs(part, names, t) for m, t in zip(members, temperatures, strict=True)])
        for part, names in common.items()
    )
    genres = cells[0].genres
    weights = mixture_weights(np.exp(validation), genre_numbers(genre_of.loc[known], genres), _PRIOR_ROWS)
    frames = [
        _predictions(part, genre_of.loc[names], genres, logsumexp(log_probs, axis=0, b=weights[:, None, None]))
        for part, names, log_probs in (("test", tracks, test), ("val", known, validation))
    ]
    # a validation track of one run may be a training track of another; here it counts as validation
    split = members[0].split.copy()
    split["part"] = np.select([split["track"].isin(tracks), split["track"].isin(known)], ["test", "val"], "train")
    facts = replace(
        _facts(cells, weights, temperatures, num_runs),
        fold=fold,
        seed=split_seed,
        split_seed=split_seed,
        num_tracks={part: int((split["part"] == part).sum()) for part in ("train", "val", "test")},
    )
    right = test.argmax(axis=2) == genre_numbers(genre_of.loc[tracks], genres)
    return _Vote(_result(facts, genres, frames[0], frames[1], split), weights, right)


class _Member:
    """The predictions of one model's runs for one division of the tracks; they differ in seed or validation fold."""

    def __init__(self, cell: Cell, runs: pd.DataFrame) -> None:
        if cell.validation.empty:
            raise UserError("its runs have no predictions_val.csv for the weights", key=cell.title, hint="run it again")
        self._genres = cell.genres
        self.split = cell.tables[runs["run"].iloc[0]].split
        frames = (cell.predictions, cell.validation)
        self.test, self.validation = (frame[frame["run"].isin(runs["run"])] for frame in frames)

    def temperature(self, known: list[str]) -> float:
        """Fit one temperature for all runs on the validation tracks `known`."""
        rows = self.validation[self.validation["track"].isin(known)]
        return fit_temperature(log_probs_of(rows), genre_numbers(rows, self._genres))

    def log_probs(self, part: str, tracks: list[str], temperature: float) -> NDArray[np.float64]:
        """Return (track, genre) float64, logarithms of the runs' mean rescaled probabilities."""
        frame: pd.DataFrame = getattr(self, part)
        frame = frame[frame["track"].isin(tracks)]
        probs = pd.DataFrame(np.exp(rescale(log_probs_of(frame), temperature)), index=frame["track"])
        return np.asarray(np.log(np.maximum(probs.groupby(level=0).mean().loc[tracks].to_numpy(), 1e-300)))


def _facts(
    cells: Sequence[Cell], weights: NDArray[np.float64], temperatures: Sequence[float], num_runs: Sequence[int]
) -> RunFacts:
    """Describe a vote by what its members have in common, and by the members."""
    return replace(
        cells[0].facts,
        **start_facts(),
        model="ensemble",
        identity="",  # that of the member is of its training
        search=None,
        dataset_label="+".join(dict.fromkeys(cell.dataset for cell in cells)),
        recipe="+".join(dict.fromkeys(cell.facts.recipe for cell in cells if cell.facts.recipe is not None)),
        slice_seconds=max(cell.slice_seconds for cell in cells),
        val_fold=0,
        settings={"members": " + ".join(sorted(cell.label for cell in cells))},
        synthetic=any(cell.facts.synthetic for cell in cells),
        may_overlap=any(cell.facts.may_overlap for cell in cells),
        data_hashes={f"{c.dataset}/{name}": digest for c in cells for name, digest in c.facts.data_hashes.items()},
        members=[
            {"model": cell.label, "weight": round(float(weight), 6), "temperature": round(temperature, 6), "runs": num}
            for cell, weight, temperature, num in zip(cells, weights, temperatures, num_runs, strict=True)
        ],
    )


def _predictions(part: str, genre_of: pd.DataFrame, genres: list[str], log_probs: NDArray[np.float64]) -> pd.DataFrame:
    """Return the columns of predictions.csv for the tracks of `genre_of`; `log_probs` is (track, genre)."""
    frame = pd.DataFrame({"track": genre_of.index, "part": part, "genre": genre_of["genre"].to_numpy()})
    return frame.assign(**prediction_columns(log_probs.astype(np.float32), genres))


def _result(
    facts: RunFacts, genres: list[str], predictions: pd.DataFrame, validation: pd.DataFrame, split: pd.DataFrame
) -> Result:
    log_probs = torch.from_numpy(log_probs_of(predictions)).float()
    target = torch.tensor(genre_numbers(predictions, genres))
    group = split.drop_duplicates("track").set_index("track")["group"]
    return Result(
        facts=facts,
        scores=scores(log_probs, target, genres, "test/"),
        predictions=predictions,
        validation=validation,
        timeline=pd.DataFrame(),
        confusion=pd.DataFrame(confusion_matrix(log_probs, target, len(genres)).numpy(), genres, genres),
        window_confusion=None,
        split=split,
        group=group.loc[predictions["track"]].to_numpy(np.int64),
        curves=pd.DataFrame(),
    )


def _summary(cells: Sequence[Cell], votes: Sequence[_Vote]) -> str:
    """Show the accuracy of members and vote on the same tracks, and the mean weights."""
    results = [vote.result for vote in votes]
    voted_right = [one.predictions["genre"] == one.predictions["predicted"] for one in results]
    right = np.hstack([np.vstack([v.members_right, own]) for v, own in zip(votes, voted_right, strict=True)])
    bootstrap = ClusterBootstrap(np.concatenate([one.group for one in results]))
    weights = [*np.mean([vote.weights for vote in votes], axis=0), np.nan]
    rows = [
        {"model": name, "weight": weight, **bootstrap.mean(own).columns("accuracy")}
        for name, weight, own in zip([*(cell.label for cell in cells), "ensemble"], weights, right, strict=True)
    ]
    facts, num_tracks = results[0].facts, len({track for one in results for track in one.predictions["track"]})
    counts = f"{counted(len(votes), 'vote')} on {counted(num_tracks, 'track')}"
    title = printable(f"{facts.dataset_title}, split {facts.split_label}: {counts}")  # a label comes from run.json
    shown = columns(model="model") + columns("decimal", weight="weight") + columns("percent", accuracy="accuracy %")
    return f"{title}\n{Table('ensemble', title, pd.DataFrame(rows), tuple(shown)).text()}"
