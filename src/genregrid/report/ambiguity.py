"""Which genres are taken for which, and which tracks are always taken for another."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.exhibit.figure import genre_tree, timeline
from genregrid.exhibit.table import Column, Exhibit, Figure, Section, Table
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell
from genregrid.report.doubt import doubts_of
from genregrid.report.leaderboard import PLACE, best_cells, honest_cells, place
from genregrid.report.recording import Recordings

#: Confusion matrices and timelines are shown of so many cells, the best of each corpus and protocol first.
_MOST_CELLS = 12
#: Mistakes and hits shown of each cell.
_MOST_TRACKS = 10


def ambiguity_section(cells: Sequence[Cell], audio: Recordings, reference: Reference | None) -> Section:
    """Confusions, the genre tree, sure mistakes, unsure hits, tracks that no model gets right, and timelines.

    Args:
        cells: of the grid.
        audio: URLs of recordings.
        reference: published figures; it may name tracks to look at.
    """
    best = best_cells(cells)
    shown = [*best, *(cell for cell in cells if cell not in best)][:_MOST_CELLS]
    exhibits: list[Exhibit] = [_tree(cell, number) for number, cell in enumerate(honest_cells(cells))]
    exhibits += [confusion_table(cell, f"confusion_{number}") for number, cell in enumerate(shown)]
    exhibits.append(extremes_table(shown, audio))
    for number, cell in enumerate(honest_cells(cells)):
        honest = [other for other in cells if other.dataset == cell.dataset and not other.leaks]
        name = f"agreement_{number}" if number else "agreement"
        exhibits.append(agreement_table(honest, name, audio))
        exhibits += _timelines(cell, number, reference)
    if reference is not None and (named := named_table(cells, reference)) is not None:
        exhibits.append(named)
    text = (
        "Rows of a confusion matrix are true genres and add up to 100 %; counts stand in brackets. The tree joins "
        "genres that are often taken for each other. A track that every model, honest fold and seed gets wrong may be "
        "mislabelled, or be hard, or not sound like its genre: listen to it."
    )
    return Section("ambiguity", "Which genres, and which tracks, are taken for others", text, tuple(exhibits))


def confusion(cell: Cell) -> NDArray[np.int64]:
    """Counts of pooled test tracks, (true genre, predicted genre) int64."""
    table = pd.crosstab(cell.predictions["genre"], cell.predictions["predicted"])
    return np.asarray(table.reindex(index=cell.genres, columns=cell.genres, fill_value=0), np.int64)


def confusion_table(cell: Cell, name: str) -> Table:
    """The confusion matrix of a cell, row-normalised, with counts."""
    where = {"dataset": cell.dataset, "split": cell.split, "model": cell.label}
    return counts_table(confusion(cell), cell.genres, name, f"Confusion: {cell.title}", where)


def counts_table(
    counts: NDArray[np.int64], genres: Sequence[str], name: str, title: str, where: Mapping[str, str]
) -> Table:
    """A confusion matrix (true genre, predicted genre) of counts, row-normalised; rows without tracks stay empty.

    Columns of the frame are those of `where`, genre, num, and for each predicted genre ``as <genre>`` and
    ``as <genre>_num``.
    """
    num = counts.sum(axis=1)
    share = counts / np.where(num > 0, num, np.nan)[:, None]
    values: dict[str, object] = {**where, "genre": list(genres), "num": num}
    for column, genre in enumerate(genres):
        values |= {f"as {genre}": share[:, column], f"as {genre}_num": counts[:, column]}
    columns = (
        Column("genre", "true genre"),
        Column("num", "n", "count"),
        *(Column(f"as {genre}", genre, "share") for genre in genres),
    )
    return Table(
        name,
        title,
        pd.DataFrame(values),
        columns,
        "Per cent of the true genre's tracks that are taken for each. n counts a track once per run that tested it.",
    )


def _tree(cell: Cell, number: int) -> Figure:
    name = f"genre_tree_{number}" if number else "genre_tree"
    title = f"Genres by mutual confusion: {cell.label}, {cell.dataset}, {cell.split}"
    return genre_tree(name, confusion(cell), cell.genres, title=title)


def extremes_table(cells: Sequence[Cell], audio: Recordings) -> Table:
    """The most certain mistakes and the least certain hits of every cell, with the three genres named first."""
    frames = []
    for cell in cells:
        said = cell.predictions.assign(**place(cell))
        mistakes = said[~cell.correct].nlargest(_MOST_TRACKS, "certainty").assign(kind="sure mistake")
        hits = said[cell.correct].nsmallest(_MOST_TRACKS, "certainty").assign(kind="unsure hit")
        frames += [mistakes, hits]
    frame = pd.concat(frames, ignore_index=True)
    keep = ["kind", "dataset", "split", "model", "track", "genre", "predicted", "second", "third", "certainty"]
    frame = frame[[name for name in [*keep, "fold", "seed"] if name in frame]]
    columns = [Column("kind", "kind"), *PLACE, Column("track", "track"), Column("genre", "true genre")]
    columns += [Column(name, title) for name, title in _SAID.items() if name in frame]
    columns += [Column("certainty", "certainty, decades", "decimal")]
    columns += [Column("fold", "fold", "count"), Column("seed", "seed", "count")]
    table = Table("extremes", "Sure mistakes and unsure hits", frame, tuple(columns))
    return _with_audio(table, frame["dataset"], audio)


_SAID = {"predicted": "taken for", "second": "second", "third": "third"}


def _with_audio(table: Table, datasets: Iterable[str], audio: Recordings) -> Table:
    """The table with a player for each track whose recording is known; `datasets` are the corpora of its rows."""
    urls = [audio.get(dataset, {}).get(track) for dataset, track in zip(datasets, table.frame["track"], strict=True)]
    if not any(urls):
        return table
    columns = (*table.columns, Column("audio", "listen", "audio"))
    return Table(table.name, table.title, table.frame.assign(audio=urls), columns, table.note)


def agreement(cells: Sequence[Cell]) -> pd.DataFrame:
    """How cells of one corpus agree on each track, over models, folds and seeds; the least often right first.

    Returns:
        Columns track, genre, num (verdicts), right (share of them), said (the most frequent verdict), said_share.
    """
    verdicts = pd.concat([cell.predictions[["track", "genre", "predicted"]] for cell in cells], ignore_index=True)
    counts = verdicts.value_counts(["track", "genre", "predicted"]).rename("count").reset_index()
    counts["right"] = counts["count"].where(counts["genre"] == counts["predicted"], 0)
    by_track = counts.groupby(["track", "genre"], sort=True)
    frame = by_track[["count", "right"]].sum().rename(columns={"count": "num"})
    most = counts.sort_values(["count", "predicted"], ascending=[False, True]).drop_duplicates(["track", "genre"])
    frame[["said", "said_count"]] = most.set_index(["track", "genre"])[["predicted", "count"]]
    frame["right"] /= frame["num"]
    frame["said_share"] = frame.pop("said_count") / frame["num"]
    return frame.reset_index().sort_values(
        ["right", "said_share", "track"], ascending=[True, False, True], ignore_index=True
    )


def agreement_table(cells: Sequence[Cell], name: str, audio: Recordings) -> Table:
    """How often each track is taken for its genre, by every model, fold and seed of the honest protocols."""
    frame = agreement(cells)
    doubts = doubts_of(cells)
    frame["doubt"] = [doubts.get(track, "") for track in frame["track"]]
    never = frame["right"] == 0
    columns = [
        Column("track", "track"),
        Column("genre", "label"),
        Column("num", "verdicts", "count"),
        Column("right", "right %", "percent"),
        Column("said", "most often taken for"),
        Column("said_share", "by %", "percent"),
    ]
    by = "one cell" if len(cells) == 1 else f"{len(cells)} cells"
    note = f"{int(never.sum())} of {len(frame)} tracks are never taken for their genre, by {by}."
    if (frame["doubt"] != "").any():
        columns.append(Column("doubt", "known against it"))
        note = " ".join([note, *_against(frame["doubt"], never)])
    title = f"Tracks by how often they are taken for their genre: {cells[0].dataset}"
    datasets = [cells[0].dataset] * len(frame)
    return _with_audio(Table(name, title, frame, tuple(columns), note), datasets, audio)


def _against(doubt: "pd.Series[str]", never: "pd.Series[bool]") -> Iterator[str]:
    """How often tracks with something known against them are never taken for their genre, reason by reason."""
    kinds = {"one sound under two labels": doubt.str.contains("the same sound as")}
    kinds |= {"left out of the published lists": doubt.str.contains("left out of the published lists")}
    kinds |= {"distorted": doubt.str.contains("distorted"), "nothing known against them": doubt == ""}
    for kind, own in kinds.items():
        if own.any():
            yield f"{kind[0].upper()}{kind[1:]}: {int(never[own].sum())} of {int(own.sum())} tracks never are."


def named_table(cells: Sequence[Cell], reference: Reference) -> Table | None:
    """What every honest cell says of the tracks that a publication names; none where no cell knows them."""
    rows = []
    for cell in cells:
        if cell.leaks:
            continue
        for track, said in _named(cell, reference).items():
            own = cell.predictions[cell.predictions["track"] == track]
            if len(own):
                mean = np.exp(cell.log_probs[own.index]).mean(axis=0)
                first = np.argsort(-mean, kind="stable")[:3]
                ours = ", ".join(f"{cell.genres[number]} {100 * mean[number]:.0f} %" for number in first)
                row = place(cell) | {"track": track, "printed": said, "ours": ours, "num": len(own)}
                rows.append(row | {"right": float(cell.correct[own.index].mean())})
    if not rows:
        return None
    columns = (
        Column("track", "track"),
        Column("printed", f"the {reference.name}: taken for"),
        *PLACE,
        Column("ours", "ours: mean probabilities"),
        Column("num", "runs", "count"),
        Column("right", "right %", "percent"),
    )
    return Table(
        "named",
        f"Tracks that the {reference.name} discusses",
        pd.DataFrame(rows).sort_values("track", kind="stable"),
        columns,
    )


def _named(cell: Cell, reference: Reference) -> dict[str, str]:
    """What a publication says of tracks of the cell's corpus, by name; a synthetic twin has other tracks."""
    own = reference.named[reference.named["corpus"] == cell.corpus]
    return {} if cell.facts.synthetic else dict(zip(own["track"], own["taken_for"], strict=True))


def _timelines(cell: Cell, number: int, reference: Reference | None) -> list[Figure]:
    """Timelines of the surest mistake and the least sure hit of a cell, and of tracks that a publication names."""
    if cell.timeline.empty or cell.timeline.groupby(["run", "track"]).size().max() < 2:  # one slice is no line
        return []
    frame = cell.predictions
    rows = [frame.loc[~cell.correct, "certainty"].idxmax()] if not cell.correct.all() else []
    rows += [frame.loc[cell.correct, "certainty"].idxmin()] if cell.correct.any() else []
    if reference is not None:
        rows += list(frame[frame["track"].isin(_named(cell, reference))].drop_duplicates("track").index)
    heard = set(zip(cell.timeline["run"], cell.timeline["track"], strict=True))
    rows = [row for row in rows if (frame.at[row, "run"], frame.at[row, "track"]) in heard]
    return [_timeline(cell, row, f"timeline_{number}_{rank}") for rank, row in enumerate(rows)]


def _timeline(cell: Cell, row: int, name: str) -> Figure:
    verdict = cell.predictions.loc[row]
    heard = cell.timeline[(cell.timeline["run"] == verdict["run"]) & (cell.timeline["track"] == verdict["track"])]
    probs = heard[[f"p_{genre}" for genre in cell.genres]].to_numpy(np.float64)
    start, stop = (heard[f"{edge}_seconds"].to_numpy(np.float64) for edge in ("start", "stop"))
    figure = timeline(name, start, stop, probs, cell.genres, verdict["genre"])
    what = {1: "each slice by itself", "track": "the track as far as it was heard"}.get(
        cell.facts.settings.get("window", "track"), "the last slices that were heard"
    )
    title = f"{verdict['track']} slice by slice: {verdict['genre']}, taken for {verdict['predicted']}"
    return Figure(name, title, figure.svg, figure.alt, f"{cell.title}; {what}.")
