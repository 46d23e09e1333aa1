"""What a run folder is called and holds: begun, finished or failed, and which run is the same again.

A run folder begins with config.yaml and ends with run.json or, where the run failed, with error.txt.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from genregrid.record.facts import identity_in

#: Why a run failed: one sentence, and below it what a programmer wants to know.
ERROR_FILE = "error.txt"


def run_folders(folder: Path) -> Iterator[tuple[Path, set[str]]]:
    """Run folders below a folder, begun, finished or failed, and the names of their files."""
    for path, inner, files in os.walk(folder):
        names = set(files)
        if names & {"config.yaml", "run.json", ERROR_FILE}:
            inner.clear()  # W&B's files lie deeper and are many
            yield Path(path), names


def why_failed(run: Path) -> str:
    """The sentence in a failed run's error.txt, which may be being written just now."""
    return ((run / ERROR_FILE).read_text(encoding="utf-8").splitlines() or ["failed"])[0]


def finished_run(folder: Path, identity: str) -> Path | None:
    """The finished run of an identity among a job's folder and those that differ from it in the job's number only.

    Args:
        folder: of the job, ``.../lstm-slice3-track-fold0-seed0-job12`` in a grid.
        identity: what `genregrid.record.facts.identity` says.
    """
    name = folder.name.rpartition("-job")[0]
    others = sorted(folder.parent.glob(f"{name}-job*")) if name else []
    for run in (folder, *others):
        path = run / "run.json"
        if path.is_file() and identity_in(json.loads(path.read_text(encoding="utf-8"))) == identity:
            return run
    return None
