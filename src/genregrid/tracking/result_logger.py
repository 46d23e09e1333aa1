"""A W&B logger that also takes the result of a run, and closes its run."""

from lightning.pytorch.loggers import WandbLogger

from genregrid.record.result import Result


class ResultWandbLogger(WandbLogger):
    """Lightning's W&B logger as a `genregrid.record.result.ResultLogger`."""

    def log_result(self, result: Result) -> None:
        """Log tables, charts and summary values of a result."""
        from genregrid.tracking.dashboard import log_result  # wandb takes a second to import

        log_result(self.experiment, result)

    def close(self, *, failed: bool) -> None:
        """End the W&B run: the next job of a multirun must not write into it."""
        self.experiment.finish(exit_code=int(failed))
