"""Find run folders and their state.

A run writes config.yaml first and run.json last. A run that failed has error.txt instead of run.json.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from genregrid.record.facts import identity_in

#: The reason why a run failed: one sentence, and below it the traceback of an unexpected error.
ERROR_FILE = "error.txt"


def run_folders(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Yield run folders below a folder, started, finished or failed, and the names of their files."""
    for path, inner, files in os.walk(folder):
        names = set(files)
        if names & {"config.yaml", "run.json", ERROR_FILE}:
            inner.clear()  # W&B's many files are below
            yield Path(path), names


def why_failed(run: Path) -> str:
    """Return the sentence in a failed run's error.txt, which another process may still be writing."""
    return ((run / ERROR_FILE).read_text(encoding="utf-8").splitlines() or ["failed"])[0]


def finished_run(folder: Path, identity: str) -> Path | None:
    """Return the finished run of an identity in a job's folder, or in one that differs only in the job's number."""
    name = folder.name.rpartition("-job")[0]  # such as lstm-slice3-track-fold0-seed0-job12
    others = sorted(folder.parent.glob(f"{name}-job*")) if name else []
    for run in (folder, *others):
        path = run / "run.json"
        if path.is_file() and identity_in(json.loads(path.read_text(encoding="utf-8"))) == identity:
            return run
    return None
