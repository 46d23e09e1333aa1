"""What is known against a track's label or recording, before any model has heard it.

Sturm counts 106 doubtful labels in GTZAN; his lists of them by track could not be had, so they are not here. What is
here can be checked: one sound under two labels, what published lists leave out, and what a source calls distorted.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from genregrid.data.catalogue import read_lists
from genregrid.errors import UserError
from genregrid.published.reference import DOUBTS_FILE
from genregrid.report.cell import Cell


def doubts_of(cells: Sequence[Cell]) -> dict[str, str]:
    """What is known against tracks of real corpora, by track name, in a few words."""
    doubts: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for cell in cells:
        if not cell.facts.synthetic:
            for track, doubt in [*_two_labels(cell), *_left_out(cell), *_named(cell)]:
                doubts[track][doubt] = None
    return {track: "; ".join(words) for track, words in doubts.items()}


def _two_labels(cell: Cell) -> Iterator[tuple[str, str]]:
    """Tracks that repeat one of another genre, slice by slice; other protocols keep artists together too."""
    if cell.facts.protocol != "track":
        return
    split = pd.read_csv(cell.runs["folder"].iloc[0] / "split.csv", keep_default_na=False).drop_duplicates("track")
    for _, group in split[split.groupby("group")["genre"].transform("nunique") > 1].groupby("group"):
        for track, genre in zip(group["track"], group["genre"], strict=True):
            others = group.loc[group["genre"] != genre, "track"]
            yield str(track), f"the same sound as {', '.join(others)}"


def _left_out(cell: Cell) -> Iterator[tuple[str, str]]:
    """Tracks that the corpus's published lists leave out; none where the lists are not at hand."""
    dataset = cell.config.get("dataset", {})
    try:
        listed = read_lists(
            {part: Path(dataset["root"]) / name for part, name in (dataset.get("filtered") or {}).items()}
        )
    except (UserError, KeyError):
        return
    if listed:
        yield from ((track, "left out of the published lists") for track in cell.tracks if track not in listed)


def _named(cell: Cell) -> Iterator[tuple[str, str]]:
    named = pd.read_csv(DOUBTS_FILE)
    own = named[named["corpus"] == cell.corpus]
    yield from ((track, doubt) for track, doubt in zip(own["track"], own["doubt"], strict=True) if track in cell.tracks)
