"""Reports of many runs: tables, figures and a page; and ensembles of runs."""
