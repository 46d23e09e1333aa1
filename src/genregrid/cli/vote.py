"""Let runs vote: ``python evaluate.py ensemble=[FOLDER,FOLDER]``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command
from genregrid.cli.place import given_paths
from genregrid.errors import printable

_LONGEST = 1000  # characters of a printed line


def vote(cfg: DictConfig, folder: Path) -> str:
    """Write the vote of the runs as run folders and as a checkpoint, and return its table; a report logs it."""
    from genregrid.final.vote import write_votes
    from genregrid.report.ensemble import ensemble

    text = ensemble(cfg.ensemble, folder)
    lines = [printable(line, _LONGEST) for line in write_votes(given_paths(cfg, "ensemble"), folder)]
    return "\n".join([text, "", *lines])


VOTE = Command("ensemble=[FOLDER,...]", "let runs vote together, fold by fold", vote)
