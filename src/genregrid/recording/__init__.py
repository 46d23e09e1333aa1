"""Recordings: what a file holds, and its samples block by block."""
