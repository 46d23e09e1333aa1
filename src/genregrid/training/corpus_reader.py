"""Read corpora for the runs of one process, which mostly use the same corpus one after another."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genregrid.config import DatasetConfig
from genregrid.errors import printable

if TYPE_CHECKING:
    from genregrid.data.corpus import Corpus


class CorpusReader:
    """Reads corpora and keeps the last one, for the runs of a script or a worker process.

    Args:
        folder: where processes share tables, which each maps into its memory; ``None``: nothing is shared.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._key = ""
        self._corpus: Corpus | None = None

    def read(
        self, dataset: DatasetConfig, slice_seconds: float, features: str | None = None, *, needs_labels: bool = True
    ) -> "Corpus":
        """Return what `load_corpus` returns; read files only if they, or the settings, differ from the last time.

        `features` is as in `genregrid.data.corpus.with_features`; ``None`` for the tables that the dataset names.
        """
        # scripts need the class before they need pandas
        from genregrid.data.corpus import load_corpus, with_features, with_notes
        from genregrid.features.known_recipe import columns_of, near_recipe, option_of

        if features is not None:
            dataset = with_features(dataset, features, option_of)
        key = json.dumps([asdict(dataset), float(slice_seconds), needs_labels, os.getcwd(), _file_states(dataset)])
        if self._corpus is None or key != self._key:
            if self._folder is not None and dataset.cache is None and not dataset.synthetic:
                dataset = replace(dataset, cache=str(self._folder))
            self._corpus = None  # two corpora would take twice the memory
            self._corpus, self._key = load_corpus(dataset, slice_seconds, columns_of, needs_labels), key
            if near := near_recipe(recipe := self._corpus.recipe):
                note = f"genregrid has no recipe {printable(recipe, most=100)}; is dataset.recipe={near} meant?"
                self._corpus = with_notes(self._corpus, self._corpus.table, [note])
        return self._corpus


def _file_states(dataset: DatasetConfig) -> list[Any]:
    """Return size and modification time of each table and its note."""
    from genregrid.data.note import note_path

    tables = [Path(dataset.root) / name for name in dataset.tables] + ([Path(dataset.path)] if dataset.path else [])
    states = [path.stat() if path.exists() else None for table in tables for path in (table, note_path(table))]
    return [state and (state.st_size, state.st_mtime_ns) for state in states]
