"""A final model: its settings are scored by folds, then it is trained on every track."""
