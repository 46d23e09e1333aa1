"""Find run folders, know their state, and read their files.

A run writes config.yaml first and run.json last. A run that failed has error.txt instead of run.json.

run.json has the SHA-256 of every other file, and of its own content. So a file that was changed, by hand or by a fault
of a disk, is found before a number is made of it. Runs of older versions have no hashes. A hash finds accidents: who
changes a file on purpose can change its hash too.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any

import pandas as pd

from genregrid.errors import UserError, printable
from genregrid.exhibit.spreadsheet import MOST_BYTES, parse_csv
from genregrid.files import canonical, check_regular, files_below, parse_yaml, read_bytes, read_json, sha256_of
from genregrid.record.facts import identity_in

#: The epoch with the lowest validation loss.
BEST_CHECKPOINT = "checkpoint.ckpt"
#: The file from which an interrupted run resumes; a finished run has none.
LAST_CHECKPOINT = "last.ckpt"
#: The reason why a run failed: one sentence, and below it the traceback of an unexpected error.
ERROR_FILE = "error.txt"
#: What a user can do about a run folder with a damaged file.
REPAIR = "remove the run folder or run it again"
#: Files that `genregrid.record.result.Result` writes.
RESULT_FILES = (
    *("run.json", "metrics.json", "per_genre.csv", "predictions.csv", "predictions_val.csv", "timeline.csv"),
    *("split.csv", "curves.csv", "confusion.csv", "confusion_slice.csv", "card.md"),
)
_FILES, _OWN = "files", "sha256"  # keys of run.json
_SENTENCE_BYTES = 2000  # of error.txt; the rest is a traceback
# Text by which a file is recognised as ours; older versions wrote it too.
_SIGNATURES = {
    "run.json": b'"slice_seconds":',
    "config.yaml": b"\ndataset:\n",
    "predictions.csv": b",predicted,certainty,",
    "recordings.csv": b"\nfile,seconds,",
    "report.html": b"<title>genregrid report",
}
_SIGNED_BYTES = 1 << 16  # in which the text is found
_NAMES = ("track", "part", "genre", "predicted", "second", "third")  # columns of text


def run_folders(folder: Path, more: Iterable[str] = ()) -> Iterator[tuple[Path, set[str]]]:
    """Yield run folders below a folder, started, finished or failed, and which of their files show this state.

    Folders that have a file of one of the names `more` are yielded too.
    """
    yield from files_below(folder, ("config.yaml", "run.json", ERROR_FILE, *more))


def why_failed(run: Path) -> str:
    """Return the sentence in a failed run's error.txt, which another process may still be writing."""
    check_regular(run / ERROR_FILE, key=run / ERROR_FILE)
    with (run / ERROR_FILE).open("rb") as file:
        lines = file.read(_SENTENCE_BYTES).decode("utf-8", "replace").splitlines()
    return printable(lines[0]) if lines else "failed"


def check_replaceable(folder: Path, names: Iterable[str]) -> str | None:
    """Check that a run may replace files of these names: they are of an earlier run, or there are none.

    A folder of such a name is never replaced: whoever writes the file refuses it.

    Returns:
        A line to print before a finished run is replaced, or ``None``.

    Raises:
        UserError: the folder has such a file, and no file that genregrid wrote.
    """
    found = sorted(name for name in names if os.path.lexists(folder / name) and not (folder / name).is_dir())
    if not found:
        return None
    if not is_ours(folder):
        problem = "it would be replaced, and no file shows that genregrid wrote this folder"
        raise UserError(problem, key=folder / found[0], hint="give another folder, or move the file away")
    if not (folder / "run.json").is_file():
        return None
    try:
        model = read_run_json(folder / "run.json").get("model")
    except UserError:
        return None
    return f"{printable(str(folder))}: its finished run of {printable(str(model))} is replaced"


def is_ours(folder: Path) -> bool:
    """Return whether genregrid wrote a folder: a run, predictions, scored recordings or a report."""
    for name, text in _SIGNATURES.items():
        if (folder / name).is_file():
            with suppress(OSError), (folder / name).open("rb") as file:
                if text in b"\n" + file.read(_SIGNED_BYTES):
                    return True
    return False


def with_hashes(content: Mapping[str, Any], folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """Add to the content of run.json the hashes of those of its folder's files that are there, and its own hash."""
    files = {name: sha256_of(folder / name) for name in sorted(names) if (folder / name).is_file()}
    sealed = {**content, _FILES: files}
    return sealed | {_OWN: _hash_of(sealed)}


def read_run_json(path: Path) -> dict[str, Any]:
    """Read a run.json.

    Raises:
        UserError: it is damaged, or it was changed after the run.
    """
    content = read_json(path, hint=REPAIR)
    own = content.get(_OWN)
    if own is not None and own != _hash_of({name: value for name, value in content.items() if name != _OWN}):
        raise UserError("it was changed after the run", key=path, hint=REPAIR)
    files = content.get(_FILES, {})
    if (own is None) != (_FILES not in content) or not isinstance(files, dict):
        raise UserError(f"it has only one of the keys '{_FILES}' and '{_OWN}'", key=path, hint=REPAIR)
    return content


def _hash_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content).encode()).hexdigest()


class RunFolder:
    """The files of a finished run. A file that differs from what the run wrote is refused before it is read.

    Attributes:
        path: of the folder.
        content: of run.json.
    """

    def __init__(self, path: Path) -> None:
        """Read run.json; errors as in `read_run_json`."""
        self.path = path
        self.content = read_run_json(path / "run.json")
        self._hashes: Mapping[str, str] = self.content.get(_FILES, {})

    def has(self, name: str) -> bool:
        """Return whether there is a file of that name, of whatever kind."""
        return os.path.lexists(self.path / name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those files that the run wrote and that are not there any more."""
        return [name for name in names if name in self._hashes and not self.has(name)]

    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            UserError: it is missing, no regular file, too large, or was changed after the run.
        """
        path = self.path / name
        content = read_bytes(path, most_bytes=MOST_BYTES, hint=REPAIR)
        self._compare(path, hashlib.sha256(content).hexdigest())
        return content

    def csv(self, name: str, needed: Iterable[str] = ()) -> pd.DataFrame:
        """Read a CSV; names such as `None`, `NA` or `000010` stay text, and numbers may be missing."""
        return parse_csv(self.read(name), self.path / name, _NAMES, needed, hint=REPAIR)

    def config(self) -> dict[str, Any]:
        """Read config.yaml as plain data; empty if there is none."""
        if not self.has("config.yaml"):
            return {}
        return parse_yaml(self.read("config.yaml"), self.path / "config.yaml", hint=REPAIR)

    def check(self) -> None:
        """Compare every file that is there with its hash.

        Raises:
            UserError: one was changed after the run.
        """
        for name in self._hashes:
            if self.has(name):
                check_regular(self.path / name, key=self.path / name, hint=REPAIR)
                self._compare(self.path / name, sha256_of(self.path / name))

    def _compare(self, path: Path, digest: str) -> None:
        if self._hashes.get(path.name, digest) != digest:
            raise UserError("it was changed after the run", key=path, hint=REPAIR)


def finished_run(folder: Path, identity: str) -> Path | None:
    """Return the finished run of an identity in a job's folder, or in one that differs only in the job's number.

    Raises:
        UserError: a file of that run was changed after the run, or run.json in the job's folder is damaged.
    """
    name = folder.name.rpartition("-job")[0]  # such as lstm-slice3-track-fold0-seed0-job12
    others = sorted(folder.parent.glob(f"{escape(name)}-job*")) if name else []
    for run in (folder, *others):
        if not (run / "run.json").is_file():
            continue
        try:
            found = RunFolder(run)
        except UserError:
            if run == folder:
                raise
            continue  # of another job, which names its mistake itself
        if identity_in(found.content) == identity:
            found.check()
            return run
    return None
