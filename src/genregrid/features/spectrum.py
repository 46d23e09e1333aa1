"""Short-time spectra of slices, and filter banks over them: mel bands and pitch classes.

The sample rate is 22 050 Hz, a frame is 2048 samples (93 ms), and frames start every 512 samples (23 ms), as by
librosa's defaults. Arrays have frames before bins, the order that a Fourier transform returns.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Literal, cast

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from genregrid.data.columns import SAMPLE_RATE_HZ

#: How a slice is extended so that the first frame is centred on its first sample: mirrored (librosa to 0.9) or with
#: zeros (librosa from 0.10).
Padding = Literal["reflect", "constant"]

FRAME_SAMPLES = 2048
HOP_SAMPLES = 512
HOPS_PER_FRAME = FRAME_SAMPLES // HOP_SAMPLES
NUM_BINS = FRAME_SAMPLES // 2 + 1
NUM_MELS = 128
NUM_CHROMA = 12
FREQUENCIES_HZ = np.arange(NUM_BINS) * (SAMPLE_RATE_HZ / FRAME_SAMPLES)

_MEL_BLOCK_EDGES = (0, 64, 160, 352, 640)  # first bins of five blocks, which cover a quarter of the matrix
_LINEAR_HZ_PER_MEL = 200 / 3
_LOG_FROM_HZ = 1000.0
_LOG_FROM_MEL = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27  # 27 mels from 1000 to 6400 Hz
_A0_HZ = 27.5
#: Smaller float32 values count as zero, as in librosa.
TINY = float(np.finfo(np.float32).tiny)


def pad(samples: NDArray[np.float32], padding: Padding) -> NDArray[np.float32]:
    """Extend slices by half a frame at both ends, (slice, sample) -> (slice, sample + 2048)."""
    half = FRAME_SAMPLES // 2
    return np.pad(samples, ((0, 0), (half, half)), mode=padding)


def num_frames(num_samples: int) -> int:
    """Return the number of frames of a slice."""
    return 1 + num_samples // HOP_SAMPLES


def framed(padded: NDArray[np.float32]) -> NDArray[np.float32]:
    """View slices as frames, (slice, padded sample) -> (slice, frame, 2048)."""
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES, axis=1)[:, ::HOP_SAMPLES]


def stft(padded: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Compute the spectra of Hann-windowed frames, (slice, padded sample) -> (slice, frame, bin)."""
    return cast(NDArray[np.complex64], scipy.fft.rfft(framed(padded) * _hann(), overwrite_x=True))


def istft(spectra: NDArray[np.complex64], num_samples: int) -> NDArray[np.float32]:
    """Compute the slices with these spectra, by least squares, (slice, frame, bin) -> (slice, sample).

    Source: Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier Transform", 1984, equation 6.
    """
    frames = scipy.fft.irfft(spectra, FRAME_SAMPLES, overwrite_x=True)
    frames *= _hann()
    weight = _overlap_added(np.broadcast_to(np.square(_hann()), (1, spectra.shape[1], FRAME_SAMPLES)))
    samples = np.divide(_overlap_added(frames), np.maximum(weight, TINY), dtype=np.float32)
    half = FRAME_SAMPLES // 2
    return samples[:, half : half + num_samples]


def _overlap_added(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    num_slices, num = frames.shape[:2]
    blocks = frames.reshape(num_slices, num, HOPS_PER_FRAME, HOP_SAMPLES)  # (slice, frame, hop within, sample)
    total = np.zeros((num_slices, num + HOPS_PER_FRAME - 1, HOP_SAMPLES), np.float32)
    for hop in range(HOPS_PER_FRAME):
        total[:, hop : hop + num] += blocks[:, :, hop]
    return total.reshape(num_slices, -1)


@lru_cache(maxsize=1)
def _hann() -> NDArray[np.float32]:
    return hann(FRAME_SAMPLES).astype(np.float32)


def hann(num: int) -> NDArray[np.float64]:
    """Return a raised cosine over `num` samples, with the period `num`, (sample,)."""
    angle = 2 * np.pi / num * np.arange(num)
    return np.asarray(0.5 - 0.5 * np.cos(angle))


def mel_filters() -> NDArray[np.float32]:
    """Return the weights of 128 mel bands, (bin, band) float32."""
    return mel_bands(SAMPLE_RATE_HZ, FRAME_SAMPLES, NUM_MELS)


@lru_cache(maxsize=2)
def mel_bands(rate_hz: int, frame_samples: int, num_bands: int) -> NDArray[np.float32]:
    """Return the weights of triangular mel bands of equal area, from 0 Hz to half the rate, (bin, band) float32.

    Source: Slaney, "Auditory Toolbox: Version 2", 1998: linear below 1000 Hz, logarithmic above.
    """
    highest_mel = float(_LOG_FROM_MEL + np.log(rate_hz / 2 / _LOG_FROM_HZ) / _LOG_STEP)
    edge = _mel_to_hz(np.linspace(0.0, highest_mel, num_bands + 2))
    hz = np.arange(frame_samples // 2 + 1) * (rate_hz / frame_samples)
    rising = (hz[:, None] - edge[:-2]) / np.diff(edge)[:-1]
    falling = (edge[2:] - hz[:, None]) / np.diff(edge)[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return cast(NDArray[np.float32], (triangles * 2.0 / (edge[2:] - edge[:-2])).astype(np.float32))


@lru_cache(maxsize=1)
def mel_blocks() -> list[tuple[slice, slice]]:
    """Return ranges of bins with the mel bands that each range reaches; the filters are zero outside these blocks.

    >>> mel_blocks()[0]
    (slice(0, 64, None), slice(0, 27, None))
    """
    blocks = []
    for start, stop in pairwise((*_MEL_BLOCK_EDGES, NUM_BINS)):
        reached = np.flatnonzero(mel_filters()[start:stop].any(axis=0))
        blocks.append((slice(start, stop), slice(int(reached[0]), int(reached[-1]) + 1)))
    return blocks


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    above = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - _LOG_FROM_MEL))
    return np.where(mel < _LOG_FROM_MEL, mel * _LINEAR_HZ_PER_MEL, above)


def octaves(hz: NDArray[np.floating], tuning: float = 0.0) -> NDArray[np.floating]:
    """Return octaves above A0, 27.5 Hz; the A of 440 Hz is `tuning` semitones higher."""
    return np.asarray(np.log2(hz / (_A0_HZ * 2.0 ** (tuning / NUM_CHROMA))))


@lru_cache(maxsize=128)  # a tuning has one of a hundred values
def chroma_filters(tuning: float) -> NDArray[np.float32]:
    """Return the weights of the twelve pitch classes from C on, (bin, class) float32.

    A bin belongs to the classes around its pitch by a bell curve, as wide as half a semitone or as the bin, whichever
    is wider. Bins about five octaves above A0 have the highest weight. The tuning is how far the music's A is above
    440 Hz, in semitones, -0.5 to 0.5.

    Source: Ellis, "Chroma Feature Analysis and Synthesis", 2007.
    """
    # One bin more than there are: the last width needs a neighbour
    pitch = NUM_CHROMA * octaves(np.arange(1, NUM_BINS + 1) * (SAMPLE_RATE_HZ / FRAME_SAMPLES), tuning)
    pitch = np.concatenate([[pitch[0] - 1.5 * NUM_CHROMA], pitch])  # bin 0 has no pitch; put it far below the others
    width = np.maximum(np.diff(pitch), 1.0)
    pitch = pitch[:-1]
    half = NUM_CHROMA // 2
    away = (pitch[:, None] - np.arange(NUM_CHROMA) + half) % NUM_CHROMA - half  # semitones, -6 to 6
    weights = np.exp(-0.5 * (2 * away / width[:, None]) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights *= np.exp(-0.5 * ((pitch / NUM_CHROMA - 5) / 2) ** 2)[:, None]
    return np.roll(weights, -3, axis=1).astype(np.float32)  # from A on -> from C on


@lru_cache(maxsize=1)
def dct_filters() -> NDArray[np.float32]:
    """Return the first 20 orthonormal cosines over the mel bands (DCT-II), (band, coefficient) float32."""
    angle = np.pi / NUM_MELS * np.outer(np.arange(NUM_MELS) + 0.5, np.arange(20))
    cosines = np.sqrt(2 / NUM_MELS) * np.cos(angle)
    cosines[:, 0] /= np.sqrt(2)
    return cast(NDArray[np.float32], cosines.astype(np.float32))
