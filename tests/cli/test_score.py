"""The dataset that evaluate.py takes for a checkpoint: one of conf/dataset by its name, and nothing else."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir

from genregrid.cli.score import dataset_named
from genregrid.config import register_schemas


def test_a_dataset_of_conf_is_composed_by_its_name(project_root: Path) -> None:
    register_schemas()
    with initialize_config_dir(str(project_root / "conf"), version_base="1.3"):
        twin = dataset_named("twin")
        own = dataset_named("csv")
    assert twin is not None
    assert (twin.name, twin.synthetic, twin.num_tracks) == ("twin", True, 1000)
    assert own is not None
    assert (own.path, own.tables) == (None, [])  # so that files are repeated on the command line


@pytest.mark.parametrize("name", ["", "nothing", "../split/track", "/etc/passwd", "twin,csv", "${oc.env:HOME}", "null"])
def test_a_name_that_is_no_choice_composes_nothing(project_root: Path, name: str) -> None:
    register_schemas()
    with initialize_config_dir(str(project_root / "conf"), version_base="1.3"):
        assert dataset_named(name) is None
