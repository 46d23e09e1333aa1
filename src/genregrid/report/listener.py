"""Listening test: choose slices to play, read people's answers, and compare them with a model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genregrid.errors import UserError, counted
from genregrid.exhibit.spreadsheet import read_csv
from genregrid.exhibit.table import Section, Table, columns
from genregrid.metrics.comparison import mcnemar
from genregrid.metrics.interval import ClusterBootstrap
from genregrid.report.ambiguity import counts_table
from genregrid.report.cell import Cell
from genregrid.report.recording import Recordings

_MOST_PER_GENRE = 10
# as long as the excerpts of Perrot and Gjerdingen, with whose 70 % the paper compares itself
_EXCERPT_SECONDS = 3.0
_NEEDED = ("person", "track", "start_seconds", "guess", "model")
_MOST_PEOPLE = 100  # two tables each; a class of students has fewer
_FILE_HINT = "give the answers.csv that a listening test exports"


def listening_items(cells: Sequence[Cell], audio: Recordings) -> list[dict[str, Any]]:
    """Choose slices to play, one per track, from up to ten tracks per genre; none if no recording is known.

    The model has no leak. It takes single slices, as a person does, if there is such a model. Otherwise it takes
    sequences, and only the first slice is played. Keys are those of `listening` of `render_page`.
    """
    cell = _compared_cell(cells, audio)
    if cell is None:
        return []
    urls = audio[cell.dataset]
    timeline = cell.timeline[cell.timeline["track"].isin(urls)].sort_values(["run", "track", "slice"])
    timeline = timeline[timeline["run"] == timeline.groupby("track")["run"].transform("min")]
    if cell.takes_single_slices:
        timeline = timeline.sample(frac=1, random_state=0)  # first slices may all be introductions
    slices = timeline.drop_duplicates("track").sort_values("track")
    slices = slices.groupby("genre", group_keys=False).head(_MOST_PER_GENRE)
    keep = ["track", "start_seconds", "stop_seconds", "genre", "predicted", "certainty"]
    items = slices[keep].assign(audio=slices["track"].map(urls), model=cell.title)
    return [dict(row) for row in items.to_dict(orient="records")]


def listening_genres(cells: Sequence[Cell], items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the choices of the test: the genres of the items' model; none if there are no items."""
    return next((cell.genres for cell in cells if items and cell.title == items[0]["model"]), [])


def _compared_cell(cells: Sequence[Cell], audio: Recordings) -> Cell | None:
    honest = [cell for cell in cells if not (cell.leaks or cell.facts.synthetic)]
    known = [cell for cell in honest if cell.tracks & audio.get(cell.dataset, {}).keys()]
    known = [cell for cell in known if len(cell.timeline)]
    return min(known, key=lambda c: (not c.takes_single_slices, abs(c.slice_seconds - _EXCERPT_SECONDS)), default=None)


def read_answers(path: Path, cells: Sequence[Cell]) -> tuple[pd.DataFrame, list[str]]:
    """Read the answers of a listening test, and add the true genre and the model's prediction from the runs.

    Returns:
        Columns person, track, start_seconds, genre, guess, model, predicted; and notes.

    Raises:
        UserError: the file is no CSV of answers, or does not fit the runs.
    """
    try:
        answers = read_csv(path, text=(*_NEEDED, "genre", "predicted"), needed=_NEEDED)
    except UserError as error:
        raise _wrong(path, error.problem, hint=_FILE_HINT) from None
    if answers.empty:
        raise _wrong(path, "the file has no answers")
    answers["person"] = answers["person"].fillna("listener")
    if (num_people := answers["person"].nunique()) > _MOST_PEOPLE:
        raise _wrong(path, f"it has answers of {num_people} people, and a report has tables for {_MOST_PEOPLE}")
    answers["start_seconds"] = pd.to_numeric(answers["start_seconds"], errors="coerce")
    for name in _NEEDED:
        if (empty := answers[name].isna()).any():
            raise _wrong(path, f"line {int(empty.idxmax()) + 2} has no {name}")
    again = answers.duplicated(["person", "track", "start_seconds", "model"])
    twice = counted(int(again.sum()), f"slice of {path} has", f"slices of {path} have")
    notes = [f"{twice} two answers; the first one counts"] if again.any() else []
    answers = answers[~again].drop(columns=["genre", "predicted"], errors="ignore")
    return _with_truth(answers, path, {cell.title: cell for cell in cells}), notes


def _wrong(path: Path, problem: str, hint: str | None = None) -> UserError:
    return UserError(problem, key="human", value=path, hint=hint)


def _with_truth(answers: pd.DataFrame, path: Path, cells: Mapping[str, Cell]) -> pd.DataFrame:
    frames = []
    for title, own in answers.groupby("model"):
        if title not in cells:
            raise _wrong(path, f"these runs have no model '{title}', which the answers name", "give its runs")
        cell = cells[str(title)]
        if unknown := sorted(set(own["guess"]) - set(cell.genres)):
            raise _wrong(path, f"'{unknown[0]}' is not one of the genres {', '.join(cell.genres)}")
        timeline = cell.timeline.drop_duplicates(["track", "start_seconds"]).astype({"start_seconds": float})
        found = own.merge(timeline[["track", "start_seconds", "genre", "predicted"]], how="left")
        if found["genre"].isna().any():
            row = found[found["genre"].isna()].iloc[0]
            raise _wrong(path, f"the runs of '{title}' have no slice of {row['track']} at {row['start_seconds']:g} s")
        frames.append(found)
    kept = ["person", "track", "start_seconds", "genre", "guess", "model", "predicted"]
    return pd.concat(frames, ignore_index=True)[kept]


def listener_section(answers: pd.DataFrame, cells: Sequence[Cell]) -> Section:
    """Compare every person with the model on the same slices, and show both confusion matrices."""
    exhibits = [people_table(answers)]
    for (person, model), own in answers.groupby(["person", "model"]):
        genres = next(cell.genres for cell in cells if cell.title == model)
        for who, column in ((str(person), "guess"), (f"{model}, the same slices", "predicted")):
            counts = pd.crosstab(own["genre"], own[column]).reindex(index=genres, columns=genres, fill_value=0)
            name, title = f"listener_{len(exhibits)}", f"Confusion: {who}"
            exhibits.append(counts_table(counts.to_numpy(np.int64), genres, name, title, {"who": who}))
    text = (
        "Answers of people who listened to single slices, and the model's predictions for the same slices. People who "
        "know the corpus, or learn from the answers that the test shows, are better than other listeners."
    )
    return Section("people", "People on the same slices", text, tuple(exhibits))


def people_table(answers: pd.DataFrame) -> Table:
    """Show the accuracy of every person and of the model on the same slices, and their difference."""
    rows = []
    for (person, model), own in answers.groupby(["person", "model"]):
        person_right = (own["guess"] == own["genre"]).to_numpy()
        model_right = (own["predicted"] == own["genre"]).to_numpy()
        cluster = pd.factorize(own["track"])[0]
        bootstrap = ClusterBootstrap(cluster, unit="track")
        row = {"person": person, "model": model, "num": len(own)}
        row |= bootstrap.mean(person_right).columns("accuracy") | bootstrap.mean(model_right).columns("model_accuracy")
        row |= bootstrap.difference(person_right, model_right).columns("difference")
        rows.append(row | {"p": mcnemar(person_right, model_right, cluster).p_value})
    shown = columns(person="person", model="model") + columns("count", num="slices")
    shown += columns("percent", accuracy="person %", model_accuracy="model %")
    shown += columns("points", difference="person minus model, points") + columns("p", p="p (McNemar)")
    note = (
        "The share of slices with the right genre, and the difference in percentage points, with 95 % intervals that "
        "resample tracks. p is the probability of a difference at least as large if both were equally good."
    )
    return Table("people", "People and the model", pd.DataFrame(rows), tuple(shown), note)
