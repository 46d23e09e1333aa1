"""Report of a search, at any time: ``python -m genregrid.search outputs/studies/NAME``."""

import argparse
import sys
from pathlib import Path

from genregrid.errors import UserError
from genregrid.search import require_optuna


def main(arguments: list[str] | None = None) -> int:
    """Write a study's report and print its best settings; exit code 2 for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m genregrid.search", description="Write the report of a search.")
    parser.add_argument("study", type=Path, help="folder of the study, or its study.db")
    folder = parser.parse_args(arguments).study
    try:
        require_optuna()
        from genregrid.search.report import write_study_report

        print(write_study_report(folder))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
