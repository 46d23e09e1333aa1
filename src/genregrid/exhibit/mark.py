"""Warnings that a run, a row of a table or a figure carries wherever it is shown."""

from collections.abc import Iterable
from enum import StrEnum


class Mark(StrEnum):
    """A warning, computed from the data, the split and the recipe, never from a label."""

    LEAKS = "LEAKS"  # tracks of the test part were trained on
    SYNTHETIC = "SYNTHETIC"  # the corpus is a statistical twin and holds no music
    MAY_OVERLAP = "MAY-OVERLAP"  # the network that computed the descriptors may know the test music


def union(marks: Iterable[Iterable[Mark]]) -> tuple[Mark, ...]:
    """Return every mark that occurs, once, in the order of `Mark`.

    >>> union([(Mark.SYNTHETIC,), (), (Mark.LEAKS, Mark.SYNTHETIC)])
    (<Mark.LEAKS: 'LEAKS'>, <Mark.SYNTHETIC: 'SYNTHETIC'>)
    """
    found = {mark for one in marks for mark in one}
    return tuple(mark for mark in Mark if mark in found)
