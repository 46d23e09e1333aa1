"""Schema of the configuration: a misspelt key or a wrong type is refused when the config is composed.

Imports nothing heavy, so that ``--help`` and config errors answer at once.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class DatasetConfig:
    """Arguments of `genregrid.data.corpus.load_corpus`, and what outputs call the corpus."""

    name: str = MISSING
    corpus: str = MISSING  # which recordings the track names stand for; two datasets of one corpus share its tracks
    label: str = MISSING  # in folder names and tables; says so where a corpus is synthetic
    recipe: str = "unknown"  # how the descriptors were computed; models and tables of two recipes are never mixed
    root: str = "."
    path: str | None = None
    tables: list[str] = field(default_factory=list)
    table_slice_seconds: float | None = None
    genres: list[str] | None = None
    artists: str | None = None
    filtered: dict[str, str] | None = None
    include_length: bool = False
    cache: str | None = None
    synthetic: bool = False
    num_tracks: int = 1000
    downloads: dict[str, Any] | None = None
    hint: str = ""


@dataclass
class SplitConfig:
    """Arguments of `genregrid.data.split.split_table`."""

    protocol: str = MISSING
    label: str = MISSING  # in folder names and tables; says LEAKS where the protocol does
    folds: int = 5
    fold: int = 0
    val_folds: int = 8
    val_fold: int = 0
    seed: int | None = 0  # None, in evaluation: the seed of the checkpoint's split
    allow_leak: bool = False


@dataclass
class TrainerConfig:
    """How long and where to train."""

    max_epochs: int = 50
    patience: int | None = None
    accelerator: str = "auto"
    devices: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    gradient_clip_val: float | None = None
    threads: int | None = None
    progress_bar: bool | None = None
    stack: int = 1
    checkpoint_seconds: float = 30.0


@dataclass
class SearchConfig:
    """What a search (conf/sweep) goes by; a job that has one is a trial, scored on validation tracks only."""

    num_trials: int = 50
    num_folds: int = 3
    score: str = "loss"
    prune: bool = True
    num_jobs: int = 1
    seed: int = 0
    study: str | None = None  # set by the sweeper: the folder of the study
    trial: int | None = None  # set by the sweeper: the number of the trial


@dataclass
class TrainConfig:
    """The whole of conf/train.yaml."""

    dataset: DatasetConfig = MISSING
    split: SplitConfig = MISSING
    model: Any = MISSING
    logger: Any = None
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    slice: int | float = 3
    window: int | str = "track"
    hop_slices: int | None = None
    batch_size: int = 16
    seed: int = 0
    resume: bool = False
    search: SearchConfig | None = None


@dataclass
class EvaluateConfig:
    """The whole of conf/evaluate.yaml; `dataset` and `split` default to those of the checkpoint."""

    checkpoint: str | None = None
    runs: str | None = None
    ensemble: Any = None  # a folder of runs, or a list of them
    audio: str | None = None
    reference: str | None = None
    human: str | None = None
    dataset: DatasetConfig | None = None
    split: SplitConfig | None = None
    logger: Any = None
    seed: int | None = None


def register_schemas() -> None:
    """Make the schemas known to Hydra under the names that conf/*.yaml use."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
