"""Log a result or a report to W&B: tables, charts and summary values."""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd
import wandb

from genregrid.exhibit.mark import Mark, union
from genregrid.exhibit.table import Figure, Section, Table
from genregrid.metrics.calibration import reliability
from genregrid.metrics.selective import risk_coverage
from genregrid.record.facts import cell_name
from genregrid.report.cell import Cell
from genregrid.report.writer import Report
from genregrid.tracking.wandb_run import start_run

if TYPE_CHECKING:
    from genregrid.record.result import Result  # imports torch, which a report does not need


def log_result(run: Any, result: "Result") -> None:
    """Log tables, charts and summary values of a result to a `wandb.Run`."""
    genres = result.genres
    number = {genre: index for index, genre in enumerate(genres)}
    known = result.per_genre()
    known = known[known["num"] > 0].astype(object)  # a chart would show a genre without tracks as 0
    per_genre = wandb.Table(dataframe=known.where(known.notna(), None))
    predictions = wandb.Table(dataframe=result.predictions)
    charts: dict[str, Any] = {"test/per_genre": per_genre, "test/predictions": predictions}
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
    run.log(charts | _trust(result))
    low, high = result.interval
    bounds = {} if math.isnan(low) else {"test/accuracy_low": low, "test/accuracy_high": high}
    run.summary.update({name: value for name, value in result.scores.items() if not math.isnan(value)} | bounds)


def _trust(result: "Result") -> dict[str, Any]:
    """Return charts that relate certainty to correctness."""
    predictions = result.predictions
    correct = predictions["genre"] == predictions["predicted"]
    confidence = predictions[[f"p_{genre}" for genre in result.genres]].max(axis=1)
    bins = wandb.Table(dataframe=reliability(confidence, correct))
    coverage, risk, _ = risk_coverage(predictions["certainty"], correct)
    curve = wandb.Table(dataframe=pd.DataFrame({"coverage": coverage, "risk": risk}))
    title = f"errors among the most certain tracks: {result.title}"
    return {
        "test/reliability": wandb.plot.scatter(bins, "confidence", "accuracy", title=f"reliability: {result.title}"),
        "test/risk_coverage": wandb.plot.line(curve, "coverage", "risk", title=title),
    }


def log_report(report: Report, *, project: str, mode: str, group: str | None) -> None:
    """Log a report as a separate W&B run, with files in the report's folder.

    Tables and figures are logged as ``report/<name>``, and their titles and notes as the table ``report/contents``. The
    summary has the accuracy of every cell with its interval. `mode` is that of `start_run`.
    """
    cells = [_cell_config(cell) for cell in report.cells]
    datasets, splits, models, slices = (
        list(dict.fromkeys(str(cell[name]) for cell in cells)) for name in ("dataset", "protocol", "model", "slice")
    )
    marks = union(cell.marks for cell in report.cells)
    with start_run(
        report.folder,
        mode,
        project=project,
        name=f"report {'+'.join(datasets)} {'+'.join(splits)}",
        group=group,
        job_type="report",
        tags=[*models, *datasets, *splits, *slices, *marks],
        config={
            "cells": cells,
            "leaks": Mark.LEAKS in marks,
            "synthetic": Mark.SYNTHETIC in marks,
            "may_overlap": Mark.MAY_OVERLAP in marks,
            "marks": list(marks),
        },
    ) as run:
        exhibits = {f"report/{one.name}": _shown(one) for section in report.sections for one in section.exhibits}
        run.log({"report/contents": wandb.Table(dataframe=_contents(report.sections))} | exhibits)
        for cell in report.cells:
            accuracy = cell.bootstrap.mean(cell.correct).columns("accuracy")
            known = {name: value for name, value in accuracy.items() if value == value}  # no NaN
            run.summary.update({f"{_name(cell)}/{name}": value for name, value in known.items()})
        artifact = wandb.Artifact("report", "report", metadata={"cells": cells})
        artifact.add_file(str(report.folder / "report.html"))
        run.log_artifact(artifact)


def _cell_config(cell: Cell) -> dict[str, Any]:
    return {
        "model": cell.model,
        "slice": f"slice{cell.slice_seconds:g}",
        "slice_seconds": cell.slice_seconds,
        "dataset": cell.dataset,
        "protocol": cell.split,
        "features": cell.features,
        "settings": cell.settings,
        "trained_on": cell.trained_on,
        "leaks": cell.leaks,
        "synthetic": cell.facts.synthetic,
        "may_overlap": cell.facts.may_overlap,
    }


def _name(cell: Cell) -> str:
    more = [cell.features] if cell.names_features else []
    more += [cell.settings] if cell.settings else []
    more += [f"trained on {cell.trained_on}"] if cell.trained_on else []
    return "/".join([cell.dataset, cell.split, " ".join([cell_name(cell.model, cell.slice_seconds), *more])])


def _contents(sections: Sequence[Section]) -> pd.DataFrame:
    """Return title and note of each table and figure, which W&B does not show with a table."""
    rows = [(section.title, one.name, one.title, one.note) for section in sections for one in section.exhibits]
    return pd.DataFrame(rows, columns=["section", "name", "title", "note"])


def _shown(exhibit: Table | Figure) -> wandb.Table | wandb.Html:
    if isinstance(exhibit, Table):
        return wandb.Table(dataframe=exhibit.data)
    # wandb.Image does not take SVG, and a plain <svg> would be black on black in a dark dashboard
    return wandb.Html(
        '<body style="background:white;color:#222;font-family:sans-serif">'
        f"<h3>{escape(exhibit.title)}</h3>{exhibit.svg}<p>{escape(exhibit.note)}</p></body>",
        inject=False,  # no style sheet from the web
        data_is_not_path=True,
    )
