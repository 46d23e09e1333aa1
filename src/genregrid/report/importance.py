"""What models use: descriptors exchanged between test tracks, and integrated gradients of networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.data.kind import ALL, ALL_BRIGHTNESS, BRIGHTNESS_KINDS
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit import figure
from genregrid.exhibit.table import Column, Exhibit, Figure, Form, Section, Table, columns
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.published.reference import Reference
from genregrid.record.explanation import Evidence, Explanation
from genregrid.record.folder import BEST_CHECKPOINT
from genregrid.report.cell import Cell
from genregrid.report.rows import INTERVALS, cell_table, datasets, numbered

#: Explains the run in a folder; raises a `UserError` if it cannot.
Explain = Callable[[Path], Explanation]

_EVERY = "all"  # of genres
_MOST_FIGURES = 6
_MOST_SINGLE = 10  # descriptors listed per cell and genre
# Share of tracks whose prediction may differ from predictions.csv: on another machine, last bits decide ties.
_OTHER_BITS = 0.01
_UNIONS = (ALL_BRIGHTNESS, ALL)


@dataclass(frozen=True)
class Explained:
    """The explained runs of a cell, with their test tracks pooled.

    Attributes:
        cell: with the runs.
        explanations: one or more.
        frame: a row per run and test track: run, track, genre, predicted, group.
    """

    cell: Cell
    explanations: tuple[Explanation, ...]
    frame: pd.DataFrame

    @property
    def has_evidence(self) -> bool:
        """Whether the model has gradients."""
        return all(one.evidence is not None for one in self.explanations)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(prediction,), whether the prediction is right."""
        return np.asarray(self.frame["genre"] == self.frame["predicted"])

    @property
    def num_descriptors(self) -> dict[str, int]:
        """Number of descriptors by kind."""
        return dict(self.explanations[0].num_descriptors)

    def after_kind(self, kind: str) -> NDArray[np.float64]:
        """Return the share of exchanges of a kind after which each prediction is right, (prediction,)."""
        return np.concatenate([one.right_by_kind[kind] for one in self.explanations])

    def after_descriptor(self, name: str) -> NDArray[np.float64]:
        """Return the same for a single descriptor."""
        return np.concatenate([one.right_by_descriptor[name] for one in self.explanations])

    def fall(self, after: NDArray[np.float64], genre: str | None) -> Estimate:
        """Estimate the fall of the accuracy of a genre's tracks, or of all, to the mean of `after` (prediction,)."""
        rows = self.rows_of(genre)
        return self._bootstrap(rows).difference(self.right[rows], after[rows]) if rows.any() else Estimate()

    def evidence(self, kind: str, genre: str | None) -> Estimate:
        """Estimate the mean evidence of a kind for a genre, over the tracks that are predicted as it."""
        return self._for_predicted(np.concatenate([one.by_kind[kind] for one in self._evidence]), genre)

    def evidence_by_position(self, genre: str | None) -> list[Estimate]:
        """Estimate the mean evidence of each part of a track for a genre, over the tracks that are predicted as it."""
        num = min(one.by_position.shape[1] for one in self._evidence)
        parts = np.concatenate([_merged(one.by_position, num) for one in self._evidence])
        return [self._for_predicted(part, genre) for part in parts.T]

    def rows_of(self, genre: str | None, by: str = "genre") -> NDArray[np.bool_]:
        """Return which predictions are for a genre, (prediction,); `by` is "genre", the true one, or "predicted"."""
        return np.ones(len(self.frame), bool) if genre is None else np.asarray(self.frame[by] == genre)

    @property
    def _evidence(self) -> list[Evidence]:
        return [one.evidence for one in self.explanations if one.evidence is not None]

    def _for_predicted(self, values: NDArray[np.float64], genre: str | None) -> Estimate:
        rows = self.rows_of(genre, "predicted")
        return self._bootstrap(rows).mean(values[rows]) if rows.any() else Estimate()

    def _bootstrap(self, rows: NDArray[np.bool_]) -> ClusterBootstrap:
        return ClusterBootstrap(self.frame["group"][rows], unit=self.cell.unit)


def _merged(parts: NDArray[np.float64], num: int) -> NDArray[np.float64]:
    """Return parts (track, part) as fewer, equal ones; runs of a cell have equally many unless tracks are short."""
    return np.stack([chosen.sum(axis=1) for chosen in np.array_split(parts, num, axis=1)], axis=1)


def importance_section(
    cells: Sequence[Cell], explain: Explain, reference: Reference | None
) -> tuple[Section, list[str]]:
    """Explain every run that has a checkpoint; return the section, and notes on runs that were left out."""
    found, notes = explained_cells(cells, explain)
    exhibits: list[Exhibit] = []
    if found:
        exhibits += [importance_figure(one, number) for number, one in enumerate(found[:_MOST_FIGURES])]
        exhibits += [importance_table(found), single_table(found)]
    if networks := [one for one in found if one.has_evidence]:
        exhibits += [gradients_figure(one, number) for number, one in enumerate(networks[:_MOST_FIGURES])]
        exhibits += [gradients_table(networks), positions_table(networks)]
    for number, own in enumerate(datasets([one.cell for one in found]).values()):
        best = next(one for one in found if one.cell is own[0])
        if all(len(one.brightness_hz) for one in best.explanations):
            exhibits.append(brightness_table(best, numbered("brightness", number), reference))
    text = (
        "Two measurements of what a model uses. The first is importance by permutation. The values of some descriptors "
        "are exchanged between the test tracks of a fold, and the fall of accuracy and recall shows how much the model "
        "needs them. Whole tracks exchange values, so that the slices of a track stay together. The model was not "
        "trained on any of these tracks. Nothing was chosen by these numbers: neither a model nor a descriptor.\n\n"
        "Read them with care. Correlated descriptors share their importance: when one is exchanged, the others still "
        "hold most of what it held. A fall near zero therefore does not mean that a descriptor has nothing to do with "
        "genres. An exchange also makes combinations that no recording has, and a model that weighs two correlated "
        "descriptors against each other can lose much by it. The kinds of brightness (centroid, bandwidth, rolloff, "
        "zero crossings) are therefore also exchanged together. MFCC means hold the shape of the spectrum too.\n\n"
        "The second measurement is for networks: integrated gradients (Sundararajan, Taly and Yan 2017) from the mean "
        "training slice to each test track. They divide what speaks for the predicted genre among descriptors and "
        "slices. They are about the network's arithmetic, also where its prediction is wrong."
    )
    return Section("importance", "What the models use", "\n\n".join([text, *notes]), tuple(exhibits)), notes


def explained_cells(cells: Sequence[Cell], explain: Explain) -> tuple[list[Explained], list[str]]:
    """Explain the runs of cells; a run that cannot be explained is left out, and a note has the reason.

    Raises:
        UserError: there are checkpoints, and none can be explained.
    """
    found, without = [], []
    reasons: dict[str, list[Path]] = {}
    mistake: UserError | None = None
    for cell in cells:
        explanations: list[Explanation] = []
        frames = []
        for run, tables in enumerate(cell.tables):
            path = tables.folder.path
            if not tables.folder.has(BEST_CHECKPOINT):
                without.append(path)
                continue
            try:
                one = explain(path)
                frame = _matched(one, cell, run)
                if explanations and one.num_descriptors != explanations[0].num_descriptors:
                    raise UserError("its descriptors are not those of the cell's other runs")
            except UserError as error:
                mistake = mistake or error
                reasons.setdefault(str(error), []).append(path)
                continue
            explanations.append(one)
            frames.append(frame)
        if explanations:
            found.append(Explained(cell, tuple(explanations), pd.concat(frames, ignore_index=True)))
    if mistake is not None and not found:
        raise mistake
    notes = [f"{counted(len(without), 'run has', 'runs have')} no checkpoint and {_left(without)}."] if without else []
    notes += [f"{counted(len(paths), 'run')} {_left(paths)}: {reason}" for reason, paths in reasons.items()]
    return found, notes


def _left(paths: Sequence[Path]) -> str:
    such = f", such as {printable(str(paths[0]), 200)}" if len(paths) > 1 else f" ({printable(str(paths[0]), 200)})"
    return f"{'are' if len(paths) > 1 else 'is'} not explained{such}"


def _matched(one: Explanation, cell: Cell, run: int) -> pd.DataFrame:
    """Return the rows of `Explained.frame` for a run.

    Raises:
        UserError: its predictions are not those that the run wrote.
    """
    frame = pd.DataFrame({"run": run, "track": one.tracks, "genre": one.genre, "predicted": one.predicted})
    written = cell.predictions[cell.predictions["run"] == run].set_index("track")
    own = written.reindex(frame["track"]).reset_index(drop=True)
    differs = ((own["genre"] != frame["genre"]) | (own["predicted"] != frame["predicted"])).to_numpy()
    if len(frame) != len(written) or own["group"].isna().any() or differs.mean() > _OTHER_BITS:
        problem = f"its checkpoint predicts {counted(int(differs.sum()), 'track')} of {len(own)} otherwise than its run"
        raise UserError(problem, hint="give the dataset that it was trained on, or train it again")
    return frame.assign(group=own["group"].to_numpy(np.int64))


def importance_table(found: Sequence[Explained]) -> Table:
    """Show by how much accuracy, and the recall of each genre, falls when a kind of descriptors is exchanged."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for one in found:
        for kind, num in one.num_descriptors.items():
            about = {"exchanged": kind, "descriptors": num}
            rows += [(one.cell, about | row) for row in _fall_rows(one, one.after_kind(kind))]
    shown = [*columns(exchanged="exchanged"), *columns("count", descriptors="descriptors"), *_FALL_COLUMNS]
    return cell_table("importance", "Importance of the kinds of descriptors", rows, shown, _note_on_falls(found))


def single_table(found: Sequence[Explained]) -> Table:
    """Show the single descriptors by which accuracy, and the recall of each genre, falls most."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for one in found:
        kind_of = one.explanations[0].kind_of
        names = list(kind_of)
        falls = pd.DataFrame([_fall_rows(one, one.after_descriptor(name)) for name in names], index=names)
        for genre in falls:
            ranked = sorted(names, key=lambda name: -falls.loc[name, genre]["fall"])[:_MOST_SINGLE]
            rows += [
                (one.cell, {"exchanged": name, "kind": kind_of[name]} | falls.loc[name, genre])
                for name in ranked
                if falls.loc[name, genre]["num"]
            ]
    shown = [*columns(exchanged="exchanged", kind="kind"), *_FALL_COLUMNS]
    note = (
        f"The {_MOST_SINGLE} largest falls of each genre. The largest of many is too large by chance. "
        f"Values of a network have no meaning one by one and are left out. {_note_on_falls(found)}"
    )
    return cell_table("importance_single", "Importance of single descriptors", rows, shown, note)


_FALL_COLUMNS = (
    *columns(genre="genre"),
    *columns("count", num="n"),
    *columns("percent", before="right %"),
    *columns("points", fall="fall, points"),
)


def _fall_rows(one: Explained, after: NDArray[np.float64]) -> list[dict[str, object]]:
    """Return a row for all genres, and one for each."""
    rows = []
    for genre in (None, *one.cell.genres):
        own = one.rows_of(genre)
        before = one.right[own].mean() if own.any() else np.nan
        row = {"genre": genre or _EVERY, "num": int(own.sum()), "before": before}
        rows.append(row | one.fall(after, genre).columns("fall"))
    return rows


def _note_on_falls(found: Sequence[Explained]) -> str:
    counts = sorted({run.num_permutations for one in found for run in one.explanations})
    times = " to ".join(dict.fromkeys([str(counts[0]), str(counts[-1])]))
    return (
        "Right is the share of tracks whose prediction is right: the accuracy, or of a genre the recall. The fall is "
        f"the mean over {times} random exchanges, in percentage points, on test tracks that the fold's model was not "
        "trained on, pooled over folds. Importance was measured on test tracks and chose nothing. Correlated "
        f"descriptors share it. n is the number of predictions. {INTERVALS} They are for one number each and not "
        "corrected for the number of rows, and they are about these trained models."
    )


def importance_figure(one: Explained, number: int) -> Figure:
    """Draw the fall of accuracy and recall of each genre by kind."""
    rows = [
        {"row": kind, "column": row["genre"], "value": row["fall"], "low": row["fall_low"], "high": row["fall_high"]}
        for kind in one.num_descriptors
        for row in _fall_rows(one, one.after_kind(kind))
    ]
    caption = figure.Caption(numbered("importance_map", number), f"Importance: {one.cell.title}", one.cell.marks)
    note = (
        "By how many percentage points accuracy (all) and the recall of each genre fall when the values of a kind of "
        "descriptors are exchanged between test tracks."
    )
    return _heat(caption, rows, one, "points", note)


def gradients_figure(one: Explained, number: int) -> Figure:
    """Draw the mean evidence of each kind for each genre."""
    rows: list[dict[str, object]] = []
    for kind in one.num_descriptors:
        for genre in (None, *one.cell.genres):
            found = one.evidence(kind, genre)
            where = {"row": kind, "column": genre or _EVERY}
            rows.append(where | {"value": found.value, "low": found.low, "high": found.high})
    title = f"What speaks for the predicted genre: {one.cell.title}"
    caption = figure.Caption(numbered("gradients_map", number), title, one.cell.marks)
    note = (
        "Evidence in logits, a mean over the test tracks that are predicted as the genre: integrated gradients of the "
        "genre's logit less the mean logit of all genres."
    )
    return _heat(caption, rows, one, "decimal", note)


def _heat(caption: figure.Caption, rows: list[dict[str, object]], one: Explained, form: Form, note: str) -> Figure:
    kinds, genres = list(one.num_descriptors), [_EVERY, *one.cell.genres]
    return figure.heat(caption, pd.DataFrame(rows), kinds, genres, form, note, apart=(*_UNIONS, _EVERY))


def gradients_table(found: Sequence[Explained]) -> Table:
    """Show the mean evidence of each kind for each predicted genre."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for one in found:
        for genre in (None, *one.cell.genres):
            about = {"genre": genre or _EVERY, "num": int(one.rows_of(genre, "predicted").sum())}
            for kind in one.num_descriptors:
                rows.append((one.cell, about | {"kind": kind} | one.evidence(kind, genre).columns("evidence")))
    shown = [*columns(genre="predicted genre"), *columns("count", num="n"), *columns(kind="kind")]
    note = _note_on_evidence(found)
    return cell_table(
        "gradients", "What speaks for a genre", rows, [*shown, *columns("decimal", evidence="evidence, logits")], note
    )


def positions_table(found: Sequence[Explained]) -> Table:
    """Show the mean evidence of each part of a track for each predicted genre."""
    rows: list[tuple[Cell, dict[str, object]]] = []
    for one in found:
        for genre in (None, *one.cell.genres):
            about = {"genre": genre or _EVERY, "num": int(one.rows_of(genre, "predicted").sum())}
            parts = one.evidence_by_position(genre)
            for number, estimate in enumerate(parts):
                where = {"part": f"{number + 1} of {len(parts)}"}
                rows.append((one.cell, about | where | estimate.columns("evidence")))
    shown = [*columns(genre="predicted genre"), *columns("count", num="n"), *columns(part="part of the track")]
    shown += columns("decimal", evidence="evidence, logits")
    note = f"All descriptors of the slices in each equal part of a track, in time. {_note_on_evidence(found)}"
    return cell_table("gradients_position", "Which part of a track speaks for a genre", rows, shown, note)


def _note_on_evidence(found: Sequence[Explained]) -> str:
    gap = max(run.evidence.gap for one in found for run in one.explanations if run.evidence is not None)
    return (
        "Evidence is the logit of the predicted genre less the mean logit of all genres, above that of the mean "
        "training slice at every position: integrated gradients, summed over descriptors. Below 0 it speaks against "
        "the genre. Kinds, and the parts of a track, sum to the evidence of all descriptors; the largest error of a "
        f"window is {gap:.1g} of it. It is a mean over test tracks that are predicted as the genre, rightly or not. n "
        f"is the number of predictions. {INTERVALS} They are not corrected for the number of rows."
    )


def brightness_table(one: Explained, name: str, reference: Reference | None) -> Table:
    """Show how bright each genre is, and how much the model needs it, beside what a publication remarks."""
    tracks = one.frame.assign(hz=np.concatenate([run.brightness_hz for run in one.explanations]))
    tracks = tracks.drop_duplicates("track")
    cell = one.cell
    remarks = _remarks(cell, reference)
    bright = [kind for kind in (BRIGHTNESS_KINDS[0], ALL_BRIGHTNESS) if kind in one.num_descriptors]
    rows: list[tuple[Cell, dict[str, object]]] = []
    means = {}
    for genre in cell.genres:
        own = tracks[tracks["genre"] == genre]
        if len(own):
            means[genre] = ClusterBootstrap(own["group"], unit=cell.unit).mean(own["hz"]), len(own)
    for number, genre in enumerate(sorted(means, key=lambda genre: -means[genre][0].value)):
        row: dict[str, object] = {"rank": number + 1, "genre": genre, "num": means[genre][1]}
        row |= means[genre][0].columns("hz") | {"remark": remarks.get(genre, "")}
        for kind in bright:
            row |= one.fall(one.after_kind(kind), genre).columns(f"fall_{kind}")
        rows.append((cell, row))
    shown = [*columns("count", rank="rank"), *columns(genre="genre"), *columns("count", num="tracks")]
    shown += columns("count", hz="centroid, Hz")
    shown += [Column(f"fall_{kind}", f"fall, {kind}", "points") for kind in bright]
    shown += columns(remark="the paper's remark") if remarks else []
    note = (
        "The brightest genre is first. Brightness is the mean spectral centroid of a genre's test tracks, each counted "
        "once. A fall is that of the genre's recall, in percentage points, when the centroid, or all kinds of "
        f"brightness, are exchanged between test tracks. {INTERVALS}"
    )
    note += " The remarks are from the paper's section 6.2." if remarks else ""
    return cell_table(name, f"Brightness by genre: {cell.dataset_title}", rows, shown, note)


def _remarks(cell: Cell, reference: Reference | None) -> dict[str, str]:
    if reference is None or cell.corpus != reference.corpus:
        return {}
    return dict(zip(reference.brightness["genre"], reference.brightness["remark"], strict=True))
