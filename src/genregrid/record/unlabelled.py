"""Predictions for tracks without labels, which have no score: predictions.csv and timeline.csv, and no run.json."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genregrid.data.datamodule import GenreDataModule
from genregrid.data.duplicate import track_fingerprints
from genregrid.errors import counted, printable
from genregrid.exhibit.spreadsheet import write_csv
from genregrid.models.base import GenreClassifier, voted
from genregrid.record.facts import Provenance
from genregrid.record.folder import RESULT_FILES
from genregrid.record.result import prediction_table, timeline_table

_MOST_LINES = 20  # of tracks that are printed


@dataclass(frozen=True)
class Unlabelled:
    """Predictions of a model for tracks without labels.

    Attributes:
        title: of the model.
        predictions: a row per track: track, num_slices, the columns of `prediction_columns`, notes and, if the model
            has any, marks.
        timeline: a row per slice, as in `Result`, without genre.
    """

    title: str
    predictions: pd.DataFrame
    timeline: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write both tables into a folder that exists; a result that was there before is removed."""
        for name in RESULT_FILES:
            (folder / name).unlink(missing_ok=True)
        for name, table in (("predictions", self.predictions), ("timeline", self.timeline)):
            write_csv(table, folder / f"{name}.csv", index=False, float_format="%.6g")

    def summary(self) -> str:
        """Return how often each genre was predicted, and a line for each of the first tracks."""
        counts = self.predictions["predicted"].value_counts()
        named = ", ".join(f"{number} {printable(str(genre))}" for genre, number in counts.items())
        shown = self.predictions[["track", "predicted", "certainty", "second"]].head(_MOST_LINES)
        shown = shown.assign(**{name: shown[name].map(printable) for name in ("track", "predicted", "second")})
        shown["certainty"] = shown["certainty"].map("{:.2f}".format)
        rest = len(self.predictions) - len(shown)
        noted = int((self.predictions["notes"] != "").sum())
        lines = [
            "",
            self.title,
            f"{counted(len(self.predictions), 'track')} without a label, and so without scores: {named}",
            "",
            shown.to_string(index=False),
            *([f"... and {counted(rest, 'more track')} in predictions.csv"] if rest else []),
            "certainty in decades",
            *([f"{counted(noted, 'track has a note', 'tracks have notes')} in predictions.csv"] if noted else []),
        ]
        return "\n".join(lines)


def predict_unlabelled(
    model: GenreClassifier, datamodule: GenreDataModule, trained: Provenance, same_names: bool
) -> Unlabelled:
    """Predict the genre of every test track of `datamodule`; probabilities of tracks by a final model are calibrated.

    `same_names` is whether the names of tracks mean the recordings that the training named so.

    Raises:
        UserError: the logits of a window are not finite.
    """
    table = datamodule.table
    log_probs, _, track = voted(*model.predict_logits(datamodule.test_dataloader(), table.tracks))
    if trained.card is not None:
        log_probs = (log_probs / trained.card.temperature).log_softmax(dim=1)
    frame = prediction_table(table, "test", track, log_probs).drop(columns=["part", "genre"])
    frame.insert(1, "num_slices", table.num_slices[track.numpy()])
    prints = track_fingerprints(table)[track.numpy()].tolist()
    names = [{name} if same_names else set() for name in frame["track"]]
    frame["notes"] = ["; ".join(trained.notes_on(*one)) for one in zip(prints, names, strict=True)]
    if marks := trained.facts.marks:
        frame["marks"] = " ".join(marks)
    return Unlabelled(trained.title, frame, timeline_table(model, datamodule).drop(columns="genre"))
