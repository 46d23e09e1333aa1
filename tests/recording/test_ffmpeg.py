"""Claims about `genregrid.recording.ffmpeg`: what it is asked for, what comes of its output, and that it never hangs.

Most tests run a small program in its place. Those of the real one are skipped where it is not installed.
"""

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from genregrid.recording import audio, ffmpeg
from genregrid.recording.audio import AudioError, Recording
from genregrid.recording.ffmpeg import FfmpegSound

FFMPEG = shutil.which("ffmpeg")
needs_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="ffmpeg is not installed")
M4A = b"\0\0\0\x20ftypM4A \0\0\2\0"

# It does what the JSON at the end of its input asks for.
FAKE = """#!{python} -IS
import json, struct, sys, time
arguments = sys.argv[1:]
source = arguments[arguments.index("-i") + 1]
with open(source.removeprefix("file:"), "rb") as file:
    content = file.read()
how = json.loads(content[content.index(b"{{") :])
with open({log!r}, "w") as file:
    json.dump(arguments, file)
sys.stderr.write(how.get("stderr", "").replace("SOURCE", source))
sys.stderr.flush()
rate, channels, frames = how.get("rate", 22050), how.get("channels", 1), how.get("frames", 22050)
if frames is not None:
    out = sys.stdout.buffer
    out.write(struct.pack(">4s5I", b".snd", 32, 0xFFFFFFFF, 6, rate, channels) + bytes(8))
    for start in range(0, frames, 4096):
        block = (0.5 * (-1) ** (n % 2) for n in range(start, min(start + 4096, frames)) for _ in range(channels))
        values = list(block)
        out.write(struct.pack(f">{{len(values)}}f", *values))
    out.flush()
time.sleep(how.get("sleep", 0))
sys.exit(how.get("code", 0))
"""


@pytest.fixture
def arguments_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program called ffmpeg on PATH, alone; the file of this path then has its arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "ffmpeg"
    program.write_text(FAKE.format(python=sys.executable, log=str(tmp_path / "arguments.json")))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return tmp_path / "arguments.json"


@pytest.fixture
def m4a(tmp_path: Path, arguments_path: Path) -> Callable[..., Path]:
    """`m4a(frames=100, rate=44100)` is a file that the program in ffmpeg's place decodes as asked."""

    def make(name: str = "a.m4a", content: bytes = M4A, **how: Any) -> Path:
        path = tmp_path / name
        path.write_bytes(content + json.dumps(how).encode())
        return path

    return make


def read(path: Path) -> tuple[NDArray[np.float32], Recording]:
    blocks: list[NDArray[np.float32]] = []
    recording = audio.read_audio(path, blocks.append)
    return np.concatenate(blocks), recording


def reason(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert str(path) not in str(caught.value)
    return str(caught.value)


def test_the_samples_are_those_that_ffmpeg_writes(m4a: Callable[..., Path]) -> None:
    samples, recording = read(m4a(frames=66_150))
    np.testing.assert_array_equal(samples, 0.5 * np.tile([1, -1], 33_075).astype(np.float32))
    assert recording.notes == ()


def test_its_rate_and_channels_are_treated_as_those_of_other_formats(m4a: Callable[..., Path]) -> None:
    _, recording = read(m4a(frames=16_000, rate=8_000, channels=6))
    assert recording.seconds == pytest.approx(2)
    assert recording.notes == ("8000 Hz: nothing above 4000 Hz to describe", "6 channels averaged")


@pytest.mark.parametrize(
    "name", ["-y.m4a", "concat:a|b.m4a", "a%d.m4a", "pipe:0.m4a", "data:,x.m4a", "a b'\"$(x).m4a", "音.m4a", "a\nb.m4a"]
)
def test_nothing_in_a_name_is_an_option_or_a_protocol(
    m4a: Callable[..., Path], arguments_path: Path, name: str, tmp_path: Path
) -> None:
    m4a(name)
    assert read(Path(name))[1].seconds == 1  # the tests work in tmp_path
    arguments = json.loads(arguments_path.read_text())
    assert arguments.count(f"file:{tmp_path / name}") == 1
    assert arguments[arguments.index("-protocol_whitelist") + 1] == "file,pipe"
    assert arguments[arguments.index("-f") + 1] == "mov"
    assert not [argument for argument in arguments if argument != f"file:{tmp_path / name}" and name in argument]


@pytest.mark.parametrize(
    ("content", "demuxer"),
    [
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"MAC \x96\x0f", "ape"),
        (b"wvpk", "wv"),
        (b"MPCK", "mpc8"),
        (b"ID3\x04\0\0\0\0\0\x02\0\0MAC \x96\x0f", "ape"),
        (b"RIFF\x24\0\0\0WAVE", "wav"),  # a wav of a codec that libsndfile does not read
    ],
)
@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a"])
def test_the_content_and_not_the_name_gives_the_format(
    m4a: Callable[..., Path], arguments_path: Path, content: bytes, demuxer: str, name: str
) -> None:
    assert read(m4a(name, content))[1].seconds == 1
    arguments = json.loads(arguments_path.read_text())
    assert arguments[arguments.index("-f") + 1] == demuxer


@pytest.mark.parametrize("content", [b"ffconcat version 1.0\n", b"#EXTM3U\n", b"[Script Info]\n", b"P6 1 1 255\n"])
def test_what_is_no_known_audio_never_reaches_ffmpeg(
    m4a: Callable[..., Path], arguments_path: Path, content: bytes
) -> None:
    reason(m4a("a.m4a", content))
    assert not arguments_path.exists()


def test_without_ffmpeg_the_reason_has_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(M4A)
    assert reason(tmp_path / "a.m4a").startswith(
        "m4a or mp4 needs ffmpeg, which is not installed; `apt install ffmpeg`"
    )
    (tmp_path / "a.mp3").write_bytes(M4A)
    assert "or convert the file to wav, flac, ogg or mp3" in reason(tmp_path / "a.mp3")


DURATION = "[info]   Duration: 00:00:03.00, start: 0.0\n"
PARTIAL = "breaks off after 1.0 s (stream 0, offset 0xa1f6: partial file); used what is there"
FAULT = "[mov,mp4 @ 0x55f2] [error] stream 0, offset 0xa1f6: partial file\n[error] SOURCE: Invalid data found\n"


@pytest.mark.parametrize(
    ("how", "notes"),
    [
        ({"stderr": DURATION}, ("holds 1.0 s where its header promises 3.0 s; used what is there",)),
        (
            {"stderr": DURATION + FAULT},
            (PARTIAL,),
        ),
        (
            {"stderr": FAULT, "code": 1},
            (PARTIAL,),
        ),
        ({"code": -9}, ("breaks off after 1.0 s (ffmpeg ended with code 247); used what is there",)),
        ({"stderr": FAULT}, ("decoded with errors (stream 0, offset 0xa1f6: partial file)",)),
        ({"stderr": DURATION.replace("03", "01")}, ()),
        ({"stderr": "[warning] Estimating duration from bitrate, this may be inaccurate\n" + DURATION}, ()),
        ({"stderr": "[info]     title   : Duration: 09:00:00.00\n"}, ()),
        ({"stderr": "[info]   Duration: N/A, bitrate: N/A\n" + "[info] x" * 100_000}, ()),
    ],
)
def test_a_truncated_file_is_noted(m4a: Callable[..., Path], how: dict[str, Any], notes: tuple[str, ...]) -> None:
    assert read(m4a(**how))[1].notes == notes


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"stderr": "[mov @ 0x1] [error] moov atom not found\n", "code": 1}, "cannot be decoded: moov atom not found"),
        ({"stderr": "[error] SOURCE: Invalid data found\n", "code": 1}, "cannot be decoded: Invalid data found"),
        ({"stderr": "[fatal] Stream map '0:a:0' matches no streams.\n", "code": 1}, "holds no sound"),
        ({"code": 1}, "cannot be decoded: ffmpeg writes nothing"),
    ],
)
def test_what_cannot_be_decoded_has_one_reason(m4a: Callable[..., Path], how: dict[str, Any], expected: str) -> None:
    assert reason(m4a(frames=None, **how)) == expected


def test_a_header_without_samples_is_named(m4a: Callable[..., Path]) -> None:
    assert reason(m4a(frames=0)) == "has a header but no samples"


@pytest.mark.parametrize("mark", [b"drms", b"enca", bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")])
def test_a_protected_recording_is_named(m4a: Callable[..., Path], mark: bytes) -> None:
    assert "protected by DRM" in reason(m4a(content=M4A + mark, frames=None, code=1))


@pytest.mark.parametrize("frames", [None, 22_050])
def test_an_ffmpeg_that_hangs_is_ended(
    m4a: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, frames: int | None
) -> None:
    monkeypatch.setattr(ffmpeg, "MOST_SECONDS_PER_BLOCK", 0.5)
    path = m4a(frames=frames, sleep=60)
    if frames is None:
        assert reason(path) == "cannot be decoded: ffmpeg decoded nothing for 0.5 s"
    else:
        assert read(path)[1].notes == ("breaks off after 1.0 s (ffmpeg decoded nothing for 0.5 s); used what is there",)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_ffmpeg_ends_when_reading_is_interrupted(
    m4a: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    close = FfmpegSound.close

    def remember(sound: FfmpegSound) -> None:
        started.append(sound._process)
        close(sound)

    def interrupt(_: object) -> None:
        raise error

    monkeypatch.setattr(FfmpegSound, "close", remember)
    with pytest.raises(error):
        audio.read_audio(m4a(frames=2_000_000, sleep=60), interrupt)
    (process,) = started
    assert process.returncode is not None


def test_memory_does_not_grow_with_the_recording(m4a: Callable[..., Path]) -> None:
    path = m4a(frames=2_000_000)  # 8 MB
    tracemalloc.start()
    try:
        recording = audio.read_audio(path, len)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert recording.num_samples == 2_000_000
    assert peak < 2_000_000


def test_a_variable_for_log_files_has_no_effect(
    m4a: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = m4a()
    if FFMPEG is not None:
        monkeypatch.setenv("PATH", os.path.dirname(FFMPEG))
    monkeypatch.setenv("FFREPORT", f"file={tmp_path}/report.log")
    with contextlib.suppress(AudioError):
        read(path)
    assert not (tmp_path / "report.log").exists()


# the real one -------------------------------------------------------------------------------------------------------


def converted(path: Path, *options: str, seconds: float = 4) -> Path:
    tone = f"sine=440:duration={seconds}:sample_rate=44100"
    command = [str(FFMPEG), "-nostdin", "-v", "error", "-f", "lavfi", "-i", tone, "-ac", "2", *options, str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


@needs_ffmpeg
@pytest.mark.parametrize("ending", ["m4a", "aac", "wma", "webm", "mka", "wv", "tta", "ac3", "mp4"])
def test_real_formats_are_the_tone_that_was_written(tmp_path: Path, ending: str) -> None:
    samples, recording = read(converted(tmp_path / f"a.{ending}"))
    assert recording.notes == ()
    assert recording.seconds == pytest.approx(4, abs=0.1)
    inside = samples[20_000:60_000]
    frequency = np.argmax(np.abs(np.fft.rfft(inside))) * 22_050 / len(inside)
    assert frequency == pytest.approx(440, abs=1)
    assert np.abs(inside).max() == pytest.approx(0.125 / 2**0.5, rel=0.1)


@needs_ffmpeg
def test_a_real_m4a_that_breaks_off_is_noted_or_refused(tmp_path: Path) -> None:
    whole = converted(tmp_path / "a.m4a", "-movflags", "+faststart").read_bytes()
    (tmp_path / "front.m4a").write_bytes(whole[: len(whole) // 2])
    (note,) = read(tmp_path / "front.m4a")[1].notes
    assert note.startswith("breaks off after 1.")
    whole = converted(tmp_path / "b.m4a").read_bytes()
    (tmp_path / "end.m4a").write_bytes(whole[: len(whole) // 2])
    assert reason(tmp_path / "end.m4a") == "cannot be decoded: moov atom not found"


@needs_ffmpeg
def test_a_real_video_without_sound_is_named(tmp_path: Path) -> None:
    options = ["-f", "lavfi", "-i", "color=size=16x16:duration=1", "-an", "-c:v", "mpeg4"]
    subprocess.run([str(FFMPEG), "-v", "error", *options, str(tmp_path / "a.mp4")], check=True, timeout=60)
    assert reason(tmp_path / "a.mp4") == "holds no sound"
