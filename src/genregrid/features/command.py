"""The options of ``python -m genregrid.features``, and what it prints."""

import argparse
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, get_args

from tqdm import tqdm

from genregrid.errors import Options, UserError, counted, printable
from genregrid.features.extraction import Extracted, extract
from genregrid.features.folder import Found, find_tracks
from genregrid.features.known_recipe import OPTIONS, Choice
from genregrid.features.level import check_level
from genregrid.features.recipe import MAX_SLICE_SECONDS, MIN_SLICE_SECONDS, Recipe, TableKey
from genregrid.features.spectrum import Padding
from genregrid.features.weights import get_musicnn
from genregrid.files import home_path
from genregrid.parallel.pool import num_cores
from genregrid.program import command_name, next_line

_MOST_KINDS = 20  # of files that are not audio, in the summary
# Endings of files, which are no names of folders.
_OTHER_FILES = {".gz", ".bz2", ".xz", ".zst", ".zip", ".parquet", ".feather", ".txt", ".tsv", ".npz", ".npy", ".pkl"}
_OTHER_FILES |= {".json", ".xls", ".xlsx", ".h5", ".hdf5", ".arff"}
_SOMETHING_SKIPPED = 3  # not 1, which Python uses for a traceback


def run(arguments: list[str] | None) -> int:
    """Parse the options, extract and print a summary; the exit code is 0, or 3 if a recording was skipped."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.get:
        print(f"{printable(str(get_musicnn()))}: weights of musicnn")
        print(next_line("hear", "song.mp3"))
        return 0
    if missing := [name for name, value in (("source", options.source), ("--out", options.out)) if value is None]:
        parser.error(f"the following arguments are required: {', '.join(missing)}")
    recipes = _chosen_recipes(options)
    outputs = _outputs(recipes, options.slice, options.out)
    with _first_ctrl_c_only():
        found = find_tracks(options.source, options.labels)
        check_level(found)
        done = extract(
            found,
            outputs,
            num_workers=options.workers,
            ray_address=options.ray,
            overwrite=options.overwrite,
            report=tqdm.write,
            show_bar=None,
        )
    return _print_summary(found, outputs, done)


def _chosen_recipes(options: argparse.Namespace) -> list[Recipe]:
    """Make the recipes; beside `hf`, the weights of others are in the folder of weights."""
    hint = "leave it out, or choose another --recipe"
    if options.layer is not None and "hf" not in options.recipe:
        raise UserError("only the recipe hf has layers", key="--layer", value=options.layer, hint=hint)
    recipes = [
        OPTIONS[name](
            Choice(options.padding, None if "hf" in options.recipe and name != "hf" else options.weights, options.layer)
        )
        for name in options.recipe
    ]
    if options.weights is not None and not any(recipe.has_weights for recipe in recipes):
        problem = f"the recipe {','.join(options.recipe)} has no weights"
        raise UserError(problem, key="--weights", value=options.weights, hint=hint)
    return recipes


@contextmanager
def _first_ctrl_c_only() -> Iterator[None]:
    """Let the first ctrl-C stop the run, and ignore later ones, which would interrupt the clean-up."""

    def interrupt(*_: object) -> NoReturn:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:  # after ctrl-C the signal stays ignored until the process ends
            signal.signal(signal.SIGINT, before)


def _parser() -> argparse.ArgumentParser:
    parser = Options(
        prog=command_name("features"),
        description="Describe every recording of a corpus, slice by slice, in feature CSVs (data/README.md).",
    )
    source = "a folder with one folder per genre, or a CSV of path, label [, artist]"
    parser.add_argument("source", type=home_path, nargs="?", help=source)
    labels = "FMA's tracks.csv, which has genres and artists for a folder of its recordings"
    parser.add_argument("--labels", type=home_path, metavar="FILE", help=labels)
    parser.add_argument("--slice", type=_slice_seconds, default=[3.0], help="seconds, or several: 1,3,6,9,30 (3)")
    parser.add_argument("--out", type=_out, help="the CSV; for several recipes or slice lengths a folder")
    recipes = f"descriptors: {', '.join(OPTIONS)}, or several of them (kaggle)"
    parser.add_argument("--recipe", type=_recipes, default=["kaggle"], help=recipes)
    paddings = "reflect as Kaggle's files, constant as librosa's now"
    parser.add_argument("--padding", choices=get_args(Padding), default="reflect", help=paddings)
    weights = "a folder of a transformers model for hf; the wheel of musicnn, if --get did not fetch it"
    parser.add_argument("--weights", type=home_path, metavar="PATH", help=weights)
    layer = "of hf: 0 is the input of the first layer, n the output of the n-th, -1 the last (-1)"
    parser.add_argument("--layer", type=_layer, metavar="N", help=layer)
    parser.add_argument("--get", choices=["musicnn"], help="fetch weights by pip (29 MB), and do nothing else")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=_workers, default=num_cores(), help="processes (one per core)")
    where.add_argument("--ray", metavar="ADDRESS", help="describe on a Ray cluster: auto, or HOST:PORT of its head")
    parser.add_argument("--overwrite", action="store_true", help="replace CSVs that exist")
    return parser


def _slice_seconds(text: str) -> list[float]:
    try:
        seconds = sorted({float(f"{float(part):g}") for part in text.split(",")})  # file names use this form
    except ValueError:
        problem = f"'{printable(text, 60)}' is not seconds, such as 3 or 1,3,6"
        raise argparse.ArgumentTypeError(problem) from None
    if not all(MIN_SLICE_SECONDS <= number <= MAX_SLICE_SECONDS for number in seconds):
        raise argparse.ArgumentTypeError(f"a slice lasts {MIN_SLICE_SECONDS:g} to {MAX_SLICE_SECONDS:g} seconds")
    return seconds


def _recipes(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in OPTIONS]:
        problem = f"invalid choice: '{printable(unknown[0], 60)}' (choose from {', '.join(OPTIONS)})"
        raise argparse.ArgumentTypeError(problem)
    return names


def _workers(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError("1 process or more")
    return int(text)


def _layer(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,4}", text, re.ASCII):
        raise argparse.ArgumentTypeError("a whole number, such as 6 or -1")
    return int(text)


def _out(text: str) -> Path:
    path = home_path(text)
    if not text:
        raise argparse.ArgumentTypeError("it is empty; give a CSV or a folder")
    is_file = path.suffix.lower() == ".csv" and not path.is_dir()
    if path.suffix.lower() in _OTHER_FILES and not path.is_dir():
        name = re.sub(r"\.csv$", "", path.stem, flags=re.IGNORECASE)
        problem = f"'{printable(path.name, 60)}' is the name of another kind of file, and only CSVs are written"
        raise argparse.ArgumentTypeError(f"{problem}; give {printable(name, 60)}.csv, or a folder")
    folders = path.parents if is_file else (path, *path.parents)
    if other := next((folder for folder in folders if folder.exists() and not folder.is_dir()), None):
        raise argparse.ArgumentTypeError(f"'{printable(str(other), 200)}' is not a folder")
    return path


def _outputs(recipes: list[Recipe], slice_seconds: list[float], out: Path) -> dict[TableKey, Path]:
    """Return the path of the CSV of each recipe and slice length.

    In a folder, the 57 have the names of Kaggle's files, and so has a handmade recipe alone; others add theirs.
    """
    for recipe in recipes:
        if min(slice_seconds) < recipe.min_slice_seconds:
            hint = f"a slice lasts {recipe.min_slice_seconds:g} to {MAX_SLICE_SECONDS:g} seconds"
            problem = f"too short for the recipe {recipe.option}"
            raise UserError(problem, key="--slice", value=f"{min(slice_seconds):g}", hint=hint)
    if out.suffix.lower() == ".csv" and not out.is_dir():
        if len(recipes) * len(slice_seconds) > 1:
            several = f"{len(slice_seconds)} slice lengths" if len(recipes) == 1 else f"{len(recipes)} recipes"
            raise UserError(f"one file for {several}", key="--out", value=out, hint="give a folder")
        return {TableKey(recipes[0], slice_seconds[0]): out}
    outputs = {}
    for recipe in recipes:
        ending = recipe.file_ending or (f".{recipe.option}" if len(recipes) > 1 and recipe.option != "kaggle" else "")
        for seconds in slice_seconds:
            outputs[TableKey(recipe, seconds)] = out / f"features_{seconds:g}_sec{ending}.csv"
    return outputs


def _print_summary(found: Found, outputs: dict[TableKey, Path], done: Extracted) -> int:
    """Print what was written and what was skipped; return the exit code."""
    for (recipe, seconds), path in outputs.items():
        written, shown = done.written[TableKey(recipe, seconds)], printable(str(path))
        if written.num_slices:
            slices, tracks = counted(written.num_slices, "slice"), counted(written.num_tracks, "track")
            genres = counted(written.num_genres, "genre")
            print(f"{shown}: {slices} of {seconds:g} s of {tracks} in {genres}, recipe {recipe.name}")
        else:
            print(f"{shown}: not written, no recording has a slice of {seconds:g} s")
    if found.ignored:
        kinds = ", ".join(
            f"{count} {printable(suffix, 20)}" for suffix, count in found.ignored.most_common(_MOST_KINDS)
        )
        more = ", ..." if len(found.ignored) > _MOST_KINDS else ""
        print(f"not audio, ignored: {kinds}{more}")
    if done.num_skipped:
        print(f"{done.num_skipped} skipped; {printable(str(done.tracks_path))} lists the reasons")
    if first := next((path for table, path in outputs.items() if done.written[table].num_slices), None):
        print(next_line("train", str(first)))
    everything = done.num_skipped == 0 and all(written.num_slices for written in done.written.values())
    return 0 if everything else _SOMETHING_SKIPPED
