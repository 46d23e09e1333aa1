"""A trained model: what it is, and the genres that it predicts for tables and recordings."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch

from genregrid.api.mistake import offered
from genregrid.api.outcome import Picture
from genregrid.api.runs import RunsFolder, own_state
from genregrid.api.table import Table, table_of
from genregrid.config import EVERY_TRACK, DatasetConfig, SplitConfig
from genregrid.data.corpus import Corpus
from genregrid.errors import UserError
from genregrid.files import home_expanded
from genregrid.listening.shipped import choose_model
from genregrid.models.trained import load_checkpoint
from genregrid.program import install_command
from genregrid.record.card import Card
from genregrid.record.facts import Provenance
from genregrid.record.unlabelled import predict_unlabelled
from genregrid.training.build import datamodule_of, split_of
from genregrid.training.evaluation import check_features, check_recipe

#: A table, the path of one, a recording, a folder of recordings, or a list of recordings.
Source: TypeAlias = Table | pd.DataFrame | str | PathLike[str] | Sequence[str | PathLike[str]]
_TABLES = {".csv", ".parquet", ".npz", ".gz"}


class Model:
    """A trained model. `genregrid.load` makes it, and it is `model` of what `genregrid.train` returns.

    Attributes:
        path: of its checkpoint.
    """

    def __init__(self, path: Path, runs: RunsFolder | None = None) -> None:
        self.path = path
        self._runs = runs  # keeps a temporary folder while this object lives
        self._model = load_checkpoint(path)
        self._trained = Provenance.of(self._model, path)

    @property
    def genres(self) -> list[str]:
        """Names of the genres, in the order of the probabilities."""
        return list(self._model.genres)

    @property
    def feature_names(self) -> list[str]:
        """Names of the descriptors that it takes."""
        return list(self._model.feature_names)

    @property
    def card(self) -> Card | None:
        """The cross-validated score of its settings, and its calibration; ``None`` if it is not a final model."""
        return self._trained.card

    @property
    def about(self) -> "pd.Series[Any]":
        """What it was trained on, and how."""
        facts = self._trained.facts
        known: dict[str, Any] = {
            "model": facts.model,
            "trained on": facts.dataset_title,
            "split": facts.split_label,
            "training tracks": len(self._trained.tracks["train"]),
            "slice seconds": facts.slice_seconds,
            "recipe": facts.recipe,
            "genres": ", ".join(self.genres),
            "marks": " ".join(facts.marks),
            "evidence": None if self.card is None else self.card.evidence,
        }
        return pd.Series({key: value for key, value in known.items() if value}, name=str(self.path.name), dtype=object)

    @offered
    def predict(self, source: Source) -> pd.DataFrame:
        """Predict the genre of every track of a table, or of every recording.

        Args:
            source: a table of `read_table`, the path of one (with or without labels) or a DataFrame; or a recording, a
                folder of recordings, or a list of them.

        Returns:
            One row per track or recording: the name, the genre predicted, certainty, probabilities (``p_<genre>``), the
            second and third genre, and notes, such as that the model was trained on it. Tables with labels keep the
            column genre.

        Raises:
            UserError: a file does not exist or cannot be read, or it has other descriptors than the model.
        """
        if _is_table(source):
            return self._of_table(source)[0]
        rows = [one if isinstance(one, dict) else one.prediction() for one in self._scored(source)]
        return pd.DataFrame(rows).rename(columns={"genre": "predicted"})

    @offered
    def timeline(self, source: Source) -> pd.DataFrame:
        """Predict the genre of every slice, from the slices up to it; arguments and errors as in `predict`.

        Returns:
            One row per slice: start and stop in seconds, the genre predicted, certainty and probabilities.
        """
        if _is_table(source):
            return self._of_table(source)[1]
        frames = [one.timeline() for one in self._scored(source) if not isinstance(one, dict)]
        return pd.concat(frames, ignore_index=True).rename(columns={"genre": "predicted"})

    @offered
    def plot_timeline(self, recording: str | PathLike[str]) -> Picture:
        """Draw the probability of each genre along a recording.

        Raises:
            UserError: it does not exist, cannot be read, or is a folder.
        """
        if Path(recording).is_dir():
            raise UserError("one recording is drawn at a time", key="recording", value=str(recording))
        (scored,) = self._scored(recording)
        with TemporaryDirectory(prefix="genregrid-") as folder:
            path = Path(folder) / "timeline.png"
            scored.draw(path)
            content = path.read_bytes()
        return Picture(content, "png", f"{Path(recording).name}: {scored.verdict.text}")

    def _scored(self, source: Any) -> Iterator[Any]:
        """Yield a `ScoredRecording` for each file; of several, a row with the reason for one that cannot be read."""
        try:
            from genregrid.features.folder import recordings_in
            from genregrid.listening.score import Scorer
        except ModuleNotFoundError as error:
            raise UserError("it is not installed", key=error.name, hint=install_command("audio")) from None
        from genregrid.recording.audio import AudioError

        given = list(source) if isinstance(source, list | tuple) else [source]
        if not given or not all(isinstance(one, str | PathLike) for one in given):
            problem = "expected a table, a path, or a list of paths"
            raise UserError(problem, key="source", value=source)
        paths = [Path(one).expanduser() for one in given]
        for path in paths:
            if not path.exists():
                raise UserError("it does not exist", key="source", value=str(path))
        files = recordings_in(paths)
        with own_state():
            scorer = Scorer(self.path)
            for file in files:
                try:
                    yield scorer.score(file)
                except AudioError as error:
                    if len(files) == 1:
                        raise UserError(str(error), key="source", value=str(file)) from None
                    yield {"file": str(file), "notes": f"skipped: {error}"}

    def _of_table(self, source: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the predictions and the timeline of all tracks of a table."""
        corpus, name = self._corpus(source)
        check_features(self._model, corpus)
        recipe = DatasetConfig(name="table", corpus=name, label="table", recipe=corpus.recipe)
        check_recipe(recipe, self._trained.facts.recipe)
        table = corpus.table
        if table.slice_seconds != self._model.slice_seconds:
            problem = (
                f"its slices have {table.slice_seconds:g} s, and those of the model {self._model.slice_seconds:g} s"
            )
            raise UserError(problem, key="source", hint=f"read it with slice={self._model.slice_seconds:g}")
        # labels may be of other genres; they are no part of a prediction
        blank = replace(table, genres=tuple(self.genres), genre=np.full(len(table.tracks), -1))
        every = split_of(replace(corpus, table=blank), SplitConfig(protocol=EVERY_TRACK))
        with own_state():
            torch.set_num_threads(1)
            found = predict_unlabelled(
                self._model, datamodule_of(blank, every, self._trained), self._trained, name == self._trained.corpus
            )
        predictions = found.predictions
        if not table.is_unlabelled:
            predictions = predictions.copy()
            predictions.insert(1, "genre", [table.genres[number] for number in table.genre])
        return predictions, found.timeline

    def _corpus(self, source: Any) -> tuple[Corpus, str]:
        """Return a table's corpus, and the name of what its tracks are."""
        if isinstance(source, Table):
            return source.corpus, source.recordings
        own = [name for name in self.feature_names if name != "length"]
        given: dict[str, Any] = {"include_length": "length" in self.feature_names}
        if self._trained.facts.settings.get("dataset.features") is not None:
            given["features"] = own
        recipe = self._trained.facts.recipe
        table = table_of(source, self._model.slice_seconds, given, recipe, self.genres)
        return table.corpus, "csv"

    def __repr__(self) -> str:
        return f"<Model {self._trained.title}>"

    def _repr_html_(self) -> str:
        return str(self.about.to_frame().to_html(header=False))


def _is_table(source: object) -> bool:
    if isinstance(source, Table | pd.DataFrame):
        return True
    return isinstance(source, str | PathLike) and Path(source).suffix.lower() in _TABLES and not Path(source).is_dir()


@offered
def load(checkpoint: str | PathLike[str] | None = None) -> Model:
    """Load a trained model.

    Args:
        checkpoint: path of a checkpoint, the folder of a run, ``"latest"`` for the newest training below outputs/, or
            the name of a model that comes with genregrid. ``None`` is the best of those that can be used here.

    Raises:
        UserError: there is no such file or training, or its content is not sound.
    """
    if checkpoint is not None and (not isinstance(checkpoint, str | PathLike) or not str(checkpoint)):
        raise UserError('expected a path, the name of a model, or "latest"', key="checkpoint", value=checkpoint)
    return Model(choose_model(None if checkpoint is None else home_expanded(str(checkpoint))).checkpoint)
