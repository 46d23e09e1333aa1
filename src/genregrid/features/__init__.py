"""Feature CSVs from audio: read recordings, cut them into slices, and describe these by a recipe."""
