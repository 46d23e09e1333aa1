"""Report on runs: ``python evaluate.py runs=FOLDER [reference=paper] [audio=FOLDER] [human=answers.csv]``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command
from genregrid.errors import UserError


def report(cfg: DictConfig, folder: Path) -> str:
    """Write the report of the runs below ``cfg.runs`` to `folder`, log it to W&B if asked, and return its leaderboard.

    Raises:
        UserError: there is no finished run, the logger is not W&B, or `reference`, `audio` or `human` do not fit.
    """
    from genregrid.report.writer import write_report

    if cfg.logger and "wandb" not in cfg.logger["_target_"]:
        raise UserError("only logger=wandb logs a report", key="logger", hint="leave it out: the folder has all tables")
    written = write_report(
        Path(cfg.runs),
        folder,
        reference=cfg.reference,
        audio=None if cfg.audio is None else Path(cfg.audio),
        human=None if cfg.human is None else Path(cfg.human),
    )
    if cfg.logger:
        from genregrid.tracking.dashboard import log_report  # wandb takes a second to import

        log_report(written, project=cfg.logger["project"], mode=cfg.logger["mode"], group=cfg.logger["group"])
    return written.text


REPORT = Command("runs=FOLDER", report, takes=("reference", "audio", "human", "logger"))
