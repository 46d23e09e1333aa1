"""Experiments: the jobs of a union of grids, and every file of conf/experiment composes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from genregrid.config import TrainConfig

CONF = Path(__file__).resolve().parents[1] / "conf"
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
PAPER = [{"model": "mlp", "slice": "30,3"}, {"model": "lstm", "slice": "3,6,9"}]


def jobs_of(grids: Sequence[dict[str, str]], params: dict[str, str], *arguments: str) -> list[set[str]]:
    Plugins.instance()  # Hydra loads its plugins when it first looks for them
    from hydra_plugins.genregrid_sweeper import GridSweeper

    sweeper = GridSweeper(None, params, grids)
    context: Any = SimpleNamespace(config_loader=None)
    sweeper.hydra_context = context
    fixed = [f"{key}={value}" for key, value in params.items()]
    overrides = OverridesParser.create().parse_overrides([*fixed, *arguments])
    return [set(job) for job in sweeper.jobs_of(overrides)]


def test_jobs_are_the_union_of_the_grids_times_the_parameters() -> None:
    jobs = jobs_of(PAPER, {"seed": "0,1"})
    assert len(jobs) == 10
    assert {"model=mlp", "slice=30", "seed=1"} in jobs
    assert {"model=mlp", "slice=6", "seed=0"} not in jobs


def test_a_known_value_on_the_command_line_picks_cells() -> None:
    assert jobs_of(PAPER, {}, "model=lstm") == [{"model=lstm", f"slice={length}"} for length in (3, 6, 9)]
    assert jobs_of(PAPER, {}, "slice=3") == [{"model=mlp", "slice=3"}, {"model=lstm", "slice=3"}]
    assert jobs_of(PAPER, {}, "model=mlp", "slice=9,30") == [{"model=mlp", "slice=30"}]


def test_an_unknown_value_replaces_the_value_in_every_grid() -> None:
    assert jobs_of(PAPER, {}, "slice=10") == [{"model=mlp", "slice=10"}, {"model=lstm", "slice=10"}]
    several = jobs_of(PAPER, {}, "model=gru")
    assert {frozenset(job) for job in several} == {frozenset({"model=gru", f"slice={n}"}) for n in (3, 6, 9, 30)}
    assert len(several) == 4


def test_parameters_are_replaced_and_plain_overrides_go_to_every_job() -> None:
    jobs = jobs_of(PAPER, {"seed": "0,1,2"}, "seed=7", "dataset=gtzan")
    assert len(jobs) == 5
    assert all({"seed=7", "dataset=gtzan"} <= job for job in jobs)


def test_a_selection_that_no_grid_has_is_refused_with_the_choices(user_error: Callable[..., Any]) -> None:
    with user_error(hint="it has model=mlp, slice=30,3; model=lstm"):
        jobs_of(PAPER, {}, "model=mlp", "slice=6")


def test_a_range_without_single_values_is_refused(user_error: Callable[..., Any]) -> None:
    with user_error("model.dropout", "interval(0,1)"):
        jobs_of(PAPER, {}, "model.dropout=interval(0,1)")


def test_two_grids_that_share_a_cell_run_it_once() -> None:
    assert len(jobs_of([{"split": "track,row"}, {"split": "track"}], {})) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_job_of_an_experiment_composes(name: str, composed: Callable[..., Any]) -> None:
    sweeper = composed(f"experiment={name}", hydra=True).hydra
    assert sweeper.mode.name == "MULTIRUN"
    grids: Any = OmegaConf.to_container(sweeper.sweeper.grids)
    params: Any = OmegaConf.to_container(sweeper.sweeper.params)
    jobs = jobs_of(grids, params)
    assert len(jobs) == len({frozenset(job) for job in jobs}) > 1
    for job in jobs[:: max(1, len(jobs) // 8)]:
        cfg = composed(f"experiment={name}", *job)
        assert isinstance(OmegaConf.to_object(cfg), TrainConfig)


def test_the_papers_experiment_has_the_five_columns_of_its_table() -> None:
    cfg: Any = OmegaConf.load(CONF / "experiment/paper.yaml")
    jobs = jobs_of(OmegaConf.to_container(cfg.hydra.sweeper.grids), {})  # type: ignore[arg-type]  # plain dicts
    assert {tuple(sorted(job)) for job in jobs} == {
        ("model=mlp", "slice=30"),
        ("model=mlp", "slice=3"),
        ("model=lstm", "slice=3"),
        ("model=lstm", "slice=6"),
        ("model=lstm", "slice=9"),
    }


def test_the_zoo_has_every_model() -> None:
    cfg: Any = OmegaConf.load(CONF / "experiment/zoo.yaml")
    models = [name.strip() for name in cfg.hydra.sweeper.params.model.split(",")]
    assert sorted(models) == sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
