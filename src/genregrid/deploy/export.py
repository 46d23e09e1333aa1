"""Write a trained model as one file for onnxruntime or torch, and check it against the model before it is kept."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genregrid import __version__
from genregrid.deploy.program import Program
from genregrid.errors import UserError
from genregrid.files import replacing
from genregrid.models.base import GenreClassifier
from genregrid.models.transform import FeatureTransform
from genregrid.parallel.threads import one_thread
from genregrid.record.facts import Provenance

Kind = Literal["onnx", "torch"]
#: Ending of a file of each kind.
ENDINGS: dict[Kind, str] = {"onnx": ".onnx", "torch": ".pt2"}
#: Name of the metadata in a file of torch (`torch.export.load(..., extra_files={METADATA: ""})`), which is JSON.
METADATA = "genregrid.json"
TOLERANCE = 1e-5  # of a probability
# Windows of a comparison: how many, and by how many slices they are longer than those of training; None: one slice.
_BATCHES: tuple[tuple[int, int | None], ...] = ((1, None), (1, 0), (7, None), (50, 0), (70, 3))
# Relative changes of a descriptor as large as the roundings of a float32 logarithm, tried on windows that differ.
_ROUNDING, _NUM_ROUNDED = 2.0**-21, 16
_MOST_UNSTABLE = 0.05  # share of the windows
_TRACED = {"stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"}  # paths of this machine

Run = Callable[[NDArray[np.float32], NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class Comparison:
    """Probabilities of a model and of its file, on random windows of several lengths, alone and in batches."""

    num_windows: int  # that were compared
    num_unstable: int  # that were left out: rounding of their descriptors changes the model's own probabilities
    largest_difference: float  # of a probability

    def check(self) -> None:
        """Refuse a file that differs.

        Raises:
            UserError: a probability differs by more than `TOLERANCE`, or many windows could not be compared.
        """
        if not self.largest_difference <= TOLERANCE or self.num_unstable > _MOST_UNSTABLE * self.num_windows:
            differs = f"the file would differ by {self.largest_difference:.1g} in a probability"
            problem = f"{differs}, and {TOLERANCE:g} is the most ({self.num_unstable} unstable windows left out)"
            raise UserError(problem, key="model", hint="no file was written")


@dataclass(frozen=True)
class Exported:
    """A file that was written, and how it compares with its checkpoint."""

    path: Path
    title: str  # of the model
    comparison: Comparison


def check_packages(kind: Kind) -> None:
    """Import what a kind of file needs, so that a missing package is reported before the work begins."""
    if kind == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            import_module(name)


def export(model: GenreClassifier, kind: Kind, path: Path) -> Exported:
    """Write a model that was loaded from a checkpoint as a file that runs without genregrid.

    It maps ``features`` (batch, slice, feature) float32, raw descriptors, and ``length`` (batch,) int64, the slices of
    each window that are not padding, to ``log_probs`` (batch, genre) float32.

    Raises:
        UserError: the model cannot be exported, or the file computes other probabilities.
    """
    check_packages(kind)
    if kind == "onnx" and model.transform.kind == "quantile":
        hint = "export it for torch, or train with another transform"
        raise UserError(
            "ONNX has no quantiles of the normal distribution", key="model.transform", value="quantile", hint=hint
        )
    trained = Provenance.of(model, "checkpoint")
    with one_thread():
        temperature = 1.0 if trained.card is None else trained.card.temperature
        program = Program(deepcopy(model), temperature)
        content = _written(program, kind, _metadata(model, trained), trained.window_slices)
        comparison = compare(model, temperature, _runner(content, kind), trained.window_slices)
    comparison.check()
    with replacing(path) as part:
        part.write_bytes(content)
    return Exported(path, trained.title, comparison)


def _metadata(model: GenreClassifier, trained: Provenance) -> dict[str, Any]:
    """Return what is needed to use the file, as values of JSON."""
    card = trained.card
    return {
        "genregrid": __version__,
        "title": trained.title,
        "genres": model.genres,
        "feature_names": model.feature_names,
        "recipe": trained.facts.recipe,
        "slice_seconds": model.slice_seconds,
        "source_slice_seconds": trained.source_slice_seconds,
        "window": trained.window or "track",  # slices
        "window_slices": trained.window_slices,  # the longest window of training
        # between the windows of a track that vote; a track as long as those of training has one window
        "hop_slices": 1 if trained.window is None else trained.hop_slices or trained.window,
        "vote": "the genre of a track is that of the largest mean, over its windows, of log_probs",
        # log_probs are those of the logits divided by it; null: the model has no card, and they are not calibrated
        "temperature": None if card is None else card.temperature,
        # a genre is possible if its probability is at least 1 minus it; right in 9 of 10 cases
        "threshold": None if card is None else card.threshold,
        "evidence": None if card is None else card.evidence,
    }


def _written(program: Program, kind: Kind, metadata: dict[str, Any], window_slices: int) -> bytes:
    """Trace a program with open numbers of windows and slices, and return the content of its file."""
    example = draw_windows(program.model.transform, 3, max(2, window_slices))
    batch, slices = torch.export.Dim("batch"), torch.export.Dim("slice")
    shapes = {"features": {0: batch, 1: slices}, "length": {0: batch}}
    with torch.no_grad(), _quiet():
        try:
            exported = torch.export.export(program, example, dynamic_shapes=shapes)
            for module in exported.graph_module.modules():
                for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
                    for name in _TRACED:
                        node.meta.pop(name, None)
            return (_onnx if kind == "onnx" else _torch)(exported, metadata)
        except UserError:
            raise
        except Exception as error:  # torch raises many types for operations that it cannot export
            cause: BaseException = error
            while cause.__cause__ is not None:  # ONNX's exporter wraps the reason in general advice
                cause = cause.__cause__
            reason = (str(cause).splitlines() or [type(cause).__name__])[0]
            raise UserError(f"torch cannot export this model as {kind}: {reason}", key="model") from error


def _torch(exported: torch.export.ExportedProgram, metadata: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    torch.export.save(exported, content, extra_files={METADATA: json.dumps(metadata)})
    return content.getvalue()


def _onnx(exported: torch.export.ExportedProgram, metadata: dict[str, Any]) -> bytes:
    onnx_program = torch.onnx.export(exported, output_names=["log_probs"], dynamo=True, verbose=False)
    assert onnx_program is not None
    model: Any = onnx_program.model
    for graph in (model.graph, *model.graph.subgraphs()):
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
    model.graph.inputs[0].shape[1] = "slice"
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape[0] = "batch"
    model.metadata_props.update({name: json.dumps(value) for name, value in metadata.items()})
    content: bytes = onnx_program.model_proto.SerializeToString()
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence notes of the exporters, and attention that has no exact counterpart in a file."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        torch.backends.mha.set_fastpath_enabled(fast_path)


def _runner(content: bytes, kind: Kind) -> Run:
    """Load the content of a file as its user would, and return its function."""
    if kind == "torch":
        module = torch.export.load(io.BytesIO(content)).module()

        def run(features: NDArray[np.float32], length: NDArray[np.int64]) -> NDArray[np.float32]:
            with torch.no_grad():
                return np.asarray(module(torch.from_numpy(features), torch.from_numpy(length)))

        return run
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options)
    return lambda features, length: session.run(["log_probs"], {"features": features, "length": length})[0]


def compare(model: GenreClassifier, temperature: float, run: Run, window_slices: int) -> Comparison:
    """Compare a model with the function of its file; `temperature` divides the model's logits."""
    num_unstable, differences = 0, []

    def probs(features: Tensor, length: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits = model.logits({"features": features, "length": length})
        return np.asarray((logits / temperature).softmax(dim=1))

    for size, longer in _BATCHES:
        features, length = draw_windows(model.transform, size, 1 if longer is None else window_slices + longer)
        expected = probs(features, length)
        difference = np.abs(np.exp(run(features.numpy(), length.numpy())) - expected).max(axis=1)
        far = np.flatnonzero(~(difference <= TOLERANCE))
        if len(far):  # at a threshold of a tree, for example, one rounding of a logarithm decides
            random = torch.Generator().manual_seed(0)
            moved = np.zeros(len(far))
            for _ in range(_NUM_ROUNDED):
                noise = _ROUNDING * (2 * torch.rand(features[far].shape, generator=random) - 1)
                shifted = probs(features[far] * (1 + noise), length[far])
                moved = np.maximum(moved, np.abs(shifted - expected[far]).max(axis=1))
            unstable = far[moved > TOLERANCE]
            num_unstable += len(unstable)
            difference = np.delete(difference, unstable)
        differences.append(difference)
    all_of_them = np.nan_to_num(np.concatenate(differences), nan=np.inf)
    return Comparison(len(all_of_them), num_unstable, float(all_of_them.max(initial=0.0)))


def draw_windows(transform: FeatureTransform, size: int, num_slices: int) -> tuple[Tensor, Tensor]:
    """Draw raw features (size, num_slices, feature) of the scale of the training, and length (size,); always the same.

    The first window has all slices, others end earlier.
    """
    random = torch.Generator().manual_seed(0)
    shape = (size, num_slices, len(transform.mean))
    features = transform.mean + transform.scale * torch.randn(shape, generator=random)
    if transform.kind in ("log", "log_variance"):
        features = torch.where(transform.shape[0].isnan(), features, features.exp())
    elif transform.kind == "yeo_johnson":
        features = transform.shape[0] + transform.shape[1] * torch.randn(shape, generator=random)
    elif transform.kind == "quantile":
        number = torch.randint(len(transform.shape), shape, generator=random)
        features = transform.shape.T[torch.arange(shape[2]), number]
    length = torch.randint(1, num_slices + 1, (size,), generator=random)
    length[0] = num_slices
    return features, length
