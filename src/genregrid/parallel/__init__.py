"""Tasks on many cores and on many machines."""
