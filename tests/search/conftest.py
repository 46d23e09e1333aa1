"""A small corpus, and a search on it in this process that runs trials as a launcher does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.mistake import mistake_of
from genregrid.search.study import load_study
from genregrid.search.sweep import sweep
from genregrid.search.trial import score_trial

GENRES = ("blues", "classical", "metal")
QUICK = ("trainer.max_epochs=2", "trainer.accelerator=cpu", "split.folds=3", "split.val_folds=3", "search.num_folds=2")


@pytest.fixture(scope="session")
def sections(project_root: Path) -> dict[str, dict[str, Any]]:
    """The ranges of conf/sweep/optuna.yaml."""
    content: Any = OmegaConf.to_container(OmegaConf.load(project_root / "conf/sweep/optuna.yaml").hydra.sweeper.space)
    return dict(content)


@pytest.fixture
def corpus(write_csv: Callable[..., Path]) -> Path:
    return write_csv(genres=GENRES, tracks=12, slices=4)


@pytest.fixture
def search(
    corpus: Path,
    tmp_path: Path,
    composed: Callable[..., DictConfig],
    config_loader: ConfigLoader,
    sections: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """`search(*overrides, model="mlp", folder="study", path=corpus)` searches a CSV and returns the study."""
    monkeypatch.setattr("genregrid.search.sweep.write_study_report", str)  # it has its own tests, and takes long

    def run(*overrides: str, model: str = "mlp", folder: str = "study", path: Path | None = corpus) -> Any:
        data = [] if path is None else ["dataset=csv", f"dataset.path={path}"]
        arguments = ["sweep=optuna", f"model={model}", *QUICK, *data, *overrides]

        def launch(jobs: list[list[str]], first: int) -> Sequence[Any]:
            returned: list[float | None] = []
            for number, job in enumerate(jobs):
                cfg = composed(*job)
                assert cfg.search.trial == first + number
                try:
                    returned.append(score_trial(cfg, tmp_path / "trial", model))
                except Exception as error:
                    if mistake_of(error) is None:
                        raise
                    returned.append(None)
            return [JobReturn(status=JobStatus.COMPLETED, _return_value=value) for value in returned]

        sweep(config_loader, "train", [], arguments, tmp_path / folder, sections, launch)
        return load_study(tmp_path / folder)

    return run
