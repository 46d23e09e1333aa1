"""Searches: trials that never test, are pruned, fail and are resumed; what is refused; a process that is killed."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState, create_trial

from genregrid.exhibit.mark import Mark
from genregrid.models.base import GenreClassifier
from genregrid.search.report import marks_of
from genregrid.search.study import StepMedian, load_study
from genregrid.search.trial import score_trial
from genregrid.training.run import train

Search = Callable[..., Any]
UserErrors = Callable[..., Any]
SPLIT = ("split.folds=3", "split.val_folds=3")


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]


def test_a_trial_never_tests_and_keeps_no_model(
    search: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a search looked at test tracks")

    for owner, name in ((pl.Trainer, "test"), (GenreClassifier, "test_step")):
        monkeypatch.setattr(owner, name, refused)
    study = search("search.num_trials=2")
    assert states(study) == ["COMPLETE", "COMPLETE"]
    folds = study.trials[0].user_attrs["folds"]
    assert [set(scores) for scores in folds] == [{"loss", "accuracy", "f1_macro"}] * 2
    assert study.trials[0].value == pytest.approx(sum(scores["loss"] for scores in folds) / 2)
    assert not (tmp_path / "trial").exists()
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not [path for path in tmp_path.rglob("*") if "metrics" in path.name or "predictions" in path.name]


@pytest.mark.slow
def test_the_features_of_test_tracks_change_no_score(
    search: Search, corpus: Path, composed: Callable[..., Any], tmp_path: Path
) -> None:
    overrides = ("dataset=csv", f"dataset.path={corpus}", "model=mlp", *SPLIT, "logger=none")
    train(composed(*overrides, "trainer.max_epochs=1"), tmp_path / "run", "mlp")
    split = pd.read_csv(tmp_path / "run/split.csv")
    test = set(split.loc[split["part"] == "test", "track"])
    before = search("search.num_trials=1").best_value
    frame = pd.read_csv(corpus)
    is_test = frame["filename"].str.rsplit(".", n=2).str[0].isin(test)
    assert 0 < is_test.sum() < len(frame)
    descriptors = [name for name in frame.columns if name not in ("filename", "length", "label")]
    frame.loc[is_test, descriptors] *= 1.7
    frame.to_csv(tmp_path / "changed.csv", index=False)
    after = search("search.num_trials=1", folder="changed", path=tmp_path / "changed.csv").best_value
    assert after == before


@pytest.mark.slow
def test_the_score_is_that_of_the_epoch_that_training_keeps(
    search: Search, corpus: Path, composed: Callable[..., Any], tmp_path: Path
) -> None:
    fixed = ("model.learning_rate=0.05", "model.hidden_size=16", "trainer.max_epochs=8")
    study = search("search.num_trials=1", "search.score=accuracy", *fixed)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    overrides = ("dataset=csv", f"dataset.path={corpus}", "model=mlp", *SPLIT, "logger=none")
    own = [f"{key}={value}" for key, value in study.best_params.items()]
    for fold in range(2):
        cfg = composed(*overrides, *fixed, *own, f"split.val_fold={fold}", "trainer.accelerator=cpu")
        curves = train(cfg, tmp_path / f"run{fold}", "mlp").curves
        best = curves.loc[curves["val/loss"].idxmin()]
        scores = study.best_trial.user_attrs["folds"][fold]
        assert [scores[name] for name in scores] == pytest.approx([best[f"val/{name}"] for name in scores], abs=1e-3)


@pytest.mark.slow
def test_a_resumed_study_proposes_the_same_trials(search: Search, capsys: pytest.CaptureFixture[str]) -> None:
    whole = search("search.num_trials=3", folder="whole")
    search("search.num_trials=2", folder="parts")
    parts = search("search.num_trials=3", folder="parts")
    assert [trial.params for trial in parts.trials] == [trial.params for trial in whole.trials]
    assert [trial.value for trial in parts.trials] == [trial.value for trial in whole.trials]
    assert "2 of 3 trials are done" in capsys.readouterr().out
    assert len(search("search.num_trials=2", folder="parts").trials) == 3


@pytest.mark.slow
def test_the_launcher_gets_a_batch_at_once(search: Search) -> None:
    study = search("search.num_trials=3", "search.num_jobs=2")
    assert states(study) == ["COMPLETE"] * 3


@pytest.mark.slow
def test_another_search_in_the_same_folder_is_refused(
    search: Search, write_csv: Callable[..., Path], tmp_path: Path, user_error: UserErrors
) -> None:
    search("search.num_trials=1")
    changes = {
        "model.dropout=0.1": "range of model.dropout",
        "batch_size=8,16": "range of batch_size",
        "search.score=accuracy": "search.score",
        "search.num_folds=1": "search.num_folds",
        "split.fold=1": "fold",
        "model=lstm": "model",
    }
    for change, name in changes.items():
        with user_error(tmp_path / "study/study.db", problem=f"another {name} (", hint="hydra.sweep.dir=FOLDER"):
            search("search.num_trials=2", change)
    other = write_csv(name="other.csv", genres=("blues", "classical", "metal"), tracks=12, slices=4, seed=1)
    with user_error(tmp_path / "study/study.db", problem="another data_hashes"):
        search("search.num_trials=2", path=other)


@pytest.mark.slow
def test_a_bad_trial_is_pruned_in_its_first_fold(search: Search, tmp_path: Path) -> None:
    overrides = ("model.learning_rate=choice(0.01,1e-9)", "trainer.max_epochs=4")
    study = search("search.num_trials=1", *overrides)
    good = study.trials[0]
    assert good.params["model.learning_rate"] == 0.01  # the value in the YAML file
    study.add_trials([good] * 4)
    study.enqueue_trial({"model.learning_rate": 1e-9})
    study = search("search.num_trials=6", *overrides)
    assert states(study) == ["COMPLETE"] * 5 + ["PRUNED"]
    assert study.trials[-1].last_step == 3  # the first half of the first fold is never pruned
    assert "folds" not in study.trials[-1].user_attrs


@pytest.mark.slow
def test_nothing_is_pruned_if_pruning_is_off(search: Search) -> None:
    overrides = ("model.learning_rate=choice(0.01,1e-9)", "search.prune=false")
    study = search("search.num_trials=1", *overrides)
    study.add_trials([study.trials[0]] * 4)
    study.enqueue_trial({"model.learning_rate": 1e-9})
    assert states(search("search.num_trials=6", *overrides)) == ["COMPLETE"] * 6


def trial_of(values: Mapping[int, float], state: TrialState = TrialState.COMPLETE) -> optuna.trial.FrozenTrial:
    value = values[max(values)] if state == TrialState.COMPLETE else None
    return create_trial(state=state, value=value, intermediate_values=dict(values))


@pytest.mark.parametrize(
    ("direction", "values", "pruned"),
    [
        ("minimize", {1: 9.0}, False),  # warm-up
        ("minimize", {2: 3.1}, True),
        ("minimize", {2: 3.0}, False),
        ("minimize", {1: 0.1, 2: 3.1}, True),  # the last value counts, not the best
        ("maximize", {2: 2.9}, True),
        ("maximize", {2: 3.1}, False),
    ],
)
def test_a_trial_is_compared_with_the_median_at_its_step(
    direction: str, values: dict[int, float], pruned: bool
) -> None:
    study = optuna.create_study(direction=direction)
    study.add_trials([trial_of({1: 5.0, 2: value, 3: 0.0}) for value in (1.0, 2.0, 4.0, 5.0)])
    running = trial_of(values, TrialState.RUNNING)
    assert not StepMedian(1).prune(study, running)  # four others are too few
    study.add_trial(trial_of({1: 3.0}, TrialState.PRUNED))  # it counts with its last value
    assert StepMedian(1).prune(study, running) is pruned


@pytest.mark.slow
def test_a_trial_that_fails_does_not_count_and_the_search_continues(
    search: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ("model.dropout=choice(0.3,2.0)", "search.num_folds=1")
    study = search("search.num_trials=1", *overrides)
    study.enqueue_trial({"model.dropout": 2.0})
    study.enqueue_trial({"model.dropout": 0.3})
    study = search("search.num_trials=2", *overrides)
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "trial 1: failed; " in capsys.readouterr().out


@pytest.mark.slow
def test_a_search_ends_if_every_trial_fails(search: Search, user_error: UserErrors) -> None:
    with user_error(problem="5 trials in a row failed"):
        search("search.num_trials=2", "search.num_folds=1", "model.learning_rate=choice(1e20,1e21)")


@pytest.mark.slow
def test_an_estimator_is_searched_too(search: Search) -> None:
    study = search("search.num_trials=2", model="knn")
    assert set(study.best_params) == {"model.transform", "model.whitening", "model.num_neighbours", "model.smoothing"}
    assert study.best_trial.last_step == 4  # two folds of `trainer.max_epochs` epochs


@pytest.mark.slow
def test_published_lists_allow_one_fit_per_trial(search: Search, capsys: pytest.CaptureFixture[str]) -> None:
    study = search(
        "search.num_trials=1", "split=filtered", "dataset.num_tracks=300", "slice=30", model="lda", path=None
    )
    assert len(study.best_trial.user_attrs["folds"]) == 1
    assert "one validation part, so a trial is one fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("search.score=test", "search.score", "test"),
        ("search.num_folds=4", "search.num_folds", 4),
        ("search.num_trials=0", "search.num_trials", 0),
        ("model=mlp,lstm", "model", "mlp,lstm"),
        ("split.fold=0,1", "split.fold", "0,1"),
        ("model.num_layers=range(3,3)", "model.num_layers", "range(3,3)"),
        ("dataset.path=nowhere.csv", "dataset.path", "nowhere.csv"),
        ("split=row", "split", "row"),
    ],
)
def test_a_mistake_is_reported_before_any_trial(
    search: Search, tmp_path: Path, override: str, key: str, value: object, user_error: UserErrors
) -> None:
    with user_error(key, value):
        search(override, model="lstm" if "num_layers" in override else "mlp")
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_misspelt_range_is_refused(
    search: Search, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, user_error: UserErrors
) -> None:
    monkeypatch.setitem(sections, "network", {"model.hiden_size": [1, 2], "model.dropout": [0.1, 0.2]})
    with user_error("model.hiden_size", problem="no such model has this key"):
        search()


def test_a_range_under_an_unknown_model_is_refused(
    search: Search, sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, user_error: UserErrors
) -> None:
    monkeypatch.setitem(sections, "lstn", {"model.dropout": [0.1, 0.2]})
    with user_error("hydra.sweeper.space.lstn"):
        search()


@pytest.mark.slow
@pytest.mark.parametrize("label", ["twin-synthetic", "mine"])
def test_a_study_of_the_twin_is_marked_whatever_its_label_is(search: Search, label: str) -> None:
    study = search(
        "search.num_trials=1", "search.num_folds=1", "dataset.num_tracks=100", f"dataset.label={label}", path=None
    )
    assert marks_of(study) == (Mark.SYNTHETIC,)


def test_a_leaking_study_is_marked(search: Search) -> None:
    study = search("search.num_trials=1", "search.num_folds=1", "split=row", "split.allow_leak=true")
    assert marks_of(study) == (Mark.LEAKS,)


def test_this_is_the_version_of_optuna_whose_storage_finds_a_trial_by_its_number() -> None:
    """See in a later version whether `run_trial` has a public way from a study and a number to a `Trial`."""
    assert optuna.__version__.startswith("5.")


def test_a_trial_outside_a_study_logs_its_scores(
    corpus: Path, composed: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ("dataset=csv", f"dataset.path={corpus}", "split.folds=3", "split.val_folds=3", "trainer.max_epochs=2")
    cfg = composed("sweep=wandb", "model=mlp", "logger=csv", "trainer.accelerator=cpu", *overrides)
    score = score_trial(cfg, tmp_path / "run", "mlp")
    logged = pd.read_csv(tmp_path / "run/metrics.csv")
    assert logged["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert logged["search/loss"].iloc[-1] == pytest.approx(score)
    assert "mean over 3 inner folds" in capsys.readouterr().out


@pytest.mark.torture
def test_a_trial_that_was_stopped_while_its_values_were_drawn_draws_the_same_values(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = search("search.num_trials=2", folder="whole")
    ask = optuna.Study.ask

    def stop(study: optuna.Study, space: Mapping[str, Any]) -> None:
        ask(study, dict(list(space.items())[:2]))
        raise ZeroDivisionError

    for num_trials in (1, 2):
        with monkeypatch.context() as patched:
            patched.setattr(optuna.Study, "ask", stop)
            with pytest.raises(ZeroDivisionError):
                search("search.num_trials=2")
        study = search(f"search.num_trials={num_trials}")
    assert states(study) == ["FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert [study.trials[number].params for number in (1, 3)] == [trial.params for trial in whole.trials]


@pytest.mark.slow
@pytest.mark.torture
def test_a_killed_search_is_resumed(project_root: Path, tmp_path: Path) -> None:
    overrides = [sys.executable, str(project_root / "train.py"), "-m", "sweep=optuna", "model=mlp", "slice=9"]
    overrides += ["dataset.num_tracks=300", "trainer.accelerator=cpu", "search.num_folds=1", "search.num_trials=2"]
    overrides += ["trainer.max_epochs=200", "trainer.patience=3", "batch_size=64", "hydra.sweep.dir=my study"]
    process = subprocess.Popen(overrides, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path, text=True)
    path = tmp_path / "my study/study.db"
    deadline = time.monotonic() + 300
    while not _has_reported(path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    before = states(load_study(path.parent))
    assert before.count("RUNNING") == 1
    done = subprocess.run(overrides, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "was stopped before its end and runs again" in done.stdout
    assert done.stdout.splitlines()[-1] == "run: my study"
    study = load_study(path.parent)
    after = states(study)
    assert after.count("FAIL") == 1
    stopped = after.index("FAIL")
    assert (
        study.trials[stopped].params == study.trials[stopped + 1].params
    )  # the first trial, with the model's own settings, is not lost
    assert after.count("COMPLETE") + after.count("PRUNED") == 2
    assert (path.parent / "report.html").is_file()
    assert not list(path.parent.glob("trial[0-9]*"))


def _has_reported(path: Path) -> bool:
    """Return whether a trial is running, without Optuna, which would write to a study that does not exist yet."""
    if not path.is_file():
        return False
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            (count,) = connection.execute("select count(*) from trial_intermediate_values").fetchone()
        connection.close()
    except sqlite3.OperationalError:
        return False
    return bool(count)


def test_a_study_that_cannot_be_used_is_reported_in_one_sentence(
    search: Search, tmp_path: Path, user_error: UserErrors
) -> None:
    (tmp_path / "study").mkdir()
    path = tmp_path / "study/study.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(5000))
    with user_error(key=str(path), problem="SQLite cannot use it"):
        search("search.num_trials=1")
    path.unlink()
    path.mkdir()
    with user_error(key=str(path), problem="SQLite cannot use it"):
        search("search.num_trials=1")
