"""The command ``genregrid``: it starts the command that its first argument names.

It imports the standard library only, so that packages that are missing are reported in `start`.
"""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from genregrid import __version__
from genregrid.cli.start import run
from genregrid.errors import UserError, command
from genregrid.program import command_name, conf_folder, is_child

_COMMANDS = {
    "train": "train and test a model, or a grid of models; search settings",
    "evaluate": "score a trained model or recordings, let runs vote",
    "report": "report on the runs below a folder",
    "hear": "answer which genre a recording is, by a model that is there already",
    "features": "describe recordings in feature CSVs",
    "search": "report on a search of settings",
    "export": "write a trained model as a file for onnxruntime or torch",
    "page": "predict genres on a page in your browser",
}
#: Commands that have own options, and none of Hydra.
_MODULES = {
    "hear": "genregrid.cli.hear",
    "features": "genregrid.features.__main__",
    "search": "genregrid.search.__main__",
    "export": "genregrid.cli.export",
    "page": "genregrid.cli.page",
}
_EXAMPLES = {
    "hear song.mp3": "the genre of a song, without any training",
    "train model=lstm slice=3": "the paper's LSTM on a synthetic corpus",
    "evaluate checkpoint=latest audio=song.mp3": "the same by a model of your own",
    "report outputs": "a report on all runs",
}


def main() -> NoReturn:
    """Run the command that the command line names, and end this process with its exit code."""
    sys.exit(_main())


@command()
def _main() -> int:
    given = sys.argv[1:]
    if is_child():  # Lightning starts it with the arguments that `train` had
        given = ["train", *given]
    if not given or given[0] in ("--help", "-h", "--version"):
        print(f"genregrid {__version__}" if given == ["--version"] else _help())
        return 0 if given else 2
    name, arguments = given[0], given[1:]
    if name not in _COMMANDS:
        raise _unknown(name, given)
    if module := _MODULES.get(name):
        code: int = import_module(module).main(arguments)
        return code
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ctrl-C while packages are imported
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    sys.argv[1:] = _with_runs(arguments) if name == "report" else arguments
    return run("train" if name == "train" else "evaluate", conf_folder())


def _help() -> str:
    program = command_name("").rstrip()
    lines = ["Train music-genre classifiers on sliced audio features, and test them on music that they do not know."]
    examples = {f"{program} {words}": about for words, about in _EXAMPLES.items()}
    for title, rows in ((f"Commands, {program} COMMAND", _COMMANDS), ("Examples", examples)):
        width = max(map(len, rows))
        lines += ["", f"{title}:", *(f"  {name:{width}}  {about}" for name, about in rows.items())]
    return "\n".join([*lines, "", f"`{program} COMMAND --help` shows what a command takes."])


def _unknown(name: str, given: Sequence[str]) -> UserError:
    """Return the mistake of a first argument that is no command, with the command that was probably meant."""
    if "=" in name or name in ("-m", "--multirun"):
        evaluates = any(word.startswith(("checkpoint=", "runs=", "ensemble=")) for word in given)
        hint = f"begin with `{command_name('evaluate' if evaluates else 'train')}`"
    elif os.path.exists(name):
        hint = f"write `{command_name('hear')} {shlex.quote(name)}` for its genre"
    elif near := get_close_matches(name, _COMMANDS, n=1):
        hint = f"write `{command_name(near[0])}`"
    else:
        hint = f"choose one of {', '.join(_COMMANDS)}"
    return UserError("it is not a command", key=name, hint=hint)


def _with_runs(arguments: Sequence[str]) -> list[str]:
    """Write the folders of a report as the key that takes them.

    Raises:
        UserError: there is neither a folder nor a request for help.
    """
    from genregrid.cli.argument import bare_words
    from genregrid.cli.override import listed

    places = bare_words(arguments)
    folders = [arguments[place] for place in sorted(places)]
    others = [word for place, word in enumerate(arguments) if place not in places]
    if folders:
        return [f"runs={folders[0] if len(folders) == 1 else listed(folders)}", *others]
    if not any(word in ("--help", "-h") or word.startswith(("runs=", "--", "-c")) for word in others):
        raise UserError("it needs a folder", key="report", hint=f"write `{command_name('report')} outputs`")
    return others
