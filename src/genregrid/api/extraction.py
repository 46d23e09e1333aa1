"""Describe recordings as a table: ``gg.extract("music/", slice=3)``."""

from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from genregrid.api.mistake import offered
from genregrid.api.table import Table, read_table
from genregrid.errors import UserError


@offered
def extract(
    music: str | PathLike[str],
    slice: float = 3.0,  # the word of all commands
    *,
    recipe: str = "kaggle",
    padding: str = "reflect",
    out: str | PathLike[str] | None = None,
    workers: int = 1,
    overwrite: bool = False,
    **settings: Any,
) -> Table:
    """Describe every recording of a folder, slice by slice, and return the table.

    Args:
        music: a folder with a folder of recordings for each genre, or a CSV with the columns path and label.
        slice: length of a slice in seconds.
        recipe: of the descriptors: ``kaggle`` (57), ``rich``, ``musicnn-msd`` ... (docs/features.md).
        padding: of the Fourier transform in handmade recipes, ``reflect`` or ``constant``.
        out: the CSV to write; ``None`` keeps no file.
        workers: processes.
        overwrite: whether to replace a CSV that exists.
        settings: as of `read_table`.

    Raises:
        UserError: there are no recordings, none could be described, the CSV exists, or the extra `audio` is missing.
    """
    try:
        import genregrid.recording.audio  # noqa: F401  # its packages are an extra
        from genregrid.features.extraction import extract as extract_files
        from genregrid.features.folder import find_tracks
        from genregrid.features.known_recipe import OPTIONS, Choice
        from genregrid.features.level import check_level
        from genregrid.features.recipe import MAX_SLICE_SECONDS, TableKey
    except ModuleNotFoundError as error:
        from genregrid.program import install_command

        hint = f"audio needs `{install_command('audio')}`"
        raise UserError("it is not installed", key=error.name, hint=hint) from None
    if recipe not in OPTIONS or recipe == "hf":
        names = ", ".join(name for name in OPTIONS if name != "hf")
        raise UserError("there is no such recipe", key="recipe", value=recipe, hint=f"choose one of {names}")
    if padding not in ("reflect", "constant"):
        raise UserError("choose reflect or constant", key="padding", value=padding)
    if isinstance(slice, bool) or not isinstance(slice, int | float):
        raise UserError("expected seconds, a number", key="slice", value=slice)
    if not 0 < slice <= MAX_SLICE_SECONDS:
        raise UserError(f"expected more than 0 and at most {MAX_SLICE_SECONDS:g} seconds", key="slice", value=slice)
    found = find_tracks(Path(music).expanduser())
    check_level(found)
    lines: list[str] = []
    with TemporaryDirectory(prefix="genregrid-") as folder:
        path = Path(folder) / "features.csv" if out is None else Path(out).expanduser()
        key = TableKey(OPTIONS[recipe](Choice(padding)), float(slice))  # type: ignore[arg-type]  # checked above
        path.parent.mkdir(parents=True, exist_ok=True)
        extract_files(found, {key: path}, num_workers=workers, overwrite=overwrite, report=lines.append)
        return read_table(path, slice, **settings)
