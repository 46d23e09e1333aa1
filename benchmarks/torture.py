"""Look for faults for a chosen time: damaged inputs, attacks, and commands that are killed at random moments.

    python benchmarks/torture.py --minutes 60
    python benchmarks/torture.py --minutes 5 --area checkpoints --processes 2
    python benchmarks/torture.py --area checkpoints --case 1234

Each case has a number, which is the seed of all that is random in it. Cases are tried in the order of their numbers,
area by area in turn, from ``--first`` on. A case that is lost is kept in a folder with the command that runs it again.
ctrl-C ends the search and prints the table so far.
"""

import argparse
import itertools
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.faults.areas import AREAS, LONG_AREAS  # noqa: E402  # found by the path above
from tests.faults.process import Server  # noqa: E402  # found by the path above
from tests.faults.table import table  # noqa: E402  # found by the path above
from tests.faults.trial import Verdict, try_case  # noqa: E402  # found by the path above
from tests.faults.workshop import Workshop  # noqa: E402  # found by the path above


def main() -> int:
    """Run the cases that the command line asks for; the exit code is 1 if one is lost."""
    options = _parser().parse_args()
    every = {**AREAS, **LONG_AREAS}
    areas = options.area or list(every)
    if unknown := sorted({*areas} - {*every}):
        print(f"--area={unknown[0]}: choose among {', '.join(every)}", file=sys.stderr)
        return 2
    keep = options.keep
    keep.mkdir(parents=True, exist_ok=True)
    if options.case is not None:
        jobs: Iterator[tuple[str, int]] = iter([(area, options.case) for area in areas])
    else:
        last = None if options.cases is None else options.first + options.cases
        numbers = itertools.islice(itertools.count(), options.first, last)
        jobs = ((area, number) for number in numbers for area in areas)
    search = _Search(jobs, time.monotonic() + 60 * options.minutes, keep, options.show)
    with tempfile.TemporaryDirectory(prefix="torture-") as scratch:
        num_processes = 1 if options.case is not None else options.processes
        threads = [
            threading.Thread(target=search.work, args=(Path(scratch), index), daemon=True)
            for index in range(num_processes)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.5)
        except KeyboardInterrupt:
            search.stop()
            for thread in threads:
                thread.join(150)
    print(table(search.tried, search.lost))
    if search.errors:
        print(*search.errors, sep="\n", file=sys.stderr)
    return 1 if search.lost or search.errors else 0


class _Search:
    """The cases that several processes try, and how they ended."""

    def __init__(self, jobs: Iterator[tuple[str, int]], end: float, keep: Path, shows: bool) -> None:
        self._jobs = jobs
        self._end = end
        self._keep = keep
        self._shows = shows
        self._lock = threading.Lock()
        self.tried: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.errors: list[str] = []

    def stop(self) -> None:
        """Try no further case."""
        self._end = 0.0

    def work(self, scratch: Path, index: int) -> None:
        """Try one case after another until the time is over."""
        server = Server(scratch / f"server{index}")
        workshop = Workshop(scratch / "workshop", server)
        every = {**AREAS, **LONG_AREAS}
        while True:
            with self._lock:
                job = next(self._jobs, None) if time.monotonic() < self._end else None
            if job is None:
                break
            area, number = job
            try:
                verdict = try_case(area, every[area], number, workshop)
            except Exception as error:  # a fault of the search itself
                with self._lock:
                    self.errors.append(f"{area} {number}: {type(error).__name__}: {error}"[:600])
                continue
            self._note(verdict, workshop.folder / "cases" / f"{area}-{number}".replace(" ", "-"))
        server.close()

    def _note(self, verdict: Verdict, folder: Path) -> None:
        with self._lock:
            self.tried[verdict.area] += 1
            if self._shows:
                one = verdict.done[-1]
                print(
                    f"exit {one.code:3d}  {one.seconds:6.1f} s  {one.peak_bytes / 1e6:6.0f} MB  {verdict}", flush=True
                )
            if verdict.lost:
                self.lost[verdict.area] += 1
                print(f"LOST {verdict}\n     {verdict.reproduction}", flush=True)
                kept = self._keep / folder.name
                shutil.rmtree(kept, ignore_errors=True)
                _copy_small(folder, kept)
                text = f"{verdict.reproduction}\n{verdict}\n"
                for done in verdict.done:
                    text += f"\nexit code {done.code}, {done.seconds:.1f} s, {done.peak_bytes / 1e6:.0f} MB\n"
                    text += f"{done.out[-3000:]}\n{done.err[-5000:]}\n"
                (kept / "REPRODUCE.txt").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)


def _copy_small(folder: Path, kept: Path) -> None:
    """Copy the inputs of a case, but no file over 50 MB and nothing that is no regular file."""
    kept.mkdir(parents=True)
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 50_000_000:
            target = kept / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)


def _parser(arguments: Sequence[str] | None = None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="how long to look (60)")
    parser.add_argument("--area", action="append", help="one area, several times for several; all if left out")
    parser.add_argument("--first", "--seed", type=int, default=0, help="number of the first case of each area (0)")
    parser.add_argument("--case", type=int, help="try this case only")
    parser.add_argument("--processes", type=int, default=2, help="how many cases at once (2)")
    parser.add_argument("--cases", type=int, help="how many cases of each area; all that the time allows if left out")
    parser.add_argument("--show", action="store_true", help="print every case, with its seconds and memory")
    parser.add_argument("--keep", type=Path, default=Path("outputs/torture"), help="folder for what is lost")
    return parser


if __name__ == "__main__":
    sys.exit(main())
