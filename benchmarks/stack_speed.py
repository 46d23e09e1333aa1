"""Compare many fits at once with fits one by one, in one run: the MLP's stack, and a probe of an LSTM's stack.

    python benchmarks/stack_speed.py

Both are the paper's models on the statistical twin's 3-second slices. One by one is a real run of genregrid, by
Lightning, validation and metrics included; its step is the epoch's time over its steps. The MLP's stack is genregrid's
own. The LSTM's is a probe in plain PyTorch with the best methods found for a CPU: products of all fits batched, gates
in place, a backward pass by hand, fused Adam. It has no validation, so its figure is too good. Processor seconds on one
thread, so that other jobs on the machine disturb less.

The last lines are the figures: ``name: value``.
"""

import argparse
import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from torch import Tensor, nn

from genregrid.config import register_schemas

ROOT = Path(__file__).resolve().parents[1]
NUM_EPOCHS = {"mlp": 4, "lstm": 8}
HIDDEN, NUM_FEATURES, NUM_GENRES, NUM_SLICES, BATCH_SIZE = 64, 57, 10, 10, 16


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Stacked fits, as ratios to fits one by one.")
    parser.add_argument("--fits", type=int, default=15, help="in a stack: half of ten folds and three seeds")
    parser.add_argument("--rounds", type=int, default=3, help="of each; figures are medians")
    options = parser.parse_args()
    torch.set_num_threads(1)
    register_schemas()
    rounds = range(options.rounds)
    for model, stacked in (("mlp", _stacked_mlp_step), ("lstm", _stacked_lstm_step)):
        alone, together = [], []
        for _ in rounds:
            alone.append(_lightning_step(model))
            together.append(stacked(options.fits) / options.fits)
        alone_us, together_us = (1e6 * statistics.median(values) for values in (alone, together))
        print(
            f"{model}: one by one {alone_us:.0f} us a step, {options.fits} at once {together_us:.0f} us a step and fit"
        )
        print(f"{model}_stack_throughput: {alone_us / together_us:.1f}", flush=True)


def _configs(model: str, num_fits: int, num_epochs: int) -> list[Any]:
    fixed = [f"model={model}", "logger=none", "trainer.progress_bar=false", f"trainer.max_epochs={num_epochs}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return [
            compose("train", [*fixed, "split.folds=10", f"split.fold={number % 10}", f"seed={number // 10}"])
            for number in range(num_fits)
        ]


def _lightning_step(model: str) -> float:
    """Seconds of a step of a run, from the start of the second epoch to the start of the last."""
    from genregrid.models.network import Network
    from genregrid.training.run import train

    starts: list[float] = []
    steps: list[int] = []

    def started(self: Network) -> None:
        starts.append(time.process_time())
        steps.append(self.global_step)

    # a hook put on from outside, so that the timed run is the shipped code and nothing besides
    Network.on_train_epoch_start = started  # type: ignore[method-assign]  # timed from outside
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train(_configs(model, 1, NUM_EPOCHS[model])[0], Path(folder), model)
    return (starts[-1] - starts[1]) / (steps[-1] - steps[1])


def _stacked_mlp_step(num_fits: int) -> float:
    """Seconds of a step of the stack, by the difference of a long and a short training."""
    from genregrid.training.build import prepare
    from genregrid.training.corpus_reader import CorpusReader
    from genregrid.training.stack import StackCheckpoint, fit_stack

    seconds, steps = [], []
    for num_epochs in (1, 3):
        runs = [prepare(cfg, "mlp", CorpusReader()) for cfg in _configs("mlp", num_fits, num_epochs)]
        rng_states = [torch.get_rng_state()] * num_fits
        checkpoint = StackCheckpoint(Path("unused"), [str(number) for number in range(num_fits)], 1e9, resume=False)
        begin = time.process_time()
        modules = [run.datamodule for run in runs]
        fit_stack([run.model for run in runs], modules, rng_states, runs[0].settings.trainer, checkpoint)
        seconds.append(time.process_time() - begin)
        steps.append(num_epochs * max(len(module.train_dataloader()) for module in modules))
    return (seconds[1] - seconds[0]) / (steps[1] - steps[0])


class _LSTMLayer(torch.autograd.Function):
    """An LSTM layer of many fits, with gates in the order input, forget, output, cell.

    Takes (fit, slice, window, feature), weights (fit, feature, 4 hidden), (fit, hidden, 4 hidden) and
    (fit, 1, 4 hidden), and returns the states, (slice, fit, window, hidden).
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, into: Tensor, again: Tensor, bias: Tensor) -> Tensor:
        num_fits, num_slices, size, _ = inputs.shape
        hidden = again.shape[1]
        gates = torch.baddbmm(bias, inputs.reshape(num_fits, num_slices * size, -1), into)
        gates = gates.view(num_fits, num_slices, size, -1).transpose(0, 1).contiguous()
        states, cells = inputs.new_zeros(2, num_slices + 1, num_fits, size, hidden)
        squashed = inputs.new_empty(num_slices, num_fits, size, hidden)
        for number in range(num_slices):
            gate = gates[number]
            if number:
                gate.baddbmm_(states[number], again)
            gate[..., : 3 * hidden].sigmoid_()
            gate[..., 3 * hidden :].tanh_()
            let_in, keep, let_out, new = gate.chunk(4, -1)
            torch.mul(keep, cells[number], out=cells[number + 1])
            cells[number + 1].addcmul_(let_in, new)
            torch.tanh(cells[number + 1], out=squashed[number])
            torch.mul(let_out, squashed[number], out=states[number + 1])
        ctx.save_for_backward(inputs, into, again, gates, states, cells, squashed)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:  # type: ignore[override]  # torch takes anything
        inputs, into, again, gates, states, cells, squashed = ctx.saved_tensors
        num_slices, num_fits, size, hidden = squashed.shape
        by_gate = torch.empty_like(gates)
        by_cell = by_state = None
        for number in reversed(range(num_slices)):
            let_in, keep, let_out, new = gates[number].chunk(4, -1)
            by_in, by_keep, by_out, by_new = by_gate[number].chunk(4, -1)
            here = gradient[number] if by_state is None else gradient[number] + by_state
            cell = here * let_out * (1 - squashed[number] ** 2)
            cell = cell if by_cell is None else cell + by_cell
            torch.mul(here * squashed[number], let_out * (1 - let_out), out=by_out)
            torch.mul(cell * new, let_in * (1 - let_in), out=by_in)
            torch.mul(cell * let_in, 1 - new * new, out=by_new)
            torch.mul(cell * cells[number], keep * (1 - keep), out=by_keep)
            by_cell = cell * keep
            if number:
                by_state = torch.bmm(by_gate[number], again.transpose(1, 2))
        flat = by_gate.transpose(0, 1).reshape(num_fits, num_slices * size, -1)
        before = states[:-1].transpose(0, 1).reshape(num_fits, num_slices * size, hidden)
        by_inputs = None
        if ctx.needs_input_grad[0]:
            by_inputs = torch.bmm(flat, into.transpose(1, 2)).view(inputs.shape)
        by_into = torch.bmm(inputs.reshape(num_fits, num_slices * size, -1).transpose(1, 2), flat)
        return by_inputs, by_into, torch.bmm(before.transpose(1, 2), flat), flat.sum(1, keepdim=True)


def _stacked_lstm_step(num_fits: int) -> float:
    """Seconds of a step of the probe."""

    def drawn(*shape: int) -> nn.Parameter:
        return nn.Parameter(0.1 * torch.randn(num_fits, *shape))

    first, second = (
        [drawn(size, 4 * HIDDEN), drawn(HIDDEN, 4 * HIDDEN), drawn(1, 4 * HIDDEN)] for size in (NUM_FEATURES, HIDDEN)
    )
    dense, out = [drawn(HIDDEN, HIDDEN), drawn(1, HIDDEN)], [drawn(HIDDEN, NUM_GENRES), drawn(1, NUM_GENRES)]
    optimizer = torch.optim.Adam([*first, *second, *dense, *out], fused=True)
    inputs = torch.randn(num_fits, NUM_SLICES, BATCH_SIZE, NUM_FEATURES)
    genre = torch.randint(NUM_GENRES, (num_fits * BATCH_SIZE,))
    layer: Callable[..., Tensor] = _LSTMLayer.apply  # type: ignore[assignment]  # torch leaves it untyped

    def step() -> None:
        states = layer(layer(inputs, *first).transpose(0, 1), *second)
        kept = F.dropout(torch.baddbmm(dense[1], states[-1], dense[0]).relu(), 0.3)
        logits = torch.baddbmm(out[1], kept, out[0]).flatten(0, 1)
        optimizer.zero_grad()
        (num_fits * F.cross_entropy(logits, genre)).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()

    for _ in range(5):
        step()
    begin = time.process_time()
    for _ in range(50):
        step()
    return (time.process_time() - begin) / 50


if __name__ == "__main__":
    main()
