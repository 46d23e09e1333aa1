"""Gather runs into a report, and log it where a dashboard is wanted; needs no torch, which takes seconds to import."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.errors import UserError
from genregrid.report.writer import write_report


def gather(cfg: DictConfig, folder: Path) -> str:
    """Write the report of the runs below ``cfg.runs`` into a folder, and return its leaderboard as text.

    Args:
        cfg: a composed `EvaluateConfig` with `runs` set.
        folder: made if missing.

    Raises:
        UserError: there is no finished run, or what is to be set beside them does not fit.
    """
    if cfg.logger and "wandb" not in cfg.logger["_target_"]:
        raise UserError(
            "a report is logged by logger=wandb only; its tables lie in its folder anyway: leave logger out."
        )
    report = write_report(
        Path(cfg.runs),
        folder,
        reference=cfg.reference,
        audio=None if cfg.audio is None else Path(cfg.audio),
        human=None if cfg.human is None else Path(cfg.human),
    )
    if cfg.logger:
        from genregrid.tracking.dashboard import log_report  # wandb takes a second to import

        log_report(report, project=cfg.logger["project"], mode=cfg.logger["mode"], group=cfg.logger["group"])
    return report.text
