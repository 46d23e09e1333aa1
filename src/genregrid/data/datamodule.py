"""The DataModule of all models: batches of windows from a table and its split."""

from collections.abc import Iterator
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genregrid.data.split import PARTS, TEST, TRAIN, VAL, Split
from genregrid.data.table import FeatureTable
from genregrid.data.window import Bounds, growing_windows, window_bounds, window_rows

#: Windows to score at once; 4096 ten-slice windows of 57 features take 9 MB.
EVALUATION_BATCH_SIZE = 4096


@dataclass(frozen=True)
class Windows:
    """Windows of one part; all int64."""

    rows: Tensor  # (window, slice), table row of each slice; -1 is padding
    length: Tensor  # (window,), slices without padding, at least 1
    genre: Tensor  # (window,)
    track: Tensor  # (window,), of the window's first slice


class WindowBatches:
    """Batches of windows; each is taken from the corpus by one index operation.

    A plain iterable instead of a DataLoader: the corpus is one array, so there is nothing to load, collate or give to
    workers. An epoch of 50 batches takes 3.6 ms, with a DataLoader 7.2 ms, which matters to small models.

    A batch is ``{"features": (batch, slice, feature) float32, "length": (batch,), "genre": (batch,), "track":
    (batch,)}``, the last three int64; padded slices are zeros after `length`.

    Args:
        features: (row, feature) float32.
        windows: the part's windows.
        batch_size: windows in a batch; the last batch may be smaller.
        generator: shuffles each epoch; ``None`` keeps the order.
        rank: number of this process, from 0.
        num_ranks: processes that share the windows. Window `i` of the order goes to process ``i % num_ranks``, and all
            get equally many. To this end, shuffled windows leave out fewer than `num_ranks` of them, different ones in
            each epoch; ordered windows repeat the last one with the track -1.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        windows: Windows,
        batch_size: int,
        generator: torch.Generator | None = None,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.batch_size = min(batch_size, max(1, len(windows.genre)))  # a larger one would only take memory
        self._features = np.asarray(features)  # otherwise batches of a mapped table would be maps too
        self._windows = windows
        self._is_padded = bool((windows.length < windows.rows.shape[1]).any())
        self._generator = generator
        self._rank = rank
        self._num_ranks = num_ranks

    @property
    def _share(self) -> int:
        """Number of windows of each process."""
        num_windows = len(self._windows.genre)
        return num_windows // self._num_ranks if self._generator is not None else -(-num_windows // self._num_ranks)

    def __len__(self) -> int:
        return -(-self._share // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        yield from self._batches(self.shuffled(), self.batch_size)  # lazy: the order is drawn with the first batch

    def shuffled(self) -> Tensor:
        """Draw the order of the next epoch, (window,) int64."""
        num = len(self._windows.genre)
        return torch.arange(num) if self._generator is None else torch.randperm(num, generator=self._generator)

    def in_order(self) -> Iterator[dict[str, Tensor]]:
        """Return all windows in the order of the table, in large batches."""
        return self._batches(torch.arange(len(self._windows.genre)), EVALUATION_BATCH_SIZE)

    def _batches(self, order: Tensor, batch_size: int) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of this process's share of an order."""
        position = torch.arange(self._share) * self._num_ranks + self._rank
        mine = order[position.clamp(max=len(order) - 1)]
        for start in range(0, self._share, batch_size):
            chosen = mine[start : start + batch_size]
            rows = self._windows.rows[chosen]
            features = torch.from_numpy(self._features.take(rows.numpy(), axis=0))  # twice as fast as torch's indexing
            if self._is_padded:
                features.masked_fill_((rows < 0).unsqueeze(2), 0)
            track = self._windows.track[chosen]
            if self._num_ranks > 1:
                track[position[start : start + batch_size] >= len(order)] = -1
            length, genre = self._windows.length[chosen], self._windows.genre[chosen]
            yield {"features": features, "length": length, "genre": genre, "track": track}


class GenreDataModule(pl.LightningDataModule):
    """Windows of a split table, as batches for training, validation and test.

    Args:
        table: the slices; never copied as a whole.
        split: which row is in which part.
        window: window length in slices, 1 or more; ``None`` is one window per sequence, that is per track.
        hop_slices: step between windows in slices, 1 or more; ``None`` takes windows without overlap.
        batch_size: training windows in a batch, 1 or more.
        seed: of the training order.
    """

    def __init__(
        self,
        table: FeatureTable,
        split: Split,
        *,
        window: int | None = None,
        hop_slices: int | None = None,
        batch_size: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.table = table
        self.split = split
        self._batch_size = batch_size
        self._seed = seed
        self._order = torch.Generator().manual_seed(seed)
        self._restored_order: Tensor | None = None
        self._rank, self._num_ranks = 0, 1
        self.windows = [self._windows_of(part, window, hop_slices) for part in range(len(PARTS))]

    @property
    def training_rows(self) -> NDArray[np.int64]:
        """Table rows of the training part, (row,) int64; transforms are fitted on these only."""
        return np.flatnonzero(self.split.part == TRAIN)

    @property
    def tracks(self) -> dict[str, list[str]]:
        """Names of the tracks that have a slice in each part."""
        return {
            name: [self.table.tracks[index] for index in np.unique(self.table.track[self.split.part == part])]
            for part, name in enumerate(PARTS)
        }

    @property
    def num_unused_slices(self) -> int:
        """Number of slices that are in a part but in no window."""
        unused = self.split.part >= 0
        for windows in self.windows:
            unused[windows.rows.numpy()[windows.rows >= 0]] = False
        return int(unused.sum())

    def setup(self, stage: str) -> None:
        """Share windows with the other processes of a trainer on several devices."""
        if self.trainer is not None:
            self._rank, self._num_ranks = self.trainer.global_rank, self.trainer.world_size

    def teardown(self, stage: str) -> None:
        """Reset to a single process."""
        self._rank, self._num_ranks = 0, 1

    def train_dataloader(self) -> WindowBatches:
        """Return training windows, shuffled each epoch, in the same orders for the same seed."""
        self._order = torch.Generator().manual_seed(self._seed)
        if self._restored_order is not None:
            self._order.set_state(self._restored_order)
            self._restored_order = None
        return self._batches(TRAIN, self._batch_size, self._order)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the random state of the shuffling, for a checkpoint to resume from."""
        return {"order": self._order.get_state()}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Restore the random state of the shuffling; `train_dataloader` then uses it."""
        self._restored_order = state_dict["order"]

    def val_dataloader(self) -> WindowBatches:
        """Return validation windows in the table's order."""
        return self._batches(VAL, EVALUATION_BATCH_SIZE)

    def test_dataloader(self) -> WindowBatches:
        """Return test windows in the table's order."""
        return self._batches(TEST, EVALUATION_BATCH_SIZE)

    def timeline_dataloader(self) -> WindowBatches:
        """Return test windows that grow slice by slice from each track's start; in the order of `timeline_rows`."""
        longest = max(int(windows.length.max()) for windows in self.windows if len(windows.length))
        rows, num_slices = self._sequences_of(TEST)
        windows = self._windows_between(rows, num_slices, growing_windows(num_slices, longest))
        return WindowBatches(self.table.features, windows, EVALUATION_BATCH_SIZE)

    @property
    def timeline_rows(self) -> NDArray[np.int64]:
        """Table row of every test slice, sequence by sequence, (slice,) int64."""
        return self._sequences_of(TEST)[0]

    def _batches(self, part: int, batch_size: int, generator: torch.Generator | None = None) -> WindowBatches:
        ranks = (self._rank, self._num_ranks)
        return WindowBatches(self.table.features, self.windows[part], batch_size, generator, *ranks)

    def _windows_of(self, part: int, window: int | None, hop_slices: int | None) -> Windows:
        rows, num_slices = self._sequences_of(part)
        return self._windows_between(rows, num_slices, window_bounds(num_slices, window, hop_slices))

    def _sequences_of(self, part: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return rows of a part, (row,), sequence by sequence, and the number of slices per sequence, (sequence,)."""
        rows = np.flatnonzero(self.split.part == part)
        rows = rows[np.argsort(self.split.sequence[rows], kind="stable")]
        return rows, np.unique(self.split.sequence[rows], return_counts=True)[1]

    def _windows_between(self, rows: NDArray[np.int64], num_slices: NDArray[np.int64], bounds: Bounds) -> Windows:
        sequence, start, stop = bounds
        offset = (np.cumsum(num_slices) - num_slices)[sequence]
        index = window_rows(rows, offset + start, offset + stop)
        track = self.table.track[index[:, 0]] if len(index) else np.empty(0, np.int64)
        return Windows(*map(torch.from_numpy, (index, stop - start, self.table.genre[track], track)))
