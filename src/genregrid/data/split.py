"""Which track is in which part: the only owner of the rule that nothing leaks from training into test.

Six protocols, three of them honest:

- ``track``: stratified by genre; a track is never cut, exact duplicates stay together.
- ``artist``: the same, and all tracks of an artist stay together.
- ``filtered``: published lists of tracks, checked to share no artist and no duplicate.
- ``row``: slices at random, whatever track they come from. Leaks; a negative control.
- ``misaligned``: rows cut into sequences by position, so that one missing row makes every later sequence straddle
  two tracks. Leaks; a negative control.
- ``mixed``: slices shuffled within their genre, then cut into sequences, so that each is made of several tracks of one
  genre. Leaks; a negative control.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from genregrid.config import EVERY_TRACK, LEAKING_PROTOCOLS, SplitConfig
from genregrid.data.duplicate import duplicate_groups, merged_groups
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError

PARTS = ("train", "val", "test")
TRAIN, VAL, TEST = range(3)
LEFT_OUT = -1


@dataclass(frozen=True)
class Split:
    """A table's rows divided into parts.

    Attributes:
        protocol: one of `PROTOCOLS`, or "all" where every track is test.
        part: (row,) int8, index into `PARTS`, or -1 for rows that belong to none.
        sequence: (row,) int64, what the row's window may span: its track, but its block of rows under `misaligned` and
            `mixed`; -1 for rows that stand in no block.
        group: (track,) int64, tracks that must not be parted: duplicates; under artist and filtered an artist's too.
        notes: what was merged or left out, one sentence each.
    """

    protocol: str
    part: NDArray[np.int8]
    sequence: NDArray[np.int64]
    group: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def leaks(self) -> bool:
        """Whether slices of one track stand in training and test."""
        return self.protocol in LEAKING_PROTOCOLS


def split_table(
    table: FeatureTable,
    split: SplitConfig,
    *,
    source: FeatureTable | None = None,
    artists: Mapping[str, str] | None = None,
    lists: Mapping[str, str] | None = None,
) -> Split:
    """Divide a table by the protocol of `split`.

    Args:
        table: the slices.
        split: protocol, folds and seed.
        source: the table that `table` was pooled from, whose shorter slices show repeated recordings better; ``None``
            looks for them in `table`.
        artists: artist by track name; needed by ``artist``, used by ``filtered`` to check the lists.
        lists: part ("train", "val", "test") by track name; needed by ``filtered``.

    Raises:
        UserError: missing artists or lists, lists that leak, or too few tracks.
    """
    if split.protocol == EVERY_TRACK:
        return split_by_name(table, EVERY_TRACK)
    if split.protocol == "filtered":
        return _split_by_lists(table, lists, artists, _groups_in(table, source))
    seed = split.seed or 0
    notes: list[str] = []
    if split.protocol == "row":
        unit = np.arange(len(table.track))
        unit_genre, unit_group, track_group = table.genre[table.track], unit, np.arange(len(table.tracks))
        sequence = table.track
    elif split.protocol in ("misaligned", "mixed"):
        sequence, notes = _blocks(table, seed if split.protocol == "mixed" else None)
        unit, track_group = sequence, np.arange(len(table.tracks))
        unit_genre = table.genre[table.track[_first_rows(unit)]]
        unit_group = np.arange(len(unit_genre))
    else:
        track_group = _groups_in(table, source)
        num_merged = len(table.tracks) - len(np.unique(track_group))
        if num_merged:
            notes.append(f"{num_merged} tracks repeat another one exactly and stay with it")
        if split.protocol == "artist":
            track_group = merged_groups(track_group, _artist_groups(table, artists))
            notes.append(_artist_note(table, artists or {}))
        unit, unit_genre, unit_group, sequence = table.track, table.genre, track_group, table.track
    unit_key = _shuffle_key(table, unit, seed)
    unit_part, used_val_folds = _fold_parts(unit_genre, unit_group, unit_key, table.genres, split)
    if used_val_folds < split.val_folds:
        notes.append(
            f"validation is one in {used_val_folds} of what is not test, as a genre has no more groups of tracks"
        )
    part = np.where(unit >= 0, unit_part[unit], LEFT_OUT).astype(np.int8)
    return Split(split.protocol, part, sequence, track_group, tuple(notes))


def split_by_name(table: FeatureTable, protocol: str, test: Collection[str] | None = None) -> Split:
    """The tracks named in `test` as test and no others, or every track: for scoring a finished model."""
    named = np.array([test is None or track in test for track in table.tracks])
    part = np.where(named, TEST, LEFT_OUT).astype(np.int8)
    return Split(protocol, part[table.track], table.track, duplicate_groups(table))


def _groups_in(table: FeatureTable, source: FeatureTable | None) -> NDArray[np.int64]:
    """(track,) int64: duplicate groups of `table`, as found in `source`, which has all its tracks."""
    if source is None or source is table:
        return duplicate_groups(table)
    return duplicate_groups(source)[np.searchsorted(np.array(source.tracks), np.array(table.tracks))]


def _artist_groups(table: FeatureTable, artists: Mapping[str, str] | None) -> NDArray[np.int64]:
    if artists is None:
        raise UserError(
            "split=artist needs an artist index: set dataset.artists to a CSV with the columns track,artist."
        )
    # a track of unknown artist is a group of its own
    names = [artists.get(track, f"\0{track}").casefold() for track in table.tracks]
    if all(name.startswith("\0") for name in names):
        raise UserError(
            f"the artist index names none of the tracks, such as {table.tracks[0]}; is it another corpus's, or is its "
            "column 'artist' empty?"
        )
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _artist_note(table: FeatureTable, artists: Mapping[str, str]) -> str:
    known = [artists[track].casefold() for track in table.tracks if track in artists]
    unknown = len(table.tracks) - len(known)
    return f"{len(set(known))} artists; {unknown} of {len(table.tracks)} tracks have none and stand for themselves"


def _blocks(table: FeatureTable, seed: int | None) -> tuple[NDArray[np.int64], list[str]]:
    """(row,) block number, -1 for rows that fill no whole block; rows as they stand, or by `seed` shuffled in a genre.

    A block has as many rows as most tracks have slices. Inside it the table's order is kept.
    """
    row = np.arange(len(table.track))
    pool = np.zeros_like(row) if seed is None else table.genre[table.track]
    order = row if seed is None else np.lexsort((_shuffle_key(table, row, seed), pool))
    block_slices = int(np.bincount(table.num_slices).argmax())
    size = np.bincount(pool)
    num_blocks = size // block_slices
    position = row - (np.cumsum(size) - size)[pool[order]]  # in its pool
    number = (np.cumsum(num_blocks) - num_blocks)[pool[order]] + position // block_slices
    block = np.empty_like(row)
    block[order] = np.where(position < (num_blocks * block_slices)[pool[order]], number, LEFT_OUT)
    inside = block >= 0
    pairs = pd.DataFrame({"block": block[inside], "track": table.track[inside]}).drop_duplicates()
    num_straddling = int((pairs["block"].value_counts() > 1).sum())
    notes = [f"{num_straddling} of {num_blocks.sum()} sequences hold slices of several tracks"]
    if not inside.all():
        notes.append(f"{int((~inside).sum())} slices fill no whole sequence and were left out")
    return block, notes


def _first_rows(unit: NDArray[np.int64]) -> NDArray[np.int64]:
    """(unit,) int64: the first row of each unit, of (row,) numbers 0, 1, ... and -1 for rows of none."""
    number, first_row = np.unique(unit, return_index=True)
    return np.asarray(first_row[number >= 0], np.int64)


def _shuffle_key(table: FeatureTable, unit: NDArray[np.int64], seed: int) -> NDArray[np.uint64]:
    """(unit,) uint64: the order in which units are dealt, a hash of the name of their first slice and the seed.

    Names, not positions, are shuffled: tables of other slice lengths of one corpus, or with some tracks left out, are
    divided nearly alike, so that models on them are compared on the same test tracks.
    """
    names = [f"{table.tracks[table.track[row]]}.{table.slice_index[row]}" for row in _first_rows(unit)]
    return np.asarray(pd.util.hash_array(np.array(names, dtype=object), hash_key=f"{seed:016d}"[-16:]))


def _fold_parts(
    genre: NDArray[np.int64],
    group: NDArray[np.int64],
    key: NDArray[np.uint64],
    genres: tuple[str, ...],
    split: SplitConfig,
) -> tuple[NDArray[np.int8], int]:
    """(unit,) int8: test is one fold, validation one validation fold of the rest, stratified and grouped.

    Also the number of validation folds: no more than the groups of the genre that has fewest.
    """
    seed, folds = split.seed or 0, split.folds
    smallest, name = _fewest_groups(genre, group, genres)
    if smallest < folds:
        way_out = f"take split.folds={smallest}" if smallest > 1 else "it cannot be divided"
        raise UserError(
            f"split.folds={folds}: the genre '{name}' has only {smallest} tracks or groups of tracks that must stay "
            f"together; {way_out}."
        )
    part = np.full(len(genre), TRAIN, np.int8)
    is_test = stratified_folds(genre, group, folds, seed, key) == split.fold
    part[is_test] = TEST
    rest = np.flatnonzero(~is_test)
    smallest, _ = _fewest_groups(genre[rest], group[rest], genres)
    val_folds = max(2, min(split.val_folds, smallest))
    if split.val_fold >= val_folds:
        raise UserError(
            f"what is not test makes {val_folds} validation folds only, as a genre has no more groups of tracks",
            key="split.val_fold",
            value=split.val_fold,
            hint=f"take split.val_folds={val_folds}",
        )
    part[rest[stratified_folds(genre[rest], group[rest], val_folds, seed, key[rest]) == split.val_fold]] = VAL
    untrained = sorted(set(genre) - set(genre[part == TRAIN]))
    if untrained:
        raise UserError(
            f"the genre '{genres[untrained[0]]}' has too few tracks to stand in training, validation and test."
        )
    if not all((part == number).any() for number in range(len(PARTS))):
        raise UserError(f"split.folds={folds}: tracks or groups of tracks that must stay together leave a part empty.")
    return part, val_folds


def stratified_folds(
    genre: NDArray[np.int64],
    group: NDArray[np.int64],
    folds: int,
    seed: int,
    key: NDArray[np.uint64] | None = None,
) -> NDArray[np.int64]:
    """(unit,) int64: the fold of each unit, so that groups stay whole and every fold has its share of every genre.

    Groups of several units go first, the largest before the smaller, each to the fold that has least of its genres;
    single units then fill every genre up evenly, a run of `key` to each fold. On single units alone the folds' counts
    of a genre differ by one at most, and leaving a unit out moves few others. scikit-learn's
    StratifiedGroupKFold does the like, but takes 19 s for the 22050 slices of a small corpus.

    Args:
        genre: (unit,) int64.
        group: (unit,) int64, units of one number stay together.
        folds: number of folds, at least 2.
        seed: of the shuffle.
        key: (unit,) uint64, the shuffle itself: units are dealt in ascending order of it; ``None`` draws it by `seed`.

    >>> stratified_folds(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 1, 2, 3, 4]), folds=2, seed=0).tolist()
    [1, 1, 0, 0, 1, 0]
    """
    random = np.random.default_rng(seed)
    rank = np.argsort(np.argsort(random.random(len(genre)) if key is None else key, kind="stable"))
    group = np.unique(group, return_inverse=True)[1]
    size = np.bincount(group)
    num_genres = int(genre.max()) + 1
    share = 1 / np.maximum(np.bincount(genre), 1)  # of one unit in its genre
    load = np.zeros((folds, num_genres))
    fold = np.full(len(genre), -1)

    several = np.flatnonzero(size[group] > 1)
    members = pd.Series(several).groupby(group[several]).indices
    for number in sorted(members, key=lambda number: (-size[number], rank[several[members[number]]].min())):
        units = several[members[number]]
        count = np.bincount(genre[units], minlength=num_genres) * share
        # least growth of the squared loads; the lighter fold where that is a tie
        chosen = np.lexsort((load.sum(axis=1), load @ count))[0]
        load[chosen] += count
        fold[units] = chosen

    for number in np.unique(genre[fold < 0]):
        units = np.flatnonzero((fold < 0) & (genre == number))
        lightest_first = np.lexsort((random.random(folds), load.sum(axis=1)))
        level = np.round(load[lightest_first, number] / share[number])[:, None] + np.arange(len(units))
        slots = np.argsort(level.T, axis=None, kind="stable")[: len(units)] % folds
        num_units = np.bincount(lightest_first[slots], minlength=folds)
        fold[units[np.argsort(rank[units])]] = np.repeat(np.arange(folds), num_units)
        load[:, number] += num_units * share[number]
    renumbered = random.permutation(folds)  # else fold 0 would always hold the largest group
    return np.asarray(renumbered[fold], np.int64)


def _fewest_groups(genre: NDArray[np.int64], group: NDArray[np.int64], genres: tuple[str, ...]) -> tuple[int, str]:
    """The smallest number of groups that a genre has, and that genre."""
    pairs = pd.DataFrame({"genre": genre, "group": group}).drop_duplicates()
    counts = pairs["genre"].value_counts()
    return int(counts.min()), genres[int(counts.idxmin())]


def _split_by_lists(
    table: FeatureTable,
    lists: Mapping[str, str] | None,
    artists: Mapping[str, str] | None,
    duplicates: NDArray[np.int64],
) -> Split:
    if lists is None:
        raise UserError(
            "split=filtered needs lists of tracks, which this corpus has not; take split=artist or split=track."
        )
    numbers = {name: number for number, name in enumerate(PARTS)}
    track_part = np.array([numbers.get(lists.get(track, ""), LEFT_OUT) for track in table.tracks], np.int8)
    for number, name in enumerate(PARTS):
        if not (track_part == number).any():
            raise UserError(f"split=filtered: none of the tracks stands in the list of the part '{name}'.")
    _check_parted(table, track_part, duplicates, "repeat each other exactly")
    group = duplicates
    if artists is not None:
        by_artist = _artist_groups(table, artists)
        _check_parted(table, track_part, by_artist, "are of one artist")
        group = merged_groups(duplicates, by_artist)
    num_missing = len(set(lists) - set(table.tracks))
    notes = [f"{int((track_part == LEFT_OUT).sum())} of {len(table.tracks)} tracks stand in no list and were left out"]
    if num_missing:
        notes.append(f"{num_missing} of {len(lists)} listed tracks are not in this table")
    return Split("filtered", track_part[table.track], table.track, group, tuple(notes))


def _check_parted(table: FeatureTable, track_part: NDArray[np.int8], group: NDArray[np.int64], what: str) -> None:
    """Refuse lists that put two tracks of one group into two parts."""
    listed = np.flatnonzero(track_part != LEFT_OUT)
    pairs = pd.DataFrame({"track": listed, "group": group[listed], "part": track_part[listed]})
    crossing = pairs[pairs.groupby("group")["part"].transform("nunique") > 1]
    if len(crossing):
        first = crossing.iloc[0]
        other = crossing[(crossing["group"] == first["group"]) & (crossing["part"] != first["part"])].iloc[0]
        raise UserError(
            f"the lists leak: {table.tracks[first['track']]} ({PARTS[first['part']]}) and "
            f"{table.tracks[other['track']]} ({PARTS[other['part']]}) {what}."
        )
