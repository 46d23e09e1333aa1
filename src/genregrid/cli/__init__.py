"""Commands: what a word on the command line means, and how a mistake is reported."""
