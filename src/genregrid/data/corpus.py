"""A corpus: its table at the wanted slice length, and what is known of its tracks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genregrid.config import DatasetConfig
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
    dataset: DatasetConfig, slice_seconds: float, columns_of: Callable[[str], Sequence[str] | None]
) -> Corpus:
    """Read or draw a corpus, and pool its slices to one slice length.

    Args:
        dataset: where the tables are and how to read them.
        slice_seconds: wanted slice length in seconds, more than 0.
        columns_of: gives the names of a recipe's descriptors in the order of its CSVs; ``None`` for a recipe that it
            does not know. Such a table has the columns of Kaggle's GTZAN.

    Raises:
        UserError: a file is missing or breaks the contract, no table makes the wanted slices, or the note beside a
            table names another recipe.
    """
    corpus, key = _drawn(dataset) if dataset.synthetic else _read(dataset, slice_seconds, columns_of)
    if dataset.cache is not None and corpus.table.slice_seconds == slice_seconds and not dataset.include_length:
        return corpus  # its table is in the cache already

    def shaped(allocate: Allocate) -> FeatureTable:
        pooled = reslice(corpus.source, slice_seconds, allocate)
        return pooled.with_length(allocate) if dataset.include_length else pooled

    key = key | {"slice": slice_seconds, "length": dataset.include_length}
    return replace(corpus, table=stored(dataset.cache, key, shaped))


def _drawn(dataset: DatasetConfig) -> tuple[Corpus, dict[str, Any]]:
    """The twin before pooling; it is not cached and needs no cache key."""
    twin = draw_twin(num_tracks=dataset.num_tracks)
    table = table_from_frame(twin.frame, source=dataset.name, genres=dataset.genres)
    return Corpus(table, table, dataset.recipe, lambda: twin.artists, lambda: twin.filtered), {}


def _read(
    dataset: DatasetConfig, slice_seconds: float, columns_of: Callable[[str], Sequence[str] | None]
) -> tuple[Corpus, dict[str, Any]]:
    """A corpus from its CSVs before pooling, and the cache key of its table."""
    files = _Files(Path(dataset.root), dataset.downloads or {}, dataset.hint)
    if dataset.path is not None and not Path(dataset.path).is_file():
        raise UserError("does not exist or is no file", key="dataset.path", value=dataset.path)
    tables = dataset.tables if dataset.path is None else [str(Path(dataset.path).absolute())]
    chosen = _choose_tables(files, tables, slice_seconds, dataset.table_slice_seconds)
    notes = {path: read_note(path) for path in chosen}
    recipe = _agreed_recipe(dataset.recipe, notes)
    noted_seconds = next((note.slice_seconds for note in notes.values() if note), None)
    arguments: dict[str, Any] = {
        "genres": dataset.genres and list(dataset.genres),
        "slice_seconds": dataset.table_slice_seconds or noted_seconds,
        "feature_names": columns_of(recipe) or FEATURE_NAMES,
    }
    key = files_key(chosen) | {"arguments": arguments}
    table = stored(dataset.cache, key, lambda allocate: read_table(chosen, **arguments, allocate=allocate))
    _check_notes(notes, table)
    artists, lists = dataset.artists, dataset.filtered
    corpus = Corpus(
        table=table,
        source=table,
        recipe=recipe,
        artists=lambda: read_artists(files.path(artists)) if artists else None,
        lists=lambda: read_lists({part: files.path(path) for part, path in lists.items()}) if lists else None,
    )
    return corpus, key


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
