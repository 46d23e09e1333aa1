"""Write feature CSVs of a music folder: ``python -m genregrid.features FOLDER --slice 3 --out features_3_sec.csv``."""

import sys

from genregrid.errors import command


@command(extra="audio", resume="run the same command again to resume")
def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 0, or 3 if a recording was skipped."""
    from genregrid.features.command import run  # soundfile and soxr are an extra

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
