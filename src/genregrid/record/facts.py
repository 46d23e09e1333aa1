"""What was run, on what data and by which versions: `RunFacts` (run.json) and `Provenance` (kept in a checkpoint)."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Self, get_args, get_origin, get_type_hints

from genregrid.config import PROTOCOLS, DatasetConfig, SplitConfig, split_label
from genregrid.errors import UserError
from genregrid.exhibit.mark import Mark
from genregrid.models.former import as_recorded

if TYPE_CHECKING:
    from genregrid.data.datamodule import GenreDataModule  # imports torch, which a report does without

_PACKAGES = ("genregrid", "torch", "lightning", "torchmetrics", "numpy", "pandas", "scikit-learn", "skops")
# Keys that name a run or its data and are facts themselves; the other keys distinguish settings of one model.
_NOT_SETTINGS = {"dataset", "split", "slice", "seed", "logger", "resume", "search"}
# Keys that change where and how fast a run is computed, not its result.
_NO_EFFECT = {
    f"trainer.{name}" for name in ("accelerator", "strategy", "threads", "progress_bar", "stack", "checkpoint_seconds")
}
# Keys that locate data; the identity of a run has the hashes of the data instead.
_LOCATIONS = {f"dataset.{name}" for name in ("root", "path", "cache", "downloads", "hint")}
# Facts that only some runs have; run.json leaves them out where they are missing.
_OPTIONAL = ("recipe", "identity", "checkpoint", "trained_on", "search", "members")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What was run, on what data and by which versions: the content of run.json, in its order."""

    model: str  # name in outputs
    seed: int  # of initial weights and batches
    settings: dict[str, Any]  # other settings of the configuration by dotted key
    started: str  # ISO 8601, UTC
    versions: dict[str, str]  # of Python and packages
    commit: str | None  # of the source, with a plus if it had uncommitted changes; None outside of git
    dataset: str  # name of the corpus
    dataset_label: str  # label of the corpus in outputs
    synthetic: bool  # whether the corpus of training or test is a statistical twin
    recipe: str | None = None  # of the descriptors; None in old run folders
    slice_seconds: float
    protocol: str  # how tracks are divided into parts
    leaks: bool  # whether test tracks were trained on
    folds: int
    fold: int  # number of the test fold
    val_folds: int | None  # None if the protocol has no validation folds
    val_fold: int = 0
    split_seed: int  # of the division into folds
    num_tracks: dict[str, int]  # by part
    data_hashes: dict[str, str]  # SHA-256 of every table, by file name
    identity: str = ""  # see `identity`; empty if nothing was trained
    checkpoint: str | None = None  # path of the checkpoint that was scored
    trained_on: str | None = None  # corpus and protocol of that checkpoint's training
    search: dict[str, Any] | None = None  # settings of the search that a trial belongs to
    members: list[dict[str, Any]] | None = None  # of an ensemble: model, weight, temperature and runs

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Warnings that every output of the run must show."""
        holds = {Mark.LEAKS: self.leaks, Mark.SYNTHETIC: self.synthetic}
        return tuple(mark for mark in Mark if holds[mark])

    @property
    def split_label(self) -> str:
        """Name of the protocol in outputs, with LEAKS where test tracks were trained on."""
        return split_label(self.protocol, self.leaks)

    @property
    def dataset_title(self) -> str:
        """Label of the corpus for readers, with SYNTHETIC where it is."""
        return marked_name(self.dataset_label, self.marks)

    @property
    def cell_name(self) -> str:
        """Name of the run's cell within a corpus, such as ``lstm-slice3-track``; see `cell_name`."""
        return cell_name(self.model, self.slice_seconds, self.split_label)

    @property
    def cell_title(self) -> str:
        """Name of the run's cell for readers, with SYNTHETIC where the corpus is."""
        return marked_name(self.cell_name, self.marks)

    @property
    def origin(self) -> str:
        """Corpus and protocol, as `trained_on` has them for a checkpoint of this run."""
        return f"{self.dataset_label} ({self.split_label})"

    def to_json(self) -> dict[str, Any]:
        """Return the content of run.json, as plain values."""
        content: dict[str, Any] = {}
        for name, value in vars(self).items():
            if name == "leaks":
                content |= {"split_label": self.split_label, name: value, "marks": [str(mark) for mark in self.marks]}
            elif value or name not in _OPTIONAL:
                content[name] = value
        return content

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: object) -> Self:
        """Read the content of a run.json; `source` is the file, for the error. Keys that are not facts are ignored.

        Raises:
            UserError: a key is missing or has a value of another type.
        """
        return cls(**_checked(cls, content, source))


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a checkpoint keeps about the training of its weights: plain values only."""

    facts: RunFacts  # of the training run
    config: dict[str, Any]  # the resolved configuration as plain dicts
    tracks: dict[str, list[str]]  # names of the tracks of each part
    seen: list[int]  # fingerprints of training and validation tracks, to recognise them under other names
    root: str  # `dataset.root` before interpolations are resolved, as data may move
    source_slice_seconds: float  # slice length of the table that slices were pooled from
    window_slices: int  # longest window of training

    @property
    def known_tracks(self) -> set[str]:
        """Names of the tracks of training and validation."""
        return {*self.tracks["train"], *self.tracks["val"]}

    def to_json(self) -> dict[str, Any]:
        """Return one flat dict of plain values: the facts, then the rest."""
        return self.facts.to_json() | {name: value for name, value in vars(self).items() if name != "facts"}

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: object) -> Self:
        """Read what `to_json` returned; arguments and errors as in `RunFacts.from_json`."""
        return cls(facts=RunFacts.from_json(content, source), **_checked(cls, content, source))


def training_facts(
    model_name: str, config: Any, dataset: DatasetConfig, split: SplitConfig, datamodule: "GenreDataModule"
) -> RunFacts:
    """Describe a training run; `config` is the resolved `TrainConfig` as plain dicts."""
    settings = _settings(config, without=_NOT_SETTINGS | _NO_EFFECT)
    if settings["trainer.devices"] == 1:  # runs that are older than this setting have one device and lack the key
        del settings["trainer.devices"]
    return RunFacts(
        model=model_name,
        seed=config["seed"],
        settings=settings | {"dataset.include_length": config["dataset"]["include_length"]},
        **start_facts(),
        **_data_facts(dataset, split, datamodule),
        synthetic=dataset.synthetic,
        leaks=datamodule.split.leaks,
        identity=identity(model_name, config, datamodule.table.hashes),
    )


def evaluation_facts(
    trained: RunFacts,
    dataset: DatasetConfig,
    split: SplitConfig,
    datamodule: "GenreDataModule",
    leaks: bool,
    checkpoint: str,
) -> RunFacts:
    """Describe the evaluation of a checkpoint, from the facts of its training and the test data."""
    return replace(
        trained,
        **_data_facts(dataset, split, datamodule),
        synthetic=dataset.synthetic or trained.synthetic,
        leaks=leaks,
        identity="",
        checkpoint=checkpoint,
        trained_on=trained.origin,
    )


def _data_facts(dataset: DatasetConfig, split: SplitConfig, datamodule: "GenreDataModule") -> dict[str, Any]:
    """Return the fields of `RunFacts` about a table and its split, other than marks."""
    has_folds = split.protocol in PROTOCOLS and split.protocol != "filtered"
    return {
        "dataset": dataset.name,
        "dataset_label": dataset.label,
        "recipe": dataset.recipe,
        "slice_seconds": datamodule.table.slice_seconds,
        "protocol": split.protocol,
        "folds": split.folds if has_folds else 1,
        "fold": split.fold if has_folds else 0,
        "val_folds": split.val_folds if has_folds else None,
        "val_fold": split.val_fold if has_folds else 0,
        "split_seed": split.seed,
        "num_tracks": {part: len(tracks) for part, tracks in datamodule.tracks.items()},
        "data_hashes": datamodule.table.hashes,
    }


def identity(model_name: str, config: Any, data_hashes: dict[str, str]) -> str:
    """Hash what determines a result, settings and data, to 16 hexadecimal digits; equal runs have equal identities."""
    settings = _settings(config, without={"logger", "resume"} | _NO_EFFECT | _LOCATIONS)
    content = json.dumps([model_name, settings, sorted(data_hashes.values())], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def identity_in(content: Mapping[str, Any]) -> str | None:
    """Return the identity in the content of a run.json or a checkpoint; ``None`` where it has none."""
    return content.get("identity")


def start_facts() -> dict[str, Any]:
    """Return the facts started, versions and commit of a run that starts now."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def marked_name(name: str, marks: Iterable[Mark]) -> str:
    """Add SYNTHETIC to a name if it is among the marks; LEAKS is part of every `split_label`.

    >>> marked_name("mine", (Mark.SYNTHETIC,)), marked_name("gtzan", ())
    ('mine (SYNTHETIC)', 'gtzan')
    """
    return f"{name} ({Mark.SYNTHETIC})" if Mark.SYNTHETIC in marks else name


def cell_name(model: str, slice_seconds: float, split: str = "") -> str:
    """Name a cell within a corpus: model, slice length in seconds and, if given, the label of its protocol.

    >>> cell_name("lstm", 3.0, "track"), cell_name("mlp", 0.5)
    ('lstm-slice3-track', 'mlp-slice0.5')
    """
    return f"{model}-slice{slice_seconds:g}" + (f"-{split}" if split else "")


def _checked(cls: Any, content: Mapping[str, Any], source: object) -> dict[str, Any]:
    """Return the values of a dataclass's fields other than `facts`, each of the declared type."""
    hints, hint = get_type_hints(cls), "its version of genregrid may differ: make it again"
    names = {field.name: field.default is MISSING for field in fields(cls) if field.name != "facts"}
    for name, is_required in names.items():
        if is_required and name not in content:
            raise UserError(f"it has no key '{name}'", key=source, hint=hint)
        if name in content and not _has_type(content[name], hints[name]):
            raise UserError(f"its key '{name}' has a value of a wrong type, {content[name]!r}", key=source, hint=hint)
    return {name: content[name] for name in names if name in content}


def _has_type(value: Any, hint: Any) -> bool:
    """Return whether a value has a type; a whole number is a float, but true and false are no numbers.

    >>> _has_type(3, float), _has_type(True, int), _has_type(None, str | None), _has_type([1], dict[str, int])
    (True, False, True, False)
    """
    if isinstance(hint, UnionType):
        return any(_has_type(value, one) for one in get_args(hint))
    kind = get_origin(hint) or hint
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _settings(config: dict[str, Any], without: set[str]) -> dict[str, Any]:
    """Return a configuration by dotted keys, with the model as records name it."""
    kept = {key: value for key, value in config.items() if key not in without}
    flat = _flatten(kept | {"model": as_recorded(config["model"])})
    return {key: value for key, value in flat.items() if key not in without}


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _commit() -> str | None:
    """Return the commit of this source tree, with a plus where it has uncommitted changes; ``None`` outside of git."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
