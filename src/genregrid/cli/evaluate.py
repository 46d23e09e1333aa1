"""Score a checkpoint or recordings, let runs vote, or report on runs: one of the commands of this room."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import choose
from genregrid.cli.recordings import RECORDINGS
from genregrid.cli.report import REPORT
from genregrid.cli.score import SCORE
from genregrid.cli.vote import VOTE

# SCORE is last: RECORDINGS needs a checkpoint as well
COMMANDS = (VOTE, REPORT, RECORDINGS, SCORE)
OPTIONAL_GROUPS = {"dataset": "dataset=csv", "split": "split=track"}


def main(cfg: DictConfig, folder: Path, *_: object) -> None:
    """Run the command that the configuration asks for, and print its result."""
    print(choose(COMMANDS, cfg).run(cfg, folder))
