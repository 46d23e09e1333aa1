"""Make loggers: the targets of conf/logger/*.yaml. Lightning takes seconds to import, so functions import it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from genregrid.record.facts import RunFacts
from genregrid.tracking.wandb_run import start_run

if TYPE_CHECKING:
    from lightning.pytorch.loggers import CSVLogger

    from genregrid.tracking.result_logger import ResultWandbLogger


def csv_logger(*, folder: Path, **_: Any) -> "CSVLogger":
    """Make a logger that writes metrics.csv, epoch by epoch, into the run folder."""
    from lightning.pytorch.loggers import CSVLogger

    return CSVLogger(folder, name="", version="")


def wandb_logger(
    *, facts: RunFacts, folder: Path, project: str = "genregrid", mode: str = "auto", group: str | None = None
) -> "ResultWandbLogger":
    """Make a logger for one run: its facts give name, tags and config, and the group if that is ``None``.

    Raises:
        UserError: an unknown mode, see `start_run`.
    """
    from genregrid.tracking.result_logger import ResultWandbLogger

    cell = f"{facts.dataset_label}/{facts.cell_name}"
    kind = "evaluate" if facts.checkpoint else "search" if facts.search else "train"
    run = start_run(
        folder,
        mode,
        project=project,
        name=f"{cell}-fold{facts.fold}-seed{facts.seed}" + ("" if kind == "train" else f"-{kind}"),
        group=group or cell,
        job_type=kind,
        tags=[facts.model, facts.dataset_label, facts.split_label, f"slice{facts.slice_seconds:g}", *facts.marks],
        config=facts.to_json(),
    )
    return ResultWandbLogger(experiment=run)
