"""Score a checkpoint (``checkpoint=``) or audio by it (``audio=``), let runs vote (``ensemble=``), report on them."""

import sys
from pathlib import Path

try:
    import hydra
    from omegaconf import DictConfig

    from genregrid.cli.script import job, run_script
    from genregrid.config import register_schemas
    from genregrid.errors import UserError
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
    """Score a checkpoint or recordings with it, let runs vote, or gather them, and print the result."""
    given = [name for name in ("checkpoint", "runs", "ensemble") if cfg[name] is not None]
    if cfg.audio is not None and not given:
        raise UserError(f"audio={cfg.audio} needs one model to score it: give checkpoint=PATH.")
    if len(given) != 1:
        raise UserError(
            "give one of checkpoint=PATH (a checkpoint.ckpt), runs=FOLDER (a folder of runs) and ensemble=[FOLDER,...] "
            "(folders of runs that vote)."
        )
    if cfg.audio is not None and cfg.ensemble is not None:
        raise UserError(f"audio={cfg.audio} needs one model to score it, and an ensemble is of many: leave one out.")
    for key in ("reference", "human"):
        if cfg.runs is None and cfg[key] is not None:
            raise UserError(f"{key}={cfg[key]} goes with runs=FOLDER: it is set beside the runs of a report.")
    if cfg.ensemble is not None and cfg.logger:
        raise UserError("an ensemble is logged with the report that it stands in: runs=FOLDER logger=wandb.")
    if cfg.runs == "":
        raise UserError("runs= names no folder: give the folder of a multirun, or outputs.")
    for key in ("ensemble", "runs", "audio"):
        if cfg[key] is not None and not cfg.dataset is cfg.split is cfg.seed is None:
            raise UserError(f"{key}={cfg[key]} is scored as it is: leave out dataset, split and seed.")
    if cfg.ensemble is not None:
        from genregrid.report.ensemble import ensemble

        print(ensemble(cfg.ensemble, folder))
    elif cfg.runs is not None:
        from genregrid.cli.report import gather

        print(gather(cfg, folder))
    elif cfg.audio is not None:
        from genregrid.listening.score import score_recordings

        print(score_recordings(Path(cfg.checkpoint), Path(cfg.audio), folder))
    else:
        from genregrid.training.run import (
            evaluate,  # torch and Lightning take seconds to import; a report needs neither
        )

        print(evaluate(cfg, folder).summary())


if __name__ == "__main__":
    run_script(main)
