"""The model in memory: the answer to a recording equals that of the command line, and limits hold before scoring."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from genregrid.listening.score import score_recordings
from genregrid.page import scorer as scorer_module
from genregrid.page.scorer import PageScorer, Worker, waveform
from genregrid.recording.audio import AudioError


def test_an_answer_equals_that_of_the_command_line(
    checkpoint: Path, recording: Callable[..., Path], tmp_path: Path
) -> None:
    path = recording("low")
    content = PageScorer(checkpoint).score(path, "a song.wav")
    score_recordings(checkpoint, path, tmp_path / "scored")
    row = pd.read_csv(tmp_path / "scored/recordings.csv").iloc[0]
    assert (content["name"], content["verdict"], content["second"]) == ("a song.wav", row["genre"], row["second"])
    assert content["probs"] == pytest.approx([row["p_high"], row["p_low"]], abs=1e-4)
    assert content["decades"] == pytest.approx(row["certainty"], abs=1e-3)
    assert content["timeline"]["edges"] == [0.5 * number for number in range(7)]
    assert (len(content["wave"]), max(content["wave"])) == (330, 1.0)
    assert content["contributions"]["first"]


def test_the_contributions_explain_the_first_genre(checkpoint: Path, recording: Callable[..., Path]) -> None:
    """Tones of another pitch differ in brightness."""
    rows = PageScorer(checkpoint).score(recording("high"), "high.wav")["contributions"]["first"]
    assert any("brightness" in row["name"] or "noisiness" in row["name"] or "timbre" in row["name"] for row in rows)
    assert rows == sorted(rows, key=lambda row: -row["decades"])


def test_a_waveform_shows_where_a_recording_is_loud(tmp_path: Path) -> None:
    samples = np.sin(np.arange(80_000) / 3) * np.repeat([0.1, 0.4], 40_000)
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    peaks = waveform(tmp_path / "a.wav")
    assert len(peaks) == 600
    assert peaks[150] == pytest.approx(0.25, abs=0.01)
    assert peaks[450] == pytest.approx(1.0, abs=0.01)


def test_a_recording_that_is_too_long_is_refused_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(80_000)), 8000)
    monkeypatch.setattr(scorer_module, "MOST_SECONDS", 9.9)
    with pytest.raises(AudioError, match="longer than"):
        waveform(tmp_path / "a.wav")


def test_a_worker_runs_one_task_after_the_other_and_hands_errors_on() -> None:
    worker, running, most = Worker(), [0], [0]

    def task() -> int:
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.01)
        running[0] -= 1
        return threading.get_ident()

    def fails() -> None:
        raise SystemExit

    failed = worker.submit(fails)
    threads = {future.result() for future in [worker.submit(task) for _ in range(4)]}
    assert isinstance(failed.exception(), SystemExit)
    assert (most[0], len(threads)) == (1, 1)
