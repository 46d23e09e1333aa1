"""Tables of features for a call: a CSV, a DataFrame, or a corpus of conf."""

from collections.abc import Sequence
from difflib import get_close_matches
from html import escape
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from genregrid.api.mistake import offered, python_words
from genregrid.api.setting import choices, composed, plain, with_values
from genregrid.config import DatasetConfig, TrainConfig
from genregrid.data.corpus import Corpus, own_slice_seconds
from genregrid.data.note import read_note
from genregrid.errors import UserError, counted
from genregrid.exhibit.spreadsheet import write_csv
from genregrid.features.known_recipe import columns_of
from genregrid.training.corpus_reader import CorpusReader

_FRAME = "frame.csv"
_NO_LABELS = "the column 'label' is missing"
# Settings of a dataset that a call has parameters for, or that only files of conf have.
_NOT_SETTINGS = {"name", "root", "path", "tables", "synthetic", "downloads", "hint"}


class Table:
    """Tracks with their slices, descriptors and genres, checked. `read_table` and `read_corpus` make it.

    Attributes:
        dataset: name of its file in conf/dataset.
        values: the settings that it was read with, by dotted key.
        corpus: what was read.
        recordings: name of the corpus that the names of tracks mean.
    """

    def __init__(self, dataset: str, values: dict[str, Any], corpus: Corpus, recordings: str) -> None:
        self.dataset = dataset
        self.recordings = recordings
        self.values = values
        self.corpus = corpus

    @property
    def slice_seconds(self) -> float:
        """Length of a slice in seconds."""
        return self.corpus.table.slice_seconds

    @property
    def genres(self) -> list[str]:
        """Names of the genres, in the order of a model's probabilities."""
        return list(self.corpus.table.genres)

    @property
    def feature_names(self) -> list[str]:
        """Names of the descriptors."""
        return list(self.corpus.table.feature_names)

    @property
    def recipe(self) -> str:
        """Name of the recipe of the descriptors, or "unknown"."""
        return self.corpus.recipe

    @property
    def notes(self) -> list[str]:
        """A sentence for each thing that was left out, merged or ignored."""
        return [python_words(note) for note in self.corpus.table.notes]

    @property
    def tracks(self) -> pd.DataFrame:
        """One row per track: track, genre, num_slices."""
        table = self.corpus.table
        genre = [table.genres[number] for number in table.genre]
        return pd.DataFrame({"track": table.tracks, "genre": genre, "num_slices": table.num_slices})

    @property
    def frame(self) -> pd.DataFrame:
        """One row per slice: track, slice, genre and the descriptors."""
        table = self.corpus.table
        keys = self.tracks.loc[table.track, ["track", "genre"]].reset_index(drop=True)
        keys.insert(1, "slice", table.slice_index)
        return pd.concat([keys, pd.DataFrame(table.features, columns=self.feature_names)], axis=1)

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.corpus.table.tracks)

    def __repr__(self) -> str:
        table = self.corpus.table
        slices = f"{counted(len(table.track), 'slice')} of {self.slice_seconds:g} s"
        what = f"{counted(len(self.feature_names), 'descriptor')} (recipe {self.recipe})"
        return f"<Table {self.dataset}: {counted(len(self), 'track')} of {len(self.genres)} genres, {slices}, {what}>"

    def _repr_html_(self) -> str:
        counts = self.tracks.groupby("genre")["num_slices"].agg(["size", "sum"])
        counts.columns = pd.Index(["tracks", "slices"])
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<p>{escape(repr(self)[1:-1])}</p>{counts.T.to_html()}" + (f"<ul>{notes}</ul>" if notes else "")


class HeldCorpus(CorpusReader):
    """A reader that returns a corpus that was read already, whatever the configuration names."""

    def __init__(self, corpus: Corpus) -> None:
        super().__init__()
        self._held = corpus

    def read(self, *_: Any, **__: Any) -> Corpus:
        """Return the corpus."""
        return self._held


@offered
def read_table(
    source: str | PathLike[str] | pd.DataFrame,
    slice: float | None = None,  # the word of all commands
    *,
    artists: str | PathLike[str] | None = None,
    features: str | list[str] | None = None,
    recipe: str | None = None,
    **settings: Any,
) -> Table:
    """Read a table of features with one row per slice: a CSV, gzip, Parquet or npz file, or a DataFrame.

    Its columns are filename, length, label and the descriptors (data/README.md).

    Args:
        source: path of the file, or the DataFrame.
        slice: length of a slice in seconds; ``None`` for that of the table. Longer slices are pooled from its own.
        artists: a CSV with the columns track and artist, which the protocol ``artist`` needs.
        features: which columns are descriptors: ``"all"`` that hold numbers, a name, a pattern such as ``"e*"``, or a
            list of those; ``None`` for the columns of the recipe.
        recipe: name of the recipe; ``None`` reads it from the note that genregrid writes beside a CSV.
        settings: others of a dataset: genres, pooling, corpus, table_slice_seconds ... (`DatasetConfig`).

    Raises:
        UserError: there is no such file, it breaks the contract or has no labels, or cannot make slices of that length.
    """
    given = {"artists": artists, "features": features, "recipe": recipe} | settings
    return table_of(source, slice, {name: value for name, value in given.items() if value is not None})


def table_of(
    source: object,
    slice_seconds: float | None,
    given: dict[str, Any],
    recipe: str | None = None,
    genres: Sequence[str] | None = None,
) -> Table:
    """Read a table as `read_table` does, with other settings in one dict.

    With `genres`, those of a model, the table may lack labels; `recipe` is then that of a table without a note.

    Raises:
        UserError: as `read_table` does.
    """
    if isinstance(source, pd.DataFrame):
        with TemporaryDirectory(prefix="genregrid-") as folder:
            write_csv(source, path := Path(folder) / _FRAME, index=False)
            try:
                table = table_of(path, slice_seconds, given, recipe, genres)
            except UserError as error:
                raise _of_frame(error, path) from None
        del table.values["dataset.path"]
        return table
    if not isinstance(source, str | PathLike):
        raise UserError(f"expected a path or a DataFrame, not {type(source).__name__}", key="source")
    path, artists = Path(source).expanduser(), given.get("artists")
    if artists is not None:
        given = given | {"artists": str(Path(artists).expanduser().absolute())}
        if not Path(artists).expanduser().is_file():
            raise UserError("it does not exist or is no file", key="artists", value=artists)
    if recipe is not None and path.is_file() and read_note(path) is None:
        given = given | {"recipe": recipe}
    if genres is not None:
        given = given | {"genres": list(genres)}
    return _read("csv", given | {"path": str(path)}, slice_seconds, None, needs_labels=genres is None)


@offered
def read_corpus(
    name: str,
    slice: float | None = None,  # as above
    *,
    recipe: str | None = None,
    **settings: Any,
) -> Table:
    """Read a corpus of conf/dataset: ``twin`` (synthetic, drawn at once), ``gtzan``, ``gtzan10``, ``fma_small`` ...

    Files of public corpora that are missing are downloaded and checked.

    Args:
        name: of the corpus.
        slice: length of a slice in seconds; ``None`` for that of its tables.
        recipe: of the descriptors, such as ``"rich"``; ``None`` for that of its tables.
        settings: others of a dataset, such as `num_tracks` of the twin (`DatasetConfig`).

    Raises:
        UserError: there is no such corpus, or its files are missing or break the contract.

    >>> import genregrid as gg
    >>> gg.read_corpus("twin", slice=6, num_tracks=20)
    <Table twin: 20 tracks of 10 genres, 100 slices of 6 s, 57 descriptors (recipe kaggle-reflect)>
    """
    return _read(name, settings, slice, recipe)


def _read(
    name: str, given: dict[str, Any], slice_seconds: float | None, recipe: str | None, *, needs_labels: bool = True
) -> Table:
    known = [key for key in DatasetConfig.__dataclass_fields__ if key not in _NOT_SETTINGS]
    if unknown := [key for key in given if key not in known and key != "path"]:
        near = get_close_matches(unknown[0], known, n=1)
        hint = f"{f'is {near[0]!r} meant? ' if near else ''}a table takes {', '.join(known)}"
        raise UserError("there is no such setting", key=unknown[0], value=given[unknown[0]], hint=hint)
    cfg = composed(dataset=name)
    values = {f"dataset.{key}": value for key, value in given.items()} | {"features": recipe}
    with_values(cfg, values)
    dataset: Any = OmegaConf.to_object(cfg.dataset)
    if slice_seconds is None:
        slice_seconds = own_slice_seconds(dataset, columns_of, needs_labels=False)
    if isinstance(slice_seconds, float) and slice_seconds.is_integer():  # as on the command line
        slice_seconds = int(slice_seconds)
    with_values(cfg, {"slice": slice_seconds})
    settings: Any = OmegaConf.to_object(cfg)
    assert isinstance(settings, TrainConfig)
    try:
        corpus = CorpusReader().read(dataset, slice_seconds, recipe, needs_labels=needs_labels)
    except UserError as error:
        if error.problem != _NO_LABELS or (error.hint or "").startswith("rename "):
            raise
        hint = "a model predicts a table without labels: gg.load(CHECKPOINT).predict(TABLE)"
        raise UserError(error.problem, key=error.key, hint=hint) from None
    return Table(name, values | {"slice": plain("slice", slice_seconds)}, corpus, str(dataset.corpus))


def _of_frame(error: UserError, path: Path) -> UserError:
    """Return a mistake about the file of a DataFrame as one about the DataFrame."""
    if error.key is None or not error.key.startswith(str(path)):
        return error
    return UserError(error.problem, key=error.key.replace(str(path), "DataFrame", 1), hint=error.hint)


def check_table(table: object) -> Table:
    """Return a table, or read one from the path or DataFrame that was given in its place.

    Raises:
        UserError: it is none of those, or cannot be read.
    """
    if isinstance(table, Table):
        return table
    if isinstance(table, str) and not Path(table).exists() and table in choices("dataset"):
        raise UserError("it is a corpus", key="table", value=table, hint=f"read it first: gg.read_corpus({table!r})")
    if isinstance(table, str | PathLike | pd.DataFrame):
        return read_table(table)
    hint = 'read it first: gg.read_table("FILE.csv") or gg.read_corpus("twin")'
    raise UserError(f"expected a table, not {type(table).__name__}", key="table", hint=hint)
