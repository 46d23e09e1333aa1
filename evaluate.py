"""Score a checkpoint (``checkpoint=PATH``) or audio with it (``audio=song.mp3``), or gather runs (``runs=FOLDER``)."""

import sys
from pathlib import Path

try:
    import hydra
    from omegaconf import DictConfig

    from genregrid.config import register_schemas
    from genregrid.errors import UserError
    from genregrid.script import job, run_script
except ModuleNotFoundError as error:
    print(
        f"{error.name} is not installed in this Python: run `. .venv/bin/activate`, or set up once with "
        "`python3 -m venv .venv && . .venv/bin/activate && pip install -e .`",
        file=sys.stderr,
    )
    sys.exit(2)

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
@job
def main(cfg: DictConfig, folder: Path) -> None:
    """Score a checkpoint or recordings with it, or gather runs, and print the result."""
    if cfg.audio is not None and (cfg.checkpoint is None or cfg.runs is not None):
        raise UserError(f"audio={cfg.audio} needs one model to score it: give checkpoint=PATH, and no runs.")
    if (cfg.checkpoint is None) == (cfg.runs is None):
        raise UserError("give one of checkpoint=PATH (a checkpoint.ckpt) and runs=FOLDER (a folder of runs).")
    if cfg.audio is not None and (cfg.dataset is not None or cfg.split is not None or cfg.seed is not None):
        raise UserError(f"audio={cfg.audio} is scored as it is: leave out dataset, split and seed.")
    if cfg.runs is not None:
        from genregrid.report.leaderboard import write_leaderboard

        print(write_leaderboard(Path(cfg.runs), folder))
    elif cfg.audio is not None:
        from genregrid.listen import listen

        print(listen(Path(cfg.checkpoint), Path(cfg.audio), folder))
    else:
        from genregrid.run import evaluate  # torch and Lightning take seconds to import; a leaderboard needs neither

        print(evaluate(cfg, folder).summary())


if __name__ == "__main__":
    run_script(main)
