"""Score recordings with a checkpoint: ``python evaluate.py checkpoint=PATH audio=PATH``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command
from genregrid.cli.place import given_checkpoint, given_paths


def score_audio(cfg: DictConfig, folder: Path) -> str:
    """Score recordings, files or folders of them, and return their predictions as a table."""
    from genregrid.listening.score import score_recordings  # torch takes seconds to import

    return score_recordings(given_checkpoint(cfg.checkpoint), given_paths(cfg, "audio"), folder)


RECORDINGS = Command(
    "audio=PATH",
    "predict the genre of a recording, or of each in a folder or a list",
    score_audio,
    needs=("checkpoint=PATH",),
    takes=("logger",),
)
