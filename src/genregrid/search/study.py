"""Open or resume an Optuna study in a SQLite file, reject other settings, ask for trials, prune and report them."""

import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO

import numpy as np
import optuna
from hydra.core.utils import JobStatus
from optuna.distributions import distribution_to_json
from optuna.exceptions import StorageInternalError
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from genregrid.config import SEARCH_SCORES, SearchConfig
from genregrid.errors import UserError
from genregrid.exhibit.mark import Mark
from genregrid.files import canonical
from genregrid.search.score import mean_scores
from genregrid.search.space import Space, described, to_overrides

if sys.platform != "win32":
    import fcntl

Folds = list[dict[str, float]]  # scores of each inner fold
OnStep = Callable[[int, dict[str, float]], None]  # step, mean scores so far
Launch = Callable[[list[list[str]], int], Sequence[Any]]  # overrides of each job, number of the first -> results
STUDY_FILE = "study.db"
_NAME = "search"  # a file holds one study
COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)
_FEWEST_OTHERS = 5  # earlier trials before any is pruned, as in Optuna's own median pruner
_MOST_FAILURES = 5  # in a row
_MUTEX = 2**40  # a byte of the lock file, after the bytes of all trials
# How long a process waits for another one's write, in seconds; SQLite's default of 5 is too short for a busy disk.
_TIMEOUT_SECONDS = 60

optuna.logging.set_verbosity(optuna.logging.WARNING)


def load_study(folder: Path) -> optuna.Study:
    """Load a study that exists, from its folder or file; raise a `UserError` if there is none or it is damaged."""
    path = folder / STUDY_FILE if folder.is_dir() else folder
    with _damage_reported(path):
        study = _loaded(path)
        _check(study)
    return study


def _loaded(path: Path) -> optuna.Study:
    if not path.is_file():
        raise UserError("it holds no study", key=path, hint=f"give a folder with the {STUDY_FILE} of a search")
    # a sampler that reads no other trial: this study is asked for none
    return optuna.load_study(study_name=_NAME, storage=_storage(path), sampler=RandomSampler())


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # SQLAlchemy and Optuna raise a dozen types for files that are no studies
        reason = str(error) if isinstance(error, _UnusableError) else type(error).__name__
        raise UserError(f"it is damaged, or no study of genregrid ({reason})", key=path) from error


class _UnusableError(Exception):
    """A study has a value that no search writes; the text names it."""


def _check(study: optuna.Study) -> None:
    """Refuse a study with a value that no search writes; values of other types raise exceptions of their own."""
    about, trials = study.user_attrs, study.get_trials(deepcopy=False)
    score, fixed = about.get("score", "loss"), about.get("fixed", [])
    holds = {
        "direction": len(study.directions) == 1,
        "settings": not trials or {"fingerprint", "fixed", "num_steps", "score"} <= about.keys(),
        "score": score in SEARCH_SCORES,
        "command": isinstance(fixed, list) and all(isinstance(text, str) for text in fixed),
        "number of steps": all(isinstance(about.get(name, 0), int) for name in ("num_steps", "warmup_steps", "prune")),
        "fingerprint": isinstance(about.get("fingerprint", {}), dict),
        "marks": set(about.get("marks", [])) <= set(Mark),
        "list of stopped trials": set(about.get("stopped", [])) <= set(range(len(trials))),
        "list of trials": [trial.number for trial in trials] == list(range(len(trials))),
    }
    holds |= {f"trial {trial.number}": _is_sound(trial, score) for trial in trials}
    if wrong := [name for name, is_right in holds.items() if not is_right]:
        raise _UnusableError(f"no search writes such a value: {wrong[0]}")


def _is_sound(trial: FrozenTrial, score: str) -> bool:
    values = [*trial.params.values(), *trial.system_attrs.get("fixed_params", {}).values()]
    steps = trial.intermediate_values.items()
    are_values = all(isinstance(value, str | int | float | None) for value in values)
    are_steps = all(isinstance(step, int) and isinstance(value, int | float) for step, value in steps)
    _ = trial.duration  # raises an error for times that cannot be compared
    if trial.state == TrialState.PRUNED:
        return are_values and are_steps and isinstance(trial.value, int | float | None)
    if trial.state != TrialState.COMPLETE:
        return are_values and are_steps
    folds = trial.user_attrs["folds"]
    are_scores = all(
        scores.keys() == SEARCH_SCORES.keys() and all(map(math.isfinite, scores.values())) for scores in folds
    )
    has_mean = math.isclose(trial.value or 0.0, mean_scores(folds)[score], rel_tol=1e-6)
    is_unchanged = trial.user_attrs.get("hash", _hash(trial, folds)) == _hash(trial, folds)  # older studies have none
    return are_values and are_steps and are_scores and has_mean and is_unchanged


def _hash(trial: Trial | FrozenTrial, folds: Folds) -> str:
    """Return a hash of the settings and the scores of a trial."""
    return hashlib.sha256(canonical([trial.params, folds]).encode()).hexdigest()


@contextmanager
def _database_errors(path: Path) -> Iterator[None]:
    """Raise a `UserError` for what SQLite cannot do: a full disk, no permission, a damaged file."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__) is not None:
            causes.append(cause)
        reason = str(causes[-1]).splitlines()[0]
        hint = "see that its disk has room and may be written to, or give hydra.sweep.dir=FOLDER for a new study"
        raise UserError(f"SQLite cannot use it ({reason})", key=path, hint=hint) from error


def _storage(path: Path) -> RDBStorage:
    return RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": _TIMEOUT_SECONDS}})


class StepMedian(BasePruner):
    """Prunes a trial after `warmup_steps` if its running mean is worse than the median of earlier trials at that step.

    A pruned trial counts with its last value. If only finished trials counted, a search that improves would prune more
    and more trials. Optuna's own median pruner does that. It also compares the best value of all steps, which an easy
    first inner fold would fix. Successive halving would prune small learning rates for their slow start.
    """

    def __init__(self, warmup_steps: int) -> None:
        self._warmup_steps = warmup_steps
        self._earlier: list[FrozenTrial] | None = None

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether to stop a trial after its last reported step."""
        step = trial.last_step
        if step is None or step <= self._warmup_steps:
            return False
        if self._earlier is None:  # read once per trial: reading takes a tenth of a small model's epoch
            self._earlier = study.get_trials(deepcopy=False, states=COUNTED)
        others = [value for other in self._earlier if (value := _value_at(other, step)) is not None]
        if len(others) < _FEWEST_OTHERS:
            return False
        gap = trial.intermediate_values[step] - median(others)
        return gap > 0 if study.direction == StudyDirection.MINIMIZE else gap < 0


def _value_at(trial: FrozenTrial, step: int) -> float | None:
    """Return the value of a trial at a step, or the last one before it: a fold or the trial may have stopped early."""
    steps = [known for known in trial.intermediate_values if known <= step]
    return trial.intermediate_values[max(steps)] if steps else None


def run_trial(folder: Path, number: int, score: str, validate: Callable[[OnStep], Folds]) -> Folds | None:
    """Score the trial with this number in the process of its job, and report it to the study in `folder`.

    `validate` is called with a function that reports each step. Returns the scores of each inner fold, or ``None`` if
    the trial was pruned.
    """
    with _database_errors(folder / STUDY_FILE):
        return _run_trial(folder, number, score, validate)


def _run_trial(folder: Path, number: int, score: str, validate: Callable[[OnStep], Folds]) -> Folds | None:
    study = _loaded(folder / STUDY_FILE)
    # Optuna 5 has no public way from a number to a `Trial` other than through the storage.
    storage = _storage(folder / STUDY_FILE)
    study_id = storage.get_study_id_from_name(_NAME)
    trial = Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))
    about = study.user_attrs
    study.pruner = StepMedian(int(about["warmup_steps"])) if about["prune"] else optuna.pruners.NopPruner()

    def on_step(step: int, mean: dict[str, float]) -> None:
        trial.report(mean[score], step)
        if step < about["num_steps"] and trial.should_prune():  # pruning at the last step would save nothing
            raise optuna.TrialPruned

    try:
        folds = validate(on_step)
    except optuna.TrialPruned:
        study.tell(number, state=TrialState.PRUNED)
        return None
    trial.set_user_attr("folds", folds)
    trial.set_user_attr("hash", _hash(trial, folds))
    study.tell(number, mean_scores(folds)[score])
    return folds


@dataclass
class Search:
    """A search that asks for trials and lets a launcher run them.

    Attributes:
        folder: of the study; made if missing.
        settings: number of trials, score, pruning and seed.
        space: ranges of the searched keys.
        fixed: overrides of every trial.
        fingerprint: what must be the same when a study is resumed, as plain values by name.
        marks: warnings about the data and the split, which the report shows.
        first: values of the first trial, for some or all of the searched keys.
        num_steps: of a trial that is not pruned: inner folds times epochs.
        warmup_steps: first steps, at which no trial is pruned.
    """

    folder: Path
    settings: SearchConfig
    space: Space
    fixed: list[str]
    fingerprint: dict[str, Any]
    marks: tuple[Mark, ...]
    first: dict[str, Any]
    num_steps: int
    warmup_steps: int

    def run(self, launch: Launch) -> None:
        """Run trials until `num_trials` of the study are finished or pruned, including those of earlier commands.

        A trial that fails does not count. A trial that was running when its process was killed runs again at the next
        start, under another number. Several processes may work on one study.

        Raises:
            UserError: the study has other settings, or several trials in a row failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _database_errors(self.folder / STUDY_FILE), (self.folder / "study.lock").open("a+b") as locks:
            with _locked(locks):
                study = self._opened()
                self._fail_dead(study, locks)
            counted = len(study.get_trials(deepcopy=False, states=COUNTED))
            print(f"search: {self.folder}, {counted} of {self.settings.num_trials} trials are done")
            for key, range_ in self.space.items():
                print(f"  {key}: {described(range_)}", flush=True)
            failures = 0
            while batch := self._asked(study, locks):
                numbers = [trial.number for trial in batch]
                is_stopped = True
                try:
                    for job in launch([self._overrides(trial) for trial in batch], numbers[0]):
                        if job.status == JobStatus.FAILED:  # a fault of the program
                            raise job._return_value  # as `return_value` does, which prints the overrides before
                    is_stopped = False
                finally:
                    finished = [self._finished(study, number, locks, is_stopped) for number in numbers]
                failed = sum(trial.state == TrialState.FAIL for trial in finished)
                failures = failures + failed if failed == len(finished) else 0
                if failures >= _MOST_FAILURES:
                    raise UserError(f"{failures} trials in a row failed", hint="see the error of each above")

    def _opened(self) -> optuna.Study:
        path = self.folder / STUDY_FILE
        direction = StudyDirection.MAXIMIZE if SEARCH_SCORES[self.settings.score] else StudyDirection.MINIMIZE
        with _damage_reported(path), _database_errors(path):
            storage = _storage(path)
            study = optuna.create_study(study_name=_NAME, storage=storage, load_if_exists=True, direction=direction)
            _check(study)
        ranges = {f"range of {key}": json.loads(distribution_to_json(given)) for key, given in self.space.items()}
        own = json.loads(json.dumps(self.fingerprint | ranges))  # the form in which the study returns it
        known = study.user_attrs.get("fingerprint")
        if known is None:
            for name in ("fixed", "num_steps", "warmup_steps"):
                study.set_user_attr(name, getattr(self, name))
            for name in ("prune", "score"):
                study.set_user_attr(name, getattr(self.settings, name))
            study.set_user_attr("fingerprint", own)  # last: a study that has it is complete
            study.enqueue_trial(self.first)
        elif known != own:
            name = next(name for name in {**known, **own} if known.get(name, ...) != own.get(name, ...))
            problem = f"the study has another {name} ({_short(known, name)}, now {_short(own, name)})"
            hint = "give the same value again, or hydra.sweep.dir=FOLDER for a new study"
            raise UserError(problem, key=path, hint=hint)
        study.set_user_attr("marks", self.marks)
        return study

    def _fail_dead(self, study: optuna.Study, locks: BinaryIO) -> None:
        """Mark trials as failed if their process has ended."""
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if _lock(locks, trial.number):
                self._stop(study, trial)
                self._clear(trial.number, locks)
                print(f"trial {trial.number} was stopped before its end and runs again")

    def _stop(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Mark a stopped trial as failed, and queue it again under another number.

        If it was stopped while its values were drawn, only those that it was given are queued, and the next trial draws
        the others from the same seed.
        """
        study.tell(trial.number, state=TrialState.FAIL)
        study.set_user_attr("stopped", [*study.user_attrs.get("stopped", []), trial.number])
        is_drawn = trial.params.keys() == self.space.keys()
        if values := trial.params if is_drawn else trial.system_attrs.get("fixed_params"):
            study.enqueue_trial(values)

    def _clear(self, number: int, locks: BinaryIO) -> None:
        """Unlock a trial, and remove the folder that Hydra made for it, unless a logger wrote to it."""
        _unlock(locks, number)
        with suppress(OSError):
            (self.folder / f"trial{number}").rmdir()

    def _asked(self, study: optuna.Study, locks: BinaryIO) -> list[Trial]:
        """Ask for the next trials and lock them: no more than the study still needs."""
        batch: list[Trial] = []
        with _locked(locks):
            trials = study.get_trials(deepcopy=False, states=(*COUNTED, TrialState.RUNNING))
            for _ in range(min(self.settings.num_jobs, self.settings.num_trials - len(trials))):
                # another seed for each trial, so that a resumed study does not draw the same values again
                number = len(study.get_trials(deepcopy=False)) - len(study.user_attrs.get("stopped", []))
                seed = int(np.random.SeedSequence([self.settings.seed, number]).generate_state(1)[0])
                study.sampler = TPESampler(seed=seed)
                batch.append(study.ask(self.space))
                _lock(locks, batch[-1].number)
        return batch

    def _overrides(self, trial: Trial) -> list[str]:
        folder = str(self.folder.absolute()).replace("\\", "\\\\").replace("'", "\\'")
        return [*self.fixed, *to_overrides(trial.params), f"search.study='{folder}'", f"search.trial={trial.number}"]

    def _finished(self, study: optuna.Study, number: int, locks: BinaryIO, is_stopped: bool) -> FrozenTrial:
        """Print the result of a trial and return it; without a result it has failed, or was stopped with all others."""
        trial = study.get_trials(deepcopy=False)[number]
        score, result = self.settings.score, "failed"
        if trial.state == TrialState.COMPLETE:
            result = f"{score} {trial.value:.4f}, best {study.best_value:.4f}"
        elif trial.state == TrialState.PRUNED:
            result = f"pruned at {score} {trial.value:.4f}, {trial.last_step} of {self.num_steps} epochs"
        elif not trial.state.is_finished() and is_stopped:
            self._stop(study, trial)
            result = "stopped; it runs again when the search is resumed"
        elif not trial.state.is_finished():
            study.tell(number, state=TrialState.FAIL)
        self._clear(number, locks)
        print(f"trial {number}: {result}; {' '.join(to_overrides(trial.params))}", flush=True)
        return study.get_trials(deepcopy=False)[number]


def _short(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "none"
    value = values[name]
    if isinstance(value, dict) and value.keys() == {"name", "attributes"}:
        value = {key: given for key, given in value["attributes"].items() if given is not None and given is not False}
    text = json.dumps(value).replace('"', "")
    return text if len(text) <= 80 else f"{text[:77]}..."


# --- locks: a byte of a file for each running trial; the system unlocks it when the process ends


def _lock(locks: BinaryIO, byte: int) -> bool:
    if sys.platform != "win32":
        try:
            fcntl.lockf(locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return False
    return True


def _unlock(locks: BinaryIO, byte: int) -> None:
    if sys.platform != "win32":
        fcntl.lockf(locks, fcntl.LOCK_UN, 1, byte)


@contextmanager
def _locked(locks: BinaryIO) -> Iterator[None]:
    """Keep other processes from asking for trials at the same time."""
    if sys.platform != "win32":
        fcntl.lockf(locks, fcntl.LOCK_EX, 1, _MUTEX)
    try:
        yield
    finally:
        _unlock(locks, _MUTEX)
