"""Score a checkpoint or recordings, let runs vote, or report on runs: one of the commands of this room."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import choose
from genregrid.cli.recordings import RECORDINGS
from genregrid.cli.report import EXPLAIN, REPORT
from genregrid.cli.score import SCORE
from genregrid.cli.vote import VOTE
from genregrid.errors import UserError
from genregrid.record.folder import BEST_CHECKPOINT, LAST_CHECKPOINT, RESULT_FILES, check_replaceable

# before those whose key they need
COMMANDS = (VOTE, EXPLAIN, REPORT, RECORDINGS, SCORE)
ABOUT = "Score a training or recordings, let runs vote, or report on runs."
USAGES = {" ".join([*one.needs, one.usage]): one.about for one in reversed(COMMANDS)}
OPTIONAL_GROUPS = {"dataset": "dataset=csv", "split": "split=track"}


def main(cfg: DictConfig, folder: Path, *_: object) -> None:
    """Run the command that the configuration asks for, and print its result.

    Raises:
        UserError: a mistake in the configuration, or the run folder is that of a training, or has files of others.
    """
    command = choose(COMMANDS, cfg)
    if any((folder / name).exists() for name in (BEST_CHECKPOINT, LAST_CHECKPOINT)):
        problem = "it is the folder of a training, whose results would be replaced"
        raise UserError(problem, key="hydra.run.dir", value=folder, hint="leave it out, or give another folder")
    if replaced := check_replaceable(folder, (*RESULT_FILES, "recordings.csv", "report.html")):
        print(replaced, flush=True)
    print(command.run(cfg, folder))
