"""From audio to feature CSVs: recordings are read, cut into slices and described by a recipe."""
