"""Decode formats that libsndfile does not read with ffmpeg, where it is installed, block by block through a pipe.

The format is given by the first bytes of the file, so no playlist or script in it makes ffmpeg open other files, and
only protocols for files and pipes are allowed.
"""

import os
import re
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

#: A block takes milliseconds; a decoder that writes nothing for so long hangs.
MOST_SECONDS_PER_BLOCK = 300.0
# A damaged file may ask ffmpeg for any amount of memory: 256 MiB for one thing are enough.
_BEFORE = ["-nostdin", "-hide_banner", "-nostats", "-v", "level+info", "-max_alloc", "268435456"]
_READING = ["-threads", "1", "-protocol_whitelist", "file,pipe"]
_WRITING = ["-map", "0:a:0", "-map_metadata", "-1", "-vn", "-sn", "-dn", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
_MOST_CHANNELS = 64
_LONGEST_LINE = 4096  # bytes of standard error that are read at once; a tag may have megabytes
_DURATION = re.compile(r"\s*Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)")
_ORIGIN = re.compile(r"^(?:\[[^\]]* @ [0-9a-fx]+\] )?\[(\w+)\] ")
_MOST_HEADER_BYTES = 1 << 16
_AU_FLOAT = 6  # encoding of 32-bit floats in the header of an au
#: Encoders of these formats pad by some frames, and what ffmpeg prints as the length counts them.
PADDED_SECONDS = 0.25
#: How to install it.
HOW_TO_GET = "`apt install ffmpeg`, `brew install ffmpeg` or `winget install ffmpeg` gets it"
# Kinds of samples in an mp4 that are encrypted, and the two objects of a wma that describe its encryption.
_PROTECTED = [b"drms", b"enca", b"aavd"]
_PROTECTED += map(bytes.fromhex, ("fbb3112223bdd211b4b700a0c955fc6e", "14e68a292226174cb935dae07ee9289c"))


class FfmpegError(RuntimeError):
    """A recording cannot be decoded; the text is the reason."""


class FfmpegSound:
    """A recording that ffmpeg decodes, with the part of soundfile's interface that reading in blocks needs.

    Args:
        path: of the file.
        demuxer: the name of its format in ffmpeg.
        name: of its format, for messages.

    Attributes:
        samplerate: of the recording, in Hz.
        channels: 1 to 64.
        frames: that the header promises; 0 if unknown.
        format: as soundfile names it.

    Raises:
        FfmpegError: ffmpeg is not installed, or cannot open the file.
    """

    format = "FFMPEG"

    def __init__(self, path: Path, demuxer: str, name: str) -> None:
        program = shutil.which("ffmpeg")
        if program is None:
            advice = f"{HOW_TO_GET}, or convert the file to wav, flac, ogg or mp3"
            raise FfmpegError(f"{name} needs ffmpeg, which is not installed; {advice}")
        source = b"file:" + os.path.abspath(os.fsencode(path))  # with it, nothing in a name is an option or a protocol
        command: list[str | bytes] = [program, *_BEFORE, *_READING, "-f", demuxer, "-i", source, *_WRITING]
        environment = {key: value for key, value in os.environ.items() if key != "FFREPORT"}  # it would write a log
        try:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise FfmpegError(f"ffmpeg cannot be started ({error.strerror})") from None
        self._errors: list[str] = []
        self._seconds = 0.0
        self._num_read = 0
        self._has_hung = False
        self._listener = threading.Thread(target=self._listen, args=(os.fsdecode(source),), daemon=True)
        self._listener.start()
        try:
            self.samplerate, self.channels = self._header(path)
        except BaseException:
            self.close()
            raise
        self.frames = round(self._seconds * self.samplerate)  # ffmpeg prints the length before it writes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End ffmpeg."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    @property
    def errors(self) -> str:
        """The first error in a recording that was decoded to its end; empty without one."""
        return self._errors[0] if self._errors else ""

    def read(self, num_frames: int, dtype: str = "float32", always_2d: bool = True) -> NDArray[np.float32]:
        """Return the next frames, (frame, channel) float32, none at the end; both options have one value only.

        Raises:
            FfmpegError: the recording ends before its end.
        """
        size = 4 * self.channels
        data = self._bytes(num_frames * size)
        block = np.frombuffer(data[: len(data) // size * size], ">f4").astype(np.float32).reshape(-1, self.channels)
        self._num_read += len(block)
        if not len(block):
            code = self._process.wait()
            self._listener.join()
            if self._has_hung:
                raise FfmpegError(self._hung())
            if code or (self._errors and self._num_read < self.frames - PADDED_SECONDS * self.samplerate):
                raise FfmpegError(self.errors or f"ffmpeg ended with code {code}")
        return block

    def _hung(self) -> str:
        return f"ffmpeg decoded nothing for {MOST_SECONDS_PER_BLOCK:g} s" if self._has_hung else ""

    def _bytes(self, size: int) -> bytes:
        if self._process.stdout is None:
            raise TypeError("a pipe was asked for")
        with self._watched():
            return self._process.stdout.read(size)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """End ffmpeg if it writes nothing for too long; the read that waits for it then returns."""

        def end() -> None:
            self._has_hung = True
            self._process.kill()

        timer = threading.Timer(MOST_SECONDS_PER_BLOCK, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _header(self, path: Path) -> tuple[int, int]:
        """Read the header of the au that ffmpeg writes; return its rate in Hz and its number of channels."""
        header = self._bytes(24)
        if len(header) < 24:
            self._process.wait()
            self._listener.join()
            if any("matches no streams" in text for text in self._errors):
                raise FfmpegError("holds no sound")
            if _is_protected(path):
                raise FfmpegError("is protected by DRM, so only the shop's own player decodes it")
            raise FfmpegError(f"cannot be decoded: {self.errors or self._hung() or 'ffmpeg writes nothing'}")
        magic, start, _, encoding, rate, channels = struct.unpack(">4s5I", header)
        is_float = magic == b".snd" and encoding == _AU_FLOAT
        if not (is_float and 24 <= start <= _MOST_HEADER_BYTES and 1 <= channels <= _MOST_CHANNELS):
            raise FfmpegError("cannot be decoded: ffmpeg writes another format than it was asked for")
        self._bytes(start - 24)
        return rate, channels

    def _listen(self, source: str) -> None:
        """Read standard error to its end; keep the length in the header, and the first error."""
        pipe = self._process.stderr
        if pipe is None:
            raise TypeError("a pipe was asked for")
        is_estimate = False
        for line in iter(lambda: pipe.readline(_LONGEST_LINE), b""):
            text = line.decode(errors="replace").rstrip()
            level = _ORIGIN.match(text)
            text = text[level.end() :] if level else text
            if (found := _DURATION.match(text)) and not self._seconds and not is_estimate:
                hours, minutes, seconds = found.groups()
                self._seconds = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
            elif "Estimating duration" in text:
                is_estimate = True
            elif level and level[1] in ("error", "fatal") and len(self._errors) < 8:
                self._errors.append(text.replace(f"{source}: ", "").replace(source, "it").rstrip("."))


def _is_protected(path: Path) -> bool:
    """Return whether a file that cannot be decoded says that it is encrypted: an m4p or aax, or a wma."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
        file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 20)))
        data = head + file.read(1 << 20)
    return any(mark in data for mark in _PROTECTED)
