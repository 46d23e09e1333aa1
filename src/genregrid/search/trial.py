"""Score one setting of a search on validation tracks, over inner folds. No test track is scored."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig

from genregrid.config import PUBLISHED_PROTOCOLS, SEARCH_SCORES, SearchConfig
from genregrid.errors import UserError
from genregrid.search.score import mean_scores
from genregrid.training.build import Prepared, prepare
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.run import run_logger, validate


def num_inner_folds(cfg: DictConfig) -> int:
    """Return the fits of a trial: `search.num_folds`, or one if published lists fix the validation part.

    Raises:
        UserError: the split has fewer validation folds.
    """
    if cfg.split.protocol in PUBLISHED_PROTOCOLS:
        return 1
    num_folds = int(cfg.search.num_folds)
    if num_folds > cfg.split.val_folds:
        problem = f"split.val_folds={cfg.split.val_folds} is the largest number"
        raise UserError(problem, key="search.num_folds", value=num_folds, hint="lower it, or raise split.val_folds")
    return num_folds


def inner_fold(cfg: DictConfig, model_name: str, number: int, corpora: CorpusReader) -> Prepared:
    """Prepare the fit on the inner fold with this number, from 0."""
    cfg = deepcopy(cfg)
    if cfg.split.protocol not in PUBLISHED_PROTOCOLS:
        cfg.split.val_fold = number
    return prepare(cfg, model_name, corpora)


def cross_validate(
    cfg: DictConfig,
    folder: Path,
    model_name: str,
    on_step: Callable[[int, dict[str, float]], None],
    corpora: CorpusReader,
) -> list[dict[str, float]]:
    """Train on each inner fold; log and report the running mean of the scores after each epoch.

    Args:
        cfg: a composed `TrainConfig` with `search` set.
        folder: where a logger writes.
        model_name: of the model in outputs.
        on_step: called with the step (inner fold times epochs plus epoch) and the mean of the scores of the best epochs
            of the finished folds and, so far, of this one. An exception from it ends the trial.
        corpora: reads the corpus.

    Returns:
        Scores of the best epoch of each inner fold.

    Raises:
        UserError: a mistake in the configuration or in the data it names, or no epoch had a finite loss.
    """
    num_epochs = int(cfg.trainer.max_epochs)
    done: list[dict[str, float]] = []
    ready = inner_fold(cfg, model_name, 0, corpora)
    facts = replace(ready.facts, search=dict(cfg.search))
    with run_logger(cfg.logger, facts, folder) as logger:
        for number in range(num_inner_folds(cfg)):

            def on_epoch(epoch: int, best: dict[str, float], number: int = number) -> None:
                mean = mean_scores([*done, _bare(best)])
                step = number * num_epochs + epoch
                if logger is not None:
                    logger.log_metrics({f"search/{name}": value for name, value in mean.items()}, step)
                on_step(step, mean)

            if number > 0:  # preparing sets the seed, so each fold is prepared after the training of the fold before it
                ready = inner_fold(cfg, model_name, number, corpora)
            done.append(_bare(validate(ready, on_epoch)))
        if isinstance(logger, CSVLogger):
            logger.save()
    return done


def score_trial(cfg: DictConfig, folder: Path, model_name: str, corpora: CorpusReader | None = None) -> float | None:
    """Score one setting on validation tracks with `cross_validate`; report it to the study of the trial, if it has one.

    Returns:
        The mean over inner folds of `search.score`; ``None`` for a trial that was pruned.
    """
    settings = SearchConfig(**cfg.search)
    fit = partial(cross_validate, cfg, folder, model_name, corpora=corpora or CorpusReader())
    if settings.study is not None and settings.trial is not None:
        from genregrid.search.study import run_trial  # needs Optuna, which a trial of W&B does not

        found = run_trial(Path(settings.study), settings.trial, settings.score, fit)
    else:
        found = fit(lambda step, mean: None)
        means = ", ".join(f"{name} {value:.4f}" for name, value in mean_scores(found).items())
        print(f"validation, mean over {len(found)} inner folds: {means}")
    return None if found is None else mean_scores(found)[settings.score]


def _bare(scores: dict[str, float]) -> dict[str, float]:
    return {name: scores[f"val/{name}"] for name in SEARCH_SCORES}
