"""The note beside a CSV that names the recipe of its descriptors."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import genregrid
from genregrid.data.feature_csv import SAMPLE_RATE_HZ
from genregrid.errors import UserError

#: The recipe of a corpus if it is not known how its descriptors were computed.
UNKNOWN_RECIPE = "unknown"


@dataclass(frozen=True)
class RecipeNote:
    """How a CSV was made."""

    recipe: str
    slice_seconds: float
    sha256: str  # of the CSV, so that the note is not used for another file of the same name

    def to_json(self) -> str:
        """Return the note as text."""
        origin = {"sample_rate_hz": SAMPLE_RATE_HZ, "made_by": f"genregrid {genregrid.__version__}"}
        return json.dumps(vars(self) | origin, indent=2) + "\n"


def note_path(csv_path: Path) -> Path:
    """Return the path of a CSV's note.

    >>> str(note_path(Path("mine/features_3_sec.csv")))
    'mine/features_3_sec.recipe.json'
    """
    return csv_path.with_suffix(".recipe.json")


def read_note(csv_path: Path) -> RecipeNote | None:
    """Read the note beside a CSV; return ``None`` if there is none."""
    path = note_path(csv_path)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        note = RecipeNote(content["recipe"], float(content["slice_seconds"]), content["sha256"])
        if not (isinstance(note.recipe, str) and isinstance(note.sha256, str) and 0 < note.slice_seconds < math.inf):
            raise ValueError("a value of the note is out of range")
        return note
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        hint = f"delete it and set dataset.recipe, or extract {csv_path.name} again"
        raise UserError("it is no note of a recipe", key=path, hint=hint) from None
