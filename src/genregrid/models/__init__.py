"""Models: one file each, every one a LightningModule over the same batches."""
