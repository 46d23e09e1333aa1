"""Run ``genregrid`` as ``python -m genregrid``."""

from genregrid.cli.main import main

if __name__ == "__main__":  # worker processes import this file too
    main()
