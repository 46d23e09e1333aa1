"""genregrid: music genre from sliced audio features, on honest protocols."""

__version__ = "0.1.0"
