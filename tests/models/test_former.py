"""Runs made when each estimator had a class: their records, checkpoints and identities still fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from genregrid.models.base import CHECKPOINT_KEY
from genregrid.models.former import as_recorded, today
from genregrid.models.trained import load_checkpoint

CLASSES = {
    "boosting": "boosting.Boosting",
    "extra_trees": "extra_trees.ExtraTrees",
    "gaussian": "gaussian.Gaussian",
    "gmm": "gmm.GMM",
    "kernel_ridge": "kernel_ridge.KernelRidge",
    "kmeans": "kmeans.KMeansClassifier",
    "knn": "knn.KNN",
    "lda": "lda.LDA",
    "logistic": "logistic.Logistic",
    "lstm_knn": "lstm_knn.LSTMKNN",
    "lstm_svm": "lstm_svm.LSTMSVM",
    "set_kernel": "set_kernel.SetKernel",
    "svm": "svm.SVM",
}
NEW_KEYS = {"estimator", "names", "max_iter", "standardise"}


def plain(config: DictConfig) -> dict[str, Any]:
    """The settings of a model, as plain values."""
    settings: dict[str, Any] = instantiate(config, _target_="builtins.dict", _convert_="all")
    return settings | {"_target_": config["_target_"]}


@pytest.mark.parametrize("name", CLASSES)
def test_records_have_the_keys_of_before(name: str, composed: Callable[..., DictConfig]) -> None:
    settings = plain(composed(f"model={name}").model)
    recorded = as_recorded(settings)
    kept = {key: value for key, value in settings.items() if key not in NEW_KEYS}
    assert {key: value for key, value in recorded.items() if value != {}} == kept | {
        "_target_": f"genregrid.models.{CLASSES[name]}"
    }
    target, arguments = today(recorded["_target_"])
    assert recorded | arguments | {"_target_": target} == settings


def test_other_arguments_of_an_estimator_are_recorded(composed: Callable[..., DictConfig]) -> None:
    settings = plain(composed("model=logistic", "model.max_iter=10").model)
    assert as_recorded(settings) == settings


@pytest.mark.parametrize("name", ["logistic", "lstm_knn"])
def test_an_older_checkpoint_loads(name: str, composed: Callable[..., DictConfig], tmp_path: Path) -> None:
    facts = {"genres": ["a", "b"], "feature_names": ["rms_mean"], "slice_seconds": 3.0}
    model = instantiate(composed(f"model={name}").model, **facts, _convert_="all")
    arguments = {key: value for key, value in model.hparams.items() if key not in NEW_KEYS}
    content = {
        "pytorch-lightning_version": "2.6.0",
        "state_dict": model.state_dict(),
        "hyper_parameters": arguments,
        CHECKPOINT_KEY: {"model_class": f"genregrid.models.{CLASSES[name]}", "protocol": "track"},
    }
    torch.save(content, tmp_path / "old.ckpt")
    loaded = load_checkpoint(tmp_path / "old.ckpt")
    assert type(loaded) is type(model)
    assert loaded.provenance == {"protocol": "track"}
    assert dict(loaded.hparams) == {key: value for key, value in model.hparams.items() if value != {}}


@pytest.mark.parametrize("name", ["os.system", "genregrid.models.kernel.SetKernelClassifier", "genregrid.models.x.LDA"])
def test_a_checkpoint_of_another_class_is_refused(name: str, tmp_path: Path, user_error: Callable[..., Any]) -> None:
    content = {CHECKPOINT_KEY: {"model_class": name}, "state_dict": {}, "hyper_parameters": {}}
    torch.save(content, tmp_path / "foreign.ckpt")
    with user_error("checkpoint", tmp_path / "foreign.ckpt", problem=name):
        load_checkpoint(tmp_path / "foreign.ckpt")
