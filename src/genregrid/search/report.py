"""Report a search: its best settings as a command, its history, and how much each setting matters."""

import math
import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from genregrid.config import LEAKING_PROTOCOLS
from genregrid.errors import counted, printable
from genregrid.exhibit.drawing import COLOURS, INK, draw_key, finished, in_percent, panels, plot, styled
from genregrid.exhibit.mark import Mark
from genregrid.exhibit.page import render_page
from genregrid.exhibit.table import Column, Exhibit, Figure, Form, Section, Table
from genregrid.program import command_name
from genregrid.search.score import mean_scores
from genregrid.search.space import to_overrides, written
from genregrid.search.study import COUNTED, load_study

_TITLES = {"loss": "cross-entropy", "accuracy": "accuracy", "f1_macro": "macro F1"}
_FEWEST_FOR_IMPORTANCE = 10  # finished trials; with fewer, the result depends on the forest's seed
_NUM_DRAWS, _SHARE_DRAWN = 10, 0.8
_MARGIN = 0.05  # share of a range, on both sides, so that points at its ends are visible
_NUM_TREES = 64  # Optuna's default
_LONGEST_LINE = 10_000  # characters of a printed command
_DONE: dict[str, Any] = {"marker": "o", "color": COLOURS[0], "linestyle": "none"}
_PRUNED: dict[str, Any] = {"marker": "x", "color": COLOURS[5], "linestyle": "none"}
_BEST: dict[str, Any] = {"color": INK, "linewidth": 1.2}
_CAUTION = (
    "The best validation score of many trials is optimistic, because it was selected. The command tests the settings "
    "on the tracks that the search did not use; the test parts of other folds have tracks that it did use."
)
_IMPORTANCE = (
    "The share of variance that a forest, fitted to finished trials, explains by each setting alone (fANOVA), in "
    "these ranges. A setting of small importance may still matter together with another, or outside its range. "
    "Pruned trials are left out, so the worst settings count less."
)


def write_study_report(study_folder: Path) -> str:
    """Write report.html, its tables and figures to the folder of a study, given as the folder or its file.

    Returns the best settings as a command, and the path of the report. Raises a `UserError` if there is no study.
    """
    study = load_study(study_folder)
    folder = study_folder if study_folder.is_dir() else study_folder.parent
    trials, marks = trial_table(study), marks_of(study)
    lines = [*_best(study, trials), *([f"Marks: {', '.join(marks)}"] if marks else [])]
    sections = [Section("best", "Best settings", "\n\n".join(lines), _best_table(study, trials))]
    if len(trials):
        sections.append(Section("history", "History", "", (_history(study),)))
        sections.append(_importance_section(study))
        sections.append(Section("trials", "Trials", "", (_all_trials(study, trials),)))
    about = study.user_attrs.get("fingerprint", {})
    names = [str(about[name]) for name in ("model", "dataset_label", "protocol") if name in about]
    page = render_page("genregrid search", ", ".join(names), marks, sections)
    for section in sections:
        for exhibit in section.exhibits:
            exhibit.write(folder)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return "\n".join(printable(line, _LONGEST_LINE) for line in [*lines, f"report: {folder / 'report.html'}"])


def marks_of(study: optuna.Study) -> tuple[Mark, ...]:
    """Return the warnings about the data and the split of a study."""
    if "marks" in study.user_attrs:
        return tuple(Mark(mark) for mark in study.user_attrs["marks"])
    about = study.user_attrs.get("fingerprint", {})  # older studies do not store their marks
    leaks, is_twin = about.get("protocol") in LEAKING_PROTOCOLS, "twin" in about.get("data_hashes", {})
    return tuple(mark for mark, holds in ((Mark.LEAKS, leaks), (Mark.SYNTHETIC, is_twin)) if holds)


def _score(study: optuna.Study) -> str:
    return str(study.user_attrs["score"])


def trial_table(study: optuna.Study) -> pd.DataFrame:
    """List each finished, pruned or failed trial in a row.

    Columns: trial, state, value (for a pruned trial the last one), fold_sd (standard deviation over inner folds), loss,
    accuracy, f1_macro, epochs, seconds, settings, and each setting by its key.
    """
    rows = []
    for trial in study.get_trials(deepcopy=False, states=(*COUNTED, TrialState.FAIL)):
        folds = trial.user_attrs.get("folds", [])
        values = [scores[_score(study)] for scores in folds]
        seconds = math.nan if trial.duration is None else trial.duration.total_seconds()
        rows.append(
            {
                "trial": trial.number,
                "state": {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name],
                "value": math.nan if trial.value is None else trial.value,
                "fold_sd": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
                **(mean_scores(folds) if folds else {}),
                "epochs": trial.last_step or 0,
                "seconds": seconds if seconds >= 0 else math.nan,  # the clock was set back during the trial
                "settings": " ".join(to_overrides(trial.params)),
                **trial.params,
            }
        )
    return pd.DataFrame(rows)


def best_command(study: optuna.Study) -> str:
    """Return the command that trains and tests the settings of the best trial, without overrides of the search."""
    own = ("sweep=", "search.", "logger=")
    fixed = [override for override in study.user_attrs["fixed"] if not override.startswith(own)]
    return f"{command_name('train')} {shlex.join([*fixed, *to_overrides(study.best_trial.params)])}"


def _best(study: optuna.Study, trials: pd.DataFrame) -> list[str]:
    states = trials["state"].value_counts() if len(trials) else {}
    counts = [f"{states[state]} {state}" for state in ("finished", "pruned", "failed") if state in states]
    if "finished" not in states:
        return [f"No trial has finished yet ({', '.join(counts) or 'there is none'})."]
    best = study.best_trial
    folds = best.user_attrs["folds"]
    shown = ", ".join(f"{_TITLES[name]} {_shown(name, value)}" for name, value in mean_scores(folds).items())
    means = f"means over {len(folds)} inner folds" if len(folds) > 1 else "one fold"
    lines = [
        f"Best of {counted(len(trials), 'trial')} ({', '.join(counts)}) by validation {_TITLES[_score(study)]}: trial "
        f"{best.number}, {shown} ({means})",
        best_command(study),
        _CAUTION,
    ]
    first = study.get_trials(deepcopy=False)[0]
    if first.state == TrialState.COMPLETE and first.number != best.number and first.value:
        own = _shown(_score(study), first.value)
        lines.insert(1, f"Trial 0, with the model's own settings where the ranges include them: {own}")
    return lines


def _shown(score: str, value: float) -> str:
    return f"{value:.3f}" if score == "loss" else f"{100 * value:.1f} %"


def _form(score: str) -> Form:
    return "fine" if score == "loss" else "percent"


def _score_columns(study: optuna.Study) -> tuple[Column, ...]:
    names = sorted(_TITLES, key=lambda name: name != _score(study))  # the score of the search first
    columns = [Column(name, f"{_TITLES[name]}{'' if name == 'loss' else ' %'}", _form(name)) for name in names]
    return (*columns[:1], Column("fold_sd", "its sd over folds", _form(_score(study))), *columns[1:])


def _best_table(study: optuna.Study, trials: pd.DataFrame) -> tuple[Exhibit, ...]:
    if not len(trials) or "loss" not in trials:
        return ()
    done = trials[trials["state"] == "finished"]
    top = done.sort_values("value", ascending=study.direction == StudyDirection.MINIMIZE, kind="stable").head(5)
    columns = (Column("trial", "trial", "count"), *_score_columns(study), Column("settings", "settings"))
    note = (
        "Means over inner folds, on validation tracks; accuracy and F1 by track. Differences well below the spread "
        "over folds are noise."
    )
    return (Table("best", "The five best trials", top, columns, note, [marks_of(study)] * len(top)),)


def _all_trials(study: optuna.Study, trials: pd.DataFrame) -> Table:
    columns = (
        Column("trial", "trial", "count"),
        Column("state", "state"),
        Column("value", "value", _form(_score(study))),
        Column("epochs", "epochs", "count"),
        Column("seconds", "seconds", "decimal"),
        Column("settings", "settings"),
    )
    note = "The value of a pruned trial is its last running mean. Epochs are counted over inner folds."
    return Table("trials", "Every trial", trials, columns, note, [marks_of(study)] * len(trials))


@styled
def _history(study: optuna.Study) -> Figure:
    """Draw the score of each trial by number, and the best score so far."""
    score = _score(study)
    drawing, axes = plot(260, top=26)
    trials = study.get_trials(deepcopy=False)
    for state, form in ((TrialState.COMPLETE, _DONE), (TrialState.PRUNED, _PRUNED)):
        chosen = [(trial.number, trial.value) for trial in trials if trial.state == state and trial.value is not None]
        axes.plot(*np.reshape(np.array(chosen, float), (-1, 2)).T, **form)
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    alt = "no trial has finished"
    if done:
        better = np.minimum if study.direction == StudyDirection.MINIMIZE else np.maximum
        best = better.accumulate(np.array([trial.value for trial in done], float))
        numbers = [trial.number for trial in done]
        axes.step([*numbers, trials[-1].number], [*best, best[-1]], where="post", **_BEST)
        alt = f"the best {_TITLES[score]} goes from {_shown(score, best[0])} to {_shown(score, best[-1])}"
    axes.set(xlabel="trial", ylabel=_axis_title(score))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if score != "loss":
        in_percent(axes.yaxis)
    draw_key(drawing, [*_keys(), Line2D([], [], label="best so far", **_BEST)])
    note = "Means over inner folds, on validation tracks."
    return finished(
        "history", "Scores by trial", drawing, f"Over {counted(len(trials), 'trial')} {alt}.", note, marks_of(study)
    )


def _keys() -> list[Line2D]:
    return [Line2D([], [], label="finished", **_DONE), Line2D([], [], label="pruned, its last value", **_PRUNED)]


def _axis_title(score: str) -> str:
    return f"validation {_TITLES[score]}" + ("" if score == "loss" else " (%)")


def importance(study: optuna.Study) -> pd.DataFrame | None:
    """Estimate the share of variance of finished trials that each setting explains alone.

    Columns: setting, share, low and high (the range over ten draws of four fifths of the trials). ``None`` if fewer
    than ten trials have finished, or all have the same score.

    Source: Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance", ICML 2014.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    keys = {key for trial in done for key in trial.params}
    varied = sorted(key for key in keys if len({str(trial.params.get(key)) for trial in done}) > 1)
    if len(done) < _FEWEST_FOR_IMPORTANCE or len({trial.value for trial in done}) == 1 or not varied:
        return None
    random = np.random.default_rng(0)
    size = math.ceil(_SHARE_DRAWN * len(done))
    draws = [[done[n] for n in random.choice(len(done), size, replace=False)] for _ in range(_NUM_DRAWS)]
    shares = pd.DataFrame([_shares(study, trials, varied) for trials in (done, *draws)])
    frame = pd.DataFrame({"setting": varied, "share": shares.iloc[0], "low": shares.min(), "high": shares.max()})
    return frame.sort_values("share", ascending=False, ignore_index=True)


def _shares(study: optuna.Study, trials: Sequence[FrozenTrial], keys: Sequence[str]) -> dict[str, float]:
    part = optuna.create_study(direction=study.direction)
    part.add_trials(trials)
    evaluator = FanovaImportanceEvaluator(n_trees=_NUM_TREES, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a setting with one value in a draw
        found = get_param_importances(part, evaluator=evaluator, params=list(keys))
    return {key: float(found.get(key, 0.0)) for key in keys}


def _importance_section(study: optuna.Study) -> Section:
    """Show importance as figure and table, and scores by each setting; a sentence if there are too few trials."""
    frame = importance(study)
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    exhibits: list[Exhibit] = []
    if frame is None:
        needed = f"{_FEWEST_FOR_IMPORTANCE} finished trials with different scores"
        text = f"Importance needs {needed}; {len(done)} have finished."
        order = sorted(done[0].params) if done else []
    else:
        text, order = _IMPORTANCE, list(frame["setting"])
        exhibits = [_importance_figure(study, frame), _importance_table(study, frame)]
    if done:
        exhibits.append(_settings_figure(study, order))
    return Section("importance", "Which settings matter", text, tuple(exhibits))


def _importance_table(study: optuna.Study, frame: pd.DataFrame) -> Table:
    shown = frame.rename(columns={"low": "share_low", "high": "share_high"})
    note = "In brackets the range over ten draws of four fifths of the trials."
    columns = (Column("setting", "setting"), Column("share", "share of variance %", "percent"))
    return Table("importance", "Importance of settings", shown, columns, note, [marks_of(study)] * len(shown))


@styled
def _importance_figure(study: optuna.Study, frame: pd.DataFrame) -> Figure:
    left = 30 + 7.0 * max(map(len, frame["setting"]))
    drawing, axes = plot(26.0 * len(frame), left=left)
    place = np.arange(len(frame))[::-1]
    axes.barh(place, frame["share"], height=0.6, color=COLOURS[0], alpha=0.6)
    axes.hlines(place, frame["low"], frame["high"], color=INK, linewidth=1.4)
    axes.set(yticks=place, yticklabels=frame["setting"], xlabel="share of variance (%)", xlim=(0, None))
    axes.grid(visible=False, axis="y")
    in_percent(axes.xaxis)
    shares = ", ".join(f"{row.setting} {100 * row.share:.0f} %" for row in frame.itertuples())
    note = "Bars: all finished trials. Lines: the range over ten draws of four fifths of them."
    title, alt = "Importance of settings", f"Importance: {shares}."
    return finished("importance", title, drawing, alt, note, marks_of(study))


@styled
def _settings_figure(study: optuna.Study, order: Sequence[str]) -> Figure:
    """Draw scores by the value of each setting, a panel per setting."""
    score = _score(study)
    drawing, grid = panels(order, "", _axis_title(score), top=26, below=38, most=3)  # room for names of choices
    for key, axes in zip(order, grid, strict=True):
        for state, form in ((TrialState.PRUNED, _PRUNED), (TrialState.COMPLETE, _DONE)):
            trials = [t for t in study.get_trials(deepcopy=False, states=(state,)) if key in t.params]
            chosen = [(_place(t.distributions[key], t.params[key]), t.value) for t in trials if t.value is not None]
            if chosen:
                axes.plot(*zip(*chosen, strict=True), **form | {"markersize": 4.5})
                _scale(axes, trials[0].distributions[key])
    if score != "loss":
        in_percent(grid[0].yaxis)
    draw_key(drawing, _keys())
    alt = f"{_TITLES[score]} of every trial by {', '.join(order)}."
    return finished("settings", "Scores by setting", drawing, alt[0].upper() + alt[1:], "", marks_of(study))


def _place(distribution: BaseDistribution, value: Any) -> float:
    return distribution.choices.index(value) if isinstance(distribution, CategoricalDistribution) else float(value)


def _scale(axes: Axes, distribution: BaseDistribution) -> None:
    """Set the ticks of an axis: names for choices, powers of ten for a logarithmic range."""
    if isinstance(distribution, CategoricalDistribution):
        names = [written(choice) for choice in distribution.choices]
        on_two_lines = max(map(len, names)) > 4
        lines = ["\n" * (number % 2 if on_two_lines else 0) + name for number, name in enumerate(names)]
        axes.set_xticks(range(len(names)), lines)
        room = 0.9 if on_two_lines else 0.5
        axes.set_xlim(-room, len(names) - 1 + room)
    elif isinstance(distribution, FloatDistribution | IntDistribution):
        low, high = distribution.low, distribution.high
        if distribution.log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(numticks=4))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            margin = (high / low) ** _MARGIN
            axes.set_xlim(low / margin, high * margin)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=isinstance(distribution, IntDistribution)))
            axes.set_xlim(low - _MARGIN * (high - low), high + _MARGIN * (high - low))
