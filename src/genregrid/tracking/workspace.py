"""A W&B workspace and a W&B report of a project: ``python -m genregrid.tracking.workspace --project genregrid --save``.

Both show the runs that `genregrid.tracking.dashboard` logs, grouped by corpus, protocol, model and slice length. The
package wandb-workspaces is an optional dependency; without it `main` prints how to install it.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from genregrid.errors import Options, UserError, command
from genregrid.tracking.wandb_run import resolved_mode

#: Config keys that group runs, in this order, as only runs of one corpus and protocol can be compared.
AXES = {"dataset_label": "dataset", "split_label": "protocol", "model": "model", "slice_seconds": "slice"}
_SCORES = {"f1": "F1 by genre", "recall": "recall by genre", "certainty": "certainty by genre, in decades"}
_TABLES = ("leaderboard", "comparison", "calibration", "contents")
_FIGURES = ("accuracies", "learning_curves", "certainty_against_recall", "reliability", "risk_coverage", "genre_tree")
_GENRES = "blues,classical,country,disco,hiphop,jazz,metal,pop,reggae,rock"
_NAME = "Models by slice, dataset and protocol"
_WARNING = (
    "Compare runs of one dataset and protocol only. Runs tagged LEAKS measure memory, and runs tagged SYNTHETIC are "
    "not about music. Descriptors of runs tagged MAY-OVERLAP may know the test music. Bars by one axis average over "
    "all others: filter to one dataset and protocol first."
)


def make_workspace(entity: str, project: str, genres: Sequence[str]) -> Any:
    """Make a `wandb_workspaces` workspace of grouped runs: accuracy, curves, scores of genres, mistakes and reports."""
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces.expr import Config

    sections = [ws.Section(name=name, panels=panels, is_open=True) for name, panels in _panels(genres).items()]
    columns = ["tags:__ALL__", *(f"config:{key}.value" for key in (*AXES, "fold", "seed", "leaks"))]
    columns += ["summary:test/accuracy", "summary:test/accuracy_low", "summary:test/accuracy_high"]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=_NAME,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=100),
        runset_settings=ws.RunsetSettings(groupby=[Config(key) for key in AXES], pinned_columns=columns),
        auto_generate_panels=True,  # all other logged values, below
    )


def make_report(entity: str, project: str, genres: Sequence[str]) -> Any:
    """Make a W&B report, which can be shared, of the same panels."""
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [wr.P(_WARNING)]
    for name, panels in _panels(genres).items():
        # without a project, the run set uses that of the report
        runs = wr.Runset(name="runs by cell", groupby=[f"config.{key}" for key in AXES])
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=panels)]
    return wr.Report(entity=entity, project=project, title=_NAME, width="fluid", blocks=blocks)


def _panels(genres: Sequence[str]) -> dict[str, list[Any]]:
    """Return the panels of each section by its title."""
    import wandb_workspaces.reports.v2 as wr

    def bars(title: str, metrics: list[str], **more: Any) -> Any:
        return wr.BarPlot(title=title, metrics=metrics, groupby_aggfunc="mean", groupby_rangefunc="minmax", **more)

    def curves(what: str) -> Any:
        return wr.LinePlot(title=what, x="epoch", y=[f"train/{what}", f"val/{what}"], title_x="epoch")

    def chart(kind: str, table: str, title: str, **fields: str) -> Any:
        return wr.CustomChart(
            query={"summaryTable": {"tableKey": table}},
            chart_name=f"wandb/{kind}",
            chart_fields=fields,
            chart_strings={"title": title},
        )

    confusion = {name: name for name in ("Actual", "Predicted", "nPredictions")}
    errors = "errors among the most certain tracks"
    by_axis = [bars(f"accuracy by {what}", ["test/accuracy"], groupby=wr.Config(key)) for key, what in AXES.items()]
    return {
        "Accuracy": [
            wr.MarkdownPanel(markdown=_WARNING),
            bars("accuracy by cell, mean and range of folds and seeds", ["test/accuracy"]),
            *by_axis,
        ],
        "Learning curves": [curves("accuracy"), curves("loss")],
        "Genres": [
            *(bars(title, [f"test/{name}/{one}" for one in genres]) for name, title in _SCORES.items()),
            chart("scatter/v0", "test/per_genre", "certainty against recall", x="certainty", y="recall"),
        ],
        "Mistakes and trust": [
            chart("confusion_matrix/v1", "test/confusion_table", "tracks, true against predicted", **confusion),
            chart("scatter/v0", "test/reliability_table", "reliability", x="confidence", y="accuracy"),
            chart("line/v0", "test/risk_coverage_table", errors, x="coverage", y="risk"),
        ],
        "Report": [
            *(wr.WeavePanelSummaryTable(table_name=f"report/{name}") for name in _TABLES),
            wr.MediaBrowser(title="figures", media_keys=[f"report/{name}" for name in _FIGURES], num_columns=2),
        ],
    }


def _save(entity: str | None, project: str, genres: Sequence[str]) -> list[str]:
    """Save both and return their addresses."""
    if resolved_mode("auto") != "online":
        problem = "W&B has no key here, or WANDB_MODE is offline"
        raise UserError(problem, key="--save", hint="run `wandb login`, or leave out --save")
    import wandb

    try:
        owner = entity or wandb.Api().default_entity or ""
        return [make(owner, project, genres).save().url for make in (make_workspace, make_report)]
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B did not save it ({str(error).splitlines()[0]})", key="--save") from None


def _shown(entity: str | None, project: str, genres: Sequence[str]) -> str:
    """Return the JSON that would be saved. The package has no public way to see it without saving."""
    made = {"workspace": make_workspace, "report": make_report}
    models = {name: make(entity or "", project, genres)._to_model() for name, make in made.items()}
    dumps = {name: model.model_dump(mode="json", by_alias=True, exclude_none=True) for name, model in models.items()}
    return json.dumps(dumps, indent=2)


@command(extra="dashboard")
def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = Options(
        prog="python -m genregrid.tracking.workspace",
        description="Make a W&B workspace and a W&B report of a project; without --save, print them as JSON.",
    )
    parser.add_argument("--entity", help="W&B user or team (that of the key)")
    parser.add_argument("--project", default="genregrid", help="W&B project (genregrid)")
    parser.add_argument("--genres", default=_GENRES, help="genres to show scores of, such as blues,jazz (GTZAN's ten)")
    parser.add_argument("--save", action="store_true", help="save both, and print their addresses")
    options = parser.parse_args(arguments)
    genres = [genre.strip() for genre in options.genres.split(",") if genre.strip()]
    if not genres:
        raise UserError("it names no genre", key="--genres", value=options.genres, hint="list genres: blues,jazz")
    if not options.project.strip():
        raise UserError("it is empty", key="--project", value="", hint="give the name of a W&B project")
    what = (options.entity, options.project, genres)
    print("\n".join(_save(*what)) if options.save else _shown(*what))


if __name__ == "__main__":
    sys.exit(main())
