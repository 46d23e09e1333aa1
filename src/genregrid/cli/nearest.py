"""Which key, choice or command was probably meant: names that other programs use, and spellings that are close."""

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig

from genregrid.cli.override import quoted
from genregrid.config import TEXT_DICTS, TEXT_KEYS
from genregrid.program import command_name
from genregrid.record.folder import BEST_CHECKPOINT

# Names that other programs have for an override, without signs and in lower case; {} is the value.
_NAMES = {
    "trainer.max_epochs={}": "epoch epochs maxepochs numepochs nepochs nbepochs iterations",
    "model.learning_rate={}": "lr eta learningrate initlr baselr stepsize",
    "batch_size={}": "bs batch batches batchsize minibatch trainbatchsize",
    "split.folds={}": "folds numfolds nfolds kfold kfolds k nsplits cv splits",
    "split.fold={}": "fold foldidx foldindex testfold",
    "trainer.patience={}": "patience earlystopping earlystop",
    "trainer.accelerator=gpu trainer.devices={}": "gpus numgpus ngpus",
    "trainer.accelerator=gpu": "gpu usegpu cuda usecuda",
    "trainer.accelerator=cpu": "cpu usecpu nocuda",
    "trainer.accelerator={}": "device accelerator",
    "trainer.devices={}": "numdevices",
    "trainer.precision={}": "precision amp fp16 dtype",
    "trainer.threads={}": "numthreads nthreads threads",
    "trainer.gradient_clip_val={}": "clip gradclip gradientclip maxnorm clipgrad",
    "launcher=local hydra.launcher.workers={}": "workers numworkers njobs jobs nproc processes hydralauncherworkers",
    "model.hidden_size={}": "hidden hiddensize hiddenunits hiddendim units width dmodel",
    "model.num_layers={}": "layers numlayers nlayers depth",
    "model.num_heads={}": "heads numheads nheads",
    "model.weight_decay={}": "wd l2 decay weightdecay",
    "model.dropout={}": "drop dropout dropoutrate pdrop",
    "model.num_neighbours={}": "neighbours neighbors nneighbors kneighbors numneighbors",
    "model.inverse_penalty={}": "c inversepenalty",
    "seed={}": "randomstate randomseed manualseed rng rngseed torchseed",
    "split={}": "protocol splitprotocol",
    "slice={}": "seconds sliceseconds slicelength slicelen slicesize slices segment segmentlength duration",
    "hop_slices={}": "hop hopsize hoplength stride step",
    "window={}": "windowsize windowlength windowlen windows",
    "model={}": "net network arch architecture classifier algorithm modelname modeltype",
    "dataset={}": "corpus datasetname dset",
    "dataset.genres={}": "classes genres labels classnames",
    "dataset.artists={}": "artist artists artistindex",
    "logger={}": "log logs logging tracker",
    "logger=wandb": "wandb usewandb wandblogger",
    "logger.project={}": "project wandbproject projectname",
    "logger.group={}": "group wandbgroup",
    "hydra.run.dir={}": "out output outputs outputdir outdir outputpath savedir saveto logdir rundir workdir expdir",
    "checkpoint={}": "ckpt ckpts ckptpath checkpointpath weights pretrained load loadfrom restore modelpath modelfile",
    "runs={}": "run runsdir results report",
    "ensemble={}": "vote members",
    "resume={}": "continue resumefrom restart",
    "search.num_trials={}": "ntrials trials numtrials",
}
_OVERRIDES = {name: override for override, names in _NAMES.items() for name in names.split()}
# An override, and the one for its value 0 or false.
_NO = {"0", "false", "no", "none", "off", "null"}
_WITHOUT = {"trainer.accelerator=gpu": "trainer.accelerator=cpu", "logger=wandb": "logger=none"}
# Names for a file; its ending decides which key takes it.
_FILES = frozenset(
    {"data", "dataset", "datapath", "datasetpath", "datafile", "datadir", "path", "file", "filename", "filepath", "csv"}
    | {"csvpath", "csvfile", "table", "features", "featurefile", "input", "inputs", "inputpath", "inputfile", "song"}
    | {"songs", "recording", "recordings", "audiofile", "audiopath", "track", "tracks", "wav", "mp3", "music", "source"}
)
# Names that other programs have for a choice.
_OTHER_CHOICES = {
    "extra_trees": "rf randomforest forest trees",
    "boosting": "xgb xgboost lgbm lightgbm gbm gradientboosting",
    "svm": "svc rbf supportvector",
    "logistic": "lr logreg logisticregression linear",
    "knn": "nearestneighbours nearestneighbors kneighbors neighbors",
    "mlp": "nn ann dnn dense ffn feedforward",
    "lstm": "rnn recurrent",
    "bilstm_attention": "bilstm",
    "transformer": "attention encoder",
    "gaussian": "naivebayes",
    "csv": "custom own mine tensorboard",
    "track": "random stratified song",
    "none": "no false off",
    "local": "multiprocessing joblib",
}
_CHOICES = {(name, choice) for choice, names in _OTHER_CHOICES.items() for name in names.split()}
_TABLES = {".csv", ".tsv", ".parquet", ".xlsx", ".xls"}


class Keys:
    """The keys and choices of a script's configuration, with the groups that the command line chooses.

    Attributes:
        choices: of each group: model, dataset, ...
    """

    def __init__(self, arguments: Sequence[str], script: str, conf: Path) -> None:
        self.script, self._arguments, self._conf, self._own = script, arguments, conf, _own_conf(arguments)
        self.choices: dict[str, list[str]] = {}
        for group in [path for root in (conf, self._own) if root for path in root.glob("*/") if path.is_dir()]:
            names = {file.stem for file in group.glob("*.yaml")} | set(self.choices.get(group.name, ()))
            self.choices[group.name] = sorted(names)

    @cached_property
    def _keys(self) -> dict[str, None]:
        chosen = [
            (key.lstrip("+"), value.split(",")[0]) for key, _, value in (one.partition("=") for one in self._arguments)
        ]
        overrides = [
            f"{key}={value}" for key, value in chosen if value in self.choices.get(key, ()) and self._has_group(key)
        ]
        keys = dict.fromkeys(_composed_keys(self.script, self._conf, self._own, tuple(overrides)))
        return keys | dict.fromkeys(one for one in self.choices if self._has_group(one))

    def other_script(self) -> "Keys":
        """Return the keys of the script that is not this one."""
        return Keys(self._arguments, "evaluate" if self.script == "train" else "train", self._conf)

    def of_model(self) -> list[str]:
        """List the keys of the chosen model."""
        return [one for one in self._keys if one.startswith("model.")]

    def has(self, key: str) -> bool:
        """Return whether a key exists; Hydra's own keys and those of free dicts are not known here."""
        is_of_dict = key.rpartition(".")[0] in TEXT_DICTS and key in TEXT_KEYS
        return key in self._keys or key.startswith("hydra") or is_of_dict or key[:1] in "+~"

    def meant(self, key: str, value: str) -> list[str]:
        """Return the overrides that were probably meant by one whose key does not exist; empty if none is near."""
        if len(key) > 100:
            return []
        whole, last = _plain(key), _plain(key.rpartition(".")[2])
        if (parent := key.rpartition(".")[0]) in TEXT_DICTS:
            parts = [one.rpartition(".")[2] for one in sorted(TEXT_KEYS) if one.startswith(f"{parent}.")]
            return [f"{parent}.{part}={value}" for part in parts if last.startswith(part) or part.startswith(last)]
        if (last in _FILES or value.endswith(".ckpt")) and (overrides := self.with_key(value)):
            return overrides
        same = [one for one in self._keys if last == _plain(one.rpartition(".")[2])]
        for name in (whole, last):
            words = [word.replace("{}", _value(word, value)) for word in _OVERRIDES.get(name, "").split()]
            if words[:1] == [f"checkpoint={value}"] and any(one.startswith("checkpoint=") for one in self._arguments):
                continue  # another one is given: weights of a recipe are meant, or nothing that is known
            if words and value.lower() in _NO and words[0] in _WITHOUT:
                return [_WITHOUT[words[0]]]
            if words and all(self.has(word.partition("=")[0]) for word in words):
                return words
        lasts = {_plain(one.rpartition(".")[2]): one for one in sorted(self._keys, key=len, reverse=True)}
        wholes = {_plain(one): one for one in self._keys}
        near = sorted(same, key=len)[:1]
        part = key.partition(".")[0]
        if "." in key and self.has(part):
            wholes = {plain: one for plain, one in wholes.items() if one.startswith(f"{part}.")}
            lasts = {plain: one for plain, one in lasts.items() if one.startswith(f"{part}.")}
        near = near or [wholes[one] for one in get_close_matches(whole, wholes, n=1, cutoff=0.8)]
        near = near or [lasts[one] for one in get_close_matches(last, lasts, n=1, cutoff=0.8)]
        return [f"{one}={value}" for one in near]

    def lacking(self, key: str) -> str | None:
        """Return the key of a model that was meant, but that the chosen model does not have."""
        override = _OVERRIDES.get(_plain(key.rpartition(".")[2]), "")
        return override.partition("=")[0] if override.startswith("model.") else None

    def near_choice(self, group: str, value: str) -> str | None:
        """Return the choice of a group that was probably meant.

        Other files of a group and the names in other programs count, whatever their case and signs.
        """
        choices = {_plain(one): one for one in self.choices.get(group, ())}
        name = _plain(Path(value).name.removesuffix(".yaml"))
        if known := [one for one in choices.values() if name == _plain(one) or (name, one) in _CHOICES]:
            return known[0]
        near = get_close_matches(name, choices, n=1, cutoff=0.7) if len(name) < 100 else []
        return choices[near[0]] if near else None

    def with_key(self, word: str) -> list[str]:
        """Return a word with the key that takes it; nothing if no key is clear."""
        groups = ("model", "dataset", "split", "experiment") if self.script == "train" else ("dataset", "split")
        if re.fullmatch(r"\w+", word):
            for group in groups:
                if word in self.choices.get(group, ()):
                    return [f"{group}={word}"]
        path, suffix = Path(word), Path(word.lower().removesuffix(".gz")).suffix
        if suffix in _TABLES:
            return ["dataset=csv", f"dataset.path={word}"]
        if suffix == ".ckpt":
            return [f"checkpoint={word}"]
        if self.script == "evaluate" and word and os.path.isdir(path):
            if os.path.isfile(path / BEST_CHECKPOINT):
                return [f"checkpoint={path / BEST_CHECKPOINT}"]
            if any(next(path.glob(f"{depth}run.json"), None) for depth in ("", "*/", "*/*/", "*/*/*/")):
                return [f"runs={word}"]
        return [f"audio={word}"] if suffix or os.path.exists(word) else []

    def command(self, arguments: Sequence[str], meant: Mapping[int, Sequence[str]]) -> str:
        """Write the command in which some arguments, by position, are replaced by others."""
        words = [word for place, argument in enumerate(arguments) for word in meant.get(place, [argument])]
        added = [word for own in meant.values() for word in own]
        replaced = {word.partition("=")[0] for word in added}
        words = [word for word in words if word in added or word.partition("=")[0] not in replaced]
        if "launcher=local" in added and not {"-m", "--multirun"} & set(words):
            words.insert(0, "-m")
        return command_of(self.script, words)

    def _has_group(self, name: str) -> bool:
        text = (self._conf / f"{self.script}.yaml").read_text(encoding="utf-8")
        return re.search(rf"^  - {re.escape(name)}: ", text, re.MULTILINE) is not None


def command_of(script: str, words: Sequence[str]) -> str:
    """Write a command for the way out of a mistake: extract features where `train` was given recordings.

    >>> command_of("train", ["model=lstm", "dataset.path=my songs.csv"])
    "python train.py model=lstm 'dataset.path=my songs.csv'"
    """
    if script == "train" and any(word.startswith("audio=") for word in words):
        first = f"{command_name('features')} FOLDER --slice 3 --out FILE.csv"
        return f"{first}` and `{command_name('train')} dataset=csv dataset.path=FILE.csv slice=3"
    is_train = script == "train" and any(word.startswith(("checkpoint=", "runs=", "ensemble=")) for word in words)
    return f"{command_name('evaluate' if is_train else script)} {shlex.join(words)}"


def _own_conf(arguments: Sequence[str]) -> Path | None:
    """Return the folder of ``--config-dir``, which adds choices to those of the package; ``None`` without one."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd") and os.path.isdir(folder := value if equals else following):
            return Path(folder)
    return None


@cache
def _composed_keys(script: str, conf: Path, own: Path | None, overrides: tuple[str, ...]) -> tuple[str, ...]:
    if own is not None:
        overrides = (f"hydra.searchpath=[{quoted(f'file://{own.absolute()}')}]", *overrides)
    with initialize_config_dir(str(conf.absolute()), version_base="1.3"):
        try:
            cfg = compose(script, list(overrides))
        except HydraException:  # choices that do not fit together have their own mistake
            cfg = compose(script)
    return tuple(_flat(cfg))


def _flat(cfg: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a configuration, without those that begin with an underscore."""
    for name in cfg:
        if str(name).startswith("_"):
            continue
        yield f"{prefix}{name}"
        node = cfg._get_node(name)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            yield from _flat(node, f"{prefix}{name}.")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).lower()


def _value(word: str, value: str) -> str:
    """Return a value in the form that the key of a word takes: cuda:0 is cuda."""
    return re.sub(r"^(cuda|gpu|mps|cpu):\d+$", r"\1", value) if word.startswith("trainer.accelerator") else value
