"""Recordings as the descriptors want them: mono at 22 050 Hz, whatever rate and channels the file has."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from genregrid.data.feature_csv import SAMPLE_RATE_HZ
from genregrid.errors import UserError

#: Endings of the files that libsndfile reads; GTZAN's own files end in .au.
READABLE_SUFFIXES = frozenset(
    {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".snd", ".caf"}
)
#: Audio that libsndfile does not read.
UNREADABLE_SUFFIXES = frozenset({".m4a", ".mp4", ".aac", ".wma", ".ape", ".mpc", ".wv", ".ra", ".amr"})

_BLOCK_FRAMES = 1 << 18  # a quarter of a million samples of every channel at a time, 12 s of 22 050 Hz
_RATES_HZ = (4_000, 768_000)
_STUDIO_RATE_HZ = 48_000  # rates up to it are ordinary
_SILENT_PEAK = 0.5 / 32_768  # below half a step of 16 bits
_FULL_SCALE = 32_767 / 32_768
_CLIPPED_SHARE = 0.01  # loud masters touch full scale here and there; a hundredth of the samples is distortion
_SOME_FRAMES_SHORT = 0.01  # of the length that the header promises; encoders pad and cut a little


class AudioError(UserError):
    """A recording that cannot be used; its text is the reason, without the path."""


@dataclass(frozen=True)
class Recording:
    """A recording, mono at 22 050 Hz.

    Attributes:
        samples: (sample,) float32, finite, nominally in [-1, 1].
        notes: what was done to it or is odd about it, a few words each.
    """

    samples: NDArray[np.float32]
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / SAMPLE_RATE_HZ


def read_audio(path: Path) -> Recording:
    """Read a recording block by block: channels are averaged, other rates resampled (soxr, high quality).

    Memory is that of the mono signal, not of the file's channels and rate.

    Raises:
        AudioError: the file cannot be read, is no audio, is silent, or holds samples that are no numbers.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}") from None
    if not head:
        raise AudioError("empty, 0 bytes")
    if path.suffix.lower() == ".wav" and head[:4] not in (b"RIFF", b"RIFX", b"RF64"):
        raise AudioError("named .wav but without a RIFF header")
    with _quiet_decoder():
        try:
            file = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise AudioError(f"not audio that can be read ({_words(error)})") from None
        with file:
            return _read(file, _promised_frames(path, file))


def _read(file: soundfile.SoundFile, promised: int) -> Recording:
    rate = file.samplerate
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise AudioError(f"{rate} samples a second; rates of {_RATES_HZ[0]} to {_RATES_HZ[1]} are read")
    resampler = soxr.ResampleStream(rate, SAMPLE_RATE_HZ, 1, dtype="float32") if rate != SAMPLE_RATE_HZ else None
    blocks, num_read, num_full_scale = [], 0, 0
    for block in _blocks(file):
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            seconds = (num_read + int(np.argmin(finite))) / rate
            raise AudioError(f"holds samples that are not numbers, the first at {seconds:.2f} s")
        num_read += len(block)
        num_full_scale += int((np.abs(block).max(axis=1) >= _FULL_SCALE).sum())
        mono = block.mean(axis=1)
        blocks.append(mono if resampler is None else resampler.resample_chunk(mono))
    if num_read == 0:
        raise AudioError("has a header but no samples")
    if resampler is not None:
        blocks.append(resampler.resample_chunk(np.empty(0, np.float32), last=True))
    samples = np.concatenate(blocks)
    if np.abs(samples).max(initial=0) < _SILENT_PEAK:
        raise AudioError("silent throughout" + (", once its channels are averaged" if file.channels > 1 else ""))
    return Recording(samples, tuple(_notes(file, num_read, promised, num_full_scale / num_read)))


def _blocks(file: soundfile.SoundFile) -> Iterator[NDArray[np.float32]]:
    """Blocks of (frame, channel) until the file ends."""
    num_read = 0
    while True:
        try:
            block = file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            raise AudioError(f"breaks off after {num_read / file.samplerate:.1f} s ({_words(error)})") from None
        if not len(block):
            return
        num_read += len(block)
        yield block


def _notes(file: soundfile.SoundFile, num_read: int, promised: int, full_scale: float) -> Iterator[str]:
    rate = file.samplerate
    if num_read < (1 - _SOME_FRAMES_SHORT) * promised:
        yield f"holds {num_read / rate:.1f} s where its header promises {promised / rate:.1f} s; used what is there"
    if full_scale >= _CLIPPED_SHARE:
        yield f"clipped: {100 * full_scale:.1f} % of its samples are at full scale"
    if rate < SAMPLE_RATE_HZ:
        yield f"{rate} Hz: nothing above {rate / 2:g} Hz to describe"
    elif rate > _STUDIO_RATE_HZ:
        yield f"resampled from {rate} Hz"
    if file.channels > 2:
        yield f"{file.channels} channels averaged"


def _promised_frames(path: Path, file: soundfile.SoundFile) -> int:
    """Frames that the header promises; libsndfile tells those of a wav that are there."""
    if path.suffix.lower() != ".wav" or file.format not in ("WAV", "WAVEX"):
        return int(file.frames)
    size = _data_bytes(path)
    frame_bytes = file.channels * {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8, "PCM_U8": 1}.get(
        file.subtype, 0
    )
    return size // frame_bytes if size and frame_bytes else int(file.frames)


def _data_bytes(path: Path) -> int | None:
    """Size of a wav's data chunk by its header; ``None`` where a writer of streams left it open."""
    with path.open("rb") as file:
        byte_order = ">" if file.read(4) == b"RIFX" else "<"
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            name, size = struct.unpack(f"{byte_order}4sI", chunk)
            if name == b"data":
                return None if size >= 0x7FFF_0000 else int(size)
            file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _words(error: BaseException) -> str:
    """The reason in a library's error, without its mention of the path."""
    text = str(getattr(error, "error_string", "") or error)
    return " ".join(text.split()).rstrip(".")


@contextmanager
def _quiet_decoder() -> Iterator[None]:
    """Keep the mp3 decoder's own remarks off the screen: it writes to standard error, past Python."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
