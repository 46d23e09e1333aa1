"""Schema of the configuration: keys, types, defaults and allowed values.

Hydra checks keys and types when it composes a configuration. ``__post_init__`` checks values and raises `UserError`; it
runs when ``OmegaConf.to_object`` makes these dataclasses. Imports nothing heavy, so that ``--help`` answers at once.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from genregrid.errors import UserError
from genregrid.files import folder_name
from genregrid.name import (
    MOST_COLUMNS,
    MOST_GENRE_CHARACTERS,
    MOST_GENRES,
    MOST_RECIPE_CHARACTERS,
    look_alikes,
    name_fault,
    shown_apart,
)

#: The protocol of a final model: every track is trained on, and none is tested.
NO_TEST = "none"
PROTOCOLS = ("track", "artist", "filtered", "official", "row", "misaligned", "mixed", NO_TEST)
#: Protocols whose parts are published with the corpus.
PUBLISHED_PROTOCOLS = ("filtered", "official")
#: Protocols without folds.
UNFOLDED_PROTOCOLS = (*PUBLISHED_PROTOCOLS, NO_TEST)
LEAKING_PROTOCOLS = ("row", "misaligned", "mixed")
#: The protocol of an evaluation that tests on every track of a corpus; not a choice on the command line.
EVERY_TRACK = "all"
#: Scores that a search can choose by, and whether a higher score is better.
SEARCH_SCORES = {"loss": False, "accuracy": True, "f1_macro": True}
#: How several devices work together. Other strategies of Lightning do not return predictions to the first process.
STRATEGIES = ("auto", "ddp")
#: Longest slice in seconds, a day; no recording in one piece is longer.
MOST_SLICE_SECONDS = 86_400.0
# Shortest slice in seconds: a tenth of a frame of the Fourier transform.
_LEAST_SLICE_SECONDS = 0.01
# Characters of the name of a corpus, which is part of folder names.
_MOST_LABEL_CHARACTERS = 100
_MAX_SEED = 2**32 - 1  # the largest that NumPy and Lightning accept
_MAX_COUNT = 1_000_000_000  # windows, slices, epochs: more than any corpus or machine has, and exact in 32 bits
_MAX_THREADS = 256  # far more cores than a fit can use; starting 10,000 threads takes minutes
_MAX_TRIALS = 100_000  # every trial reads all earlier ones
_MAX_JOBS = 1_000  # processes at once
_PARTS = ("train", "val", "test")
_ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
_PRECISIONS = ("32-true", "32", "64-true", "64", "16-mixed", "bf16-mixed")


#: Problems of a value that must be a number.
EXPECTED_NUMBERS = ("expected a number", "expected a whole number")
# OmegaConf names Python's types; by a part of its message, the same in plain words
_EXPECTED = {
    "is not Optional": "it must not be null",
    "to Integer": EXPECTED_NUMBERS[1],
    "to Float": EXPECTED_NUMBERS[0],
    "Union[int, float]": EXPECTED_NUMBERS[0],
    "valid bool": "expected true or false",
}

#: Keys whose value on the command line is text, a path or a label, whatever its characters (`genregrid.cli.override`).
TEXT_KEYS = {"audio", "checkpoint", "ensemble", "human", "music", "runs", "logger.project", "logger.group"}
TEXT_KEYS |= {
    f"dataset.{name}" for name in ("path", "root", "artists", "official", "cache", "name", "corpus", "label", "recipe")
}
TEXT_KEYS |= {f"dataset.filtered.{part}" for part in _PARTS}
TEXT_KEYS |= {"hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"}
#: Of these, keys of labels; the others take paths.
LABEL_KEYS = {"logger.project", "logger.group"}
LABEL_KEYS |= {f"dataset.{name}" for name in ("name", "corpus", "label", "recipe", "genres", "features")}
#: Text keys that `null` takes back; a file of that name is ./null.
TEXT_OR_NULL = {"dataset.artists", "dataset.official", "logger.group"}
#: Keys that take a list of texts.
TEXT_LISTS = {"audio", "ensemble", "runs", "dataset.tables", "dataset.genres", "dataset.features", "hydra.searchpath"}
#: Keys that take a text for each name.
TEXT_DICTS = {"dataset.filtered"}


def split_label(protocol: str, leaks: bool) -> str:
    """Return the name of a split in folder names and tables.

    >>> split_label("row", leaks=True), split_label("track", leaks=False)
    ('row-LEAKS', 'track')
    """
    return f"{protocol}-LEAKS" if leaks else protocol


# Folder names in conf/ need the label before any dataclass is made, so it is a resolver. It is registered on import
# because a worker process imports this module when it unpickles a configuration, and nothing else of train.py.
OmegaConf.register_new_resolver(
    "split_label", lambda protocol: split_label(protocol, protocol in LEAKING_PROTOCOLS), replace=True
)
# Hydra makes the run folder before any dataclass is made, so a label that cannot be a folder is cleaned there too.
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
_DERIVED_LABEL = "${split_label:${.protocol}}"


@dataclass
class DatasetConfig:
    """A corpus: where its tables are and how to read them.

    Attributes:
        name: of the corpus, for messages.
        corpus: which recordings the track names mean; two datasets of one corpus share its tracks.
        label: name in folder names and tables; it contains "synthetic" if the corpus is synthetic.
        recipe: name of the recipe of the descriptors; "unknown" takes it from the note beside a CSV, if there is one.
            Models and tables of two recipes are never mixed.
        root: folder that relative paths start from.
        path: one feature CSV instead of `tables`, relative to the working directory.
        tables: feature CSVs. Those of the wanted slice length are read, otherwise those that can be pooled to it.
        table_slice_seconds: slice length of all `tables` in seconds; ``None`` reads it from each file.
        features: which columns are descriptors: ``all`` that hold numbers, a name, a pattern such as ``e*``, or a list
            of those; ``None`` for the columns of the recipe, or Kaggle's 57 if it is unknown.
        pooling: how a column is pooled into longer slices whose name ends in neither ``_mean`` nor ``_var``: ``mean``;
            ``None`` refuses it.
        genres: genre names in the order of the logits; ``None`` takes those of the table, sorted.
        artists: path of the artist index, if there is one.
        official: path of a table with the official part of each track: FMA's tracks.csv.
        filtered: path of the published list of each part ("train", "val", "test"), if there are lists.
        include_length: whether the column `length` becomes a descriptor.
        cache: folder for the tables as files that are mapped into memory (`genregrid.data.store`).
        synthetic: whether the corpus is the statistical twin, which is drawn and not read.
        num_tracks: size of the twin, a multiple of 10 from 20 to 1000000.
        downloads: ``urls`` and ``hashes`` by path below `root`, for files that are downloaded when missing; a table
            also has ``slice_seconds``.
        hint: what the files are, for the message about a missing one.
    """

    name: str = MISSING
    corpus: str = MISSING
    label: str = MISSING
    recipe: str = "unknown"
    root: str = "."
    path: str | None = None
    tables: list[str] = field(default_factory=list)
    table_slice_seconds: float | None = None
    features: Any = None  # str | list[str] | None, which OmegaConf 2.3 cannot declare
    pooling: str | None = None
    genres: list[str] | None = None
    artists: str | None = None
    official: str | None = None
    filtered: Any = None  # dict[str, str] | None, but OmegaConf 2.3 cannot merge a dict into a typed one that is null
    include_length: bool = False
    cache: str | None = None
    synthetic: bool = False
    num_tracks: int = 1000
    downloads: Any = None  # dict[str, Any] | None, as above
    hint: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "corpus", "label", "recipe"):
            most = MOST_RECIPE_CHARACTERS if name == "recipe" else _MOST_LABEL_CHARACTERS
            fault = name_fault(str(getattr(self, name)), most)
            _require(self, f"dataset.{name}", fault is None, fault or "")
        is_folder = not self.label.startswith(".") and not {"/", "\\"} & set(self.label)
        problem = "it names folders, so it has no slash and does not begin with a dot"
        _require(self, "dataset.label", is_folder, problem)
        _check_genres(self.genres)
        seconds = self.table_slice_seconds
        is_length = seconds is None or _LEAST_SLICE_SECONDS <= seconds <= MOST_SLICE_SECONDS  # not NaN
        problem = f"a slice has {_LEAST_SLICE_SECONDS:g} to {MOST_SLICE_SECONDS:g} seconds"
        _require(self, "dataset.table_slice_seconds", is_length, problem)
        names = [self.features] if isinstance(self.features, str) else self.features
        are_names = names is None or (isinstance(names, list) and 0 < len(names) <= MOST_COLUMNS)
        are_names = are_names and all(isinstance(name, str) and name.strip() for name in names or ())
        problem = "a name, a pattern such as e*, a list of those, or all"
        _require(self, "dataset.features", are_names, problem)
        _require(
            self, "dataset.features", names is None or not self.synthetic, "the twin has Kaggle's descriptors only"
        )
        _require(self, "dataset.pooling", self.pooling in (None, "mean"), "mean, or null to refuse such columns")
        is_file = self.path is None or not (self.synthetic or self.tables)
        problem, hint = "only dataset=csv reads a path", "add dataset=csv"
        if self.tables and not self.synthetic:
            problem, hint = "dataset.tables names tables too", "take dataset=csv, with only one of the two"
        _require(self, "dataset.path", is_file, problem, hint)
        hint = "leave it out, or write a CSV of the twin first"
        _require(self, "dataset.cache", self.cache is None or not self.synthetic, "the twin is drawn, not read", hint)
        is_size = not self.num_tracks % 10 and 20 <= self.num_tracks <= 1_000_000
        problem = "a multiple of 10 from 20 to 1000000"
        _require(self, "dataset.num_tracks", is_size or not self.synthetic, problem)
        problem = "a list of tracks for each part, {train:FILE,val:FILE,test:FILE}, or null"
        _require(self, "dataset.filtered", self.filtered is None or _are_lists(self.filtered), problem)
        problem = "a dict of files below dataset.root, each with lists of urls and hashes, or null"
        _require(self, "dataset.downloads", self.downloads is None or _are_downloads(self.downloads), problem)


@dataclass
class SplitConfig:
    """How a table is divided into training, validation and test.

    Attributes:
        protocol: one of `PROTOCOLS`.
        label: `split_label` of the protocol, which conf/train.yaml puts into folder names. It is derived; a different
            value is refused.
        folds: number of folds, at least 2; one fold is the test part. ``filtered`` and ``official`` have one.
        fold: which fold is the test part, 0 to ``folds - 1``.
        val_folds: one in `val_folds` of what is not test becomes validation, by the same rule; at least 2.
        val_fold: which of them, 0 to ``val_folds - 1``. Runs that differ only in it share a test part; together, their
            training parts cover everything outside it.
        seed: of the shuffle before the folds are drawn, at least 0; ``None``, in an evaluation only, takes the seed of
            the checkpoint's split.
        allow_leak: whether a leaking protocol may run.
    """

    protocol: str = MISSING
    label: str = _DERIVED_LABEL
    folds: int = 5
    fold: int = 0
    val_folds: int = 8
    val_fold: int = 0
    seed: int | None = 0
    allow_leak: bool = False

    def __post_init__(self) -> None:
        _check_protocol(self, (*PROTOCOLS, EVERY_TRACK))
        leaks = self.protocol in LEAKING_PROTOCOLS
        label = split_label(self.protocol, leaks)
        problem = f"the label of split.protocol={self.protocol} is '{label}'"
        _require(self, "split.label", self.label in (label, _DERIVED_LABEL), problem, "leave it out")
        self.label = label
        _require(self, "split.folds", self.folds >= 2, "2 folds or more, one of them to test on")
        problem = f"with split.folds={self.folds} the folds are numbered 0 to {self.folds - 1}"
        _require(self, "split.fold", 0 <= self.fold < self.folds, problem)
        _require(self, "split.val_folds", self.val_folds >= 2, "2 or more, as one becomes validation")
        is_open = self.protocol not in PUBLISHED_PROTOCOLS or self.val_fold == 0
        problem = f"under split={self.protocol} the published lists fix the validation part"
        _require(self, "split.val_fold", is_open, problem, "leave it out")
        problem = f"with split.val_folds={self.val_folds} they are numbered 0 to {self.val_folds - 1}"
        _require(self, "split.val_fold", 0 <= self.val_fold < self.val_folds, problem)
        if leaks and not self.allow_leak:
            problem = "this protocol leaks test tracks into training and is a negative control only"
            hint = "add split.allow_leak=true to run it, or take split=track or split=artist"
            raise UserError(problem, key="split", value=self.protocol, hint=hint)


@dataclass
class TrainerConfig:
    """How long and where to train (conf/train.yaml explains each key)."""

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

    def __post_init__(self) -> None:
        for name, most, problem in (
            ("max_epochs", _MAX_COUNT, "1 epoch or more"),
            ("patience", _MAX_COUNT, "1 epoch or more, or null for no early stop"),
            ("devices", _MAX_COUNT, "1 device or more"),  # `genregrid.training.devices` counts those of the machine
            ("threads", _MAX_THREADS, "1 thread or more, or null to choose"),
            ("stack", _MAX_COUNT, "1 fit at a time, or more"),
        ):
            value = getattr(self, name)
            _require(self, f"trainer.{name}", value is None or value >= 1, problem)
            _require(self, f"trainer.{name}", value is None or value <= most, f"at most {most}")
        _require(self, "trainer.checkpoint_seconds", self.checkpoint_seconds >= 0, "0 seconds or more")  # not NaN
        problem = f"choose {' or '.join(STRATEGIES)}; other strategies do not return predictions"
        _require(self, "trainer.strategy", self.strategy in STRATEGIES, problem)
        problem = f"choose one of {', '.join(_ACCELERATORS)}"
        _require(self, "trainer.accelerator", self.accelerator in _ACCELERATORS, problem)
        clip = self.gradient_clip_val
        problem = "a norm of 0 or more, or null for none"
        _require(self, "trainer.gradient_clip_val", clip is None or 0 <= clip < math.inf, problem)
        is_precise = self.precision not in ("16-true", "bf16-true")
        hint = "take 16-mixed or bf16-mixed, which compute in half precision where it is safe"
        _require(self, "trainer.precision", is_precise, "descriptors from 1e-9 to 1e7 need 32 bits", hint)
        problem = f"choose one of {', '.join(_PRECISIONS)}"
        _require(self, "trainer.precision", self.precision in _PRECISIONS, problem)


@dataclass
class SearchConfig:
    """A search of settings (conf/sweep). A job that has one is a trial, scored on validation tracks only.

    Attributes:
        num_trials: 1 to 100000.
        num_folds: inner folds of a trial, 1 or more.
        score: one of `SEARCH_SCORES`.
        prune: whether a trial that does badly ends early.
        num_jobs: trials at once, 1 to 1000.
        seed: of the sampler, 0 to 4294967295.
        study: folder of the study; the sweeper sets it.
        trial: number of the trial; the sweeper sets it.
    """

    num_trials: int = 50
    num_folds: int = 3
    score: str = "loss"
    prune: bool = True
    num_jobs: int = 1
    seed: int = 0
    study: str | None = None
    trial: int | None = None

    def __post_init__(self) -> None:
        for name, most in (("num_trials", _MAX_TRIALS), ("num_folds", _MAX_TRIALS), ("num_jobs", _MAX_JOBS)):
            _require(self, f"search.{name}", 1 <= getattr(self, name) <= most, f"1 or more, at most {most}")
        _require(self, "search.score", self.score in SEARCH_SCORES, f"choose one of {', '.join(SEARCH_SCORES)}")
        _require(self, "search.seed", 0 <= self.seed <= _MAX_SEED, f"a seed is 0 to {_MAX_SEED}")


@dataclass
class TrainConfig:
    """The whole of conf/train.yaml."""

    dataset: DatasetConfig = MISSING
    split: SplitConfig = MISSING
    model: Any = MISSING
    logger: Any = None
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    slice: int | float = 3
    features: str | None = None
    window: int | str = "track"
    hop_slices: int | None = None
    batch_size: int = 16
    seed: int = 0
    resume: bool = False
    final: bool = False
    music: str | None = None
    search: SearchConfig | None = None

    def __post_init__(self) -> None:
        # first, as split.seed takes the same value
        _require(self, "seed", 0 <= self.seed <= _MAX_SEED, f"a seed is 0 to {_MAX_SEED}")
        _check_split(self.split)
        _require(self.split, "split.seed", self.split.seed is not None, "training needs a seed of 0 or more")
        is_scored = self.split.protocol not in (NO_TEST, *LEAKING_PROTOCOLS)
        problem, hint = "it scores the settings by folds first, which this split does not", "take split=artist or track"
        _require(self, "final", is_scored or not self.final, f"with split={self.split.protocol}, {problem}", hint)
        is_search = self.search is not None
        hint = "search under split=artist or track, then train with final=true"
        problem = "every track is trained on, and a search needs validation tracks"
        _require(self.split, "split.protocol", not is_search or self.split.protocol != NO_TEST, problem, hint)
        _require(self, "final", not is_search or not self.final, "a trial of a search trains no final model", hint)
        problem = f"a slice has {_LEAST_SLICE_SECONDS:g} to {MOST_SLICE_SECONDS:g} seconds"
        _require(self, "slice", _LEAST_SLICE_SECONDS <= self.slice <= MOST_SLICE_SECONDS, problem)
        fault = self.features is not None and name_fault(self.features, MOST_RECIPE_CHARACTERS)
        _require(self, "features", not fault, f"it cannot be the name of a recipe: {fault}")
        is_window = self.window == "track" or (not isinstance(self.window, str) and 1 <= self.window <= _MAX_COUNT)
        _require(self, "window", is_window, "a number of slices, 1 or more, or 'track' for the whole track")
        hop = self.hop_slices
        _require(self, "hop_slices", hop is None or 1 <= hop <= _MAX_COUNT, "1 slice or more between windows")
        is_hop = hop is None or self.window != "track"
        _require(self, "hop_slices", is_hop, "a hop has no meaning with window=track", "give window=N in slices")
        _require(self, "batch_size", 1 <= self.batch_size <= _MAX_COUNT, f"1 to {_MAX_COUNT} windows in a batch")


@dataclass
class EvaluateConfig:
    """The whole of conf/evaluate.yaml; `dataset` and `split` default to those of the checkpoint.

    `audio`, `ensemble` and `runs` are a path or a list of paths. `genregrid.cli` declares which keys go together.
    """

    checkpoint: str | None = None
    runs: Any = None
    ensemble: Any = None
    audio: Any = None
    reference: str | None = None
    human: str | None = None
    explain: bool | None = None
    dataset: DatasetConfig | None = None
    split: SplitConfig | None = None
    logger: Any = None
    seed: int | None = None

    def __post_init__(self) -> None:
        _require(self, "seed", self.seed is None or self.seed >= 0, "a seed is 0 or more")
        if self.split is not None:
            _check_split(self.split)
            problem = "it is a split of final models, which are trained on every track"
            hint = "take another split, or leave it out to score every track that the model was not trained on"
            _require(self.split, "split.protocol", self.split.protocol != NO_TEST, problem, hint)


def _are_lists(value: object) -> bool:
    return (
        isinstance(value, dict) and set(value) <= set(_PARTS) and all(isinstance(path, str) for path in value.values())
    )


def _are_downloads(value: object) -> bool:
    def are_texts(texts: object) -> bool:
        return isinstance(texts, list) and len(texts) > 0 and all(isinstance(text, str) for text in texts)

    return isinstance(value, dict) and all(
        isinstance(source, dict) and are_texts(source.get("urls")) and are_texts(source.get("hashes"))
        for source in value.values()
    )


def _require(settings: object, key: str, is_right: bool, problem: str, hint: str | None = None) -> None:
    if not is_right:
        raise UserError(problem, key=key, value=getattr(settings, key.rpartition(".")[2]), hint=hint)


def _check_genres(genres: list[str] | None) -> None:
    if genres is None:
        return
    problem = f"a list of 2 to {MOST_GENRES} genres, or null for those of the table"
    if not 2 <= len(genres) <= MOST_GENRES:
        raise UserError(problem, key="dataset.genres", value=genres)
    if unfit := [(genre, fault) for genre in genres if (fault := name_fault(genre, MOST_GENRE_CHARACTERS))]:
        raise UserError(f"'{unfit[0][0]}' cannot be a genre: {unfit[0][1]}", key="dataset.genres")
    genre, count = Counter(genres).most_common(1)[0]
    if count > 1:
        raise UserError(f"'{genre}' is listed twice", key="dataset.genres", hint="leave one of them out")
    if pair := look_alikes(genres):
        first, second = shown_apart(*pair)
        problem = f"'{second}' looks like another spelling of '{first}'"
        raise UserError(problem, key="dataset.genres", hint="keep one of them, or choose clearer names")


def _check_protocol(split: SplitConfig, known: tuple[str, ...] = PROTOCOLS) -> None:
    _require(split, "split.protocol", split.protocol in known, f"choose one of {', '.join(PROTOCOLS)}")


def _check_split(split: SplitConfig) -> None:
    _check_protocol(split)
    _require(split, "split.seed", split.seed is None or split.seed >= 0, "a seed is 0 or more")


def plain_problem(error: OmegaConfBaseException) -> str:
    """Return what is wrong with a value that OmegaConf refuses, in plain words."""
    message = str(error.msg).splitlines()[0]
    return next((plain for part, plain in _EXPECTED.items() if part in message), message)


def register_schemas() -> None:
    """Make the schemas known to Hydra under the names that conf/*.yaml use."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(name="evaluate_schema", node=EvaluateConfig)
