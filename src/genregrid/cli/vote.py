"""Let runs vote: ``python evaluate.py ensemble=[FOLDER,FOLDER]``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command


def vote(cfg: DictConfig, folder: Path) -> str:
    """Write the vote of the runs as run folders, and return its table; a report of its folder logs it."""
    from genregrid.report.ensemble import ensemble

    return ensemble(cfg.ensemble, folder)


VOTE = Command("ensemble=[FOLDER,...]", "let runs vote together, fold by fold", vote)
