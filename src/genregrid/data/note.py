"""The note beside a CSV that names the recipe of its descriptors."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import genregrid
from genregrid.config import MOST_SLICE_SECONDS
from genregrid.data.columns import SAMPLE_RATE_HZ
from genregrid.errors import UserError
from genregrid.files import read_json
from genregrid.name import MOST_RECIPE_CHARACTERS, name_fault

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
    """Return the path of the note of a table, which may be packed.

    >>> str(note_path(Path("mine/features_3_sec.csv"))), str(note_path(Path("mine/features_3_sec.csv.gz")))
    ('mine/features_3_sec.recipe.json', 'mine/features_3_sec.recipe.json')
    """
    plain = csv_path.with_suffix("") if csv_path.suffix.lower() == ".gz" else csv_path
    return plain.parent / f"{plain.stem}.recipe.json"  # a folder such as . has no name whose suffix can be replaced


def read_note(csv_path: Path) -> RecipeNote | None:
    """Read the note beside a CSV; return ``None`` if there is none."""
    path = note_path(csv_path)
    if not path.exists():
        return None
    try:
        content = read_json(path)
        return _note(**{name: content[name] for name in ("recipe", "slice_seconds", "sha256")})
    except (ValueError, KeyError):  # so is UserError
        hint = f"delete it and set dataset.recipe, or extract {csv_path.name} again"
        raise UserError("it is no note of a recipe", key=path, hint=hint) from None


def _note(recipe: object, slice_seconds: object, sha256: object) -> RecipeNote:
    """Check the values of a note, which are of any type; raise ValueError if one is wrong."""
    if not isinstance(recipe, str) or name_fault(recipe, MOST_RECIPE_CHARACTERS):
        raise ValueError("a recipe has a name")
    if isinstance(slice_seconds, bool) or not isinstance(slice_seconds, int | float):
        raise ValueError("slice_seconds is a number")
    if not 0 < slice_seconds <= MOST_SLICE_SECONDS:
        raise ValueError("slice_seconds is out of range")
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError("a SHA-256 has 64 hexadecimal digits")
    return RecipeNote(recipe, float(slice_seconds), sha256)
