"""Compare protocols: how much the score of each model depends on how tracks are divided."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from genregrid.exhibit.figure import Caption, accuracies, protocols
from genregrid.exhibit.mark import union
from genregrid.exhibit.table import Column, Exhibit, Figure, Section, Table, columns
from genregrid.metrics.interval import Estimate
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell
from genregrid.report.comparison import difference, paired
from genregrid.report.rows import caveat, datasets, numbered

#: From the protocol with most leakage to the most demanding one.
_ORDER = ("row", "mixed", "misaligned", "track", "artist", "filtered", "official")


def audit_section(cells: Sequence[Cell], reference: Reference | None) -> Section:
    """Show the accuracy of every cell beside published ones, and of every model under every protocol."""
    exhibits: list[Exhibit] = [_accuracies_figure(cells, reference)]
    for number, own in enumerate(datasets(cells).values()):
        if len({cell.split for cell in own}) > 1:
            exhibits.append(audit_table(own, numbered("audit", number)))
            exhibits.append(_protocols_figure(own, numbered("protocols", number)))
    if reference is not None:
        shown = (*columns(label="line"), *columns("percent", value="accuracy %"), *columns(caveat="limitation"))
        note = "Published accuracies, and the reason why each does not compare directly with this grid."
        exhibits.append(Table("reference_lines", "What the dashed lines mean", reference.lines, shown, note))
    text = (
        "The same models under every protocol that was run. A protocol is the way in which tracks are divided into "
        "training and test. Under a protocol marked LEAKS, slices of a test track, or the track itself, were in the "
        "training data. What a model gains there is memory, not knowledge of genres. Under artist, no known artist of "
        "a test track is in the training data. Under misaligned and mixed, a sequence belongs to the track of its "
        "first slice, and sequences with the same first track vote together."
    )
    return Section("protocols", "Accuracy and protocols", text, tuple(exhibits))


def audit_table(cells: Sequence[Cell], name: str) -> Table:
    """Show the models of one corpus by protocol, with the change from `track` on tracks tested under both."""
    splits = _splits(cells)
    rows, marks = [], []
    for model in dict.fromkeys(cell.label for cell in cells):
        own = {cell.split: cell for cell in cells if cell.label == model}
        row: dict[str, object] = {"dataset": cells[0].dataset, "model": model}
        for split in splits:
            if split in own:
                row |= own[split].bootstrap.mean(own[split].correct).columns(split)
                row |= {f"{split}_num": len(own[split].correct)}
            if split in own and "track" in own and split != "track":
                row |= _change(own[split], own["track"]).columns(f"{split}_change")
        rows.append(row)
        marks.append(union(cell.marks for cell in own.values()))
    frame = pd.DataFrame(rows)
    shown = columns(model="model")
    for split in splits:
        shown.append(Column(split, f"{split} %", "percent"))
        if f"{split}_change" in frame:
            shown.append(Column(f"{split}_change", "minus track", "points"))
    note = (
        "Accuracy by track, with 95 % intervals. 'Minus track' is the change from the protocol track, in percentage "
        "points, on tracks that were tested under both with the same seeds. Intervals are not corrected for the number "
        "of changes. A large positive change is the effect of a leak. The CSV has the number of predictions n as "
        "<protocol>_num."
    )
    return Table(name, f"Models by protocols: {cells[0].dataset_title}", frame, tuple(shown), note, marks)


def _change(cell: Cell, base: Cell) -> Estimate:
    hits, cluster = paired(cell, base)
    return Estimate() if hits.empty else difference(hits, cluster)


def _splits(cells: Sequence[Cell]) -> list[str]:
    """Return the labels of the cells' protocols in the order of `_ORDER`; others come last."""
    rank = {protocol: number for number, protocol in enumerate(_ORDER)}
    ranked = {(rank.get(cell.facts.protocol, len(rank)), cell.split) for cell in cells}
    return [split for _, split in sorted(ranked)]


def _protocols_figure(cells: Sequence[Cell], name: str) -> Figure:
    frame = pd.DataFrame([{"model": cell.label, "split": cell.split, **_accuracy(cell)} for cell in cells])
    title = f"Accuracy by protocol: {cells[0].dataset_title}"
    return protocols(Caption(name, title, union(cell.marks for cell in cells)), frame, _splits(cells))


def _accuracies_figure(cells: Sequence[Cell], reference: Reference | None) -> Figure:
    rows = []
    for cell in cells:
        printed = reference.scores(cell.model, cell.slice_seconds) if reference is not None else {}
        rows.append({"label": cell.title, "paper": printed.get(("accuracy", "all"), np.nan), **_accuracy(cell)})
    lines = list(reference.lines[["label", "value"]].itertuples(index=False)) if reference is not None else []
    title = "Accuracy of every cell, with 95 % intervals"
    figure = accuracies(Caption("accuracies", title, union(cell.marks for cell in cells)), pd.DataFrame(rows), lines)
    return replace(figure, note=" ".join([figure.note, caveat(cells, reference)]).strip())


def _accuracy(cell: Cell) -> dict[str, object]:
    return {**asdict(cell.bootstrap.mean(cell.correct)), "leaks": cell.leaks}
