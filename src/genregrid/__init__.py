"""genregrid: music genre from sliced audio features, on honest protocols."""

import re
import sys

TYPE_CHECKING = False  # true for type checkers; importing `typing` would take longer than all else here
if TYPE_CHECKING:
    from genregrid.api.extraction import extract as extract
    from genregrid.api.protocol import TrackSplit as TrackSplit
    from genregrid.api.protocol import split as split
    from genregrid.api.setting import settings as settings
    from genregrid.api.table import Table as Table
    from genregrid.api.table import read_corpus as read_corpus
    from genregrid.api.table import read_table as read_table
    from genregrid.api.trained import Model as Model
    from genregrid.api.trained import load as load
    from genregrid.api.training import TrainResult as TrainResult
    from genregrid.api.training import train as train
    from genregrid.api.validation import CrossValidation as CrossValidation
    from genregrid.api.validation import compare as compare
    from genregrid.api.validation import cross_validate as cross_validate
    from genregrid.errors import UserError as UserError

__version__ = "0.1.0"

# Names for notebooks, and their modules, which are imported when they are used: torch takes seconds.
_OFFERED = {
    "CrossValidation": "api.validation",
    "Model": "api.trained",
    "Table": "api.table",
    "TrackSplit": "api.protocol",
    "TrainResult": "api.training",
    "UserError": "errors",
    "compare": "api.validation",
    "cross_validate": "api.validation",
    "extract": "api.extraction",
    "load": "api.trained",
    "read_corpus": "api.table",
    "read_table": "api.table",
    "settings": "api.setting",
    "split": "api.protocol",
    "train": "api.training",
}
_COMMANDS = {"genregrid", "genregrid.features", "genregrid.search", "genregrid.tracking.workspace"}


def __getattr__(name: str) -> object:
    """Import a name that is offered to notebooks."""
    from importlib import import_module

    if name not in _OFFERED:
        raise AttributeError(f"module 'genregrid' has no attribute '{name}'")
    return getattr(import_module(f"genregrid.{_OFFERED[name]}"), name)


def __dir__() -> list[str]:
    """List what is offered too."""
    return sorted({*globals(), *_OFFERED})


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
