"""Score recordings with a checkpoint: ``python evaluate.py checkpoint=PATH audio=PATH``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command


def score_audio(cfg: DictConfig, folder: Path) -> str:
    """Score a recording, or a folder of them, and return their predictions as a table."""
    from genregrid.listening.score import score_recordings  # torch takes seconds to import

    return score_recordings(Path(cfg.checkpoint), Path(cfg.audio), folder)


RECORDINGS = Command("audio=PATH", score_audio, needs=("checkpoint=PATH",), takes=("logger",))
