"""The W&B dashboard without W&B: runs are read back from their files, or from a fake server on 127.0.0.1."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from omegaconf import DictConfig

from genregrid.cli.report import report
from genregrid.tracking.workspace import main
from genregrid.training.run import train

WANDB = str(Path(sys.executable).with_name("wandb"))
KEY = "0" * 40
GROUPING = [f"{key}.value" for key in ("dataset_label", "split_label", "model", "slice_seconds")]
# how wandb-workspaces declares its own models
old_pydantic = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    make_frame: Callable[..., pd.DataFrame],
    composed: Callable[..., DictConfig],
) -> Path:
    """Three runs, trained two epochs each, in ``runs``; their report in ``report``, logged offline as they were."""
    folder = tmp_path_factory.mktemp("dashboard")
    make_frame(tracks=9, slices=2).to_csv(folder / "drawn.csv", index=False)
    quick = ["trainer.max_epochs=2", "trainer.accelerator=cpu", "split.folds=3"]
    leaky = ["split=row", "split.allow_leak=true"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_DATA_DIR", str(folder / "staging"))
        for name, model, more in (("a", "mlp", []), ("b", "lstm", []), ("c", "lstm", leaky)):
            data = ["dataset=csv", f"dataset.path={folder / 'drawn.csv'}"]
            train(composed(f"model={model}", *data, *quick, *more), folder / "runs" / name, model)
        report(composed(f"runs={folder / 'runs'}", "logger=wandb", config="evaluate"), folder / "report")
    return folder


def wandb_folder(folder: Path) -> Path:
    (path,) = folder.glob("wandb/offline-run-*")
    return path


@cache  # a call takes a second
def records(folder: Path) -> list[dict[str, Any]]:
    """Every record of the .wandb file of a folder's run."""
    words = [WANDB, "leet", "inspect", "--json", str(wandb_folder(folder))]
    lines = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in lines.splitlines()]


def started_run(folder: Path) -> dict[str, Any]:
    """Name, config, tags and group of a folder's run."""
    run: dict[str, Any] = next(record["run"] for record in records(folder) if record["type"] == "run")
    return run | {"config": run["config"]["update"]}


@cache
def summary(folder: Path) -> dict[str, Any]:
    words = [WANDB, "leet", "inspect", "--summary", "--json", str(wandb_folder(folder))]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout)
    return dict(found["summary"])


def logged_table(folder: Path, value: dict[str, Any]) -> pd.DataFrame:
    content = json.loads((wandb_folder(folder) / "files" / value["path"]).read_text(encoding="utf-8"))
    return pd.DataFrame(content["data"], columns=content["columns"])


@pytest.mark.slow
def test_every_table_and_figure_of_a_report_is_logged_with_the_numbers_of_its_csv(folder: Path) -> None:
    report = folder / "report"
    values = {name.removeprefix("report/"): value for name, value in summary(report).items() if "report/" in name}
    assert set(values) == {"contents"} | {path.stem for path in report.iterdir() if path.suffix in (".csv", ".svg")}
    for path in report.glob("*.csv"):
        logged = logged_table(report, values[path.stem])
        written = pd.read_csv(path, keep_default_na=False, na_values=[""])
        numbers = list(logged.select_dtypes("number"))
        assert numbers or path.stem == "comparison_matrix"  # which is text
        assert list(logged.columns) == list(written.columns)
        pd.testing.assert_frame_equal(logged[numbers].astype(float), written[numbers].astype(float), rtol=1e-5)
    for path in report.glob("*.svg"):
        page = wandb_folder(report) / "files" / values[path.stem]["path"]
        assert path.read_text(encoding="utf-8") in page.read_text(encoding="utf-8")
    contents = logged_table(report, values["contents"])
    assert set(contents["name"]) == set(values) - {"contents"}
    assert (contents["title"] != "").all()


@pytest.mark.slow
def test_the_summary_of_a_report_has_the_accuracy_of_every_cell_with_its_interval(folder: Path) -> None:
    values = summary(folder / "report")
    for name, cell in (("a", "track/mlp"), ("b", "track/lstm"), ("c", "row-LEAKS/lstm")):
        accuracy = json.loads((folder / "runs" / name / "metrics.json").read_text())["test/accuracy"]
        place = f"csv/{cell}-slice3/accuracy"
        assert values[place] == pytest.approx(accuracy, abs=1e-6)
        assert values[f"{place}_low"] <= values[place] <= values[f"{place}_high"]


@pytest.mark.slow
def test_the_run_of_a_report_has_its_cells_and_the_mark_of_a_leak(folder: Path) -> None:
    run = started_run(folder / "report")
    assert run["job_type"] == "report"
    assert set(run["tags"]) == {"mlp", "lstm", "csv", "track", "row-LEAKS", "slice3", "LEAKS"}
    assert {(cell["model"], cell["protocol"], cell["leaks"]) for cell in run["config"]["cells"]} == {
        ("mlp", "track", False),
        ("lstm", "track", False),
        ("lstm", "row-LEAKS", True),
    }
    assert all(cell["dataset"] == "csv" and cell["slice_seconds"] == 3 for cell in run["config"]["cells"])


@pytest.mark.slow
def test_the_page_of_a_report_is_logged_as_an_artifact(folder: Path) -> None:
    artifacts = [record["artifact"] for record in records(folder / "report") if record["type"] == "artifact"]
    (artifact,) = (one for one in artifacts if one["type"] == "report")
    (entry,) = artifact["manifest"]["contents"]
    page = folder / "report" / "report.html"
    assert (entry["path"], int(entry["size"])) == ("report.html", page.stat().st_size)


@pytest.mark.slow
def test_runs_of_one_process_have_files_of_their_own_with_what_a_dashboard_groups_by(folder: Path) -> None:
    runs = {name: started_run(folder / "runs" / name) for name in ("a", "b", "c")}
    keys = ("model", "slice_seconds", "dataset_label", "split_label", "fold", "seed", "leaks")
    assert {name: tuple(run["config"][key] for key in keys) for name, run in runs.items()} == {
        "a": ("mlp", 3, "csv", "track", 0, 0, False),
        "b": ("lstm", 3, "csv", "track", 0, 0, False),
        "c": ("lstm", 3, "csv", "row-LEAKS", 0, 0, True),
    }
    assert {run["run_group"] for run in runs.values()} == {
        "csv/mlp-slice3-track",
        "csv/lstm-slice3-track",
        "csv/lstm-slice3-row-LEAKS",
    }
    assert ["LEAKS" in run["tags"] for run in runs.values()] == [False, False, True]
    assert len({run["run_id"] for run in [*runs.values(), started_run(folder / "report")]}) == 4


@pytest.mark.slow
def test_a_run_logs_the_numbers_of_its_csvs(folder: Path) -> None:
    run = folder / "runs" / "a"
    values = summary(run)
    written = pd.read_csv(run / "per_genre.csv")
    written = written[written["level"] == "track"]
    logged = logged_table(run, values["test/per_genre"])
    for name in ("num", "precision", "recall", "f1", "certainty"):
        assert logged[name].tolist() == pytest.approx(written[name].tolist(), rel=1e-5)
        assert name == "num" or values[f"test/{name}/blues"] == pytest.approx(written[name].iloc[0], rel=1e-5)
    predictions = pd.read_csv(run / "predictions.csv")
    right = (predictions["genre"] == predictions["predicted"]).mean()
    assert logged_table(run, values["test/predictions"])["track"].tolist() == predictions["track"].tolist()
    curve = logged_table(run, values["test/risk_coverage_table"])
    assert curve.iloc[-1].tolist() == pytest.approx([1, 1 - right])
    bins = logged_table(run, values["test/reliability_table"])
    assert (bins["accuracy"] * bins["num"]).sum() / bins["num"].sum() == pytest.approx(right)


def made(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The workspace's spec, and the report's, as `main` prints them."""
    assert main(list(words)) == 0
    shown = json.loads(capsys.readouterr().out)
    return shown["workspace"]["spec"]["section"], shown["report"]["spec"]


@old_pydantic
def test_workspace_and_report_group_runs_by_dataset_protocol_model_and_slice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("wandb_workspaces")
    workspace, report = made(capsys, "--project", "mine")
    grids = [block["metadata"] for block in report["blocks"] if block["type"] == "panel-grid"]
    for runs in (*workspace["runSets"], *(runs for grid in grids for runs in grid["runSets"])):
        assert [key["name"] for key in runs["grouping"]] == GROUPING
    panels = [panel for section in workspace["panelBankConfig"]["sections"] for panel in section["panels"]]
    bars = [panel["config"] for panel in panels if panel["viewType"] == "Bar Chart"]
    assert {bar["groupBy"] for bar in bars if bar["metrics"] == ["test/accuracy"] and "groupBy" in bar} == set(GROUPING)
    in_report = [panel for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    assert [panel["viewType"] for panel in in_report] == [panel["viewType"] for panel in panels]


@old_pydantic
@pytest.mark.slow
def test_panels_show_only_what_runs_and_reports_log(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("wandb_workspaces")
    workspace, _ = made(capsys, "--genres", "blues,classical,metal")
    names = {key for run in ("runs/a", "report") for key in summary(folder / run)}
    names |= {key for record in records(folder / "runs" / "a") for key in record.get("history", {}).get("item", {})}
    configs = started_run(folder / "runs" / "a")["config"]
    for panel in (panel for section in workspace["panelBankConfig"]["sections"] for panel in section["panels"]):
        config = panel["config"]
        shown = {*config.get("metrics", []), *config.get("mediaKeys", []), config.get("xAxis", "epoch")}
        assert shown <= names
        assert config.get("groupBy", "model.value").removesuffix(".value") in configs
        if panel["viewType"] == "Vega2":
            fields = config["userQuery"]["queryFields"][0]["fields"]
            (key,) = (arg["value"] for field in fields for arg in field.get("args", []) if arg["name"] == "tableKey")
            columns = logged_table(folder / "runs" / "a", summary(folder / "runs" / "a")[key]).columns
            assert set(config["fieldSettings"].values()) <= set(columns)
        if panel["viewType"] == "Weave":
            assert config["panel2Config"]["exp"]["fromOp"]["inputs"]["key"]["val"] in names


def test_without_a_key_nothing_is_saved_and_the_error_has_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--save"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "wandb login" in error


def test_without_the_extra_the_error_has_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("wandb_workspaces", "wandb_workspaces.workspaces"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main([]) == 2
    assert capsys.readouterr().err.endswith(': not installed; run `pip install -e ".[dashboard]"`.\n')


@old_pydantic
def test_the_private_method_that_makes_the_json_is_that_of_the_known_version() -> None:
    """`_to_model` is private to wandb-workspaces: see `genregrid.tracking.workspace._shown` before raising this."""
    pytest.importorskip("wandb_workspaces")
    assert version("wandb-workspaces").startswith("0.4.")


class FakeServer(ThreadingHTTPServer):
    """Answers what `wandb sync` and wandb-workspaces ask of W&B, and keeps what was sent."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []  # GraphQL operations and their variables
        self.sent: dict[str, bytes] = {}  # uploaded files by name
        self.streamed: dict[str, list[str]] = {}  # lines of streamed files
        super().__init__(("127.0.0.1", 0), _Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL query."""
        name = query.replace("(", " ").split()[1]
        self.asked.append((name, variables))
        match name:
            case "UpsertBucket":
                project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "me"}}
                bucket = {"id": "b", "name": variables["name"], "project": project, "historyLineCount": 0}
                return {"upsertBucket": {"bucket": bucket, "inserted": True}}
            case "CreateArtifact":  # committed: their files are on the server already
                artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "a"}}}
                return {"createArtifact": {"artifact": artifact}}
            case "CreateRunFiles":
                files = [{"name": file, "uploadUrl": f"{self.url}/file/{file}"} for file in variables["files"]]
                return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
            case "Viewer" | "GetDefaultEntity":
                return {"viewer": {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
            case "GetProjects":  # one page without any
                return {"models": {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}}
            case "UpsertView2" | "upsertView":
                return {"upsertView": {"view": {"id": "made", "name": variables["name"]}, "inserted": True}}
        return {}


class _Answer(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            asked = json.loads(body)
            answer = {"data": self.server.answer(asked["query"], asked.get("variables") or {})}
        elif self.path.startswith("/file/"):
            self.server.sent[self.path.removeprefix("/file/")] = body
        elif self.path.endswith("/file_stream"):
            for name, lines in (json.loads(body).get("files") or {}).items():
                self.server.streamed.setdefault(name, []).extend(lines["content"])
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_POST  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def online(server: FakeServer, folder: Path) -> dict[str, str]:
    """Environment variables for which W&B is the fake server."""
    keep = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return keep | {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_DATA_DIR": str(folder / "staging")}


@pytest.mark.slow
def test_sync_uploads_an_offline_run_and_an_offline_report_in_one_command(folder: Path, server: FakeServer) -> None:
    paths = [wandb_folder(folder / name) for name in ("runs/c", "report")]
    done = subprocess.run(
        [WANDB, "sync", *map(str, paths)],
        env=online(server, folder),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    uploaded = {one["jobType"]: one for name, one in server.asked if name == "UpsertBucket" and one["tags"]}
    assert set(uploaded) == {"train", "report"}
    assert all("LEAKS" in one["tags"] for one in uploaded.values())
    assert json.loads(uploaded["train"]["config"])["split_label"]["value"] == "row-LEAKS"
    history = [json.loads(line) for line in server.streamed["wandb-history.jsonl"]]
    assert sum("val/loss" in line for line in history) == 2
    for path in paths:
        for file in path.glob("files/media/**/*.*"):
            assert server.sent[str(file.relative_to(path / "files"))] == file.read_bytes()
    artifacts = [one["input"]["artifactTypeName"] for name, one in server.asked if name == "CreateArtifact"]
    assert artifacts.count("report") == 1


@pytest.mark.slow
def test_workspace_and_report_are_saved_where_there_is_a_key(tmp_path: Path, server: FakeServer) -> None:
    pytest.importorskip("wandb_workspaces")
    words = [sys.executable, "-m", "genregrid.tracking.workspace", "--save", "--project", "mine"]
    done = subprocess.run(words, env=online(server, tmp_path), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    workspace, report = done.stdout.split()
    assert workspace.startswith(f"{server.url}/me/mine?nw=")
    assert report.startswith(f"{server.url}/me/mine/reports/")
    sent = {one["type"]: json.loads(one["spec"]) for name, one in server.asked if name.lower().startswith("upsertview")}
    assert set(sent) == {"project-view", "runs"}
    assert [key["name"] for key in sent["project-view"]["section"]["runSets"][0]["grouping"]] == GROUPING
    assert sum(block["type"] == "panel-grid" for block in sent["runs"]["blocks"]) == 5
