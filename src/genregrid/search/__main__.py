"""Write the report of a search, while it runs or later: ``python -m genregrid.search outputs/studies/NAME``."""

import sys

from genregrid.errors import Options, command
from genregrid.files import home_path
from genregrid.program import command_name


@command(extra="search")
def main(arguments: list[str] | None = None) -> None:
    """Write a study's report and print its best settings."""
    parser = Options(prog=command_name("search"), description="Write the report of a search.")
    parser.add_argument("study", type=home_path, help="folder of the study, or its study.db")
    folder = parser.parse_args(arguments).study
    from genregrid.search.report import write_study_report  # Optuna is an extra

    print(write_study_report(folder))


if __name__ == "__main__":
    sys.exit(main())
