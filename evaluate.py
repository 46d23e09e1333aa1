"""Score a checkpoint or recordings, let runs vote, or report on runs: ``python evaluate.py --help``."""

import os
import signal
import sys

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ctrl-C while packages are imported
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from pathlib import Path

    root = Path(__file__).resolve().parent
    sys.path.append(str(root / "src"))  # without an installation, this finds the code that reports it
    from genregrid.cli.start import start

    start("evaluate", root / "conf")
