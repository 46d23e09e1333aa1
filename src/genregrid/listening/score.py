"""Score recordings with a trained model: what ``python evaluate.py checkpoint=PATH audio=song.mp3`` runs."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from genregrid.data.duplicate import track_fingerprints
from genregrid.data.reslice import reslice
from genregrid.data.table import FeatureTable
from genregrid.data.window import growing_windows, window_bounds, window_rows
from genregrid.errors import UserError
from genregrid.metrics.vote import track_vote
from genregrid.models.base import GenreClassifier, load_checkpoint
from genregrid.record.facts import Provenance

try:
    from threadpoolctl import threadpool_limits

    from genregrid.features.audio import AudioError, Recording, read_audio
    from genregrid.features.folder import audio_files, track_name
    from genregrid.features.recipe import Recipe, recipe_named
    from genregrid.listening.timeline import ScoredRecording
except ModuleNotFoundError as error:
    raise UserError("it is not installed", key=error.name, hint='audio needs `pip install -e ".[audio]"`') from None

_LONGEST_STEM = 60  # characters in a picture's name; file systems allow 255 bytes, and a letter may have four


def score_recordings(checkpoint: Path, audio: Path, folder: Path) -> str:
    """Score recordings with a trained model, write tables and pictures, and return the text to print.

    Args:
        checkpoint: of a model trained on descriptors that a recipe of genregrid computes.
        audio: a recording, or a folder of recordings.
        folder: for ``recordings.csv``, ``timeline.csv`` and a picture of each recording; made if missing.

    Raises:
        UserError: the checkpoint's recipe cannot be computed here, or no recording could be scored.
    """
    torch.set_num_threads(1)
    model = load_checkpoint(checkpoint)
    trained = Provenance.from_json(model.provenance, checkpoint)
    recipe = _recipe(trained, checkpoint)
    files = audio_files(audio)
    scored: list[ScoredRecording] = []
    skipped: dict[str, str] = {}
    try:
        with threadpool_limits(1):  # as in extraction: sums differ in their last bits with the number of threads
            for path in files:
                try:
                    scored.append(score_recording(model, trained, recipe, read_audio(path), str(path)))
                except AudioError as error:
                    skipped[str(path)] = str(error)
                    print(f"skipped {path}: {error}", file=sys.stderr)
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                scored[-1].draw(folder / f"{len(scored) - 1:03d}-{path.stem[:_LONGEST_STEM]}.png")
    finally:  # an interrupted command keeps its results too
        if scored:
            _write(scored, skipped, folder)
    if not scored:
        raise UserError(f"none of {len(files)} recordings could be scored", key="audio", value=audio)
    count = [f"{len(skipped)} of {len(files)} recordings skipped; recordings.csv has the reasons"] if skipped else []
    return "\n\n".join([_title(trained), *(one.summary() for one in scored), *count])


def _write(scored: list[ScoredRecording], skipped: dict[str, str], folder: Path) -> None:
    missing = [{"file": file, "notes": f"skipped: {reason}"} for file, reason in skipped.items()]
    recordings = pd.DataFrame([*(one.prediction() for one in scored), *missing])
    recordings.to_csv(folder / "recordings.csv", index=False, float_format="%.6g")
    timeline = pd.concat([one.timeline() for one in scored])
    timeline.to_csv(folder / "timeline.csv", index=False, float_format="%.6g")


def score_recording(
    model: GenreClassifier, trained: Provenance, recipe: Recipe, recording: Recording, file: str
) -> ScoredRecording:
    """Predict the genre of one recording, slice by slice and as a whole.

    The prediction at a slice is that of the window that ends with it. Windows are as long as those of training, and
    shorter near the beginning. The prediction for the whole recording is the vote of the windows that evaluation would
    use: one for a recording as long as those of training, otherwise all complete windows.

    Raises:
        AudioError: the recording is shorter than one slice.
    """
    table = _table(model, trained, recipe, recording)
    num_slices, longest = len(table.features), trained.window_slices
    _, start, stop = growing_windows(np.array([num_slices]), longest)
    rows = window_rows(np.arange(num_slices), start, stop)
    features = torch.from_numpy(np.vstack([table.features, np.zeros_like(table.features[:1])]))
    with torch.inference_mode():
        logits = model.logits({"features": features[torch.from_numpy(rows)], "length": torch.from_numpy(stop - start)})
    log_probs = logits.float().log_softmax(dim=1)
    hop = 1 if trained.config["window"] == "track" else trained.config["hop_slices"]
    voting = window_bounds(np.array([num_slices]), longest, hop)[2] - 1
    total = track_vote(log_probs[voting], torch.zeros(len(voting), dtype=torch.int64))[0][0]
    return ScoredRecording(
        file=file,
        genres=model.genres,
        slice_seconds=table.slice_seconds,
        log_probs=log_probs.numpy(),
        total=total.numpy(),
        seconds=recording.seconds,
        marks=trained.facts.marks,
        notes=[*recording.notes, *_notes_on_training(trained, table, Path(file))],
    )


def _notes_on_training(trained: Provenance, table: FeatureTable, path: Path) -> Iterator[str]:
    """Warn if training or validation had the recording, by its features to the last bit or by its name."""
    names = {path.stem, track_name(path.parent.name, Path(path.name))} & trained.known_tracks
    if int(track_fingerprints(table)[0]) in set(trained.seen):
        yield "the model was trained on this recording: its answer is no test"
    elif names:
        yield f"the model was trained on a {min(names)}: if it is this recording, its answer is no test"


def _recipe(trained: Provenance, checkpoint: Path) -> Recipe:
    name = trained.facts.recipe or "unknown"
    recipe = recipe_named(name)
    if recipe is None:
        problem = f"the model was trained on the recipe '{name}', which cannot be computed from audio here"
        hint = "train on a CSV of `python -m genregrid.features`, or dataset.recipe=kaggle-reflect if it is Kaggle's"
        raise UserError(problem, key="checkpoint", value=checkpoint, hint=hint)
    return recipe


def _table(model: GenreClassifier, trained: Provenance, recipe: Recipe, recording: Recording) -> FeatureTable:
    """Compute the slices of a recording as training had them: pooled from shorter slices where those were."""
    source_seconds = trained.source_slice_seconds
    bounds = recipe.slice_bounds(len(recording.samples), source_seconds)
    if len(bounds) < round(model.slice_seconds / source_seconds):
        raise AudioError(f"lasts {recording.seconds:.2f} s, too short for a slice of {model.slice_seconds:g} s")
    features = recipe.describe(recording.samples, source_seconds).astype(np.float32)
    if not np.isfinite(features).all():
        raise AudioError("its descriptors are not finite: its samples lie far beyond full scale")
    table = FeatureTable(
        features=features,
        feature_names=recipe.feature_names,
        length_samples=np.array([stop - start for start, stop in bounds], np.float32),
        tracks=("recording",),
        track=np.zeros(len(bounds), np.int64),
        slice_index=np.arange(len(bounds)),
        genre=np.zeros(1, np.int64),
        genres=tuple(model.genres),
        slice_seconds=source_seconds,
        hashes={},
    )
    table = reslice(table, model.slice_seconds)
    return table.with_length() if "length" in model.feature_names else table


def _title(trained: Provenance) -> str:
    """Describe the model in one line, with its marks."""
    facts = trained.facts
    synthetic = "; trained on a synthetic twin, not on music" if facts.synthetic else ""
    return (
        f"\n{facts.model}, trained on {facts.dataset_title} ({facts.split_label}), "
        f"{facts.slice_seconds:g} s slices, recipe {facts.recipe}{synthetic}"
    )
