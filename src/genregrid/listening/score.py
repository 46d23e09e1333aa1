"""Score recordings with a trained model: what ``python evaluate.py checkpoint=PATH audio=song.mp3`` runs."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from genregrid.data.duplicate import track_fingerprints
from genregrid.data.reslice import reslice
from genregrid.data.table import FeatureTable
from genregrid.data.window import growing_windows, window_bounds, window_rows
from genregrid.errors import UserError, printable
from genregrid.exhibit.spreadsheet import write_csv
from genregrid.files import replacing
from genregrid.metrics.vote import track_vote
from genregrid.models.base import GenreClassifier, check_finite
from genregrid.models.trained import load_checkpoint
from genregrid.name import UNFIT
from genregrid.program import command_name, install_command
from genregrid.record.facts import Provenance

try:
    from threadpoolctl import threadpool_limits

    from genregrid.features.description import Description, describe_recording
    from genregrid.features.folder import recordings_in, track_name
    from genregrid.features.known_recipe import recipe_named
    from genregrid.features.recipe import MAX_SLICE_SECONDS, Recipe, TableKey
    from genregrid.listening.timeline import ScoredRecording
    from genregrid.recording.audio import AudioError
except ModuleNotFoundError as error:
    raise UserError("it is not installed", key=error.name, hint=f"audio needs `{install_command('audio')}`") from None

_LONGEST_STEM = 60  # characters in a picture's name; file systems allow 255 bytes, and a letter may have four
_LONGEST_PATH = 1000  # characters of a path that are printed; the tables have all
_WRITE_SECONDS = 60.0  # between writing the tables, and twenty times as long as writing takes
_MOST_NEAR = 5  # training tracks that are named
_VALUES_AT_ONCE = 1 << 20  # of the windows that a model predicts at a time: 4 MiB; layers take some ten times that
# slices of all windows of a recording: a day of slices of 3 s in windows of an hour. The time grows with their product
_MOST_WINDOW_SLICES = 1 << 26


class Scorer:
    """A trained model that scores recordings, one after the other.

    Args:
        checkpoint: of a model trained on the descriptors that a recipe of genregrid computes.

    Attributes:
        trained: what the checkpoint keeps about the training.

    Raises:
        UserError: the checkpoint's recipe cannot be computed here, or its values cannot be of such a training.
    """

    def __init__(self, checkpoint: Path) -> None:
        torch.set_num_threads(1)
        self.model = load_checkpoint(checkpoint)
        self.trained = Provenance.of(self.model, checkpoint)
        self.settings = Settings.of(self.model, self.trained, checkpoint)

    @staticmethod
    def provenance(checkpoint: Path) -> Provenance:
        """Read what a checkpoint keeps about its training."""
        return Provenance.of(load_checkpoint(checkpoint), checkpoint)

    @property
    def about(self) -> str:
        """What the model is, with its marks, and how good it is if that is known."""
        evidence = "" if self.trained.card is None else f"; {self.trained.card.evidence}"
        return self.trained.title + evidence

    def score(self, path: Path, description: Description | None = None) -> ScoredRecording:
        """Score one recording; arguments and errors as in `score_recording`."""
        with threadpool_limits(1):  # as in extraction: sums differ in their last bits with the number of threads
            return score_recording(self.model, self.settings, path, description)

    def score_all(
        self, files: Sequence[Path], folder: Path, on_scored: Callable[[int, ScoredRecording], object]
    ) -> "ScoredFolder":
        """Score recordings, and write tables of them from time to time and at the end, also after an interruption.

        Args:
            files: recordings; one that cannot be scored is reported and skipped, unless it is the only one.
            folder: for ``recordings.csv`` and ``timeline.csv``; made if missing.
            on_scored: called with the number, from 0, and the scores of each recording.

        Raises:
            UserError: the only recording cannot be scored, or the model's predictions are not finite.
        """
        done = ScoredFolder([], {})
        write_at = time.monotonic() + _WRITE_SECONDS
        try:
            for path in files:
                try:
                    done.scored.append(self.score(path))
                except AudioError as error:
                    if len(files) == 1:
                        raise UserError(str(error), key="audio", value=path) from None
                    done.skipped[str(path)] = str(error)
                    print(f"skipped {printable(str(path), _LONGEST_PATH)}: {printable(str(error))}", file=sys.stderr)
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                on_scored(len(done.scored) - 1, done.scored[-1])
                if (start := time.monotonic()) > write_at:  # a killed command keeps its results too
                    done.write(folder)
                    write_at = time.monotonic() + max(_WRITE_SECONDS, 20 * (time.monotonic() - start))
        finally:  # an interrupted command keeps its results too
            if done.scored:
                done.write(folder)
        return done


class ScoredFolder(NamedTuple):
    """The recordings that were scored, and by file name those that were skipped, with the reason."""

    scored: list[ScoredRecording]
    skipped: dict[str, str]

    def write(self, folder: Path) -> None:
        """Write ``recordings.csv`` and ``timeline.csv``."""
        missing = [{"file": file, "notes": f"skipped: {reason}"} for file, reason in self.skipped.items()]
        recordings = pd.DataFrame([*(one.prediction() for one in self.scored), *missing])
        tables = {"recordings": recordings, "timeline": pd.concat([one.timeline() for one in self.scored])}
        form: dict[str, Any] = {"index": False, "float_format": "%.6g", "errors": "backslashreplace"}  # names are bytes
        for name, table in tables.items():
            with replacing(folder / f"{name}.csv") as part:
                write_csv(table, part, **form)


def score_recordings(checkpoint: Path, audio: Path | Sequence[Path], folder: Path) -> str:
    """Score recordings with a trained model, write tables and pictures, and return the text to print.

    Args:
        checkpoint: as for `Scorer`.
        audio: a recording, a folder of recordings, or several of them.
        folder: for ``recordings.csv``, ``timeline.csv`` and a picture of each recording; made if missing.

    Raises:
        UserError: as in `Scorer` and `Scorer.score_all`.
    """
    given = [audio] if isinstance(audio, Path) else list(audio)
    scorer = Scorer(checkpoint)
    files = recordings_in(given)

    def draw(number: int, one: ScoredRecording) -> None:
        one.draw(folder / f"{number:03d}-{_file_stem(Path(one.file))}.png")

    done = scorer.score_all(files, folder, draw)
    if not done.scored:
        value = [str(path) for path in given] if len(given) > 1 else given[0]
        raise UserError(f"none of {len(files)} recordings could be scored", key="audio", value=value)
    skipped = f"{len(done.skipped)} of {len(files)} recordings skipped; recordings.csv has the reasons"
    return "\n\n".join(
        [f"\n{scorer.trained.title}", *(one.summary() for one in done.scored), *([skipped] if done.skipped else [])]
    )


def _file_stem(path: Path) -> str:
    r"""Return the beginning of a recording's name, without characters that terminals and file systems do not show.

    >>> _file_stem(Path("a\x1b[31m.wav")), _file_stem(Path("Ke$ha - $ong.ogg"))
    ('a_[31m', 'Ke$ha - $ong')
    """
    return UNFIT.sub("_", path.stem[:_LONGEST_STEM])


@dataclass(frozen=True)
class Settings:
    """What scoring needs to know about a training, checked."""

    trained: Provenance
    source: TableKey  # recipe and length of the slices that are described
    window_slices: int  # longest window
    hop_slices: int | None  # between the windows that vote; ``None``: windows do not overlap

    @classmethod
    def of(cls, model: GenreClassifier, trained: Provenance, checkpoint: Path) -> "Settings":
        """Check the settings in a checkpoint, which may have been made by anyone."""
        recipe = _recipe(trained, checkpoint)
        source = trained.source_slice_seconds
        hop = 1 if trained.window is None else trained.hop_slices
        names = tuple(model.feature_names)
        length = ("length",) if "length" in names else ()
        holds = {
            "source_slice_seconds": recipe.min_slice_seconds <= source <= MAX_SLICE_SECONDS,
            "slice_seconds": model.slice_seconds >= source - 1e-3,
            "feature_names": names == (*recipe.feature_names, *length),
        }
        if trained.facts.settings.get("dataset.features") is not None and not holds["feature_names"]:
            problem = f"the model was trained on some columns of the recipe {recipe.name} (dataset.features)"
            hint = "train on all of them to score recordings, or score a table"
            raise UserError(problem, key="checkpoint", value=checkpoint, hint=hint)
        if wrong := [name for name, is_right in holds.items() if not is_right]:
            problem = f"its value of {wrong[0]} is none that a training on recipe {recipe.name} has"
            raise UserError(problem, key="checkpoint", value=checkpoint, hint="train the model again")
        recipe.check()
        return cls(trained, TableKey(recipe, source), trained.window_slices, hop)


def score_recording(
    model: GenreClassifier, settings: Settings, path: Path, description: Description | None = None
) -> ScoredRecording:
    """Predict the genre of one recording, slice by slice and as a whole.

    The prediction at a slice is that of the window that ends with it. Windows are as long as those of training, and
    shorter near the beginning. The prediction for the whole recording is the vote of the windows that evaluation would
    use: one for a recording as long as those of training, otherwise all complete windows.

    Args:
        model: of the training of `settings`.
        settings: of its checkpoint.
        path: of the recording.
        description: of the recording, if it was described before by the recipe and slice length of the settings.

    Raises:
        AudioError: the recording cannot be read, is shorter than one slice, or too long for windows of that length.
        UserError: the model's predictions are not finite.
    """
    if description is None or settings.source not in description.rows:
        description = describe_recording(path, [settings.source])
    table = _table(model, settings, description)
    num_slices = len(table.features)
    longest = min(settings.window_slices, num_slices)
    if num_slices * longest > _MOST_WINDOW_SLICES:
        raise AudioError(f"its {num_slices} slices are too many for the model's windows of {longest} slices; cut it")
    logits = _growing_logits(model, table.features, longest)
    check_finite(logits, torch.zeros(num_slices, dtype=torch.int64), [str(path)])
    card = settings.trained.card
    log_probs = logits.float().log_softmax(dim=1)
    hop = None if settings.hop_slices is None else min(settings.hop_slices, num_slices)
    voting = window_bounds(np.array([num_slices]), longest, hop)[2] - 1
    total = track_vote(log_probs[voting], torch.zeros(len(voting), dtype=torch.int64))[0]
    if card is not None:  # its temperature was fitted on votes; windows of clips are such votes
        log_probs, total = ((values / card.temperature).log_softmax(dim=1) for values in (log_probs, total))
    fingerprint = int(track_fingerprints(table)[0])
    names = {path.stem, track_name(path.parent.name, Path(path.name))}
    return ScoredRecording(
        file=str(path),
        genres=model.genres,
        slice_seconds=table.slice_seconds,
        log_probs=log_probs.numpy(),
        total=total[0].numpy(),
        seconds=description.recording.seconds,
        marks=settings.trained.facts.marks,
        notes=[*description.recording.notes, *settings.trained.notes_on(fingerprint, names)],
        window_slices=longest,
        threshold=None if card is None else card.threshold,
        near=_near(model, settings.trained, table),
        features=table.features,
    )


def _near(model: GenreClassifier, trained: Provenance, table: FeatureTable) -> tuple[str, ...]:
    """Return the names of the training tracks that are nearest to a recording, nearest first."""
    if trained.map is None or trained.map.projection.shape[0] != table.features.shape[1]:
        return ()
    with torch.inference_mode():
        mean = model.transform(torch.from_numpy(table.features)).mean(dim=0).numpy()
    return tuple(trained.tracks["train"][number] for number in trained.map.nearest(mean, _MOST_NEAR))


def _growing_logits(model: GenreClassifier, features: NDArray[np.float32], longest: int) -> torch.Tensor:
    """Predict the window that ends with each slice, (slice, feature) -> (slice, genre).

    Windows are collected for a limited number of slices at a time; recordings of an hour are one batch.
    """
    num_slices, num_features = features.shape
    _, start, stop = growing_windows(np.array([num_slices]), longest)
    padded = torch.from_numpy(np.vstack([features, np.zeros_like(features[:1])]))
    num_together = max(1, _VALUES_AT_ONCE // (longest * num_features))
    logits = []
    with torch.inference_mode():
        for first in range(0, num_slices, num_together):
            here = slice(first, first + num_together)
            rows = torch.from_numpy(window_rows(np.arange(num_slices), start[here], stop[here]))
            length = torch.from_numpy(stop[here] - start[here])
            logits.append(model.logits({"features": padded[rows], "length": length}))
    return torch.cat(logits)


def _recipe(trained: Provenance, checkpoint: Path) -> Recipe:
    name = trained.facts.recipe or "unknown"
    recipe = recipe_named(name)
    if recipe is None:
        problem = f"the model was trained on the recipe '{name}', which cannot be computed from audio here"
        hint = f"train on a CSV of `{command_name('features')}`, or dataset.recipe=kaggle-reflect if it is Kaggle's"
        raise UserError(problem, key="checkpoint", value=checkpoint, hint=hint)
    return recipe


def _table(model: GenreClassifier, settings: Settings, description: Description) -> FeatureTable:
    """Return the slices of a recording as training had them: pooled from shorter slices where those were."""
    names = settings.source.recipe.feature_names
    rows = np.concatenate([np.empty((0, 1 + len(names))), *description.rows[settings.source]])
    if len(rows) < round(model.slice_seconds / settings.source.slice_seconds):
        seconds = description.recording.seconds
        raise AudioError(f"lasts {seconds:.2f} s, too short for a slice of {model.slice_seconds:g} s")
    features = rows[:, 1:].astype(np.float32)
    if not np.isfinite(features).all():
        raise AudioError("its descriptors are not finite: its samples lie far beyond full scale")
    table = FeatureTable(
        features=features,
        feature_names=names,
        length_samples=rows[:, 0].astype(np.float32),
        tracks=("recording",),
        track=np.zeros(len(rows), np.int64),
        slice_index=np.arange(len(rows)),
        genre=np.zeros(1, np.int64),
        genres=tuple(model.genres),
        slice_seconds=settings.source.slice_seconds,
        hashes={},
    )
    table = reslice(table, model.slice_seconds)
    return table.with_length() if "length" in model.feature_names else table
