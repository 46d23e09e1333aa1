"""The recipe `hf`: means of the hidden states of a model of transformers, from a folder on this machine.

docs/recipes.md describes the definition.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genregrid.errors import UserError
from genregrid.features.model_folder import ModelFolder, find_model_folder, read_model_folder
from genregrid.features.musicnn import window_starts
from genregrid.features.recipe import MIN_SLICE_SECONDS, Recipe

if TYPE_CHECKING:
    from genregrid.features.hf_network import HfNetwork

_NAME = re.compile(r"hf-(?P<kind>[\w-]{1,60})-(?P<layer>\d{1,4})x(?P<units>\d{1,5})-(?P<digest>[0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True)
class HfRecipe(Recipe):
    """The mean over time of one layer's hidden states, as means over the windows of a slice.

    Attributes:
        kind: type of the model: ``wav2vec2``.
        layer: 0 for the input of the first layer, n for the output of the n-th.
        num_units: number of values of a hidden state.
        digest: the first digits of a hash of weights and configuration.
        folder: of the model; ``None``: it is in the folder of weights.

    >>> HfRecipe.named("hf-wav2vec2-12x768-1a2b3c4d").feature_names[-1]
    'hf768_mean'
    """

    kind: str
    layer: int
    num_units: int
    digest: str
    folder: Path | None = None

    has_weights = True

    @classmethod
    def in_folder(cls, folder: Path | None, layer: int | None = None) -> "HfRecipe":
        """Return the recipe of a model and a layer, by default the last; negative numbers count from the last.

        Raises:
            UserError: there is no folder, the model cannot be used, or it has no such layer.
        """
        if folder is None:
            hint = "give the folder of a model of transformers"
            raise UserError("the recipe hf needs it", key="--weights", hint=hint)
        kind, digest = read_model_folder(folder)
        number, num_units = _network(folder.resolve()).find_layer(-1 if layer is None else layer)
        return cls(kind, number, num_units, digest, folder.resolve())

    @classmethod
    def named(cls, name: str) -> "HfRecipe | None":
        """Return the recipe with a name; ``None`` if it is the name of another one."""
        found = _NAME.fullmatch(name)
        return found and cls(found["kind"], int(found["layer"]), int(found["units"]), found["digest"])

    @property
    def name(self) -> str:
        """Name of the recipe: ``hf-wav2vec2-12x768-1a2b3c4d``."""
        return f"hf-{self.kind}-{self.layer}x{self.num_units}-{self.digest}"

    @property
    def option(self) -> str:
        """Value of ``--recipe``: ``hf``."""
        return "hf"

    @property
    def more_options(self) -> str:
        """The model, by folder and hash, and the layer."""
        return f" --weights {self.folder} --layer {self.layer} ({self.digest})"

    @property
    def file_ending(self) -> str:
        """The name, as tables of several models and layers can be in one folder."""
        return f".{self.name}"

    @property
    def may_overlap(self) -> bool:
        """True: nothing is known of the music that the model was trained on."""
        return True

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns: ``hf1_mean`` and so on. They are means, and are pooled as such."""
        return tuple(f"hf{number}_mean" for number in range(1, self.num_units + 1))

    @property
    def rate_hz(self) -> int:
        """Sample rate of the sound, that of the model's feature extractor."""
        return int(self._network.rate_hz)

    @property
    def min_slice_seconds(self) -> float:
        """Length of the shortest slice, of which the model makes one hidden state or more."""
        return max(MIN_SLICE_SECONDS, float(self._network.min_slice_seconds))

    def check(self) -> None:
        """Raise a UserError if the model is missing, or is another one."""
        _ = self._network

    def num_together(self, num_samples: int) -> int:
        """Return how many slices of a length in samples are described at once."""
        network = self._network
        return max(1, network.windows_at_once // len(window_starts(num_samples, network.window_samples)))

    def describe_slices(self, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute the means over the windows of slices of equal length, (slice, sample) -> (slice, feature)."""
        network = self._network
        starts = window_starts(samples.shape[1], network.window_samples)
        windows = np.stack([one[start : start + network.window_samples] for one in samples for start in starts])
        values = network.describe(windows, self.layer).astype(np.float64)
        return np.asarray(values.reshape(len(samples), len(starts), -1).mean(axis=1))

    @property
    def _network(self) -> "HfNetwork":
        wanted = ModelFolder(self.kind, self.digest)
        return _checked_network(self.folder or find_model_folder(wanted), wanted)


@lru_cache(maxsize=1)
def _checked_network(folder: Path, wanted: ModelFolder) -> "HfNetwork":
    """Load a model, once per process, and compare its hash."""
    if read_model_folder(folder) != wanted:
        raise UserError("the model was changed", key=folder, hint="start again")
    return _network(folder)


@lru_cache(maxsize=1)
def _network(folder: Path) -> "HfNetwork":
    from genregrid.features.hf_network import HfNetwork  # imports torch

    return HfNetwork(folder)
