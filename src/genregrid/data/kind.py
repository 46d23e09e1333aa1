"""Which property of the sound a descriptor measures: kinds of descriptors, by the names of their columns."""

import re
from collections.abc import Sequence
from itertools import chain

#: The mean spectral centroid of a slice in Hz, which the paper calls brightness.
BRIGHTNESS = "spectral_centroid_mean"
#: Kinds that measure where the energy of a spectrum lies, and that correlate strongly.
BRIGHTNESS_KINDS = ("centroid (brightness)", "bandwidth", "rolloff", "zero crossings")
#: All kinds of `BRIGHTNESS_KINDS` together, and all descriptors.
ALL_BRIGHTNESS, ALL = "all of brightness", "all descriptors"
#: Values of a network, which have no meaning one by one.
LEARNED = "learned values"
_OTHER = "other descriptors"
_KINDS = {
    "MFCC means": r"mfcc\d+_mean",
    "MFCC variances": r"mfcc\d+_var",
    "MFCC changes": r"mfcc\d+_delta_rms",
    "MFCC percentiles": r"mfcc\d+_p\d+",
    "MFCC covariances": r"mfcc\d+_mfcc\d+_cov",
    "chroma": r"chroma_stft_(mean|var)",
    "tonnetz": r"tonnetz\d_(mean|var)",
    "centroid (brightness)": r"spectral_centroid_(mean|var)",
    "bandwidth": r"spectral_bandwidth_(mean|var)",
    "rolloff": r"rolloff_(mean|var)",
    "zero crossings": r"zero_crossing_rate_(mean|var)",
    "contrast": r"contrast\d_(mean|var)",
    "flatness": r"flatness_(mean|var)",
    "loudness (rms)": r"rms_(mean|var)",
    "harmonic, percussive": r"(harmony|perceptr)_(mean|var)",
    "onsets": r"onset_\w+",
    "rhythm": r"rhythm_\w+",
    "tempo": r"tempo",
    "length of the slice": r"length",
    "tags": r"(mtt|msd)_\w+_mean",
    LEARNED: r"(mtt|msd|hf)\d+_mean",
}


def kinds_of(feature_names: Sequence[str]) -> dict[str, list[int]]:
    """Group the columns of a feature axis by what they measure; every column is in one kind.

    Returns:
        Positions on the axis by the name of a kind. Kinds that no column has are left out. Columns of an unknown name
        are one kind.

    >>> kinds_of(["tempo", "mfcc1_mean", "mine", "mfcc2_mean", "rolloff_var"])
    {'MFCC means': [1, 3], 'rolloff': [4], 'tempo': [0], 'other descriptors': [2]}
    """
    found: dict[str, list[int]] = {kind: [] for kind in (*_KINDS, _OTHER)}
    for position, name in enumerate(feature_names):
        found[next((kind for kind, pattern in _KINDS.items() if re.fullmatch(pattern, name)), _OTHER)].append(position)
    return {kind: positions for kind, positions in found.items() if positions}


def kinds_and_unions(feature_names: Sequence[str]) -> dict[str, list[int]]:
    """Return `kinds_of`, and then the kinds of brightness together and all descriptors, where these are several kinds.

    >>> list(kinds_and_unions(["tempo", "rolloff_mean", "spectral_bandwidth_mean"]))
    ['bandwidth', 'rolloff', 'tempo', 'all of brightness', 'all descriptors']
    """
    kinds = kinds_of(feature_names)
    bright = [kind for kind in BRIGHTNESS_KINDS if kind in kinds]
    unions = {ALL_BRIGHTNESS: bright if len(bright) > 1 else [], ALL: list(kinds) if len(kinds) > 1 else []}
    joined = {name: sorted(chain(*(kinds[kind] for kind in members))) for name, members in unions.items() if members}
    return kinds | joined
