"""Classifiers with scikit-learn's interface as models: YAML names the class; data and checkpoints are a network's."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from typing import Annotated, Any

import numpy as np
import sklearn
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

from genregrid.checkpoint.packed import is_trusted, pack, unpack, unsound
from genregrid.errors import UserError
from genregrid.models.argument import (
    Allowed,
    Part,
    Positive,
    Switch,
    check_arguments,
    check_known,
    parameters,
    split_arguments,
)
from genregrid.models.base import GenreClassifier
from genregrid.models.estimator_check import check_estimator
from genregrid.models.pooling import MOST_SUMMARIES, SUMMARIES, filled, pooled_slice
from genregrid.models.whitening import GenreWhitening
from genregrid.parallel.threads import one_thread

_POOLED = "pooled"  # the summary that pools raw descriptors
_CALIBRATION_FOLDS = 5

_OWN = re.compile(r"genregrid\.models\.[a-z][a-z0-9_]*")
# Arguments may come from a checkpoint, so that their sizes have bounds.
_MOST_ARGUMENTS = 100
_LONGEST = 100  # characters of a name or a text, entries of a list
_MOST_WHOLE = 10**7
_MOST_IN_LIST = 10**4  # a list has layers of a network
# LightGBM has five names for the number of threads, and crashes if there are too many.
_MOST_OF = dict.fromkeys(("n_jobs", "num_threads", "num_thread", "nthreads", "nthread"), 256)
_MOST_OF |= {"random_state": 2**32 - 1}
_DEFAULT_EPOCHS = 1000  # Lightning's, of a trainer that is given no number
_INACCURACY = 1e-3  # of a sum of probabilities; some estimators compute in float32


def build_estimator(name: str, arguments: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Any:
    """Build an unfitted classifier and check its arguments.

    Args:
        name: dotted name of a class, such as ``sklearn.naive_bayes.GaussianNB``: of a public module of scikit-learn, of
            `genregrid.models`, or ``lightgbm.LGBMClassifier``.
        arguments: of its constructor, under the names that settings of `model` have.
        names: the constructor's own names of arguments, where they differ: ``{"inverse_penalty": "C"}``.

    Raises:
        UserError: no such class, no such argument, or an argument out of its range.
    """
    names = {} if names is None else names
    _check_plain(arguments, names)
    cls = _find(name)
    try:
        estimator = cls(**{names.get(key, key): value for key, value in arguments.items()})
    except TypeError as error:
        own = {argument: key for key, argument in names.items()}
        check_known(arguments, [own.get(argument, argument) for argument in parameters(cls)])
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


def _check_plain(arguments: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Check names, kinds and sizes of arguments: plain values, and lists and tables of them."""
    is_named = isinstance(names, Mapping) and len(names) <= _MOST_ARGUMENTS
    if not is_named or not all(map(_is_name, [*names, *names.values()])):
        raise UserError("must be a table of names of arguments", key="model.names")
    if len(arguments) > _MOST_ARGUMENTS or not all(map(_is_name, arguments)):
        raise UserError("it has more arguments than an estimator can have, or they are no names", key="model")
    for key, value in arguments.items():
        argument = names.get(key, key)
        if isinstance(value, list | tuple | Mapping):
            parts = [*value, *value.values()] if isinstance(value, Mapping) else [*value[: _LONGEST + 1]]
            if len(value) > _LONGEST or not all(_is_plain(part, _MOST_IN_LIST) for part in parts):
                problem = f"must have at most {_LONGEST} entries, numbers up to {_MOST_IN_LIST:,} or short texts"
                raise UserError(problem, key=f"model.{key}", value="[...]")
            continue
        most = _MOST_OF.get(argument, _MOST_WHOLE)
        if not _is_plain(value, most):
            problem = f"must be a number up to {most:,}, true, false, null or a text of at most {_LONGEST} characters"
            raise UserError(problem, key=f"model.{key}", value=value if isinstance(value, int | float) else "...")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value.isidentifier() and len(value) <= _LONGEST


def _is_plain(value: object, most: int) -> bool:
    """Return whether a value is plain and in bounds; `most` is for whole numbers."""
    if isinstance(value, str):
        return len(value) <= _LONGEST and value.isprintable()
    if isinstance(value, int):
        return abs(value) <= most
    return value is None or (isinstance(value, float) and math.isfinite(value))


def _find(name: str) -> Any:
    """Import a classifier by its dotted name, once the name alone shows that its module may be imported."""
    problem = "the dotted name of a classifier of sklearn, lightgbm.LGBMClassifier or genregrid.models is needed"
    if not isinstance(name, str) or len(name) > 2 * _LONGEST or not all(map(str.isidentifier, name.split("."))):
        raise UserError(problem, key="model.estimator", value=name if isinstance(name, str) else "...")
    module, _, cls = name.rpartition(".")
    is_public = module.count(".") == 1 and module.startswith("sklearn.")
    if is_public and module.partition(".")[2] not in sklearn.__all__:
        problem = f"there is no module {module}"
    elif is_public or name == "lightgbm.LGBMClassifier" or (_OWN.fullmatch(module) and find_spec(module)):
        try:
            imported = import_module(module)
            found = getattr(imported, cls) if cls in getattr(imported, "__all__", [cls]) else None
        except ModuleNotFoundError as error:
            problem = f"there is no module {error.name}"
        except AttributeError:
            problem = f"{module} has no {cls}"
        else:
            if found is None:
                problem = f"{module} has no {cls}"
            elif isinstance(found, type) and issubclass(found, ClassifierMixin) and hasattr(found, "fit"):
                if is_trusted(found):
                    return found
                problem = "a checkpoint of it could not be loaded, as its numbers are not checked"
                raise UserError(problem, key="model.estimator", value=name, hint="choose another; docs/models.md")
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
            with threadpool_limits(1):  # sums differ in their last bits with the number of threads
                self.estimator = self.fitted(features, genre, track)
        except UserError:
            raise
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            raise UserError(f"it cannot be fitted to this training part: {_reason(error)}", key="model") from error

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
        if self.estimator is None:
            raise UserError("its estimator is not fitted", key="model", hint="train it with Trainer.fit")
        try:
            with threadpool_limits(1), np.errstate(all="ignore"):
                predicted = self.estimator.predict_proba(vectors.detach().float().cpu().numpy())
            genre = self.estimator.classes_
            if np.shape(predicted) != (len(vectors), len(genre)):
                raise ValueError("its probabilities are not one for each genre")
        except UserError:
            raise
        except Exception as error:  # scikit-learn and LightGBM raise their own types for numbers that they cannot take
            problem = f"the estimator cannot compute probabilities: {_reason(error)}"
            raise UserError(problem, key="model") from error
        if not np.isfinite(predicted).all():
            raise UserError("its probabilities are not finite", key="model", hint="choose other settings")
        if (predicted < -_INACCURACY).any() or (abs(predicted.sum(axis=1) - 1) > _INACCURACY).any():
            raise UserError("its probabilities do not sum to 1", key="model", hint="choose other settings")
        probs = np.zeros((len(vectors), self._num_genres))
        probs[:, genre] = predicted
        smoothed = (1 - self._smoothing) * probs + self._smoothing / self._num_genres
        return torch.from_numpy(np.log(smoothed)).to(vectors.device, torch.float32)

    def get_extra_state(self) -> Tensor:
        """Return the fitted estimator in skops's format, (byte,) uint8; empty before it is fitted."""
        if self.estimator is None:
            return torch.empty(0, dtype=torch.uint8)
        return torch.frombuffer(bytearray(pack(self.estimator)), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Restore an estimator from bytes that may have been changed.

        Raises:
            UserError: the bytes are not those of a fitted estimator of this model, or their numbers are not sound.
        """
        if not isinstance(state, Tensor) or state.dtype != torch.uint8 or state.ndim != 1:
            raise unsound("it is not a row of bytes")
        if not len(state):
            self.estimator = None
            return
        estimator = unpack(state.cpu().numpy().tobytes())
        try:
            check_estimator(estimator, self._front, self._blank, self._num_genres)
        except UserError:
            raise
        except Exception as error:  # an attribute that is missing or of another type
            raise unsound(f"it has other parts than a fit writes ({type(error).__name__})") from error
        self.estimator = estimator


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


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
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MOST_SUMMARIES:
        return False
    return {*value} <= {*SUMMARIES, _POOLED}


Summary = Annotated[
    Sequence[str],
    Allowed(f"must be a list of 1 to {MOST_SUMMARIES} of {', '.join([_POOLED, *SUMMARIES])}", _is_summary),
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
        with one_thread():
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

    def setup(self, stage: str) -> None:
        """Fit the transform if it is not fitted, and skip the trainer's first check of validation."""
        super().setup(stage)
        skip_sanity_check(self)

    def configure_optimizers(self) -> list[Any]:
        """Return no optimizer: there are no gradients. Lightning warns of ``None``, and not of an empty list."""
        return []

    def training_step(self, batch: dict[str, Tensor], _: int) -> None:
        """Do nothing: the estimator is fitted on all training windows at once, before validation."""

    def on_train_epoch_end(self) -> None:
        """End a training whose trainer was given no number of epochs: one is enough."""
        if self.trainer.max_epochs == _DEFAULT_EPOCHS:
            self.trainer.should_stop = True

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
        """Fit the estimator on training and validation windows, if `refit` is set or there was no validation."""
        if self.refit or not has_validation(self):
            batches = chain(self.trainer.train_dataloader, self.trainer.val_dataloaders or ())  # type: ignore[arg-type]  # Lightning leaves the type open
            self.eval()
            self.head.fit(batches, self.vectors)


def skip_sanity_check(model: GenreClassifier) -> None:
    """Leave out a trainer's check of validation before training: an estimator predicts nothing before it is fitted."""
    model.trainer.num_sanity_val_steps = 0


def is_fitting(model: GenreClassifier) -> bool:
    """Return whether a model's trainer is training, and not only validating."""
    return model.trainer.state.fn == TrainerFn.FITTING


def has_validation(model: GenreClassifier) -> bool:
    """Return whether a model's trainer validates; that of a final model does not."""
    return bool(model.trainer.enable_validation)
