"""Classifiers with scikit-learn's interface as models: YAML names the class; data and checkpoints are a network's."""

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from itertools import chain
from typing import Annotated, Any

import numpy as np
import skops.io
import torch
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Not public, but what every classifier of scikit-learn declares; its public way, `fit`, needs the data first.
from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from genregrid.errors import UserError
from genregrid.models.argument import Allowed, Part, Positive, Switch, check_arguments, split_arguments
from genregrid.models.base import GenreClassifier
from genregrid.models.pooling import SUMMARIES, filled, pooled_slice
from genregrid.models.whitening import GenreWhitening

#: Packages whose classifiers YAML, and thus a checkpoint, may name.
PACKAGES = ("sklearn", "lightgbm", "genregrid.models")
_POOLED = "pooled"  # the summary that pools raw descriptors
_CALIBRATION_FOLDS = 5

# Types in a checkpoint that skops does not know to be harmless. Each was read before it came on this list.
_TRUSTED = (
    "collections.OrderedDict",
    "genregrid.models.boosting.BoostedTrees",
    "genregrid.models.gmm.MixturePerGenre",
    "genregrid.models.kernel.KernelRidgeClassifier",
    "genregrid.models.kernel.SetKernelClassifier",
    "genregrid.models.kmeans.GenresOfClusters",
    "genregrid.models.scikit_learn.GaussianPerGenre",
    "genregrid.models.scikit_learn.NearestNeighbours",
    "genregrid.models.scikit_learn.RadialSVM",
    "genregrid.models.scikit_learn.ShrunkenLDA",
    "genregrid.models.whitening.GenreWhitening",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)


def build_estimator(name: str, arguments: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Any:
    """Build an unfitted classifier and check its arguments.

    Args:
        name: dotted name of a class of one of `PACKAGES`, such as ``sklearn.naive_bayes.GaussianNB``.
        arguments: of its constructor, under the names that settings of `model` have.
        names: the constructor's own names of arguments, where they differ: ``{"inverse_penalty": "C"}``.

    Raises:
        UserError: no such class, no such argument, or an argument out of its range.
    """
    cls, names = _find(name), names or {}
    try:
        estimator = cls(**{names.get(key, key): value for key, value in arguments.items()})
    except TypeError as error:
        raise UserError(str(error), key="model.estimator", value=name) from None
    check_arguments(cls, arguments)
    declared = getattr(cls, "_parameter_constraints", {})
    for key, value in arguments.items():
        argument = names.get(key, key)
        rules = declared.get(argument, "no_validation")
        try:
            validate_parameter_constraints(declared, {argument: value}, cls.__name__)
        except InvalidParameterError as error:
            problem = str(error).partition(". Got")[0].replace("The", "the", 1)
            raise UserError(problem, key=f"model.{key}", value=value) from None
        if isinstance(value, bool) and rules != "no_validation" and "boolean" not in rules:  # Python's True is a 1
            raise UserError(f"{argument} of {cls.__name__} is not a switch", key=f"model.{key}", value=value)
    return estimator


def _find(name: str) -> Any:
    """Import a classifier by its dotted name, if its package is allowed."""
    module, _, cls = name.rpartition(".")
    problem = f"the dotted name of a classifier of {', '.join(PACKAGES)} is needed"
    if any(module == package or module.startswith(f"{package}.") for package in PACKAGES):
        try:
            found = getattr(import_module(module), cls)
        except ModuleNotFoundError as error:
            problem = f"there is no module {error.name}"
        except AttributeError:
            problem = f"{module} has no {cls}"
        else:
            if isinstance(found, type) and issubclass(found, ClassifierMixin) and hasattr(found, "fit"):
                return found
    raise UserError(problem, key="model.estimator", value=name)


class EstimatorHead(nn.Module):
    """A classifier of scikit-learn as a layer: vectors in, logits out.

    Args:
        num_genres: columns of the logits, at least 2.
        smoothing: share of every probability, in (0, 1), that is spread over all genres: a track must not lose a genre
            because an estimator gives it probability 0 in one slice.
        blank: the unfitted classifier. One that has no probabilities gets them by temperature scaling, fitted on
            training tracks that were left out.
        front: unfitted transformers of vectors, in their order.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, for the temperature.
    """

    def __init__(self, num_genres: int, smoothing: float, blank: Any, front: Sequence[Any] = ()) -> None:
        super().__init__()
        self._num_genres = num_genres
        self._smoothing = smoothing
        self._blank = blank
        self._front = front
        #: The fitted classifier with its transformers; ``None`` before `fit`.
        self.estimator: Any = None

    def fit(self, batches: Iterable[dict[str, Tensor]], vectors: Callable[[dict[str, Tensor]], Tensor]) -> None:
        """Fit the estimator on all windows of some batches; `vectors` computes those of a batch, (batch, feature).

        Raises:
            UserError: the estimator cannot be fitted to so few or such rows.
        """
        with torch.no_grad():
            rows = [(vectors(batch).float(), batch["genre"], batch["track"]) for batch in batches]
        features, genre, track = (torch.cat(values).cpu().numpy() for values in zip(*rows, strict=True))
        try:
            with threadpool_limits(torch.get_num_threads()):
                self.estimator = self.fitted(features, genre, track)
        except UserError:
            raise
        except (ValueError, np.linalg.LinAlgError) as error:
            problem = f"it cannot be fitted to this training part: {str(error).splitlines()[0]}"
            raise UserError(problem, key="model") from error

    def fitted(self, vectors: NDArray[np.float32], genre: NDArray[np.int64], track: NDArray[np.int64]) -> Any:
        """Fit a new estimator to vectors (row, feature), genres (row,) and tracks (row,), and return it."""
        model = make_pipeline(*map(clone, self._front), clone(self._blank))
        if getattr(self._blank, "fits_float64", False):
            vectors = vectors.astype(np.float64)
        if not hasattr(self._blank, "predict_proba"):
            return _calibrated(model, vectors, genre, track)
        named = {f"{model.steps[-1][0]}__track": track} if has_fit_parameter(self._blank, "track") else {}
        return model.fit(vectors, genre, **named)

    def forward(self, vectors: Tensor) -> Tensor:
        """Compute logits, (row, genre) float32: logarithms of the estimator's smoothed probabilities."""
        with threadpool_limits(torch.get_num_threads()):
            predicted = self.estimator.predict_proba(vectors.detach().float().cpu().numpy())
        if not np.isfinite(predicted).all():
            raise UserError("its probabilities are not finite", key="model", hint="choose other settings")
        probs = np.zeros((len(vectors), self._num_genres))
        probs[:, self.estimator.classes_] = predicted
        smoothed = (1 - self._smoothing) * probs + self._smoothing / self._num_genres
        return torch.from_numpy(np.log(smoothed)).to(vectors.device, torch.float32)

    def get_extra_state(self) -> Tensor:
        """Return the fitted estimator in skops's format, (byte,) uint8; empty before it is fitted."""
        if self.estimator is None:
            return torch.empty(0, dtype=torch.uint8)
        # compressed, as nine tenths of the bytes of trees are zeros
        packed = skops.io.dumps(self.estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
        return torch.frombuffer(bytearray(packed), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore an estimator; skops rejects types that neither it nor `_TRUSTED` lists."""
        self.estimator = skops.io.loads(state.cpu().numpy().tobytes(), trusted=list(_TRUSTED)) if len(state) else None


def _calibrated(
    model: Any, vectors: NDArray[np.floating], genre: NDArray[np.int64], track: NDArray[np.int64]
) -> CalibratedClassifierCV:
    """Fit a model, and a temperature on decision values of left-out tracks; rows of a track are in one fold."""
    fewest = min(len(np.unique(track[genre == number])) for number in np.unique(genre))
    if fewest < 2:
        problem = "a genre has one training track only, and the probabilities of this model need two"
        raise UserError(problem, key="model", hint="choose another model")
    folds = StratifiedGroupKFold(min(_CALIBRATION_FOLDS, fewest))
    parts = list(folds.split(vectors, genre, groups=track))
    return CalibratedClassifierCV(model, method="temperature", cv=parts, ensemble=False).fit(vectors, genre)


def _is_summary(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) > 0 and {*value} <= {*SUMMARIES, _POOLED}


Summary = Annotated[
    Sequence[str], Allowed(f"must be a list of one or more of {', '.join([_POOLED, *SUMMARIES])}", _is_summary)
]


class EstimatorClassifier(GenreClassifier):
    """A model that is fitted by a classifier with scikit-learn's interface, on vectors or sets of slices.

    An epoch of training passes over all training windows; the estimator is fitted on them before validation. More
    epochs than one fit it again.

    Args:
        estimator: dotted name of the class.
        names: as for `build_estimator`.
        summary: how the slices of a window become one vector: names of `SUMMARIES`, and ``pooled``, the descriptors of
            the window as one long slice, side by side. ``[pooled, mean, spread]`` is a track at two resolutions.
            ``None`` for an estimator of sets only: all slices one after the other, NaN for padding.
        refit: whether the estimator, after validation, is fitted again on training and validation windows together.
            This is no leak, as an estimator does not choose anything by validation.
        whitening: ``None``, or above 0: vectors are whitened by how tracks differ within a genre (`GenreWhitening`).
        smoothing: as for `EstimatorHead`.
        shared: arguments of `GenreClassifier`, and all others of the estimator. A class of sets (`takes_sets`) gets
            `num_features` and `whitening` too.

    Raises:
        UserError: an argument out of its range, or a summary or whitening that the estimator does not take.
    """

    def __init__(
        self,
        *,
        estimator: str,
        names: Mapping[str, str] | None = None,
        summary: Summary | None = ("mean",),
        refit: Switch = False,
        whitening: Positive | None = None,
        smoothing: Part = 1e-6,
        **shared: Any,
    ) -> None:
        own, arguments = split_arguments(GenreClassifier, shared)
        super().__init__(**own)
        blank = build_estimator(estimator, arguments, names)
        takes_sets = getattr(blank, "takes_sets", False)
        if takes_sets != (summary is None):
            problem = "the model compares slices one by one" if takes_sets else "the model takes one vector per window"
            hint = "set null" if takes_sets else "set a list such as [mean]"
            raise UserError(problem, key="model.summary", value=summary, hint=hint)
        if whitening is not None and getattr(blank, "whitens", False):
            problem = "this model whitens by the covariance itself and cannot estimate it on whitened vectors"
            raise UserError(problem, key="model.whitening", value=whitening, hint="set null")
        front = [StandardScaler()] if whitening is None else [StandardScaler(), GenreWhitening(whitening)]
        if takes_sets:
            blank.set_params(num_features=len(self.feature_names), whitening=whitening)
            front = []
        self.summary = None if summary is None else list(summary)
        self.refit = refit
        self.head = EstimatorHead(len(self.genres), smoothing, blank, front)
        self.automatic_optimization = False

    def vectors(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute the estimator's input, (batch, feature), from a batch of raw features."""
        raw, length = batch["features"].to(self.device), batch["length"].to(self.device)
        features = self.transform(raw)
        if self.summary is None:
            return filled(features, length, torch.nan).flatten(1)
        parts = [
            self.transform(pooled_slice(raw, length, self.feature_names))
            if name == _POOLED
            else SUMMARIES[name](features, length)
            for name in self.summary
        ]
        return torch.cat(parts, dim=1)

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute logits of a batch of raw features, (batch, genre) float32."""
        logits: Tensor = self.head(self.vectors(batch))
        return logits

    def configure_optimizers(self) -> None:
        """Return nothing: there are no gradients."""

    def training_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Do nothing: the estimator is fitted on all training windows at once, before validation."""

    def on_validation_epoch_start(self) -> None:
        """Fit the estimator, if this validation ends a training epoch."""
        if is_fitting(self):
            self.head.fit(self.trainer.train_dataloader, self.vectors)  # type: ignore[arg-type]  # Lightning leaves the type open

    def on_validation_epoch_end(self) -> None:
        """Log scores, and keep the predictions for validation tracks before a refit learns from them."""
        if is_fitting(self) and self.refit:
            self.validated = self._gather()
            self._seen.append(self.validated)
        super().on_validation_epoch_end()

    def on_train_end(self) -> None:
        """Fit the estimator again on training and validation windows, if `refit` is set."""
        if self.refit:
            batches = chain(self.trainer.train_dataloader, self.trainer.val_dataloaders)  # type: ignore[arg-type]  # Lightning leaves the type open
            self.eval()
            self.head.fit(batches, self.vectors)


def is_fitting(model: GenreClassifier) -> bool:
    """Return whether a model's trainer is training, and not only validating."""
    return model.trainer.state.fn == TrainerFn.FITTING
