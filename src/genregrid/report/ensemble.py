"""Ensembles of finished runs: one soft vote per test part, written as a run folder like any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.special import logsumexp

from genregrid.errors import UserError
from genregrid.exhibit.table import Column, Table
from genregrid.metrics.calibration import fit_temperature, rescale
from genregrid.metrics.interval import ClusterBootstrap
from genregrid.metrics.score import confusion_matrix, scores
from genregrid.metrics.soft_vote import mixture_weights
from genregrid.record.facts import RunFacts, origin
from genregrid.record.result import Result, prediction_columns
from genregrid.report.cell import Cell, genre_numbers, log_probs_of, read_grid, read_run_csv

#: Validation rows, imagined, that favour no member.
_PRIOR_ROWS = 20.0


def ensemble(runs: object, folder: Path) -> str:
    """Let the runs below some folders vote together, and write one run folder for each fold and seed of their splits.

    The members of a vote are the models (cells) of these folders that share corpus, protocol, fold and split seed; runs
    of one model that differ in seed or in validation fold are averaged first. Each member's probabilities are brought
    to its validation temperature, and their weights make the validation tracks likeliest. A test track counts if every
    member tested it, so that none has learnt from it.

    Args:
        runs: a folder of runs by name, or a list of them.
        folder: where the run folders go; made if missing.

    Returns:
        What to print: accuracies of members and vote on the same tracks, and mean weights.

    Raises:
        UserError: a folder without runs, no two runs that go together, or runs without validation predictions.
    """
    names = [runs] if isinstance(runs, str) else list(runs) if isinstance(runs, Sequence) else [runs]
    if not names:
        raise UserError("ensemble=[]: give folders of runs, such as that of a multirun.")
    for name in names:
        if not isinstance(name, str) or not name or not Path(name).is_dir():
            several = " (several stand in brackets: [A,B])" if "," in str(name) else ""
            raise UserError(f"ensemble={name} is not a folder{several}: give folders of runs, as that of a multirun.")
        if not any(Path(name).rglob("run.json")):
            raise UserError(f"ensemble={name} holds no finished run: a run folder has run.json and metrics.json.")
    cells, notes = read_grid(*map(Path, names))
    voted = [cell for cell in cells if cell.facts.members is not None]
    notes += [f"{cell.title} is a vote already and takes no part" for cell in voted]
    text = []
    groups = list(_peers([cell for cell in cells if cell.facts.members is None]))
    for index, group in enumerate(groups):
        number = sum(other[0].split == group[0].split for other in groups[:index])
        votes = [vote for division in _divisions(group) if (vote := _vote(group, division, notes)) is not None]
        for vote in votes:
            vote.result.write(_make_folder(vote.result.facts, group[0].config, folder, number))
        if votes:
            text.append(_summary(group, votes))
    if not text:
        why = "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
        raise UserError(
            f"ensemble: no two runs share a corpus, a protocol, a fold and a split seed, so none can vote.{why}"
        )
    return "\n\n".join([*text, *notes])


@dataclass(frozen=True)
class _Vote:
    """One division's vote: the result, each member's weight, and which tracks each member had right."""

    result: Result
    weights: NDArray[np.float64]
    members_right: NDArray[np.bool_]  # (member, track)


def _make_folder(facts: RunFacts, config: dict[str, Any], folder: Path, number: int) -> Path:
    """The run folder of one vote of a group, with what reports read of its corpus; groups are told apart by number."""
    name = f"ensemble{number or ''}-{facts.split_label}-fold{facts.fold}-seed{facts.seed}"
    path = folder / facts.dataset_label / name
    path.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create({"dataset": config.get("dataset", {})}), path / "config.yaml")
    return path


def _peers(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Cells of one corpus and protocol, with the same genres and number of folds."""
    peers: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        if not cell.trained_on:  # a checkpoint scored elsewhere has no validation tracks there
            key = (cell.corpus or cell.dataset, cell.split, tuple(cell.genres), cell.facts.folds)
            peers.setdefault(key, []).append(cell)
    yield from peers.values()


def _divisions(cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """Fold and split seed of every division that some cell has."""
    runs = pd.concat([cell.runs for cell in cells]) if cells else pd.DataFrame(columns=["fold", "split_seed"])
    pairs = runs[["split_seed", "fold"]].drop_duplicates().sort_values(["split_seed", "fold"])
    return [(int(fold), int(seed)) for seed, fold in pairs.itertuples(index=False)]


def _vote(cells: Sequence[Cell], division: tuple[int, int], notes: list[str]) -> _Vote | None:
    fold, split_seed = division
    where = f"fold {fold}, split seed {split_seed}"
    num_runs = [int(_on_division(cell, fold, split_seed).sum()) for cell in cells]
    if 0 in num_runs:
        notes.append(f"{where}: {cells[num_runs.index(0)].label} has no run, and the others do not vote there")
        return None
    if sum(num_runs) < 2:
        return None
    members = [_Member(cell, fold, split_seed) for cell in cells]
    tracks, known = (_shared([getattr(member, part) for member in members]) for part in ("test", "validation"))
    if not tracks:
        raise UserError(f"{where}: no test track is shared by all members, so there is nothing to vote on.")
    if not known:
        raise UserError(f"{where}: no validation track is shared by all members, so their weights cannot be fitted.")
    num_more = max(member.test["track"].nunique() for member in members) - len(tracks)
    notes += [f"{where}: {num_more} tracks that not every member tested were left out"] if num_more else []
    said = [frame[["track", "genre"]] for member in members for frame in (member.test, member.validation)]
    genre_of = pd.concat(said).drop_duplicates("track").set_index("track")["genre"]
    temperatures = [member.temperature(known) for member in members]
    test, validation = (
        np.stack([m.log_probs(part, names, t) for m, t in zip(members, temperatures, strict=True)])
        for part, names in (("test", tracks), ("validation", known))
    )
    genres = cells[0].genres
    weights = mixture_weights(np.exp(validation), _numbers(genre_of[known], genres), _PRIOR_ROWS)
    mixed = [logsumexp(log_probs, axis=0, b=weights[:, None, None]) for log_probs in (test, validation)]
    tables = [
        _said(part, genre_of[names], genres, log)
        for part, names, log in zip(("test", "val"), (tracks, known), mixed, strict=True)
    ]
    # a track that validates in one run may train in another: it counts as what its prediction is kept as
    split = read_run_csv(members[0].folder / "split.csv")
    split["part"] = np.select([split["track"].isin(tracks), split["track"].isin(known)], ["test", "val"], "train")
    num_tracks = {part: int((split["part"] == part).sum()) for part in ("train", "val", "test")}
    facts = replace(_facts(cells, division, weights, temperatures, num_runs), num_tracks=num_tracks)
    result = _result(facts, genres, tables[0], tables[1], split)
    return _Vote(result, weights, test.argmax(axis=2) == _numbers(genre_of[tracks], genres))


def _numbers(genre: "pd.Series[str]", genres: list[str]) -> NDArray[np.int64]:
    return genre_numbers(genre.to_frame(), genres)


def _on_division(cell: Cell, fold: int, split_seed: int) -> "pd.Series[bool]":
    return (cell.runs["fold"] == fold) & (cell.runs["split_seed"] == split_seed)


class _Member:
    """What the runs of one model say on one division of the tracks.

    Several runs differ in seed or in validation fold: a validation track is told by those only that did not learn from
    it. Each is brought to the temperature of all before they are averaged.

    Raises:
        UserError: runs without predictions_val.csv.
    """

    def __init__(self, cell: Cell, fold: int, split_seed: int) -> None:
        runs = cell.runs[_on_division(cell, fold, split_seed)]
        if cell.validation.empty:
            raise UserError(
                f"{cell.title}: its runs have no predictions_val.csv, on which weights are fitted; run it again."
            )
        self._genres = cell.genres
        self.folder = Path(runs["folder"].iloc[0])
        self.test, self.validation = (
            frame[frame["run"].isin(runs["run"])] for frame in (cell.predictions, cell.validation)
        )

    def temperature(self, known: list[str]) -> float:
        """Fitted on what is said of the validation tracks `known`."""
        rows = self.validation[self.validation["track"].isin(known)]
        return fit_temperature(log_probs_of(rows), genre_numbers(rows, self._genres))

    def log_probs(self, part: str, tracks: list[str], temperature: float) -> NDArray[np.float64]:
        """(track, genre) float64, logarithms of the runs' mean probabilities."""
        frame: pd.DataFrame = getattr(self, part)
        frame = frame[frame["track"].isin(tracks)]
        probs = pd.DataFrame(np.exp(rescale(log_probs_of(frame), temperature)), index=frame["track"])
        return np.asarray(np.log(np.maximum(probs.groupby(level=0).mean().loc[tracks].to_numpy(), 1e-300)))


def _shared(frames: Sequence[pd.DataFrame]) -> list[str]:
    return sorted(set.intersection(*(set(frame["track"]) for frame in frames)))


def _facts(
    cells: Sequence[Cell],
    division: tuple[int, int],
    weights: NDArray[np.float64],
    temperatures: Sequence[float],
    num_runs: Sequence[int],
) -> RunFacts:
    """The content of run.json: what the members have in common, and who they are."""
    fold, split_seed = division
    members = zip(cells, weights, temperatures, num_runs, strict=True)
    return replace(
        cells[0].facts,
        **origin(),
        model="ensemble",
        dataset_label="+".join(dict.fromkeys(cell.dataset for cell in cells)),
        recipe="+".join(dict.fromkeys(cell.facts.recipe for cell in cells if cell.facts.recipe is not None)),
        slice_seconds=max(cell.slice_seconds for cell in cells),
        fold=fold,
        seed=split_seed,
        split_seed=split_seed,
        val_fold=0,
        settings={"members": " + ".join(sorted(cell.label for cell in cells))},
        synthetic=any(cell.facts.synthetic for cell in cells),
        data_hashes={
            f"{cell.dataset}/{name}": digest for cell in cells for name, digest in cell.facts.data_hashes.items()
        },
        members=[
            {"model": cell.label, "weight": round(float(weight), 6), "temperature": round(temperature, 6), "runs": num}
            for cell, weight, temperature, num in members
        ],
    )


def _said(part: str, genre_of: "pd.Series[str]", genres: list[str], log_probs: NDArray[np.float64]) -> pd.DataFrame:
    """The columns of predictions.csv, from log-probabilities (track, genre) of the tracks of `genre_of`."""
    frame = pd.DataFrame({"track": genre_of.index, "part": part, "genre": genre_of.to_numpy()})
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
    """Members and vote on the same tracks, and the mean weights."""
    first = votes[0].result.facts
    right = np.concatenate(
        [
            np.vstack([vote.members_right, [vote.result.predictions["genre"] == vote.result.predictions["predicted"]]])
            for vote in votes
        ],
        axis=1,
    )
    bootstrap = ClusterBootstrap(np.concatenate([vote.result.group for vote in votes]))
    weight = np.mean([vote.weights for vote in votes], axis=0)
    rows = []
    for number, name in enumerate([*(cell.label for cell in cells), "ensemble"]):
        shown = weight[number] if number < len(weight) else np.nan
        rows.append({"model": name, "weight": shown, **bootstrap.mean(right[number]).columns("accuracy")})
    num_tracks = len({track for vote in votes for track in vote.result.predictions["track"]})
    title = f"{first.dataset_title}, split {first.split_label}: {len(votes)} votes on {num_tracks} tracks"
    columns = (
        Column("model", "model"),
        Column("weight", "weight", "decimal"),
        Column("accuracy", "accuracy %", "percent"),
    )
    return f"{title}\n{Table('ensemble', title, pd.DataFrame(rows), columns).text()}"
