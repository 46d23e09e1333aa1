"""Let runs vote: ``python evaluate.py ensemble=[FOLDER,FOLDER]``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command
from genregrid.cli.place import given_paths
from genregrid.errors import printable
from genregrid.program import next_line

_LONGEST = 1000  # characters of a printed line


def vote(cfg: DictConfig, folder: Path) -> str:
    """Write the vote of the runs as run folders and as a checkpoint, and return its table; a report logs it."""
    from genregrid.final.vote import CHECKPOINT_LINE, write_votes
    from genregrid.report.ensemble import ensemble

    text = ensemble(cfg.ensemble, folder)
    lines = [printable(line, _LONGEST) for line in write_votes(given_paths(cfg, "ensemble"), folder)]
    written = [line.removeprefix(CHECKPOINT_LINE) for line in lines if line.startswith(CHECKPOINT_LINE)]
    lines += [next_line("hear", "song.mp3", "--model", path) for path in written[:1]]
    return "\n".join([text, "", *lines])


VOTE = Command("ensemble=[FOLDER,...]", "let runs vote together, fold by fold", vote)
