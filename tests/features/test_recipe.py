"""Claims about `genregrid.features.recipe`: where slices start, their descriptors, and the note beside a CSV."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from genregrid.data.columns import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.data.note import RecipeNote, note_path, read_note
from genregrid.features import handmade
from genregrid.features.analysis import Analysis
from genregrid.features.descriptors import kaggle_descriptors
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.known_recipe import OPTIONS, may_overlap, option_of, recipe_named
from genregrid.features.recipe import MIN_SLICE_SECONDS, SliceDescriber
from genregrid.features.spectrum import Padding

REFLECT, CONSTANT = HandmadeRecipe("kaggle", "reflect"), HandmadeRecipe("kaggle", "constant")
RECIPES = [REFLECT, CONSTANT, HandmadeRecipe("rich", "reflect"), HandmadeRecipe("rich", "constant")]


@given(
    num_samples=st.integers(0, 2_000_000) | st.integers(0, 5000),
    slice_seconds=st.floats(MIN_SLICE_SECONDS, 40.0),
    recipe=st.sampled_from(RECIPES),
)
@example(num_samples=66150, slice_seconds=1.0, recipe=REFLECT)  # the third ends with the track
@example(num_samples=66151, slice_seconds=1.0, recipe=REFLECT)
@example(num_samples=66150, slice_seconds=1.0, recipe=CONSTANT)
def test_slices_follow_each_other_and_leave_over_less_than_one(
    num_samples: int, slice_seconds: float, recipe: HandmadeRecipe
) -> None:
    bounds = recipe.slice_bounds(num_samples, slice_seconds)
    step = round(slice_seconds * SAMPLE_RATE_HZ)
    if abs(num_samples - step) <= 0.025 * step:
        assert bounds == [(0, num_samples)]
        return
    # a mirrored slice lacks its last sample, and the last slice exists only if another sample follows
    left_out = must_follow = 1 if recipe.padding == "reflect" else 0
    assert [start for start, _ in bounds] == [step * number for number in range(len(bounds))]
    assert {stop - start for start, stop in bounds} <= {step - left_out}
    end = step * len(bounds)
    assert not bounds or end + must_follow <= num_samples
    assert end + step + must_follow > num_samples


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("num_samples", [660_000, 661_500, 661_794, 675_808])
def test_a_gtzan_clip_is_one_slice_of_30_seconds(recipe: HandmadeRecipe, num_samples: int) -> None:
    # the shortest, the exact, the usual and the longest of the collection
    assert recipe.slice_bounds(num_samples, 30.0) == [(0, num_samples)]


@pytest.mark.parametrize(("num_samples", "expected"), [(644_962, 0), (644_963, 1), (678_037, 1)])
def test_whole_clips_are_within_a_fortieth(num_samples: int, expected: int) -> None:
    # 30 s are 661500 samples, and a fortieth of them 16537.5
    assert len(CONSTANT.slice_bounds(num_samples, 30.0)) == expected
    assert CONSTANT.slice_bounds(678_038, 30.0) == [(0, 661_500)]


@pytest.mark.parametrize(("num_samples", "mirrored", "whole"), [(661_499, 9, 9), (661_500, 9, 10), (661_501, 10, 10)])
def test_exactly_30_seconds_give_nine_mirrored_slices_and_ten_whole_ones(
    num_samples: int, mirrored: int, whole: int
) -> None:
    # Kaggle's files have nine rows of the clips of 661500 samples
    assert len(REFLECT.slice_bounds(num_samples, 3.0)) == mirrored
    assert len(CONSTANT.slice_bounds(num_samples, 3.0)) == whole


def draw_track(num_samples: int) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(0).standard_normal(num_samples)).astype(np.float32)


@given(
    num_samples=st.integers(0, 300_000),
    slice_seconds=st.sampled_from([0.05, 0.5, 1.0, 3.0]) | st.floats(MIN_SLICE_SECONDS, 8.0),
    padding=st.sampled_from(["reflect", "constant"]),
    block=st.integers(1000, 200_000),
)
@example(num_samples=67_804, slice_seconds=3.0, padding="reflect", block=1000)  # the longest whole slice of 3 s
@example(num_samples=67_805, slice_seconds=3.0, padding="reflect", block=67_805)
def test_a_track_in_blocks_has_the_slices_of_the_whole_track(
    num_samples: int, slice_seconds: float, padding: Padding, block: int
) -> None:
    """The descriptors are the first and the last sample, and samples are their own number."""

    def ends(analysis: Analysis) -> dict[str, NDArray[np.float64]]:
        return {"first": analysis.samples[:, 0].astype(float), "last": analysis.samples[:, -1].astype(float)}

    samples = np.arange(num_samples, dtype=np.float32)
    recipe = HandmadeRecipe("ends", padding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handmade, "DESCRIPTORS", {"ends": (("first", "last"), ends)})
        describer = SliceDescriber(recipe, slice_seconds)
        most_held = 0
        for start in range(0, num_samples, block):
            describer.add(samples[start : start + block])
            most_held = max(most_held, sum(map(len, describer._held)))
        rows = describer.finish()
    found = [(int(first), int(last) + 1) for part in rows for _, first, last in part]
    assert found == recipe.slice_bounds(num_samples, slice_seconds)
    assert [int(length) for part in rows for length, _, _ in part] == [stop - start for start, stop in found]
    assert describer.num_values == 3 * len(found)
    step = round(slice_seconds * SAMPLE_RATE_HZ)
    assert most_held <= max(1.03 * step, 16 * SAMPLE_RATE_HZ) + block


@pytest.mark.parametrize("frames_at_once", [1, 45, 10**6])  # a slice of 0.5 s has 22 frames: blocks of 1, 2 and all
@pytest.mark.parametrize("recipe", [REFLECT, CONSTANT], ids=lambda recipe: recipe.name)
def test_a_track_is_described_slice_by_slice(
    recipe: HandmadeRecipe, frames_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handmade, "_FRAMES_AT_ONCE", frames_at_once)
    samples = draw_track(60_000)
    described = recipe.describe(samples, 0.5)
    bounds = recipe.slice_bounds(len(samples), 0.5)
    assert described.shape == (5, 57)
    for row, (start, stop) in zip(described, bounds, strict=True):
        columns = kaggle_descriptors(Analysis(samples[None, start:stop], recipe.padding))
        np.testing.assert_allclose(row, [columns[name][0] for name in FEATURE_NAMES], rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_rows_are_as_many_as_slices_and_finite(recipe: HandmadeRecipe) -> None:
    for num_samples, slice_seconds, num_rows in [(0, 1.0, 0), (15_000, 1.0, 0), (22_100, 1.0, 1), (9_000, 0.05, 8)]:
        described = recipe.describe(draw_track(num_samples), slice_seconds)
        assert described.shape == (num_rows, len(recipe.feature_names))
        assert np.isfinite(described).all()


def test_a_whole_clip_is_described_to_its_last_sample() -> None:
    samples = draw_track(22_500)
    samples[-1] = 1.0
    changed = np.concatenate([samples[:-1], [np.float32(-1.0)]])
    assert (CONSTANT.describe(samples, 1.0) != CONSTANT.describe(changed, 1.0)).any()


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_recipe_is_found_by_its_name(recipe: HandmadeRecipe) -> None:
    assert recipe_named(recipe.name) == recipe


@pytest.mark.parametrize("name", ["", "kaggle", "kaggle_reflect", "kaggle-edge", "Kaggle-reflect", "librosa-0.8"])
def test_other_names_are_no_recipes(name: str) -> None:
    assert recipe_named(name) is None


def test_recipes_differ_in_name_and_padding_in_values() -> None:
    assert len({recipe.name for recipe in RECIPES}) == 4
    samples = draw_track(22_100)[:22_000]
    assert not np.allclose(REFLECT.describe(samples, 1.0), CONSTANT.describe(samples, 1.0), rtol=1e-3)


def test_a_note_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "features_3_sec.rebuilt192.csv"
    note = RecipeNote(recipe=REFLECT.name, slice_seconds=3.0, sha256="ab" * 32)
    (tmp_path / "features_3_sec.rebuilt192.recipe.json").write_text(note.to_json(), encoding="utf-8")
    assert read_note(path) == note


def test_a_csv_without_note_has_none(tmp_path: Path) -> None:
    note_path(tmp_path / "other.csv").write_text(RecipeNote("kaggle-reflect", 3.0, "ab").to_json(), encoding="utf-8")
    assert read_note(tmp_path / "mine.csv") is None


WHOLE = {"recipe": "kaggle-reflect", "slice_seconds": 3.0, "sha256": "ab"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"recipe: kaggle-reflect",
        b"\xff\xfe{}",
        b"[]",
        b"null",
        b'"kaggle-reflect"',
        *(json.dumps({key: WHOLE[key] for key in WHOLE if key != left_out}).encode() for left_out in WHOLE),
        json.dumps(WHOLE | {"slice_seconds": "three"}).encode(),
        json.dumps(WHOLE | {"slice_seconds": None}).encode(),
    ],
)
def test_a_broken_note_is_named_with_a_hint(
    tmp_path: Path, content: bytes, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    path = tmp_path / "mine.csv"
    note_path(path).write_bytes(content)
    with user_error(note_path(path), problem="no note of a recipe", hint="extract mine.csv again"):
        read_note(path)


def test_recipes_of_commercial_music_with_genre_tags_may_overlap() -> None:
    assert {name for name in OPTIONS if may_overlap(name)} == {"musicnn-msd", "musicnn-msd-tags"}
    assert not may_overlap("kaggle-reflect")
    assert not may_overlap("unknown")


@pytest.mark.parametrize("name", ["nope", "musicnn", "kaggle-zeros", "rich-"])
def test_an_unknown_recipe_is_refused_with_the_known_ones(
    name: str, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    with user_error("features", name, hint="musicnn-mtt"):
        option_of(name)


def test_every_recipe_of_the_command_has_its_option() -> None:
    assert [option_of(name).split()[:2] for name in OPTIONS] == [["--recipe", name] for name in OPTIONS]
