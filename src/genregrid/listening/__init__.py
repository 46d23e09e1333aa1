"""Recordings scored with a trained model."""
