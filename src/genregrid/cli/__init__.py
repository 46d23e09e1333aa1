"""Commands: which keys start and belong to each, how mistakes are reported, and exit codes."""
