"""Confusions between genres, and tracks that models predict wrongly."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.exhibit.figure import Caption, genre_tree, timeline
from genregrid.exhibit.mark import Mark, union
from genregrid.exhibit.table import Exhibit, Figure, Section, Table, columns
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell
from genregrid.report.doubt import doubts_of
from genregrid.report.recording import Recordings
from genregrid.report.rows import best_cells, cell_row, cell_table, honest_cells, numbered

#: Number of cells with a confusion matrix, the best of each corpus and protocol first.
_MOST_CELLS = 12
#: Number of wrong and of right predictions listed per cell.
_MOST_TRACKS = 10


def ambiguity_section(cells: Sequence[Cell], audio: Recordings, reference: Reference | None) -> Section:
    """Show confusions, the genre tree, certain mistakes, tracks that no model gets right, and timelines."""
    best = best_cells(cells)
    shown = [*best, *(cell for cell in cells if cell not in best)][:_MOST_CELLS]
    honest = honest_cells(cells)
    exhibits: list[Exhibit] = []
    for number, cell in enumerate(honest):
        caption = Caption(numbered("genre_tree", number), f"Genres by mutual confusion: {cell.title}", cell.marks)
        exhibits.append(genre_tree(caption, confusion(cell), cell.genres))
    for number, cell in enumerate(shown):
        name, title = f"confusion_{number}", f"Confusion: {cell.title}"
        exhibits.append(counts_table(confusion(cell), cell.genres, name, title, cell_row(cell), cell.marks))
    exhibits.append(extremes_table(shown, audio))
    for number, cell in enumerate(honest):
        own = [other for other in cells if other.dataset == cell.dataset and not other.leaks]
        exhibits.append(agreement_table(own, numbered("agreement", number), audio))
        exhibits += _timelines(cell, number, reference)
    if reference is not None and (named := named_table(cells, reference)) is not None:
        exhibits.append(named)
    text = (
        "A confusion matrix shows which genres are predicted for each true genre; the tree joins genres that are often "
        "confused. Listen to a track that every model, fold and seed without a leak predicts wrongly: its label may be "
        "wrong, or it may not sound like its genre."
    )
    return Section("ambiguity", "Which genres and tracks are confused", text, tuple(exhibits))


def confusion(cell: Cell) -> NDArray[np.int64]:
    """Count pooled test tracks, (true genre, predicted genre) int64."""
    table = pd.crosstab(cell.predictions["genre"], cell.predictions["predicted"])
    return np.asarray(table.reindex(index=cell.genres, columns=cell.genres, fill_value=0), np.int64)


def counts_table(
    counts: NDArray[np.int64],
    genres: Sequence[str],
    name: str,
    title: str,
    where: Mapping[str, object],
    marks: Sequence[Mark] = (),
) -> Table:
    """Show a confusion matrix (true genre, predicted genre) of counts as shares of its rows, after columns `where`."""
    num = counts.sum(axis=1)
    share = counts / np.where(num > 0, num, np.nan)[:, None]
    values: dict[str, object] = {**where, "genre": list(genres), "num": num}
    shown = [*columns(genre="true genre"), *columns("count", num="n")]
    end = "_" if {f"{genre}_num" for genre in genres} & {*genres} else ""  # else a count would replace a share
    for column, genre in enumerate(genres):
        values |= {f"as {genre}{end}": share[:, column], f"as {genre}{end}_num": counts[:, column]}
    shown += columns("share", **{f"as {genre}{end}": genre for genre in genres})
    note = (
        "A row is a true genre, a column a predicted genre. A cell is the share of the row's tracks with that "
        "prediction, in per cent, and their number in brackets. n counts a track once per run that tested it."
    )
    return Table(name, title, pd.DataFrame(values), tuple(shown), note, [marks] * len(genres))


def extremes_table(cells: Sequence[Cell], audio: Recordings) -> Table:
    """List the most certain wrong and the least certain right predictions of every cell, with three genres each."""
    names = {"track": "track", "genre": "true genre", "predicted": "predicted", "second": "second", "third": "third"}
    keep = {name: title for name, title in names.items() if any(name in cell.predictions for cell in cells)}
    rows = []
    for cell in cells:
        frame = cell.predictions
        chosen = {
            "sure mistake": frame[~cell.correct].nlargest(_MOST_TRACKS, "certainty"),
            "unsure hit": frame[cell.correct].nsmallest(_MOST_TRACKS, "certainty"),
        }
        for kind, part in chosen.items():
            records = part.reindex(columns=[*keep, "certainty", "fold", "seed"]).to_dict(orient="records")
            rows += [(cell, {"kind": kind, **{str(name): value for name, value in row.items()}}) for row in records]
    shown = columns(**keep) + columns("decimal", certainty="certainty, decades")
    shown += columns("count", fold="fold", seed="seed")
    note = (
        f"Of each cell, up to {_MOST_TRACKS} wrong predictions with the largest certainty and right ones with the "
        "smallest, one per track and run. Certainty is log10 of the ratio of the two largest probabilities."
    )
    table = cell_table("extremes", "Sure mistakes and unsure hits", rows, shown, note, first=columns(kind="kind"))
    return _with_audio(table, table.frame["dataset"], audio)


def _with_audio(table: Table, datasets: Iterable[str], audio: Recordings) -> Table:
    """Add a player for each track with a known recording; `datasets` are the corpora of the rows."""
    urls = [audio.get(dataset, {}).get(track) for dataset, track in zip(datasets, table.frame["track"], strict=True)]
    if not any(urls):
        return table
    return replace(
        table, frame=table.frame.assign(audio=urls), columns=(*table.columns, *columns("audio", audio="listen"))
    )


def agreement(cells: Sequence[Cell]) -> pd.DataFrame:
    """Count how cells of one corpus agree on each track over models, folds and seeds, least often right first.

    Columns are track, genre, num (predictions), right (their share), said (the most frequent prediction), said_share.
    """
    every = pd.concat([cell.predictions[["track", "genre", "predicted"]] for cell in cells], ignore_index=True)
    counts = every.value_counts(["track", "genre", "predicted"]).rename("count").reset_index()
    counts["right"] = counts["count"].where(counts["genre"] == counts["predicted"], 0)
    frame = counts.groupby(["track", "genre"], sort=True)[["count", "right"]].sum().rename(columns={"count": "num"})
    most = counts.sort_values(["count", "predicted"], ascending=[False, True]).drop_duplicates(["track", "genre"])
    frame[["said", "said_share"]] = most.set_index(["track", "genre"])[["predicted", "count"]]
    for share in ("right", "said_share"):
        frame[share] /= frame["num"]
    order = {"right": True, "said_share": False, "track": True}
    return frame.reset_index().sort_values(list(order), ascending=list(order.values()), ignore_index=True)


def agreement_table(cells: Sequence[Cell], name: str, audio: Recordings) -> Table:
    """List how often each track is predicted rightly by every model, fold and seed of protocols without a leak."""
    frame, doubts = agreement(cells), doubts_of(cells)
    known = [doubts.get(track, []) for track in frame["track"]]
    frame["doubt"] = ["; ".join(doubt.text for doubt in own) for own in known]
    never = frame["right"] == 0
    shown = columns(track="track", genre="label") + columns("count", num="predictions")
    shown += columns("percent", right="right %") + columns(said="most frequent prediction")
    shown += columns("percent", said_share="its share %")
    by = "one cell" if len(cells) == 1 else f"{len(cells)} cells"
    note = f"{int(never.sum())} of {len(frame)} tracks are never predicted as their label, by {by}."
    if doubts:
        shown += columns(doubt="known problem")
        kinds = [{doubt.kind for doubt in own} or {"no known problem"} for own in known]
        for kind in [*sorted({doubt.kind for own in known for doubt in own}), "no known problem"]:
            has_kind = np.array([kind in own for own in kinds])
            note += f" {kind.capitalize()}: {int(never[has_kind].sum())} of {int(has_kind.sum())} tracks never are."
    title = f"Tracks by how often their label is predicted: {cells[0].dataset_title}"
    marks = union(cell.marks for cell in cells)
    table = Table(name, title, frame, tuple(shown), note, [marks] * len(frame))
    return _with_audio(table, [cells[0].dataset] * len(frame), audio)


def named_table(cells: Sequence[Cell], reference: Reference) -> Table | None:
    """Show the predictions of every cell without a leak for tracks that a publication discusses; ``None`` if none."""
    rows = []
    for cell in (cell for cell in cells if not cell.leaks):
        for track, printed in _named_tracks(cell, reference).items():
            own = cell.predictions[cell.predictions["track"] == track]
            if len(own):
                mean = np.exp(cell.log_probs[own.index]).mean(axis=0)
                best = np.argsort(-mean, kind="stable")[:3]
                ours = ", ".join(f"{cell.genres[number]} {100 * mean[number]:.0f} %" for number in best)
                row = {"track": track, "printed": printed, "ours": ours, "num": len(own)}
                rows.append((cell, row | {"right": float(cell.correct[own.index].mean())}))
    if not rows:
        return None
    rows.sort(key=lambda row: str(row[1]["track"]))
    shown = columns(track="track", printed=f"the {reference.name}: predicted as", ours="ours: mean probabilities")
    shown += columns("count", num="runs") + columns("percent", right="right %")
    note = "Ours are the three largest probabilities, averaged over the runs that tested the track."
    return cell_table("named", f"Tracks that the {reference.name} discusses", rows, shown, note)


def _named_tracks(cell: Cell, reference: Reference) -> dict[str, str]:
    """Return the genres that a publication predicted for tracks of the cell's corpus; a twin has other tracks."""
    own = reference.named[reference.named["corpus"] == cell.corpus]
    return {} if cell.facts.synthetic else dict(zip(own["track"], own["taken_for"], strict=True))


def _timelines(cell: Cell, number: int, reference: Reference | None) -> list[Figure]:
    """Draw timelines of a cell's most certain mistake, its least certain hit, and tracks that a publication names."""
    scored = set(zip(cell.timeline["run"], cell.timeline["track"], strict=True)) if len(cell.timeline) else set()
    if len(cell.timeline) == len(scored):  # one slice per track makes no line
        return []
    frame = cell.predictions
    rows = [frame.loc[~cell.correct, "certainty"].idxmax()] if not cell.correct.all() else []
    rows += [frame.loc[cell.correct, "certainty"].idxmin()] if cell.correct.any() else []
    if reference is not None:
        rows += list(frame[frame["track"].isin(_named_tracks(cell, reference))].drop_duplicates("track").index)
    rows = [row for row in rows if (frame.at[row, "run"], frame.at[row, "track"]) in scored]
    return [_timeline(cell, row, f"timeline_{number}_{rank}") for rank, row in enumerate(rows)]


def _timeline(cell: Cell, row: int, name: str) -> Figure:
    chosen = cell.predictions.loc[row]
    slices = cell.timeline[(cell.timeline["run"] == chosen["run"]) & (cell.timeline["track"] == chosen["track"])]
    slices = slices.sort_values("slice")
    probs = slices[[f"p_{genre}" for genre in cell.genres]].to_numpy(np.float64)
    start, stop = (slices[f"{edge}_seconds"].to_numpy(np.float64) for edge in ("start", "stop"))
    window = cell.facts.settings.get("window", "track")
    inputs = {1: "that slice alone", "track": "all slices up to that one"}.get(window, "the last slices up to that one")
    note = f"At each slice, the model has {inputs} as input. {cell.title}."
    title = f"{chosen['track']} slice by slice: {chosen['genre']}, predicted {chosen['predicted']}"
    return timeline(Caption(name, title, cell.marks), start, stop, probs, cell.genres, chosen["genre"], note)
