"""How this process was started, and where its configuration is: in a checkout, or in an installation."""

import os
import shlex
import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED_CONF = _PACKAGE / "conf"  # setup.py puts it there; in a checkout it is beside src
# The process that starts others sets it to its own number, so the variable means nothing in any other process.
PARENT = "GENREGRID_PARENT"
_MODULES = ("features", "search")  # rooms with a __main__.py
_TYPED = {"train": "python train.py", "evaluate": "python evaluate.py"}


def conf_folder() -> Path:
    """Return the folder of the configuration: that of the wheel, otherwise that of the checkout."""
    return _INSTALLED_CONF if is_installed() else _PACKAGE.parents[1] / "conf"


def is_installed() -> bool:
    """Return whether this is an installation of a wheel, which has no scripts; an editable one is a checkout."""
    return _INSTALLED_CONF.is_dir()


def command_name(name: str) -> str:
    """Return what starts a command of this program, in the form that the user typed, for hints and examples.

    This is ``genregrid train``, ``python -m genregrid train`` or ``python train.py``. A checkout has scripts, so they
    are the form there if something else started this process, such as a notebook.

    Args:
        name: ``train``, ``evaluate``, ``features``, ``search`` or ``export``.

    >>> command_name("train"), command_name("features")
    ('python train.py', 'python -m genregrid.features')
    """
    started = Path(sys.argv[0] if sys.argv else "")
    if started.name == "__main__.py" and started.parent == _PACKAGE:
        return f"python -m genregrid {name}"
    if started.stem == "genregrid" or is_installed():
        return f"genregrid {name}"
    return _TYPED.get(name, f"python -m genregrid{'.' if name in _MODULES else ' '}{name}")


def next_line(name: str, *words: str) -> str:
    """Return the line that ends the output of a command: what to type next.

    >>> next_line("evaluate", "runs=my runs")
    "next: `python evaluate.py 'runs=my runs'`"
    """
    return f"next: `{command_name(name)} {shlex.join(words)}`"


def is_child() -> bool:
    """Return whether Lightning started this process for a run on several devices."""
    return os.environ.get(PARENT) == str(os.getppid())


def install_command(extra: str) -> str:
    """Return the command that installs an extra of pyproject.toml.

    >>> install_command("audio")
    'pip install -e ".[audio]"'
    """
    return f'pip install "genregrid[{extra}]"' if is_installed() else f'pip install -e ".[{extra}]"'
