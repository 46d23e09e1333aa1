"""Score a checkpoint: ``python evaluate.py checkpoint=PATH [dataset=...] [split=...] [seed=...]``."""

from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.command import Command
from genregrid.cli.place import given_checkpoint
from genregrid.config import DatasetConfig


def score(cfg: DictConfig, folder: Path) -> str:
    """Score a checkpoint on tracks that it was not trained on, and return its table."""
    from genregrid.training.evaluation import (
        evaluate,  # torch and Lightning take seconds to import; a report needs neither
    )

    checkpoint = given_checkpoint(cfg.checkpoint)
    return evaluate(cfg, folder, checkpoint=checkpoint, dataset_named=dataset_named).summary()


def dataset_named(name: str) -> DatasetConfig | None:
    """Return a dataset of conf/dataset by its name; ``None`` if there is none of this name.

    The name may come from a checkpoint, so it is used only as one of the choices.
    """
    loader = GlobalHydra.instance().config_loader()
    if name not in loader.get_group_options("dataset"):
        return None
    composed = loader.load_configuration("evaluate", [f"dataset={name}"], RunMode.RUN)
    dataset: DatasetConfig = OmegaConf.to_object(composed.dataset)  # type: ignore[assignment]  # its schema's class
    return dataset


SCORE = Command(
    "checkpoint=PATH",
    "score a model on its test tracks, or on the tracks of dataset=",
    score,
    takes=("dataset", "split", "seed", "logger"),
)
