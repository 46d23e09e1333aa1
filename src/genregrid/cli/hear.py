"""Answer which genre a recording is, by a model that comes with genregrid: ``genregrid hear song.mp3``."""

import argparse
import sys
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from genregrid.errors import Options, UserError, command, printable
from genregrid.files import home_path
from genregrid.program import command_name
from genregrid.record.folder import check_replaceable

if TYPE_CHECKING:
    from genregrid.listening.score import Scorer
    from genregrid.listening.shipped import ChosenModel
    from genregrid.listening.timeline import ScoredRecording

_LONGEST = 1000  # characters of a printed path
_SOMETHING_SKIPPED = 3
_PAGE = "hear.html"
_WRITTEN = (_PAGE, "recordings.csv", "timeline.csv")


@command(extra="audio")
def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 3 if a recording was skipped."""
    options = _parser().parse_args(arguments)
    from genregrid.features.folder import recordings_in
    from genregrid.listening.ahead import DescribedAhead
    from genregrid.listening.shipped import choose_model
    from genregrid.recording.audio import AudioError

    # mistakes are found before torch is imported, which takes seconds
    files, chosen = recordings_in(options.audio), choose_model(options.model)
    if len(files) > 1 or options.out is not None:
        return _hear_all(files, chosen, options)
    ahead = None if chosen.source is None else DescribedAhead(files[0], chosen.source)
    scorer, about = _scorer(chosen)
    try:
        print(_answer(scorer.score(files[0], None if ahead is None else ahead.result())), flush=True)
    except AudioError as error:
        raise UserError(str(error), key=files[0]) from None
    print("\n".join(["", about, *chosen.advice()]))
    print(f"next: `{command_name('hear')} FOLDER` answers for all songs of a folder, on one page")
    return 0


def _hear_all(files: list[Path], chosen: "ChosenModel", options: argparse.Namespace) -> int:
    """Answer for several recordings, a line each; write a page and tables."""
    from genregrid.page.document import write_page
    from genregrid.page.limit import MOST_RECORDINGS

    folder = options.out or Path("outputs", "hear", f"{datetime.now():%Y%m%dT%H%M%S.%f}")
    _check_writable(folder)
    if replaced := check_replaceable(folder, _WRITTEN):
        print(replaced)
    scorer, about = _scorer(chosen)
    try:
        (folder / _PAGE).unlink(missing_ok=True)  # after an interruption, it would not belong to the tables
        done = scorer.score_all(files, folder, lambda _, one: print(_line(one), flush=True))
        has_page = 0 < len(done.scored) <= MOST_RECORDINGS
        if has_page:
            write_page(done.scored, folder / _PAGE, scorer.about, done.skipped)
    except KeyboardInterrupt:
        print(f"the answers so far are in {folder}", file=sys.stderr)
        raise
    except OSError as error:  # a full disk
        raise _unwritable(error, folder) from None
    if not done.scored:
        raise UserError(f"none of {len(files)} recordings could be scored", key=", ".join(map(str, options.audio)))
    skipped = [f"{len(done.skipped)} of {len(files)} recordings skipped; recordings.csv has the reasons"]
    print("\n".join(["", about, *chosen.advice(), *(skipped if done.skipped else [])]))
    if has_page:
        print(f"page: {folder / _PAGE}, with tables beside it")
    else:
        print(f"tables: {folder}; a page shows {MOST_RECORDINGS} recordings at most")
    return _SOMETHING_SKIPPED if done.skipped else 0


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, before the minutes that many recordings take.

    Raises:
        UserError: the folder, or the one that it would be made in, cannot be written.
    """
    parent = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        with TemporaryDirectory(dir=parent, prefix=".genregrid-"):
            pass
    except OSError as error:
        raise _unwritable(error, folder) from None


def _unwritable(error: OSError, folder: Path) -> UserError:
    problem = f"it cannot be written ({error.strerror or error})"
    return UserError(problem, key="--out", value=str(folder), hint="give another folder by --out")


def _parser() -> argparse.ArgumentParser:
    parser = Options(
        prog=command_name("hear"),
        description="Say which genre a recording is, and how sure the answer is. No training is needed.",
        epilog=f"examples: {command_name('hear')} song.mp3; {command_name('hear')} music; "
        f"{command_name('hear')} music --model latest",
    )
    parser.add_argument("audio", type=home_path, nargs="+", help="recordings, or folders of them")
    model = (
        "a checkpoint, the folder of a training, latest for the newest training below outputs/, or the name of a model "
        "that comes with genregrid; without it, the best of those that can be used here"
    )
    parser.add_argument("--model", metavar="MODEL", help=model)
    out = "folder for the page and the tables (of several recordings: outputs/hear/TIME)"
    parser.add_argument("--out", type=home_path, metavar="FOLDER", help=out)
    return parser


def _scorer(chosen: "ChosenModel") -> "tuple[Scorer, str]":
    """Load the model, and return it with a line about it.

    Raises:
        UserError: it cannot score recordings.
    """
    from genregrid.listening.score import Scorer  # torch takes seconds to import

    scorer = Scorer(chosen.checkpoint)
    return scorer, f"model: {chosen.name or chosen.checkpoint}, {scorer.about}"


def _answer(one: "ScoredRecording") -> str:
    lines = [f"{one.shares}; {one.certainty}", *one.style_lines]
    lines += [f"nearest training tracks: {', '.join(one.near)}"] if one.near else []
    lines += [f"note: {note}" for note in one.notes]
    first = f"{printable(one.file, _LONGEST)}: {printable(one.verdict.text)}"
    return "\n  ".join([first, *(printable(line, _LONGEST) for line in lines)])


def _line(one: "ScoredRecording") -> str:
    """Return the answer for one of several recordings."""
    more = f"; {'; '.join(one.style_lines)}" if one.style_lines else ""
    note = "; see its notes in recordings.csv" if one.notes else ""
    return printable(f"{one.file}: {one.verdict.text} ({one.shares}){more}{note}", _LONGEST)
