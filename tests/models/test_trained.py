"""Loading a trained model: sound content gives the same numbers, and any other is refused in one sentence."""

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from genregrid.checkpoint.archive import CheckpointFile
from genregrid.data.columns import FEATURE_NAMES
from genregrid.errors import UserError
from genregrid.models.base import CHECKPOINT_KEY, check_finite
from genregrid.models.lstm import LSTM
from genregrid.models.trained import blank_model, load_checkpoint

Expect = Callable[..., AbstractContextManager[None]]
FEATURES = list(FEATURE_NAMES)[:6]
SHARED: dict[str, Any] = {"genres": ["blues", "metal"], "feature_names": FEATURES, "slice_seconds": 3.0}


def content(**arguments: Any) -> dict[str, Any]:
    """Return the part of a checkpoint of a small LSTM that is read."""
    torch.manual_seed(0)
    model = LSTM(**SHARED, hidden_size=4, num_layers=1, **arguments)
    model.transform.fit(torch.randn(50, len(FEATURES)).exp())
    return {
        CHECKPOINT_KEY: {"model_class": "genregrid.models.lstm.LSTM"},
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
    }


def changed(where: str, value: Any, **arguments: Any) -> dict[str, Any]:
    """Return `content` with another value, or without it where the value is ``...``."""
    whole = content(**arguments)
    part, _, key = where.partition("/")
    if value is ...:
        del whole[part][key]
    else:
        whole[part][key] = value
    return whole


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Any], Any]:
    """`load(content)` saves a checkpoint and loads its model."""

    def saved_and_loaded(whole: Any) -> Any:
        torch.save(whole, tmp_path / "a.ckpt")
        return load_checkpoint(tmp_path / "a.ckpt")

    return saved_and_loaded


WRONG = {
    "a module beside the package": ("genregrid/model_class", "evil_mod.X"),
    "a module that is no model": ("genregrid/model_class", "genregrid.models.argument.Allowed"),
    "a base": ("genregrid/model_class", "genregrid.models.network.Network"),
    "a path as a class": ("genregrid/model_class", "genregrid.models.../../x.LSTM"),
    "no class": ("genregrid/model_class", ...),
    "a class that is a number": ("genregrid/model_class", 3),
    "genres that are numbers": ("hyper_parameters/genres", [1, 2]),
    "one genre": ("hyper_parameters/genres", ["blues"]),
    "a genre twice": ("hyper_parameters/genres", ["blues", "blues"]),
    "a genre of two lines": ("hyper_parameters/genres", ["blues", "a\nb"]),
    "a feature too few": ("hyper_parameters/feature_names", FEATURES[1:]),
    "a feature twice": ("hyper_parameters/feature_names", [*FEATURES[1:], FEATURES[1]]),
    "slices of no length": ("hyper_parameters/slice_seconds", 0.0),
    "slices that are not a number": ("hyper_parameters/slice_seconds", float("nan")),
    "a wide layer": ("hyper_parameters/hidden_size", 12_000),
    "other shapes": ("hyper_parameters/hidden_size", 4_000),
    "a million layers": ("hyper_parameters/num_layers", 1_000_000),
    "an unknown argument": ("hyper_parameters/_instantiator", "os.system"),
    "an infinite rate": ("hyper_parameters/learning_rate", float("inf")),
    "weights that are missing": ("state_dict/head.0.bias", ...),
    "weights too many": ("state_dict/more", torch.zeros(1)),
    "weights that are no tensor": ("state_dict/head.0.bias", [0.0] * 4),
    "weights of another type": ("state_dict/head.0.bias", torch.zeros(4, dtype=torch.float64)),
    "NaN weights": ("state_dict/head.0.bias", torch.full((4,), torch.nan)),
    "infinite weights": ("state_dict/head.0.bias", torch.full((4,), torch.inf)),
    "weights of 1e38": ("state_dict/head.0.bias", torch.full((4,), 1e38)),
    "a mean that is NaN": ("state_dict/transform.mean", torch.full((6,), torch.nan)),
    "a scale of 0": ("state_dict/transform.scale", torch.zeros(6)),
}


@pytest.mark.parametrize("what", WRONG)
def test_content_that_no_training_writes_is_refused(load: Callable[[Any], Any], user_error: Expect, what: str) -> None:
    with user_error("checkpoint"):
        load(changed(*WRONG[what]))


@pytest.mark.parametrize(
    ("kind", "value"),
    [("log", torch.inf), ("quantile", torch.nan), ("yeo_johnson", torch.nan), ("yeo_johnson", -1.0)],
)
def test_a_transform_that_no_features_give_is_refused(
    load: Callable[[Any], Any], user_error: Expect, kind: str, value: float
) -> None:
    whole = content(transform=kind)
    assert load(whole).transform.kind == kind
    whole["state_dict"]["transform.shape"][-2:] = value
    with user_error("checkpoint"):
        load(whole)


def test_a_sound_checkpoint_gives_the_logits_of_its_model(load: Callable[[Any], Any]) -> None:
    whole = content()
    model = LSTM(**SHARED, hidden_size=4, num_layers=1).eval()
    model.load_state_dict(whole["state_dict"])
    batch = {"features": torch.randn(3, 5, 6), "length": torch.tensor([5, 3, 1])}
    assert torch.equal(load(whole).logits(batch), model.logits(batch))


def test_a_storage_that_weights_share_is_in_memory_once(load: Callable[[Any], Any]) -> None:
    whole, storage = content(), torch.zeros(10_000_000)
    state = whole["state_dict"]
    for key in [key for key in state if "transform" not in key]:
        state[key] = storage.as_strided(state[key].shape, state[key].stride())
    read: list[Any] = []
    values = CheckpointFile._values

    def counted(file: CheckpointFile, stored: Any) -> Any:
        read.append(stored.entry.filename)
        return values(file, stored)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CheckpointFile, "_values", counted)
        model = load(whole)
    assert len(read) == len({*read})
    assert all(weight.untyped_storage().nbytes() < 10_000 for weight in model.parameters())


def test_any_mutation_is_refused_or_has_no_effect_on_what_is_built(load: Callable[[Any], Any]) -> None:
    draw = random.Random(0)
    sentences = []
    values = [None, True, -1, 0, 2**70, 1e38, float("nan"), "", "x" * 5000, "a\x1b[31m", [], {}, torch.ones(2), ()]
    for _ in range(150):
        whole = content()
        part = draw.choice([whole, *(value for value in whole.values() if isinstance(value, dict))])
        part[draw.choice([*part])] = deepcopy(draw.choice(values))
        try:
            model = load(whole)
        except UserError as error:
            sentences.append(str(error))
        else:
            assert model.genres == SHARED["genres"]
            assert all(weight.isfinite().all() for weight in model.parameters())
    assert len(sentences) > 50
    assert all(len(sentence) < 1000 and "\n" not in sentence for sentence in sentences)


def test_a_model_of_very_many_weights_is_refused_without_taking_memory(user_error: Expect) -> None:
    with user_error("model", problem="weights"):
        blank_model(lambda: LSTM(**SHARED, hidden_size=4096, num_layers=50))


def test_logits_that_are_not_finite_are_refused_with_the_track(user_error: Expect) -> None:
    logits = torch.tensor([[0.0, 1.0], [0.0, torch.inf], [torch.nan, 0.0]])
    check_finite(logits[:1], torch.tensor([0]))
    with user_error("model", problem="2 of 3 windows, the first of track b"):
        check_finite(logits, torch.tensor([0, 1, 1]), ["a", "b"])
