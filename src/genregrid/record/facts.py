"""What was run, on what data and by which versions: `RunFacts` (run.json) and `Provenance` (kept in a checkpoint)."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np

from genregrid.config import NO_TEST, PROTOCOLS, UNFOLDED_PROTOCOLS, DatasetConfig, SplitConfig, split_label
from genregrid.errors import UserError, counted, printable
from genregrid.exhibit.mark import Mark, union
from genregrid.models.argument import Allowed, is_number, is_whole
from genregrid.models.former import as_recorded
from genregrid.program import is_installed
from genregrid.record.card import Card, TrackMap
from genregrid.record.checked import HINT, checked, checked_dict

if TYPE_CHECKING:
    from genregrid.data.datamodule import GenreDataModule  # imports torch, which a report does without
    from genregrid.models.base import GenreClassifier

_PACKAGES = ("genregrid", "torch", "lightning", "torchmetrics", "numpy", "pandas", "scikit-learn", "skops")
# Keys that name a run or its data and are facts themselves; the other keys distinguish settings of one model.
_NOT_SETTINGS = {"dataset", "split", "slice", "features", "seed", "logger", "resume", "search", "final", "music"}
# Keys that change where and how fast a run is computed, not its result.
_NO_EFFECT = {
    f"trainer.{name}" for name in ("accelerator", "strategy", "threads", "progress_bar", "stack", "checkpoint_seconds")
}
# Keys that locate data; the identity of a run has the hashes of the data instead.
_LOCATIONS = {"features", *(f"dataset.{name}" for name in ("root", "path", "cache", "downloads", "hint"))}
# Settings that older runs lack; where they are null, the identity is the same as before.
_NEW_SETTINGS = {"dataset.features", "dataset.pooling", "dataset.official"}
# Facts that only some runs have; run.json leaves them out where they are missing.
_OPTIONAL = ("recipe", "may_overlap", "identity", "checkpoint", "trained_on", "search", "members")


#: A count, the number of a fold, or a seed.
_Number = Annotated[int, Allowed("0 or more", lambda value: is_whole(value, 0, 2**32))]
_Size = Annotated[int, Allowed("1 or more", lambda value: is_whole(value, 1, 2**32))]
_Seconds = Annotated[float, Allowed("a thousandth or more", lambda value: is_number(value, 0.001, 1e6))]
_MOST_TRACKS = 2_000_000
# Fields of `Provenance` that are made from other keys.
_CHECKED_APART = ("facts", "split", "tracks", "seen", "card", "map")
_PARTS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What was run, on what data and by which versions: the content of run.json, in its order."""

    model: str  # name in outputs
    seed: _Number  # of initial weights and batches
    settings: dict[str, Any]  # other settings of the configuration by dotted key
    started: str  # ISO 8601, UTC
    versions: dict[str, str]  # of Python and packages
    commit: str | None  # of the source, with a plus if it had uncommitted changes; None outside of git
    dataset: str  # name of the corpus
    dataset_label: str  # label of the corpus in outputs
    synthetic: bool  # whether the corpus of training or test is a statistical twin
    recipe: str | None = None  # of the descriptors; None in old run folders
    may_overlap: bool = False  # whether the network of the recipe may have been trained on the test music
    slice_seconds: _Seconds
    protocol: str  # how tracks are divided into parts
    leaks: bool  # whether test tracks were trained on
    folds: _Number
    fold: _Number  # number of the test fold
    val_folds: _Number | None  # None if the protocol has no validation folds
    val_fold: _Number = 0
    split_seed: _Number  # of the division into folds
    num_tracks: dict[str, _Number]  # by part
    data_hashes: dict[str, str]  # SHA-256 of every table, by file name
    identity: str = ""  # see `identity`; empty if nothing was trained
    checkpoint: str | None = None  # path of the checkpoint that was scored
    trained_on: str | None = None  # corpus and protocol of that checkpoint's training
    search: dict[str, Any] | None = None  # settings of the search that a trial belongs to
    members: list[dict[str, Any]] | None = None  # of an ensemble: model, weight, temperature and runs

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Warnings that every output of the run must show."""
        holds = {Mark.LEAKS: self.leaks, Mark.SYNTHETIC: self.synthetic, Mark.MAY_OVERLAP: self.may_overlap}
        return tuple(mark for mark in Mark if holds[mark])

    @property
    def split_label(self) -> str:
        """Name of the protocol in outputs, with LEAKS where test tracks were trained on."""
        return split_label(self.protocol, self.leaks)

    @property
    def dataset_title(self) -> str:
        """Label of the corpus for readers, with its marks other than LEAKS."""
        return marked_name(self.dataset_label, self.marks)

    @property
    def cell_name(self) -> str:
        """Name of the run's cell within a corpus, such as ``lstm-slice3-track``; see `cell_name`."""
        return cell_name(self.model, self.slice_seconds, self.split_label)

    @property
    def cell_title(self) -> str:
        """Name of the run's cell for readers, with its marks other than LEAKS."""
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
        return cls(**checked(cls, content, source))


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a checkpoint keeps about the training of its weights: what it knows, and no path or address.

    It is data from a file: nothing in it is resolved, imported or opened.
    """

    facts: RunFacts  # of the training run
    corpus: str  # which recordings the names of tracks mean
    twin_tracks: _Number  # size of the statistical twin; without a meaning for other corpora
    split: SplitConfig
    window: _Size | None  # slices; None for whole tracks
    hop_slices: _Size | None
    batch_size: _Size
    seed: _Number
    tracks: dict[str, list[str]]  # names of the tracks of each part
    seen: list[int]  # fingerprints of training and validation tracks, to recognise them under other names
    source_slice_seconds: _Seconds  # slice length of the table that slices were pooled from
    window_slices: _Size  # longest window of training
    path: str | None = None  # of the CSV, in the checkpoints of older versions; only shown
    card: Card | None = None  # of a final model
    map: TrackMap | None = None  # of a final model whose tracks could be mapped

    @cached_property
    def known_tracks(self) -> set[str]:
        """Names of the tracks of training and validation."""
        return {*self.tracks["train"], *self.tracks["val"]}

    @property
    def title(self) -> str:
        """Description of the model in one line, with its marks."""
        facts = self.facts
        more = "; trained on a synthetic twin, not on music" if facts.synthetic else ""
        more += "; its descriptors are those of a network that may know these recordings" if facts.may_overlap else ""
        on = f"{facts.dataset_title} ({facts.split_label})"
        if facts.protocol == NO_TEST:
            on = f"all {counted(len(self.tracks['train']), 'track')} of {facts.dataset_title}"
        return printable(
            f"{facts.model}, trained on {on}, {facts.slice_seconds:g} s slices, recipe {facts.recipe}{more}"
        )

    def notes_on(self, fingerprint: int, names: set[str]) -> list[str]:
        """Warn if training or validation had a recording, by its features to the last bit or by one of its names."""
        if fingerprint in self._fingerprints:
            return ["the model was trained on this recording: its answer is no test"]
        if known := names & self.known_tracks:
            return [f"the model was trained on a {min(known)}: if it is this recording, its answer is no test"]
        return []

    @cached_property
    def _fingerprints(self) -> set[int]:
        return set(self.seen)

    def to_json(self) -> dict[str, Any]:
        """Return one dict of plain values: the facts, then the rest.

        Names of tracks are one text for each part, and fingerprints a tensor: a million of them are read at once.
        """
        import torch  # a report reads facts only, and does without it

        seen = np.array(self.seen, np.uint64).view(np.int64)
        return self.facts.to_json() | {
            "config": {
                "dataset": {"corpus": self.corpus, "num_tracks": self.twin_tracks},
                "split": asdict(self.split),
                "window": self.window or "track",
                "hop_slices": self.hop_slices,
                "batch_size": self.batch_size,
                "seed": self.seed,
            },
            "tracks": {part: _joined(names) for part, names in self.tracks.items()},
            "seen": torch.from_numpy(seen),
            "source_slice_seconds": self.source_slice_seconds,
            "window_slices": self.window_slices,
            **({} if self.card is None else {"card": self.card.to_json()}),
            **({} if self.map is None else {"map": self.map.to_json()}),
        }

    @classmethod
    def of(cls, model: "GenreClassifier", checkpoint: object) -> Self:
        """Read the provenance of a model that was loaded from a checkpoint.

        Raises:
            UserError: as in `from_json`, or its slices have another length than those of the model.
        """
        trained = cls.from_json(model.provenance, checkpoint)
        own = trained.facts.slice_seconds
        if own != model.slice_seconds:
            problem = f"its slice_seconds is {own:g}, and that of its model is {model.slice_seconds:g}"
            raise UserError(problem, key="checkpoint", value=checkpoint, hint="train the model again")
        return trained

    @classmethod
    def from_json(cls, content: Mapping[str, Any], source: object) -> Self:
        """Read what `to_json` returned, of this version or an older one; keys that have no effect are ignored.

        Raises:
            UserError: a key is missing, or has a value of another type or out of its range.
        """
        facts = RunFacts.from_json(content, source)
        config = checked_dict(content, "config", source)
        dataset = checked_dict(config, "dataset", source)
        split = checked(SplitConfig, checked_dict(config, "split", source), source)
        flat = {
            "corpus": dataset.get("corpus"),
            "twin_tracks": dataset.get("num_tracks", 1000),
            "path": dataset.get("path"),
        }
        named = {name: config[name] for name in ("window", "hop_slices", "batch_size", "seed") if name in config}
        if "window" in named and named["window"] is None:
            raise UserError("its key 'window' has a value of a wrong type, None", key=source, hint=HINT)
        if named.get("window") == "track":
            named["window"] = None
        flat |= named | {name: content[name] for name in ("source_slice_seconds", "window_slices") if name in content}
        try:
            trained_split = SplitConfig(**split)
        except UserError as error:
            raise UserError(f"its split is not sound: {error}".rstrip("."), key=source, hint=HINT) from error
        tracks = {part: _names(content, part, source) for part in _PARTS}
        num_tracks, track_map = len(tracks["train"]), content.get("map")
        return cls(
            facts=facts,
            split=trained_split,
            tracks=tracks,
            seen=_fingerprints(content, source),
            card=None if content.get("card") is None else Card.from_json(content["card"], source),
            map=None if track_map is None else TrackMap.from_json(track_map, num_tracks, source),
            **checked(cls, flat, source, without=_CHECKED_APART),
        )


def _joined(names: Sequence[str]) -> str | list[str]:
    r"""Join names of tracks as lines; a name with a line break is kept apart.

    >>> _joined(["a", "b"]), _joined(["a\nb"])
    ('a\nb', ['a\nb'])
    """
    text = "\n".join(names)
    return text if text.count("\n") == len(names) - 1 else list(names)


def _names(content: Mapping[str, Any], part: str, source: object) -> list[str]:
    names = checked_dict(content, "tracks", source).get(part)
    if isinstance(names, str):
        names = names.split("\n") if names.count("\n") < _MOST_TRACKS else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"its key 'tracks' has no list of names for '{part}'", key=source, hint=HINT)
    return names


def _fingerprints(content: Mapping[str, Any], source: object) -> list[int]:
    seen: Any = content.get("seen")
    if hasattr(seen, "numpy"):  # a tensor, whose type needs torch
        values = seen.numpy()
        seen = values.view(np.uint64).tolist() if values.dtype == np.int64 and values.ndim == 1 else None
    if not isinstance(seen, list) or not all(type(one) is int and 0 <= one < 2**64 for one in seen):
        raise UserError("its key 'seen' has no fingerprints of tracks", key=source, hint=HINT)
    return seen


def training_facts(
    model_name: str, config: Any, dataset: DatasetConfig, split: SplitConfig, datamodule: "GenreDataModule"
) -> RunFacts:
    """Describe a training run; `config` is the resolved `TrainConfig` as plain dicts."""
    settings = _settings(config, without=_NOT_SETTINGS | _NO_EFFECT)
    if settings["trainer.devices"] == 1:  # runs that are older than this setting have one device and lack the key
        del settings["trainer.devices"]
    settings["dataset.include_length"] = config["dataset"]["include_length"]
    if dataset.features is not None:
        settings["dataset.features"] = dataset.features
    return RunFacts(
        model=model_name,
        seed=config["seed"],
        settings=settings,
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
    from genregrid.features.known_recipe import may_overlap  # a report reads facts only, and does without it

    has_folds = split.protocol in PROTOCOLS and split.protocol not in UNFOLDED_PROTOCOLS
    return {
        "dataset": dataset.name,
        "dataset_label": dataset.label,
        "recipe": dataset.recipe,
        "may_overlap": may_overlap(dataset.recipe),
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
    settings = _settings(config, without={"logger", "resume", "final", "music"} | _NO_EFFECT | _LOCATIONS)
    settings = {key: value for key, value in settings.items() if value is not None or key not in _NEW_SETTINGS}
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
    """Add marks to a name, other than LEAKS, which is part of every `split_label`.

    >>> marked_name("mine", (Mark.SYNTHETIC,)), marked_name("gtzan", ())
    ('mine (SYNTHETIC)', 'gtzan')
    """
    shown = ", ".join(mark for mark in union([marks]) if mark != Mark.LEAKS)
    return f"{name} ({shown})" if shown else name


def cell_name(model: str, slice_seconds: float, split: str = "") -> str:
    """Name a cell within a corpus: model, slice length in seconds and, if given, the label of its protocol.

    >>> cell_name("lstm", 3.0, "track"), cell_name("mlp", 0.5)
    ('lstm-slice3-track', 'mlp-slice0.5')
    """
    return f"{model}-slice{slice_seconds:g}" + (f"-{split}" if split else "")


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
    if is_installed():  # below a folder of the user, which may be a repository too
        return None
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
