"""The whole report of drawn grids: what it writes, what it marks, and that odd grids do not break it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.errors import UserError
from genregrid.exhibit.table import Figure, Table
from genregrid.report.writer import Report, write_report

MLP = {"model": "mlp", "window": 1, "skill": 1.0}


@pytest.fixture
def report(make_grid: Callable[..., Path], tmp_path: Path) -> Report:
    grid = make_grid(MLP, {"model": "lstm"}, {"model": "lstm", "split": "row-LEAKS", "skill": 4.0})
    return write_report(grid, tmp_path / "report", reference="paper")


def test_every_table_is_a_csv_and_markdown_and_every_figure_a_drawing(report: Report) -> None:
    exhibits = [exhibit for section in report.sections for exhibit in section.exhibits]
    names = [exhibit.name for exhibit in exhibits]
    assert len(names) == len(set(names))
    for exhibit in exhibits:
        assert re.fullmatch("[a-z0-9_]+", exhibit.name)
        if isinstance(exhibit, Table):
            frame = pd.read_csv(report.folder / f"{exhibit.name}.csv")
            assert len(frame) == len(exhibit.frame)
            assert f"### {exhibit.title}" in (report.folder / f"{exhibit.name}.md").read_text()
        else:
            assert isinstance(exhibit, Figure)
            assert (report.folder / f"{exhibit.name}.svg").read_text().startswith("<svg")
            assert exhibit.alt
    assert {"leaderboard", "table1", "certainty", "calibration", "conformal", "audit", "agreement"} <= set(names)
    assert {"learning_curves", "accuracies", "reliability", "risk_coverage", "genre_tree", "protocols"} <= set(names)


def test_every_score_has_an_interval_around_it(report: Report) -> None:
    for path in report.folder.glob("*.csv"):
        frame = pd.read_csv(path)
        for name in [column[:-4] for column in frame if column.endswith("_low")]:
            known = frame[[name, f"{name}_low", f"{name}_high"]].dropna()
            assert (known[f"{name}_low"] <= known[name] + 1e-9).all(), (path, name)
            assert (known[name] <= known[f"{name}_high"] + 1e-9).all(), (path, name)


def test_leaks_are_marked_on_the_page_and_in_every_table_that_they_touch(report: Report) -> None:
    page = (report.folder / "report.html").read_text()
    assert page.count("LEAKS") > 10
    for section in report.sections:
        for exhibit in section.exhibits:
            if "LEAKS" in exhibit.title:
                form = "csv" if isinstance(exhibit, Table) else "svg"
                assert "LEAKS" in (report.folder / f"{exhibit.name}.{form}").read_text(), exhibit.name
    for name in ("leaderboard", "top", "certainty", "calibration", "sorting", "conformal", "extremes", "runs", "audit"):
        assert "LEAKS" in (report.folder / f"{name}.csv").read_text(), name
    for name in ("accuracies", "protocols", "reliability", "risk_coverage"):
        assert "LEAKS" in (report.folder / f"{name}.svg").read_text(), name
    assert "LEAKS" in report.text


def test_gain_under_a_leak_is_measured_from_the_track_protocol(report: Report) -> None:
    audit = pd.read_csv(report.folder / "audit.csv").set_index("model")
    lstm = audit.loc["lstm 3 s"]
    assert lstm["row-LEAKS_change"] == pytest.approx(lstm["row-LEAKS"] - lstm["track"], abs=1e-5)
    assert lstm["row-LEAKS_change_low"] > 0
    assert np.isnan(audit.loc["mlp 3 s", "row-LEAKS"])


def test_pairs_are_compared_within_a_protocol_only(report: Report) -> None:
    pairs = pd.read_csv(report.folder / "comparison.csv")
    assert pairs[["split", "first", "second"]].to_numpy().tolist() == [["track", "lstm 3 s", "mlp 3 s"]]
    (pair,) = pairs.to_dict(orient="records")
    assert pair["difference"] > 0
    assert pair["p_holm"] == pytest.approx(pair["p"])
    assert pair["tracks"] == 36
    matrix = pd.read_csv(report.folder / "comparison_matrix.csv", index_col="model", dtype=str)
    first, second = matrix.loc["lstm 3 s", "mlp 3 s"], matrix.loc["mlp 3 s", "lstm 3 s"]
    assert first.strip("*").lstrip("+") == second.strip("*").lstrip("-")


def test_same_runs_give_the_same_bytes(report: Report, tmp_path: Path) -> None:
    again = write_report(tmp_path / "grid", tmp_path / "again", reference="paper")
    for path in sorted(report.folder.iterdir()):
        assert (again.folder / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize(
    "cell",
    [
        {"skill": 9.0},  # never wrong
        {"skill": -9.0},  # never right
        {"tracks": 4, "genres": ["a", "b"]},
        {"genres": ["r&b", "<hip hop>", "drum 'n' bass", 'a"b', "$x$", "None", "日本"]},
        {"window": 1, "slice_seconds": 0.5},
        {"synthetic": True},
        {"split": "row-LEAKS"},
    ],
)
def test_odd_cells_do_not_break_a_report(
    make_grid: Callable[..., Path], tmp_path: Path, cell: dict[str, object]
) -> None:
    report = write_report(make_grid(cell, folds=2, seeds=1), tmp_path / "report", reference="paper")
    assert (report.folder / "report.html").stat().st_size > 10_000
    assert ("SYNTHETIC" in (report.folder / "report.html").read_text()) == ("synthetic" in cell)


def test_a_run_alone_without_timelines_or_validation_makes_a_report(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_run("grid/a")
    for name in ("timeline.csv", "predictions_val.csv", "curves.csv", "config.yaml"):
        (folder / name).unlink()
    report = write_report(tmp_path / "grid", tmp_path / "report")
    assert pd.read_csv(report.folder / "calibration.csv")["probabilities"].tolist() == ["as trained"]


def test_an_unknown_reference_is_refused_before_anything_is_written(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    make_run("grid/a")
    with pytest.raises(UserError, match="unknown reference 'papr': choose one of paper"):
        write_report(tmp_path / "grid", tmp_path / "report", reference="papr")
    assert not (tmp_path / "report").exists()
