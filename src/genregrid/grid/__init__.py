"""A grid of runs: its jobs and its progress."""
