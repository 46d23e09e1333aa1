"""Serve a page that predicts genres in the browser: ``genregrid page [CHECKPOINT] [MUSIC ...]``."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from genregrid.cli.place import given_checkpoint
from genregrid.errors import Options, UserError, command
from genregrid.features.folder import recordings_in
from genregrid.files import files_below, home_path
from genregrid.listening.shipped import ChosenModel, choose_model, shipped_models
from genregrid.program import command_name
from genregrid.record.folder import BEST_CHECKPOINT
from genregrid.record.place import LATEST

_CHECKPOINT_SUFFIX = ".ckpt"
_MOST_PORT = 65_535


@command(extra="page")
def main(arguments: Sequence[str]) -> None:
    """Serve the page until ctrl-C.

    Raises:
        UserError: a path is neither a checkpoint nor music, there is no model, or the port cannot be used.
    """
    options = _options(arguments)
    import starlette  # noqa: F401  # the first to be reported if the extra is missing; torch takes seconds to import

    chosen, audio = _sorted_out(options.paths)
    recordings_in(audio)  # its mistakes come before torch is imported
    from genregrid.page.serve import serve

    for line in chosen.advice():
        print(line)
    serve(chosen.checkpoint, audio, options.port, opens_browser=not options.no_browser)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    name = command_name("page")
    parser = Options(
        prog=name,
        description="Show which genre recordings have, on a page in your browser. Recordings stay on this computer.",
        epilog=f"Examples:\n  {name}\n  {name} latest\n  {name} outputs/twin-synthetic/RUN music/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    about = (
        "a model (a checkpoint, the folder of a training, latest for the newest one, or the name of one that comes "
        "with genregrid), and recordings or folders of them to show"
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help=about)
    parser.add_argument("--port", type=_port, default=0, help="of 127.0.0.1; by default a free one")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    return parser.parse_intermixed_args(arguments)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= _MOST_PORT):
        raise argparse.ArgumentTypeError(f"expected a number from 0 to {_MOST_PORT}")
    return int(text)


def _sorted_out(paths: Sequence[str]) -> tuple[ChosenModel, list[Path]]:
    """Return the model among some paths, by default a shipped one, and the others, which are music.

    Raises:
        UserError: there are several checkpoints.
    """
    checkpoints = [text for text in paths if _is_checkpoint(text)]
    audio = [home_path(text) for text in paths if text not in checkpoints]
    if len(checkpoints) > 1:
        raise UserError("these are several checkpoints", key=", ".join(checkpoints), hint="give one")
    if not checkpoints:
        return choose_model(), audio
    if checkpoints[0] in _names():
        return choose_model(checkpoints[0]), audio
    return ChosenModel(given_checkpoint(str(home_path(checkpoints[0])))), audio


def _is_checkpoint(text: str) -> bool:
    path = home_path(text)
    if text == LATEST or text in _names() or path.suffix == _CHECKPOINT_SUFFIX:
        return True
    return path.is_dir() and next(files_below(path, [BEST_CHECKPOINT]), None) is not None


def _names() -> set[str]:
    return {model.name for model in shipped_models()}
