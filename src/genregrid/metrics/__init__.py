"""Metrics: scores by name, certainty, the vote of a track's windows, calibration, conformal sets, comparison."""
