"""Tables of features for a call: a CSV, a DataFrame, or a corpus of conf."""

from html import escape
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from genregrid.api.mistake import offered
from genregrid.api.setting import composed, plain, with_values
from genregrid.config import DatasetConfig, TrainConfig
from genregrid.data.corpus import Corpus, own_slice_seconds
from genregrid.errors import UserError, counted
from genregrid.exhibit.spreadsheet import write_csv
from genregrid.features.known_recipe import columns_of
from genregrid.training.corpus_reader import CorpusReader

_FRAME = "frame.csv"


class Table:
    """Tracks with their slices, descriptors and genres, checked. `read_table` and `read_corpus` make it.

    Attributes:
        dataset: name of its file in conf/dataset.
        values: the settings that it was read with, by dotted key.
        corpus: what was read.
    """

    def __init__(self, dataset: str, values: dict[str, Any], corpus: Corpus) -> None:
        self.dataset = dataset
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
        return list(self.corpus.table.notes)

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
    slice: float | None = None,  # noqa: A002  # the word of all commands
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
    values = {name: value for name, value in given.items() if value is not None}
    if not isinstance(source, pd.DataFrame):
        if not isinstance(source, str | PathLike):
            problem = "a path or a DataFrame is needed"
            raise UserError(problem, key="source", value=type(source).__name__)
        return _read("csv", values | {"path": str(Path(source).expanduser())}, slice, None)
    with TemporaryDirectory(prefix="genregrid-") as folder:
        path = Path(folder) / _FRAME
        write_csv(source, path, index=False)
        table = _read("csv", values | {"path": str(path)}, slice, None)
    return Table(table.dataset, {key: value for key, value in table.values.items() if key != "dataset.path"}, table.corpus)


@offered
def read_corpus(
    name: str,
    slice: float | None = None,  # noqa: A002  # as above
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
    >>> gg.read_corpus("twin", slice=10, num_tracks=20)
    <Table twin: 20 tracks of 10 genres, 60 slices of 10 s, 57 descriptors (recipe kaggle-reflect)>
    """
    return _read(name, settings, slice, recipe)


def _read(name: str, given: dict[str, Any], slice_seconds: float | None, recipe: str | None) -> Table:
    known = DatasetConfig.__dataclass_fields__
    if unknown := [key for key in given if key not in known]:
        hint = f"a table takes {', '.join(known)}"
        raise UserError("there is no such setting", key=unknown[0], value=given[unknown[0]], hint=hint)
    cfg = composed(dataset=name)
    values = {f"dataset.{key}": value for key, value in given.items()} | {"features": recipe}
    with_values(cfg, values)
    dataset: Any = OmegaConf.to_object(cfg.dataset)
    if slice_seconds is None:
        slice_seconds = own_slice_seconds(dataset, columns_of)
    with_values(cfg, {"slice": slice_seconds})
    settings: Any = OmegaConf.to_object(cfg)
    assert isinstance(settings, TrainConfig)
    corpus = CorpusReader().read(dataset, slice_seconds, recipe)
    return Table(name, values | {"slice": plain("slice", slice_seconds)}, corpus)


def check_table(table: object) -> Table:
    """Return a table, or read one from the path or DataFrame that was given in its place.

    Raises:
        UserError: it is none of those, or cannot be read.
    """
    if isinstance(table, Table):
        return table
    if isinstance(table, str | PathLike | pd.DataFrame):
        return read_table(table)
    hint = 'read it first: gg.read_table("FILE.csv") or gg.read_corpus("twin")'
    raise UserError("it is no table", key="table", value=type(table).__name__, hint=hint)
