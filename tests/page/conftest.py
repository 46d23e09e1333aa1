"""A small model that scores recordings, and recordings for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir

from genregrid.config import register_schemas
from genregrid.features.__main__ import main as extract
from genregrid.training.run import train

RATE_HZ = 22_050
TONES_HZ = {"high": 2500.0, "low": 200.0}


def write_recording(path: Path, genre: str, *, seconds: float = 3.3, seed: int = 0) -> Path:
    """Write a tone with noise; a small model learns such genres at once."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    samples = 0.4 * np.sin(2 * np.pi * TONES_HZ[genre] * random.uniform(0.9, 1.1) * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples + 0.05 * random.standard_normal(len(time)), RATE_HZ)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Path:
    """A model of two genres of tones, on slices of half a second."""
    folder = tmp_path_factory.mktemp("page")
    for number in range(6):
        for genre in TONES_HZ:
            write_recording(folder / "music" / genre / f"{number}.wav", genre, seconds=1.6, seed=number)
    table = folder / "table.csv"
    assert extract([str(folder / "music"), "--slice", "0.5", "--out", str(table), "--workers", "1"]) == 0
    register_schemas()
    overrides = ["model=logistic", "logger=none", "trainer.accelerator=cpu", "split.folds=3", "slice=0.5"]
    with initialize_config_dir(str(project_root / "conf"), version_base="1.3"):
        cfg = compose("train", [*overrides, "dataset=csv", f"dataset.path={table}"])
    train(cfg, folder / "run", "logistic")
    return folder / "run" / "checkpoint.ckpt"


@pytest.fixture
def recording(tmp_path: Path) -> Callable[..., Path]:
    """`recording("high", seed=9)` writes a recording of that genre that no model was trained on."""

    def written(genre: str, *, seconds: float = 3.3, seed: int = 99) -> Path:
        return write_recording(tmp_path / f"{genre} {seed}.wav", genre, seconds=seconds, seed=seed)

    return written
