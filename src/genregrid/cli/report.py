"""Report on runs: ``python evaluate.py runs=FOLDER [reference=paper] [audio=FOLDER] [human=answers.csv]``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command
from genregrid.cli.place import given_paths
from genregrid.errors import UserError


def report(cfg: DictConfig, folder: Path) -> str:
    """Write the report of the runs below the folders of ``cfg.runs``, log it to W&B if asked; return its leaderboard.

    Raises:
        UserError: there is no finished run, the logger is not W&B, or `reference`, `audio` or `human` do not fit.
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
    )
    if cfg.logger:
        from genregrid.tracking.dashboard import log_report  # wandb takes a second to import

        log_report(written, project=cfg.logger["project"], mode=cfg.logger["mode"], group=cfg.logger["group"])
    return written.text


REPORT = Command(
    "runs=FOLDER",
    "report on the runs below a folder, or a list of folders",
    report,
    takes=("reference", "audio", "human", "logger"),
)
