"""What a W&B dashboard shows of a result: tables, charts and summary values."""

from typing import Any

import wandb

from genregrid.report.result import Result


def log_result(run: Any, result: Result) -> None:
    """Log tables, charts and the summary values of every headline number.

    Args:
        run: the `wandb.Run`.
        result: the run's result.
    """
    table = result.per_genre()
    genres = result.genres
    number = {genre: index for index, genre in enumerate(genres)}
    per_genre = wandb.Table(dataframe=table)
    charts: dict[str, Any] = {
        "test/per_genre": per_genre,
        "test/predictions": wandb.Table(dataframe=result.predictions),
    }
    for name in ("precision", "recall", "f1", "certainty"):
        charts[f"test/{name}_by_genre"] = wandb.plot.bar(per_genre, "genre", name, title=f"{name}: {result.title}")
    charts["test/certainty_against_recall"] = wandb.plot.scatter(
        per_genre, "certainty", "recall", title=f"certainty against recall: {result.title}"
    )
    charts["test/confusion"] = wandb.plot.confusion_matrix(
        y_true=result.predictions["genre"].map(number).tolist(),
        preds=result.predictions["predicted"].map(number).tolist(),
        class_names=genres,
        title=f"tracks, true against predicted: {result.title}",
    )
    run.log(charts)
    low, high = result.interval
    run.summary.update(result.scores | {"test/accuracy_low": low, "test/accuracy_high": high})
