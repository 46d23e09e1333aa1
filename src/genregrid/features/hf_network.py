"""A model of transformers, which maps windows of sound to means of its hidden states.

Only this module imports transformers, when a model is loaded. Nothing is asked of the hub, and no code of a model's
folder is run.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genregrid.errors import UserError, counted, printable
from genregrid.features.recipe import WHOLE_CLIP_TOLERANCE
from genregrid.parallel.threads import one_thread
from genregrid.program import install_command

#: Longer slices are described in windows: the memory of attention grows with the square of the length.
MOST_WINDOW_SECONDS = 10.0
_CUDA_WINDOWS = 16
# Attributes by which feature extractors limit their input, which they would cut, and samples for each of their unit:
# of CLAP, of Whisper, and of AST, whose frames are 160 samples apart.
_LIMITS = {"nb_max_samples": 1, "n_samples": 1, "max_length": 160}
_RATES_HZ = range(1000, 400_000)
_SHOWN = 200  # characters of a message by transformers


class HfNetwork:
    """A model without gradients, in float32, and its feature extractor.

    The values of a window do not depend on other windows, to the last bit on a CPU. It works on the first GPU if there
    is one, and on one thread: sums differ in their last bits with the number of threads.

    Args:
        folder: of the model, checked by `read_model_folder`.

    Attributes:
        rate_hz: sample rate of the sound.
        window_samples: length of the longest window.
        min_slice_seconds: length of the shortest slice.
        windows_at_once: how many windows are computed together.

    Raises:
        UserError: transformers is not installed or cannot load the model, or it is no model of audio.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.windows_at_once = _CUDA_WINDOWS if self._device.type == "cuda" else 1
        self._extractor, model, self._missing = _loaded(folder)
        self._model = _audio_part(model).to(self._device).eval()
        self.rate_hz: int = self._extractor.sampling_rate
        limits = [getattr(self._extractor, name, None) for name in _LIMITS]
        limits = [limit * per for limit, per in zip(limits, _LIMITS.values(), strict=True) if isinstance(limit, int)]
        self.window_samples = min([round(MOST_WINDOW_SECONDS * self.rate_hz), *limits])
        least = _receptive_field(model.config)
        self.min_slice_seconds: float = least / self.rate_hz / (1 - WHOLE_CLIP_TOLERANCE)
        # CLAP's extractor: its models that fuse views of a long sound need another input than those that do not
        is_fused = getattr(getattr(model.config, "audio_config", None), "enable_fusion", False)
        has_truncation = hasattr(self._extractor, "truncation")
        self._options = {"truncation": "fusion" if is_fused else "rand_trunc"} if has_truncation else {}
        noise = 0.1 * np.random.default_rng(0).standard_normal(min(self.window_samples, max(least, self.rate_hz)))
        try:
            self._noise = [_means(states) for states in self._hidden_states(noise.astype(np.float32)[None])]
        except Exception as error:  # of any kind, by any model
            raise UserError(f"it gives no hidden states for sound ({_first_line(error)})", key=folder) from None

    def find_layer(self, layer: int) -> tuple[int, int]:
        """Return the number of a layer, from 0 on, and how many values it has.

        Args:
            layer: 0 is the input of the first layer, n the output of the n-th; negative numbers count from the last.

        Raises:
            UserError: there is no such layer, or its values are not finite.
        """
        if not -len(self._noise) <= layer < len(self._noise):
            hint = f"choose 0 to {len(self._noise) - 1}, or -1 for the last"
            raise UserError("the model has no such layer", key="--layer", value=layer, hint=hint)
        values = self._noise[layer]
        if not bool(torch.isfinite(values).all()):
            problem = "it gives values that are not finite"
            if missing := self._missing:
                problem = f"its weights lack {counted(len(missing), 'tensor')}, such as {printable(missing[0], 60)}"
            raise UserError(problem, key=self._folder, hint="get the model again, or choose another --layer")
        return layer % len(self._noise), values.shape[1]

    def describe(self, windows: NDArray[np.float32], layer: int) -> NDArray[np.float32]:
        """Compute the means of a layer's hidden states over time, (window, sample) -> (window, unit) float32."""
        parts = [
            windows[start : start + self.windows_at_once] for start in range(0, len(windows), self.windows_at_once)
        ]
        return np.concatenate([_means(self._hidden_states(part)[layer]).cpu().numpy() for part in parts])

    def _hidden_states(self, windows: NDArray[np.float32]) -> Sequence[Tensor]:
        # without TF32, whose ten bits change values by more than 1e-4
        with one_thread(), torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            rate, options = self.rate_hz, self._options
            inputs = self._extractor(list(windows), sampling_rate=rate, return_tensors="pt", **options)
            if "is_longer" in inputs:  # CLAP's extractor calls a random one of short windows long
                inputs["is_longer"] = torch.zeros_like(inputs["is_longer"])
            on_device = {name: value.to(self._device) for name, value in inputs.items()}
            states: Sequence[Tensor] = self._model(**on_device, output_hidden_states=True).hidden_states
            return states


def _means(states: Tensor) -> Tensor:
    """Average over time, (window, time, unit), or over frequency and time, (window, unit, frequency, time)."""
    return states.float().mean(dim=1 if states.ndim == 3 else (2, 3))


def _loaded(folder: Path) -> tuple[Any, Any, list[str]]:
    """Load a feature extractor and a model; return the names of missing weights too, which are NaN in the model.

    Some models miss weights that only their training uses.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import transformers  # takes seconds
    except ModuleNotFoundError as error:
        hint = f"the recipe hf needs `{install_command('embedding')}`"
        raise UserError("it is not installed", key=error.name, hint=hint) from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    safe = {"local_files_only": True, "trust_remote_code": False}
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder, **safe)
        if getattr(extractor, "sampling_rate", None) not in _RATES_HZ:
            raise UserError("it is no model of audio: its feature extractor has no sampling_rate", key=folder)
        # of several ways to compute attention, all models have the eager one, and no other can name code
        form = {"dtype": torch.float32, "attn_implementation": "eager", "output_loading_info": True}
        model, info = transformers.AutoModel.from_pretrained(folder, use_safetensors=True, **safe, **form)
    except UserError:
        raise
    except Exception as error:  # of any kind, by files of any content
        hint = "get the model again; is it one of audio, and of this version of transformers?"
        raise UserError(f"transformers cannot load it ({_first_line(error)})", key=folder, hint=hint) from None
    missing = sorted(info["missing_keys"])
    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            if name in missing and tensor.is_floating_point():
                tensor.fill_(torch.nan)
    return extractor, model, missing


def _audio_part(model: Any) -> Any:
    """Return the part of a model that takes sound: of CLAP without the text, of Whisper without the decoder."""
    if hasattr(model, "audio_model"):
        return model.audio_model
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def _receptive_field(config: Any) -> int:
    """Return how many samples the convolutions of a model need at least; 1 for a model that takes spectra."""
    kernels, strides = (getattr(config, name, None) or () for name in ("conv_kernel", "conv_stride"))
    num_samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        num_samples = (num_samples - 1) * stride + kernel
    return num_samples


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return printable(f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__, _SHOWN)
