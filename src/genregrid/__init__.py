"""genregrid: music genre from sliced audio features, on honest protocols."""

import re
import sys

__version__ = "0.1.0"

_COMMANDS = {"genregrid", "genregrid.features", "genregrid.search", "genregrid.tracking.workspace"}


def _refuse_no_command() -> None:
    """End ``python -m MODULE`` with exit code 2 if the module is no command: it would do nothing and exit with 0."""
    for word in sys.orig_argv[1:]:
        if found := re.fullmatch(r"(?:-[a-zA-Z]*m)?(genregrid(?:\.\w+)*)", word):
            if found[1].removesuffix(".__main__") not in _COMMANDS:
                sys.stderr.write(f"{found[1]}: it is not a command; `python -m genregrid --help` lists all.\n")
                sys.exit(2)
            return


if sys.argv[:1] == ["-m"]:  # Python imports this package to find the module that it is to run
    _refuse_no_command()
