"""Claims about the network of musicnn: it computes what its layers define, and what TensorFlow computed."""

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.checkpoint.bundle import bundle_of
from tests.features.network import Tensors, random_tensors

from genregrid.checkpoint.tensor_bundle import BundleError, TensorBundle
from genregrid.features.musicnn_network import MusicnnNetwork

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
each_device = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=no_gpu)])


@pytest.fixture
def tensors() -> Tensors:
    return random_tensors()


def by_definition(t: Tensors, spectrum: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both outputs for a spectrum (frame, band), layer by layer in loops, as the package defines them."""

    def norm(values: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        centred = (values - t[f"{name}/moving_mean"]) / np.sqrt(t[f"{name}/moving_variance"] + 0.001)
        return centred * t[f"{name}/gamma"] + t[f"{name}/beta"]

    def convolved(values: NDArray[np.float64], number: int) -> NDArray[np.float64]:
        name = f"conv2d_{number}" if number else "conv2d"
        kernel = t[f"{name}/kernel"][:, :, 0]
        num_taps, num_bands, _ = kernel.shape
        before = (num_taps - 1) // 2
        padded = np.pad(values, ((before, num_taps - 1 - before), (0, 0)))
        places = values.shape[1] - num_bands + 1
        found = np.zeros((len(values), places, kernel.shape[2]))
        for frame in range(len(values)):
            for place in range(places):
                part = padded[frame : frame + num_taps, place : place + num_bands]
                found[frame, place] = (part[:, :, None] * kernel).sum(axis=(0, 1))
        return norm(np.maximum(found + t[f"{name}/bias"], 0), 1 + number)

    spectrum = norm(spectrum, 0)
    front = np.concatenate([convolved(spectrum, number).max(axis=1) for number in range(5)], axis=1)
    first = convolved(front, 5)[:, 0]
    second = convolved(first, 6)[:, 0] + first
    third = convolved(second, 7)[:, 0] + second
    joined = np.concatenate([front, first, second, third], axis=1)
    pooled = norm(np.stack([joined.max(axis=0), joined.mean(axis=0)], axis=1).reshape(-1), 9)
    penultimate = norm(np.maximum(pooled @ t["dense/kernel"] + t["dense/bias"], 0), 10)
    return penultimate, 1 / (1 + np.exp(-(penultimate @ t["dense_1/kernel"] + t["dense_1/bias"])))


@each_device
@pytest.mark.parametrize("num_frames", [1, 9, 40])  # 40: more than are convolved at once
def test_a_small_network_computes_its_layers(tensors: Tensors, num_frames: int, device: str) -> None:
    spectra = np.random.default_rng(1).standard_normal((2, num_frames, 8)).astype(np.float32)
    found = MusicnnNetwork(TensorBundle(*bundle_of(tensors)), device)(spectra)
    for number, spectrum in enumerate(spectra):
        for values, expected in zip(found, by_definition(tensors, spectrum.astype(np.float64)), strict=True):
            np.testing.assert_allclose(values[number], expected, rtol=1e-4, atol=1e-5)


def test_a_window_has_the_same_values_beside_others(tensors: Tensors) -> None:
    spectra = np.random.default_rng(1).standard_normal((5, 30, 8)).astype(np.float32)
    network = MusicnnNetwork(TensorBundle(*bundle_of(tensors)), "cpu")
    for together, alone in zip(network(spectra), network(spectra[3:4]), strict=True):
        np.testing.assert_array_equal(together[3:4], alone)


def test_the_number_of_threads_changes_no_value_and_stays(tensors: Tensors) -> None:
    spectra = np.random.default_rng(1).standard_normal((1, 187, 8)).astype(np.float32)
    network, before = MusicnnNetwork(TensorBundle(*bundle_of(tensors)), "cpu"), torch.get_num_threads()
    found = []
    try:
        for num_threads in (1, 2):
            torch.set_num_threads(num_threads)
            found.append(network(spectra)[0])
            assert torch.get_num_threads() == num_threads
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_a_network_that_lacks_a_tensor_is_refused(tensors: Tensors) -> None:
    del tensors["dense/bias"]
    with pytest.raises(BundleError, match="no tensor 'dense/bias'"):
        MusicnnNetwork(TensorBundle(*bundle_of(tensors)))


@no_gpu
def test_a_gpu_computes_many_windows_as_a_cpu_does(tensors: Tensors) -> None:
    spectra = np.random.default_rng(1).standard_normal((70, 187, 8)).astype(np.float32)  # more than at once
    bundle = TensorBundle(*bundle_of(tensors))
    for on_gpu, on_cpu in zip(MusicnnNetwork(bundle)(spectra), MusicnnNetwork(bundle, "cpu")(spectra), strict=True):
        np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-4, atol=1e-5)


@each_device
@pytest.mark.parametrize("name", ["MTT_musicnn", "MSD_musicnn"])
def test_the_trained_networks_give_tensorflows_values(
    name: str, device: str, musicnn_wheel: Path, real_file: Callable[[str], Path]
) -> None:
    with ZipFile(musicnn_wheel) as wheel:
        index, data = (wheel.read(f"musicnn/{name}/{file}") for file in (".index", ".data-00000-of-00001"))
    expected = np.load(real_file("musicnn/reference_out.npz"))
    penultimate, tags = MusicnnNetwork(TensorBundle(index, data), device)(
        np.load(real_file("musicnn/reference_in.npy"))
    )
    np.testing.assert_allclose(penultimate, expected[f"{name}/penultimate"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(tags, expected[f"{name}/tags"], rtol=0, atol=1e-5)
