"""Claims about `genregrid.features.spectrum`: transforms and filter banks are librosa's and SciPy's."""

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from genregrid.features import spectrum
from genregrid.features.musicnn import log_mel
from genregrid.features.spectrum import Padding

# 1025: the shortest that can be mirrored; 2048 and 2560: frames end with the slice; 66149: Kaggle's
LENGTHS = [1025, 2048, 2560, 5000, 66149]
short_for_librosa = pytest.mark.filterwarnings(
    "ignore:n_fft=2048 is too large for input signal:UserWarning"  # true of the shortest, which we allow
)


def draw_noise(num_samples: int) -> NDArray[np.float32]:
    return (0.1 * np.random.default_rng(num_samples).standard_normal((2, num_samples))).astype(np.float32)


@short_for_librosa
@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize("num_samples", LENGTHS)
def test_stft_is_librosas(num_samples: int, padding: Padding) -> None:
    samples = draw_noise(num_samples)
    spectra = spectrum.stft(spectrum.pad(samples, padding))
    assert spectra.dtype == np.complex64
    expected = librosa.stft(samples, pad_mode=padding).transpose(0, 2, 1)
    # librosa multiplies by its window in float64
    np.testing.assert_allclose(spectra, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@given(num_samples=st.integers(1025, 200_000))
def test_num_frames_is_librosas(num_samples: int) -> None:
    padded = np.broadcast_to(np.float32(0), (1, num_samples + 2048))
    assert spectrum.num_frames(num_samples) == spectrum.framed(padded).shape[1]
    assert spectrum.num_frames(num_samples) == librosa.util.frame(padded, frame_length=2048, hop_length=512).shape[2]


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize("num_samples", LENGTHS)
def test_istft_inverts_stft(num_samples: int, padding: Padding) -> None:
    samples = draw_noise(num_samples)
    inverted = spectrum.istft(spectrum.stft(spectrum.pad(samples, padding)), num_samples)
    np.testing.assert_allclose(inverted, samples, rtol=0, atol=2e-6 * np.abs(samples).max())


@short_for_librosa
@pytest.mark.parametrize("num_samples", LENGTHS)
def test_istft_of_changed_spectra_is_librosas(num_samples: int) -> None:
    spectra = spectrum.stft(spectrum.pad(draw_noise(num_samples), "constant"))
    spectra *= np.random.default_rng(1).random(spectra.shape, np.float32)
    expected = librosa.istft(spectra.transpose(0, 2, 1), length=num_samples)
    inverted = spectrum.istft(spectra, num_samples)
    assert inverted.dtype == np.float32
    np.testing.assert_allclose(inverted, expected, rtol=0, atol=2e-6 * np.abs(expected).max())


def test_window_is_scipys_periodic_hann() -> None:
    for num in (344, 2048):
        np.testing.assert_allclose(spectrum.hann(num), scipy.signal.get_window("hann", num), rtol=0, atol=1e-15)


def test_bins_lie_where_librosa_says() -> None:
    np.testing.assert_allclose(spectrum.FREQUENCIES_HZ, librosa.fft_frequencies(sr=22050, n_fft=2048), rtol=1e-14)


def test_mel_bands_are_librosas() -> None:
    expected = librosa.filters.mel(sr=22050, n_fft=2048).T
    np.testing.assert_allclose(spectrum.mel_filters(), expected, rtol=0, atol=1e-6 * expected.max())


@pytest.mark.parametrize("tuning", [-0.5, -0.37, -0.01, 0.0, 0.2, 0.49])
def test_pitch_classes_are_librosas(tuning: float) -> None:
    expected = librosa.filters.chroma(sr=22050, n_fft=2048, tuning=tuning).T
    np.testing.assert_allclose(spectrum.chroma_filters(tuning), expected, rtol=0, atol=1e-6)  # the highest is near 1


@pytest.mark.parametrize("tuning", [-0.5, 0.0, 0.31])
def test_octaves_are_librosas(tuning: float) -> None:
    hz = np.geomspace(20.0, 11025.0, 50)
    np.testing.assert_allclose(spectrum.octaves(hz, tuning), librosa.hz_to_octs(hz, tuning=tuning), rtol=0, atol=1e-12)


def test_cosines_are_scipys_orthonormal_dct() -> None:
    expected = scipy.fft.dct(np.eye(128), type=2, norm="ortho", axis=1)[:, :20]
    np.testing.assert_allclose(spectrum.dct_filters(), expected, rtol=0, atol=1e-8)


def test_the_input_of_musicnn_is_librosas() -> None:
    samples = (0.1 * np.random.default_rng(0).standard_normal(48_000)).astype(np.float32)
    expected = librosa.feature.melspectrogram(y=samples, sr=16_000, n_fft=512, hop_length=256, n_mels=96)
    assert log_mel(samples).shape == (187, 96)
    np.testing.assert_allclose(log_mel(samples), np.log10(10_000 * expected.T[:187] + 1), rtol=1e-4, atol=1e-5)
