"""Compare a stacked fit with the same fit alone, and with one whose first weight differs in its last bit.

    python benchmarks/stack_difference.py

The paper's MLP on the statistical twin's 3-second slices. Its training magnifies a difference in the last bit until two
trainings give two models. A stack sums in another order, which is one such difference.

One line for each seed: how many of 100 test tracks get another genre, with the changed weight and with the stack.
"""

import argparse
import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from hydra import compose, initialize_config_dir

from genregrid.config import register_schemas
from genregrid.models.mlp import MLP
from genregrid.record.result import Result
from genregrid.training.corpus_reader import CorpusReader
from genregrid.training.run import train, train_together
from genregrid.training.stack import Fitted

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Stacked and nudged fits against fits alone.")
    parser.add_argument("--epochs", type=int, default=12, help="of each fit")
    parser.add_argument("--seeds", type=int, default=2, help="fits of each kind")
    options = parser.parse_args()
    register_schemas()
    fixed = ["model=mlp", "split.folds=10", "logger=none", "trainer.progress_bar=false"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        words = [*fixed, f"trainer.max_epochs={options.epochs}"]
        cfgs = [compose("train", [*words, f"seed={seed}"]) for seed in range(options.seeds)]

    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):

        def trained(kind: str, fitted: Mapping[str, Fitted] | None = None) -> list[Result]:
            places = [Path(folder) / kind / str(number) for number in range(len(cfgs))]
            return [train(cfg, place, "mlp", fitted=fitted) for cfg, place in zip(cfgs, places, strict=True)]

        alone = trained("alone")
        with _nudged():
            nudged = trained("nudged")
        jobs = [(cfg, Path(folder) / "stacked" / str(number), "mlp") for number, cfg in enumerate(cfgs)]
        stacked = trained("stacked", train_together(jobs, CorpusReader()))
    for seed, results in enumerate(zip(alone, nudged, stacked, strict=True)):
        genres = [result.predictions["predicted"] for result in results]
        accuracy = ", ".join(f"{100 * result.scores['test/accuracy']:.0f} %" for result in results)
        print(
            f"seed {seed}: {(genres[1] != genres[0]).sum()} nudged, {(genres[2] != genres[0]).sum()} stacked; "
            f"accuracy alone, nudged, stacked {accuracy}"
        )


@contextlib.contextmanager
def _nudged() -> Iterator[None]:
    """Let training begin with one weight changed in its last bit."""
    start = MLP.on_train_start

    def nudged_start(self: MLP) -> None:
        start(self)
        (weight, *_) = self.parameters()
        with torch.no_grad():
            weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))

    MLP.on_train_start = nudged_start  # type: ignore[method-assign]  # from outside, so that the shipped code is measured
    try:
        yield
    finally:
        MLP.on_train_start = start  # type: ignore[method-assign]  # as it was


if __name__ == "__main__":
    main()
