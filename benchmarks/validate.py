"""Measure the validation accuracy of a model's settings; the settings in its YAML were chosen by this.

    python benchmarks/validate.py kernel_ridge model.gamma=0.5 model.whitening=0.2

Trains on GTZAN's 10-second slices (five folds) and on epidemic11 (two folds), under track and artist, and pools the
predictions of validation tracks. Test tracks are scored too, as in every run, but not printed. docs/results.md reports
no run with this seed. Needs GENREGRID_DATA.
"""

import argparse
import contextlib
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from hydra import compose, initialize_config_dir

from genregrid.config import register_schemas
from genregrid.training.run import train

CONF = Path(__file__).resolve().parents[1] / "conf"
SEED = 100
#: Dataset, slice length in seconds, protocol, folds of which the validation tracks are judged.
CELLS = (
    ("gtzan10", 10, "track", 5),
    ("gtzan10", 10, "artist", 5),
    ("epidemic11", 3, "track", 2),
    ("epidemic11", 3, "artist", 2),
)


def validation_accuracy(
    model: str, overrides: list[str], dataset: str, slice_seconds: int, protocol: str, folds: int
) -> float:
    """Share of validation tracks whose genre is found, over the folds."""
    predictions = []
    for fold in range(folds):
        place = [f"dataset={dataset}", f"slice={slice_seconds}", f"split={protocol}", f"split.fold={fold}"]
        fixed = ["split.folds=5", "split.val_folds=5", f"seed={SEED}", "logger=none", "trainer.progress_bar=false"]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("train", [f"model={model}", *place, *fixed, *overrides])
        with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            predictions.append(train(cfg, Path(folder), model).validation)
    frame = pd.concat(predictions)
    return float((frame["genre"] == frame["predicted"]).mean())


def main() -> None:
    """Print one line per corpus and protocol, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="name of its YAML")
    parser.add_argument("overrides", nargs="*", help="settings, such as model.gamma=0.5")
    arguments = parser.parse_args()
    register_schemas()
    found = []
    for cell in CELLS:
        found.append(validation_accuracy(arguments.model, arguments.overrides, *cell))
        print(f"{cell[0]} {cell[2]}: {100 * found[-1]:.1f} %", flush=True)
    print(f"mean: {100 * sum(found) / len(found):.2f} %")


if __name__ == "__main__":
    main()
