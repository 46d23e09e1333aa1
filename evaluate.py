"""Score a checkpoint or recordings, let runs vote, or report on runs: ``python evaluate.py --help``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent
    sys.path.append(str(root / "src"))  # without an installation, this finds the code that reports it
    from genregrid.cli.start import start

    start("evaluate", root / "conf")
