"""Weights & Biases: the logger, the dashboard and the workspace."""
