"""One scored recording as plain data for the page: verdict, probabilities, timeline, waveform, contributions."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genregrid.errors import printable
from genregrid.listening.contribution import Contribution
from genregrid.listening.timeline import ScoredRecording
from genregrid.page.limit import LONGEST_NAME
from genregrid.record.card import LEVEL

_MOST_STEPS = 300  # of a timeline; a picture has some 700 pixels
_MOST_ROWS = 6  # contributions of each sign that are shown
_LEAST_DECADES = 0.005  # is shown as 0.01
_DIGITS = 4  # of probabilities
_PLAIN = {
    "chroma_stft": "notes (chroma)",
    "rms": "loudness (rms)",
    "spectral_centroid": "brightness (spectral centroid)",
    "spectral_bandwidth": "width of the spectrum (bandwidth)",
    "rolloff": "upper end of the spectrum (rolloff)",
    "zero_crossing_rate": "noisiness (zero crossings)",
    "harmony": "harmonic part",
    "perceptr": "percussive part",
}
_STATISTICS = {"mean": "mean", "var": "variance"}


def answer(
    recording: ScoredRecording,
    name: str,
    *,
    wave: Sequence[float] = (),
    contributions: Sequence[Contribution] = (),
) -> dict[str, Any]:
    """Return what the page shows about a recording, as data for JSON.

    Args:
        recording: the model's predictions.
        name: of the recording, for readers.
        wave: peaks of equal parts of the recording, 0 to 1; empty if they are not known.
        contributions: to the odds of the most probable genre against the second one; empty if they are not known.
    """
    verdict, genres = recording.verdict, recording.genres
    probs = np.exp(recording.total.astype(np.float64))
    first, second = np.argsort(-probs, kind="stable")[:2]
    return {
        "name": printable(name, LONGEST_NAME),
        "seconds": round(recording.seconds, 2),
        "verdict": verdict.text,
        "possible": list(verdict.genres),
        "level": round(100 * LEVEL) if verdict.has_set else None,
        "probs": _rounded(probs),
        "first": genres[first],
        "second": genres[second],
        "decades": round(float(np.log10(probs[first]) - np.log10(max(probs[second], 1e-300))), 3),
        "certainty": recording.certainty,
        "timeline": _timeline(recording),
        "sections": [
            [round(one.start_seconds, 1), round(one.stop_seconds, 1), one.genre] for one in recording.sections
        ],
        "wave": [round(peak, 3) for peak in wave],
        "contributions": _contributions(contributions),
        "near": list(recording.near),
        "notes": list(recording.notes),
        "marks": [str(mark) for mark in recording.marks],
    }


def descriptor_name(column: str) -> str:
    """Name a descriptor for people who do not know its column.

    >>> descriptor_name("spectral_centroid_mean"), descriptor_name("mfcc3_var"), descriptor_name("tempo")
    ('brightness (spectral centroid), mean', 'timbre 3 (mfcc), variance', 'tempo')
    """
    stem, _, ending = column.rpartition("_")
    statistic = _STATISTICS.get(ending)
    if statistic is None:
        return column.replace("_", " ")
    coefficient = re.fullmatch(r"mfcc(\d+)", stem)
    plain = f"timbre {coefficient[1]} (mfcc)" if coefficient else _PLAIN.get(stem, stem.replace("_", " "))
    return f"{plain}, {statistic}"


def _timeline(recording: ScoredRecording) -> dict[str, Any]:
    """Return edges in seconds, and (step, genre) probabilities between them; neighbours of many slices are averaged."""
    num_slices = len(recording.log_probs)
    bounds = np.append(np.arange(0, num_slices, -(-num_slices // _MOST_STEPS)), num_slices)
    probs = np.exp(recording.log_probs.astype(np.float64))
    means = np.add.reduceat(probs, bounds[:-1]) / np.diff(bounds)[:, None]
    edges = (recording.slice_seconds * bounds).round(2).tolist()
    return {"edges": edges, "probs": [_rounded(row) for row in means]}


def _contributions(found: Sequence[Contribution]) -> dict[str, Any] | None:
    """Return the largest contributions for the first genre and for the second one."""
    if not found:
        return None

    def rows(sign: int) -> list[dict[str, Any]]:
        own = [one for one in found if sign * one.decades >= _LEAST_DECADES][:_MOST_ROWS]
        return [
            {"name": descriptor_name(one.name), "decades": round(abs(one.decades), 3), "about": _about(one)}
            for one in own
        ]

    return {"first": rows(1), "second": rows(-1)}


def _about(one: Contribution) -> str:
    if one.deviations is None:
        return ""
    side = "above" if one.deviations >= 0 else "below"
    return f"{abs(one.deviations):.1f} deviations {side} the mean"


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]


def name_of(path: Path, root: Path | None = None) -> str:
    """Return the name of a file for readers, within a folder if it is in one."""
    if root is not None and path.is_relative_to(root) and path != root:
        return path.relative_to(root).as_posix()
    return path.name
