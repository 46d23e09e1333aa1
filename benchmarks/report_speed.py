"""Measure the time to write a report and the size of its page, compared with only reading the same predictions.

    python benchmarks/report_speed.py outputs/multirun/TIME

The peer is pandas, reading every predictions.csv of the runs. Every report must do this.
"""

import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from genregrid.report.writer import write_report

REPEATS = 3


def main(runs: Path) -> None:
    """Write `REPEATS` reports in one process and print seconds, their ratio to plain reading, and megabytes."""
    paths = sorted(runs.rglob("predictions.csv"))
    for _ in range(REPEATS):
        start = time.perf_counter()
        rows = sum(len(pd.read_csv(path)) for path in paths)
        read = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            report = write_report(runs, Path(folder), reference="paper")
            written = time.perf_counter()
            size = (report.folder / "report.html").stat().st_size
        took = written - read
        print(
            f"{len(paths)} runs, {rows} predictions: {took:.2f} s, {took / (read - start):.0f} times reading them; "
            f"report.html {size / 1e6:.2f} MB"
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/report_speed.py RUNS, a folder of runs")
    main(Path(sys.argv[1]))
