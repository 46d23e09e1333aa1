"""Files that other people may have written, as checked data: checkpoints and the fitted estimators in them."""
