"""Spectra, energies and onsets of a batch of slices, from which descriptors are computed."""

from functools import cached_property

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from genregrid.data.columns import SAMPLE_RATE_HZ
from genregrid.features.median import sliding_median
from genregrid.features.spectrum import (
    FRAME_SAMPLES,
    FREQUENCIES_HZ,
    HOP_SAMPLES,
    HOPS_PER_FRAME,
    NUM_CHROMA,
    NUM_MELS,
    TINY,
    Padding,
    chroma_filters,
    dct_filters,
    hann,
    istft,
    mel_blocks,
    mel_filters,
    num_frames,
    octaves,
    pad,
    stft,
)

_FRAMES_PER_MINUTE = 60 * SAMPLE_RATE_HZ / HOP_SAMPLES
TEMPO_LAGS = 8 * SAMPLE_RATE_HZ // HOP_SAMPLES  # 344 frames: onsets are compared over up to 8 s
_EXPECTED_BPM = 120.0
_MAX_BPM = 320.0
_INAUDIBLE = 1e-30  # power of a bin; 16-bit samples resolve 1e-9
# for the tuning: the range of pitches, and the share of the frame's strongest bin that a peak must reach
_TUNING_BINS = np.flatnonzero((FREQUENCIES_HZ >= 150) & (FREQUENCIES_HZ < 4000))
_PEAK_SHARE = 0.1


class Analysis:
    """Spectra, energies and onsets of slices of equal length, each computed at its first use.

    Samples are (slice, sample) float32 at 22 050 Hz, in [-1, 1], more than 1024 each. Arrays over time are (slice,
    frame) float32; some have a third axis of bins, bands or classes. All are finite, including digital silence.
    """

    def __init__(self, samples: NDArray[np.float32], padding: Padding) -> None:
        self.samples = samples
        self._padded = pad(samples, padding)
        self.num_frames = num_frames(samples.shape[1])
        # librosa to 0.9 filled the samples after the centre of the last frame with zeros
        self._num_inverted = samples.shape[1] if padding == "constant" else (self.num_frames - 1) * HOP_SAMPLES

    @cached_property
    def spectra(self) -> NDArray[np.complex64]:
        """Short-time spectra, (slice, frame, bin) complex64."""
        return stft(self._padded)

    @cached_property
    def power(self) -> NDArray[np.float32]:
        """Squared magnitude, (slice, frame, bin)."""
        return np.square(self.spectra.real) + np.square(self.spectra.imag)

    @cached_property
    def magnitude(self) -> NDArray[np.float32]:
        """Magnitude of the spectra, (slice, frame, bin)."""
        return np.sqrt(self.power)

    @cached_property
    def mel_decibels(self) -> NDArray[np.float32]:
        """Power of the mel bands in decibels, at most 80 below the loudest of the slice, (slice, frame, band)."""
        energy = np.zeros((*self.power.shape[:2], NUM_MELS), np.float32)
        for bins, bands in mel_blocks():  # most weights of the filters are zero
            energy[..., bands] += self.power[..., bins] @ mel_filters()[bins, bands]
        decibels = 10 * np.log10(np.maximum(energy, 1e-10))
        return np.asarray(np.maximum(decibels, decibels.max(axis=(1, 2), keepdims=True) - 80))

    @cached_property
    def mfcc(self) -> NDArray[np.float32]:
        """The first twenty cepstral coefficients, (slice, frame, coefficient)."""
        return self.mel_decibels @ dct_filters()

    @cached_property
    def tuning(self) -> NDArray[np.float64]:
        """How far the music's A is above 440 Hz, (slice,) in semitones from -0.5 to 0.49 in steps of 0.01."""
        return np.array([_tuning(power) for power in self.power])

    @cached_property
    def chroma(self) -> NDArray[np.float32]:
        """Strength of the pitch classes C to B, in each frame at most 1, (slice, frame, class)."""
        raw = np.stack([power @ chroma_filters(t) for power, t in zip(self.power, self.tuning.tolist(), strict=True)])
        strongest: NDArray[np.float32] = raw.max(axis=2, keepdims=True)
        return np.asarray(np.divide(raw, np.where(strongest < TINY, 1, strongest), dtype=np.float32))

    @cached_property
    def harmonic(self) -> NDArray[np.float32]:
        """The tonal part of the signal, (slice, sample).

        Each bin is divided in proportion to the squares of two medians: over neighbouring frames, which is high for
        tones, and over neighbouring bins, which is high for beats.

        Source: Fitzgerald, "Harmonic/Percussive Separation using Median Filtering", DAFx 2010.
        """
        num_slices, frames, bins = self.magnitude.shape
        by_frame = self.magnitude.transpose(1, 0, 2).reshape(frames, -1)  # (frame, slice x bin)
        tones = sliding_median(by_frame).reshape(frames, num_slices, bins).transpose(1, 0, 2)
        by_bin = np.ascontiguousarray(self.magnitude.reshape(-1, bins).T)  # (bin, slice x frame)
        beats = sliding_median(by_bin).T.reshape(num_slices, frames, bins)
        share = np.square(tones) + _INAUDIBLE / 2  # if both are 0, each part gets a half
        share /= np.square(beats) + _INAUDIBLE / 2 + share
        signal = istft(self.spectra * share, self.samples.shape[1])
        signal[:, self._num_inverted :] = 0
        return signal

    @cached_property
    def percussive(self) -> NDArray[np.float32]:
        """The rest of the signal, (slice, sample): both parts add up to the samples."""
        signal = self.samples - self.harmonic
        signal[:, self._num_inverted :] = 0
        return signal

    @cached_property
    def rms(self) -> NDArray[np.float32]:
        """Root mean square of each frame, (slice, frame)."""
        mean_square = self._frame_sums(np.square(self._padded)) / np.float32(FRAME_SAMPLES)
        return np.asarray(np.sqrt(mean_square))

    @cached_property
    def zero_crossing_rate(self) -> NDArray[np.float32]:
        """Share of samples with another sign than the sample before, (slice, frame)."""
        audible = np.where(np.abs(self.samples) > 1e-10, self.samples, 0)
        crossing = np.diff(np.signbit(audible), axis=1)
        half = FRAME_SAMPLES // 2
        padded = np.pad(crossing, ((0, 0), (half + 1, half))).astype(np.float32)
        within = self._frame_sums(padded) - padded[:, : self.num_frames * HOP_SAMPLES : HOP_SAMPLES]
        return within / np.float32(FRAME_SAMPLES)

    def _frame_sums(self, padded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sum each frame from sums over hops, (slice, padded sample) -> (slice, frame)."""
        num_hops = self.num_frames + HOPS_PER_FRAME - 1
        hops = padded[:, : num_hops * HOP_SAMPLES].reshape(len(padded), num_hops, HOP_SAMPLES).sum(axis=2)
        return np.asarray(np.sum([hops[:, hop : hop + self.num_frames] for hop in range(HOPS_PER_FRAME)], axis=0))

    @cached_property
    def _total_magnitude(self) -> NDArray[np.float32]:
        total = self.magnitude.sum(axis=2)
        return np.where(total < TINY, np.float32(1), total)

    @cached_property
    def centroid_hz(self) -> NDArray[np.float32]:
        """Mean frequency, weighted by magnitude, (slice, frame); 0 in silence."""
        return (self.magnitude @ FREQUENCIES_HZ.astype(np.float32)) / self._total_magnitude

    @cached_property
    def bandwidth_hz(self) -> NDArray[np.float32]:
        """Standard deviation of frequency, weighted by magnitude, (slice, frame)."""
        away = np.square(FREQUENCIES_HZ.astype(np.float32) - self.centroid_hz[..., None])
        variance = np.einsum("sfb,sfb->sf", away, self.magnitude) / self._total_magnitude
        return np.asarray(np.sqrt(variance))

    @cached_property
    def rolloff_hz(self) -> NDArray[np.float32]:
        """Frequency below which the bins hold 85 % of the magnitude, (slice, frame)."""
        running = self.magnitude.cumsum(axis=2)
        below = (running < 0.85 * running[..., -1:]).sum(axis=2)
        return np.asarray(FREQUENCIES_HZ.astype(np.float32)[below])

    @cached_property
    def onset_strength(self) -> NDArray[np.float32]:
        """Median rise of the mel bands in decibels since the frame before, (slice, frame), 0 or more.

        It is delayed by half a frame, because a frame contains a sound before the sound reaches its centre; it is 0 in
        the first three frames.

        Source: Böck and Widmer, "Maximum Filter Vibrato Suppression for Onset Detection", DAFx 2013, without filter.
        """
        rise = np.median(np.maximum(np.diff(self.mel_decibels, axis=1), 0), axis=2)
        late = 1 + HOPS_PER_FRAME // 2
        return np.pad(rise, ((0, 0), (late, 0)))[:, : self.num_frames]

    @cached_property
    def rhythm(self) -> NDArray[np.float64]:
        """Mean autocorrelation of the onsets within eight seconds, (slice, lag); 1 at lag 0, zeros without onsets.

        Source: Grosche, Müller and Kurth, "Cyclic Tempogram", ICASSP 2010.
        """
        ends = np.linspace(0, 1, TEMPO_LAGS // 2, endpoint=False)
        onsets = self.onset_strength.astype(np.float64)
        padded = np.hstack([ends * onsets[:, :1], onsets, ends[::-1] * onsets[:, -1:]])
        frames = np.lib.stride_tricks.sliding_window_view(padded, TEMPO_LAGS, axis=1)[:, : self.num_frames]
        frames = frames * hann(TEMPO_LAGS)
        spectra = scipy.fft.rfft(frames, scipy.fft.next_fast_len(2 * TEMPO_LAGS - 1, real=True))
        power = np.square(spectra.real) + np.square(spectra.imag)
        energy = np.square(frames).sum(axis=2, keepdims=True)
        # the transform back is linear: one transform of the mean replaces one per frame
        mean = (power / np.where(energy < TINY, 1, energy)).mean(axis=1)
        correlation: NDArray[np.float64] = scipy.fft.irfft(mean)[:, :TEMPO_LAGS]
        return correlation

    @cached_property
    def tempo_bpm(self) -> NDArray[np.float64]:
        """The tempo of librosa's beat tracker, (slice,) in beats per minute; 0 without onsets.

        It is the lag with the strongest repetition; the weight of a tempo falls with its distance from 120 in octaves.

        Source: Ellis, "Beat Tracking by Dynamic Programming", Journal of New Music Research 36(1), 2007.
        """
        lag = np.arange(1, TEMPO_LAGS)
        bpm = _FRAMES_PER_MINUTE / lag
        prior = np.where(bpm < _MAX_BPM, -0.5 * np.log2(bpm / _EXPECTED_BPM) ** 2, -np.inf)
        best = np.argmax(np.log1p(1e6 * self.rhythm[:, 1:]) + prior, axis=1)
        return np.where(self.onset_strength.any(axis=1), bpm[best], 0.0)


def _tuning(power: NDArray[np.float32]) -> float:
    """Estimate the tuning of a slice's power spectra, (frame, bin), in semitones, from its stronger peaks.

    It is the most frequent position of a peak between two keys. The frequency of a peak is refined by a parabola
    through its bin and the two neighbours.

    Source: Smith and Serra, "PARSHL", ICMC 1987, for the parabola.
    """
    low, high = _TUNING_BINS[0], _TUNING_BINS[-1] + 1
    near = power[:, low - 1 : high + 1]
    loud = np.where(near > _PEAK_SHARE * power.max(axis=1, keepdims=True), near, 0)
    is_peak = (loud[:, 1:-1] > loud[:, :-2]) & (loud[:, 1:-1] >= loud[:, 2:])
    frame, at = np.nonzero(is_peak)
    peak, before, after = (power[frame, at + low + step] for step in (0, -1, 1))
    slope = 0.5 * (after - before)
    bend = 2 * peak - after - before
    shift = slope / (bend + (np.abs(bend) < TINY))
    height = peak + 0.5 * slope * shift
    hz = ((at + low + shift) * (SAMPLE_RATE_HZ / FRAME_SAMPLES)).astype(np.float32)
    if len(hz) == 0:
        return 0.0
    chosen = hz[height >= np.median(height)]
    between = np.mod(NUM_CHROMA * octaves(chosen), 1.0)
    between = np.where(between >= 0.5, between - 1, between)
    counts, edges = np.histogram(between, np.linspace(-0.5, 0.5, 101))
    return float(edges[np.argmax(counts)])
