"""The one DataModule that all models share: a table and its split become batches of windows."""

from collections.abc import Iterator
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genregrid.data.split import PARTS, TEST, TRAIN, VAL, Split
from genregrid.data.table import FeatureTable
from genregrid.data.window import growing_windows, window_bounds, window_rows
from genregrid.errors import UserError

#: Windows scored at once; 4096 ten-slice windows of 57 features take 9 MB.
EVALUATION_BATCH_SIZE = 4096


@dataclass(frozen=True)
class Windows:
    """Windows of one part.

    Attributes:
        rows: (window, slice) int64, table row of each slice; the padding row, one behind the last, where padded.
        length: (window,) int64, slices that are not padding, at least 1.
        genre: (window,) int64.
        track: (window,) int64, the track of the window's first slice.
    """

    rows: Tensor
    length: Tensor
    genre: Tensor
    track: Tensor


class WindowBatches:
    """Batches of windows, each gathered from the corpus by one index operation.

    A plain iterable in place of a DataLoader: the corpus lies in memory as one tensor, so there is nothing to load,
    collate or hand to workers, and tiny models spend no time on it.

    A batch is ``{"features": (batch, slice, feature) float32, "length": (batch,), "genre": (batch,), "track":
    (batch,)}``, the last three int64; padded slices are zeros behind `length`.

    Args:
        features: (row + 1, feature) float32, a row of zeros last.
        windows: the part's windows.
        batch_size: windows in a batch; the last batch may be smaller.
        generator: shuffles anew each epoch; ``None`` keeps the order.
    """

    def __init__(
        self, features: Tensor, windows: Windows, batch_size: int, generator: torch.Generator | None = None
    ) -> None:
        self._features = features
        self._windows = windows
        self.batch_size = batch_size
        self._generator = generator

    def __len__(self) -> int:
        return -(-len(self._windows.genre) // self.batch_size)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        yield from self._batches(self.shuffled(), self.batch_size)  # an order is drawn once a batch is asked for

    def shuffled(self) -> Tensor:
        """(window,) int64, the order of the next epoch."""
        num_windows = len(self._windows.genre)
        if self._generator is None:
            return torch.arange(num_windows)
        return torch.randperm(num_windows, generator=self._generator)

    def in_order(self) -> Iterator[dict[str, Tensor]]:
        """All windows as they stand in the table, in large batches."""
        return self._batches(torch.arange(len(self._windows.genre)), EVALUATION_BATCH_SIZE)

    def _batches(self, order: Tensor, batch_size: int) -> Iterator[dict[str, Tensor]]:
        if len(order) == 0:
            return  # torch would split nothing into one empty batch
        for chosen in torch.split(order, batch_size):
            yield {
                "features": self._features[self._windows.rows[chosen]],
                "length": self._windows.length[chosen],
                "genre": self._windows.genre[chosen],
                "track": self._windows.track[chosen],
            }


class GenreDataModule(pl.LightningDataModule):
    """Windows of a split table, as batches for training, validation and test.

    Args:
        table: the slices; kept in memory whole.
        split: which row is in which part.
        window: window length in slices, 1 or more; ``None`` is one window per sequence, that is per track.
        hop_slices: step between windows in slices, 1 or more; ``None`` lets windows follow each other.
        batch_size: training windows in a batch, 1 or more.
        seed: of the training order.

    Raises:
        UserError: a size is less than 1.
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
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: a batch has 1 window or more.")
        self.table = table
        self.split = split
        self._batch_size = batch_size
        self._seed = seed
        self._order = torch.Generator().manual_seed(seed)
        self._order_to_go_on_with: Tensor | None = None
        # one row of zeros behind the last slice is what padding points to
        self._features = torch.from_numpy(np.vstack([table.features, np.zeros_like(table.features[:1])]))
        self.windows = [self._windows_of(part, window, hop_slices) for part in range(len(PARTS))]

    @property
    def training_features(self) -> Tensor:
        """Every slice of the training part, (row, feature) float32: what scalers may be fitted on."""
        return self._features[torch.from_numpy(np.flatnonzero(self.split.part == TRAIN))]

    @property
    def tracks(self) -> dict[str, list[str]]:
        """Names of the tracks that have a slice in each part."""
        return {
            name: [self.table.tracks[index] for index in np.unique(self.table.track[self.split.part == part])]
            for part, name in enumerate(PARTS)
        }

    @property
    def num_unused_slices(self) -> int:
        """Slices of some part that stand in no window."""
        used = np.unique(np.concatenate([windows.rows.numpy().ravel() for windows in self.windows]))
        return int((self.split.part >= 0).sum() - (used < len(self.table.track)).sum())

    def train_dataloader(self) -> WindowBatches:
        """Training windows, shuffled anew each epoch, the same way for the same seed."""
        self._order = torch.Generator().manual_seed(self._seed)
        if self._order_to_go_on_with is not None:
            self._order.set_state(self._order_to_go_on_with)
            self._order_to_go_on_with = None
        return WindowBatches(self._features, self.windows[TRAIN], self._batch_size, self._order)

    def state_dict(self) -> dict[str, Tensor]:
        """Where the shuffling is, for a checkpoint that a training goes on from."""
        return {"order": self._order.get_state()}

    def load_state_dict(self, state_dict: dict[str, Tensor]) -> None:
        """Shuffle on from there, once training asks for its batches."""
        self._order_to_go_on_with = state_dict["order"]

    def val_dataloader(self) -> WindowBatches:
        """Validation windows in the table's order."""
        return WindowBatches(self._features, self.windows[VAL], EVALUATION_BATCH_SIZE)

    def test_dataloader(self) -> WindowBatches:
        """Test windows in the table's order."""
        return WindowBatches(self._features, self.windows[TEST], EVALUATION_BATCH_SIZE)

    def timeline_dataloader(self) -> WindowBatches:
        """Test windows that grow slice by slice, as a listener hears a track; in the order of `timeline_rows`."""
        longest = max(int(windows.length.max()) for windows in self.windows if len(windows.length))
        rows, num_slices = self._sequences_of(TEST)
        sequence, start, stop = growing_windows(num_slices, longest)
        return WindowBatches(
            self._features, self._windows_between(rows, num_slices, sequence, start, stop), EVALUATION_BATCH_SIZE
        )

    @property
    def timeline_rows(self) -> NDArray[np.int64]:
        """(slice,) int64, the table row of every test slice, sequence by sequence."""
        return self._sequences_of(TEST)[0]

    def _windows_of(self, part: int, window: int | None, hop_slices: int | None) -> Windows:
        rows, num_slices = self._sequences_of(part)
        return self._windows_between(rows, num_slices, *window_bounds(num_slices, window, hop_slices))

    def _sequences_of(self, part: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of a part, (row,), sequence by sequence, and the slices of each sequence, (sequence,)."""
        rows = np.flatnonzero(self.split.part == part)
        rows = rows[np.argsort(self.split.sequence[rows], kind="stable")]
        return rows, np.unique(self.split.sequence[rows], return_counts=True)[1]

    def _windows_between(
        self,
        rows: NDArray[np.int64],
        num_slices: NDArray[np.int64],
        sequence: NDArray[np.int64],
        start: NDArray[np.int64],
        stop: NDArray[np.int64],
    ) -> Windows:
        offset = (np.cumsum(num_slices) - num_slices)[sequence]
        index = window_rows(rows, offset + start, offset + stop)
        track = self.table.track[index[:, 0]] if len(index) else np.empty(0, np.int64)
        return Windows(
            rows=torch.from_numpy(np.where(index < 0, len(self.table.track), index)),
            length=torch.from_numpy(stop - start),
            genre=torch.from_numpy(self.table.genre[track]),
            track=torch.from_numpy(track),
        )
