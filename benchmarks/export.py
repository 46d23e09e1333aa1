"""Export every model of conf/model for onnxruntime and torch, and compare probabilities with its checkpoint.

    python benchmarks/export.py FOLDER [KEY=VALUE ...]

Trains each model on the twin for two epochs, with the settings of its YAML and those given, into FOLDER, unless FOLDER
has it already. Prints a Markdown table: the size of each file, and the largest difference of a probability on random
windows of the scale of the training, of several lengths, alone and in batches (`genregrid.deploy.export.compare`).
Each star is a window that was left out as unstable.
"""

import sys
import warnings
from pathlib import Path

from hydra import compose, initialize_config_dir

from genregrid.config import register_schemas
from genregrid.deploy.export import ENDINGS, export
from genregrid.errors import UserError
from genregrid.models.trained import load_checkpoint
from genregrid.program import conf_folder
from genregrid.training.run import train

SETTINGS = ("logger=none", "trainer.max_epochs=2", "trainer.accelerator=cpu")


def main(folder: Path, settings: list[str]) -> None:
    """Train, export and print the table."""
    register_schemas()
    warnings.simplefilter("ignore")
    rows = []
    for name in sorted(path.stem for path in (conf_folder() / "model").glob("*.yaml")):
        run = folder / name
        if not (run / "run.json").is_file():
            with initialize_config_dir(str(conf_folder().absolute()), version_base="1.3"):
                train(compose("train", [f"model={name}", *SETTINGS, *settings]), run, name)
        model, cells = load_checkpoint(run), [name]
        for kind, ending in ENDINGS.items():
            try:
                done = export(model, kind, folder / (name + ending))
                found, size = done.comparison, done.path.stat().st_size / 1e6
                cells += [f"{size:.2f}", f"{found.largest_difference:.0e}" + "*" * found.num_unstable]
            except UserError as error:
                cells += ["-", str(error)]
        rows.append(cells)
        print(f"| {' | '.join(cells)} |", file=sys.stderr)
    print("\n| model | ONNX, MB | largest difference | `.pt2`, MB | largest difference |\n|---|---|---|---|---|")
    print("\n".join(f"| {' | '.join(cells)} |" for cells in rows))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python benchmarks/export.py FOLDER [KEY=VALUE ...]")
    main(Path(sys.argv[1]), sys.argv[2:])
