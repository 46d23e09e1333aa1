"""Shell around scikit-learn's classifiers: the same batches, scores and checkpoints as networks, and no pickle."""

import zipfile
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import skops.io
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from genregrid.errors import UserError
from genregrid.models.base import GenreClassifier, check_switches
from genregrid.models.pooling import SUMMARIES, inside, pooled_slice
from genregrid.models.whitening import GenreWhitening

#: Vectors (row, feature) float32, genres (row,) int64 and tracks (row,) int64 -> a fitted classifier of scikit-learn.
Fit = Callable[[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]], Any]
_POOLED = "pooled"  # the one summary of raw descriptors

# What a checkpoint may hold beyond what skops itself knows to be harmless.
_TRUSTED = (
    "collections.OrderedDict",
    "genregrid.models.gmm.MixturePerGenre",
    "genregrid.models.kernel.KernelRidgeClassifier",
    "genregrid.models.kernel.SetKernelClassifier",
    "genregrid.models.kmeans.GenresOfClusters",
    "genregrid.models.whitening.GenreWhitening",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.tree._tree.Tree",
)


class EstimatorHead(nn.Module):
    """A classifier of scikit-learn as a layer: vectors in, logits out. Its state is skops's format, as bytes.

    Args:
        num_genres: columns of the logits, at least 2.
        smoothing: share of every probability, in (0, 1), that is spread over all genres: a genre that an estimator
            thinks impossible in one slice must not lose its track by that alone.

    Raises:
        UserError: smoothing out of range.
    """

    def __init__(self, num_genres: int, smoothing: float) -> None:
        super().__init__()
        if not isinstance(smoothing, float) or not 0 < smoothing < 1:
            raise UserError(f"model.smoothing={smoothing}: more than 0 and less than 1.")
        self._num_genres = num_genres
        self._smoothing = smoothing
        #: The fitted estimator; ``None`` before `fit`.
        self.estimator: Any = None

    def fit(
        self, batches: Iterable[dict[str, Tensor]], vectors: Callable[[dict[str, Tensor]], Tensor], fit: Fit
    ) -> None:
        """Fit the estimator on all windows of some batches.

        Args:
            batches: of the training part.
            vectors: makes a batch's vectors, (batch, feature).
            fit: makes a fitted estimator of them.

        Raises:
            UserError: scikit-learn cannot fit so few or such rows.
        """
        with torch.no_grad():
            rows = [(vectors(batch).float(), batch["genre"], batch["track"]) for batch in batches]
        features, genre, track = (torch.cat(values).cpu().numpy() for values in zip(*rows, strict=True))
        try:
            with threadpool_limits(torch.get_num_threads()):
                self.estimator = fit(features, genre, track)
        except (ValueError, np.linalg.LinAlgError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the model cannot be fitted to this training part: {str(error).splitlines()[0]}"
            ) from error

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits, (row, genre) float32: logarithms of the estimator's probabilities."""
        with threadpool_limits(torch.get_num_threads()):
            said = self.estimator.predict_proba(vectors.detach().float().cpu().numpy())
        probs = np.zeros((len(vectors), self._num_genres))
        probs[:, self.estimator.classes_] = said
        if not np.isfinite(said).all():
            raise UserError(
                "the model says a probability that is no number: its settings do not suit this training part."
            )
        smoothed = (1 - self._smoothing) * probs + self._smoothing / self._num_genres
        return torch.from_numpy(np.log(smoothed)).to(vectors.device, torch.float32)

    def get_extra_state(self) -> Tensor:
        """The estimator in skops's format, (byte,) uint8; empty before it is fitted."""
        if self.estimator is None:
            return torch.empty(0, dtype=torch.uint8)
        # of trees, nine tenths are zeros
        packed = skops.io.dumps(self.estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
        return torch.frombuffer(bytearray(packed), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Take an estimator back; whatever is neither skops's own nor on the list of this module is refused."""
        self.estimator = skops.io.loads(state.cpu().numpy().tobytes(), trusted=list(_TRUSTED)) if len(state) else None


class EstimatorClassifier(GenreClassifier):
    """Base of all models that scikit-learn fits: a subclass has a `fit_estimator`.

    An epoch of training hands over all training windows; the estimator is fitted on them before validation. More epochs
    than one fit it anew.

    Args:
        summary: what becomes of the slices of a window, side by side: names of `SUMMARIES`, and ``pooled``, the
            descriptors of the window as one long slice. ``[pooled, mean, spread]`` is a track at two resolutions.
            ``None``: the slices themselves, one behind the other and NaN for padding, for an estimator of sets.
        refit: whether, once it is validated, the estimator is fitted again on training and validation windows together.
            Nothing is chosen by validation here, so that test tracks may be judged by all that is known.
        whitening: ``None``, or above 0: vectors are whitened by how tracks differ within a genre (`GenreWhitening`).
        smoothing: share of every probability, in (0, 1), that is spread over all genres.
        shared: arguments of `GenreClassifier`.

    Raises:
        UserError: an unknown summary, or smoothing out of range.
    """

    #: Whether the estimator takes sets of slices as they are, `summary` being ``None``.
    hears_sets = False

    def __init__(
        self,
        *,
        summary: Sequence[str] | None = ("mean",),
        refit: bool = False,
        whitening: float | None = None,
        smoothing: float = 1e-6,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        names = {*SUMMARIES, _POOLED}
        is_list = isinstance(summary, list | tuple) and len(summary) > 0 and {*summary} <= names
        if not is_list and not (summary is None and self.hears_sets):
            raise UserError(f"model.summary={summary}: a list of {', '.join([_POOLED, *SUMMARIES])}, one or more.")
        if whitening is not None and whitening <= 0:
            raise UserError(f"model.whitening={whitening:g}: above 0, or null for none.")
        check_switches(refit=refit)
        self.summary = None if summary is None else list(summary)
        self.refit = refit
        self.whitening = whitening
        self.head = EstimatorHead(len(self.genres), smoothing)
        self.automatic_optimization = False

    def fit_estimator(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """A fitted classifier of scikit-learn, from vectors (row, feature), genres (row,) and tracks (row,)."""
        raise NotImplementedError  # every subclass has its own

    def vectors(self, batch: dict[str, Tensor]) -> Tensor:
        """What the estimator is given, (batch, feature), of transformed features; `summary` says how wide."""
        raw, length = batch["features"].to(self.device), batch["length"].to(self.device)
        features = self.transform(raw)
        if self.summary is None:
            slices: Tensor = features.masked_fill(~inside(features, length).unsqueeze(2), torch.nan)
            return slices.flatten(1)
        parts = [
            self.transform(pooled_slice(raw, length, self.feature_names))
            if name == _POOLED
            else SUMMARIES[name](features, length)
            for name in self.summary
        ]
        return torch.cat(parts, dim=1)

    def front(self) -> list[Any]:
        """What stands before an estimator: standardising, and whitening where it is asked for."""
        return [StandardScaler(), *([] if self.whitening is None else [GenreWhitening(self.whitening)])]

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Logits of a batch of raw features, (batch, genre) float32."""
        logits: Tensor = self.head(self.vectors(batch))
        return logits

    def configure_optimizers(self) -> None:
        """None: nothing is learnt by gradients."""

    def training_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Nothing: all training windows are fitted at once, before validation."""

    def on_validation_epoch_start(self) -> None:
        """Fit the estimator, where this validation stands at the end of a training epoch."""
        if is_fitting(self):
            self.head.fit(self.trainer.train_dataloader, self.vectors, self.fit_estimator)  # type: ignore[arg-type]  # Lightning leaves the type open

    def on_validation_epoch_end(self) -> None:
        """Log scores, and keep what was said of validation tracks before the estimator learns from them."""
        if is_fitting(self) and self.refit:
            self.validated = self._gather()
            self._seen.append(self.validated)
        super().on_validation_epoch_end()

    def on_train_end(self) -> None:
        """Fit the estimator once more, on all that is not test, where it is asked for."""
        if self.refit:
            batches = chain(self.trainer.train_dataloader, self.trainer.val_dataloaders)  # type: ignore[arg-type]  # Lightning leaves the type open
            self.eval()
            self.head.fit(batches, self.vectors, self.fit_estimator)


def is_fitting(model: GenreClassifier) -> bool:
    """Whether a model's trainer trains, and does not only validate."""
    return model.trainer.state.fn == TrainerFn.FITTING


def known_shrinkage(shrinkage: float | None) -> float | str:
    """A covariance's shrinkage as scikit-learn takes it: in [0, 1], or ``None`` for Ledoit and Wolf's.

    Raises:
        UserError: shrinkage out of range.
    """
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise UserError(f"model.shrinkage={shrinkage:g}: 0 to 1, or null to estimate it.")
    return "auto" if shrinkage is None else shrinkage
