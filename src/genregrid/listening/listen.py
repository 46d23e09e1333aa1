"""What a trained model hears in recordings: the whole of ``python evaluate.py checkpoint=PATH audio=song.mp3``."""

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

try:
    from threadpoolctl import threadpool_limits

    from genregrid.features.audio import AudioError, Recording, read_audio
    from genregrid.features.folder import audio_files, track_name
    from genregrid.features.recipe import Recipe, recipe_named
    from genregrid.listening.timeline import Heard
except ModuleNotFoundError as error:
    raise UserError(f'{error.name} is not installed: audio needs `pip install -e ".[audio]"`.') from None

_LONGEST_STEM = 60  # of a picture's name; file systems take 255 bytes, and a letter may have four


def listen(checkpoint: Path, audio: Path, folder: Path) -> str:
    """Score recordings with a trained model; write tables and pictures, and return what to print.

    Args:
        checkpoint: of a model trained on descriptors that a recipe of genregrid computes.
        audio: a recording, or a folder of them.
        folder: where ``recordings.csv``, ``timeline.csv`` and a picture of each recording go; made if missing.

    Raises:
        UserError: the checkpoint's recipe cannot be computed here, or no recording could be scored.
    """
    torch.set_num_threads(1)
    model = load_checkpoint(checkpoint)
    recipe = _recipe(model)
    files = audio_files(audio)
    heard: list[Heard] = []
    skipped: dict[str, str] = {}
    try:
        with threadpool_limits(1):  # as in extraction: sums differ in their last bits with the number of threads
            for path in files:
                try:
                    heard.append(hear(model, recipe, read_audio(path), str(path)))
                except AudioError as error:
                    skipped[str(path)] = str(error)
                    print(f"skipped {path}: {error}", file=sys.stderr)
                    continue
                folder.mkdir(parents=True, exist_ok=True)
                heard[-1].draw(folder / f"{len(heard) - 1:03d}-{path.stem[:_LONGEST_STEM]}.png")
    finally:  # after ctrl-C too
        if heard:
            _write(heard, skipped, folder)
    if not heard:
        raise UserError(f"audio={audio}: none of {len(files)} recordings could be scored.")
    count = [f"{len(skipped)} of {len(files)} recordings skipped; recordings.csv says why"] if skipped else []
    return "\n\n".join([_provenance(model), *(one.summary() for one in heard), *count])


def _write(heard: list[Heard], skipped: dict[str, str], folder: Path) -> None:
    missing = [{"file": file, "notes": f"skipped: {reason}"} for file, reason in skipped.items()]
    recordings = pd.DataFrame([*(one.verdict() for one in heard), *missing])
    recordings.to_csv(folder / "recordings.csv", index=False, float_format="%.6g")
    timeline = pd.concat([one.timeline() for one in heard])
    timeline.to_csv(folder / "timeline.csv", index=False, float_format="%.6g")


def hear(model: GenreClassifier, recipe: Recipe, recording: Recording, file: str) -> Heard:
    """What a model says of one recording, slice by slice and as a whole.

    At each slice the model is given a window as long as those it was trained on, with that slice last; near the
    beginning the window is shorter, and the model says what it thinks so far. The verdict is the vote of the windows
    that evaluation would make: one for a recording as long as the training's, else all whole ones.

    Args:
        model: with provenance.
        recipe: that of its training.
        recording: to score.
        file: what to call it.

    Raises:
        AudioError: the recording is shorter than one slice.
    """
    trained = model.provenance
    table = _table(model, recipe, recording)
    num_slices, longest = len(table.features), trained["window_slices"]
    _, start, stop = growing_windows(np.array([num_slices]), longest)
    rows = window_rows(np.arange(num_slices), start, stop)
    features = torch.from_numpy(np.vstack([table.features, np.zeros_like(table.features[:1])]))
    with torch.inference_mode():
        logits = model.logits({"features": features[torch.from_numpy(rows)], "length": torch.from_numpy(stop - start)})
    log_probs = logits.float().log_softmax(dim=1)
    hop = 1 if trained["config"]["window"] == "track" else trained["config"]["hop_slices"]
    voting = window_bounds(np.array([num_slices]), longest, hop)[2] - 1
    total = track_vote(log_probs[voting], torch.zeros(len(voting), dtype=torch.int64))[0][0]
    notes = [*recording.notes, *_seen(model, table, Path(file))]
    return Heard(file, model.genres, table.slice_seconds, log_probs.numpy(), total.numpy(), recording.seconds, notes)


def _seen(model: GenreClassifier, table: FeatureTable, path: Path) -> Iterator[str]:
    """Whether training or validation had this recording: by its features, to the last bit, or by its name."""
    trained = model.provenance
    names = {path.stem, track_name(path.parent.name, Path(path.name))} & {
        *trained["tracks"]["train"],
        *trained["tracks"]["val"],
    }
    if int(track_fingerprints(table)[0]) in set(trained["seen"]):
        yield "the model was trained on this recording: its answer is no test"
    elif names:
        yield f"the model was trained on a {min(names)}: if it is this recording, its answer is no test"


def _recipe(model: GenreClassifier) -> Recipe:
    name = model.provenance["recipe"]
    recipe = recipe_named(name)
    if recipe is None:
        raise UserError(
            f"the checkpoint was trained on descriptors of the recipe '{name}', which cannot be computed from audio "
            "here: train on a CSV of `python -m genregrid.features`, or say dataset.recipe=kaggle-reflect in training "
            "if its CSV was made as Kaggle's."
        )
    return recipe


def _table(model: GenreClassifier, recipe: Recipe, recording: Recording) -> FeatureTable:
    """The recording's slices as the model's training had them: pooled where those were."""
    source_seconds = model.provenance["source_slice_seconds"]
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


def _provenance(model: GenreClassifier) -> str:
    """What the model is, in a line that says where it leaks or is synthetic."""
    trained = model.provenance
    synthetic = "; it has heard no music, only a synthetic twin" if trained["synthetic"] else ""
    return (
        f"\n{trained['model']}, trained on {trained['dataset_label']} ({trained['split_label']}), "
        f"{model.slice_seconds:g} s slices, recipe {trained['recipe']}{synthetic}"
    )
