"""The network of musicnn, which maps three seconds of log-mel spectrum to 200 values and 50 tags.

Only this module of the room imports torch, and it is imported when the first slice is described.

Source: Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging", ISMIR 2019
late-breaking session, and their package musicnn 0.1.0 (ISC licence), for the layers and their order.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from genregrid.checkpoint.tensor_bundle import TensorBundle
from genregrid.parallel.threads import one_thread

_EPSILON = 1e-3  # of batch normalisation, TensorFlow's default
_NUM_FRONT, _NUM_MIDDLE = 5, 3  # convolutions over frames and bands, and those over frames
_FRAMES_AT_ONCE = 16  # of kernels of one band: more cost more multiplications by zero
_CUDA_WINDOWS = 64


class MusicnnNetwork:
    """The trained network, without gradients, in float32; batch normalisation is reduced to a scale and a shift.

    The values of a window do not depend on other windows, to the last bit on a CPU. It works on the first GPU if there
    is one, and on one thread: sums differ in their last bits with the number of threads.

    Args:
        bundle: the weights.
        device: name of a device of torch; ``None`` chooses.

    Attributes:
        windows_at_once: how many windows are computed together.

    Raises:
        BundleError: a tensor is missing or damaged.
    """

    def __init__(self, bundle: TensorBundle, device: str | None = None) -> None:
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.windows_at_once = _CUDA_WINDOWS if self._device.type == "cuda" else 1

        def weights(name: str) -> Tensor:
            return torch.from_numpy(bundle.tensor(name)).to(self._device)

        self._input = _norm(weights, 0)
        self._front = [_Front(weights, number) for number in range(_NUM_FRONT)]
        self._middle = [_Middle(weights, _NUM_FRONT + number) for number in range(_NUM_MIDDLE)]
        scale, shift = _norm(weights, 1 + _NUM_FRONT + _NUM_MIDDLE)
        kernel, bias = weights("dense/kernel"), weights("dense/bias")
        self._dense = kernel * scale[:, None], bias + shift @ kernel
        self._penultimate = _norm(weights, 2 + _NUM_FRONT + _NUM_MIDDLE)
        self._tags = weights("dense_1/kernel"), weights("dense_1/bias")

    def __call__(self, log_mel: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Compute the penultimate layer (window, 200) and the probabilities of the tags (window, 50), both float32.

        `log_mel` is (window, frame, band) float32, of any number of frames; training had 187 frames of 96 bands.
        """
        # without TF32, whose ten bits change values by more than 1e-4
        with one_thread(), torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            windows = torch.split(torch.from_numpy(log_mel), self.windows_at_once)
            parts = [self._predict(part.to(self._device)) for part in windows]
            penultimate, tags = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return penultimate, tags

    def _predict(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = self._input
        spectrum = log_mel * scale + shift
        front = torch.cat([layer(spectrum) for layer in self._front], dim=1)  # (window, channel, frame)
        first, second, third = self._middle
        states = first(front)
        maps = [front, states]
        for layer in (second, third):
            states = layer(states) + states
            maps.append(states)
        joined = torch.cat(maps, dim=1)
        # the maximum and the mean of a channel are neighbours: (window, 2 x channel)
        pooled = torch.stack([joined.amax(dim=2), joined.mean(dim=2)], dim=2).flatten(1)
        kernel, bias = self._dense
        scale, shift = self._penultimate
        penultimate = torch.relu(pooled @ kernel + bias) * scale + shift
        kernel, bias = self._tags
        return penultimate, torch.sigmoid(penultimate @ kernel + bias)


class _Front:
    """A convolution over frames and bands, ReLU, batch normalisation and the maximum over places of the kernel.

    It maps (window, frame, band) to (window, channel, frame). ReLU and batch normalisation are monotonic, so the
    maximum is taken before them. Of channels with a negative scale it would be the minimum: their kernels, and then the
    maximum, change sign.
    """

    def __init__(self, weights: Callable[[str], Tensor], number: int) -> None:
        kernel, self._bias = _convolution(weights, number)  # (frame, band, channel)
        self._scale, self._shift = _norm(weights, 1 + number)
        self._sign = torch.where(self._scale < 0, -1.0, 1.0)
        self._kernel = kernel * self._sign
        self._strongest = _Temporal(self._kernel) if self._kernel.shape[1] == 1 else _Timbral(self._kernel)

    def __call__(self, spectrum: Tensor) -> Tensor:
        num_taps = len(self._kernel)
        before = (num_taps - 1) // 2
        highest = self._strongest(F.pad(spectrum, (0, 0, before, num_taps - 1 - before))) * self._sign
        return (torch.relu(highest + self._bias) * self._scale + self._shift).transpose(1, 2)


class _Timbral:
    """The strongest response of kernels of several bands, (window, frame + taps - 1, band) -> (window, frame, channel).

    The responses of one place at a time, and what the kernels need for them, fit into the cache of a CPU.
    """

    def __init__(self, kernel: Tensor) -> None:
        self._num_taps, self._num_bands, _ = kernel.shape
        self._kernel = kernel.flatten(0, 1)  # (frame x band, channel)

    def __call__(self, padded: Tensor) -> Tensor:
        frames = padded.unfold(1, self._num_taps, 1).transpose(2, 3)  # (window, frame, frame within, band), a view
        strongest = frames.new_full((), -torch.inf)
        for place in range(padded.shape[2] - self._num_bands + 1):
            covered = frames[..., place : place + self._num_bands].flatten(2)
            strongest = torch.maximum(strongest, covered @ self._kernel)
        return strongest


class _Temporal:
    """The strongest response of kernels of one band, (window, frame + taps - 1, band) -> (window, frame, channel).

    Nothing is copied: one matrix holds the kernels shifted by 0, 1, ... frames, and gives the responses of some frames.
    """

    def __init__(self, kernel: Tensor) -> None:
        self._num_taps, _, num_channels = kernel.shape
        shifted = kernel.new_zeros(self._num_taps + _FRAMES_AT_ONCE - 1, _FRAMES_AT_ONCE, num_channels)
        for frame in range(_FRAMES_AT_ONCE):
            shifted[frame : frame + self._num_taps, frame] = kernel[:, 0]
        self._shifted = shifted.flatten(1)  # (frame, frame of the response x channel)

    def __call__(self, padded: Tensor) -> Tensor:
        num_frames = padded.shape[1] - self._num_taps + 1
        padded = F.pad(padded, (0, 0, 0, -num_frames % _FRAMES_AT_ONCE)).transpose(1, 2)  # (window, band, frame)
        strongest = [
            (padded[:, :, start : start + len(self._shifted)] @ self._shifted).amax(dim=1)
            for start in range(0, num_frames, _FRAMES_AT_ONCE)
        ]
        return torch.stack(strongest, dim=1).view(len(padded), -1, self._shifted.shape[1] // _FRAMES_AT_ONCE)[
            :, :num_frames
        ]


class _Middle:
    """A convolution over frames, ReLU and batch normalisation: (window, channel, frame) to the same axes."""

    def __init__(self, weights: Callable[[str], Tensor], number: int) -> None:
        kernel, self._bias = _convolution(weights, number)
        self._kernel = kernel.permute(2, 1, 0).contiguous()  # (channel, channel before, frame)
        self._scale, self._shift = (part[:, None] for part in _norm(weights, 1 + number))

    def __call__(self, states: Tensor) -> Tensor:
        responses = F.conv1d(states, self._kernel, self._bias, padding=self._kernel.shape[2] // 2)
        return torch.relu(responses) * self._scale + self._shift


def _named(layer: str, number: int) -> str:
    return f"{layer}_{number}" if number else layer


def _convolution(weights: Callable[[str], Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Return a kernel (frame, band, channel), and its bias (channel,)."""
    name = _named("conv2d", number)
    return weights(f"{name}/kernel").squeeze(2), weights(f"{name}/bias")


def _norm(weights: Callable[[str], Tensor], number: int) -> tuple[Tensor, Tensor]:
    """Return a batch normalisation as a scale and a shift, both (channel,)."""
    name = _named("batch_normalization", number)
    scale = weights(f"{name}/gamma") / torch.sqrt(weights(f"{name}/moving_variance") + _EPSILON)
    return scale, weights(f"{name}/beta") - scale * weights(f"{name}/moving_mean")
