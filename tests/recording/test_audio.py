"""Claims about `genregrid.recording.audio`: what is read, how it becomes mono at 22 050 Hz, and why files are refused.

Every recording is written into `tmp_path`; none is committed.
"""

import contextlib
import errno
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import librosa
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from genregrid.data.columns import SAMPLE_RATE_HZ
from genregrid.features.folder import TrackFile
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.recipe import TableKey
from genregrid.features.workers import describe_file
from genregrid.recording import audio
from genregrid.recording.audio import AudioError
from genregrid.recording.content import content_of

Bend = Callable[[bytearray], bytes]
WAV_HEADER_BYTES = 44  # as soundfile writes 16 bits: RIFF, fmt of 16 bytes, data
RIFF_SIZE, RATE, DATA_SIZE = slice(4, 8), slice(24, 28), slice(40, 44)


def noise(seconds: float = 1.0, rate: int = SAMPLE_RATE_HZ, channels: int = 1, seed: int = 0) -> NDArray[np.float32]:
    """(sample, channel) float32, far from full scale."""
    shape = (round(seconds * rate), channels)
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def write(path: Path, samples: NDArray[np.floating], rate: int = SAMPLE_RATE_HZ, **how: str) -> Path:
    """A recording in the format of its ending; wav as float32, so that what is read is what was written."""
    if path.suffix == ".wav":
        how = {"subtype": "FLOAT", **how}
    soundfile.write(path, samples, rate, **how)
    return path


@pytest.fixture
def pcm(tmp_path: Path) -> Callable[[Bend], Path]:
    """`pcm(bend)` is a second of 16-bit noise with its bytes changed by `bend`."""

    def make(bend: Bend) -> Path:
        path = write(tmp_path / "bent.wav", noise(), subtype="PCM_16")
        path.write_bytes(bend(bytearray(path.read_bytes())))
        return path

    return make


def with_field(place: slice, value: int) -> Bend:
    def bend(data: bytearray) -> bytes:
        data[place] = struct.pack("<I", value)
        return bytes(data)

    return bend


def read_audio(path: Path) -> "Read":
    """Read a recording, with all of its samples."""
    blocks: list[NDArray[np.float32]] = []
    recording = audio.read_audio(path, blocks.append)
    samples = np.concatenate(blocks)
    assert len(samples) == recording.num_samples
    assert np.abs(samples).max() == recording.peak
    return Read(samples, recording.seconds, recording.notes)


class Read(NamedTuple):
    samples: NDArray[np.float32]
    seconds: float
    notes: tuple[str, ...]


def reason(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert "\n" not in str(caught.value)
    assert str(path) not in str(caught.value)  # the caller names the file
    return str(caught.value)


# what is read -------------------------------------------------------------------------------------------------------


def test_mono_at_22050_hz_is_read_unchanged(tmp_path: Path) -> None:
    samples = noise()
    recording = read_audio(write(tmp_path / "a.wav", samples))
    assert recording.samples.dtype == np.float32
    np.testing.assert_array_equal(recording.samples, samples[:, 0])
    assert recording.seconds == 1.0
    assert recording.notes == ()


def test_stereo_is_the_mean_of_its_channels(tmp_path: Path) -> None:
    samples = noise(channels=2)
    recording = read_audio(write(tmp_path / "a.wav", samples))
    np.testing.assert_allclose(recording.samples, (samples[:, 0] + samples[:, 1]) / 2, atol=1e-8)
    assert recording.notes == ()  # every other recording is stereo: nothing to note


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 192_000])
def test_a_resampled_sine_is_the_sine_at_22050_hz(tmp_path: Path, rate: int) -> None:
    def sine(rate: int) -> NDArray[np.float64]:
        return 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)

    samples = read_audio(write(tmp_path / "a.wav", sine(rate), rate)).samples
    assert len(samples) == SAMPLE_RATE_HZ
    inside = slice(1000, -1000)  # at the ends the filter sees the silence before and after
    np.testing.assert_allclose(samples[inside], sine(SAMPLE_RATE_HZ)[inside], atol=1e-4)


def test_resampling_folds_nothing_down_from_above(tmp_path: Path) -> None:
    high = 0.5 * np.sin(2 * np.pi * 15_000 * np.arange(44_100) / 44_100)  # above what 22 050 Hz can hold
    samples = read_audio(write(tmp_path / "a.wav", np.column_stack([high, high]), 44_100)).samples
    assert np.abs(samples[1000:-1000]).max() < 1e-3


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated")  # librosa.load imports audioread
@pytest.mark.parametrize(("rate", "channels"), [(22_050, 1), (44_100, 2), (48_000, 2), (8_000, 1)])
def test_it_reads_what_librosa_reads(tmp_path: Path, rate: int, channels: int) -> None:
    path = write(tmp_path / "a.wav", noise(1.3, rate, channels), rate, subtype="PCM_16")
    expected, _ = librosa.load(path, sr=SAMPLE_RATE_HZ, mono=True)
    samples = read_audio(path).samples
    assert abs(len(samples) - len(expected)) <= 1  # librosa rounds a broken last sample up
    shared = min(len(samples), len(expected))
    np.testing.assert_allclose(samples[:shared], expected[:shared], atol=1e-6)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("block_frames", [1000, 4096, 44_101])
def test_block_by_block_is_the_same_as_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int, block_frames: int
) -> None:
    path = write(tmp_path / "a.wav", noise(2.0, rate, 2), rate)
    whole = read_audio(path).samples
    monkeypatch.setattr(audio, "_BLOCK_FRAMES", block_frames)
    np.testing.assert_allclose(read_audio(path).samples, whole, atol=1e-7)


def tone(rate: int = 44_100) -> NDArray[np.float64]:
    """Two seconds that lossy codecs keep: (sample, 2)."""
    seconds = np.arange(2 * rate) / rate
    mono = 0.3 * np.sin(2 * np.pi * 440 * seconds) + 0.2 * np.sin(2 * np.pi * 1000 * seconds)
    return np.column_stack([mono, mono])


@pytest.mark.parametrize(
    ("name", "how", "tolerance"),
    [
        ("a.flac", {}, 1e-4),
        ("a.au", {}, 1e-4),
        ("a.aiff", {}, 1e-4),
        ("a.WAV", {"subtype": "PCM_24"}, 1e-5),
        ("a.ogg", {}, 0.05),
        ("a.mp3", {}, 0.05),
    ],
)
def test_all_usual_formats_are_read(tmp_path: Path, name: str, how: dict[str, str], tolerance: float) -> None:
    expected = read_audio(write(tmp_path / "reference.wav", tone(), 44_100)).samples
    recording = read_audio(write(tmp_path / name, tone(), 44_100, **how))
    assert recording.notes == ()
    assert len(recording.samples) == pytest.approx(len(expected), rel=0.05)  # mp3 comes in frames
    inside = slice(2000, 40_000)
    np.testing.assert_allclose(recording.samples[inside], expected[inside], atol=tolerance)


@pytest.mark.parametrize("how", [{"format": "RF64"}, {"endian": "BIG"}, {"format": "WAVEX"}], ids=str)
def test_rarer_kinds_of_wav_are_read_without_a_note(tmp_path: Path, how: dict[str, str]) -> None:
    recording = read_audio(write(tmp_path / "a.wav", noise(), subtype="PCM_16", **how))
    assert recording.seconds == 1.0
    assert recording.notes == ()


@pytest.mark.parametrize("name", ["b.wav", "b.mp3", "b.flac", "b.m4a", "b.ogg", "b.dat", "b.MPEG", "b", "b. live"])
@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "aiff", "au"])
def test_a_recording_of_any_name_is_read_by_its_content(tmp_path: Path, ending: str, name: str) -> None:
    path = write(tmp_path / f"a.{ending}", tone(), 44_100, **({"subtype": "PCM_16"} if ending == "wav" else {}))
    expected = read_audio(path)
    renamed = read_audio(path.rename(tmp_path / name))
    np.testing.assert_array_equal(renamed.samples, expected.samples)
    assert renamed.notes == expected.notes


@pytest.mark.parametrize("size", [0, 1000, 200_000])
def test_tags_in_front_hide_no_format(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.flac", noise(), subtype="PCM_16")
    tag = b"ID3\x04\0\0" + bytes(size >> 7 * place & 0x7F for place in (3, 2, 1, 0)) + bytes(size)
    path.write_bytes(tag + path.read_bytes())
    with path.open("rb") as file:
        content = content_of(file)
    assert content is not None
    assert content.name == "flac"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "an HTML page, not audio; download the recording again"),
        (b"\n  <HTML>", "an HTML page, not audio; download the recording again"),
        (b"<?xml version='1.0'?><Error>", "an XML file, not audio; download the recording again"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, not audio; run `git lfs pull`"),
        (b"PK\x03\x04", "a zip archive, not audio; unpack it"),
        (b"%PDF-1.7", "a PDF, not audio"),
        (b"\xff\xd8\xff\xe0", "a picture, not audio"),
        (b"MThd\0\0\0\x06", "MIDI notes, not audio; render them as a wav"),
        (b"#EXTM3U\n/etc/passwd", "a playlist, not audio; put the recordings there"),
    ],
)
@pytest.mark.parametrize("ending", ["mp3", "wav", "m4a"])
def test_what_is_named_like_audio_and_is_not_has_a_clear_reason(
    tmp_path: Path, content: bytes, expected: str, ending: str
) -> None:
    (tmp_path / f"a.{ending}").write_bytes(content)
    assert reason(tmp_path / f"a.{ending}") == expected


# what is noted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "channels", "notes"),
    [
        (8_000, 1, ("8000 Hz: nothing above 4000 Hz to describe",)),
        (11_025, 1, ("11025 Hz: nothing above 5512.5 Hz to describe",)),
        (48_000, 2, ()),
        (192_000, 1, ("resampled from 192000 Hz",)),
        (22_050, 6, ("6 channels averaged",)),
        (96_000, 6, ("resampled from 96000 Hz", "6 channels averaged")),
    ],
)
def test_odd_rates_and_channels_are_used_and_noted(
    tmp_path: Path, rate: int, channels: int, notes: tuple[str, ...]
) -> None:
    recording = read_audio(write(tmp_path / "a.wav", noise(0.5, rate, channels), rate))
    assert recording.seconds == pytest.approx(0.5, abs=1e-4)
    assert recording.notes == notes


def test_six_channels_are_averaged(tmp_path: Path) -> None:
    samples = noise(channels=6)
    recording = read_audio(write(tmp_path / "a.wav", samples))
    np.testing.assert_allclose(recording.samples, samples.mean(axis=1), atol=1e-7)


def test_a_clipped_recording_is_used_and_noted(tmp_path: Path) -> None:
    samples = np.clip(30 * noise(), -1, 1)
    share = 100 * np.mean(np.abs(samples) >= 1)
    recording = read_audio(write(tmp_path / "a.wav", samples, subtype="PCM_16"))
    assert recording.notes == (f"clipped: {share:.1f} % of its samples are at full scale",)


def test_a_loud_master_is_not_noted_as_clipped(tmp_path: Path) -> None:
    samples = noise()
    samples[::200] = 1.0  # half a per cent
    assert read_audio(write(tmp_path / "a.wav", samples, subtype="PCM_16")).notes == ()


def test_a_truncated_wav_is_used_as_far_as_it_goes_and_noted(pcm: Callable[[Bend], Path]) -> None:
    recording = read_audio(pcm(lambda data: data[: WAV_HEADER_BYTES + 22_050]))
    assert recording.seconds == 0.5
    assert recording.notes == ("holds 0.5 s where its header promises 1.0 s; used what is there",)


def test_a_wav_that_promises_hours_is_noted(pcm: Callable[[Bend], Path]) -> None:
    recording = read_audio(pcm(with_field(DATA_SIZE, 1 << 30)))
    assert recording.seconds == 1.0
    assert recording.notes == ("holds 1.0 s where its header promises 24347.9 s; used what is there",)


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000])
def test_a_streamed_wav_of_unknown_length_has_no_note(pcm: Callable[[Bend], Path], size: int) -> None:
    # ffmpeg and sox write this to a pipe, because they cannot go back to set the size
    def bend(data: bytearray) -> bytes:
        return with_field(RIFF_SIZE, size)(bytearray(with_field(DATA_SIZE, size)(data)))

    recording = read_audio(pcm(bend))
    assert recording.seconds == 1.0
    assert recording.notes == ()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_truncated_wav_of_any_width_is_noted(tmp_path: Path, subtype: str) -> None:
    path = write(tmp_path / "a.wav", noise(), subtype=subtype)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "where its header promises 1.0 s" in "".join(read_audio(path).notes)


def test_a_truncated_mp3_is_noted_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", tone(), 44_100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    try:
        recording = read_audio(path)
    except AudioError as error:
        assert "breaks off" in str(error)  # noqa: PT017  # the decoder decides which
    else:
        assert "where its header promises" in recording.notes[0]


# what is refused ----------------------------------------------------------------------------------------------------

NOT_AUDIO = b"Dear diary, today I recorded nothing at all. " * 200


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.wav", b"", "empty, 0 bytes"),
        ("a.mp3", b"", "empty, 0 bytes"),
        ("a.wav", NOT_AUDIO, "named .wav but without a RIFF header"),
        ("a.flac", NOT_AUDIO, "not audio that can be read"),
        ("a.ogg", NOT_AUDIO, "not audio that can be read"),
    ],
)
def test_a_file_that_is_not_audio_is_refused(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason(tmp_path / name) == expected


def test_a_file_that_is_not_an_mp3_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(NOT_AUDIO)
    assert reason(tmp_path / "a.mp3").startswith("not audio that can be read")


def test_a_wav_without_its_riff_header_is_named(pcm: Callable[[Bend], Path]) -> None:
    # only its samples, which a decoder of raw files would play as noise
    assert reason(pcm(lambda data: data[WAV_HEADER_BYTES:])) == "named .wav but without a RIFF header"


@pytest.mark.parametrize("num_bytes", [4, 12, 30])
def test_a_wav_that_ends_in_its_header_is_named(pcm: Callable[[Bend], Path], num_bytes: int) -> None:
    assert reason(pcm(lambda data: data[:num_bytes])) == "not audio that can be read"


def test_a_header_without_samples_is_named(tmp_path: Path, pcm: Callable[[Bend], Path]) -> None:
    assert reason(write(tmp_path / "a.wav", noise(0.0))) == "has a header but no samples"
    assert reason(pcm(lambda data: data[:WAV_HEADER_BYTES])) == "has a header but no samples"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_that_are_not_numbers_are_refused_with_their_time(tmp_path: Path, bad: float, channels: int) -> None:
    samples = noise(channels=channels)
    samples[11_025, -1] = bad
    path = write(tmp_path / "a.wav", samples)
    assert reason(path) == "holds samples that are not numbers, the first at 0.50 s"


def test_the_time_of_a_bad_sample_counts_from_the_start_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "_BLOCK_FRAMES", 1000)
    samples = noise()
    samples[16_538] = np.nan
    assert reason(write(tmp_path / "a.wav", samples)).endswith("the first at 0.75 s")


def test_silence_is_named(tmp_path: Path) -> None:
    assert reason(write(tmp_path / "a.wav", 0 * noise())) == "silent throughout"
    # dither far below what 16 bits can hold
    assert reason(write(tmp_path / "b.wav", 1e-5 * noise())) == "silent throughout"


def test_the_quietest_step_of_16_bits_is_not_silence(tmp_path: Path) -> None:
    samples = np.zeros(SAMPLE_RATE_HZ, np.int16)
    samples[100] = 1
    soundfile.write(tmp_path / "a.wav", samples, SAMPLE_RATE_HZ)
    assert read_audio(tmp_path / "a.wav").seconds == 1.0


@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_stereo_in_anti_phase_is_named_as_silent(tmp_path: Path, rate: int) -> None:
    samples = noise(rate=rate)
    path = write(tmp_path / "a.wav", np.hstack([samples, -samples]), rate)
    assert reason(path) == "silent throughout, as its channels cancel each other"


@pytest.mark.parametrize("rate", [1, 100, 3_999])
def test_rates_that_no_music_has_are_named(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", noise(2, 4000)[:2000], rate)
    assert reason(path) == f"{rate} samples a second; rates of 4000 to 768000 are read"


def test_a_header_that_makes_no_sense_is_named(pcm: Callable[[Bend], Path]) -> None:
    assert reason(pcm(with_field(RATE, 0))) == "not audio that can be read"


def test_a_flac_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise(5.0), subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    recording = read_audio(path)
    (note,) = recording.notes
    assert note.startswith(f"breaks off after {recording.seconds:.1f} s (")
    path.write_bytes(content[: len(content) // 50])
    assert reason(path).startswith("cannot be decoded: ")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    assert reason(tmp_path / "folder.wav") == "cannot be read: Is a directory"
    assert reason(tmp_path / "missing.wav") == "cannot be read: No such file or directory"
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "missing.wav")
    assert reason(tmp_path / "dangling.wav") == "cannot be read: No such file or directory"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise())
    path.chmod(0)
    assert reason(path) == "cannot be read: Permission denied"


@pytest.fixture
def damaged_mp3(tmp_path: Path) -> Path:
    """An mp3 with random bytes in its middle."""
    path = write(tmp_path / "a.mp3", tone(), 44_100)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = np.random.default_rng(0).bytes(
        len(content) // 2 - len(content) // 3
    )
    path.write_bytes(content)
    return path


def test_messages_of_the_decoder_are_not_printed(damaged_mp3: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(AudioError):  # the decoder decides whether the file can be used
        read_audio(damaged_mp3)
    os.write(2, b"later")  # standard error works again
    assert capfd.readouterr().err == "later"


def test_the_decoder_prints_messages_unless_standard_error_is_redirected(
    damaged_mp3: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "_quiet_decoder", contextlib.nullcontext)
    with contextlib.suppress(AudioError):
        read_audio(damaged_mp3)
    version = soundfile.__libsndfile_version__
    assert capfd.readouterr().err, f"libsndfile {version} prints nothing (1.2.2 did): delete _quiet_decoder"


# --- corners -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.au", "a.snd"])
def test_a_file_that_is_not_an_au_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(NOT_AUDIO)
    reason(tmp_path / name)


@pytest.mark.parametrize("name", ["a.au", "a.aiff"])
def test_a_truncated_au_or_aiff_is_noted(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, noise(), subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "where its header promises 1.0 s" in "".join(read_audio(path).notes)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_a_truncated_wav_of_telephone_speech_is_noted(tmp_path: Path, subtype: str) -> None:
    test_a_truncated_wav_of_any_width_is_noted(tmp_path, subtype)


def test_samples_whose_sum_is_no_number_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.full((SAMPLE_RATE_HZ, 2), 3e38, np.float32))
    done = describe_file(TrackFile(path, "rock.00000", "rock"), [TableKey(HandmadeRecipe(), 0.5)])
    assert done.skipped == "its descriptors are not finite: samples reach 3e+38 times full scale"


def test_a_file_that_exists_is_not_reported_as_missing(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(NOT_AUDIO)
    assert "does not exist" not in reason(tmp_path / "a.mp3")


def test_16_bit_stereo_in_anti_phase_is_named_as_silent(tmp_path: Path) -> None:
    samples = noise()
    reason(write(tmp_path / "a.wav", np.hstack([samples, -samples]), subtype="PCM_16"))


def test_stereo_silence_is_not_reported_as_cancelled(tmp_path: Path) -> None:
    assert reason(write(tmp_path / "a.wav", np.zeros((SAMPLE_RATE_HZ, 2)))) == "silent throughout"


# --- what is no recording, and what is made to do harm ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["pipe.wav", "socket.wav", "zero.wav", "link to a pipe.wav"])
def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "pipe.wav":
        os.mkfifo(path)
    elif name == "socket.wav":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(os.path.relpath(path))
    elif name == "zero.wav":
        path.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    assert reason(path) == "a pipe, socket or device, not a file"


def test_a_file_without_a_size_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of /proc have no size; /proc/kmsg waits for the next message."""
    (tmp_path / "a.wav").symlink_to("/proc/self/status")
    monkeypatch.setattr(Path, "open", pytest.fail)
    assert reason(tmp_path / "a.wav") == "empty, 0 bytes"


def test_links_that_lead_nowhere_or_in_circles_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to("b.wav")
    (tmp_path / "b.wav").symlink_to("a.wav")
    assert reason(tmp_path / "a.wav") == "cannot be read: Too many levels of symbolic links"
    (tmp_path / "c.wav").symlink_to("nowhere.wav")
    assert reason(tmp_path / "c.wav") == "cannot be read: No such file or directory"


@pytest.mark.parametrize("name", [b"b\xff.wav", b"\x1b[31m\n.wav", b"a" * 251 + b".wav"])
def test_any_name_that_a_file_can_have_is_read(tmp_path: Path, name: bytes) -> None:
    path = write(tmp_path / "a.wav", noise())
    assert read_audio(path.rename(tmp_path / os.fsdecode(name))).seconds == 1.0


def test_many_channels_are_read_in_smaller_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(0.5, channels=300)
    path = write(tmp_path / "a.wav", samples)
    sizes = []
    original = soundfile.SoundFile.read

    def read(self: soundfile.SoundFile, *args: Any, **kwargs: Any) -> NDArray[np.float32]:
        block: NDArray[np.float32] = original(self, *args, **kwargs)
        sizes.append(block.nbytes)
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    np.testing.assert_allclose(read_audio(path).samples, samples.mean(axis=1), atol=1e-7)
    assert max(sizes) <= 8 << 20


def test_a_header_of_empty_chunks_costs_no_time(tmp_path: Path) -> None:
    """A header without a size of its samples is gigabytes of zeros, which take no room on the disk."""
    path = write(tmp_path / "a.wav", noise(), subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[:36] + b"data" + struct.pack("<I", 0xFFFF_FFFF) + content[44:])
    with path.open("r+b") as file:
        file.seek(36)
        file.write(b"\0" * 8)
        file.truncate(1 << 32)
    start = time.monotonic()
    with path.open("rb") as file:
        audio._promised_bytes(file)
    assert time.monotonic() - start < 1


TRUNCATED = [("a.wav", {"subtype": kind}) for kind in ("MS_ADPCM", "IMA_ADPCM", "GSM610")]
TRUNCATED += [("a.aiff", {"subtype": "IMA_ADPCM"}), ("a.wav", {"format": "RF64", "subtype": "PCM_16"})]
TRUNCATED += [("a.ogg", {}), ("a.opus", {"format": "OGG", "subtype": "OPUS"})]


@pytest.mark.parametrize(("name", "how"), TRUNCATED, ids=str)
def test_a_truncated_compressed_recording_is_noted(tmp_path: Path, name: str, how: dict[str, str]) -> None:
    path = write(tmp_path / name, noise(4.0, 48_000)[:, 0], 48_000, **how)
    assert read_audio(path).notes == ()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    note = read_audio(path).notes[0]
    assert "where its header promises " in note or "its last page is missing" in note


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3"])
def test_a_second_recording_in_a_file_is_noted(tmp_path: Path, name: str) -> None:
    """The decoder ends with the first one."""
    path = write(tmp_path / name, noise(4.0))
    path.write_bytes(2 * path.read_bytes())
    recording = read_audio(path)
    assert recording.seconds == 4.0
    assert "of its bytes come after its end" in "".join(recording.notes)


def test_a_header_without_a_length_promises_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", noise())
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the number of samples, 36 bits
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert read_audio(path)[1:] == (1.0, ())


def test_an_mp3_with_other_bytes_in_front_is_read_by_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp3", noise(4.0))
    path.write_bytes(bytes(range(250)) * 8 + path.read_bytes())
    assert read_audio(path)[1:] == (4.0, ())


def test_no_descriptor_is_lost_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    before = set(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(audio.os, "open", refuse)
        with audio._quiet_decoder():
            pass
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_file_that_shrinks_while_it_is_read_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(5.0), subtype="PCM_16")
    blocks: list[NDArray[np.float32]] = []

    def use(samples: NDArray[np.float32]) -> None:
        blocks.append(samples)
        os.truncate(path, WAV_HEADER_BYTES + 2 * SAMPLE_RATE_HZ)

    recording = audio.read_audio(path, use)
    assert recording.num_samples == sum(map(len, blocks)) < 5 * SAMPLE_RATE_HZ
    assert "where its header promises 5.0 s" in recording.notes[0]


def test_a_file_that_grows_while_it_is_read_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(5.0), subtype="PCM_16")

    def use(_: NDArray[np.float32]) -> None:
        with path.open("ab") as file:
            file.write(b"\0")

    assert audio.read_audio(path, use).notes == ("changed while it was read",)


MUTATE = """
import sys
from pathlib import Path
import numpy as np
from genregrid.recording.audio import AudioError, read_audio

folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
seeds = sorted(path for path in folder.iterdir() if path.stem == "seed")
counts = {"read": 0, "refused": 0}
for number in range(first, last):
    random = np.random.default_rng(number)
    seed = seeds[number % len(seeds)]
    content = bytearray(seed.read_bytes())
    start = int(random.integers(len(content) if number % 3 else min(len(content), 100)))
    stop = start + int(random.choice([1, 4, 100, len(content)]))
    match int(random.integers(4)):
        case 0:
            content[start:stop] = random.bytes(len(content[start:stop]))
        case 1:
            size = int(random.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]))
            content[start : start + 4] = size.to_bytes(4, "little")
        case 2:
            del content[start:stop]
        case 3:
            content[start:start] = content[: stop - start]
    path = folder / f"{number}{seed.suffix}"
    path.write_bytes(content)
    print(number, flush=True)
    try:
        read_audio(path, len)
        counts["read"] += 1
    except AudioError:
        counts["refused"] += 1
    path.unlink()
print(counts)
"""


@pytest.mark.parametrize("num", [150, pytest.param(3000, marks=pytest.mark.torture)])
def test_damaged_files_of_all_formats_are_read_or_refused(tmp_path: Path, num: int) -> None:
    """In a process of its own: a fault of a decoder ends its process."""
    for ending, how in (
        ("wav", {"subtype": "PCM_16"}),
        ("WAV", {"subtype": "IMA_ADPCM"}),
        ("flac", {}),
        ("ogg", {}),
        ("opus", {"format": "OGG", "subtype": "OPUS"}),
        ("mp3", {}),
        ("aiff", {}),
        ("au", {"subtype": "ULAW"}),
        ("caf", {}),
    ):
        write(tmp_path / f"seed.{ending}", tone(48_000)[:24_000], 48_000, **how)
    arguments = [sys.executable, "-c", MUTATE, str(tmp_path), "0", str(num)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-100:] + done.stderr[-2000:]
    assert "refused" in done.stdout
