"""What is measured: scores by name, certainty, the vote of a track's windows, calibration, sets, comparison."""
