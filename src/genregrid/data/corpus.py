"""A corpus: its table at the wanted slice length, and what is known of its tracks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genregrid.data.catalogue import read_artists, read_lists
from genregrid.data.download import fetch_file
from genregrid.data.feature_csv import FEATURE_NAMES
from genregrid.data.note import UNKNOWN_RECIPE, RecipeNote, note_path, read_note
from genregrid.data.reslice import possible_slice_seconds, reslice
from genregrid.data.slice_rows import Allocate
from genregrid.data.store import files_key, stored
from genregrid.data.table import FeatureTable, peek_slice_seconds, read_table, table_from_frame
from genregrid.errors import UserError
from genregrid.twin.draw import draw_twin


@dataclass(frozen=True)
class Corpus:
    """A table, and on demand the catalogue of its tracks: a protocol that needs no artists needs no artist index.

    Attributes:
        table: slices of the wanted length.
        source: the table that they were pooled from, in which repeated recordings are found.
        recipe: name of the recipe of its descriptors; "unknown" where nobody says.
        artists: reads the artist by track name; ``None`` where the corpus has no artist index.
        lists: reads the published part by track name; ``None`` where there are no lists.
    """

    table: FeatureTable
    source: FeatureTable
    recipe: str
    artists: Callable[[], Mapping[str, str] | None]
    lists: Callable[[], Mapping[str, str] | None]


def load_corpus(
    *,
    name: str,
    slice_seconds: float,
    columns_of: Callable[[str], Sequence[str] | None] = lambda _: None,
    recipe: str = UNKNOWN_RECIPE,
    root: str = ".",
    path: str | None = None,
    tables: Sequence[str] = (),
    table_slice_seconds: float | None = None,
    genres: Sequence[str] | None = None,
    artists: str | None = None,
    filtered: Mapping[str, str] | None = None,
    include_length: bool = False,
    cache: str | None = None,
    synthetic: bool = False,
    num_tracks: int = 1000,
    downloads: Mapping[str, Mapping[str, Any]] | None = None,
    hint: str = "",
) -> Corpus:
    """Read a corpus at one slice length. The arguments are the keys of conf/dataset/*.yaml.

    Args:
        name: of the corpus, for messages.
        slice_seconds: wanted slice length in seconds.
        columns_of: names of the descriptors of a recipe, in the order of its CSVs; ``None`` for a recipe that is not
            known here, which has Kaggle's.
        recipe: name of the recipe of the descriptors; "unknown" takes it from the note beside a CSV, if there is one.
        root: folder that relative paths start from.
        path: one feature CSV in place of `tables`, relative to the working directory.
        tables: feature CSVs; those of the wanted length are read, else those that can be pooled to it.
        table_slice_seconds: slice length of all `tables` in seconds; ``None`` reads it from each file.
        genres: genre names in the order of the logits; ``None`` takes those of the table, sorted.
        artists: path of the artist index, if there is one.
        filtered: path of the published list of each part, if there are lists.
        include_length: whether `length` becomes a descriptor.
        cache: a folder, in which the tables are kept as files that are mapped into memory (`genregrid.data.store`).
        synthetic: whether the corpus is the statistical twin, drawn instead of read.
        num_tracks: size of the twin.
        downloads: ``urls`` and ``hashes`` by path below `root`, for files that may be fetched when missing.
        hint: how to get the files, said when one is missing and cannot be fetched.

    Raises:
        UserError: a file is missing or breaks the contract, no table makes the wanted slices, or the note beside a
            table names another recipe.
    """
    if not 0 < slice_seconds < math.inf:
        raise UserError(f"slice={slice_seconds:g}: a slice is longer than 0 seconds.")
    if path is not None and (synthetic or tables):
        raise UserError(f"dataset.path={path} is read by dataset=csv only: add dataset=csv.")
    if cache is not None and synthetic:
        raise UserError(
            f"dataset.cache={cache}: the twin is drawn, not read; leave it out, or write a CSV of it first."
        )
    files = _Files(Path(root), downloads or {}, hint)
    key: dict[str, Any] = {}
    if synthetic:
        if num_tracks % 10 or not 20 <= num_tracks <= 1_000_000:
            raise UserError(f"dataset.num_tracks={num_tracks}: a multiple of 10 from 20 to 1000000.")
        twin = draw_twin(num_tracks=num_tracks)
        table = table_from_frame(twin.frame, source=name, genres=genres)
        corpus = Corpus(table, table, recipe, lambda: twin.artists, lambda: twin.filtered)
    else:
        if path is not None and not Path(path).is_file():
            raise UserError(f"dataset.path={path} does not exist or is no file.")
        names = tables if path is None else [str(Path(path).absolute())]
        chosen = _choose_tables(files, names, slice_seconds, table_slice_seconds)
        notes = {path: read_note(path) for path in chosen}
        recipe = _agreed_recipe(recipe, notes)
        arguments: dict[str, Any] = {
            "genres": genres and list(genres),
            "slice_seconds": table_slice_seconds or next((note.slice_seconds for note in notes.values() if note), None),
            "feature_names": columns_of(recipe) or FEATURE_NAMES,
        }
        key = files_key(chosen) | {"arguments": arguments}
        table = stored(cache, key, lambda allocate: read_table(chosen, **arguments, allocate=allocate))
        _check_notes(notes, table)
        corpus = Corpus(
            table=table,
            source=table,
            recipe=recipe,
            artists=lambda: read_artists(files.path(artists)) if artists else None,
            lists=lambda: read_lists({part: files.path(p) for part, p in filtered.items()}) if filtered else None,
        )
    if cache is not None and table.slice_seconds == slice_seconds and not include_length:
        return corpus  # as it is stored

    def shaped(allocate: Allocate) -> FeatureTable:
        pooled = reslice(corpus.source, slice_seconds, allocate)
        return pooled.with_length(allocate) if include_length else pooled

    return replace(corpus, table=stored(cache, key | {"slice": slice_seconds, "length": include_length}, shaped))


@dataclass(frozen=True)
class _Files:
    """Files below a root, fetched when missing and offered for download."""

    root: Path
    downloads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    hint: str = ""

    def path(self, name: str) -> Path:
        target = self.root / name
        if target.exists():
            return target
        if name in self.downloads:
            source = self.downloads[name]
            return fetch_file(target, source["urls"], source["hashes"], hint=self.hint)
        if self.hint:
            raise UserError(
                f"{target} does not exist: put the file there ({self.hint}), or set GENREGRID_DATA "
                "to the data folder that holds it."
            )
        raise UserError(f"{target} does not exist: give a path from the folder dataset.root={self.root}.")

    def slice_seconds(self, name: str) -> float:
        """Known without the file for those that are offered for download, and by the note of those that have one."""
        declared = self.downloads.get(name, {}).get("slice_seconds")
        if declared is not None:
            return float(declared)
        path = self.path(name)
        note = read_note(path)
        return note.slice_seconds if note else peek_slice_seconds(path)


def _agreed_recipe(recipe: str, notes: Mapping[Path, RecipeNote | None]) -> str:
    """The recipe that the dataset and the notes beside its tables name."""
    unnoted = [path for path, note in notes.items() if note is None]
    if recipe == UNKNOWN_RECIPE and unnoted and len(unnoted) < len(notes):
        raise UserError(f"{unnoted[0]} has no note of its recipe, and other tables have: set dataset.recipe.")
    for path, note in notes.items():
        if note is None:
            continue
        if recipe == UNKNOWN_RECIPE:
            recipe = note.recipe
        elif recipe != note.recipe:
            raise UserError(
                f"{path} was extracted by the recipe '{note.recipe}', says {note_path(path).name}, not by '{recipe}': "
                "set dataset.recipe to it, and read tables of one recipe at a time."
            )
    return recipe


def _check_notes(notes: Mapping[Path, RecipeNote | None], table: FeatureTable) -> None:
    """Refuse the note of another file of the same name: its recipe would be believed."""
    for path, note in notes.items():
        if note is not None and note.sha256 not in table.hashes.values():
            raise UserError(
                f"{path} is not the file that {note_path(path).name} was written for: delete the note and set "
                "dataset.recipe, or extract the features again."
            )


def _choose_tables(
    files: _Files, tables: Sequence[str], slice_seconds: float, table_slice_seconds: float | None
) -> list[Path]:
    """The tables of the wanted length, else of the longest one that divides it."""
    if not tables:
        raise UserError("there is no feature CSV to read: set dataset.path=FILE to the path of yours.")
    seconds = {name: table_slice_seconds or files.slice_seconds(name) for name in tables}
    fitting = [
        s
        for s in set(seconds.values())
        if abs(slice_seconds / s - round(slice_seconds / s)) < 1e-3 <= slice_seconds / s
    ]
    if not fitting:
        lengths = ", ".join(f"{s:g}" for s in sorted(set(seconds.values())))
        raise UserError(
            f"slice={slice_seconds:g}: the tables hold slices of {lengths} seconds and can make "
            f"{_makeable(files, seconds)}."
        )
    return [files.path(name) for name, s in seconds.items() if s == max(fitting)]


def _makeable(files: _Files, seconds: Mapping[str, float]) -> str:
    """Slice lengths in seconds that the tables make, as words; missing files are not fetched to find out."""
    lengths: set[float] = set()
    for name, length in seconds.items():
        if (files.root / name).is_file():
            num_slices = int(read_table([files.root / name], slice_seconds=length).num_slices.max())
        else:
            num_slices = round(max(seconds.values()) / length)
        lengths.update(possible_slice_seconds(length, num_slices))
    return ", ".join(f"{length:g}" for length in sorted(lengths)) + " seconds"
