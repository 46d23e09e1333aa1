"""One run: built, fitted, tested and written."""
