"""Arguments that are wrong, with the command that was probably meant; and that this command is right."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from genregrid.cli.argument import check_form, with_hint
from genregrid.cli.mistake import CHOOSE, NO_SUCH_KEY, mistake_of
from genregrid.cli.nearest import Keys
from genregrid.cli.override import with_literal_text
from genregrid.errors import UserError

pytestmark = pytest.mark.usefixtures("composed")  # registers the schemas
Composed = Callable[..., DictConfig]


def fault_in(words: list[str], script: str, conf: Path) -> UserError | None:
    """Return the first mistake in arguments as Hydra finds it, without a composition for each case."""
    try:
        check_form(words, script, conf)
    except UserError as error:
        return error
    keys = Keys(words, script, conf)
    for key, _, value in (word.partition("=") for word in words if word[:1] != "-"):
        wrong = [one for one in value.split(",") if one not in keys.choices.get(key, ())]
        if key in keys.choices and keys.has(key) and wrong:
            return UserError(f"{CHOOSE}...", key=key, value=wrong[0])
        if not keys.has(key) or key.endswith("launcher.zzz"):
            return UserError(NO_SUCH_KEY, key=key, hint="`--cfg job` shows every key")
    return None


def command_in(mistake: UserError) -> str:
    """Return the first command in a hint, or the hint if it has none."""
    assert "\n" not in str(mistake)
    command = re.search("`(python [a-z]+[.]py .*?)`", mistake.hint or "")
    return command[1] if command else mistake.hint or ""


@pytest.mark.parametrize(
    ("script", "line", "command"),
    [
        ("train", "epochs=5", "python train.py trainer.max_epochs=5"),
        ("train", "model=mlp num_epochs=5 slice=3", "python train.py model=mlp trainer.max_epochs=5 slice=3"),
        ("train", "trainer.epochs=5", "python train.py trainer.max_epochs=5"),
        ("train", "lr=0.01", "python train.py model.learning_rate=0.01"),
        ("train", "model.lr=0.01 model=mlp", "python train.py model.learning_rate=0.01 model=mlp"),
        ("train", "learning_rate=0.01", "python train.py model.learning_rate=0.01"),
        ("train", "batch=32", "python train.py batch_size=32"),
        ("train", "batchsize=32", "python train.py batch_size=32"),
        ("train", "folds=5 fold=0", "python train.py split.folds=5 split.fold=0"),
        ("train", "patience=5", "python train.py trainer.patience=5"),
        ("train", "gpus=1", "python train.py trainer.accelerator=gpu trainer.devices=1"),
        ("train", "gpus=0", "python train.py trainer.accelerator=cpu"),
        ("train", "device=cuda:0", "python train.py trainer.accelerator=cuda"),
        ("train", "accelerator=gpu", "python train.py trainer.accelerator=gpu"),
        ("train", "hidden_size=64", "python train.py model.hidden_size=64"),
        ("train", "data=my.csv", "python train.py dataset=csv dataset.path=my.csv"),
        ("train", "path=my.csv dataset=twin", "python train.py dataset=csv dataset.path=my.csv"),
        ("train", "csv=my.csv.gz", "python train.py dataset=csv dataset.path=my.csv.gz"),
        ("train", "dataset=my.csv", "python train.py dataset=csv dataset.path=my.csv"),
        ("train", "'dataset=my songs/a (1).csv'", "python train.py dataset=csv 'dataset.path=my songs/a (1).csv'"),
        ("train", "split_seed=3", "python train.py split.seed=3"),
        ("train", "modle=mlp", "python train.py model=mlp"),
        ("train", "model=LSTM", "python train.py model=lstm"),
        ("train", "model=lstmm", "python train.py model=lstm"),
        ("train", "model=cnn1d", "python train.py model=cnn"),
        ("train", "model=RandomForest", "python train.py model=extra_trees"),
        ("train", "model=conf/model/mlp.yaml", "python train.py model=mlp"),
        ("train", "dataset=GTZAN", "python train.py dataset=gtzan"),
        ("train", "split=artists", "python train.py split=artist"),
        ("train", "-m epochs=5,6", "python train.py -m trainer.max_epochs=5,6"),
        ("train", "-m model=LSTM,mlp", "python train.py -m model=lstm,mlp"),
        ("train", "+epochs=5", "python train.py trainer.max_epochs=5"),
        ("train", "+experiment=paper", "python train.py experiment=paper"),
        ("train", "workers=4", "python train.py -m launcher=local hydra.launcher.workers=4"),
        ("train", "wandb=false", "python train.py logger=none"),
        ("train", "checkpoint=x", "python evaluate.py checkpoint=x"),
        ("train", "slice = 3", "python train.py slice=3"),
        ("train", "'slice = 3' model=mlp", "python train.py slice=3 model=mlp"),
        ("train", "-m slice= 3,6 seed =1", "python train.py -m slice=3,6 seed=1"),
        ("evaluate", "ckpt=x.ckpt", "python evaluate.py checkpoint=x.ckpt"),
        ("evaluate", "model=x.ckpt", "python evaluate.py checkpoint=x.ckpt"),
        ("evaluate", "checkpoint=x file=song.mp3", "python evaluate.py checkpoint=x audio=song.mp3"),
        ("evaluate", "checkpoint=x csv=my.csv", "python evaluate.py checkpoint=x dataset=csv dataset.path=my.csv"),
        ("evaluate", "checkpoint=x dataset=my.csv", "python evaluate.py checkpoint=x dataset=csv dataset.path=my.csv"),
        ("evaluate", "checkpoint=x dataset=GTZAN", "python evaluate.py checkpoint=x dataset=gtzan"),
        ("evaluate", "chekpoint=x", "python evaluate.py checkpoint=x"),
        ("evaluate", "checkpoint=x epochs=5", "python train.py trainer.max_epochs=5"),
        ("evaluate", "model=lstm", "python train.py model=lstm"),
        ("evaluate", "-intro.mp3", "python evaluate.py checkpoint=PATH audio=-intro.mp3"),
        ("evaluate", "checkpoint=x -- -intro.mp3", "python evaluate.py checkpoint=x audio=-intro.mp3"),
        ("evaluate", "E=mc2.mp3", "python evaluate.py checkpoint=PATH audio=E=mc2.mp3"),
        ("train", "model=lda lr=0.1", "it has model.names, model.transform, "),
        ("train", "model.foo=3", "it has model.transform, "),
        ("train", "dataset.filtered.valid=F", "python train.py dataset.filtered.val=F"),
        ("train", "dataset=csv dataset.filtered.validation=F", "python train.py dataset=csv dataset.filtered.val=F"),
        ("train", "dataset.filtered.foo=F", "`--cfg job` shows every key"),
        ("train", "zzz=3", "`--cfg job` shows every key"),
        ("train", "dataset.zzz=3", "`--cfg job` shows every key"),
        ("train", "hydra.launcher.zzz=3", "`--cfg job` shows every key"),
        ("train", f"{'a' * 200}=3", "`--cfg job` shows every key"),
    ],
)
def test_the_command_that_was_meant_is_named_and_is_right(
    script: str, line: str, command: str, project_root: Path
) -> None:
    for name in ("E=mc2.mp3", "E=mc² (live).mp3"):
        Path(name).touch()
    words, conf = shlex.split(line), project_root / "conf"
    mistake = fault_in(words, script, conf)
    assert mistake is not None
    hint = command_in(with_hint(mistake, words, script, conf))
    assert hint == command if command.startswith("python ") else hint.startswith(command)
    if hint.startswith("python "):
        _, name, *words = shlex.split(hint)
        assert fault_in(words, name.removesuffix(".py"), conf) is None


@pytest.mark.parametrize(
    ("script", "override", "command"),
    [
        ("train", "epochs=5", "python train.py trainer.max_epochs=5"),
        ("train", "model=cnn1d", "python train.py model=cnn"),
        ("evaluate", "model=lstm", "python train.py model=lstm"),
        ("evaluate", "E=mc² (live).mp3", "python evaluate.py checkpoint=PATH 'audio=E=mc² (live).mp3'"),
    ],
)
def test_the_mistakes_of_hydra_have_the_command_that_was_meant(
    script: str, override: str, command: str, composed: Composed, project_root: Path
) -> None:
    Path("E=mc² (live).mp3").touch()
    with pytest.raises(HydraException) as caught:
        composed(override, config=script)
    mistake = mistake_of(caught.value)
    assert mistake is not None
    assert command_in(with_hint(mistake, [override], script, project_root / "conf")) == command


@pytest.mark.parametrize(
    ("script", "line", "command"),
    [
        ("train", "model=lstm,mlp dataset=csv", "python train.py -m model=lstm,mlp dataset=csv"),
        ("train", "dataset=csv slice=choice(1,2)", "python train.py -m dataset=csv 'slice=choice(1,2)'"),
        ("train", "seed=1 dataset.genres=a,b", "python train.py seed=1 'dataset.genres=[a,b]'"),
        ("evaluate", "runs=A,B", "python evaluate.py 'runs=[A,B]'"),
        ("evaluate", "checkpoint=x audio=A,B", "python evaluate.py checkpoint=x 'audio=[A,B]'"),
        ("train", "model=mlp slice='3'", "python train.py model=mlp slice=3"),
    ],
)
def test_several_or_quoted_values_have_the_whole_command(
    script: str, line: str, command: str, composed: Composed, project_root: Path
) -> None:
    for name in "AB":
        Path(name).mkdir()
    words = line.split()
    with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
        composed(*map(with_literal_text, words), config=script)
    mistake = mistake_of(caught.value)
    assert mistake is not None
    assert command_in(with_hint(mistake, words, script, project_root / "conf")) == command


@pytest.mark.parametrize("argument", ["~model", "~split=track"])
def test_a_group_that_a_training_needs_cannot_be_removed(
    argument: str, project_root: Path, user_error: Callable[..., Any]
) -> None:
    with user_error(argument, hint=f"leave out {argument}"):
        check_form([argument], "train", project_root / "conf")
    check_form(["~logger"], "train", project_root / "conf")


def test_every_name_of_other_programs_leads_to_a_key(project_root: Path) -> None:
    from genregrid.cli import nearest

    keys = Keys(["logger=wandb", "model=transformer"], "train", project_root / "conf")
    other = Keys([], "evaluate", project_root / "conf")
    models = [Keys([f"model={name}"], "train", project_root / "conf") for name in ("knn", "svm")]
    searching = {"search.num_trials"}
    for override in {one for overrides in nearest._OVERRIDES.values() for one in overrides.split()}:
        key = override.partition("=")[0]
        assert key in searching or any(one.has(key) for one in (keys, other, *models)), override
    for choice in nearest._OTHER_CHOICES:
        assert any(choice in choices for choices in keys.choices.values()), choice


@pytest.mark.parametrize(
    ("argument", "key", "hint"),
    [
        ("checkpoint=https://example.org/a.ckpt", "checkpoint", "download it"),
        ("audio=file:///music/my%20song.mp3", "audio", "write the path /music/my song.mp3"),
        ("runs=[outputs,s3://bucket/runs]", "runs", "download it"),
        ("dataset.path=HTTP://example.org/my.csv", "dataset.path", "download it"),
        ("dataset.filtered={train:a,val:http://b,test:c}", "dataset.filtered", "download it"),
        ("https://example.org/song.mp3", "https://example.org/song.mp3", "download it"),
        ("audio=song.mp3 ", "audio", "write audio=song.mp3"),
        ("audio=\tsong.mp3\n", "audio", "write audio=song.mp3"),
        ("checkpoint= my runs", "checkpoint", "write 'checkpoint=my runs'"),
        ("--foo", "--foo", "`--help` shows every option"),
        ("-Z", "-Z", "`--help` shows every option"),
        ("--cfg=nothing", None, "`--help` shows every option"),
        ("--config-dir", None, "`--help` shows every option"),
    ],
)
def test_addresses_blanks_and_unknown_options_are_refused(
    argument: str, key: str | None, hint: str, project_root: Path, user_error: Callable[..., Any]
) -> None:
    Path("song.mp3").touch()
    Path("my runs").mkdir()
    with user_error(key, hint=hint):
        check_form(["checkpoint=x", argument], "evaluate", project_root / "conf")


@pytest.mark.parametrize(
    "arguments",
    [
        ["dataset.label=a://b", "logger.project=http://x"],
        ["hydra.searchpath=[file://conf]"],
        ["audio=a:/b", "runs=C:\\music"],
        ["audio= two  blanks "],
        ["--", "slice=3"],
        ["--multirun", "--cfg=job", "-cn", "train"],
        ["audio=http://here"],
    ],
)
def test_what_is_right_stays(arguments: list[str], project_root: Path) -> None:
    Path("http:/").mkdir()
    Path("http:/here").touch()  # a path, although it looks like an address
    check_form(arguments, "evaluate", project_root / "conf")


def test_another_mistake_stays_as_it_is(project_root: Path) -> None:
    mistake = UserError("1 or more", key="batch_size", value=0)
    assert with_hint(mistake, ["batch_size=0"], "train", project_root / "conf") is mistake


def test_a_key_of_some_models_in_a_sweep_over_models_gets_its_plus_signs(project_root: Path) -> None:
    words = ["-m", "model=lda,svm", "model.refit=true"]  # the default model, with which Hydra begins, has no refit
    mistake = UserError(NO_SUCH_KEY, key="model.refit")
    hint = command_in(with_hint(mistake, words, "train", project_root / "conf"))
    assert hint == "python train.py -m model=lda,svm ++model.refit=true"


def test_a_second_checkpoint_is_not_advised(project_root: Path) -> None:
    words = ["checkpoint=mine.ckpt", "weights=models"]
    mistake = UserError(NO_SUCH_KEY, key="weights")
    assert with_hint(mistake, words, "evaluate", project_root / "conf").hint is None


@pytest.mark.parametrize(
    ("words", "key", "hint"),
    [
        (["a", "b"], "a b", "lists the recordings of both"),
        (["a", "--model", "svm"], "--model", "write model=svm"),
        (["a", "--slice=6"], "--slice", "write slice=6"),
        (["nothere/"], "nothere/", "model=lstm"),
    ],
)
def test_a_mistake_in_music_to_train_on_has_a_way_out(
    words: list[str], key: str, hint: str, project_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(name).mkdir()
    with pytest.raises(UserError) as caught:
        check_form(words, "train", project_root / "conf")
    assert caught.value.key == key
    assert hint in (caught.value.hint or "")
