"""The note of a recipe that lies beside a CSV: how its descriptors were computed."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import genregrid
from genregrid.data.feature_csv import SAMPLE_RATE_HZ
from genregrid.errors import UserError

#: What a corpus says whose descriptors were computed nobody knows how.
UNKNOWN_RECIPE = "unknown"


@dataclass(frozen=True)
class RecipeNote:
    """What is written beside a CSV about how it was made.

    Attributes:
        recipe: the recipe's name.
        slice_seconds: slice length in seconds.
        sha256: of the CSV, so that a note is not taken for that of another file of the same name.
    """

    recipe: str
    slice_seconds: float
    sha256: str

    def to_json(self) -> str:
        """The note as text."""
        content = {
            "recipe": self.recipe,
            "slice_seconds": self.slice_seconds,
            "sha256": self.sha256,
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "made_by": f"genregrid {genregrid.__version__}",
        }
        return json.dumps(content, indent=2) + "\n"


def note_path(csv_path: Path) -> Path:
    """Where the note of a CSV lies.

    >>> str(note_path(Path("mine/features_3_sec.csv")))
    'mine/features_3_sec.recipe.json'
    """
    return csv_path.with_suffix(".recipe.json")


def read_note(csv_path: Path) -> RecipeNote | None:
    """The note beside a CSV; ``None`` where there is none.

    Raises:
        UserError: the note cannot be read.
    """
    path = note_path(csv_path)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        note = RecipeNote(content["recipe"], float(content["slice_seconds"]), content["sha256"])
        if not (isinstance(note.recipe, str) and isinstance(note.sha256, str) and 0 < note.slice_seconds < math.inf):
            raise ValueError("the values are none of a note")
        return note
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        raise UserError(
            f"{path} is no note of a recipe: delete it and set dataset.recipe, or extract {csv_path.name} again."
        ) from None
