"""Report on runs: ``python evaluate.py runs=FOLDER [reference=paper] [audio=FOLDER] [human=answers.csv]``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from genregrid.cli.command import Command
from genregrid.cli.place import given_paths
from genregrid.cli.score import dataset_named
from genregrid.errors import UserError, printable
from genregrid.record.folder import BEST_CHECKPOINT

if TYPE_CHECKING:
    from genregrid.record.explanation import Explanation


def report(cfg: DictConfig, folder: Path) -> str:
    """Write the report of the runs below the folders of ``cfg.runs``, log it to W&B if asked; return its leaderboard.

    Raises:
        UserError: there is no finished run, the logger is not W&B, `reference`, `audio` or `human` do not fit, or no
            checkpoint can be explained.
    """
    from genregrid.report.writer import write_report

    if cfg.logger and "wandb" not in cfg.logger["_target_"]:
        raise UserError("only logger=wandb logs a report", key="logger", hint="leave it out: the folder has all tables")
    audio = None if cfg.audio is None else given_paths(cfg, "audio")
    if audio is not None and len(audio) > 1:
        problem = "a report plays the recordings of one folder"
        raise UserError(problem, key="audio", value=[str(path) for path in audio], hint="give one")
    written = write_report(
        given_paths(cfg, "runs"),
        folder,
        reference=cfg.reference,
        audio=None if audio is None else audio[0],
        human=None if cfg.human is None else Path(cfg.human),
        explain=_explainer(cfg) if cfg.explain else None,
    )
    if cfg.logger:
        from genregrid.tracking.dashboard import log_report  # wandb takes a second to import

        log_report(written, project=cfg.logger["project"], mode=cfg.logger["mode"], group=cfg.logger["group"])
    return written.text


def _explainer(cfg: DictConfig) -> Callable[[Path], "Explanation"]:
    """Return what explains the run in a folder, on the given dataset or else on that of its training."""
    from genregrid.config import EvaluateConfig
    from genregrid.training.build import typed
    from genregrid.training.corpus_reader import CorpusReader
    from genregrid.training.explain import explain  # torch takes seconds to import, which other reports do not need

    given, corpora = typed(cfg, EvaluateConfig).dataset, CorpusReader()

    def explained(run: Path) -> "Explanation":
        print(f"explaining {printable(str(run))}", flush=True)
        return explain(run / BEST_CHECKPOINT, given, corpora, dataset_named)

    return explained


_TAKES = ("reference", "audio", "human", "logger")
REPORT = Command("runs=FOLDER", "report on the runs below a folder, or a list of folders", report, takes=_TAKES)
EXPLAIN = Command(
    "explain=true",
    "with a section on what models use, by their checkpoints",
    report,
    needs=("runs=FOLDER",),
    takes=(*_TAKES, "dataset"),
)
