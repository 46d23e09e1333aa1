"""Train and validate one configuration."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from genregrid.config import NO_TEST, TrainConfig
from genregrid.data.datamodule import GenreDataModule
from genregrid.data.split import TRAIN
from genregrid.errors import UserError, counted, printable
from genregrid.files import remove_parts
from genregrid.models.estimator import EstimatorHead
from genregrid.record.card import Card
from genregrid.record.facts import RunFacts, identity
from genregrid.record.folder import BEST_CHECKPOINT, LAST_CHECKPOINT, RESULT_FILES, check_replaceable, finished_run
from genregrid.record.result import Result, ResultLogger, result_of, split_frame
from genregrid.record.untested import Untested
from genregrid.training.build import Prepared, plain_config, prepare, typed, write_config
from genregrid.training.card import add_card
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.devices import check_divisible, is_first_process
from genregrid.training.fit import (
    BestScores,
    build_trainer,
    diverged,
    fit_and_test,
    fit_untested,
    lightning_run,
    score_fitted,
)
from genregrid.training.resume import check_names_free
from genregrid.training.stack import STACK_CHECKPOINT, Fitted, StackCheckpoint, can_be_stacked, fit_stack

#: Files that a training writes.
TRAINED_FILES = (*RESULT_FILES, "config.yaml", BEST_CHECKPOINT)


def train(
    cfg: DictConfig,
    folder: Path,
    model_name: str,
    corpora: CorpusReader | None = None,
    fitted: Mapping[str, Fitted] | None = None,
    card: Card | None = None,
    *,
    quiet: bool = False,
) -> Result | Untested:
    """Train one model on one fold, test its best epoch, and write the run folder.

    With ``split=none`` it is trained on every track, and nothing is tested.

    With ``cfg.resume``, a run that was interrupted in this folder resumes from its last checkpoint, with the same
    results as without the interruption.

    Args:
        cfg: a composed `TrainConfig`.
        folder: the run folder; made if missing.
        model_name: name of the model in outputs: that of its YAML file.
        corpora: reads the corpus.
        fitted: from `train_together`; a run whose identity is in it is tested and not trained again.
        card: of a final model, for its checkpoint; a network is trained for its number of epochs.
        quiet: print nothing; the result has the notes that are printed otherwise.

    Raises:
        UserError: a mistake in the configuration or in the data it names, the folder has files of others, or with
            `resume` another run.
    """
    replaced = check_replaceable(folder, TRAINED_FILES)
    ready = prepare(cfg, model_name, corpora or CorpusReader())
    if ready.settings.resume and (folder / "run.json").is_file():  # `finished_before` would have found the same run
        problem = f"{folder} holds a finished run of other settings or data"
        hint = "resume in another folder, or leave out resume=true to start again"
        raise UserError(problem, key="resume", value=True, hint=hint)
    notes = notes_on(ready.datamodule) if quiet else announce(ready.facts, ready.datamodule)
    has_estimator = any(isinstance(part, EstimatorHead) for part in ready.model.modules())
    check_divisible(ready.settings.trainer, len(ready.datamodule.windows[TRAIN].genre), has_estimator)
    folder.mkdir(parents=True, exist_ok=True)
    check_names_free(folder)
    if is_first_process():
        if replaced and not quiet:
            print(replaced, flush=True)
        (folder / "run.json").unlink(missing_ok=True)  # of an earlier run; a run folder with this file is finished
        write_config(ready.config, folder)
        if ready.settings.resume:
            remove_parts(folder)
            shutil.rmtree(folder / "wandb", ignore_errors=True)  # the whole run is logged again, as one W&B run
    own = (fitted or {}).get(ready.facts.identity or "")
    is_final = ready.settings.split.protocol == NO_TEST
    with run_logger(ready.settings.logger if is_first_process() else None, ready.facts, folder) as logger:
        if is_final:
            add_card(ready, card)
            fit_untested(ready, folder, logger, None if card is None else card.epochs)
        elif own is None:
            fit_and_test(ready, folder, logger)
        else:
            score_fitted(ready, own, folder, logger)
        result = (
            _untested(ready, card, notes) if is_final else result_of(ready.model, ready.datamodule, ready.facts, notes)
        )
        if is_first_process():
            write_result(result, folder, logger)
            (folder / LAST_CHECKPOINT).unlink(missing_ok=True)
    return result


def _untested(ready: Prepared, card: Card | None, notes: list[str]) -> Untested:
    curves = pd.DataFrame(ready.model.curves)
    return Untested(ready.facts, split_frame(ready.datamodule.table, ready.datamodule.split), curves, card, notes)


def finished_before(cfg: DictConfig, folder: Path, model_name: str, corpora: CorpusReader | None = None) -> Path | None:
    """Return the folder in which a run of equal settings and data is finished; arguments as in `train`.

    Folders of the same grid that differ only in the job's number are searched too.
    """
    settings = typed(cfg, TrainConfig)
    corpus = (corpora or CorpusReader()).read(settings.dataset, settings.slice, settings.features)
    return finished_run(folder, identity(model_name, plain_config(cfg, corpus), corpus.table.hashes))


def train_together(jobs: Sequence[tuple[DictConfig, Path, str]], corpora: CorpusReader) -> dict[str, Fitted]:
    """Train runs of one cell as one computation, if their model allows it; `train` then tests and writes each.

    A run with a mistake is left out, and `train` raises its error. Training resumes from stack.ckpt in the folder of
    the first run; the caller deletes that file after it has written all runs. If some runs were finished before an
    interruption, they are trained again with the others, since a fit has other last bits in a smaller stack.

    Returns:
        The result of each fit, by identity of its run; empty if the runs are to be trained one by one.
    """
    runs, rng_states = [], []
    num_finished = 0
    for cfg, folder, model_name in jobs:
        with suppress(UserError):
            check_replaceable(folder, TRAINED_FILES)
            is_finished = bool(cfg.resume and finished_before(cfg, folder, model_name, corpora))
            num_finished += is_finished
            runs.append(prepare(cfg, model_name, corpora))
            rng_states.append(torch.get_rng_state())
            if not is_finished:
                folder.mkdir(parents=True, exist_ok=True)
                write_config(runs[-1].config, folder)  # marks the run as started
    if num_finished == len(runs):
        return {}
    models, modules = [run.model for run in runs], [run.datamodule for run in runs]
    if any(run.settings.final or run.settings.split.protocol == NO_TEST for run in runs):
        return {}
    if len(runs) < 2 or not can_be_stacked(models, runs[0].settings.trainer, len(modules[0].table.track)):
        return {}
    settings = runs[0].settings
    identities = [run.facts.identity or "" for run in runs]
    path = jobs[0][1] / STACK_CHECKPOINT
    checkpoint = StackCheckpoint(path, identities, settings.trainer.checkpoint_seconds, settings.resume)
    fitted = fit_stack(models, modules, rng_states, settings.trainer, checkpoint)
    return dict(zip(identities, fitted, strict=True))


def validate(ready: Prepared, on_epoch: Callable[[int, dict[str, float]], None]) -> dict[str, float]:
    """Train as `train` does, but score no test track and write no file; return validation scores of the best epoch.

    Args:
        ready: from `prepare`.
        on_epoch: called with each epoch, from 1, and the validation scores of the best epoch so far (``val/loss``,
            ``val/accuracy``, ``val/f1_macro``), once one has a finite loss. An exception that it raises ends the
            training.

    Raises:
        UserError: no epoch had a finite validation loss.
    """
    scores = BestScores(on_epoch)
    with lightning_run():
        trainer = build_trainer(ready.model, ready.settings.trainer, None, None, [scores])
        trainer.fit(ready.model, ready.datamodule)
    if not scores.best:
        raise diverged()
    return scores.best


def notes_on(datamodule: GenreDataModule) -> list[str]:
    """Return what was left out, merged or ignored, one sentence each."""
    unused = datamodule.num_unused_slices
    notes = [*datamodule.table.notes, *datamodule.split.notes]
    return notes + ([f"{counted(unused, 'slice is', 'slices are')} in no window"] if unused else [])


def announce(facts: RunFacts, datamodule: GenreDataModule, more: Sequence[str] = ()) -> list[str]:
    """Print which data and split are about to be used, with notes; return the notes, `more` first."""
    notes = [*more, *notes_on(datamodule)]
    parts = ", ".join(f"{count} {part}" for part, count in facts.num_tracks.items())
    title = printable(facts.dataset_title)
    print(
        f"{title}: {len(datamodule.table.tracks)} tracks, {len(datamodule.table.track)} slices of "
        f"{facts.slice_seconds:g} s; split {facts.split_label}: {parts} tracks",
        *(f"  {printable(note, 1000)}" for note in notes),
        sep="\n",
        flush=True,
    )
    return notes


@contextmanager
def run_logger(logger_config: Any, facts: RunFacts, folder: Path) -> Iterator[Logger | None]:
    """Make the logger of one run, and close it at the end: the next job of a multirun must not log into this run."""
    logger = None
    if logger_config:  # logger=none is empty
        # partial, because Hydra would turn the dataclass of the facts into a dict
        logger = instantiate(logger_config, _partial_=True, _convert_="all")(facts=facts, folder=folder)
    failed = True
    try:
        yield logger
        failed = False
    finally:
        if isinstance(logger, ResultLogger):
            logger.close(failed=failed)


def write_result(result: Result | Untested, folder: Path, logger: object) -> None:
    """Write the run folder, and log a result with scores if the logger accepts results."""
    result.write(folder)
    if isinstance(logger, ResultLogger) and isinstance(result, Result):
        logger.log_result(result)
