"""Search the settings of a model with Optuna, on validation tracks only."""
