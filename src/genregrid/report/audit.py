"""Models by protocols: who gains by a leak."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from genregrid.exhibit.figure import accuracies, protocols
from genregrid.exhibit.table import Column, Exhibit, Section, Table
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.published.reference import Reference
from genregrid.report.cell import Cell
from genregrid.report.leaderboard import caveat, datasets, paired

#: From what leaks most to what asks most.
_ORDER = ("row", "mixed", "misaligned", "track", "artist", "filtered")


def audit_section(cells: Sequence[Cell], reference: Reference | None) -> Section:
    """Accuracy of every cell with the lines that others set, and of every model under every protocol."""
    exhibits: list[Exhibit] = [_forest(cells, reference)]
    for number, dataset in enumerate(datasets(cells)):
        own = [cell for cell in cells if cell.dataset == dataset]
        if len({cell.split for cell in own}) > 1:
            suffix = f"_{number}" if number else ""
            exhibits.append(audit_table(own, f"audit{suffix}"))
            exhibits.append(_figure(own, f"protocols{suffix}"))
    if reference is not None:
        exhibits.append(_reference_lines(reference))
    text = (
        "The same models, with the tracks divided by every protocol that was run. Under a protocol marked LEAKS, "
        "slices of a test track, or the track itself, were trained on; what a model gains there is memory, not "
        "knowledge of a genre. Under artist no known artist of a test track was heard before. Under misaligned and "
        "mixed a sequence goes by the track of its first slice, and sequences of one first track vote together."
    )
    return Section("protocols", "Accuracy and protocols", text, tuple(exhibits))


def audit_table(cells: Sequence[Cell], name: str) -> Table:
    """Accuracy of the models of one corpus by protocol, and the change from `track` on tracks that both tested."""
    splits = sorted({cell.split for cell in cells}, key=_rank)
    rows = []
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
    frame = pd.DataFrame(rows)
    columns = [Column("model", "model")]
    for split in splits:
        columns.append(Column(split, f"{split} %", "percent"))
        if f"{split}_change" in frame:
            columns.append(Column(f"{split}_change", "less track", "points"))
    note = (
        "Accuracy by track. 'Less track' is in points, on the tracks that were tested under both protocols and the "
        "same seeds. 95 % intervals. The CSV has n, as <protocol>_num."
    )
    return Table(name, f"Models by protocols: {cells[0].dataset}", frame, tuple(columns), note)


def _change(cell: Cell, base: Cell) -> Estimate:
    hits, cluster = paired(cell, base)
    if hits.empty:
        return Estimate(np.nan, np.nan, np.nan)
    return ClusterBootstrap(cluster).mean((hits["first"] - hits["second"]).to_numpy())


def _rank(split: str) -> tuple[int, str]:
    protocol = split.removesuffix("-LEAKS")
    return (_ORDER.index(protocol) if protocol in _ORDER else len(_ORDER), split)


def _figure(cells: Sequence[Cell], name: str) -> Exhibit:
    rows = [
        {"model": cell.label, "split": cell.split, "leaks": cell.leaks}
        | cell.bootstrap.mean(cell.correct).columns("value")
        for cell in cells
    ]
    frame = pd.DataFrame(rows).rename(columns={"value_low": "low", "value_high": "high"})
    order = sorted(frame["split"].unique(), key=_rank)
    return protocols(name, frame, order, title=f"Accuracy by protocol: {cells[0].dataset}")


def _forest(cells: Sequence[Cell], reference: Reference | None) -> Exhibit:
    rows = []
    for cell in cells:
        printed = reference.scores(cell.model, cell.slice_seconds) if reference is not None else {}
        row = {"label": cell.title, "leaks": cell.leaks, "paper": printed.get(("accuracy", "all"), np.nan)}
        rows.append(row | cell.bootstrap.mean(cell.correct).columns("value"))
    frame = pd.DataFrame(rows).rename(columns={"value_low": "low", "value_high": "high"})
    lines = [(line.label, line.value) for line in reference.lines] if reference is not None else []
    figure = accuracies("accuracies", frame, lines, title="Accuracy of every cell, with 95 % intervals")
    return replace(figure, note=" ".join([figure.note, caveat(cells, reference)]).strip())


def _reference_lines(reference: Reference) -> Table:
    frame = pd.DataFrame(reference.lines)
    columns = (
        Column("label", "line"),
        Column("value", "accuracy %", "percent"),
        Column("caveat", "why it does not compare"),
    )
    return Table("reference_lines", "What the dashed lines are", frame, columns)
