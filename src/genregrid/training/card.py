"""What a final model keeps beside its weights: the card of its settings, and a map of its training tracks."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from genregrid.record.card import Card, TrackMap
from genregrid.record.facts import Provenance
from genregrid.training.build import Prepared


def add_card(ready: Prepared, card: Card | None) -> None:
    """Add a card and a map of the training tracks to what the model's checkpoint will keep."""
    provenance = Provenance.from_json(ready.model.provenance, "the model")
    ready.model.provenance = replace(provenance, card=card, map=_track_map(ready)).to_json()


def _track_map(ready: Prepared) -> TrackMap | None:
    """Map the tracks along the directions in which genres differ most; ``None`` if there are too few tracks for it."""
    table = ready.datamodule.table
    with torch.no_grad():
        slices = ready.model.transform(torch.from_numpy(np.asarray(table.features))).numpy().astype(np.float64)
    order = np.argsort(table.track, kind="stable")
    starts = np.append(0, np.cumsum(table.num_slices)[:-1])
    mean = np.add.reduceat(slices[order], starts) / table.num_slices[:, None]
    discriminant = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    try:
        discriminant.fit(mean, table.genre)
    except (ValueError, np.linalg.LinAlgError):  # a genre with one track has no spread
        return None
    num_axes = len(np.unique(table.genre)) - 1
    projection = discriminant.scalings_[:, :num_axes].astype(np.float32)
    return TrackMap(projection, mean.astype(np.float32) @ projection)
