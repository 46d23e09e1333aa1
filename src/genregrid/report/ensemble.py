"""Ensembles of finished runs: one soft vote per test part, written as a run folder like any other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from genregrid.errors import UserError
from genregrid.metrics.calibration import fit_temperature, rescale
from genregrid.metrics.interval import ClusterBootstrap
from genregrid.metrics.score import confusion_matrix, scores
from genregrid.metrics.soft_vote import mixture_weights
from genregrid.report.exhibit import Column, Table
from genregrid.report.facts import origin
from genregrid.report.grid import Cell, genre_numbers, log_probs_of, read_grid, read_run_csv
from genregrid.report.result import Result, said_columns

#: Validation rows, imagined, that favour no member.
_PRIOR_ROWS = 20.0


@dataclass(frozen=True)
class Member:
    """What one model says on one division of the tracks: the mean of its runs there.

    Attributes:
        cell: the runs of its grid.
        test: mean probabilities by test track, columns by genre; of runs with other seeds or validation folds.
        validation: the same by validation track; each is told by those runs only that did not learn from it.
    """

    cell: Cell
    test: pd.DataFrame
    validation: pd.DataFrame


def ensemble(folders: Sequence[str], folder: Path) -> str:
    """Let the runs below some folders vote together, and write one run folder for each fold and seed of their splits.

    The members of a vote are the models (cells) of these folders that share corpus, protocol, fold and split seed; runs
    of one model that differ in seed or in validation fold are averaged first. Each member's probabilities are brought
    to its validation temperature, and their weights make the validation tracks likeliest. A test track counts if every
    member tested it, so that none has learnt from it.

    Args:
        folders: of runs, as for ``runs=``.
        folder: where the run folders go; made if missing.

    Returns:
        What to print: accuracies of members and vote on the same tracks, and mean weights.

    Raises:
        UserError: a folder without runs, no two runs that go together, or runs without validation predictions.
    """
    for name in folders:
        if not Path(name).is_dir():
            raise UserError(f"ensemble={name} is not a folder: give folders of runs, such as that of a multirun.")
    cells, notes = read_grid(*map(Path, folders))
    voted = [cell for cell in cells if "members" in cell.facts]
    notes += [f"{cell.title} is a vote already and has none here" for cell in voted]
    text = []
    for group in _peers([cell for cell in cells if "members" not in cell.facts]):
        votes = [vote for division in _divisions(group) if (vote := _vote(group, division, notes)) is not None]
        for vote in votes:
            vote.result.write(_make_folder(vote.result.facts, folder))
        if votes:
            text.append(_summary(group, votes))
    if not text:
        raise UserError("ensemble: no two runs share a corpus, a protocol, a fold and a split seed, so none can vote.")
    return "\n\n".join([*text, *notes])


@dataclass(frozen=True)
class _Vote:
    """One division's vote: the result, each member's weight, and whether each member and the vote were right."""

    result: Result
    weights: NDArray[np.float64]
    members_right: NDArray[np.bool_]  # (member, track)


def _make_folder(facts: dict[str, Any], folder: Path) -> Path:
    """The run folder of one vote, with what reports read of its corpus."""
    name = f"ensemble-{facts['split_label']}-fold{facts['fold']}-seed{facts['seed']}"
    path = folder / str(facts["dataset_label"]) / name
    path.mkdir(parents=True, exist_ok=True)
    config = {"dataset": {"corpus": facts["corpus"], "name": facts["dataset"], "root": facts["root"]}}
    OmegaConf.save(OmegaConf.create(config), path / "config.yaml")
    return path


def _peers(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Cells of one corpus and protocol, with the same genres and number of folds."""
    peers: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        if not cell.trained_on:  # a checkpoint scored elsewhere has no validation tracks there
            key = (cell.corpus or cell.dataset, cell.split, tuple(cell.genres), cell.facts["folds"])
            peers.setdefault(key, []).append(cell)
    yield from peers.values()


def _divisions(cells: Sequence[Cell]) -> list[tuple[int, int]]:
    """Fold and split seed of every division that some cell has."""
    runs = pd.concat([cell.runs for cell in cells]) if cells else pd.DataFrame(columns=["fold", "split_seed"])
    pairs = runs[["split_seed", "fold"]].drop_duplicates().sort_values(["split_seed", "fold"])
    return [(int(fold), int(seed)) for seed, fold in pairs.itertuples(index=False)]


def _vote(cells: Sequence[Cell], division: tuple[int, int], notes: list[str]) -> _Vote | None:
    fold, split_seed = division
    members = [member for cell in cells if (member := _member(cell, fold, split_seed)) is not None]
    where = f"fold {fold}, split seed {split_seed}"
    if len(members) < len(cells):
        lacking = [cell.label for cell in cells if all(cell is not member.cell for member in members)]
        notes.append(f"{where}: {lacking[0]} has no run, and the others do not vote there")
        return None
    num_runs = sum(_on_division(cell, fold, split_seed).sum() for cell in cells)
    if num_runs < 2:
        return None
    genres = cells[0].genres
    tracks = _shared([member.test for member in members])
    if not tracks:
        raise UserError(f"{where}: no test track is shared by all members, so there is nothing to vote on.")
    num_more = max(len(member.test) for member in members) - len(tracks)
    notes += [f"{where}: {num_more} tracks that not every member tested were left out"] if num_more else []
    known = _shared([member.validation for member in members])
    if not known:
        raise UserError(f"{where}: no validation track is shared by all members, so their weights cannot be fitted.")
    said = [frame[["track", "genre"]] for cell in cells for frame in (cell.predictions, cell.validation)]
    genre_of = pd.concat(said).drop_duplicates("track").set_index("track")
    target = genre_numbers(genre_of.loc[known], genres)
    temperatures = [fit_temperature(log_probs_of(member.validation.loc[known]), target) for member in members]
    test, validation = (
        np.stack(
            [
                np.exp(rescale(log_probs_of(frame), temperature))
                for frame, temperature in zip(frames, temperatures, strict=True)
            ]
        )
        for frames in ([m.test.loc[tracks] for m in members], [m.validation.loc[known] for m in members])
    )
    weights = mixture_weights(validation, target, _PRIOR_ROWS)
    facts = _facts(cells, members, weights, temperatures, fold, split_seed, int(num_runs))
    said_of = {
        part: _said(part, genre_of.loc[names], genres, np.tensordot(weights, probs, axes=1))
        for part, names, probs in (("test", tracks, test), ("val", known, validation))
    }
    split = read_run_csv(_folder_of(cells[0], fold, split_seed) / "split.csv")
    result = _result(facts, genres, said_of["test"], said_of["val"], split)
    return _Vote(result, weights, test.argmax(axis=2) == genre_numbers(genre_of.loc[tracks], genres))


def _on_division(cell: Cell, fold: int, split_seed: int) -> "pd.Series[bool]":
    return (cell.runs["fold"] == fold) & (cell.runs["split_seed"] == split_seed)


def _member(cell: Cell, fold: int, split_seed: int) -> Member | None:
    runs = cell.runs.loc[_on_division(cell, fold, split_seed), "run"]
    if runs.empty:
        return None
    if cell.validation.empty:
        raise UserError(
            f"{cell.title}: its runs have no predictions_val.csv, on which weights are fitted; run it again."
        )
    said = (cell.predictions, cell.validation)
    return Member(cell, *(_mean_probs(frame[frame["run"].isin(runs)]) for frame in said))


def _mean_probs(frame: pd.DataFrame) -> pd.DataFrame:
    columns = [name for name in frame if name.startswith("p_")]
    probs: pd.DataFrame = frame.groupby("track")[columns].mean()
    return probs


def _shared(frames: Sequence[pd.DataFrame]) -> list[str]:
    return sorted(set.intersection(*(set(frame.index) for frame in frames)))


def _facts(
    cells: Sequence[Cell],
    members: Sequence[Member],
    weights: NDArray[np.float64],
    temperatures: Sequence[float],
    fold: int,
    split_seed: int,
    num_runs: int,
) -> dict[str, Any]:
    """The content of run.json: what the members have in common, and who they are."""
    first = cells[0]
    labels = list(dict.fromkeys(cell.dataset for cell in cells))
    split = read_run_csv(_folder_of(first, fold, split_seed) / "split.csv")
    return first.facts | {
        **origin(),
        "model": "ensemble",
        "dataset_label": "+".join(labels),
        "fold": fold,
        "seed": split_seed,
        "split_seed": split_seed,
        "val_fold": 0,
        "num_tracks": {str(part): int(num) for part, num in split["part"].value_counts().items()},
        "settings": {"members": " + ".join(sorted(cell.label for cell in cells))},
        "synthetic": any(cell.facts["synthetic"] for cell in cells),
        "data_hashes": {name: digest for cell in cells for name, digest in cell.facts["data_hashes"].items()},
        "corpus": first.corpus,
        "root": first.config.get("dataset", {}).get("root", ""),
        "members": [
            {"model": member.cell.label, "weight": round(float(weight), 6), "temperature": round(temperature, 6)}
            for member, weight, temperature in zip(members, weights, temperatures, strict=True)
        ],
        "num_runs": num_runs,
    }


def _folder_of(cell: Cell, fold: int, split_seed: int) -> Path:
    return Path(cell.runs.loc[_on_division(cell, fold, split_seed), "folder"].iloc[0])


def _said(part: str, genre_of: pd.DataFrame, genres: list[str], probs: NDArray[np.float64]) -> pd.DataFrame:
    """The columns of predictions.csv, from probabilities (track, genre) of the tracks of `genre_of`."""
    frame = pd.DataFrame({"track": genre_of.index, "part": part, "genre": genre_of["genre"].to_numpy()})
    return frame.assign(**said_columns(np.log(probs).astype(np.float32), genres))


def _result(
    facts: dict[str, Any], genres: list[str], predictions: pd.DataFrame, validation: pd.DataFrame, split: pd.DataFrame
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
    title = f"{first['dataset_label']}, split {first['split_label']}: {len(votes)} votes on {num_tracks} tracks"
    columns = (
        Column("model", "model"),
        Column("weight", "weight", "decimal"),
        Column("accuracy", "accuracy %", "percent"),
    )
    return f"{title}\n{Table('ensemble', title, pd.DataFrame(rows), columns).text()}"
