"""Claims about `genregrid.data.corpus`, by the files of conf/dataset where possible."""

import gzip
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from genregrid.config import DatasetConfig
from genregrid.data import corpus as corpus_module
from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.corpus import Corpus, with_features
from genregrid.data.note import RecipeNote, note_path
from genregrid.errors import UserError
from genregrid.features.known_recipe import columns_of
from genregrid.features.rich import RICH_FEATURE_NAMES
from genregrid.tablefile.scan import place

Writer = Callable[..., Path]
Expect = Callable[..., Any]

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "conf" / "dataset").glob("*.yaml"))
GENRES = ("blues", "rock")


def load_corpus(*, slice_seconds: float, **keys: Any) -> Corpus:
    """Load the corpus of a dataset with these keys."""
    return corpus_module.load_corpus(DatasetConfig(**keys), slice_seconds, columns_of)


def arguments_of(config: Path) -> dict[str, Any]:
    """Read the keys of a dataset's YAML."""
    content = OmegaConf.to_container(OmegaConf.load(config), resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def config_named(name: str) -> Path:
    return next(config for config in CONFIGS if config.stem == name)


each_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)


# --- conf/dataset -------------------------------------------------------------------------------------------------


def test_dataset_configs_are_found() -> None:
    assert {"csv", "epidemic11", "gtzan", "gtzan10", "twin"} <= {config.stem for config in CONFIGS}


@each_config
def test_a_dataset_names_its_corpus_label_and_recipe(config: Path) -> None:
    assert {"name", "corpus", "label", "recipe"} <= arguments_of(config).keys()


@each_config
def test_config_is_called_like_its_file(config: Path) -> None:
    assert arguments_of(config)["name"] == config.stem


@each_config
def test_synthetic_corpora_have_synthetic_in_their_label(config: Path) -> None:
    content = OmegaConf.load(config)
    assert content.get("synthetic", False) == ("synthetic" in content["label"])


@each_config
def test_downloads_are_pinned_and_checked(config: Path) -> None:
    arguments = arguments_of(config)
    wanted = {*arguments.get("tables", ()), arguments.get("artists"), *(arguments.get("filtered") or {}).values()}
    for name, source in (arguments.get("downloads") or {}).items():
        assert name in wanted
        assert source["urls"]
        assert source["hashes"]
        for url in source["urls"]:
            assert re.fullmatch(r"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/[0-9a-f]{40}/\S+", url), url
        for digest in source["hashes"]:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}|gitblob:[0-9a-f]{40}", digest), digest
        if name in arguments["tables"]:  # so that a length can be chosen before anything is fetched
            assert f"features_{source['slice_seconds']}_sec.csv" == name


@each_config
def test_every_dataset_config_loads(
    config: Path, write_csv: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENREGRID_DATA", str(tmp_path / "data"))
    arguments = arguments_of(config)
    genres = arguments.get("genres") or GENRES
    if config.stem == "csv":
        arguments |= {"path": "mine.csv"}
        write_csv(name="mine.csv", genres=genres, tracks=3)
    if arguments.get("synthetic"):
        arguments |= {"num_tracks": 100}
    else:
        # all that the file names must lie below the folder that GENREGRID_DATA names
        assert config.stem == "csv" or Path(arguments["root"]).parent == tmp_path / "data"
    for name in arguments.get("tables", ()):
        seconds = int(re.findall(r"features_(\d+)_sec", name)[0])
        path = Path(arguments["root"], name).relative_to(tmp_path)
        write_csv(name=str(path), genres=genres, tracks=3, slices=30 // seconds, slice_seconds=seconds)
    tracks = [f"{genre}.{number:05d}" for genre in genres for number in range(3)]
    for part, number in (("train", 0), ("val", 1), ("test", 2)):
        if arguments.get("filtered"):
            path = Path(arguments["root"], arguments["filtered"][part])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(tracks[number::3]))
    if arguments.get("artists"):
        path = Path(arguments["root"], arguments["artists"])
        path.parent.mkdir(parents=True, exist_ok=True)
        index = pd.DataFrame({"track": tracks, "artist": ["Björk"] * len(tracks)})
        index.to_csv(path, index=False)
    corpus = load_corpus(slice_seconds=30, **arguments)
    assert corpus.table.slice_seconds == 30.0
    assert corpus.table.features.shape[1] == 57
    assert corpus.table.genres == tuple(genres)
    if arguments.get("synthetic"):
        assert len(corpus.table.tracks) <= 100
        return
    assert list(corpus.table.tracks) == sorted(tracks)
    assert corpus.artists() == (dict.fromkeys(tracks, "Björk") if arguments.get("artists") else None)
    assert corpus.lists() == (
        {track: ("train", "val", "test")[number % 3] for number, track in enumerate(tracks)}
        if arguments.get("filtered")
        else None
    )


# --- which table --------------------------------------------------------------------------------------------------


@pytest.fixture
def load(write_csv: Writer, tmp_path: Path) -> Callable[..., Corpus]:
    """`load(["3", "30"], 6.0)`: a corpus of tables `3.csv` (slices of 3 s) and `30.csv` (whole clips) at 6 s."""

    def load_tables(names: Sequence[str], slice_seconds: float, **options: Any) -> Corpus:
        for seed, name in enumerate(names):
            write_csv(
                name=f"{name}.csv",
                genres=GENRES,
                tracks=2,
                slices=int(30 // float(name)),
                slice_seconds=float(name),
                whole_clips=name == "30",
                seed=seed,
            )
        tables = [f"{name}.csv" for name in names]
        return load_corpus(name="mine", slice_seconds=slice_seconds, root=str(tmp_path), tables=tables, **options)

    return load_tables


@pytest.mark.parametrize(
    ("names", "slice_seconds", "chosen"),
    [
        (["3", "30"], 3, "3"),
        (["3", "30"], 30, "30"),  # the exact length, though ten slices of 3 s make it too
        (["3", "30"], 27, "3"),
        (["3", "6", "10"], 12, "6"),  # the longest that divides
        (["10", "6", "3"], 9, "3"),
        (["3", "6", "10"], 20, "10"),
        (["3", "6", "10"], 30, "10"),
        (["0.5", "3"], 1.5, "0.5"),
    ],
)
def test_exact_table_first_then_the_longest_that_divides(
    load: Callable[..., Corpus], names: list[str], slice_seconds: float, chosen: str
) -> None:
    table = load(names, slice_seconds).table
    assert list(table.hashes) == [f"{chosen}.csv"]
    assert table.slice_seconds == slice_seconds
    assert table.num_slices.tolist() == [int(30 // slice_seconds)] * 4


def test_tracks_of_an_unused_table_are_noted(write_csv: Writer, tmp_path: Path, user_error: Expect) -> None:
    write_csv(name="a.csv", genres=GENRES, tracks=2)
    write_csv(name="b.csv", genres=GENRES, tracks=3, slices=3, slice_seconds=10.0)
    options: dict[str, Any] = {"name": "mine", "root": str(tmp_path), "tables": ["a.csv", "b.csv"]}
    note = "b.csv has slices of 10 s and is not used at slice=3: 2 tracks are only there, such as blues.00002"
    for cache in (None, str(tmp_path / "cache"), str(tmp_path / "cache")):
        corpus = load_corpus(slice_seconds=3, cache=cache, **options)
        assert note in corpus.table.notes
        assert corpus.table is corpus.source
    assert note.replace("=3", "=6") in load_corpus(slice_seconds=6, **options).table.notes
    assert not any("not used" in note for note in load_corpus(slice_seconds=10, **options).table.notes)
    write_csv(name="b.csv", genres=("blues", "jazz"), tracks=2, slices=3, slice_seconds=10.0)
    with user_error(tmp_path / "b.csv", problem="only it has tracks of 'jazz'"):
        load_corpus(slice_seconds=3, **options)


def test_tables_of_one_length_are_joined(write_csv: Writer, tmp_path: Path) -> None:
    write_csv(name="a.csv", genres=("blues",), tracks=2)
    write_csv(name="b.csv", genres=("rock",), tracks=3)
    corpus = load_corpus(name="mine", slice_seconds=15, root=str(tmp_path), tables=["a.csv", "b.csv"])
    assert corpus.table.genres == GENRES
    assert corpus.table.num_slices.tolist() == [2] * 5
    assert set(corpus.table.hashes) == {"a.csv", "b.csv"}


@pytest.mark.parametrize("slice_seconds", [1, 4, 31, 2.9])
def test_unmakeable_length_is_refused_with_the_makeable_ones(
    load: Callable[..., Corpus], user_error: Expect, slice_seconds: float
) -> None:
    problem = "the tables have slices of 10, 30 seconds and can make 10, 20, 30 seconds"
    with user_error("slice", slice_seconds, problem=problem):
        load(["10", "30"], slice_seconds)


@pytest.mark.parametrize("features", [None, "all"])
def test_an_unmakeable_length_is_refused_for_tables_without_lengths_too(
    make_frame: Any, write_csv: Writer, tmp_path: Path, user_error: Expect, features: str | None
) -> None:
    write_csv(make_frame(genres=GENRES, slices=3).drop(columns="length"), "a.csv")
    options: dict[str, Any] = {"name": "mine", "root": str(tmp_path), "tables": ["a.csv"], "features": features}
    with user_error("slice", 5, problem="the tables have slices of 3 seconds and can make 3, 6, 9 seconds"):
        load_corpus(slice_seconds=5, table_slice_seconds=3, **options)
    with user_error(place(tmp_path / "a.csv", 1), hint="set dataset.table_slice_seconds=3"):
        load_corpus(slice_seconds=5, **options)


@pytest.mark.parametrize("name", [".", "./", "/", ".."])
def test_a_folder_in_place_of_a_table_is_refused(tmp_path: Path, user_error: Expect, name: str) -> None:
    with user_error("dataset.path", name, problem="is no file"):
        load_corpus(name="csv", slice_seconds=3, path=name)
    with user_error(tmp_path / name, problem="it is a folder, not a file"):
        load_corpus(name="csv", slice_seconds=3, root=str(tmp_path), tables=[name])
    with user_error("features", "kaggle", problem="no table of this recipe"):
        with_features(DatasetConfig(name="csv", path=name), "kaggle")


def test_length_beyond_the_tracks_is_refused(load: Callable[..., Corpus], user_error: Expect) -> None:
    with user_error("slice", 60, problem="this table can make slices of 10, 20, 30 seconds"):
        load(["10"], 60)


def test_table_slice_seconds_replace_a_useless_length(
    make_frame: Any, write_csv: Writer, tmp_path: Path, user_error: Expect
) -> None:
    path = write_csv(make_frame(genres=GENRES).assign(length=0.13), "a.csv")
    options: dict[str, Any] = {"name": "mine", "slice_seconds": 6, "root": str(tmp_path), "tables": ["a.csv"]}
    with user_error(f"{path}, column 'length'", problem="median is 0.13", hint="set dataset.table_slice_seconds"):
        load_corpus(**options)
    assert load_corpus(**options, table_slice_seconds=3).table.num_slices.tolist() == [5] * 12


@pytest.mark.parametrize(
    ("length", "unit"),
    [
        (3 * 44_100, "samples at 44100 Hz"),
        (143_999, "samples at 48000 Hz"),
        (48_000, "samples at 16000 Hz"),
        (3_000, "ms"),
    ],
)
def test_a_length_of_another_unit_is_named_and_read_as_advised(
    make_frame: Any, write_csv: Writer, tmp_path: Path, user_error: Expect, length: int, unit: str
) -> None:
    write_csv(make_frame(genres=GENRES, tracks=2).assign(length=length), "a.csv")
    options: dict[str, Any] = {"name": "mine", "slice_seconds": 3, "root": str(tmp_path), "tables": ["a.csv"]}
    hint = f"counts {unit}, set dataset.table_slice_seconds=3" if unit != "ms" else "is in milliseconds, set "
    with user_error("slice", 3, hint=hint):
        load_corpus(**options)
    assert load_corpus(**options, table_slice_seconds=3).table.slice_seconds == 3


def test_a_length_in_milliseconds_of_whole_clips_is_named(
    make_frame: Any, write_csv: Writer, user_error: Expect
) -> None:
    path = write_csv(make_frame(whole_clips=True, tracks=2).assign(length=3000))
    with user_error(f"{path}, column 'length'", hint="in milliseconds, set dataset.table_slice_seconds=3"):
        load_corpus(name="mine", slice_seconds=3, root=str(path.parent), tables=[path.name])


def test_a_table_without_lengths_needs_them_as_descriptor_only(
    make_frame: Any, write_csv: Writer, tmp_path: Path, user_error: Expect
) -> None:
    path = write_csv(make_frame(genres=GENRES, tracks=2).drop(columns="length"), "a.csv")
    options: dict[str, Any] = {"name": "mine", "slice_seconds": 6, "root": str(tmp_path), "tables": ["a.csv"]}
    for cache in (None, str(tmp_path / "cache")):
        table = load_corpus(**options, table_slice_seconds=3, cache=cache).table
        assert table.slice_seconds == 6
        with user_error(place(path, 1), problem="the column 'length' is missing"):
            load_corpus(**options, table_slice_seconds=3, include_length=True, cache=cache)


def test_include_length_adds_the_58th_descriptor(load: Callable[..., Corpus]) -> None:
    table = load(["3"], 6, include_length=True).table
    assert table.feature_names == (*FEATURE_NAMES, "length")
    assert table.features[:, 57].tolist() == [2 * 66149.0] * 20
    plain = load(["3"], 6).table
    assert plain.feature_names == FEATURE_NAMES
    np.testing.assert_array_equal(plain.features, table.features[:, :57])


def test_genres_are_kept_in_the_given_order(load: Callable[..., Corpus], tmp_path: Path, user_error: Expect) -> None:
    assert load(["3"], 3, genres=["rock", "blues"]).table.genres == ("rock", "blues")
    with user_error(place(tmp_path / "3.csv", 22, "label"), problem="unknown genre 'rock'"):
        load(["3"], 3, genres=["blues", "jazz"])


# --- one CSV ------------------------------------------------------------------------------------------------------


def test_path_starts_from_the_working_directory(write_csv: Writer, tmp_path: Path) -> None:
    write_csv(name="here/mine.csv", genres=GENRES)
    corpus = load_corpus(name="csv", slice_seconds=3, root=str(tmp_path / "elsewhere"), path="here/mine.csv")
    assert list(corpus.table.hashes) == ["mine.csv"]
    assert corpus.artists() is None
    assert corpus.lists() is None


def test_config_of_a_csv_without_its_path_names_the_key(user_error: Expect) -> None:
    with user_error("dataset.path", problem="there is no feature CSV to read", hint="set dataset.path=FILE"):
        load_corpus(slice_seconds=3, **arguments_of(config_named("csv")))


def test_missing_csv_is_named(user_error: Expect) -> None:
    with user_error("dataset.path", "gone.csv", problem="does not exist"):
        load_corpus(slice_seconds=3, **arguments_of(config_named("csv")) | {"path": "gone.csv"})


# --- missing files and downloads ----------------------------------------------------------------------------------


def test_missing_table_is_an_error_with_its_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_error: Expect
) -> None:
    monkeypatch.setenv("GENREGRID_DATA", str(tmp_path))
    arguments = arguments_of(config_named("epidemic11"))
    hint = f"put the file there ({arguments['hint']}), or set GENREGRID_DATA"
    with user_error(tmp_path / "epidemic11/features_3_sec.csv", problem="does not exist", hint=hint):
        load_corpus(slice_seconds=3, **arguments)


def test_missing_table_without_a_hint_names_the_root(tmp_path: Path, user_error: Expect) -> None:
    with user_error(tmp_path / "a.csv", hint=f"give a path from the folder dataset.root={tmp_path}"):
        load_corpus(name="mine", slice_seconds=3, root=str(tmp_path), tables=["a.csv"])


def test_missing_artists_and_lists_are_errors_when_they_are_needed(
    load: Callable[..., Corpus], tmp_path: Path, user_error: Expect
) -> None:
    lists = {"train": "train.txt", "val": "val.txt", "test": "test.txt"}
    corpus = load(["3"], 3, artists="index.csv", filtered=lists)
    with user_error(tmp_path / "index.csv", problem="does not exist"):
        corpus.artists()
    with user_error(tmp_path / "train.txt", problem="does not exist"):
        corpus.lists()
    with user_error("dataset.filtered", problem="'test'"):
        load(["3"], 3, filtered={"train": "train.txt", "val": "val.txt"}).lists()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, write_csv: Writer, tmp_path: Path) -> list[tuple[Any, ...]]:
    """Replace downloads: write a table of the slice length in its name, and record the arguments."""
    asked: list[tuple[Any, ...]] = []

    def fetch(target: Path, urls: Sequence[str], hashes: Sequence[str], hint: str = "") -> Path:
        asked.append((target, urls, hashes, hint))
        seconds = int(re.findall(r"_(\d+)_sec", target.name)[0])
        name = str(target.relative_to(tmp_path))
        return write_csv(name=name, genres=GENRES, tracks=2, slices=30 // seconds, slice_seconds=seconds)

    monkeypatch.setattr(corpus_module, "fetch_file", fetch)
    monkeypatch.setenv("GENREGRID_DATA", str(tmp_path))
    return asked


@pytest.mark.parametrize(("slice_seconds", "name"), [(6, "features_3_sec.csv"), (30, "features_30_sec.csv")])
def test_only_the_table_that_is_needed_is_fetched(
    fetched: list[tuple[Any, ...]], tmp_path: Path, slice_seconds: float, name: str
) -> None:
    arguments = arguments_of(config_named("gtzan"))
    source = arguments["downloads"][name]
    table = load_corpus(slice_seconds=slice_seconds, **arguments).table
    assert fetched == [(tmp_path / "gtzan" / name, source["urls"], source["hashes"], arguments["hint"])]
    assert list(table.hashes) == [name]
    load_corpus(slice_seconds=slice_seconds, **arguments)
    assert len(fetched) == 1  # a file that is there is not asked for again


def test_users_own_file_is_not_fetched(fetched: list[tuple[Any, ...]], write_csv: Writer) -> None:
    path = write_csv(name="gtzan/features_3_sec.csv", genres=GENRES)
    load_corpus(slice_seconds=3, **arguments_of(config_named("gtzan")))
    assert fetched == []
    assert path.exists()


# --- the real files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "slice_seconds", "num_tracks", "num_rows"),
    [
        ("gtzan", 30, 1000, 1000),
        ("gtzan10", 10, 1000, 2991),
        ("gtzan10", 20, 1000, 1000),
        ("epidemic11", 9, 2205, 6615),
    ],
)
def test_real_corpora_load(
    real_data: Path, real_file: Callable[[str], Path], name: str, slice_seconds: float, num_tracks: int, num_rows: int
) -> None:
    arguments = arguments_of(config_named(name))
    for part in (arguments["tables"][-1], arguments["artists"], *(arguments.get("filtered") or {}).values()):
        real_file(str(Path(arguments["root"], part).relative_to(real_data)))  # skips where it is missing
    corpus = load_corpus(slice_seconds=slice_seconds, **arguments)
    assert len(corpus.table.tracks) == num_tracks
    assert len(corpus.table.features) == num_rows
    artists = corpus.artists()
    assert artists is not None
    assert set(artists) <= set(corpus.table.tracks)


def test_real_part_of_a_corpus_is_a_corpus(real_file: Callable[[str], Path]) -> None:
    names = ["features_3_sec.rebuilt192.csv", "features_3_sec.classical-jazz-rock.csv"]
    for name in names:
        real_file(f"gtzan/{name}")
    table = load_corpus(slice_seconds=9, **arguments_of(config_named("gtzan")) | {"tables": names}).table
    assert len(table.tracks) == 438
    assert table.num_slices.tolist() == [3] * 438


# --- recipes --------------------------------------------------------------------------------------------------------


def write_note(path: Path, recipe: str = "kaggle-constant", seconds: float = 3.0, sha256: str | None = None) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if sha256 is None else sha256
    note_path(path).write_text(RecipeNote(recipe, seconds, digest).to_json())


def test_the_note_beside_a_csv_gives_recipe_and_slice_length(write_csv: Writer) -> None:
    path = write_csv(genres=GENRES)
    write_note(path, seconds=2.5)
    corpus = load_corpus(name="mine", slice_seconds=5, path=str(path))
    assert corpus.recipe == "kaggle-constant"
    assert corpus.source.slice_seconds == 2.5
    assert load_corpus(name="mine", slice_seconds=5, path=str(path), recipe="kaggle-constant").recipe == corpus.recipe


def test_without_a_note_the_recipe_is_that_of_the_dataset(write_csv: Writer) -> None:
    path = str(write_csv(genres=GENRES))
    assert load_corpus(name="mine", slice_seconds=3, path=path).recipe == "unknown"
    assert load_corpus(name="mine", slice_seconds=3, path=path, recipe="theirs").recipe == "theirs"


def test_a_note_of_another_recipe_is_refused(write_csv: Writer, user_error: Expect) -> None:
    path = write_csv(genres=GENRES)
    write_note(path)
    with user_error(path, problem="by the recipe 'kaggle-constant', not by 'kaggle-reflect'"):
        load_corpus(name="mine", slice_seconds=3, path=str(path), recipe="kaggle-reflect")


@pytest.fixture
def several(write_csv: Writer, tmp_path: Path) -> DatasetConfig:
    """A dataset whose folder has tables of four recipes, one of them without a note."""
    write_csv(name="own.csv", genres=GENRES)
    for seed, recipe in enumerate(("rich-reflect", "net", "net-tags"), start=1):
        write_note(write_csv(name=f"own.{recipe}.csv", genres=GENRES, seed=seed), recipe)
    return DatasetConfig(
        name="mine", corpus="mine", label="mine", recipe="kaggle-reflect", root=str(tmp_path), tables=["own.csv"]
    )


@pytest.mark.parametrize(
    ("features", "recipe", "table"),
    [
        ("kaggle", "kaggle-reflect", "own.csv"),
        ("kaggle-reflect", "kaggle-reflect", "own.csv"),
        ("rich", "rich-reflect", "own.rich-reflect.csv"),
        ("net", "net", "own.net.csv"),  # a whole name is before the beginning of another
        ("net-tags", "net-tags", "own.net-tags.csv"),
    ],
)
def test_features_choose_the_tables_of_a_recipe_by_their_notes(
    several: DatasetConfig, features: str, recipe: str, table: str
) -> None:
    chosen = with_features(several, features)
    assert (chosen.recipe, chosen.tables) == (recipe, [table])


def test_features_of_no_table_and_of_several_recipes_are_refused(
    several: DatasetConfig, write_csv: Writer, user_error: Expect
) -> None:
    with user_error("features", "musicnn-mtt", hint="--recipe musicnn-mtt --slice 3 --out"):
        with_features(several, "musicnn-mtt")
    write_note(write_csv(name="own.rich-constant.csv", genres=GENRES, seed=9), "rich-constant")
    with user_error("features", "rich", hint="choose one: rich-constant, rich-reflect"):
        with_features(several, "rich")


def test_features_never_choose_a_table_of_other_recordings(
    write_csv: Writer, tmp_path: Path, user_error: Expect
) -> None:
    write_note(write_csv(name="fx/a.csv", genres=GENRES), "kaggle-reflect")
    write_note(write_csv(name="fx/b.csv", genres=GENRES, seed=1), "rich-reflect")
    write_note(write_csv(name="other.csv", genres=GENRES, seed=2), "kaggle-reflect")
    dataset = DatasetConfig(name="csv", corpus="csv", label="csv", root=str(tmp_path), tables=["fx/a.csv"])
    assert with_features(dataset, "kaggle").tables == ["fx/a.csv"]
    with user_error("features", "rich", hint="if b.csv has the same tracks, name it in dataset.tables"):
        with_features(dataset, "rich")
    write_note(write_csv(name="fx/a.rich.csv", genres=GENRES, seed=3), "rich-reflect")
    assert with_features(dataset, "rich").tables == ["fx/a.rich.csv"]
    with user_error("dataset.path", problem="there is no feature CSV to read"):
        with_features(replace(dataset, tables=[]), "kaggle")


def test_features_choose_tables_of_every_slice_length_of_one_extraction(write_csv: Writer, tmp_path: Path) -> None:
    write_note(write_csv(name="features_3_sec.csv", genres=GENRES), "kaggle-reflect")
    for seed, name in enumerate(("features_0.5_sec.rich.csv", "features_10_sec.rich.csv"), start=1):
        write_note(write_csv(name=name, genres=GENRES, seed=seed), "rich-reflect")
    dataset = DatasetConfig(name="mine", root=str(tmp_path), tables=["features_3_sec.csv"])
    chosen = with_features(dataset, "rich")
    assert chosen.tables == ["features_0.5_sec.rich.csv", "features_10_sec.rich.csv"]
    assert with_features(chosen, "kaggle").tables == ["features_3_sec.csv"]


def test_features_are_checked_against_the_note_of_a_single_table(several: DatasetConfig, tmp_path: Path) -> None:
    single = replace(several, tables=[], recipe="unknown", path=str(tmp_path / "own.net.csv"))
    assert with_features(single, "net").recipe == "net"
    with pytest.raises(UserError, match="no table of this recipe; it has net"):
        with_features(single, "rich")


def test_the_advice_for_missing_features_names_a_table_that_is_read_then(
    write_csv: Writer, tmp_path: Path, user_error: Expect
) -> None:
    single = DatasetConfig(name="mine", path=str(write_csv(name="base.csv", genres=GENRES)))
    listed = DatasetConfig(name="mine", root=str(tmp_path), tables=["base.csv"])
    new = tmp_path / "base.rich.csv"
    with user_error("features", hint=f"--recipe rich --slice 3 --out {new}, and set dataset.path={new}"):
        with_features(single, "rich")
    with user_error("features", hint=f"--recipe rich --slice 3 --out {new}"):
        with_features(listed, "rich")
    write_note(write_csv(name="base.rich.csv", genres=GENRES, seed=1), "rich-reflect")
    with user_error("features", hint=f"set dataset.path={new}"):
        with_features(single, "rich")
    assert with_features(replace(single, path=str(new)), "rich").recipe == "rich-reflect"
    assert with_features(listed, "rich").tables == ["base.rich.csv"]


def test_a_known_slice_length_is_not_doubted(write_csv: Writer, user_error: Expect) -> None:
    path = write_csv(genres=GENRES)
    write_note(path, "kaggle-reflect")
    with user_error("slice", 5, hint="choose one of them"):
        load_corpus(slice_seconds=5, name="mine", corpus="mine", label="mine", path=str(path))


def test_the_twin_has_no_other_features(user_error: Expect) -> None:
    twin = DatasetConfig(**arguments_of(config_named("twin")))
    assert with_features(twin, "kaggle") == twin
    with user_error("features", "rich", problem="kaggle-reflect only"):
        with_features(twin, "rich")


def test_tables_of_two_recipes_are_not_joined(write_csv: Writer, tmp_path: Path, user_error: Expect) -> None:
    for name, recipe in (("one.csv", "kaggle-reflect"), ("two.csv", "kaggle-constant")):
        write_note(write_csv(name=name, genres=GENRES, seed=len(recipe)), recipe)
    with user_error(tmp_path / "two.csv", hint="tables of one recipe at a time"):
        load_corpus(name="mine", slice_seconds=3, root=str(tmp_path), tables=["one.csv", "two.csv"])


def test_the_note_of_another_file_is_refused(write_csv: Writer, user_error: Expect) -> None:
    path = write_csv(genres=GENRES)
    write_note(path, sha256="0" * 64)
    with user_error(path, problem="is not the file that features.recipe.json was written for"):
        load_corpus(name="mine", slice_seconds=3, path=str(path))


def test_a_packed_table_is_found_by_the_note_of_its_csv(write_csv: Writer, tmp_path: Path, user_error: Expect) -> None:
    path = write_csv(genres=GENRES)
    write_note(path, "rich-constant", 2.5)
    packed = tmp_path / "features.csv.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    several = {"name": "mine", "root": str(tmp_path), "tables": ["features.csv"]}
    assert with_features(DatasetConfig(**several), "rich").tables == [path.name]  # not both
    path.unlink()
    assert with_features(DatasetConfig(**several), "rich").tables == [packed.name]
    for cache in (None, str(tmp_path / "cache"), str(tmp_path / "cache")):
        corpus = load_corpus(name="mine", slice_seconds=2.5, path=str(packed), features="all", cache=cache)
        assert (corpus.recipe, corpus.source.slice_seconds) == ("rich-constant", 2.5)
    packed.write_bytes(gzip.compress(gzip.decompress(packed.read_bytes()).replace(b"rock", b"soul")))
    with user_error(packed, problem="is not the file that features.recipe.json was written for"):
        load_corpus(name="mine", slice_seconds=2.5, path=str(packed), features="all")


def test_an_archive_of_arrays_may_have_a_note(make_frame: Callable[..., pd.DataFrame], tmp_path: Path) -> None:
    frame = make_frame(genres=GENRES)
    columns = {name: frame[name].to_numpy(str if name in ("filename", "label") else None) for name in map(str, frame)}
    np.savez(tmp_path / "f.npz", **columns)
    write_note(tmp_path / "f.npz", "kaggle-constant", 2.5)
    corpus = load_corpus(name="mine", slice_seconds=2.5, path=str(tmp_path / "f.npz"))
    assert (corpus.recipe, corpus.source.slice_seconds) == ("kaggle-constant", 2.5)


def test_the_columns_read_are_those_of_the_recipe(
    write_csv: Writer, make_frame: Callable[..., pd.DataFrame], user_error: Expect
) -> None:
    frame = make_frame(genres=GENRES)
    more = pd.DataFrame(1.5, index=frame.index, columns=list(RICH_FEATURE_NAMES[len(FEATURE_NAMES) :]))
    path = write_csv(pd.concat([frame, more], axis=1))
    assert load_corpus(name="mine", slice_seconds=3, path=str(path)).table.feature_names == FEATURE_NAMES
    write_note(path, "rich-reflect")
    assert load_corpus(name="mine", slice_seconds=3, path=str(path)).table.feature_names == RICH_FEATURE_NAMES
    with user_error("column 'mfcc1_delta_rms'", hint="extract at this slice length instead"):
        load_corpus(name="mine", slice_seconds=6, path=str(path))


@pytest.mark.parametrize("name", ["../outside.csv", "/tmp/outside.csv", "sub/../../outside.csv"])
def test_downloads_are_written_below_the_root_only(tmp_path: Path, user_error: Expect, name: str) -> None:
    downloads = {name: {"slice_seconds": 3, "urls": ["http://127.0.0.1:9/x"], "hashes": ["sha256:" + "0" * 64]}}
    dataset = DatasetConfig(name="x", root=str(tmp_path / "root"), tables=[name], downloads=downloads)
    with user_error("dataset.downloads", name, problem="not below"):
        corpus_module.load_corpus(dataset, 3, columns_of)
