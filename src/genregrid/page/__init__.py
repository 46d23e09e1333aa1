"""A web page that predicts the genre of recordings: served on this computer, or written as one file."""
