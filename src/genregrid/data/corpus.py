"""Load a corpus: its table at the wanted slice length, and the artists and published lists of its tracks."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genregrid.config import DatasetConfig
from genregrid.data.catalogue import read_artists, read_lists
from genregrid.data.columns import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.data.download import fetch_file
from genregrid.data.feature_csv import choose_columns, read_feature_csv
from genregrid.data.fma import fma_artists, fma_parts, is_fma
from genregrid.data.note import UNKNOWN_RECIPE, RecipeNote, note_path, read_note
from genregrid.data.reslice import possible_slice_seconds, reslice
from genregrid.data.slice_rows import Allocate
from genregrid.data.split import PARTS
from genregrid.data.store import files_key, stored
from genregrid.data.table import FeatureTable, peek_slice_seconds, read_table, table_from_frame
from genregrid.errors import UserError, counted, printable
from genregrid.program import command_name
from genregrid.tablefile.csv_file import unpacked_sha256
from genregrid.twin.draw import SLICE_SECONDS as TWIN_SLICE_SECONDS
from genregrid.twin.draw import draw_twin

# Sample rates of music, and the milliseconds of a second, which lengths are counted in by mistake.
_OTHER_RATES_HZ = (44_100, 48_000, 16_000, 32_000, 11_025, 8_000, 24_000, 96_000, 1_000)
# How near to the wanted slice length a length in another unit is; slices are often a few samples shorter.
_NEAR = 0.05
# A larger table that is not used is not read for the names of its tracks.
_MOST_UNUSED_BYTES = 32 << 20
# by which the length of slices is rounded
_ROUNDED_SECONDS = 0.03


@dataclass(frozen=True)
class Corpus:
    """A table, and functions that read the catalogue of its tracks when a protocol needs it.

    Attributes:
        table: slices of the wanted length.
        source: the table that they were pooled from, in which repeated recordings are found.
        recipe: name of the recipe of its descriptors, or "unknown".
        artists: reads the artist by track name; ``None`` if the corpus has no artist index.
        lists: reads the published part by track name; ``None`` if there are no lists.
        official: reads the part of the official split by track name; ``None`` if there is none.
    """

    table: FeatureTable
    source: FeatureTable
    recipe: str
    artists: Callable[[], Mapping[str, str] | None]
    lists: Callable[[], Mapping[str, str] | None]
    official: Callable[[], Mapping[str, str] | None]


def load_corpus(
    dataset: DatasetConfig,
    slice_seconds: float,
    columns_of: Callable[[str], Sequence[str] | None],
    needs_labels: bool = True,
) -> Corpus:
    """Read or draw a corpus, and pool its slices to one slice length.

    `columns_of` gives the names of a recipe's descriptors in the order of its CSVs; ``None`` for an unknown recipe. Its
    tables have the columns of Kaggle's GTZAN. Unless it `needs_labels`, tables may have none.

    Raises:
        UserError: a file is missing or breaks the contract, no table makes the wanted slices, or the note beside a
            table names another recipe.
    """
    if dataset.synthetic:
        twin = draw_twin(num_tracks=dataset.num_tracks)
        table = table_from_frame(twin.frame, source=dataset.name, genres=dataset.genres)
        artists, lists = (partial(getattr, twin, name) for name in ("artists", "filtered"))
        corpus = Corpus(table, table, dataset.recipe, artists, lists, _nothing)
        key: dict[str, Any] = {}  # it is never cached
        more: list[str] = []
    else:
        corpus, key, more = _read(dataset, slice_seconds, columns_of, needs_labels)
    if dataset.cache is not None and corpus.table.slice_seconds == slice_seconds and not dataset.include_length:
        return with_notes(corpus, corpus.table, more)  # it is in the cache already

    def shaped(allocate: Allocate) -> FeatureTable:
        pooled = reslice(corpus.source, slice_seconds, allocate, others_by_mean=dataset.pooling == "mean")
        return pooled.with_length(allocate) if dataset.include_length else pooled

    key = key | {"slice": slice_seconds, "length": dataset.include_length}
    try:
        return with_notes(corpus, stored(dataset.cache, key, shaped), more)
    except UserError as error:
        hint = _other_unit(corpus.source.slice_seconds, slice_seconds)
        if error.key != "slice" or hint is None or dataset.synthetic or dataset.table_slice_seconds is not None:
            raise
        raise UserError(error.problem, key="slice", value=slice_seconds, hint=hint) from None


def own_slice_seconds(
    dataset: DatasetConfig, columns_of: Callable[[str], Sequence[str] | None], needs_labels: bool = True
) -> float:
    """Return the length in seconds of the shortest slices that a dataset has; `columns_of` as for `load_corpus`.

    Raises:
        UserError: a file is missing or breaks the contract.
    """
    if dataset.synthetic:
        return TWIN_SLICE_SECONDS
    _check_file(dataset)
    names = () if dataset.features is not None else columns_of(dataset.recipe) or FEATURE_NAMES
    tables = _named_tables(dataset)
    return min(_slice_seconds(dataset, name, names if len(tables) == 1 else (), needs_labels) for name in tables)


def with_notes(corpus: Corpus, table: FeatureTable, notes: Sequence[str]) -> Corpus:
    """Return a corpus with another table, and more notes in it; what is cached does not have them."""
    noted = replace(table, notes=(*table.notes, *notes)) if notes else table
    # if both are one table, they stay one
    return replace(corpus, table=noted, source=noted if table is corpus.source else corpus.source)


def with_features(
    dataset: DatasetConfig, features: str, option_of: Callable[[str], str] = lambda name: f"--recipe {name}"
) -> DatasetConfig:
    """Return a dataset with tables of another recipe, by the notes beside its tables and beside their siblings.

    `features` names the recipe, such as ``rich-constant``, or only what comes before one of its dashes: ``rich``. The
    dataset's own tables of that recipe are chosen if it has any, otherwise siblings: see `_siblings`. `option_of` gives
    the option by which the recipe is extracted, and raises for an unknown one.

    Raises:
        UserError: there is no table of such a recipe, or there are tables of several.
    """
    if _is_of(dataset.recipe, features):
        return dataset
    if dataset.synthetic:
        problem = f"{dataset.label} has the recipe {dataset.recipe} only"
        raise UserError(problem, key="features", value=features, hint="take a dataset of recordings")
    if dataset.path is None and not dataset.tables:
        raise _no_table()
    root = Path(dataset.root)
    own = [Path(dataset.path)] if dataset.path is not None else [root / name for name in dataset.tables]
    more = [] if dataset.path is not None else _siblings(own)
    recipes = {path: note.recipe for path in (*own, *more) if path.exists() and (note := read_note(path))}
    is_own = any(_is_of(recipes.get(path, ""), features) for path in own)
    found = {recipes[path] for path in (own if is_own else more) if _is_of(recipes.get(path, ""), features)}
    if features in found:
        found = {features}
    if len(found) != 1:
        where = dataset.path if dataset.path is not None else own[0].parent
        known = ", ".join(sorted({dataset.recipe, *recipes.values()} - {UNKNOWN_RECIPE}))
        problem = f"{where} has no table of this recipe" + (f"; it has {known}" if known else "")
        folder = own[0].parent
        new = folder / f"{_bare_name(own[0]).replace('__sec', '_3_sec')}.{features}.csv"
        others = [path.name for path in sorted(folder.glob("*.csv")) if path not in (*own, *more)]
        others = [path.name for path in _of_recipe([folder / name for name in others], features)]
        if found:
            problem, hint = f"{where} has tables of several such recipes", f"choose one: {', '.join(sorted(found))}"
        elif dataset.path is not None and (beside := _of_recipe(_siblings(own), features)):
            hint = f"set dataset.path={beside[0]}"
        elif others and dataset.path is None:
            problem = f"{own[0].name} has no table of this recipe beside it"
            hint = f"if {others[0]} has the same tracks, name it in dataset.tables or call it {new.name}"
        else:
            hint = f"make it: {command_name('features')} MUSIC {option_of(features)} --slice 3 --out {new}"
            hint += "" if dataset.path is None else f", and set dataset.path={new}"
        raise UserError(problem, key="features", value=features, hint=hint)
    (recipe,) = found
    if dataset.path is not None:
        return replace(dataset, recipe=recipe)
    names = dict(zip(own, dataset.tables, strict=True)) | {
        path: str(path.relative_to(root) if path.is_relative_to(root) else path) for path in more
    }
    chosen = [names[path] for path in (own if is_own else more) if recipes.get(path) == recipe]
    return replace(dataset, recipe=recipe, tables=chosen)


def _no_table() -> UserError:
    return UserError("there is no feature CSV to read", key="dataset.path", hint="set dataset.path=FILE to yours")


def _of_recipe(tables: Sequence[Path], features: str) -> list[Path]:
    """Return those tables whose notes name a recipe that `features` means."""
    return [path for path in tables if (note := read_note(path)) and _is_of(note.recipe, features)]


def _siblings(tables: Sequence[Path]) -> list[Path]:
    """Return the tables of the same recordings beside others: in the same folder, with the same name.

    Names may differ in slice length and recipe, as ``features_3_sec.csv`` and ``features_10_sec.rich.csv`` do, which
    one extraction writes. Of several tables with one note, such as a CSV and its packed form, the CSV is returned.
    """
    own = {(path.parent, _bare_name(path)) for path in tables}
    found: dict[Path, Path] = {}
    for folder in dict.fromkeys(path.parent for path in tables):
        for ending in (".npz", ".parquet", ".csv.gz", ".csv"):
            for path in sorted(folder.glob(f"*{ending}")):
                if path not in tables and (folder, _bare_name(path)) in own:
                    found[note_path(path)] = path
    return sorted(found.values())


def _bare_name(path: Path) -> str:
    """Return the name of a table without endings, slice length and the recipe that its note has.

    >>> _bare_name(Path("mine/features_0.5_sec.csv.gz"))
    'features__sec'
    """
    name = re.sub(r"_\d+(\.\d+)?_sec(?=\.|$)", "__sec", note_path(path).name.removesuffix(".recipe.json"))
    bare, _, ending = name.rpartition(".")
    if bare and (note := read_note(path)) and _is_of(note.recipe, ending):
        return bare
    return name


def _is_of(recipe: str, features: str) -> bool:
    """Return whether a recipe has the descriptors of a name.

    >>> _is_of("rich-constant", "rich"), _is_of("musicnn-msd", "musicnn-msd"), _is_of("rich-constant", "ri")
    (True, True, False)
    """
    return recipe == features or recipe.startswith(f"{features}-")


def _read(
    dataset: DatasetConfig,
    slice_seconds: float,
    columns_of: Callable[[str], Sequence[str] | None],
    needs_labels: bool,
) -> tuple[Corpus, dict[str, Any], list[str]]:
    """Read a corpus from its CSVs without pooling; return its table's cache key, and notes on other tables, too."""
    _check_file(dataset)
    needed = () if dataset.features is not None else columns_of(dataset.recipe) or FEATURE_NAMES
    chosen, unused = _choose_tables(dataset, slice_seconds, needed, needs_labels)
    notes = {path: read_note(path) for path in chosen}
    recipe = _agreed_recipe(dataset.recipe, notes)
    noted_seconds = next((note.slice_seconds for note in notes.values() if note), None)
    arguments: dict[str, Any] = {
        "genres": dataset.genres and list(dataset.genres),
        "slice_seconds": dataset.table_slice_seconds or noted_seconds,
        "feature_names": columns_of(recipe) or FEATURE_NAMES
        if dataset.features is None
        else choose_columns(chosen[0], dataset.features),
    }
    if dataset.include_length:
        arguments["needs_length"] = True
    if not needs_labels:
        arguments["needs_labels"] = False
    key = files_key(chosen) | {"arguments": arguments}

    def read(allocate: Allocate) -> FeatureTable:
        table = read_table(chosen, **arguments, allocate=allocate)
        if files_key(chosen)["files"] != key["files"]:  # otherwise the cache would have it under a wrong key
            raise UserError("it was changed while it was read", key=chosen[0], hint="start again")
        return table

    table = stored(dataset.cache, key, read)
    _check_notes(notes, table)
    more = _unused_notes(unused, table, slice_seconds, needs_labels)
    # no closures, which cannot be pickled: a notebook gives tables to other processes
    artists, lists, official = (partial(read, dataset, table.tracks) for read in (_artists, _lists, _official))
    return Corpus(table, table, recipe, artists, lists, official), key, more


def _nothing() -> None:
    return None


def _artists(dataset: DatasetConfig, tracks: Sequence[str]) -> Mapping[str, str] | None:
    if dataset.artists is None:
        return None
    path = _file(dataset, dataset.artists)
    return fma_artists(path, tracks) if is_fma(path) else read_artists(path, tracks)


def _lists(dataset: DatasetConfig, tracks: Sequence[str]) -> Mapping[str, str] | None:
    listed = dataset.filtered or {}
    if missing := [part for part in PARTS if listed and part not in listed]:
        hint = "write dataset.filtered={train:FILE,val:FILE,test:FILE}"
        raise UserError(f"it has no list of the part '{missing[0]}'", key="dataset.filtered", hint=hint)
    files = {part: _file(dataset, path) for part, path in listed.items()}
    return read_lists(files, tracks) if files else None


def _official(dataset: DatasetConfig, tracks: Sequence[str]) -> Mapping[str, str] | None:
    return fma_parts(_file(dataset, dataset.official), tracks) if dataset.official else None


def _check_file(dataset: DatasetConfig) -> None:
    if dataset.path is not None and not Path(dataset.path).is_file():
        raise UserError("it does not exist or is no file", key="dataset.path", value=dataset.path)


def _named_tables(dataset: DatasetConfig) -> list[str]:
    """Return the names of a dataset's tables, from its root.

    Raises:
        UserError: it has none.
    """
    tables = dataset.tables if dataset.path is None else [str(Path(dataset.path).absolute())]
    if not tables:
        raise _no_table()
    return tables


def _file(dataset: DatasetConfig, name: str) -> Path:
    """Return the path of a file below the root, downloaded if it is missing and offered for download."""
    target = Path(dataset.root) / name
    if target.exists():
        return target
    source = (dataset.downloads or {}).get(name)
    if source is not None:
        if not target.resolve().is_relative_to(Path(dataset.root).resolve()):
            problem = f"it is not below dataset.root={dataset.root}, and downloads are written there only"
            raise UserError(problem, key="dataset.downloads", value=name)
        return fetch_file(target, source["urls"], source["hashes"], hint=dataset.hint)
    hint = f"give a path from the folder dataset.root={dataset.root}"
    if dataset.hint:
        hint = f"put the file there ({dataset.hint}), or set GENREGRID_DATA to the data folder that holds it"
    raise UserError("it does not exist", key=target, hint=hint)


def _slice_seconds(dataset: DatasetConfig, name: str, feature_names: Sequence[str], needs_labels: bool) -> float:
    """Return the slice length of a table in seconds: as declared for a download, else by its note, else by its rows."""
    declared = dataset.table_slice_seconds or (dataset.downloads or {}).get(name, {}).get("slice_seconds")
    if declared is not None:
        return float(declared)
    path = _file(dataset, name)
    note = read_note(path)
    return note.slice_seconds if note else peek_slice_seconds(path, feature_names, needs_labels)


def _agreed_recipe(recipe: str, notes: Mapping[Path, RecipeNote | None]) -> str:
    """Return the recipe that the dataset and the notes beside its tables name; raise if they differ."""
    unnoted = [path for path, note in notes.items() if note is None]
    if recipe == UNKNOWN_RECIPE and 0 < len(unnoted) < len(notes):
        problem = "it has no note of its recipe, and other tables have"
        raise UserError(problem, key=unnoted[0], hint="set dataset.recipe")
    for path, note in notes.items():
        if note and recipe == UNKNOWN_RECIPE:
            recipe = note.recipe
        elif note and recipe != note.recipe:
            problem = f"by {note_path(path).name} it was extracted by the recipe '{note.recipe}', not by '{recipe}'"
            hint = "set dataset.recipe to it, and read tables of one recipe at a time"
            raise UserError(problem, key=path, hint=hint)
    return recipe


def _check_notes(notes: Mapping[Path, RecipeNote | None], table: FeatureTable) -> None:
    """Raise if a note belongs to another file of the same name, since its recipe would be wrong."""
    for path, note in notes.items():
        if note and note.sha256 not in table.hashes.values() and note.sha256 != unpacked_sha256(path):
            problem = f"it is not the file that {note_path(path).name} was written for"
            hint = "delete the note and set dataset.recipe, give the table another name, or extract the features again"
            raise UserError(problem, key=path, hint=hint)


def _choose_tables(
    dataset: DatasetConfig, slice_seconds: float, feature_names: Sequence[str], needs_labels: bool
) -> tuple[list[Path], dict[Path, float]]:
    """Return the tables of the wanted slice length, otherwise those of the longest one that divides it.

    Also return the slice lengths in seconds of tables that are not used, other than those that can be downloaded.
    """
    tables = _named_tables(dataset)
    # of several tables, notes beside others may name a recipe with other columns
    names = feature_names if len(tables) == 1 else ()
    seconds = {name: _slice_seconds(dataset, name, names, needs_labels) for name in tables}
    counts = {s: slice_seconds / s for s in seconds.values()}
    fitting = [s for s, count in counts.items() if abs(count - round(count)) < 1e-3 <= count]
    if not fitting:
        lengths = ", ".join(f"{s:g}" for s in sorted(counts))
        makeable = _makeable(dataset, seconds, needs_labels)
        problem = f"the tables have slices of {lengths} seconds and can make {makeable} seconds"
        hint = None
        if all(name in (dataset.downloads or {}) or read_note(Path(dataset.root) / name) for name in tables):
            hint = f"choose one of them, or another dataset, instead of {slice_seconds:g}"
        elif dataset.table_slice_seconds is None:
            whole = "set dataset.table_slice_seconds to the slice length of the table"
            other = f"if the column 'length' does not count samples at {SAMPLE_RATE_HZ} Hz, {whole}"
            hint = _other_unit(max(counts) if len(counts) == 1 else 0, slice_seconds) or other
        raise UserError(problem, key="slice", value=slice_seconds, hint=hint)
    unused = {
        Path(dataset.root) / name: s
        for name, s in seconds.items()
        if s != max(fitting) and name not in (dataset.downloads or {})  # those have the same tracks
    }
    return [_file(dataset, name) for name, s in seconds.items() if s == max(fitting)], unused


def _unused_notes(
    unused: Mapping[Path, float], table: FeatureTable, slice_seconds: float, needs_labels: bool
) -> list[str]:
    """Return notes on tables of another slice length with tracks that the table has not.

    Raises:
        UserError: one has a genre that the table has not, and labels are needed.
    """
    notes = []
    tracks, genres = set(table.tracks), {table.genres[number] for number in np.unique(table.genre) if number >= 0}
    for path, seconds in unused.items():
        found = f"has slices of {seconds:g} s and is not used at slice={slice_seconds:g}"
        if path.stat().st_size > _MOST_UNUSED_BYTES:
            notes.append(f"{printable(path.name)} {found}")
            continue
        keys = read_feature_csv(path, (), slice_seconds=seconds, needs_labels=needs_labels).keys
        lost = set(keys["label"].cat.categories) - genres
        if needs_labels and lost:
            problem = f"it {found}, and only it has tracks of '{printable(min(lost), most=100)}'"
            hint = "leave it out of dataset.tables, or extract all tables at one slice length"
            raise UserError(problem, key=path, hint=hint)
        if others := set(keys["track"].cat.categories) - tracks:
            only = counted(len(others), "track is only there", "tracks are only there")
            notes.append(f"{printable(path.name)} {found}: {only}, such as {printable(min(others), most=100)}")
    return notes


def _other_unit(seconds: float, wanted: float) -> str | None:
    """Return what to do if the column `length`, which gave `seconds`, seems to be of another unit or sample rate.

    >>> _other_unit(6.0, 3.0)
    "if the column 'length' counts samples at 44100 Hz, set dataset.table_slice_seconds=3"
    """
    for rate in _OTHER_RATES_HZ:
        rounding = _ROUNDED_SECONDS * SAMPLE_RATE_HZ / rate
        if abs(seconds * SAMPLE_RATE_HZ / rate - wanted) <= max(_NEAR * wanted, rounding):
            unit = f"counts samples at {rate} Hz" if rate > 1000 else "is in milliseconds"
            return f"if the column 'length' {unit}, set dataset.table_slice_seconds={wanted:g}"
    return None


def _makeable(dataset: DatasetConfig, seconds: Mapping[str, float], needs_labels: bool) -> str:
    """List the slice lengths in seconds that the tables can make, without downloading a missing table."""
    lengths: set[float] = set()
    for name, length in seconds.items():
        path = Path(dataset.root) / name
        if path.is_file():
            genres = None if needs_labels else dataset.genres
            table = read_table([path], slice_seconds=length, genres=genres, feature_names=(), needs_labels=needs_labels)
            num_slices = int(table.num_slices.max())
        else:
            num_slices = round(max(seconds.values()) / length)
        lengths.update(possible_slice_seconds(length, num_slices))
    return ", ".join(f"{length:g}" for length in sorted(lengths))
