"""Published values to compare with."""
