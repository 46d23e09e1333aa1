"""Run tasks on many cores and on many machines."""
