"""Compute the 57 descriptors of Kaggle's GTZAN files: means and variances over the frames of an analysis."""

import numpy as np
from numpy.typing import NDArray

from genregrid.features.analysis import Analysis


def kaggle_descriptors(analysis: Analysis) -> dict[str, NDArray[np.float64]]:
    """Compute the 57 descriptors by name, each (slice,), in the order of `FEATURE_NAMES`; population variances."""
    over_time = {
        "chroma_stft": analysis.chroma.reshape(len(analysis.samples), -1),
        "rms": analysis.rms,
        "spectral_centroid": analysis.centroid_hz,
        "spectral_bandwidth": analysis.bandwidth_hz,
        "rolloff": analysis.rolloff_hz,
        "zero_crossing_rate": analysis.zero_crossing_rate,
        "harmony": analysis.harmonic,
        "perceptr": analysis.percussive,
    }
    columns = mean_and_variance(over_time) | {"tempo": analysis.tempo_bpm}
    return columns | mean_and_variance({f"mfcc{number + 1}": analysis.mfcc[..., number] for number in range(20)})


def mean_and_variance(over_time: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float64]]:
    """Compute ``NAME_mean`` and ``NAME_var``, each (slice,), of arrays (slice, time)."""
    columns = {}
    for name, values in over_time.items():
        columns[f"{name}_mean"] = values.mean(axis=1, dtype=np.float64)
        columns[f"{name}_var"] = values.var(axis=1, dtype=np.float64)
    return columns
