"""Recipes by the networks of musicnn: 200 learned values of a slice, or the probabilities of 50 tags.

docs/recipes.md describes the definition, and what the networks were trained on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from genregrid.features.recipe import Recipe
from genregrid.features.spectrum import hann, mel_bands
from genregrid.features.weights import checked_wheel, read_musicnn

if TYPE_CHECKING:
    from genregrid.features.musicnn_network import MusicnnNetwork

RATE_HZ = 16_000
WINDOW_SECONDS = 3.0
WINDOW_SAMPLES = round(WINDOW_SECONDS * RATE_HZ)
FRAME_SAMPLES = 512
HOP_SAMPLES = 256
NUM_BANDS = 96
NUM_UNITS = 200  # of the penultimate layer
_REMEMBERED = 200  # windows, those of the longest slice: 200 kB

#: The networks by what they were trained on, with their tags in the order of their outputs.
NETWORKS: Mapping[str, tuple[str, ...]] = {
    "mtt": (
        *("guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano"),
        *("ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing"),
        *("vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal", "pop"),
        *("soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice"),
        *("female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice", "choral"),
    ),
    "msd": (
        *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
        *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul"),
        *("indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies"),
        *("blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop"),
        *("70s", "party", "country", "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal"),
        *("Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy"),
    ),
}


@dataclass(frozen=True)
class MusicnnRecipe(Recipe):
    """What a network of musicnn computes from windows of three seconds, as means over the windows of a slice.

    Attributes:
        trained_on: ``mtt``, MagnaTagATune, or ``msd``, the Million Song Dataset.
        tags: whether the columns are the 50 tags' probabilities; otherwise the 200 values of the penultimate layer.
        weights: the wheel of musicnn; ``None``: it is in the folder of weights.
    """

    trained_on: str = "mtt"
    tags: bool = False
    weights: Path | None = None

    rate_hz = RATE_HZ
    min_slice_seconds = WINDOW_SECONDS
    has_weights = True

    @property
    def name(self) -> str:
        """Name of the recipe: ``musicnn-mtt``, ``musicnn-msd-tags``."""
        return f"musicnn-{self.trained_on}{'-tags' * self.tags}"

    @property
    def may_overlap(self) -> bool:
        """True for the Million Song Dataset: commercial music, whose tags name genres."""
        return self.trained_on == "msd"

    @property
    def option(self) -> str:
        """Value of ``--recipe``: the name."""
        return self.name

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns: ``mtt1_mean`` to ``mtt200_mean``, or ``mtt_guitar_mean`` and so on.

        They end in ``_mean``, because they are means over windows, and are pooled as such.
        """
        if self.tags:
            return tuple(f"{self.trained_on}_{tag.replace(' ', '_')}_mean" for tag in NETWORKS[self.trained_on])
        return tuple(f"{self.trained_on}{number}_mean" for number in range(1, NUM_UNITS + 1))

    def check(self) -> None:
        """Raise a UserError if the weights are missing, or are other ones."""
        checked_wheel(self.weights)

    def num_together(self, num_samples: int) -> int:
        """Return how many slices of a length in samples are described at once."""
        return max(1, self._network.windows_at_once // len(window_starts(num_samples)))

    def describe_slices(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute the means over the windows of slices of equal length, (slice, sample) -> (slice, feature)."""
        starts = window_starts(samples.shape[1])
        windows = [one[start : start + WINDOW_SAMPLES] for one in samples for start in starts]
        values = self._network.describe(windows)[1 if self.tags else 0].astype(np.float64)
        return np.asarray(values.reshape(len(samples), len(starts), -1).mean(axis=1))

    @property
    def _network(self) -> "_WindowDescriber":
        return _network(self.trained_on, self.weights)


class _WindowDescriber:
    """A network that remembers its last windows: tables of layers, tags and several slice lengths share them.

    Attributes:
        windows_at_once: how many windows are computed together.
    """

    def __init__(self, network: "MusicnnNetwork") -> None:
        self.windows_at_once = network.windows_at_once
        self._network = network
        self._known: dict[bytes, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}

    def describe(self, windows: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the values (window, 200) and the tags (window, 50) of windows of equal length."""
        keys = [hashlib.blake2b(window.tobytes(), digest_size=16).digest() for window in windows]
        new = {key: window for key, window in zip(keys, windows, strict=True) if key not in self._known}
        if new:
            with np.errstate(over="ignore", invalid="ignore"):
                computed = self._network(np.stack([log_mel(window) for window in new.values()]))
            self._known |= dict(zip(new, zip(*computed, strict=True), strict=True))
        values, tags = (np.stack(part) for part in zip(*map(self._known.__getitem__, keys), strict=True))
        for key in list(self._known)[:-_REMEMBERED]:
            del self._known[key]
        return values, tags


@lru_cache(maxsize=2)
def _network(trained_on: str, weights: Path | None) -> _WindowDescriber:
    """Load a network, once per process."""
    from genregrid.features.musicnn_network import MusicnnNetwork  # imports torch

    return _WindowDescriber(MusicnnNetwork(read_musicnn(weights, f"{trained_on.upper()}_musicnn")))


def window_starts(num_samples: int, window_samples: int = WINDOW_SAMPLES) -> list[int]:
    """Return where the windows of a slice start: one after the other, the last earlier if less than half is missing.

    >>> window_starts(48_000), window_starts(100_000), window_starts(140_000)
    ([0], [0, 48000], [0, 48000, 92000])
    >>> window_starts(47_000)  # a clip of nearly 3 s
    [0]
    """
    last = max(0, num_samples - window_samples)
    num_windows = max(1, round(num_samples / window_samples))
    return [min(number * window_samples, last) for number in range(num_windows)]


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the networks' input for a window at 16 kHz: (sample,) -> (frame, band) float32.

    Frames of 512 samples are centred on every 256th sample; there are zeros before the first and after the last.
    """
    padded = np.pad(samples, FRAME_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[::HOP_SAMPLES]
    frames = frames[: len(samples) // HOP_SAMPLES]  # 187 of 3 s
    spectra = scipy.fft.rfft(frames * hann(FRAME_SAMPLES).astype(np.float32))
    power = np.square(spectra.real) + np.square(spectra.imag)
    energy = power @ mel_bands(RATE_HZ, FRAME_SAMPLES, NUM_BANDS)
    return np.asarray(np.log10(10_000 * energy + 1), np.float32)
