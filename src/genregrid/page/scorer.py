"""A model that is kept in memory and scores one recording after the other, in a thread of its own."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from genregrid.listening.contribution import Contribution, contributions
from genregrid.listening.score import Scorer
from genregrid.listening.timeline import ScoredRecording
from genregrid.page.answer import answer
from genregrid.page.limit import MOST_SECONDS, TOO_LONG
from genregrid.recording.audio import AudioError, read_audio

_RATE_HZ = 8000  # of the samples that the picture of the waveform is made of
_BLOCK = 80  # samples of a peak: 10 ms
_MOST_PEAKS = 600


class PageScorer:
    """A model that scores recordings for the page.

    Args:
        checkpoint: as for `genregrid.listening.score.Scorer`.

    Attributes:
        genres: names in the order of the model's probabilities.
        about: what the model is, and how good it is if that is known.
        marks: warnings about its training.

    Raises:
        UserError: the checkpoint cannot score recordings.
    """

    def __init__(self, checkpoint: Path) -> None:
        self._scorer = Scorer(checkpoint)
        self.genres = list(self._scorer.model.genres)
        self.about = self._scorer.about
        self.marks = [str(mark) for mark in self._scorer.trained.facts.marks]

    def score(self, path: Path, name: str) -> dict[str, Any]:
        """Score one recording; `name` is for readers.

        Raises:
            AudioError: it cannot be read, is too short or too long.
            UserError: the model's predictions are not finite.
        """
        wave = waveform(path)
        recording = self._scorer.score(path)
        return answer(recording, name, wave=wave, contributions=self._contributions(recording))

    def _contributions(self, recording: ScoredRecording) -> list[Contribution]:
        """Compare the two most probable genres of a recording."""
        if recording.features is None:
            return []
        first, second = np.argsort(-recording.total, kind="stable")[:2].tolist()
        settings, card = self._scorer.settings, self._scorer.trained.card
        windows = settings.window_slices, settings.hop_slices
        with threadpool_limits(1):
            found = contributions(self._scorer.model, recording.features, *windows, (first, second))
        # the odds that are shown are those of calibrated probabilities
        temperature = 1.0 if card is None else card.temperature
        return [one._replace(decades=one.decades / temperature) for one in found]


def waveform(path: Path) -> list[float]:
    """Return peaks of equal parts of a recording, 0 to 1, of which the highest is 1.

    Raises:
        AudioError: it cannot be read, or is too long.
    """
    peaks: list[NDArray[np.float32]] = []
    rest = np.empty(0, np.float32)
    num_samples = 0

    def use(samples: NDArray[np.float32]) -> None:
        nonlocal rest, num_samples
        num_samples += len(samples)
        if num_samples > MOST_SECONDS * _RATE_HZ:
            raise AudioError(TOO_LONG)
        samples = np.append(rest, samples)
        whole = len(samples) // _BLOCK * _BLOCK
        peaks.append(np.abs(samples[:whole]).reshape(-1, _BLOCK).max(axis=1))
        rest = samples[whole:]

    read_audio(path, use, [_RATE_HZ])
    if len(rest):
        peaks.append(np.abs(rest).max(keepdims=True))
    every = np.concatenate(peaks)
    starts = np.unique(np.linspace(0, len(every), _MOST_PEAKS, endpoint=False).astype(np.int64))
    shown = np.maximum.reduceat(every, starts)
    return [float(peak) for peak in shown / max(float(shown.max()), 1e-9)]


class Worker:
    """Run functions one after the other in one thread, which ends with the process whatever it is doing."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True, name="genregrid-score").start()

    def submit(self, task: Callable[[], Any]) -> "Future[Any]":
        """Run a function after those that were submitted before."""
        future: Future[Any] = Future()
        self._tasks.put((task, future))
        return future

    def _work(self) -> None:
        torch.set_num_threads(1)  # the number is that of a thread
        while True:
            task, future = self._tasks.get()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(task())
                except BaseException as error:  # whoever waits for the result gets it
                    future.set_exception(error)
