"""Hydra's basic sweeper for grids: unions of products, which tell how far they are and can be gone on with.

The paper's table has an MLP at 30 and 3 seconds and an LSTM at 3, 6 and 9: two grids, not one of two times four. Hydra
looks for sweepers in the namespace `hydra_plugins` only, hence this module's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # internal by name only: plugins extend it
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, open_dict

from genregrid.grid.progress import Progress, cell_of, earlier_folder, forget_failures, terminated_as_interrupted


@dataclass
class GridSweeperConf:
    """Settings of `GridSweeper`, as ``hydra/sweeper: grids``."""

    _target_: str = "hydra_plugins.genregrid_sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] = field(default_factory=dict)  # swept in every grid; the command line replaces them
    grids: list[dict[str, str]] = field(default_factory=list)


ConfigStore.instance().store(group="hydra/sweeper", name="grids", node=GridSweeperConf, provider="genregrid")


class GridSweeper(BasicSweeper):
    """Runs every job of every grid, each job once.

    A value on the command line that stands in a grid picks what the grids have of it (``model=lstm``); one that stands
    in none takes the place of the grids' own (``slice=10``).

    Args:
        max_batch_size: jobs handed to the launcher at once; ``None``: all.
        params: values by key, swept in every grid.
        grids: values by key, of each grid.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        grids: Sequence[dict[str, str]] = (),
    ) -> None:
        super().__init__(max_batch_size, params)
        self._grids = grids

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs; with ``resume=true`` in the folder of the grid that was begun by the same words."""
        assert self.config is not None
        config = self.config
        if config.get("resume") and not any(
            word.startswith("hydra.sweep.dir=") for word in config.hydra.overrides.hydra
        ):
            self._go_on(config)
        if config.get("resume"):
            forget_failures(Path(config.hydra.sweep.dir))
        with_bar = not isinstance(self.launcher, BasicLauncher)
        jobs = self.split_arguments(self._parsed(arguments), None)[0]
        with terminated_as_interrupted(), Progress(Path(config.hydra.sweep.dir), len(jobs), with_bar):
            return super().sweep(arguments)

    def _go_on(self, config: DictConfig) -> None:
        words = [*config.hydra.overrides.hydra, *config.hydra.overrides.task]
        folder = earlier_folder(Path(config.hydra.sweep.dir), words)
        if folder is None:
            print("resume=true: no grid was begun by these words, so this one begins.")
            return
        print(f"resume=true: going on in {folder}")
        with open_dict(config):  # both, as jobs are composed anew from the overrides
            config.hydra.sweep.dir = str(folder)
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir='{folder}'")

    def _parsed(self, arguments: list[str]) -> list[Override]:
        assert self.hydra_context is not None  # set by Hydra before it asks
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        return parser.parse_overrides([*self._parse_config(), *arguments])

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose a job of each cell: to compose all of a large grid takes minutes."""
        super().validate_batch_is_legal(list({cell_of(overrides): overrides for overrides in batch}.values()))

    def split_arguments(  # type: ignore[override]  # static there, and called on the instance
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        """The jobs, each a list of overrides, in batches for the launcher."""
        if not self._grids:
            return BasicSweeper.split_arguments(overrides, max_batch_size)
        assert self.hydra_context is not None  # set by Hydra before it asks
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        grids = [
            {key: _values(parser.parse_override(f"{key}={values}")) for key, values in grid.items()}
            for grid in self._grids
        ]
        known = {key: {value for grid in grids for value in grid.get(key, ())} for grid in grids for key in grid}
        asked = {override.get_key_element(): override for override in overrides}  # the command line comes last
        jobs: dict[tuple[str, ...], None] = {}
        for grid in grids:
            chosen = {
                key: [value for value in _values(asked[key]) if value in values or value not in known[key]]
                if key in asked
                else values
                for key, values in grid.items()
            }
            if all(chosen.values()):
                own = [parser.parse_override(f"{key}={','.join(values)}") for key, values in chosen.items()]
                rest = [override for key, override in asked.items() if key not in grid]
                (product,) = BasicSweeper.split_arguments([*own, *rest], None)
                jobs |= dict.fromkeys(tuple(sorted(job)) for job in product)
        if grids and not jobs:
            cells = "; ".join(", ".join(f"{key}={values}" for key, values in grid.items()) for grid in self._grids)
            raise HydraException(f"no grid of this experiment has what the command line picks: {cells}.")
        return list(self.split_overrides_to_chunks([list(job) for job in jobs], max_batch_size))


def _values(override: Override) -> list[str]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]
