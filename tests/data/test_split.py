"""Claims about `genregrid.data.split`: only the leaking protocols leak from training into test."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from genregrid.config import LEAKING_PROTOCOLS, SplitConfig
from genregrid.data.catalogue import read_artists, read_lists
from genregrid.data.duplicate import duplicate_groups
from genregrid.data.split import (
    LEFT_OUT,
    PARTS,
    TEST,
    TRAIN,
    VAL,
    Split,
    split_by_name,
    split_table,
    stratified_folds,
)
from genregrid.data.table import FeatureTable, read_table, table_from_frame
from genregrid.errors import UserError

Tables = Callable[..., FeatureTable]
Finder = Callable[[str], Path]
Expect = Callable[..., Any]

TOO_FEW = "that must stay together|too few tracks for training"


def divide(table: FeatureTable, protocol: str, artists: Any = None, lists: Any = None, **settings: Any) -> Split:
    """Split a table by a protocol; `settings` are keys of conf/split."""
    return split_table(table, SplitConfig(protocol=protocol, **settings), artists=artists, lists=lists)


# --- arbitrary tables ---------------------------------------------------------------------------------------------


@st.composite
def tables_and_artists(draw: st.DrawFn) -> tuple[FeatureTable, dict[str, str]]:
    """Few genres, short and long tracks, copies of tracks and of single slices, silence, artists in any case."""
    num_tracks = draw(st.lists(st.integers(4, 12), min_size=2, max_size=3), label="tracks of each genre")
    total = sum(num_tracks)
    num_slices = draw(st.lists(st.integers(1, 4), min_size=total, max_size=total), label="slices of each track")
    starts = np.cumsum(num_slices) - num_slices
    features = np.arange(1, 2 * sum(num_slices) + 1, dtype=np.float32).reshape(-1, 2)
    pairs = st.tuples(st.integers(0, total - 1), st.integers(0, total - 1))
    for source, copy in draw(st.lists(pairs, max_size=3), label="copies, as far as both tracks reach"):
        reach = min(num_slices[source], num_slices[copy])
        features[starts[copy] : starts[copy] + reach] = features[starts[source] : starts[source] + reach]
    for source, copy in draw(st.lists(pairs, max_size=3), label="first slice repeated as last slice of another track"):
        features[starts[copy] + num_slices[copy] - 1] = features[starts[source]]
    silent = draw(st.lists(st.integers(0, len(features) - 1), max_size=4), label="silent rows")
    features[silent] = 0
    genre = np.repeat(np.arange(len(num_tracks)), num_tracks)
    tracks = tuple(f"{'abc'[genre[number]]}.{number:05d}" for number in range(total))
    players = st.sampled_from(
        [None, None, None, None, None, "Abba", "ABBA", "abba", "B. B. King", "b. b. king", "Björk"]
    )
    artists = draw(st.lists(players, min_size=total, max_size=total), label="artists")
    assume(any(artists))
    track = np.repeat(np.arange(total), num_slices)
    table = FeatureTable(
        features=features,
        feature_names=("rms_mean", "tempo"),
        length_samples=np.full(len(features), 66149, np.float32),
        tracks=tracks,
        track=track,
        slice_index=np.arange(len(features)) - starts[track],
        genre=genre.astype(np.int64),
        genres=tuple("abc"[: len(num_tracks)]),
        slice_seconds=3.0,
        hashes={},
    )
    return table, {name: artist for name, artist in zip(tracks, artists, strict=True) if artist}


def linked_tracks(table: FeatureTable, artists: Mapping[str, str] | None) -> set[tuple[int, int]]:
    """Pairs of tracks that share a slice that is not silent, or, with `artists`, an artist in any case."""
    sounding = [
        {tuple(row) for row in table.features[table.track == track].tolist() if row[0] > 0}
        for track in range(len(table.tracks))
    ]
    names = [(artists or {}).get(name, "").lower() for name in table.tracks]
    return {
        (a, b)
        for a, b in combinations(range(len(table.tracks)), 2)
        if sounding[a] & sounding[b] or (names[a] and names[a] == names[b])
    }


def components(num_tracks: int, links: set[tuple[int, int]]) -> list[int]:
    """The lowest track that each track is linked to, through any number of others."""
    lowest = list(range(num_tracks))
    for _ in range(num_tracks):
        for a, b in links:
            lowest[a] = lowest[b] = min(lowest[a], lowest[b])
    return lowest


def parts_of_tracks(table: FeatureTable, split: Split) -> list[set[int]]:
    return [set(split.part[table.track == track].tolist()) for track in range(len(table.tracks))]


@pytest.mark.parametrize("protocol", ["track", "artist"])
@given(
    drawn=tables_and_artists(),
    folds=st.integers(2, 4),
    val_folds=st.integers(2, 8),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_no_track_duplicate_or_artist_in_two_parts(
    protocol: str,
    drawn: tuple[FeatureTable, dict[str, str]],
    folds: int,
    val_folds: int,
    seed: int,
    data: st.DataObject,
) -> None:
    table, artists = drawn
    fold = data.draw(st.integers(0, folds - 1), label="fold")
    options = {"artists": artists, "folds": folds, "fold": fold, "val_folds": val_folds, "seed": seed}
    try:
        split = divide(table, protocol, **options)
    except UserError as error:
        assert re.search(TOO_FEW, str(error))  # noqa: PT017  # any other refusal is wrong, none is fine
        assume(False)
    parts = parts_of_tracks(table, split)
    assert all(len(part) == 1 for part in parts)
    assert {TRAIN, TEST} <= {part for track in parts for part in track}
    for a, b in linked_tracks(table, artists if protocol == "artist" else None):
        assert parts[a] == parts[b], (table.tracks[a], table.tracks[b])
    assert set(table.genre[table.track[split.part == TRAIN]]) == set(table.genre)
    np.testing.assert_array_equal(split.sequence, table.track)
    assert not split.leaks
    again = divide(table, protocol, **options)
    np.testing.assert_array_equal(again.part, split.part)


@pytest.mark.parametrize("protocol", ["track", "artist"])
@given(drawn=tables_and_artists(), seed=st.integers(0, 1000))
def test_groups_are_the_linked_tracks_and_no_more(
    protocol: str, drawn: tuple[FeatureTable, dict[str, str]], seed: int
) -> None:
    table, artists = drawn
    try:
        split = divide(table, protocol, artists=artists, folds=2, seed=seed)
    except UserError as error:
        assert re.search(TOO_FEW, str(error))  # noqa: PT017  # another refusal is wrong
        assume(False)
    expected = components(len(table.tracks), linked_tracks(table, artists if protocol == "artist" else None))
    np.testing.assert_array_equal(split.group[:, None] == split.group, np.equal.outer(expected, expected))


@pytest.mark.parametrize("protocol", ["track", "artist", "row"])
@given(drawn=tables_and_artists(), folds=st.integers(2, 4), seed=st.integers(0, 1000))
def test_each_unit_is_tested_exactly_once_over_the_folds(
    protocol: str, drawn: tuple[FeatureTable, dict[str, str]], folds: int, seed: int
) -> None:
    table, artists = drawn
    try:
        splits = [
            divide(table, protocol, artists=artists, folds=folds, fold=fold, seed=seed, allow_leak=True)
            for fold in range(folds)
        ]
    except UserError as error:
        assert re.search(TOO_FEW, str(error))  # noqa: PT017  # another refusal is wrong
        assume(False)
    tested = np.sum([split.part == TEST for split in splits], axis=0)
    assert tested.tolist() == [1] * len(table.track)
    assert all((split.part >= 0).all() for split in splits)


# --- folds --------------------------------------------------------------------------------------------------------


@given(
    genre=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    folds=st.integers(2, 7),
    seed=st.integers(0, 1000),
)
def test_single_units_fill_every_genre_up_evenly(genre: list[int], folds: int, seed: int) -> None:
    units = np.array(genre)
    fold = stratified_folds(units, np.arange(len(units)), folds, seed)
    assert ((fold >= 0) & (fold < folds)).all()
    for number in set(genre):
        counts = np.bincount(fold[units == number], minlength=folds)
        assert counts.max() - counts.min() <= 1


@given(
    units=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 15)), min_size=1, max_size=60),
    folds=st.integers(2, 7),
    seed=st.integers(0, 1000),
)
def test_groups_stay_whole_whatever_their_genres(units: list[tuple[int, int]], folds: int, seed: int) -> None:
    genre, group = np.array(units).T
    fold = stratified_folds(genre, group, folds, seed)
    assert ((fold >= 0) & (fold < folds)).all()
    for number in np.unique(group):
        assert len(np.unique(fold[group == number])) == 1


def test_single_tracks_make_up_for_groups() -> None:
    # one genre: a group of four, and eight single tracks; four to a fold is the only even way
    fold = stratified_folds(np.zeros(12, int), np.array([0] * 4 + list(range(1, 9))), folds=3, seed=0)
    assert np.bincount(fold).tolist() == [4, 4, 4]
    assert len(set(fold[:4])) == 1


def test_large_groups_spread_over_the_folds() -> None:
    group = np.repeat(np.arange(5), 4)
    fold = stratified_folds(np.zeros(20, int), group, folds=5, seed=3)
    assert np.bincount(fold).tolist() == [4] * 5


@pytest.mark.parametrize("protocol", ["track", "artist", "row"])
def test_every_genre_has_its_share_of_every_part(make_table: Tables, protocol: str) -> None:
    table = make_table(tracks=20, slices=3)
    artists = {table.tracks[0]: "A", table.tracks[1]: "A", table.tracks[25]: "A"}
    split = divide(table, protocol, artists=artists, allow_leak=True)
    for genre in range(3):
        counts = np.bincount(split.part[table.genre[table.track] == genre], minlength=3)
        slack = 0 if protocol == "track" else 3
        assert np.abs(counts - np.array([42, 6, 12])).max() <= slack  # of 60: a fifth, and an eighth of the rest


@pytest.mark.parametrize("protocol", ["track", "artist", "row", "misaligned", "mixed"])
def test_same_seed_same_split_and_another_seed_another(make_table: Tables, protocol: str) -> None:
    table = make_table(tracks=10)
    options: dict[str, Any] = {"artists": {"blues.00000": "A", "blues.00001": "A"}, "allow_leak": True}
    first, again, other = (divide(table, protocol, seed=seed, **options).part for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_row_order_of_the_csv_does_not_change_the_split(make_table: Tables, write_csv: Any, make_frame: Any) -> None:
    shuffled = read_table([write_csv(make_frame(tracks=8).sample(frac=1, random_state=2))])
    np.testing.assert_array_equal(divide(shuffled, "track").part, divide(make_table(tracks=8), "track").part)


# --- duplicates ---------------------------------------------------------------------------------------------------


def with_copied(table: FeatureTable, copies: Mapping[str, str], slices: slice = slice(None)) -> FeatureTable:
    """The table with the slices of one track written over those of another, {copy: original}."""
    features = table.features.copy()
    for copy, original in copies.items():
        rows = [np.flatnonzero(table.track == table.tracks.index(name))[slices] for name in (copy, original)]
        features[rows[0]] = features[rows[1]]
    return replace(table, features=features)


@pytest.mark.parametrize("protocol", ["track", "artist"])
@pytest.mark.parametrize("slices", [slice(None), slice(2, 3)])
def test_copy_under_another_name_stays_with_its_original(make_table: Tables, protocol: str, slices: slice) -> None:
    copies = {"blues.00007": "blues.00001", "metal.00003": "classical.00005", "metal.00004": "metal.00003"}
    table = with_copied(make_table(tracks=8, slices=4), copies, slices)
    for seed in range(12):
        split = divide(table, protocol, artists={"blues.00000": "A"}, seed=seed, fold=seed % 5)
        parts = dict(zip(table.tracks, parts_of_tracks(table, split), strict=True))
        assert parts["blues.00007"] == parts["blues.00001"]
        assert parts["metal.00003"] == parts["classical.00005"]
        assert split.notes[0] == "3 tracks repeat another one exactly and stay with it"


def test_nothing_is_noted_without_duplicates(make_table: Tables) -> None:
    assert divide(make_table(tracks=12), "track").notes == ()


def test_silent_slices_do_not_merge_tracks(make_table: Tables) -> None:
    table = make_table(tracks=8, slices=4)
    rms = table.feature_names.index("rms_mean")
    for level, expected in ((0.0, 24), (1e-6, 1)):  # an equal slice that sounds does merge
        features = table.features.copy()
        features[::4] = 0
        features[::4, rms] = level
        assert len(np.unique(duplicate_groups(replace(table, features=features)))) == expected


def test_wholly_silent_table_has_no_duplicates(make_table: Tables) -> None:
    table = make_table(tracks=2, slices=2)
    assert len(np.unique(duplicate_groups(replace(table, features=np.zeros_like(table.features))))) == 6


def test_nearly_equal_slices_are_no_duplicates(make_table: Tables) -> None:
    table = with_copied(make_table(tracks=2, slices=2), {"blues.00001": "blues.00000"})
    table.features[table.track == 1] = np.nextafter(table.features[table.track == 1], np.float32(np.inf))
    assert len(np.unique(duplicate_groups(table))) == 6


# --- artists ------------------------------------------------------------------------------------------------------


def test_artist_keeps_together_what_artists_and_copies_link(make_table: Tables) -> None:
    # 0 and 1 share an artist, 1 and 2 are one recording, 2 and 3 share another artist
    table = with_copied(make_table(tracks=10), {"blues.00002": "blues.00001"})
    artists = {"blues.00000": "X", "blues.00001": "x", "blues.00002": "Y", "blues.00003": "Y"}
    for seed in range(12):
        split = divide(table, "artist", artists=artists, seed=seed)
        assert len({int(part) for part in split.part[table.track < 4]}) == 1
    assert len(np.unique(split.group)) == 30 - 3


def test_names_of_an_index_and_of_lists_may_have_another_unicode_form(
    make_frame: Callable[..., pd.DataFrame],
) -> None:
    table = table_from_frame(make_frame(genres=("e\u0301", "metal"), tracks=10), source="mine")
    artists = {unicodedata.normalize("NFC", track): f"artist {number % 5}" for number, track in enumerate(table.tracks)}
    same = dict(zip(table.tracks, artists.values(), strict=True))
    split = divide(table, "artist", artists=artists)
    np.testing.assert_array_equal(split.group, np.arange(20) % 5)
    assert "5 artists; 0 of 20 tracks have none and stand for themselves" in split.notes
    assert same.keys() != artists.keys()
    lists = {name: PARTS[number % 3] for number, name in enumerate(artists)}
    assert (divide(table, "filtered", lists=lists).part >= 0).all()


def test_artists_do_not_count_under_track(make_table: Tables) -> None:
    table = make_table(tracks=10)
    artists = dict.fromkeys(table.tracks, "everyone")
    np.testing.assert_array_equal(divide(table, "track", artists=artists).part, divide(table, "track").part)


def test_missing_artists_are_an_error(make_table: Tables, user_error: Expect) -> None:
    with user_error("split", "artist", problem="artist index", hint="set dataset.artists"):
        divide(make_table(), "artist")


@pytest.mark.parametrize("artists", [{}, {"pop.00001": "ABBA"}])
def test_artists_of_another_corpus_are_refused(make_table: Tables, artists: dict[str, str], user_error: Expect) -> None:
    with user_error("dataset.artists", problem="none of the tracks, such as blues.00000"):
        divide(make_table(), "artist", artists=artists)


# --- the leaking protocols ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", LEAKING_PROTOCOLS)
def test_a_split_by_a_leaking_protocol_is_marked(make_table: Tables, protocol: str) -> None:
    assert divide(make_table(), protocol, allow_leak=True).leaks


def test_row_really_leaks(make_table: Tables) -> None:
    table = make_table(tracks=10)
    split = divide(table, "row", allow_leak=True)
    in_both = [track for track in parts_of_tracks(table, split) if {TRAIN, TEST} <= track]
    assert len(in_both) > 20  # nearly all of thirty
    np.testing.assert_array_equal(split.sequence, table.track)
    assert np.bincount(split.part).tolist() == [210, 30, 60]


def test_misaligned_sequences_after_a_short_track_hold_slices_of_two_tracks(make_table: Tables) -> None:
    table = make_table(tracks=6, short={"classical.00002": 9})  # the ninth of eighteen
    split = divide(table, "misaligned", allow_leak=True)
    assert split.notes[:2] == (
        "9 of 17 sequences hold slices of several tracks",
        "9 slices fill no whole sequence and were left out",
    )
    assert split.sequence.tolist() == [row // 10 for row in range(170)] + [LEFT_OUT] * 9
    np.testing.assert_array_equal(split.part < 0, split.sequence < 0)
    for block in range(17):
        rows = split.sequence == block
        assert len(set(split.part[rows].tolist())) == 1
        assert len(set(table.track[rows].tolist())) == (1 if block < 8 else 2)
    leaking = [
        any({TRAIN, TEST} <= track for track in parts_of_tracks(table, divide(table, "misaligned", **options)))
        for options in ({"allow_leak": True, "seed": seed} for seed in range(5))
    ]
    assert all(leaking)


def test_misaligned_straddles_nothing_without_short_tracks(make_table: Tables) -> None:
    table = make_table(tracks=6)
    split = divide(table, "misaligned", allow_leak=True)
    np.testing.assert_array_equal(split.sequence, table.track)
    assert split.notes[0] == "0 of 18 sequences hold slices of several tracks"
    assert all(len(track) == 1 for track in parts_of_tracks(table, split))


def test_mixed_sequences_are_of_one_genre_and_many_tracks(make_table: Tables) -> None:
    table = make_table(tracks={"blues": 8, "classical": 6, "metal": 7}, short={"classical.00002": 9})
    split = divide(table, "mixed", allow_leak=True)
    assert split.notes[:2] == (
        "20 of 20 sequences hold slices of several tracks",  # ten slices each, of sixty or so
        "9 slices fill no whole sequence and were left out",
    )
    np.testing.assert_array_equal(split.part < 0, split.sequence < 0)
    assert set(table.genre[table.track[split.part < 0]]) == {1}  # 59 slices: the remainder is classical
    for block in range(20):
        rows = split.sequence == block
        assert rows.sum() == 10
        assert len(set(split.part[rows].tolist())) == 1
        assert len(set(table.genre[table.track[rows]].tolist())) == 1
    in_both = [track for track in parts_of_tracks(table, split) if {TRAIN, TEST} <= track]
    assert len(in_both) > 15  # of 21 tracks


def test_mixed_folds_test_each_sequence_once(make_table: Tables) -> None:
    table = make_table(tracks=10, slices=3)
    splits = [divide(table, "mixed", fold=fold, seed=3, allow_leak=True) for fold in range(5)]
    for split in splits:
        np.testing.assert_array_equal(split.sequence, splits[0].sequence)  # the shuffle is the seed's, not the fold's
        assert np.bincount(table.genre[table.track[split.part == TEST]]).tolist() == [6, 6, 6]
    assert np.sum([split.part == TEST for split in splits], axis=0).tolist() == [1] * 90


def test_mixed_order_does_not_hang_on_the_csvs(make_table: Tables, write_csv: Any, make_frame: Any) -> None:
    shuffled = read_table([write_csv(make_frame(tracks=8).sample(frac=1, random_state=2))])
    one, other = (divide(table, "mixed", allow_leak=True) for table in (shuffled, make_table(tracks=8)))
    np.testing.assert_array_equal(one.sequence, other.sequence)
    np.testing.assert_array_equal(one.part, other.part)


@pytest.mark.parametrize("protocol", ["track", "filtered"])
def test_honest_protocols_do_not_need_permission(make_table: Tables, protocol: str) -> None:
    table = make_table(tracks=9)
    lists = {name: PARTS[number % 3] for number, name in enumerate(table.tracks)}
    split = divide(table, protocol, lists=lists, allow_leak=True)
    assert not split.leaks
    assert all(len(track) == 1 for track in parts_of_tracks(table, split))


# --- published lists ----------------------------------------------------------------------------------------------


def test_filtered_follows_the_lists(make_table: Tables) -> None:
    table = make_table(tracks=4)
    lists = {"blues.00000": "train", "metal.00003": "train", "blues.00002": "val", "classical.00001": "test"}
    lists["classical.00003"] = "train"
    split = divide(table, "filtered", lists=lists | {"pop.00001": "test"})
    for name, part in zip(table.tracks, parts_of_tracks(table, split), strict=True):
        assert part == {PARTS.index(lists[name]) if name in lists else LEFT_OUT}
    assert split.notes[:2] == (
        "7 of 12 tracks stand in no list and were left out",
        "1 of 6 listed tracks are not in this table",
    )
    np.testing.assert_array_equal(split.sequence, table.track)


def test_tracks_of_an_artist_in_one_list_are_one_group(make_table: Tables) -> None:
    table = make_table(tracks=4)
    lists = {"blues.00000": "train", "blues.00002": "val", "classical.00001": "test", "metal.00001": "test"}
    lists |= {"classical.00000": "train", "metal.00000": "train"}
    split = divide(table, "filtered", lists=lists, artists={"classical.00001": "X", "metal.00001": "x"})
    classical, metal = (table.tracks.index(track) for track in ("classical.00001", "metal.00001"))
    assert split.group[classical] == split.group[metal]
    assert len(np.unique(split.group)) == len(table.tracks) - 1


def test_an_official_split_that_leaks_is_kept_and_noted(make_table: Tables) -> None:
    table = make_table(tracks=4)
    lists = {"blues.00000": "train", "blues.00002": "val", "classical.00001": "test", "metal.00001": "train"}
    apart = {"blues.00000": "X", "classical.00001": "Y", "blues.00002": "Z"}
    split = divide(table, "official", lists=lists, artists=apart)
    assert not [note for note in split.notes if "leaks" in note]
    leaking = divide(table, "official", lists=lists, artists=apart | {"classical.00001": "x"})
    pair = "blues.00000 (train) and classical.00001 (test) are of one artist"
    assert leaking.notes[-1] == f"the official split leaks and is kept as it was published: {pair}"
    np.testing.assert_array_equal(leaking.part, split.part)
    assert len(set(leaking.group)) == len(set(split.group)) - 1  # for intervals they are one group
    assert not leaking.leaks


def test_a_corpus_without_an_official_split_is_refused(make_table: Tables, user_error: Expect) -> None:
    with user_error("split", "official", problem="official split, and this corpus has none", hint="split=artist"):
        divide(make_table(), "official")


def test_lists_that_share_an_artist_are_refused(make_table: Tables, user_error: Expect) -> None:
    table = make_table(tracks=4)
    lists = {"blues.00000": "train", "blues.00002": "val", "classical.00001": "test", "metal.00001": "train"}
    lists["classical.00000"] = "train"
    divide(table, "filtered", lists=lists, artists={"blues.00000": "X", "metal.00001": "X", "blues.00001": "X"})
    problem = "the lists leak: blues.00000 (train) and classical.00001 (test) are of one artist"
    with user_error("split", "filtered", problem=problem, hint="those of one part"):
        divide(table, "filtered", lists=lists, artists={"blues.00000": "X y", "classical.00001": "x Y"})


def test_lists_that_share_a_duplicate_are_refused(make_table: Tables, user_error: Expect) -> None:
    table = with_copied(make_table(tracks=4), {"classical.00001": "blues.00000"})
    lists = {"blues.00000": "train", "blues.00002": "val", "metal.00001": "test", "metal.00002": "train"}
    divide(table, "filtered", lists=lists)  # the copy is in no list
    problem = "the lists leak: blues.00000 (train) and classical.00001 (test) repeat each other exactly"
    with user_error("split", "filtered", problem=problem):
        divide(table, "filtered", lists=lists | {"classical.00001": "test"})


def test_lists_without_a_training_track_of_a_genre_are_refused_or_noted(make_table: Tables, user_error: Expect) -> None:
    table = make_table(tracks=4)
    lists = {"blues.00000": "train", "metal.00000": "train", "blues.00002": "val", "classical.00001": "test"}
    with user_error("split", "filtered", problem="the genre 'classical' has no track in the list of the part 'train'"):
        divide(table, "filtered", lists=lists)
    assert "but none for training: classical" in divide(table, "official", lists=lists).notes[-1]
    del lists["classical.00001"]  # a genre in no list is left out
    divide(table, "filtered", lists=lists | {"metal.00001": "test"})


def test_words_for_unknown_artists_are_no_artist(make_table: Tables) -> None:
    table = make_table(tracks=6)
    words = ("NA", "n/a", "Unknown Artist", "?", "-", "none")
    artists = dict(zip(table.tracks, words, strict=False)) | {"metal.00000": "X", "metal.00001": "Y"}
    artists |= dict.fromkeys(("classical.00000", "metal.00002"), "Various Artists")
    split = divide(table, "artist", artists=artists)
    assert len(np.unique(split.group)) == len(table.tracks) - 1
    assert any("6 tracks have a word such as 'NA' as artist, which is read as unknown" in note for note in split.notes)
    assert any("'Various Artists' is the artist of 2 tracks" in note for note in split.notes)


def test_two_spellings_of_an_artist_are_noted_and_not_merged(make_table: Tables) -> None:
    table = make_table(tracks=6)
    artists = dict(zip(table.tracks, ("The Beatles", "Beatles", "Beyonc\u00e9", "Beyonce", "X", "Y"), strict=False))
    split = divide(table, "artist", artists=artists)
    assert len(np.unique(split.group)) == len(table.tracks)
    assert any("'The Beatles' and 'Beatles' look like one artist, and 1 other pair does too" in n for n in split.notes)


@pytest.mark.parametrize("cause", ["have exactly the features of another one", "tracks are of 1 artist"])
def test_what_makes_a_genre_have_too_few_groups_is_named(make_table: Tables, user_error: Expect, cause: str) -> None:
    table = make_table(tracks=5)
    copies = {f"blues.0000{number}": "blues.00000" for number in range(1, 5)} if "features" in cause else {}
    artists = {} if copies else {f"blues.0000{number}": "X" for number in range(5)}
    with user_error("split.folds", 5, problem=cause, hint="add tracks of other artists"):
        divide(with_copied(table, copies), "artist", artists=artists | {"metal.00000": "Y"})


def test_missing_lists_are_an_error(make_table: Tables, user_error: Expect) -> None:
    with user_error("split", "filtered", problem="lists of tracks", hint="take split=artist or split=track"):
        divide(make_table(), "filtered")


@pytest.mark.parametrize("empty", PARTS)
def test_a_list_without_a_track_of_the_table_is_refused(make_table: Tables, empty: str, user_error: Expect) -> None:
    lists = {f"blues.0000{number}": part for number, part in enumerate(PARTS) if part != empty}
    problem = f"none of the tracks is in the list of the part '{empty}', which has such as 'pop.00000'"
    with user_error("split", "filtered", problem=problem, hint="in each line, such as blues.00000"):
        divide(make_table(), "filtered", lists=lists | {"pop.00000": empty})


@pytest.mark.parametrize("protocol", ["track", "artist", "row"])
def test_validation_folds_share_the_test_part_and_cover_the_rest_once(make_table: Tables, protocol: str) -> None:
    table = make_table(tracks=20)
    artists = {track: str(number // 2) for number, track in enumerate(table.tracks)}
    options = {"artists": artists, "folds": 4, "fold": 1, "val_folds": 3, "allow_leak": True}
    parts = np.stack([divide(table, protocol, val_fold=number, **options).part for number in range(3)])
    is_test = parts[0] == TEST
    np.testing.assert_array_equal(parts == TEST, np.tile(is_test, (3, 1)))
    np.testing.assert_array_equal((parts == VAL).sum(axis=0), np.where(is_test, 0, 1))


def test_a_validation_fold_that_few_groups_cannot_make_is_refused(make_table: Tables, user_error: Expect) -> None:
    with user_error("split.val_fold", 5, problem="4 validation folds only", hint="take split.val_fold=0 to 3"):
        divide(make_table(tracks=6), "track", folds=3, val_folds=8, val_fold=5)
    assert set(divide(make_table(tracks=6), "track", folds=3, val_folds=8, val_fold=3).part) == {TRAIN, VAL, TEST}


# --- too few tracks --------------------------------------------------------------------------------------------------


def test_more_folds_than_tracks_are_refused_with_a_hint(make_table: Tables, user_error: Expect) -> None:
    table = make_table(tracks={"blues": 8, "classical": 4, "metal": 6})
    with user_error("split.folds", 5, problem="the genre 'classical' has only 4 ", hint="take split.folds=4"):
        divide(table, "track", folds=5)
    assert set(divide(table, "track", folds=4).part.tolist()) == {TRAIN, VAL, TEST}


@pytest.mark.parametrize("protocol", ["track", "artist"])
@pytest.mark.parametrize("tracks", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("folds", [2, 5, 10, 30])
def test_the_advised_number_of_folds_works(make_table: Tables, protocol: str, tracks: int, folds: int) -> None:
    table = make_table(tracks={"blues": 12, "classical": tracks, "metal": 9}, slices=1)
    artists = {track: f"artist {number // 2 if number < 8 else number}" for number, track in enumerate(table.tracks)}
    try:
        divide(table, protocol, artists=artists, folds=folds, fold=folds - 1)
    except UserError as error:
        hint = error.hint or ""
        if (advised := re.match(r"take split.folds=(\d+)( and split.fold=0 to (\d+))?", hint)) is None:
            assert tracks < 3  # or none
            assert "leave its rows out of the table" in hint
            kept = make_table(genres=("blues", "metal"), tracks={"blues": 12, "metal": 9}, slices=1)
            divide(kept, protocol, artists=artists, folds=min(folds, 5))
            return
        number = int(advised[1])
        assert advised[3] == (None if folds <= number else str(number - 1))
        for fold in range(number):
            part = divide(table, protocol, artists=artists, folds=number, fold=fold).part
            assert set(part.tolist()) == {TRAIN, VAL, TEST}


def test_duplicates_count_as_one_track(make_table: Tables, user_error: Expect) -> None:
    table = with_copied(make_table(tracks=6), {"metal.00001": "metal.00000", "metal.00002": "metal.00000"})
    with user_error("split.folds", 5, problem="the genre 'metal' has only 4 tracks or groups"):
        divide(table, "track")


def test_genre_of_one_track_cannot_be_divided(make_table: Tables, user_error: Expect) -> None:
    table = make_table(tracks={"blues": 8, "classical": 1, "metal": 6})
    with user_error("split.folds", 5, problem="the genre 'classical' has only 1 ", hint="a genre needs three"):
        divide(table, "track")


def test_genre_without_training_tracks_is_refused_by_its_name(make_table: Tables) -> None:
    # two tracks in two folds: one is tested, the other becomes validation for some seeds
    table = make_table(tracks={"blues": 8, "classical": 2, "metal": 6}, slices=1)
    refusals = 0
    for seed in range(20):
        try:
            split = divide(table, "track", folds=2, seed=seed)
        except UserError as error:
            assert "the genre 'classical' has too few tracks for training" in error.problem  # noqa: PT017  # or none
            refusals += 1
        else:
            assert set(table.genre[table.track[split.part == TRAIN]]) == {0, 1, 2}
    assert refusals


def test_no_part_is_empty(make_table: Tables) -> None:
    # half of both genres is one recording; training and validation together may have only that group
    copies = dict.fromkeys(["blues.00001", "rock.00000", "rock.00001"], "blues.00000")
    table = with_copied(make_table(genres=("blues", "rock"), tracks=4, slices=1), copies)
    for seed in range(8):
        for fold in range(2):
            try:
                split = divide(table, "track", folds=2, fold=fold, seed=seed)
            except UserError as error:
                assert re.search(TOO_FEW, str(error))  # noqa: PT017  # another refusal is wrong
            else:
                assert set(split.part.tolist()) == {TRAIN, VAL, TEST}, (seed, fold)


# --- no split -----------------------------------------------------------------------------------------------------


def test_split_without_names_tests_every_row(make_table: Tables) -> None:
    table = with_copied(make_table(), {"blues.00001": "blues.00000"})
    split = split_by_name(table, "all")
    assert split.part.tolist() == [TEST] * len(table.track)
    assert split.protocol == "all"
    assert not split.leaks
    assert split.group[0] == split.group[1] != split.group[2]


# --- the real files -----------------------------------------------------------------------------------------------

GTZAN_REPETITIONS = {
    ("disco.00098", "disco.00099"),
    ("hiphop.00039", "hiphop.00045"),
    ("hiphop.00076", "hiphop.00078"),
    ("metal.00034", "metal.00094"),
    ("metal.00040", "metal.00061"),
    ("metal.00041", "metal.00062"),
    ("metal.00042", "metal.00063"),
    ("metal.00043", "metal.00064"),
    ("metal.00044", "metal.00065"),
    ("metal.00045", "metal.00066"),
    ("metal.00058", "rock.00016"),
    ("pop.00054", "pop.00060"),
    ("pop.00067", "pop.00071"),
    ("reggae.00081", "reggae.00082"),
}


def repetitions(table: FeatureTable) -> set[tuple[str, ...]]:
    groups = pd.Series(list(table.tracks)).groupby(duplicate_groups(table)).agg(tuple)
    return {group for group in groups if len(group) > 1}


def test_real_repetitions_are_found_across_genres(real_file: Finder) -> None:
    assert repetitions(read_table([real_file("gtzan/features_30_sec.csv")])) == GTZAN_REPETITIONS
    in_slices = repetitions(read_table([real_file("gtzan/features_10_sec.csv")]))
    assert in_slices == GTZAN_REPETITIONS | {("jazz.00053", "jazz.00054")}  # that file's own fault


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("gtzan/features_30_sec.csv", "gtzan/meta/GTZANindex.txt"),
        ("gtzan/features_10_sec.csv", "gtzan/meta/GTZANindex.txt"),
        ("epidemic11/features_3_sec.csv", "epidemic11/tracks.csv"),
    ],
)
def test_no_real_artist_in_two_parts(real_file: Finder, name: str, index: str) -> None:
    table, artists = read_table([real_file(name)]), read_artists(real_file(index))
    names = pd.Series([artists.get(track, track).lower() for track in table.tracks])
    tested = np.zeros(len(table.track), int)
    for fold in range(5):
        split = divide(table, "artist", artists=artists, fold=fold, seed=fold)
        track_part = (
            pd.DataFrame({"track": table.track, "part": split.part}).groupby("track")["part"].agg(["min", "max"])
        )
        assert (track_part["min"] == track_part["max"]).all()
        assert track_part["min"].groupby(names).nunique().max() == 1
        by_name = dict(zip(table.tracks, track_part["min"], strict=True))
        assert all(len({by_name[member] for member in group}) == 1 for group in repetitions(table))
        tested += divide(table, "artist", artists=artists, fold=fold).part == TEST
    assert (tested == 1).all()


def test_real_filtered_lists_give_their_published_parts(real_file: Finder) -> None:
    files = {"train": "train", "val": "valid", "test": "test"}
    lists = read_lists({part: real_file(f"gtzan/splits/filtered/{file}_filtered.txt") for part, file in files.items()})
    artists = read_artists(real_file("gtzan/meta/GTZANindex.txt"))
    table = read_table([real_file("gtzan/features_30_sec.csv")])
    split = divide(table, "filtered", lists=lists, artists=artists)
    assert [int((split.part == part).sum()) for part in (TRAIN, VAL, TEST, LEFT_OUT)] == [443, 197, 290, 70]


def test_real_stratified_lists_are_refused_as_they_leak(real_file: Finder, user_error: Expect) -> None:
    files = {"train": "train", "val": "valid", "test": "test"}
    lists = read_lists(
        {part: real_file(f"gtzan/splits/stratified/{file}_stratified.txt") for part, file in files.items()}
    )
    table = read_table([real_file("gtzan/features_30_sec.csv")])
    with user_error("split", "filtered", problem="repeat each other exactly"):
        divide(table, "filtered", lists=lists)


def test_real_ten_second_file_straddles_by_position(real_file: Finder) -> None:
    split = divide(read_table([real_file("gtzan/features_10_sec.csv")]), "misaligned", allow_leak=True)
    assert split.notes == ("671 of 997 sequences hold slices of several tracks",)
