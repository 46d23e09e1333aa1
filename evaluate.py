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
    if cfg.audio is not None and cfg.checkpoint is cfg.runs is None:
        raise UserError(f"audio={cfg.audio} needs one model to score it: give checkpoint=PATH.")
    if (cfg.checkpoint is None) == (cfg.runs is None):
        raise UserError("give one of checkpoint=PATH (a checkpoint.ckpt) and runs=FOLDER (a folder of runs).")
    for key in ("reference", "human"):
        if cfg.runs is None and cfg[key] is not None:
            raise UserError(f"{key}={cfg[key]} goes with runs=FOLDER: it is set beside the runs of a report.")
    if (cfg.audio or cfg.runs) is not None and not cfg.dataset is cfg.split is cfg.seed is None:
        what = f"audio={cfg.audio}" if cfg.runs is None else f"runs={cfg.runs}"
        raise UserError(f"{what} is scored as it is: leave out dataset, split and seed.")
    if cfg.runs is not None:
        from genregrid.gather import gather

        print(gather(cfg, folder))
    elif cfg.audio is not None:
        from genregrid.listen import listen

        print(listen(Path(cfg.checkpoint), Path(cfg.audio), folder))
    else:
        from genregrid.run import evaluate  # torch and Lightning take seconds to import; a report needs neither

        print(evaluate(cfg, folder).summary())


if __name__ == "__main__":
    run_script(main)
