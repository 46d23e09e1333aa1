"""The vote of finished runs as one checkpoint, which scores recordings and tables."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from genregrid.config import NO_TEST, SplitConfig
from genregrid.errors import UserError, counted
from genregrid.files import folder_name
from genregrid.final.card import card_of
from genregrid.models.base import GenreClassifier
from genregrid.models.trained import load_checkpoint
from genregrid.models.vote import Vote
from genregrid.record.facts import Provenance, start_facts
from genregrid.record.folder import BEST_CHECKPOINT, RunFolder
from genregrid.record.untested import Untested
from genregrid.report.cell import Cell, read_grid
from genregrid.training.resume import write_checkpoint

#: Begins the line that names the checkpoint of a vote.
CHECKPOINT_LINE = "checkpoint of the vote: "
# What all members must share, as they are given the same slices.
_SHARED = ("genres", "feature_names", "slice_seconds")


class _Member(NamedTuple):
    model: GenreClassifier
    trained: Provenance
    temperature: float
    weight: float


def write_votes(runs: list[Path], folder: Path) -> Iterator[str]:
    """Write a checkpoint of the votes of each corpus and protocol that `report.ensemble` wrote below a folder.

    All runs of all folds vote: together they were trained on every track. The card has the score of the votes of single
    folds, whose members were not trained on the tracks that they were tested on.

    Args:
        runs: folders of the members.
        folder: of the votes; the checkpoint is in a run folder beside theirs.

    Yields:
        A line to print for each: the folder, or why no checkpoint can be made.
    """
    cells, _ = read_grid(*runs)
    votes, _ = read_grid(folder)
    for vote in votes:
        try:
            path = _write(vote, [cell for cell in cells if cell.facts.members is None], folder)
        except UserError as error:
            yield f"no checkpoint of the vote on {vote.dataset_title}, {vote.split}: {str(error).rstrip('.')}"
        else:
            yield f"{CHECKPOINT_LINE}{path / BEST_CHECKPOINT}"


def _write(vote: Cell, cells: list[Cell], folder: Path) -> Path:
    members = list(_members(vote, cells))
    first = members[0]
    for other in members[1:]:
        for name in _SHARED:
            if getattr(other.model, name) != getattr(first.model, name):
                raise UserError(f"its members have different {name.replace('_', ' ')}", key="ensemble")
        if other.trained.source_slice_seconds != first.trained.source_slice_seconds:
            raise UserError("the slices of its members are pooled from different ones", key="ensemble")
    model = _voting_model(members)
    tracks = sorted({track for member in members for track in member.trained.known_tracks})
    card = card_of(vote)
    facts = replace(
        vote.facts,
        **start_facts(),
        recipe=first.trained.facts.recipe,
        protocol=NO_TEST,
        folds=1,
        fold=0,
        val_folds=None,
        num_tracks={"train": len(tracks), "val": 0, "test": 0},
    )
    provenance = replace(
        first.trained,
        facts=facts,
        split=SplitConfig(protocol=NO_TEST),
        window=None,
        hop_slices=None,
        tracks={"train": tracks, "val": [], "test": []},
        seen=sorted({one for member in members for one in member.trained.seen}),
        window_slices=max(member.trained.window_slices for member in members),
        card=card,
        map=None,
    )
    model.provenance = provenance.to_json()
    path = folder / folder_name(vote.dataset) / folder_name(f"ensemble-{vote.split}-all")
    path.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(content)
    write_checkpoint(content, path / BEST_CHECKPOINT)
    notes = [f"{counted(len(members), 'run')} of all folds vote"]
    Untested(facts, pd.DataFrame(), pd.DataFrame(), card, notes).write(path)
    return path


def _members(vote: Cell, cells: list[Cell]) -> Iterator[_Member]:
    """Yield the runs that vote, each with its share of the weight that its model has in the vote of its fold.

    Raises:
        UserError: a run has no checkpoint any more, or it is not sound.
    """
    for run in vote.runs.itertuples():
        voting = RunFolder(Path(str(run.folder))).content.get("members") or []
        for one in voting:
            of_model = [
                c for c in cells if c.label == one["model"] and (c.dataset, c.split) == (vote.dataset, vote.split)
            ]
            if len(of_model) != 1:
                raise UserError(f"{one['model']} is not one model of these runs", key="ensemble")
            own = of_model[0].runs
            own = own[(own["fold"] == run.fold) & (own["split_seed"] == run.split_seed)]
            for path in own["folder"]:
                if not (Path(path) / BEST_CHECKPOINT).is_file():
                    raise UserError("it has no checkpoint any more", key=path)
                model = load_checkpoint(Path(path))
                share = float(one["weight"]) / len(own) / len(vote.runs)
                yield _Member(model, Provenance.of(model, path), float(one["temperature"]), share)


def _voting_model(members: list[_Member]) -> Vote:
    """Build the model of a vote, with the weights of its members."""
    described = [
        {
            "model_class": f"{type(one.model).__module__}.{type(one.model).__qualname__}",
            "arguments": {name: value for name, value in one.model.hparams.items() if name not in _SHARED},
            "window": one.trained.window,
            "hop_slices": one.trained.hop_slices,
            "temperature": one.temperature,
            "weight": one.weight,
        }
        for one in members
    ]
    shared = {name: getattr(members[0].model, name) for name in _SHARED}
    model = Vote(members=described, **shared)
    for own, one in zip(model.members, members, strict=True):
        own.load_state_dict(one.model.state_dict())
    return model.eval()
