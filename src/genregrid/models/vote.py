"""Several trained models as one, which vote by their weighted mean probability."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn

from genregrid.data.window import window_bounds, window_rows
from genregrid.errors import UserError
from genregrid.metrics.calibration import TEMPERATURES
from genregrid.metrics.vote import track_vote
from genregrid.models.argument import Allowed, is_number, is_whole
from genregrid.models.base import GenreClassifier
from genregrid.models.trained import model_class

_MOST_MEMBERS = 1000
_MOST_SLICES = 1_000_000
_KEYS = {"model_class", "arguments", "window", "hop_slices", "temperature", "weight"}


def _are_members(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= _MOST_MEMBERS and all(map(_is_member, value))


def _is_member(member: object) -> bool:
    def is_length(value: object) -> bool:
        return value is None or is_whole(value, 1, _MOST_SLICES)

    return (
        isinstance(member, Mapping)
        and set(member) == _KEYS
        and isinstance(member["model_class"], str)
        and isinstance(member["arguments"], Mapping)
        and is_length(member["window"])
        and is_length(member["hop_slices"])
        and is_number(member["temperature"], *TEMPERATURES)
        and is_number(member["weight"], 0, 1)
    )


Members = Annotated[Sequence[Any], Allowed(f"must be a list of 1 to {_MOST_MEMBERS} members", _are_members)]


class Vote(GenreClassifier):
    """A weighted soft vote of trained models. A window is a whole track; each member sees it in windows of its own.

    Args:
        members: for each its class, its arguments other than those of all models, the length of its windows and their
            hop in slices (``None`` for whole tracks, and for windows without overlap), its temperature, and its
            weight, 0 to 1.
        shared: arguments of `GenreClassifier`. The vote itself transforms nothing.

    Raises:
        UserError: a member of an unknown class, or an argument out of its range.
    """

    def __init__(self, *, members: Members, **shared: Any) -> None:
        super().__init__(**shared)
        common: dict[str, Any] = {
            "genres": self.genres,
            "feature_names": self.feature_names,
            "slice_seconds": self.slice_seconds,
        }
        classes = [model_class(member["model_class"]) for member in members]
        if any(issubclass(cls, Vote) for cls in classes):
            raise UserError("a member cannot be a vote itself", key="model.members")
        self.members = nn.ModuleList(
            cls(**member["arguments"], **common) for cls, member in zip(classes, members, strict=True)
        )
        self._members = list(members)

    def logits(self, batch: dict[str, Tensor]) -> Tensor:
        """Compute log-probabilities of the vote for a batch of raw features, (batch, genre) float32."""
        total = [
            self._voted(model, member, batch) + float(np.log(max(member["weight"], 1e-30)))
            for model, member in zip(self.members, self._members, strict=True)
        ]
        return torch.stack(total).logsumexp(dim=0)

    def _voted(self, model: nn.Module, member: Mapping[str, Any], batch: dict[str, Tensor]) -> Tensor:
        """Compute the calibrated log-probabilities of a member, (batch, genre), by the vote of its windows."""
        features, length = batch["features"], batch["length"].cpu().numpy()
        num, num_slices = features.shape[:2]
        sequence, start, stop = window_bounds(length, member["window"], member["hop_slices"])
        offset = sequence * num_slices
        rows = torch.from_numpy(window_rows(np.arange(num * num_slices), offset + start, offset + stop))
        flat = features.reshape(num * num_slices, -1)
        windows = flat[rows.clamp_min(0)].masked_fill((rows < 0).unsqueeze(2), 0)
        assert isinstance(model, GenreClassifier)
        logits = model.logits({"features": windows, "length": torch.from_numpy(stop - start)})
        voted = track_vote(logits.float(), torch.from_numpy(sequence))[0]
        temperature: float = member["temperature"]
        return (voted / temperature).log_softmax(dim=1)
