"""The rich recipe against librosa, NumPy and cases by hand, and on slices that have nothing to describe."""

import statistics

import librosa
import numpy as np
import pytest
from numpy.typing import NDArray

from genregrid.data.columns import FEATURE_NAMES
from genregrid.features.analysis import Analysis
from genregrid.features.descriptors import kaggle_descriptors
from genregrid.features.rich import RICH_FEATURE_NAMES, rich_descriptors
from genregrid.features.spectrum import Padding

RATE_HZ = 22_050
Samples = NDArray[np.float32]
Columns = dict[str, NDArray[np.float64]]


def _clicks(seconds: float, per_second: float) -> Samples:
    """Bursts of noise of 5 ms: what a click is, with a spectrum that has no two equal bins."""
    clicks = np.zeros(round(seconds * RATE_HZ), np.float32)
    burst = np.random.default_rng(1).uniform(-0.9, 0.9, 110)
    for start in np.arange(0.25, seconds - 0.1, 1 / per_second):
        clicks[round(start * RATE_HZ) :][:110] = burst
    return clicks


def _signals(seconds: float = 3.0) -> dict[str, Samples]:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hiss = np.random.default_rng(0).normal(0, 0.1, len(time))
    signals = {
        "sine": 0.5 * np.sin(2 * np.pi * 440 * time) + 0.01 * hiss,  # the hiss is above the rounding errors of float32
        "chirp": 0.5 * np.sin(2 * np.pi * (100 + 700 * time) * time) + 0.01 * hiss,
        "noise": hiss,
        "clicks": _clicks(seconds, 4) + 0.01 * hiss,
    }
    return {name: samples.astype(np.float32) for name, samples in signals.items()}


SIGNALS = _signals()


def _described(*slices: Samples) -> Columns:
    # librosa from 0.10 on pads with zeros
    return rich_descriptors(Analysis(np.stack(slices), padding="constant"))


@pytest.fixture(params=list(SIGNALS), scope="module")
def samples(request: pytest.FixtureRequest) -> Samples:
    return SIGNALS[request.param]


@pytest.fixture(scope="module")
def columns(samples: Samples) -> Columns:
    return _described(samples)


def _assert_mean_and_variance(columns: Columns, name: str, expected: NDArray[np.floating], rtol: float) -> None:
    """Compare with what librosa gives over frames, (frame,)."""
    expected = expected.astype(np.float64)
    scale = float(np.square(expected).mean())  # a variance near 0 is the difference of numbers of this size
    np.testing.assert_allclose(columns[f"{name}_mean"], expected.mean(), rtol=rtol, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(columns[f"{name}_var"], expected.var(), rtol=rtol, atol=1e-6 * scale, err_msg=name)


def test_contrast_is_librosas(samples: Samples, columns: Columns) -> None:
    for band, expected in enumerate(librosa.feature.spectral_contrast(y=samples, sr=RATE_HZ)):
        # a valley is the magnitude of a few weak bins, whose last digits are the rounding of the Fourier transform
        _assert_mean_and_variance(columns, f"contrast{band + 1}", expected, rtol=1e-3)


def test_silent_frames_have_no_contrast() -> None:
    noise = SIGNALS["noise"]
    silence = np.zeros(4 * len(noise), np.float32)
    alone, beside = _described(noise), _described(np.concatenate([noise, silence]))
    for band in range(1, 8):
        # 130 of 646 frames sound, and two of those that follow reach back into the noise
        assert 5 * beside[f"contrast{band}_mean"] == pytest.approx(alone[f"contrast{band}_mean"], rel=0.03)


def test_flatness_is_librosas(samples: Samples, columns: Columns) -> None:
    expected = librosa.feature.spectral_flatness(y=samples)[0]
    _assert_mean_and_variance(columns, "flatness", expected, rtol=1e-4)


def test_noise_is_flat_and_a_sine_is_not() -> None:
    flat = _described(SIGNALS["noise"], SIGNALS["sine"])["flatness_mean"]
    assert flat[0] > 0.5
    assert flat[1] < 0.01


def test_tonnetz_is_librosas(samples: Samples, columns: Columns) -> None:
    chroma = Analysis(samples[None], padding="constant").chroma[0].T
    for dimension, expected in enumerate(librosa.feature.tonnetz(chroma=chroma)):
        _assert_mean_and_variance(columns, f"tonnetz{dimension + 1}", expected, rtol=1e-4)


def test_delta_is_librosas(samples: Samples, columns: Columns) -> None:
    mfcc = librosa.feature.mfcc(y=samples, sr=RATE_HZ, n_mfcc=20)
    expected = np.sqrt(np.square(librosa.feature.delta(mfcc, width=9, mode="interp")).mean(axis=1))
    actual = [columns[f"mfcc{number}_delta_rms"][0] for number in range(1, 21)]
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize("num_frames", [3, 4, 7, 8])
def test_delta_of_few_frames_is_the_slope_of_one_line(num_frames: int) -> None:
    few = _signals()["chirp"][: (num_frames - 1) * 512 + 256]
    mfcc = Analysis(few[None], padding="reflect").mfcc[0].astype(np.float64)
    assert len(mfcc) == num_frames
    slope = np.polyfit(np.arange(num_frames), mfcc, 1)[0]
    columns = rich_descriptors(Analysis(few[None], padding="reflect"))
    actual = [columns[f"mfcc{number}_delta_rms"][0] for number in range(1, 21)]
    np.testing.assert_allclose(actual, np.abs(slope), rtol=1e-4, atol=1e-4)


def test_percentiles_are_deciles_of_librosas_mfcc(samples: Samples, columns: Columns) -> None:
    for number, values in enumerate(librosa.feature.mfcc(y=samples, sr=RATE_HZ, n_mfcc=20), start=1):
        deciles = statistics.quantiles(values.astype(float).tolist(), n=10, method="inclusive")
        actual = [columns[f"mfcc{number}_p{percentile}"][0] for percentile in (10, 50, 90)]
        np.testing.assert_allclose(actual, [deciles[0], deciles[4], deciles[8]], rtol=1e-4, atol=1e-3)


def test_covariances_are_those_of_librosas_mfcc(samples: Samples, columns: Columns) -> None:
    mfcc = librosa.feature.mfcc(y=samples, sr=RATE_HZ, n_mfcc=20).astype(np.float64)
    expected = np.cov(mfcc, bias=True)
    names = [name for name in RICH_FEATURE_NAMES if name.endswith("_cov")]
    assert len(names) == 190
    for name in names:
        first, second = (int(part.removeprefix("mfcc")) - 1 for part in name.removesuffix("_cov").split("_"))
        assert first < second
        scale = np.sqrt(expected[first, first] * expected[second, second])
        assert columns[name][0] == pytest.approx(expected[first, second], abs=1e-4 * scale), name


@pytest.mark.parametrize("per_second", [1, 2, 4, 8])
def test_onset_rate_counts_clicks(per_second: int) -> None:
    clicks = _clicks(10.0, per_second) + 0.01 * _signals(10.0)["noise"]
    num_clicks = len(np.arange(0.25, 9.9, 1 / per_second))
    assert _described(clicks)["onset_rate"][0] * 10 == pytest.approx(num_clicks, abs=1)


def test_onset_statistics_are_those_of_the_strength(samples: Samples, columns: Columns) -> None:
    strength = Analysis(samples[None], padding="constant").onset_strength[0]
    deciles = statistics.quantiles(strength.astype(float).tolist(), n=10, method="inclusive")
    assert columns["onset_p90"][0] == pytest.approx(deciles[8])
    _assert_mean_and_variance(columns, "onset", strength, rtol=1e-6)


@pytest.mark.parametrize(("beat_frames", "band"), [(10, 269), (14, 190), (20, 135), (28, 95), (40, 67), (55, 48)])
def test_a_click_every_beat_repeats_most_in_the_band_of_its_tempo(beat_frames: int, band: int) -> None:
    # beats of whole frames: others repeat after two as exactly as after one
    clicks = _clicks(10.0, RATE_HZ / (512 * beat_frames)) + 0.01 * _signals(10.0)["noise"]
    columns = _described(clicks)
    bands = {name: columns[name][0] for name in RICH_FEATURE_NAMES if name.endswith("_bpm")}
    assert max(bands, key=lambda name: bands[name]) == f"rhythm_{band}_bpm"
    assert columns["rhythm_peak"][0] == bands[f"rhythm_{band}_bpm"]


def test_a_beat_is_clearer_than_noise() -> None:
    signals = _signals(10.0)
    columns = _described(signals["clicks"], signals["noise"])
    assert columns["rhythm_clarity"][0] > columns["rhythm_clarity"][1] + 0.2
    assert columns["rhythm_entropy"][0] < columns["rhythm_entropy"][1] - 0.05


def test_without_onsets_every_tempo_is_equally_strong() -> None:
    columns = _described(np.zeros(RATE_HZ, np.float32))
    assert columns["onset_rate"] == columns["rhythm_peak"] == columns["rhythm_clarity"] == 0
    assert columns["rhythm_entropy"] == pytest.approx(1)


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.25, 1.0, 3.0, pytest.param(30.0, marks=pytest.mark.slow)])
def test_every_value_is_finite(seconds: float, padding: Padding) -> None:
    num = int(seconds * RATE_HZ)
    click = np.zeros(num, np.float32)
    click[num // 2] = 1
    sine = np.sin(2 * np.pi * 440 / RATE_HZ * np.arange(num)).astype(np.float32)
    noise = np.random.default_rng(2).uniform(-1, 1, num).astype(np.float32)
    half_silent = np.where(np.arange(num) < num // 2, 0, noise)
    slices = np.stack([np.zeros(num, np.float32), click, sine, noise, half_silent, np.ones(num, np.float32)])
    for name, values in rich_descriptors(Analysis(slices, padding)).items():
        assert np.isfinite(values).all(), name


def test_names_are_unique_and_those_of_the_descriptors() -> None:
    columns = _described(SIGNALS["noise"])
    assert tuple(columns) == RICH_FEATURE_NAMES
    assert len(set(RICH_FEATURE_NAMES)) == len(RICH_FEATURE_NAMES) == 368
    assert all(values.shape == (1,) and values.dtype == np.float64 for values in columns.values())


def test_kaggles_descriptors_come_first_and_unchanged() -> None:
    assert RICH_FEATURE_NAMES[: len(FEATURE_NAMES)] == FEATURE_NAMES
    analysis = Analysis(SIGNALS["chirp"][None], padding="reflect")
    rich, kaggle = rich_descriptors(analysis), kaggle_descriptors(analysis)
    assert all(rich[name] == kaggle[name] for name in FEATURE_NAMES)


def test_means_and_variances_come_in_pairs() -> None:
    # slices are pooled by these endings
    means = {name.removesuffix("_mean") for name in RICH_FEATURE_NAMES if name.endswith("_mean")}
    variances = {name.removesuffix("_var") for name in RICH_FEATURE_NAMES if name.endswith("_var")}
    assert means == variances


def test_a_slice_is_described_alike_alone_and_in_a_batch() -> None:
    together = _described(*SIGNALS.values())
    for index, samples in enumerate(SIGNALS.values()):
        for name, values in _described(samples).items():
            # sums over a batch may be taken in another order
            assert values[0] == pytest.approx(together[name][index], rel=1e-5, abs=1e-5), name
