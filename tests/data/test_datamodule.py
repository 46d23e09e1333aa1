"""Claims about `genregrid.data.datamodule`: which slices a batch holds, and in which order."""

import tracemalloc
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from genregrid.config import SplitConfig
from genregrid.data.datamodule import GenreDataModule, WindowBatches
from genregrid.data.split import PARTS, TEST, TRAIN, Split, split_by_name, split_table
from genregrid.data.table import FeatureTable, read_table
from genregrid.models.transform import FeatureTransform

Tables = Callable[..., FeatureTable]

SHORT = {"blues.00001": 9, "classical.00007": 4, "metal.00003": 1}


@pytest.fixture
def table(make_table: Tables) -> FeatureTable:
    """Thirty tracks of ten slices, but for three short ones."""
    return make_table(tracks=10, short=SHORT)


def batches_of(module: GenreDataModule) -> dict[str, WindowBatches]:
    return {"train": module.train_dataloader(), "val": module.val_dataloader(), "test": module.test_dataloader()}


def row_numbers(table: FeatureTable, slices: Tensor) -> list[int]:
    """The table rows that hold these (slice, feature) values."""
    known = {row.tobytes(): number for number, row in enumerate(table.features)}
    return [known[row.numpy().tobytes()] for row in slices]


def windows_seen(table: FeatureTable, batches: WindowBatches) -> list[tuple[int, ...]]:
    """The rows of every window, in the order of the batches."""
    return [
        tuple(row_numbers(table, features[:length]))
        for batch in batches
        for features, length in zip(batch["features"], batch["length"], strict=True)
    ]


@pytest.mark.parametrize("part", PARTS)
def test_batches_have_the_documented_keys_axes_and_dtypes(table: FeatureTable, part: str) -> None:
    batches = batches_of(
        GenreDataModule(table, split_table(table, SplitConfig(protocol="track")), window=3, batch_size=7)
    )[part]
    sizes = []
    for batch in batches:
        assert list(batch) == ["features", "length", "genre", "track"]
        size = len(batch["genre"])
        assert batch["features"].shape == (size, 3, 57)
        assert batch["features"].dtype == torch.float32
        for key in ("length", "genre", "track"):
            assert batch[key].shape == (size,)
            assert batch[key].dtype == torch.int64
        sizes.append(size)
    assert len(batches) == len(sizes)
    assert all(size == 7 for size in sizes[:-1])
    assert part != "train" or len(sizes) > 2


@pytest.mark.parametrize("window", [1, 3, 10, None])
def test_features_genre_and_track_are_the_tables(table: FeatureTable, window: int | None) -> None:
    module = GenreDataModule(table, split_table(table, SplitConfig(protocol="track")), window=window)
    for batches in batches_of(module).values():
        for batch in batches:
            for features, length, genre, track in zip(*batch.values(), strict=True):
                rows = row_numbers(table, features[:length])
                assert rows == list(range(rows[0], rows[0] + length))  # consecutive slices
                assert set(table.track[rows].tolist()) == {track.item()}
                assert genre == table.genre[track]


@pytest.mark.parametrize(("window", "hop_slices"), [(1, None), (3, None), (3, 1), (4, 6), (None, None), (20, None)])
def test_every_window_of_a_part_comes_exactly_once_an_epoch(
    table: FeatureTable, window: int | None, hop_slices: int | None
) -> None:
    split = split_table(table, SplitConfig(protocol="track"))
    module = GenreDataModule(table, split, window=window, hop_slices=hop_slices, batch_size=7)
    for number, (part, batches) in enumerate(batches_of(module).items()):
        expected = []
        for track in range(len(table.tracks)):
            rows = np.flatnonzero((table.track == track) & (split.part == number)).tolist()
            length = window or 10
            starts = [0, *range(hop_slices or length, len(rows) - length + 1, hop_slices or length)]
            expected += [tuple(rows[start : start + length]) for start in starts if rows]
        seen = windows_seen(table, batches)
        assert sorted(seen) == sorted(expected)
        if part != "train":
            assert seen == expected  # in the table's order


def test_padding_after_the_length_is_zero(table: FeatureTable) -> None:
    module = GenreDataModule(table, split_by_name(table, "all"))
    (batch,) = module.test_dataloader()
    assert batch["features"].shape == (30, 10, 57)
    assert dict(zip(table.tracks, batch["length"].tolist(), strict=True)) == dict.fromkeys(table.tracks, 10) | SHORT
    for features, length in zip(batch["features"], batch["length"], strict=True):
        assert (features[length:] == 0).all()
        assert features[:length].any(dim=1).all()


def test_training_order_is_the_seeds_and_new_each_epoch(table: FeatureTable) -> None:
    split = split_table(table, SplitConfig(protocol="track"))

    def epochs(seed: int) -> list[list[tuple[int, ...]]]:
        batches = GenreDataModule(table, split, window=1, seed=seed).train_dataloader()
        return [windows_seen(table, batches) for _ in range(3)]

    first = epochs(seed=1)
    assert first == epochs(seed=1)
    assert first[0] != first[1] != first[2] != first[0]
    assert first[0] != sorted(first[0])
    assert first[0] != epochs(seed=2)[0]
    assert sorted(first[0]) == sorted(first[1])


@pytest.mark.parametrize("part", ["val", "test"])
def test_evaluation_order_stays(table: FeatureTable, part: str) -> None:
    batches = batches_of(GenreDataModule(table, split_table(table, SplitConfig(protocol="track")), window=1))[part]
    assert windows_seen(table, batches) == windows_seen(table, batches)


def test_batches_of_evaluation_hold_every_window_once(table: FeatureTable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genregrid.data.datamodule.EVALUATION_BATCH_SIZE", 16)
    seen = windows_seen(table, GenreDataModule(table, split_by_name(table, "all"), window=1).test_dataloader())
    assert seen == [(row,) for row in range(len(table.track))]


@pytest.mark.parametrize("protocol", ["track", "row"])
def test_training_rows_are_those_of_the_training_part_only(table: FeatureTable, protocol: str) -> None:
    split = split_table(table, SplitConfig(protocol=protocol, allow_leak=True))
    rows = GenreDataModule(table, split, window=4).training_rows
    assert rows.tolist() == np.flatnonzero(split.part == TRAIN).tolist()


def test_row_sequences_hold_only_their_parts_slices(table: FeatureTable) -> None:
    split = split_table(table, SplitConfig(protocol="row", allow_leak=True))
    module = GenreDataModule(table, split)
    for number, batches in enumerate(batches_of(module).values()):
        windows = windows_seen(table, batches)
        rows = [row for window in windows for row in window]
        assert set(split.part[rows].tolist()) == {number}
        assert sorted(rows) == np.flatnonzero(split.part == number).tolist()
        for window in windows:
            assert len(set(table.track[list(window)].tolist())) == 1
            assert list(window) == sorted(window)


def test_misaligned_windows_are_blocks_of_rows(table: FeatureTable) -> None:
    split = split_table(table, SplitConfig(protocol="misaligned", allow_leak=True))
    module = GenreDataModule(table, split)
    windows = [window for batches in batches_of(module).values() for window in windows_seen(table, batches)]
    assert sorted(windows) == [tuple(range(start, start + 10)) for start in range(0, len(table.track) - 9, 10)]
    for batch in module.train_dataloader():  # the first slice names the track
        first = [row_numbers(table, features[:1])[0] for features in batch["features"]]
        np.testing.assert_array_equal(batch["track"], table.track[first])


def test_tracks_of_each_part_are_named(table: FeatureTable) -> None:
    split = split_table(table, SplitConfig(protocol="track"))
    tracks = GenreDataModule(table, split).tracks
    assert Counter(name for part in tracks.values() for name in part) == Counter(table.tracks)
    for number, part in enumerate(PARTS):
        assert tracks[part] == sorted({table.tracks[track] for track in table.track[split.part == number]})


@pytest.mark.parametrize(
    ("window", "hop_slices", "num_unused"),
    [
        (None, None, 0),
        (1, None, 0),
        (3, 1, 0),  # every slice is in a window
        (3, None, 27 + 1),  # one after three windows of each whole track, and one of the four-slice track
        (4, 6, 27 * 2 + 5),  # whole tracks: slices 4 and 5; of nine slices five
        (12, None, 0),  # padded
    ],
)
def test_slices_in_no_window_are_counted(
    table: FeatureTable, window: int | None, hop_slices: int | None, num_unused: int
) -> None:
    module = GenreDataModule(table, split_by_name(table, "all"), window=window, hop_slices=hop_slices)
    assert module.num_unused_slices == num_unused


def test_slices_left_out_of_the_split_are_not_counted_as_unused(make_table: Tables) -> None:
    table = make_table(tracks=3)
    lists = {f"blues.0000{number}": part for number, part in enumerate(PARTS)}
    module = GenreDataModule(table, split_table(table, SplitConfig(protocol="filtered"), lists=lists), window=3)
    assert module.num_unused_slices == 3


def test_part_without_slices_has_no_batches(table: FeatureTable) -> None:
    module = GenreDataModule(table, split_by_name(table, "all"), window=3)
    assert len(module.train_dataloader()) == 0
    assert list(module.train_dataloader()) == []
    assert module.tracks["train"] == []
    assert module.training_rows.shape == (0,)


def test_table_is_not_changed(table: FeatureTable) -> None:
    before = table.features.copy()
    for batch in GenreDataModule(table, split_by_name(table, "all")).test_dataloader():
        batch["features"].add_(1)
    np.testing.assert_array_equal(table.features, before)
    module = GenreDataModule(table, split_by_name(table, "all"))
    (first,), (second,) = module.test_dataloader(), module.test_dataloader()
    first["features"].zero_()
    assert second["features"].any()


def test_sequences_may_interleave(make_table: Tables) -> None:
    # rows of two sequences by turns: the window gathers each one's rows in order
    table = make_table(tracks=1, slices=4, genres=("blues", "rock"))
    base = split_by_name(table, "all")
    split: Split = replace(base, sequence=np.array([0, 1, 0, 1, 0, 1, 0, 1]))
    assert windows_seen(table, GenreDataModule(table, split, window=2).test_dataloader()) == [
        (0, 2),
        (4, 6),
        (1, 3),
        (5, 7),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("is_sorted", [pytest.param(True, marks=pytest.mark.torture), False])
def test_a_corpus_never_takes_more_than_three_times_its_size(
    make_frame: Callable[..., pd.DataFrame], write_csv: Callable[..., Path], is_sorted: bool
) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=1000)
    path = write_csv(frame if is_sorted else frame.sample(frac=1, random_state=0))
    size = len(frame) * 57 * np.dtype(np.float32).itemsize
    del frame
    tracemalloc.start()
    try:
        table = read_table([path])
        module = GenreDataModule(table, split_table(table, SplitConfig(protocol="track")), window=10)
        FeatureTransform("log", table.feature_names).fit(table.features, module.training_rows)
        deque(module.train_dataloader(), maxlen=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert table.features.nbytes == size
    assert peak < 3 * size + 2**20  # what a block of rows takes, however large the corpus is


@pytest.mark.parametrize("num_ranks", [2, 3])
def test_processes_share_shuffled_windows_without_a_repetition(table: FeatureTable, num_ranks: int) -> None:
    module = GenreDataModule(table, split_table(table, SplitConfig(protocol="track", folds=3)), window=3, batch_size=4)
    alone = windows_seen(table, module.train_dataloader())
    shares = [
        windows_seen(
            table,
            WindowBatches(
                table.features,
                module.windows[TRAIN],
                4,
                torch.Generator().manual_seed(0),
                rank=rank,
                num_ranks=num_ranks,
            ),
        )
        for rank in range(num_ranks)
    ]
    assert len(alone) % 2  # or nothing would be left out
    assert {len(share) for share in shares} == {len(alone) // num_ranks}
    assert [window for turn in zip(*shares, strict=True) for window in turn] == alone[: len(shares[0]) * num_ranks]


@pytest.mark.parametrize("num_ranks", [2, 3, 100])
def test_processes_share_ordered_windows_and_mark_what_fills_up(table: FeatureTable, num_ranks: int) -> None:
    windows = GenreDataModule(table, split_by_name(table, "all"), window=3).windows[TEST]
    shares = [
        list(WindowBatches(table.features, windows, 7, rank=rank, num_ranks=num_ranks)) for rank in range(num_ranks)
    ]
    assert len({len(share) for share in shares}) == 1
    shared = torch.stack([torch.cat([batch["track"] for batch in share]) for share in shares], dim=1).flatten()
    num_windows = len(windows.track)
    assert shared[:num_windows].equal(windows.track)
    assert (shared[num_windows:] == -1).all()
    assert len(shared) - num_windows < num_ranks
