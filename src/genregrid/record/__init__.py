"""One run as data: its facts, its result and its folder."""
