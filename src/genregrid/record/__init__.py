"""One run as data: what was run, its result and its folder."""
