"""The report of a search: its command, the importance of settings, and a sentence if there are too few trials."""

import copy
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from genregrid.exhibit.mark import Mark
from genregrid.search.__main__ import main
from genregrid.search.report import best_command, importance, marks_of, trial_table, write_study_report
from genregrid.search.study import _hash, load_study

SPACE: dict[str, BaseDistribution] = {
    "model.learning_rate": FloatDistribution(0.0001, 0.01, log=True),
    "model.dropout": FloatDistribution(0.0, 0.6),
    "model.transform": CategoricalDistribution(["standardise", "log_variance", "log"]),
}


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    """A study without trials in the folder `study`, in the form that a search writes."""
    (tmp_path / "study").mkdir()
    made = optuna.create_study(study_name="search", storage=f"sqlite:///{tmp_path / 'study/study.db'}")
    about = {"model": "lstm", "dataset_label": "mine", "protocol": "track", "folds": 5, "data_hashes": {"twin": "0"}}
    attrs = {"fixed": ["sweep=optuna", "model=lstm", "slice=3", "search.num_trials=9", "dataset.path=a b.csv"]}
    for name, value in (attrs | {"score": "loss", "num_steps": 20, "fingerprint": about}).items():
        made.set_user_attr(name, value)
    return made


def add_trials(study: optuna.Study, num: int) -> None:
    """Add trials whose loss depends on the learning rate, and a little on dropout; each third is pruned."""
    random = np.random.default_rng(0)
    for number in range(num):
        params = {"model.learning_rate": 10 ** random.uniform(-4, -2), "model.dropout": random.uniform(0, 0.6)}
        params["model.transform"] = ("standardise", "log_variance", "log")[number % 3 if number % 2 else 0]
        loss = 1 + abs(math.log10(params["model.learning_rate"]) + 3) + 0.05 * params["model.dropout"]
        is_pruned = number % 3 == 2
        folds = [{"loss": loss + gap, "accuracy": 0.5, "f1_macro": 0.4} for gap in (-0.1, 0.1)]
        given: dict[str, Any] = {"params": params, "distributions": SPACE, "intermediate_values": {5: loss}}
        if is_pruned:
            study.add_trial(create_trial(state=TrialState.PRUNED, value=loss, **given))
        else:
            study.add_trial(create_trial(value=loss, user_attrs={"folds": folds}, **given))


def test_a_report_has_its_files_and_a_command(study: optuna.Study, tmp_path: Path) -> None:
    add_trials(study, 18)
    text = write_study_report(tmp_path / "study")
    names = {path.name for path in (tmp_path / "study").iterdir()}
    assert {"report.html", "history.svg", "importance.svg", "settings.svg"} <= names
    assert {f"{name}.{end}" for name in ("best", "importance", "trials") for end in ("csv", "md")} <= names
    best = load_study(tmp_path / "study").best_trial
    (command,) = (line for line in text.splitlines() if line.startswith("python"))
    assert command.startswith("python train.py model=lstm slice=3 'dataset.path=a b.csv' model.learning_rate=")
    assert "search" not in command
    assert f"model.transform={best.params['model.transform']}" in command
    assert "is optimistic" in text
    assert "SYNTHETIC" in (tmp_path / "study/report.html").read_text()
    table = pd.read_csv(tmp_path / "study/trials.csv")
    assert table["state"].value_counts().to_dict() == {"finished": 12, "pruned": 6}
    top = pd.read_csv(tmp_path / "study/best.csv")
    assert top["value"].is_monotonic_increasing
    assert top["value"][0] == pytest.approx(best.value, rel=1e-5)
    assert top["fold_sd"][0] == pytest.approx(0.2 / math.sqrt(2), rel=1e-5)


@pytest.mark.slow
def test_every_part_of_a_report_carries_the_marks(study: optuna.Study, tmp_path: Path) -> None:
    add_trials(study, 18)
    study.set_user_attr("marks", ["LEAKS", "SYNTHETIC"])
    assert "Marks: LEAKS, SYNTHETIC" in write_study_report(tmp_path / "study").splitlines()
    for path in (tmp_path / "study").iterdir():
        if path.suffix in (".csv", ".md", ".svg", ".html"):
            assert "LEAKS" in path.read_text(), path
            assert "SYNTHETIC" in path.read_text(), path


def test_a_study_without_stored_marks_is_marked_by_its_data_and_protocol(study: optuna.Study) -> None:
    assert marks_of(study) == (Mark.SYNTHETIC,)
    study.set_user_attr("fingerprint", {"protocol": "row", "data_hashes": {"features_3_sec.csv": "0"}})
    assert marks_of(study) == (Mark.LEAKS,)


@pytest.mark.slow
def test_importance_finds_what_matters(study: optuna.Study) -> None:
    add_trials(study, 45)
    frame = importance(study)
    assert frame is not None
    assert frame["setting"][0] == "model.learning_rate"
    assert frame["share"][0] > 0.8
    assert frame["share"].sum() == pytest.approx(1)
    assert ((frame["low"] <= frame["share"]) & (frame["share"] <= frame["high"])).all()


@pytest.mark.parametrize("num", [0, 1, 2, 3])
def test_few_trials_are_explained_in_a_sentence(study: optuna.Study, tmp_path: Path, num: int) -> None:
    add_trials(study, num)
    text = write_study_report(tmp_path / "study")
    assert importance(study) is None
    page = (tmp_path / "study/report.html").read_text()
    if num:
        assert "Importance needs 10 finished trials" in page
    else:
        assert text.startswith("No trial has finished yet")


def test_a_clock_that_was_set_back_gives_no_negative_duration(study: optuna.Study) -> None:
    add_trials(study, 2)
    earlier = copy.deepcopy(study.trials[0])
    earlier.datetime_start, earlier.datetime_complete = datetime(2026, 1, 2), datetime(2026, 1, 1)
    study.add_trial(earlier)
    assert math.isnan(trial_table(study)["seconds"].iloc[-1])


def test_a_running_trial_is_skipped(study: optuna.Study, tmp_path: Path) -> None:
    add_trials(study, 3)
    study.ask(SPACE)
    assert len(trial_table(study)) == 3
    assert best_command(study) in write_study_report(tmp_path / "study")


def test_the_command_reports_a_study_and_refuses_other_files(
    study: optuna.Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], user_error: Callable[..., Any]
) -> None:
    add_trials(study, 2)
    assert main([str(tmp_path / "study/study.db")]) == 0
    assert "report: " in capsys.readouterr().out
    (tmp_path / "study.db").write_text("no study")
    for path in (tmp_path / "nowhere", tmp_path / "study.db"):
        assert main([str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"{path}: ")
        with user_error(path):
            load_study(path)


DAMAGED = [
    "update trial_values set value = value + 0.01 where trial_id = 1",  # not the mean of its folds
    "update trial_values set value = 'a' where trial_id = 1",
    "update trial_params set param_value = param_value / 2 where param_name = 'model.dropout'",
    "update trial_user_attributes set value_json = '[]' where key = 'folds'",
    "update trials set number = 7 where trial_id = 1",
    "update trials set datetime_complete = 'soon' where trial_id = 1",
    "update trials set state = 'DONE' where trial_id = 1",
    "update study_user_attributes set value_json = '\"speed\"' where key = 'score'",
    "update study_user_attributes set value_json = '7' where key = 'fixed'",
    "delete from study_user_attributes",
    "delete from study_directions",
]


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_study_is_refused_in_one_sentence(
    study: optuna.Study, tmp_path: Path, damage: str, user_error: Callable[..., Any]
) -> None:
    params = {"model.learning_rate": 0.001, "model.dropout": 0.5, "model.transform": "log"}
    folds = [{"loss": 1.0, "accuracy": 0.5, "f1_macro": 0.4}]
    trial = create_trial(value=1.0, params=params, distributions=SPACE, user_attrs={"folds": folds})
    trial.set_user_attr("hash", _hash(trial, folds))
    study.add_trial(trial)
    assert load_study(tmp_path / "study").best_trial.params == params
    path = tmp_path / "study/study.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(damage)
    with user_error(path, problem="it is damaged"):
        load_study(tmp_path / "study")


def test_control_characters_of_a_study_are_not_printed(study: optuna.Study, tmp_path: Path) -> None:
    add_trials(study, 2)
    study.set_user_attr("fixed", ["dataset.label=\x1b[31m\r"])
    assert all(line.isprintable() for line in write_study_report(tmp_path / "study").split("\n"))


@pytest.mark.slow
def test_without_optuna_the_hint_is_one_sentence() -> None:
    code = "import sys; sys.modules['optuna'] = None; sys.argv[1:] = ['x']; import genregrid.search.__main__ as m"
    done = subprocess.run([sys.executable, "-c", f"{code}; sys.exit(m.main())"], capture_output=True, text=True)
    assert done.returncode != 0
    assert 'pip install -e ".[search]"' in done.stderr.splitlines()[-1]
