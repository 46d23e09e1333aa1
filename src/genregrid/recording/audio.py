"""Read recordings of any sample rate and number of channels as mono, at one rate or several."""

import os
import shutil
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from genregrid.data.columns import SAMPLE_RATE_HZ
from genregrid.recording.content import Content, content_of
from genregrid.recording.ffmpeg import PADDED_SECONDS, FfmpegError, FfmpegSound

_BLOCK_FRAMES = 1 << 15  # per channel, 0.7 s at 44 100 Hz; a file that is cut off loses its last block
_BLOCK_VALUES = 1 << 21  # of all channels; only blocks of more than 64 channels have fewer frames
_RATES_HZ = (4_000, 768_000)
_STUDIO_RATE_HZ = 48_000  # higher rates are noted
_SILENT_PEAK = 0.5 / 32_768  # half a step of 16 bits
_FULL_SCALE = 32_767 / 32_768
_CLIPPED_SHARE = 0.01  # loud masters reach full scale now and then; 1 % of the samples is distortion
_SOME_FRAMES_SHORT = 0.01  # share of the length in the header; encoders pad and cut a little
_SOME_BYTES_LEFT = 0.01  # share of a file after its end; tags of text have less
# by the first four bytes of a file: byte order, name of the chunk of samples
_CHUNKED = {b"RIFF": ("<", b"data"), b"RIFX": (">", b"data"), b"RF64": ("<", b"data"), b"FORM": (">", b"SSND")}
_MOST_CHUNKS = 1000  # before that of the samples; a file of zeros is millions of empty chunks
_UNKNOWN_SIZE = 0x7FFF_0000  # programs that write to a pipe put a size from here on, because they do not know it
_UNKNOWN_FRAMES = 1 << 62  # so many and more, where libsndfile does not know
_LONGEST_PAGE = 65_307  # bytes of an Ogg page


class AudioError(Exception):
    """A recording cannot be used; the text is the reason, without the path."""


@dataclass(frozen=True)
class Recording:
    """The length of a recording and what is unusual about it; its samples were passed on while it was read."""

    num_samples: int  # mono, at `rate_hz`
    peak: float  # highest absolute sample, nominally at most 1
    notes: tuple[str, ...]  # what was done to it or is unusual about it, a few words each
    rate_hz: int = SAMPLE_RATE_HZ

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.rate_hz


def read_audio(path: Path, use: Callable[..., object], rates_hz: Sequence[int] = (SAMPLE_RATE_HZ,)) -> Recording:
    """Read a recording block by block; average its channels, and resample other rates (soxr, high quality).

    Memory does not grow with the length of the recording, nor with its channels and its rate.

    Args:
        path: of the file.
        use: is called with each block of samples, once at every rate: one argument per rate, (sample,) float32, mono,
            finite and nominally in [-1, 1]. Blocks may be empty. An error may still follow: then the recording must not
            be used.
        rates_hz: sample rates, different ones. The length and the peak of the recording are those at the first.

    Raises:
        AudioError: the file cannot be read, is not audio, is silent, or holds samples that are not finite.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
            raise AudioError("a pipe, socket or device, not a file")  # a pipe waits for a writer, a device has no end
        if not state.st_size:  # files of /proc have no size either, and some of them wait as a pipe does
            raise AudioError("empty, 0 bytes")
        with path.open("rb") as file:
            content = content_of(file)
        if content is not None and not content.demuxer:
            raise AudioError(f"{content.name}, not audio" + (f"; {content.hint}" if content.hint else ""))
        if content is None and path.suffix.lower() == ".wav":
            raise AudioError("named .wav but without a RIFF header")
        with path.open("rb", buffering=0) as opened, _opened(path, opened, content) as sound:
            if sound.format == "RAW":  # libsndfile reads any file named .au as raw samples
                raise AudioError("not audio that can be read: it has no header")
            recording = _read(sound, path, opened, use, rates_hz)
            now = os.fstat(opened.fileno())
        if (now.st_size, now.st_mtime_ns) != (state.st_size, state.st_mtime_ns):  # as a download that is not complete
            return replace(recording, notes=(*recording.notes, "changed while it was read"))
        return recording
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror or error}") from None


def _opened(path: Path, file: FileIO, content: Content | None) -> "soundfile.SoundFile | FfmpegSound":
    """Open a recording with libsndfile, or with ffmpeg where libsndfile does not read what it holds.

    libsndfile is given the open file, whose position then shows what was read; if that fails, the name. A few files,
    such as an mp3 with other bytes in front, are only known by the end of their name.
    """
    if content is None or content.is_for_libsndfile:
        with _quiet_decoder():
            for source in (file.fileno(), os.fsencode(path)):  # as bytes, for names that are not UTF-8
                with suppress(soundfile.LibsndfileError, OSError, ValueError, TypeError, RuntimeError):
                    sound = soundfile.SoundFile(source, closefd=not isinstance(source, int))
                    # soundfile seeks to its own position after each block; in some mp3s this is wrong by hundreds of
                    # samples
                    sound.seekable = lambda: False
                    return sound
                file.seek(0)
    # a wav or ogg may have a codec that libsndfile lacks; an mp3 or flac that it does not read is damaged
    is_container = content is not None and content.name in ("wav", "w64", "aiff", "caf", "ogg")
    if content is not None and (not content.is_for_libsndfile or (is_container and shutil.which("ffmpeg"))):
        try:
            return FfmpegSound(path, content.demuxer, content.name)
        except FfmpegError as error:
            if not content.is_for_libsndfile:
                raise AudioError(str(error)) from None
    raise AudioError("not audio that can be read")


@dataclass
class _Tally:
    """Counts while a file is read: frames, samples at full scale, highest peak, and the error that ended the file."""

    num_frames: int = 0
    num_full_scale: int = 0
    peak: float = 0.0
    fault: str = ""


def _read(
    sound: soundfile.SoundFile, path: Path, file: FileIO, use: Callable[..., object], rates_hz: Sequence[int]
) -> Recording:
    rate = sound.samplerate
    if not _RATES_HZ[0] <= rate <= _RATES_HZ[1]:
        raise AudioError(f"{rate} samples a second; rates of {_RATES_HZ[0]} to {_RATES_HZ[1]} are read")
    is_by_ffmpeg = isinstance(sound, FfmpegSound)
    promised = sound.frames if is_by_ffmpeg else _promised_frames(path, sound)  # before the file can change
    tally = _Tally()
    num_samples, peak = 0, 0.0
    for samples, *others in _resampled(_blocks(sound, tally), rate, rates_hz):
        num_samples += len(samples)
        peak = float(np.maximum(peak, np.abs(samples).max(initial=0)))  # unlike max, it keeps what is no number
        use(samples, *others)
    if tally.num_frames == 0:
        raise AudioError(f"cannot be decoded: {tally.fault}" if tally.fault else "has a header but no samples")
    if peak <= _SILENT_PEAK:
        cancelled = ", as its channels cancel each other" if tally.peak > _SILENT_PEAK else ""
        raise AudioError(f"silent throughout{cancelled}")
    notes = tuple(_notes(sound, tally, promised, path, file, max(rates_hz)))
    return Recording(num_samples, peak, notes, rates_hz[0])


def _resampled(
    blocks: Iterator[NDArray[np.float32]], rate: int, rates_hz: Sequence[int]
) -> Iterator[list[NDArray[np.float32]]]:
    """Yield blocks of (frame, channel) at `rate` as blocks of (sample,), one for each of the wanted rates."""
    resamplers = [
        soxr.ResampleStream(rate, wanted, 1, dtype="float32") if wanted != rate else None for wanted in rates_hz
    ]
    for block in blocks:
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64).astype(np.float32)
        yield [mono if resampler is None else resampler.resample_chunk(mono) for resampler in resamplers]
    none = np.empty(0, np.float32)
    yield [none if resampler is None else resampler.resample_chunk(none, last=True) for resampler in resamplers]


def _blocks(sound: soundfile.SoundFile, tally: _Tally) -> Iterator[NDArray[np.float32]]:
    """Yield blocks of (frame, channel) until the end or the first error, and count."""
    num_frames = max(1, min(_BLOCK_FRAMES, _BLOCK_VALUES // sound.channels))
    while True:
        try:
            with _quiet_decoder():
                block = sound.read(num_frames, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, RuntimeError) as error:
            text = str(getattr(error, "error_string", "") or error)
            tally.fault = " ".join(text.split()).removeprefix("Error : ").rstrip(".")
            return
        if not len(block):
            return
        finite = np.isfinite(block)
        if not finite.all():
            seconds = (tally.num_frames + int(np.argmin(finite.all(axis=1)))) / sound.samplerate
            raise AudioError(f"holds samples that are not numbers, the first at {seconds:.2f} s")
        loudness = np.abs(block)
        tally.num_frames += len(block)
        tally.num_full_scale += int(np.count_nonzero(loudness >= _FULL_SCALE))
        tally.peak = max(tally.peak, float(loudness.max()))
        yield block


def _notes(
    sound: soundfile.SoundFile, tally: _Tally, promised: int, path: Path, file: FileIO, wanted_hz: int
) -> Iterator[str]:
    rate, num_read = sound.samplerate, tally.num_frames
    padded = PADDED_SECONDS * rate if isinstance(sound, FfmpegSound) else 0
    if tally.fault:
        yield f"breaks off after {num_read / rate:.1f} s ({tally.fault}); used what is there"
    elif num_read < (1 - _SOME_FRAMES_SHORT) * promised - padded:
        yield f"holds {num_read / rate:.1f} s where its header promises {promised / rate:.1f} s; used what is there"
    elif (left := _share_left(file)) > _SOME_BYTES_LEFT:
        # libsndfile reads the first of several Ogg or mp3 files that were joined
        yield f"{100 * left:.0f} % of its bytes come after its end and are not used: tags, or another recording"
    elif _is_cut_off(path):
        yield f"breaks off after {num_read / rate:.1f} s (its last page is missing); used what is there"
    elif isinstance(sound, FfmpegSound) and sound.errors:
        yield f"decoded with errors ({sound.errors})"
    full_scale = tally.num_full_scale / (num_read * sound.channels)
    if full_scale >= _CLIPPED_SHARE:
        yield f"clipped: {100 * full_scale:.1f} % of its samples are at full scale"
    if rate < wanted_hz:
        yield f"{rate} Hz: nothing above {rate / 2:g} Hz to describe"
    elif rate > _STUDIO_RATE_HZ:
        yield f"resampled from {rate} Hz"
    if sound.channels > 2:
        yield f"{sound.channels} channels averaged"


def _promised_frames(path: Path, sound: soundfile.SoundFile) -> int:
    """Return the frames that the header promises, 0 if unknown; of a wav, aiff or au libsndfile counts those there."""
    if sound.frames >= _UNKNOWN_FRAMES:
        return 0
    with path.open("rb") as file:
        first, size = _promised_bytes(file) or (0, 0)
        held = file.seek(0, os.SEEK_END) - first
    return int(sound.frames) if size <= held or held <= 0 else int(sound.frames) * size // held


def _promised_bytes(file: BinaryIO) -> tuple[int, int] | None:
    """Return where the samples of a wav, aiff or au begin, and their bytes by its header.

    ``None`` for other files, or an unknown size.
    """
    magic = file.read(4)
    if magic == b".snd":
        first, size = struct.unpack(">II", file.read(8).ljust(8, b"\xff"))
        return None if size >= _UNKNOWN_SIZE else (first, size)
    if magic not in _CHUNKED:
        return None
    byte_order, samples_name = _CHUNKED[magic]
    file.seek(12)
    large_size = _UNKNOWN_FRAMES  # of the samples of an RF64, in its first chunk
    for _ in range(_MOST_CHUNKS):
        if len(chunk := file.read(8)) < 8:
            break
        name, size = struct.unpack(f"{byte_order}4sI", chunk)
        start = file.tell()
        if name == b"ds64":
            large_size = int.from_bytes(file.read(16)[8:], "little")
        if name == samples_name and magic == b"RF64" and size == 0xFFFF_FFFF:
            return None if large_size >= _UNKNOWN_FRAMES else (start, large_size)
        if name == samples_name:
            return None if size >= _UNKNOWN_SIZE else (start, int(size))
        file.seek(start + size + size % 2)
    return None


def _share_left(file: FileIO) -> float:
    """Return the share of a file that its decoder did not read; 0 if the decoder opened it by its name."""
    size, position = os.fstat(file.fileno()).st_size, file.tell()
    return (size - position) / size if size and position else 0.0


def _is_cut_off(path: Path) -> bool:
    """Return whether the last page of an Ogg file is not marked as the last of its stream."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_PAGE))
        tail = file.read(_LONGEST_PAGE)
    last = tail.rfind(b"OggS")
    return not (0 <= last < len(tail) - 5 and tail[last + 5] & 4)


@contextmanager
def _quiet_decoder() -> Iterator[None]:
    """Redirect file descriptor 2 to nowhere while the decoder works.

    The mp3 decoder in libsndfile prints to it directly, and libsndfile 1.2 has no option against it (its issue 958).
    """
    with ExitStack() as undone:
        with suppress(OSError):  # the process has no standard error, or no descriptor left
            kept = os.dup(2)
            undone.callback(os.close, kept)
            nothing = os.open(os.devnull, os.O_WRONLY)
            undone.callback(os.close, nothing)
            os.dup2(nothing, 2)
            undone.callback(os.dup2, kept, 2)
        yield
