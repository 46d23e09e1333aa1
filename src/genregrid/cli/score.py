"""Score a checkpoint: ``python evaluate.py checkpoint=PATH [dataset=...] [split=...] [seed=...]``."""

from pathlib import Path

from omegaconf import DictConfig

from genregrid.cli.command import Command


def score(cfg: DictConfig, folder: Path) -> str:
    """Score a checkpoint on tracks that it was not trained on, and return its table."""
    from genregrid.training.run import evaluate  # torch and Lightning take seconds to import; a report needs neither

    return evaluate(cfg, folder).summary()


SCORE = Command("checkpoint=PATH", score, takes=("dataset", "split", "seed", "logger"))
