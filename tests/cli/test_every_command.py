"""Every command, times every key that names files, times every kind of bad name, file, folder and list.

Each is one sentence and writes nothing. The commands run in this process, as Hydra and the shell would start them.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.argument import check_form
from genregrid.cli.evaluate import main as evaluate
from genregrid.cli.mistake import mistake_of
from genregrid.cli.override import with_literal_text
from genregrid.errors import UserError, system_error
from genregrid.features.__main__ import main as features
from genregrid.search.__main__ import main as search
from genregrid.tracking.workspace import main as workspace
from genregrid.training.build import prepare
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.run import train

CONF = Path(__file__).resolve().parents[2] / "conf"
#: What a key is given; the fixture `bad` makes the files.
VALUES = [
    "missing",
    "missing/below",
    "file.txt/below",
    "file.txt",
    "empty.csv",
    "header.csv",
    "garbage.bin",
    "garbage.csv",
    "garbage.ckpt",
    "garbage.wav",
    "folder",
    "folder.csv",
    "folder.wav",
    "full",
    "pipe.csv",
    "nowhere.csv",
    "circle.csv",
    "/dev/null",
    "/dev/zero",
    "x" * 300,
    "x/" * 3000,
    "a\0b",
    "a\nb",
    " ",
    "",
    "null",
    "1e5",
    "-x",
    "--help",
    "~nobody/x",
    "[a",
    "a]",
    "{a}",
    '[MV] \'Til (1), "x".wav',
    "Beyoncé.csv",
    "C:\\music\\",
    "${nothing}",
    "${oc.env:NOTHING}",
    "*",
    "\udce9.csv",
    "[missing]",
    "[missing,folder]",
    "[folder,folder]",
    "[]",
    "[[missing],folder]",
    "[null]",
    "{train:missing}",
    "{a:b}",
]


@pytest.fixture(scope="module")
def checkpoint(
    tmp_path_factory: pytest.TempPathFactory, composed: Callable[..., DictConfig], make_frame: Callable[..., Any]
) -> Path:
    """A checkpoint that can score recordings, beside the CSV that it was trained on."""
    folder = tmp_path_factory.mktemp("trained")
    make_frame(tracks=6, slices=2).to_csv(folder / "good.csv", index=False)
    data = ["dataset=csv", f"dataset.path={folder / 'good.csv'}", "dataset.recipe=kaggle-reflect"]
    train(composed("model=gaussian", "logger=none", "split.folds=3", *data), folder / "run", "gaussian")
    return folder / "run" / "checkpoint.ckpt"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """The working directory, with files and folders that are none of those that a key takes."""
    contents = {"file.txt": "text", "empty.csv": "", "header.csv": "filename,length,label\n", "full/a.txt": "text"}
    contents |= {"full/.hidden": "", "full/rock/b.txt": "text"}
    for name, text in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("folder", "folder.csv", "folder.wav"):
        (tmp_path / name).mkdir()
    for ending in ("bin", "csv", "ckpt", "wav"):
        (tmp_path / f"garbage.{ending}").write_bytes(bytes(range(256)) * 20)
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "nowhere.csv").symlink_to("missing")
    (tmp_path / "circle.csv").symlink_to("circle.csv")
    return tmp_path


def refused(call: Callable[[], object]) -> UserError:
    """Return the mistake of a call, as a command reports it."""
    try:
        call()
    except Exception as error:
        mistake = mistake_of(error)
        if mistake is None and isinstance(error, OSError):
            mistake = system_error(error)
        if mistake is None:
            raise
        return mistake
    raise AssertionError("it was accepted")


def written(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def run(function: Callable[..., Any], cfg: DictConfig, script: str, key: str, value: str, *arguments: Any) -> None:
    """Call a function with a configuration that has an override as the command line reads it."""
    check_form([f"{key}={value}"], script, CONF)
    (override,) = OverridesParser.create().parse_overrides([with_literal_text(f"{key}={value}")])
    changed = cfg.copy()
    OmegaConf.update(changed, key, override.value(), force_add=True)
    function(changed, *arguments)


EVALUATIONS = [
    ([], "checkpoint"),
    (["audio=file.txt"], "checkpoint"),
    (["checkpoint=good"], "audio"),
    (["checkpoint=good", "dataset=csv"], "dataset.path"),
    ([], "runs"),
    (["runs=good"], "audio"),
    (["runs=good"], "human"),
    ([], "ensemble"),
]
TRAININGS = [
    (["dataset=csv"], "dataset.path"),
    (["dataset=csv", "dataset.path=good", "split=artist"], "dataset.artists"),
    (["dataset=csv", "dataset.path=good", "split=filtered"], "dataset.filtered"),
    (["dataset=csv", "dataset.path=good", "split=filtered", "dataset.filtered.val=x"], "dataset.filtered.train"),
    (["dataset=epidemic11"], "dataset.root"),
    (["dataset=epidemic11"], "dataset.tables"),
    (["dataset=epidemic11"], "dataset.genres"),
]


@pytest.mark.parametrize(("overrides", "key"), EVALUATIONS)
def test_evaluate_refuses_every_bad_path_in_one_sentence(
    overrides: list[str], key: str, checkpoint: Path, bad: Path, composed: Callable[..., DictConfig]
) -> None:
    good = {"checkpoint=good": f"checkpoint={checkpoint}", "runs=good": f"runs={checkpoint.parent}"}
    cfg = composed(*(good.get(one, one) for one in overrides), config="evaluate")
    before = written(bad)
    for value in VALUES[
        EVALUATIONS.index((overrides, key)) % 2 :: 2
    ]:  # each value for half of the keys: it takes seconds
        call = partial(run, evaluate, cfg, "evaluate", key, value, bad / "out")
        assert_one_sentence(refused(call), key, value)
        assert written(bad) == before, (key, value)


@pytest.mark.parametrize(("overrides", "key"), TRAININGS)
def test_train_refuses_every_bad_path_in_one_sentence(
    overrides: list[str], key: str, checkpoint: Path, bad: Path, composed: Callable[..., DictConfig]
) -> None:
    csv = checkpoint.parent.parent / "good.csv"
    words = [one.replace("dataset.path=good", f"dataset.path={csv}") for one in overrides]
    words = [with_literal_text(one) for one in words]
    cfg = composed("model=gaussian", "logger=none", "slice=3", *words)
    before = written(bad)
    for value in VALUES[TRAININGS.index((overrides, key)) % 2 :: 2]:
        call = partial(run, prepare, cfg, "train", key, value, "gaussian", CorpusReader())
        assert_one_sentence(refused(call), key, value)
        assert written(bad) == before, (key, value)


def assert_one_sentence(mistake: UserError, key: str, value: str) -> None:
    sentence = str(mistake)
    assert len(sentence.splitlines()) == 1, (key, value, sentence)
    assert sentence.isprintable(), (key, value, sentence)
    assert len(sentence) < 1000, (key, value, sentence)
    assert sentence.endswith((".", "?", "!")), (key, value, sentence)


def _commands(value: str) -> Iterator[tuple[Callable[..., int], list[str]]]:
    yield features, [value, "--out", "out.csv"]
    yield features, ["folder", f"--out={value}"]
    yield features, [f"--slice={value}", "full", "--out", "out.csv"]
    yield search, [value]
    yield workspace, [f"--genres={value}", "--save"]


@pytest.mark.parametrize("value", VALUES)
def test_the_other_commands_refuse_it_in_one_line_and_write_nothing(
    value: str, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(bad)
    for command, arguments in _commands(value):
        if value == "--help":
            continue
        assert command(arguments) == 2, (command, arguments)
        printed = capsys.readouterr()
        assert len(printed.err.splitlines()) == 1, (command, arguments, printed.err)
        assert "Traceback" not in printed.err
        assert written(bad) == before, (command, arguments)
