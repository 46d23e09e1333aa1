"""The entry of the commands that Hydra configures.

It imports the standard library only, so that it can report packages that are missing.
"""

import signal
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from genregrid.errors import UserError, command
from genregrid.program import is_installed

_SET_UP = "python3 -m venv .venv && . .venv/bin/activate && pip install -e . -c constraints.txt"


def start(name: str, conf: Path) -> NoReturn:
    """Run the command of this name, which is that of its module in this room and of its YAML file in `conf`."""
    sys.exit(run(name, conf))


@command()
def run(name: str, conf: Path) -> int:
    """Run a command as `start` does, and return its exit code."""
    try:
        version("genregrid")  # results name it
        from genregrid.cli.overview import overview
        from genregrid.cli.script import run_script

        main = import_module(f"genregrid.cli.{name}")
    except ModuleNotFoundError as error:
        hint = f"run `. .venv/bin/activate`, or set up once with `{_SET_UP}`"
        if is_installed():
            hint = "run `pip install genregrid`, which installs what is missing"
        raise UserError("not installed in this Python", key=error.name, hint=hint) from None
    if callable(signal.getsignal(signal.SIGINT)):  # no longer that of the script, which ends without a word
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not {"--help", "-h"}.isdisjoint(sys.argv):
        print(overview(name, conf, main.ABOUT, main.USAGES))
    return run_script(main.main, main.OPTIONAL_GROUPS, conf, name)
