"""Hydra's hand to `genregrid.search`: a multirun becomes the trials of a study.

Hydra's own plugin for Optuna asks for a release of 2021 and knows neither pruning nor a study that goes on
(docs/sweeps.md). Imports nothing heavy, as Hydra reads every plugin at every start.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from genregrid.grid.progress import Progress, forget_failures


@dataclass
class StudySweeperConf:
    """Settings of `StudySweeper`, as ``hydra/sweeper: study``."""

    _target_: str = "hydra_plugins.genregrid_study_sweeper.StudySweeper"
    space: dict[str, Any] = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="genregrid")


class StudySweeper(Sweeper):
    """Searches the settings of one model.

    Args:
        space: ranges by key, of each family of models and of single models (`genregrid.search.space.read_range`).
    """

    def __init__(self, space: dict[str, Any]) -> None:
        self._space: Any = OmegaConf.to_container(OmegaConf.create(space))  # as Hydra may hand over its own kinds

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra hands over before a sweep."""
        HydraConfig.instance().set_config(config)  # the study's folder is named after the model that was chosen
        self.config = config
        self.hydra_context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials of the overrides on the command line, and write the study's report."""
        from genregrid.search import require_optuna

        require_optuna()
        from genregrid.search.sweep import sweep  # torch and Optuna take seconds to import

        assert self.config is not None  # set by Hydra before it asks
        assert self.hydra_context is not None
        assert self.launcher is not None
        folder = Path(str(self.config.hydra.sweep.dir))
        forget_failures(folder)  # of earlier commands, which told them
        Progress.current = Progress(folder, int(self.config.search.num_trials), watch=True)  # tells failures in the end
        own = list(self.config.hydra.overrides.hydra)
        name = self.config.hydra.job.config_name
        sweep(self.hydra_context.config_loader, name, own, arguments, folder, self._space, self.launcher.launch)
