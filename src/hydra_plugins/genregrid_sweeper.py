"""Hydra's sweepers for grids and for searches, as ``hydra/sweeper: grids`` and ``hydra/sweeper: study``.

Hydra looks for sweepers only in the namespace `hydra_plugins`, and imports them at every start: this file imports
nothing heavy. Hydra's own plugin for Optuna needs a release of 2021 and has neither pruning nor resumed studies
(docs/sweeps.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from genregrid.cli.job import Job
from genregrid.cli.override import quoted
from genregrid.errors import UserError
from genregrid.grid.progress import Progress, cell_of, earlier_folder, forget_failures, terminated_as_interrupted
from genregrid.program import install_command


@dataclass
class _GridSweeperConf:
    _target_: str = "hydra_plugins.genregrid_sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] = field(default_factory=dict)  # swept in every grid; the command line replaces them
    grids: list[dict[str, str]] = field(default_factory=list)


@dataclass
class _StudySweeperConf:
    _target_: str = "hydra_plugins.genregrid_sweeper.StudySweeper"
    space: dict[str, Any] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)  # of an experiment; a search rejects both
    grids: list[dict[str, str]] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=_GridSweeperConf, provider="genregrid")
ConfigStore.instance().store(group="hydra/sweeper", name="study", node=_StudySweeperConf, provider="genregrid")


class _Sweeper(Sweeper):
    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what Hydra passes to sweepers."""
        self.hydra_context, self.config, self._task = hydra_context, config, task_function
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )


class GridSweeper(_Sweeper):
    """Runs every job of every grid, each job once.

    The paper's table has an MLP at 30 and 3 seconds and an LSTM at 3, 6 and 9: two grids, not one of two times four.

    A value on the command line that is in a grid selects the cells of the grids that have it (``model=lstm``). One that
    is in no grid replaces the grids' own values (``slice=10``).

    Args:
        max_batch_size: jobs given to the launcher at once, 1 or more; ``None``: all.
        params: values by key, swept in every grid.
        grids: values by key, of each grid.
    """

    def __init__(self, max_batch_size: int | None, params: dict[str, str], grids: Sequence[dict[str, str]]) -> None:
        self._max_batch_size, self._params, self._grids = max_batch_size, params, grids

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Run all jobs; with ``resume=true`` in the folder of the grid that the same overrides started."""
        overrides = [*(f"{key}={values}" for key, values in self._params.items()), *arguments]
        jobs = self.jobs_of(self._parser().parse_overrides(overrides))
        size = len(jobs) if self._max_batch_size is None else self._max_batch_size
        if size < 1:
            raise UserError("1 job or more, or null for all", key="hydra.sweeper.max_batch_size", value=size)
        if self.config.get("resume"):
            self._resume()
        folder = Path(str(self.config.hydra.sweep.dir))
        runs_here = self.config.hydra.runtime.choices["hydra/launcher"] == "basic"  # Hydra's own, job after job
        with terminated_as_interrupted(), Progress(folder, len(jobs), watch=not runs_here) as progress:
            if isinstance(self._task, Job):
                self._task.progress = progress
            folder.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.config, folder / "multirun.yaml")
            returned = []
            for start in range(0, len(jobs), size):
                batch = jobs[start : start + size]
                self.validate_batch_is_legal(batch)
                returned.append(self.launcher.launch(batch, initial_job_idx=start))
                for job in returned[-1]:
                    if job.status == JobStatus.FAILED:  # it could not even write its error
                        raise job._return_value  # as `return_value` does, which prints the overrides before
            return returned

    def _resume(self) -> None:
        """Find the folder of the grid that the same overrides started, and let its failed jobs run again."""
        config = self.config
        hydra_overrides = config.hydra.overrides.hydra
        if not any(override.startswith("hydra.sweep.dir=") for override in hydra_overrides):
            found = earlier_folder(Path(config.hydra.sweep.dir), [*hydra_overrides, *config.hydra.overrides.task])
            if found is None:
                print("resume=true: no grid was started by the same overrides, so this one starts.")
            else:
                print(f"resume=true: resuming {found}")
                with open_dict(config):  # both, because each job is composed from the overrides
                    config.hydra.sweep.dir = str(found)
                    hydra_overrides.append(f"hydra.sweep.dir={quoted(str(found))}")
        forget_failures(Path(config.hydra.sweep.dir))

    def _parser(self) -> OverridesParser:
        return OverridesParser.create(config_loader=self.hydra_context.config_loader)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose one job of each cell: to compose all jobs of a large grid takes minutes."""
        super().validate_batch_is_legal(list({cell_of(overrides): overrides for overrides in batch}.values()))

    def jobs_of(self, overrides: Sequence[Override]) -> list[list[str]]:
        """List the jobs, each as a list of overrides."""
        asked = {override.get_key_element(): _values(override) for override in overrides}  # the command line is last
        if not self._grids:
            return _products(asked)
        parse = self._parser().parse_override
        grids = [{key: _values(parse(f"{key}={values}")) for key, values in grid.items()} for grid in self._grids]
        known = {key: {value for grid in grids for value in grid.get(key, ())} for grid in grids for key in grid}
        jobs: dict[tuple[str, ...], None] = {}
        for grid in grids:
            chosen = grid | asked
            for key, own in grid.items():
                chosen[key] = [value for value in chosen[key] if value in own or value not in known[key]]
            jobs |= dict.fromkeys(tuple(sorted(job)) for job in _products(chosen))
        if not jobs:
            cells = "; ".join(", ".join(f"{key}={values}" for key, values in grid.items()) for grid in self._grids)
            raise UserError("no grid of this experiment has what the command line selects", hint=f"it has {cells}")
        return [list(job) for job in jobs]


class StudySweeper(_Sweeper):
    """Searches the settings of one model: the jobs of a multirun are the trials of a study.

    `space` has ranges by key, of each family of models and of single models (`genregrid.search.space.read_range`).
    `params` and `grids` are those of an experiment, and must be empty.
    """

    def __init__(self, space: dict[str, Any], params: dict[str, str], grids: list[dict[str, str]]) -> None:
        if params or grids:
            problem = "it searches the settings of one model, and an experiment is a grid"
            raise UserError(problem, key="sweep", value="optuna", hint="leave out one of them")
        self._space: Any = OmegaConf.to_container(OmegaConf.create(space))  # Hydra may pass its own kinds

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Receive what Hydra passes to sweepers."""
        HydraConfig.instance().set_config(config)  # the name of the study's folder has that of the chosen model
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials that the command line asks for, and write the study's report."""
        if find_spec("optuna") is None:
            raise UserError("it needs Optuna", key="sweep", value="optuna", hint=f"run `{install_command('search')}`")
        from genregrid.search.sweep import sweep  # torch and Optuna take seconds to import

        folder = Path(str(self.config.hydra.sweep.dir))
        forget_failures(folder)  # earlier commands have reported them
        corpora = None
        if isinstance(self._task, Job):  # reports failures at the end; the search itself prints a line for each trial
            num_trials = int(self.config.search.num_trials)
            self._task.progress = Progress(folder, num_trials, watch=True, how_to_resume="the same command resumes it")
            corpora = self._task.corpora
        hydra, loader = self.config.hydra, self.hydra_context.config_loader
        own = list(hydra.overrides.hydra)
        sweep(loader, hydra.job.config_name, own, arguments, folder, self._space, self.launcher.launch, corpora)


def _products(values: dict[str, list[str]]) -> list[list[str]]:
    """Combine every value of each key with every value of the others.

    >>> _products({"model": ["mlp"], "seed": ["0", "1"]})
    [['model=mlp', 'seed=0'], ['model=mlp', 'seed=1']]
    """
    overrides = [[f"{key}={value}" for value in chosen] for key, chosen in values.items()]
    return [list(job) for job in product(*overrides)]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        key, value = override.get_key_element(), override.get_value_string()
        raise UserError("a grid needs single values", key=key, value=value, hint="list them: a,b,c")
    return list(override.sweep_string_iterator())
