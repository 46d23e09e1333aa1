"""Known problems of tracks: doubtful labels and faulty recordings, known before any model is trained.

Sturm counts 106 doubtful labels in GTZAN, but his lists by track are not available. The problems here can be checked:
one sound under two labels, tracks that published lists leave out, and recordings that a source calls distorted.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genregrid.data.catalogue import read_lists
from genregrid.errors import UserError
from genregrid.name import one_form
from genregrid.published.reference import DOUBTS_FILE
from genregrid.report.cell import Cell


class Doubt(NamedTuple):
    """A known problem of a track: its kind, such as "distorted", and its description."""

    kind: str
    text: str


_TWO_LABELS, _LEFT_OUT = "one sound under two labels", "left out of the published lists"


def doubts_of(cells: Sequence[Cell]) -> dict[str, list[Doubt]]:
    """Return the known problems of tracks of real corpora, by track name."""
    doubts: defaultdict[str, dict[Doubt, None]] = defaultdict(dict)
    for cell in cells:
        if not cell.facts.synthetic:
            for track, doubt in [*_two_labels(cell), *_left_out(cell), *_published(cell)]:
                doubts[track][doubt] = None
    return {track: list(found) for track, found in doubts.items()}


def _two_labels(cell: Cell) -> Iterator[tuple[str, Doubt]]:
    """Yield tracks that equal a track of another genre, slice by slice; only `track` groups nothing but those."""
    if cell.facts.protocol != "track":
        return
    split = cell.tables[0].split.drop_duplicates("track")
    for _, group in split[split.groupby("group")["genre"].transform("nunique") > 1].groupby("group"):
        for track, genre in zip(group["track"], group["genre"], strict=True):
            others = group.loc[group["genre"] != genre, "track"]
            yield str(track), Doubt(_TWO_LABELS, f"the same sound as {', '.join(others)}")


def _left_out(cell: Cell) -> Iterator[tuple[str, Doubt]]:
    """Yield tracks that the corpus's published lists leave out; none if the lists are not available."""
    dataset = cell.config.get("dataset", {})
    try:
        root, names = dataset.get("root"), dataset.get("filtered") or {}
        listed = {} if root is None else read_lists({p: Path(root) / name for p, name in names.items()}, cell.tracks)
    except UserError:
        return
    if listed:
        yield from ((track, Doubt(_LEFT_OUT, _LEFT_OUT)) for track in cell.tracks if one_form(track) not in listed)


def _published(cell: Cell) -> Iterator[tuple[str, Doubt]]:
    table = pd.read_csv(DOUBTS_FILE)
    own = table[(table["corpus"] == cell.corpus) & table["track"].isin(cell.tracks)]
    yield from ((track, Doubt(doubt, doubt)) for track, doubt in zip(own["track"], own["doubt"], strict=True))
