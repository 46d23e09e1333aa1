"""Claims about `genregrid.data.reslice`: pooled slices have the statistics of all their frames."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from genregrid.data.reslice import possible_slice_seconds, reslice
from genregrid.data.table import FeatureTable, read_table

Tables = Callable[..., FeatureTable]

# of frames: two descriptors with mean and variance, and tempo, which has neither
NAMES = ("rms_mean", "rms_var", "tempo", "mfcc1_var", "mfcc1_mean")


def table_of_frames(frames: NDArray[np.float64], num_slices: list[int], tempo: NDArray[np.float64]) -> FeatureTable:
    """Tracks of two genres whose slices hold the statistics of `frames`, (slice, frame, descriptor)."""
    mean, variance = frames.mean(axis=1), frames.var(axis=1)
    track = np.repeat(np.arange(len(num_slices)), num_slices)
    return FeatureTable(
        features=np.column_stack([mean[:, 0], variance[:, 0], tempo, variance[:, 1], mean[:, 1]]).astype(np.float32),
        feature_names=NAMES,
        length_samples=np.arange(len(track), dtype=np.float32) + 66149,
        tracks=tuple(f"blues.{number:05d}" for number in range(len(num_slices))),
        track=track,
        slice_index=np.concatenate([np.arange(count) for count in num_slices]),
        genre=np.arange(len(num_slices)) % 2,
        genres=("blues", "rock"),
        slice_seconds=3.0,
        hashes={},
    )


@given(
    num_slices=st.lists(st.integers(1, 11), min_size=1, max_size=6).filter(lambda counts: max(counts) >= 2),
    num_frames=st.integers(1, 20),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_pooled_statistics_are_those_of_all_frames(
    num_slices: list[int], num_frames: int, seed: int, data: st.DataObject
) -> None:
    pooled = data.draw(st.integers(2, max(num_slices)), label="pooled")
    random = np.random.default_rng(seed)
    # slices differ in level and in spread, so that the variance between slices counts
    level = 10 * random.standard_normal((sum(num_slices), 1, 2))
    frames = level + random.gamma(1.0, 2.0, level.shape) * random.standard_normal((sum(num_slices), num_frames, 2))
    tempo = random.choice([86.1, 92.3, 99.4, 117.5, 123.0, 143.6], sum(num_slices))
    table = table_of_frames(frames, num_slices, tempo)
    result = reslice(table, 3.0 * pooled)

    expected, names, lengths = [], [], []
    first = 0
    for name, count in zip(table.tracks, num_slices, strict=True):
        for index in range(count // pooled):
            rows = slice(first + index * pooled, first + (index + 1) * pooled)
            together = frames[rows].reshape(-1, 2)
            mean, variance = together.mean(axis=0), together.var(axis=0)
            expected.append([mean[0], variance[0], np.median(tempo[rows]), variance[1], mean[1]])
            names.append((name, index))
            lengths.append(table.length_samples[rows].sum())
        first += count
    assert [(result.tracks[t], i) for t, i in zip(result.track, result.slice_index, strict=True)] == names
    np.testing.assert_allclose(result.features, expected, rtol=1e-4, atol=1e-4)  # float32 in, float32 out
    np.testing.assert_array_equal(result.length_samples, lengths)
    assert result.slice_seconds == 3.0 * pooled
    assert result.features.dtype == np.float32


def test_variance_between_slices_is_counted() -> None:
    # 0 0 and 4 4: no variance within the slices, mean 2 and population variance 4 over all frames
    table = table_of_frames(np.array([[[0.0, 1]] * 2, [[4.0, 1]] * 2]), [2], np.array([100.0, 120.0]))
    assert reslice(table, 6.0).features.tolist() == [[2.0, 4.0, 110.0, 0.0, 1.0]]


def test_tempo_is_the_median_not_the_mean() -> None:
    table = table_of_frames(np.zeros((3, 1, 2)), [3], np.array([60.0, 120.0, 123.0]))
    assert reslice(table, 9.0).features[0, 2] == 120.0


def test_tracks_genres_and_features_stay_in_step(make_table: Tables) -> None:
    table = make_table(genres=("blues", "jazz", "rock"), tracks=4, short={"blues.00002": 1, "jazz.00000": 1})
    result = reslice(table, 15.0)
    assert set(table.tracks) - set(result.tracks) == {"blues.00002", "jazz.00000"}
    assert [result.genres[genre] for genre in result.genre] == [name.split(".")[0] for name in result.tracks]
    assert result.feature_names == table.feature_names
    mfcc = table.feature_names.index("mfcc1_mean")
    for row in range(len(result.track)):
        rows = table.track == table.tracks.index(result.tracks[result.track[row]])
        half = slice(5 * result.slice_index[row], 5 * result.slice_index[row] + 5)
        np.testing.assert_allclose(result.features[row, mfcc], table.features[rows, mfcc][half].mean(), rtol=1e-5)


def test_same_length_is_the_same_table(make_table: Tables) -> None:
    table = make_table()
    assert reslice(table, 3.0) is table


def test_lengths_are_summed(make_table: Tables) -> None:
    assert set(reslice(make_table(), 15.0).length_samples.tolist()) == {5 * 66149.0}


def test_other_columns_are_pooled_by_their_mean_where_it_is_wanted(
    make_table: Tables, user_error: Callable[..., Any]
) -> None:
    table = make_table(tracks=2)
    names = tuple(name.replace("tempo", "energy") for name in table.feature_names)
    renamed = replace(table, feature_names=names)
    with user_error("column 'energy'", hint="dataset.pooling=mean"):
        reslice(renamed, 6.0)
    pooled = reslice(renamed, 6.0, others_by_mean=True)
    column = names.index("energy")
    expected = table.features[:, column].reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(pooled.features[:, column], expected, rtol=1e-6)


def test_remainder_is_dropped_and_counted(make_table: Tables) -> None:
    result = reslice(make_table(tracks=2, short={"blues.00001": 9}), 6.0)
    assert result.num_slices.tolist() == [5, 4, 5, 5, 5, 5]
    assert result.notes[-1] == "pooling 2 slices of 3 s left over 1 of 59 slices"


def test_nothing_is_noted_where_nothing_is_dropped(make_table: Tables) -> None:
    table = make_table()
    assert reslice(table, 6.0).notes == table.notes


def test_nine_of_ten_slices_make_27_seconds(make_table: Tables) -> None:
    result = reslice(make_table(tracks=2, short={"blues.00001": 9}), 27.0)
    assert result.num_slices.tolist() == [1] * 6
    assert result.slice_seconds == 27.0
    assert result.notes[-1] == "pooling 9 slices of 3 s left over 5 of 59 slices"


def test_tracks_too_short_for_one_slice_are_left_out_and_counted(make_table: Tables) -> None:
    result = reslice(make_table(tracks=2, short={"blues.00001": 9, "metal.00000": 4}), 30.0)
    assert result.tracks == ("blues.00000", "classical.00000", "classical.00001", "metal.00001")
    assert result.notes[-2:] == (
        "pooling 10 slices of 3 s left over 13 of 53 slices",
        "2 tracks are too short for one slice of that length and were left out",
    )


def test_one_track_that_is_left_out_is_counted_in_the_singular(make_table: Tables) -> None:
    result = reslice(make_table(tracks=2, short={"metal.00000": 4}), 30.0)
    assert result.notes[-1] == "1 track is too short for one slice of that length and was left out"


@pytest.mark.parametrize("seconds", [1.5, 2.0, 4.0, 7.5, 15.0, 33.0])
def test_impossible_length_is_refused_with_the_possible_ones(
    make_table: Tables, user_error: Callable[..., Any], seconds: float
) -> None:
    with user_error("slice", seconds, problem="this table can make slices of 3, 6, 9, 12 seconds"):
        reslice(make_table(tracks=2, slices=4, short={"blues.00000": 3}), seconds)


def test_possible_lengths_are_free_of_rounding_noise() -> None:
    assert possible_slice_seconds(0.1, 7) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]


def test_variance_without_its_mean_is_refused(make_table: Tables, user_error: Callable[..., Any]) -> None:
    table = make_table()
    kept = [index for index, name in enumerate(table.feature_names) if name != "mfcc3_mean"]
    names = tuple(table.feature_names[index] for index in kept)
    with user_error("column 'mfcc3_var'", problem="without its mean", hint="extract"):
        reslice(replace(table, features=table.features[:, kept], feature_names=names), 6.0)


def test_descriptor_of_another_kind_is_refused(make_table: Tables, user_error: Callable[..., Any]) -> None:
    with user_error("column 'length'", problem="no pooling rule", hint="extract"):
        reslice(make_table().with_length(), 6.0)


def test_pooled_real_slices_come_close_to_the_real_whole_clips(real_file: Callable[[str], Path]) -> None:
    table = read_table([real_file("gtzan/features_3_sec.rebuilt192.csv")])
    whole = read_table([real_file("gtzan/features_30_sec.csv")])
    pooled = reslice(table, 30.0)
    assert len(pooled.tracks) == 187  # five tracks have nine slices
    assert pooled.notes[-1].startswith("5 tracks are too short")
    same = whole.features[[whole.tracks.index(name) for name in pooled.tracks]].astype(np.float64)
    difference = np.abs(pooled.features - same) / whole.features.std(axis=0)
    for column, name in enumerate(pooled.feature_names):
        if name == "tempo":  # of the whole slice, not of frames: measured 57 % equal, correlation 0.61
            assert np.mean(difference[:, column] == 0) > 0.5
            continue
        # measured: correlation 0.989 (mfcc6_var) to 1.000, median difference at most 0.058 (mfcc14_mean) of the
        # column's standard deviation; the decibel floor of MFCCs depends on the whole slice
        assert np.corrcoef(pooled.features[:, column], same[:, column])[0, 1] > 0.985, name
        assert np.median(difference[:, column]) < 0.07, name
        if not name.startswith(("mfcc", "chroma")):  # measured: at most 0.058 at the 95th percentile
            assert np.quantile(difference[:, column], 0.95) < 0.07, name
