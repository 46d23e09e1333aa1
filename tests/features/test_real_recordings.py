"""Rows described from GTZAN's recordings are those of other people's CSVs; skipped without GENREGRID_DATA."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig

from genregrid.data.columns import FEATURE_NAMES
from genregrid.features.__main__ import main
from genregrid.features.extraction import extract
from genregrid.features.folder import audio_files, find_tracks
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.recipe import TableKey
from genregrid.features.workers import describe_files
from genregrid.training.run import train

pytestmark = pytest.mark.slow  # describes a third of a hundred recordings, the torture tests all
Described = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Described:
    """`described(folder, recipe, seconds, every=3)` is the CSV of a third of the recordings of a folder, made once."""
    outputs: dict[tuple[str, float, int], Path] = {}

    def read(folder: Path, recipe: HandmadeRecipe, seconds: float, every: int = 3) -> pd.DataFrame:
        if (recipe.name, seconds, every) not in outputs:
            lengths = (3.0, 30.0) if recipe.padding == "reflect" else (10.0,)
            paths = {length: tmp_path_factory.mktemp("described") / f"{length:g}.csv" for length in lengths}
            tables = {TableKey(recipe, length): path for length, path in paths.items()}
            found = find_tracks(folder)
            assert len(found.tracks) == 100
            done = extract(replace(found, tracks=found.tracks[::every]), tables, num_workers=2, report=lambda _: None)
            assert done.num_tracks == len(found.tracks[::every])
            outputs.update({(recipe.name, length, every): path for length, path in paths.items()})
        return pd.read_csv(outputs[recipe.name, seconds, every]).set_index("filename")

    return read


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.torture)])
@pytest.mark.parametrize(
    ("recipe", "seconds", "published", "num_rows"),
    [
        (HandmadeRecipe("kaggle", "reflect"), 3.0, "features_3_sec.classical-jazz-rock.csv", 299),
        (HandmadeRecipe("kaggle", "reflect"), 3.0, "features_3_sec.rebuilt192.csv", 998),
        (HandmadeRecipe("kaggle", "reflect"), 30.0, "features_30_sec.csv", 100),
        (HandmadeRecipe("kaggle", "constant"), 10.0, "features_10_sec.csv", 298),
    ],
)
def test_rows_of_a_hundred_recordings_are_those_that_others_computed(
    real_file: Callable[[str], Path],
    described: Described,
    recipe: HandmadeRecipe,
    seconds: float,
    published: str,
    num_rows: int,
    every: int,
) -> None:
    whole = pd.read_csv(real_file(f"gtzan/{published}")).set_index("filename")
    mine = described(real_file("gtzan/audio"), recipe, seconds, every)
    mine = mine[mine["label"].isin(whole["label"].unique())]
    of_these_tracks = (
        whole.index.str.split(".").str[:2].str.join(".").isin(mine.index.str.split(".").str[:2].str.join("."))
    )
    theirs = whole[of_these_tracks]
    assert len(mine) == num_rows or every > 1
    assert set(mine.index) == set(theirs.index)
    theirs = theirs.loc[mine.index]
    assert (mine["label"] == theirs["label"]).all()
    assert (mine["length"] == theirs["length"]).all()
    # the worst of all cells is 2.4e-4 of its column's deviation (rolloff_var, one bin more or less at a tie)
    columns = [name for name in FEATURE_NAMES if name != "tempo"]
    away = ((mine[columns] - theirs[columns]).abs() / whole[columns].std()).max()
    assert away.max() < 1e-3, away.sort_values().tail(3).to_dict()
    assert ((mine["tempo"] - theirs["tempo"]).abs() < 1e-6).mean() >= 0.99


def test_the_two_paddings_differ_so_much_that_they_must_not_be_mixed(
    real_file: Callable[[str], Path], described: Described
) -> None:
    folder = real_file("gtzan/audio")
    ten = described(folder, HandmadeRecipe("kaggle", "constant"), 10.0)
    tracks = find_tracks(folder).tracks[:9:3]
    for done in describe_files(tracks, [TableKey(HandmadeRecipe("kaggle", "reflect"), 10.0)], num_workers=1):
        row = pd.Series(done.rows["10"][0][0, 1:], index=list(FEATURE_NAMES))
        away = (row - ten.loc[f"{done.track}.0.wav", list(FEATURE_NAMES)].astype(float)).abs() / ten[
            list(FEATURE_NAMES)
        ].std()
        assert away.max() > 1e-2


def test_mp3s_of_44100_hz_stereo_are_described(real_file: Callable[[str], Path]) -> None:
    from genregrid.features.folder import TrackFile

    files = audio_files(real_file("fma/audio"))
    tracks = [TrackFile(path, f"any.{path.stem}", "any") for path in files]
    done = list(describe_files(tracks, [TableKey(HandmadeRecipe(), 3.0)], num_workers=1))
    assert [one.skipped for one in done] == [""] * 10
    assert all(29 < one.seconds < 31 and sum(map(len, one.rows["3"])) in (9, 10) for one in done)


@pytest.mark.slow
def test_ten_real_clips_of_fma_are_extracted_and_trained_on_by_both_protocols(
    real_file: Callable[[str], Path],
    write_fma_tracks: Callable[..., Path],
    composed: Callable[..., DictConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    genres = pd.read_csv(real_file("fma/fma_small_genres.csv"), index_col="filename")["genre"]
    files = audio_files(real_file("fma/audio"))
    parts = ["training", "validation", "test", "training", "validation", "test", "training", "training"]
    seen: Counter[str] = Counter()
    tracks = {}
    for path in files:
        genre = genres[f"{path.stem[:3]}/{path.name}"]
        tracks[int(path.stem)] = (genre, path.stem, "Artist", parts[seen[genre]])
        seen[genre] += 1
    monkeypatch.setenv("GENREGRID_DATA", str(tmp_path / "data"))
    labels = write_fma_tracks(tracks, "data/fma/fma_metadata/tracks.csv")
    folder = tmp_path / "data/fma/fma_small"
    (folder / "000").mkdir(parents=True)
    for path in files:
        (folder / "000" / path.name).symlink_to(path)
    assert main([str(folder), "--labels", str(labels), "--out", str(folder / "features_3_sec.csv")]) == 0
    for protocol, folds in (("official", 5), ("artist", 3)):
        fixed = ("dataset=fma_small", "model=gaussian", "logger=none", f"split={protocol}", f"split.folds={folds}")
        result = train(composed(*fixed), tmp_path / protocol, "gaussian")
        split = pd.read_csv(tmp_path / protocol / "split.csv").drop_duplicates("track")
        assert set(split["track"]) == {f"{genre}.{number:06d}" for number, (genre, *_) in tracks.items()}
        assert result.scores["test/accuracy"] >= 0
