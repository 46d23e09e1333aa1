"""Claims about `genregrid.features.analysis` and `descriptors`: librosa's values, and values known by hand."""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import librosa
import numpy as np
import pytest
from numpy.typing import NDArray

from genregrid.data.columns import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.features.analysis import Analysis
from genregrid.features.descriptors import kaggle_descriptors
from genregrid.features.spectrum import Padding

Array = NDArray[np.floating]
LONG_SIGNALS = ("sine", "clicks", "chirp", "noise", "mix", "silence")
FRAMES_PER_MINUTE = 60 * SAMPLE_RATE_HZ / 512
BIN_HZ = SAMPLE_RATE_HZ / 2048


def sine(hz: float, num_samples: int = 66149, amplitude: float = 0.5) -> Array:
    return amplitude * np.sin(2 * np.pi * hz / SAMPLE_RATE_HZ * np.arange(num_samples))


def clicks(every_samples: float, num_samples: int = 66149) -> Array:
    signal = np.zeros(num_samples + 400)
    for start in np.arange(0, num_samples, every_samples).astype(int):
        signal[start : start + 400] += 0.8 * np.exp(-np.arange(400) / 40) * np.cos(0.3 * np.arange(400))
    return signal[:num_samples]


@lru_cache
def drawn(name: str) -> NDArray[np.float32]:
    """A signal of 3 s, or 68 ms, in steps of 16 bits as corpora have them; all are in [-1, 1]."""
    time = np.arange(66149) / SAMPLE_RATE_HZ
    noise = 0.1 * np.random.default_rng(0).standard_normal(66149)
    tones = np.sum([sine(224.4 * number, amplitude=0.2 / number) for number in range(1, 6)], axis=0)
    mix = tones + 0.6 * clicks(SAMPLE_RATE_HZ / 2) + 0.01 * noise
    signal = {
        "sine": sine(440.0),
        "clicks": clicks(SAMPLE_RATE_HZ / 2),
        "chirp": 0.5 * np.sin(2 * np.pi * (100 * time + 1300 * time**2)),
        "noise": noise,
        "mix": mix,
        "silence": np.zeros(66149),
        "short mix": mix[:1500],
    }[name]
    return (np.round(signal * 32768) / 32768).astype(np.float32)


@lru_cache
def analysed(name: str, padding: Padding) -> Analysis:
    return Analysis(drawn(name)[None], padding)


def alone(signal: Array, padding: Padding = "constant") -> Analysis:
    return Analysis(signal[None].astype(np.float32), padding)


def separated(y: Array, padding: Padding) -> tuple[Array, Array]:
    """Harmonic and percussive part, by librosa 0.11 or, mirrored, as librosa to 0.9 did."""
    if padding == "constant":
        return librosa.effects.harmonic(y), librosa.effects.percussive(y)
    parts = librosa.decompose.hpss(librosa.stft(y, pad_mode=padding))
    harmonic, percussive = (librosa.util.fix_length(librosa.istft(part), size=len(y)) for part in parts)
    return harmonic, percussive


def onsets(y: Array, padding: Padding) -> Array:
    return librosa.onset.onset_strength(y=y, sr=SAMPLE_RATE_HZ, aggregate=np.median, pad_mode=padding)


def tempo(y: Array, padding: Padding) -> Array:
    if padding == "constant":
        return np.squeeze(librosa.beat.beat_track(y=y, sr=SAMPLE_RATE_HZ)[0])
    return np.squeeze(librosa.beat.beat_track(onset_envelope=onsets(y, padding), sr=SAMPLE_RATE_HZ)[0])


def tuning(y: Array, padding: Padding) -> float:
    power = np.square(np.abs(librosa.stft(y, pad_mode=padding)))
    return librosa.estimate_tuning(S=power, sr=SAMPLE_RATE_HZ)


# librosa's functions, time first; and how far from them a value may be, in parts of the largest. float32 resolves 1e-7
feature, by_rate = librosa.feature, {"sr": SAMPLE_RATE_HZ}
REFERENCES: dict[str, tuple[float, Callable[[Array, Padding], Array]]] = {
    "chroma": (1e-5, lambda y, p: feature.chroma_stft(y=y, pad_mode=p, **by_rate).T),
    "rms": (1e-6, lambda y, p: feature.rms(y=y, pad_mode=p)[0]),
    "zero_crossing_rate": (0.0, lambda y, p: feature.zero_crossing_rate(y)[0]),  # whatever the padding
    "centroid_hz": (1e-5, lambda y, p: feature.spectral_centroid(y=y, pad_mode=p, **by_rate)[0]),
    "bandwidth_hz": (1e-4, lambda y, p: feature.spectral_bandwidth(y=y, pad_mode=p, **by_rate)[0]),
    "harmonic": (1e-4, lambda y, p: separated(y, p)[0]),  # that of the chirp is small beside the whole signal
    "percussive": (1e-5, lambda y, p: separated(y, p)[1]),
    "mfcc": (1e-5, lambda y, p: feature.mfcc(y=y, pad_mode=p, **by_rate).T),
    "onset_strength": (1e-5, onsets),
    "rhythm": (1e-5, lambda y, p: feature.tempogram(onset_envelope=onsets(y, p), win_length=344).mean(axis=1)),
    "tempo_bpm": (1e-12, tempo),
    "tuning": (1e-12, tuning),
}
librosas_warnings = [
    pytest.mark.filterwarnings("ignore:n_fft=2048 is too large for input signal"),  # true of the short one: allowed
    pytest.mark.filterwarnings("ignore:Trying to estimate tuning from empty"),  # silence: its tuning is 0 in both
]
pytestmark = librosas_warnings


@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize(
    ("name", "signal"),
    [
        *product(REFERENCES, LONG_SIGNALS),
        *product(sorted(REFERENCES.keys() - {"harmonic", "percussive"}), ["short mix"]),
    ],
)
def test_it_is_librosas(name: str, signal: str, padding: Padding) -> None:
    tolerance, reference = REFERENCES[name]
    expected = np.asarray(reference(drawn(signal), padding))
    # 1e-20: parts of bins without either are shared out differently
    atol = tolerance * np.abs(expected).max() + 1e-20
    np.testing.assert_allclose(getattr(analysed(signal, padding), name)[0], expected, rtol=0, atol=atol)


@pytest.mark.parametrize("padding", ["constant", "reflect"])
def test_parts_of_a_short_slice_are_librosas(padding: Padding, monkeypatch: pytest.MonkeyPatch) -> None:
    # SciPy 1.17 reads memory of others where a line is far shorter than the window, so librosa gets NumPy's median
    def median_filter(values: Array, size: list[int], mode: str) -> Array:
        axis = int(np.argmax(size))
        padded = np.pad(values, [(num // 2, num // 2) for num in size], mode={"reflect": "symmetric"}[mode])
        return np.median(np.lib.stride_tricks.sliding_window_view(padded, max(size), axis=axis), axis=-1)

    monkeypatch.setattr(librosa.decompose, "median_filter", median_filter)
    expected = separated(drawn("short mix"), padding)
    analysis = analysed("short mix", padding)
    np.testing.assert_allclose(analysis.harmonic[0], expected[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(analysis.percussive[0], expected[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize("signal", [*LONG_SIGNALS, "short mix"])
def test_rolloff_is_librosas_but_for_near_ties(signal: str, padding: Padding) -> None:
    expected = feature.spectral_rolloff(y=drawn(signal), pad_mode=padding, **by_rate)[0]
    away = np.abs(analysed(signal, padding).rolloff_hz[0] - expected) / BIN_HZ
    # where the running sum meets 85 % within rounding, the next bin: measured 0 frames here, 1 of 1292 elsewhere
    assert away.max() < 1.001
    assert np.mean(away > 0.001) < 0.01


def test_bandwidth_is_near_librosas_where_that_has_double_precision() -> None:
    # a sine in steps of float32: 1e-7 of its peak in far bins counts there by the square of their distance
    signal = sine(440.0).astype(np.float32)
    expected = feature.spectral_bandwidth(y=signal, **by_rate)[0]
    assert np.max(np.abs(alone(signal).bandwidth_hz[0] - expected)) / expected.max() < 2e-3


def kaggle_by_librosa(y: Array, padding: Padding) -> dict[str, tuple[float, float]]:
    """The 57 as Kaggle's notebook computes them: a value, and what errors of 1e-6 of the largest make of it."""
    over_time = {
        "chroma_stft": feature.chroma_stft(y=y, pad_mode=padding, **by_rate),
        "rms": feature.rms(y=y, pad_mode=padding),
        "spectral_centroid": feature.spectral_centroid(y=y, pad_mode=padding, **by_rate),
        "spectral_bandwidth": feature.spectral_bandwidth(y=y, pad_mode=padding, **by_rate),
        "rolloff": feature.spectral_rolloff(y=y, pad_mode=padding, **by_rate),
        "zero_crossing_rate": feature.zero_crossing_rate(y),
    }
    over_time["harmony"], over_time["perceptr"] = separated(y, padding)
    largest = {column: 1e-6 * float(np.abs(values).max()) for column, values in over_time.items()}
    largest["rolloff"] = 0.01 * BIN_HZ  # one bin in one frame of a hundred
    mfcc = feature.mfcc(y=y, pad_mode=padding, **by_rate)
    over_time |= {f"mfcc{number + 1}": mfcc[number] for number in range(20)}
    described = {"tempo": (float(tempo(y, padding)), 0.0)}
    for name, values in over_time.items():
        error = largest.get(name, 1e-6 * float(np.abs(mfcc).max()))  # coefficients are sums over the same decibels
        variance = float(np.var(values, dtype=np.float64))
        described[f"{name}_mean"] = (float(np.mean(values, dtype=np.float64)), error)
        described[f"{name}_var"] = (variance, 2 * error * np.sqrt(variance) + error**2)
    return described


@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize("signal", LONG_SIGNALS)
def test_the_57_are_librosas(signal: str, padding: Padding) -> None:
    expected = kaggle_by_librosa(drawn(signal), padding)
    described = kaggle_descriptors(analysed(signal, padding))
    assert tuple(described) == FEATURE_NAMES
    assert set(described) == set(expected)
    for name, value in described.items():
        np.testing.assert_allclose(value, expected[name][0], rtol=1e-5, atol=expected[name][1] + 1e-20, err_msg=name)


def hard_cases(num_samples: int) -> dict[str, Array]:
    click = np.zeros(num_samples)
    click[num_samples // 2] = 1.0
    noise = np.random.default_rng(0).standard_normal(num_samples)
    return {
        "silence": np.zeros(num_samples),
        "one sample": click,
        "square wave": np.where(np.arange(num_samples) % 50 < 25, 1.0, -1.0),
        "constant": np.ones(num_samples),
        "faint noise": 1e-20 * noise,
        "denormal noise": 1e-40 * noise,
        "sound after silence": np.where(np.arange(num_samples) < num_samples // 2, 0.0, np.clip(noise, -1, 1)),
    }


@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize("num_samples", [1025, 1101, 1102, 2047, 2048, 11025, 66149])  # 1101: 0.05 s less one sample
def test_every_descriptor_is_finite(num_samples: int, padding: Padding) -> None:
    cases = hard_cases(num_samples)
    described = kaggle_descriptors(Analysis(np.stack(list(cases.values())).astype(np.float32), padding))
    for name, values in described.items():
        assert np.isfinite(values).all(), (name, dict(zip(cases, values, strict=True)))
        if name.endswith("_var"):
            assert (values >= 0).all(), name


@pytest.mark.parametrize("padding", ["constant", "reflect"])
def test_a_batch_gives_what_its_slices_give_alone(padding: Padding) -> None:
    together = kaggle_descriptors(Analysis(np.stack([drawn(name) for name in LONG_SIGNALS]), padding))
    for index, signal in enumerate(LONG_SIGNALS):
        for name, value in kaggle_descriptors(analysed(signal, padding)).items():
            np.testing.assert_allclose(together[name][index], value[0], rtol=1e-6, atol=1e-12, err_msg=name)


def test_silence_is_as_definitions_say() -> None:
    described = {name: float(value[0]) for name, value in kaggle_descriptors(analysed("silence", "constant")).items()}
    # 100 dB below 1 in all of 128 bands, whose first cosine is 1 / sqrt(128)
    assert described.pop("mfcc1_mean") == pytest.approx(
        -100 * np.sqrt(128), rel=1e-5
    )  # float32, summed in the order that the processor likes
    # the other cosines' float32 roundings do not quite cancel over the bands
    assert {name for name, value in described.items() if abs(value) > 1e-4} == set()


@pytest.mark.parametrize("lag", [18, 20, 22, 25])
def test_tempo_of_clicks_every_so_many_frames_is_exact(lag: int) -> None:
    signal = clicks(512 * lag, 10 * SAMPLE_RATE_HZ)
    assert alone(signal).tempo_bpm[0] == pytest.approx(FRAMES_PER_MINUTE / lag, rel=1e-12)


def test_tempo_of_120_is_one_of_the_two_around_it() -> None:
    # a beat is 21.5 frames, and tempi are of 21 or 22: 123.0 or 117.5 bpm
    for padding in ("constant", "reflect"):
        assert alone(clicks(SAMPLE_RATE_HZ / 2, 661500), padding).tempo_bpm[0] in (
            FRAMES_PER_MINUTE / 21,
            FRAMES_PER_MINUTE / 22,
        )


# a parabola through power, as librosa's, errs by up to a tenth of a bin: 4 cents at 440 Hz, 0.5 at 3520 Hz
@pytest.mark.parametrize(("a_hz", "error"), [(440.0, 0.06), (3520.0, 0.02)])
@pytest.mark.parametrize("semitones", [-0.4, -0.2, 0.0, 0.1, 0.3])
def test_tuning_of_a_sine_is_its_distance_from_a(semitones: float, a_hz: float, error: float) -> None:
    analysis = alone(sine(a_hz * 2 ** (semitones / 12)))
    assert analysis.tuning[0] == pytest.approx(semitones, abs=error)
    assert (analysis.chroma[0].argmax(axis=1) == 9).all()  # C is 0, A is 9
    assert (analysis.chroma[0].max(axis=1) == 1).all()


def test_a_sine_is_as_high_and_as_loud_as_it_is() -> None:
    analysis = alone(sine(1000.0, amplitude=0.6))
    inner = slice(2, -2)  # frames that reach over no end
    np.testing.assert_allclose(analysis.rms[0, inner], 0.6 / np.sqrt(2), rtol=2e-3)  # frames hold no whole periods
    np.testing.assert_allclose(analysis.zero_crossing_rate[0, inner], 2000 / SAMPLE_RATE_HZ, atol=1 / 2048)
    np.testing.assert_allclose(analysis.centroid_hz[0, inner], 1000, rtol=2e-3)
    np.testing.assert_allclose(analysis.rolloff_hz[0, inner], 1000, atol=2 * BIN_HZ)


def test_tones_are_harmonic_and_clicks_percussive() -> None:
    tone, click = analysed("sine", "constant"), analysed("clicks", "constant")
    assert np.square(tone.harmonic).sum() > 0.95 * np.square(tone.samples).sum()
    assert np.square(click.percussive).sum() > 0.95 * np.square(click.samples).sum()


def test_the_two_parts_add_up_to_the_signal_and_end_where_librosas_do() -> None:
    for padding, end in (("constant", 66149), ("reflect", 129 * 512)):
        analysis = analysed("mix", padding)
        total = analysis.harmonic + analysis.percussive
        np.testing.assert_allclose(total[:, :end], analysis.samples[:, :end], rtol=0, atol=1e-7)
        assert not total[:, end:].any()


def test_what_no_recording_resolves_is_shared_equally() -> None:
    faint = 1e-20 * np.random.default_rng(0).standard_normal(5000)  # librosa would still separate its two parts
    np.testing.assert_allclose(alone(faint).harmonic[0], faint / 2, rtol=0, atol=1e-25)
