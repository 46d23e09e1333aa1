"""Train one model on one corpus, slice length and protocol: ``python train.py model=lstm slice=3``."""

import sys
from pathlib import Path

try:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig

    from genregrid.cli.script import job, run_script
    from genregrid.config import register_schemas
except ModuleNotFoundError as error:
    print(
        f"{error.name} is not installed in this Python: run `. .venv/bin/activate`, or set up once with "
        "`python3 -m venv .venv && . .venv/bin/activate && pip install -e .`",
        file=sys.stderr,
    )
    sys.exit(2)

register_schemas()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@job
def main(cfg: DictConfig, folder: Path) -> float | None:
    """Train, test and print one table; as a trial of a search, return the score of validation and test nothing."""
    # torch and Lightning take seconds to import; --help need not wait for them
    from genregrid.search.trial import score_trial
    from genregrid.training.run import finished_before, train

    model = HydraConfig.get().runtime.choices["model"]
    if cfg.search is not None:
        return score_trial(cfg, folder, model)
    if cfg.resume and (finished := finished_before(cfg, folder, model)) is not None:
        print(f"{finished} is finished already")
    else:
        print(train(cfg, folder, model).summary())
    return None


if __name__ == "__main__":
    run_script(main)
