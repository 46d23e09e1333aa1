"""Train one model on one corpus, slice length and protocol: ``python train.py model=lstm slice=3``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parent
    sys.path.append(str(root / "src"))  # without an installation, this finds the code that reports it
    from genregrid.cli.start import start

    start("train", root / "conf")
