"""From feature CSVs to batches: table, reslice, split, window, DataModule."""
