"""Hydra's sweeper for searches, as ``hydra/sweeper: study``: the jobs of a multirun are the trials of a study.

Hydra's own plugin for Optuna needs a release of 2021 and has neither pruning nor resumed studies (docs/sweeps.md).
Imports nothing heavy, because Hydra imports every plugin at every start.
"""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.job import Job
from genregrid.errors import UserError
from genregrid.grid.progress import Progress, forget_failures


@dataclass
class StudySweeperConf:
    """Settings of `StudySweeper`, as ``hydra/sweeper: study``."""

    _target_: str = "hydra_plugins.genregrid_study_sweeper.StudySweeper"
    space: dict[str, Any] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)  # of an experiment; a search rejects both
    grids: list[dict[str, str]] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="genregrid")


class StudySweeper(Sweeper):
    """Searches the settings of one model.

    Args:
        space: ranges by key, of each family of models and of single models (`genregrid.search.space.read_range`).
        params: must be empty: these are the values of an experiment.
        grids: must be empty: these are the grids of an experiment.

    Raises:
        UserError: an experiment is chosen.
    """

    def __init__(self, space: dict[str, Any], params: dict[str, str], grids: list[dict[str, str]]) -> None:
        if params or grids:
            raise UserError(
                "it searches the settings of one model, and an experiment is a grid",
                key="sweep",
                value="optuna",
                hint="leave out one of them",
            )
        self._space: Any = OmegaConf.to_container(OmegaConf.create(space))  # Hydra may pass its own kinds

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what Hydra passes to sweepers."""
        HydraConfig.instance().set_config(config)  # the name of the study's folder has that of the chosen model
        self.hydra_context, self.config, self._task = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that the command line asks for, and write the study's report.

        Raises:
            UserError: Optuna is not installed, or a mistake in the command line, the ranges or the data.
        """
        if find_spec("optuna") is None:
            raise UserError("it needs Optuna", key="sweep", value="optuna", hint='run `pip install -e ".[search]"`')
        from genregrid.search.sweep import sweep  # torch and Optuna take seconds to import

        assert self.config is not None  # Hydra calls `setup` first
        assert self.hydra_context is not None
        assert self.launcher is not None
        folder = Path(str(self.config.hydra.sweep.dir))
        forget_failures(folder)  # earlier commands have reported them
        corpora = None
        if isinstance(self._task, Job):  # reports failures at the end; the search itself prints a line for each trial
            num_trials = int(self.config.search.num_trials)
            self._task.progress = Progress(folder, num_trials, watch=True, how_to_resume="the same command resumes it")
            corpora = self._task.corpora
        own = list(self.config.hydra.overrides.hydra)
        name = self.config.hydra.job.config_name
        sweep(
            self.hydra_context.config_loader, name, own, arguments, folder, self._space, self.launcher.launch, corpora
        )
