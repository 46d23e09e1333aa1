"""Load a trained model: check all of its checkpoint's content first, then build the model and set its numbers."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from genregrid.checkpoint.archive import CheckpointFile, StoredTensor, open_checkpoint
from genregrid.errors import UserError
from genregrid.models.argument import is_number
from genregrid.models.base import CHECKPOINT_KEY, GenreClassifier
from genregrid.models.former import today
from genregrid.models.transform import FeatureTransform

#: Modules of bases, which are no models themselves.
_BASES = ("base", "network")
_MOST_WEIGHTS = 100_000_000
# Features of a corpus reach 1e7, and their squares 1e14.
_LARGEST_WEIGHT = 1e30
_LONGEST_TEXT = 1_000
_EXTRA_STATE = nn.modules.module._EXTRA_STATE_KEY_SUFFIX


def load_checkpoint(path: Path) -> GenreClassifier:
    """Load the model of a checkpoint on the CPU, with its provenance.

    Only classes of `genregrid.models` are built, whatever a checkpoint names, and only if the checkpoint has all their
    weights. Nothing else of a checkpoint has an effect.

    Args:
        path: a checkpoint, or a run folder with a checkpoint.ckpt.

    Raises:
        UserError: there is no such file, it is no checkpoint of genregrid, or its content is not sound.
    """
    if path.is_dir():
        path /= "checkpoint.ckpt"
    with open_checkpoint(path, key="checkpoint") as file:
        try:
            return _model(file).eval()
        except UserError as error:
            if not (error.key or "checkpoint").startswith(("checkpoint", "model")):
                raise  # a package that is not installed
            problem = error.problem if error.key is None else str(error).rstrip(".")
            raise UserError(f"its content is not sound: {problem}", key="checkpoint", value=path) from error
        except Exception as error:  # constructors and `load_state_dict` raise many types for a wrong content
            problem = f"its content is not sound ({type(error).__name__}), or its version of genregrid is another one"
            raise UserError(problem, key="checkpoint", value=path) from error


def blank_model(build: Callable[[], GenreClassifier]) -> GenreClassifier:
    """Build a model that has shapes and no weights, and so takes no memory.

    Raises:
        UserError: it would have more than 100 million weights, or `build` raises it.
    """
    try:
        with torch.device("meta"):
            blank = build()
    except UserError:
        raise
    except (RuntimeError, NotImplementedError):  # a network that computes with its weights while it is built
        blank = build()
    num_weights = sum(weight.numel() for weight in blank.parameters())
    if num_weights > _MOST_WEIGHTS:
        problem = f"the model has {num_weights} weights, and {_MOST_WEIGHTS} are the most"
        raise UserError(problem, key="model", hint="take a smaller model.hidden_size or model.num_layers")
    return blank


def _model(file: CheckpointFile) -> GenreClassifier:
    record = _dict(file.content, CHECKPOINT_KEY)
    name, added = today(_text(record.get("model_class"), "model_class"))
    arguments = {key: _plain(value, key) for key, value in _dict(file.content, "hyper_parameters").items()} | added
    cls = model_class(name)
    blank = blank_model(lambda: cls(**arguments))
    state = _dict(file.content, "state_dict")
    _check_shapes(blank, state)
    model = cls(**arguments)
    weights = file.filled(state)  # each storage once, although weights may share one
    model.load_state_dict({key: _finite(values, key) for key, values in weights.items()})
    for part in model.modules():
        if isinstance(part, FeatureTransform):
            part.check()
    model.on_load_checkpoint({CHECKPOINT_KEY: file.filled(record)})
    return model


def _dict(content: Mapping[Any, Any], key: str) -> dict[str, Any]:
    value = content.get(key)
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise UserError(f"it has no dict '{key}'")
    return value


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise UserError(f"its '{key}' is no text, or a very long one")
    return value


def _plain(value: Any, key: str) -> Any:
    """Return a hyper-parameter if it is made of text, finite numbers, true, false and null."""
    if isinstance(value, list | tuple):
        return [_plain(item, key) for item in value]
    if isinstance(value, dict):
        return {_text(name, key): _plain(item, key) for name, item in value.items()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not is_number(value, -_LARGEST_WEIGHT):
            raise UserError(f"its hyper-parameter '{key}' is not finite, or very large")
        return value
    return _text(value, key)


def model_class(name: str) -> type[GenreClassifier]:
    """Find a model's class by its dotted name: that of a file beside this one. No other module is imported.

    Raises:
        UserError: there is no such class.
    """
    module, _, cls = name.rpartition(".")
    package, _, stem = module.rpartition(".")
    file = Path(__file__).with_name(f"{stem}.py")
    if package == __package__ and stem.isidentifier() and stem not in _BASES and file.is_file():
        found = getattr(import_module(module), cls, None)
        if isinstance(found, type) and issubclass(found, GenreClassifier) and found.__module__ == module:
            return found
    raise UserError(f"it is of a model of another package or version, {name}")


def _check_shapes(blank: GenreClassifier, state: Mapping[str, Any]) -> None:
    """Refuse a state that does not have exactly the tensors of a model, before memory is taken for any of them."""
    expected = blank.state_dict()
    for key in (*expected, *state):
        if key not in state or key not in expected:
            raise UserError(f"its weights '{key}' are {'missing' if key in expected else 'not those of its model'}")
        stored, own = state[key], expected[key]
        if not isinstance(stored, StoredTensor):
            raise UserError(f"its weights '{key}' are no tensor")
        is_bytes = key.endswith(_EXTRA_STATE)
        if stored.dtype != own.dtype or (len(stored.shape) != 1 if is_bytes else stored.shape != own.shape):
            problem = f"its weights '{key}' are {stored.dtype} of the shape {stored.shape}"
            raise UserError(problem if is_bytes else f"{problem}, but the model's are {own.dtype} of {(*own.shape,)}")


def _finite(weights: torch.Tensor, key: str) -> torch.Tensor:
    """Return weights if all are finite and not very large; `FeatureTransform.check` knows where its own may be NaN."""
    if weights.is_floating_point() and not key.endswith("transform.shape") and weights.numel():
        low, high = weights.aminmax()
        if not (low >= -_LARGEST_WEIGHT and high <= _LARGEST_WEIGHT):  # so is NaN
            raise UserError(f"its weights '{key}' are not finite, or very large")
    return weights
