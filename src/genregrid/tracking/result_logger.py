"""The W&B logger of a run: epochs by Lightning, the result by `genregrid.tracking.dashboard`."""

from lightning.pytorch.loggers import WandbLogger

from genregrid.record.result import Result


class ResultWandbLogger(WandbLogger):
    """Lightning's W&B logger as a `genregrid.record.result.ResultLogger`."""

    def log_result(self, result: Result) -> None:
        """Log tables, charts and summary values of a result."""
        from genregrid.tracking.dashboard import log_result  # wandb takes a second to import

        log_result(self.experiment, result)

    def close(self, *, failed: bool) -> None:
        """End the W&B run, so that the next job of a multirun starts another one."""
        self.experiment.finish(exit_code=int(failed))
