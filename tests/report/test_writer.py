"""The whole report of drawn grids: its files, its marks, and unusual grids."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.exhibit.mark import Mark
from genregrid.exhibit.table import Figure, Table
from genregrid.report.writer import Report, write_report

MLP = {"model": "mlp", "window": 1, "skill": 1.0}


@pytest.fixture(scope="module")
def report(draw_grid: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("report")
    grid = draw_grid(folder, MLP, {"model": "lstm"}, {"model": "lstm", "split": "row-LEAKS", "skill": 4.0})
    return write_report(grid, folder / "report", reference="paper")


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
    assert "importance" not in names  # nothing asked for it
    assert {"learning_curves", "accuracies", "reliability", "risk_coverage", "genre_tree", "protocols"} <= set(names)


def test_every_interval_contains_its_score(report: Report) -> None:
    for path in report.folder.glob("*.csv"):
        frame = pd.read_csv(path)
        for name in [column[:-4] for column in frame if column.endswith("_low")]:
            known = frame[[name, f"{name}_low", f"{name}_high"]].dropna()
            assert (known[f"{name}_low"] <= known[name] + 1e-9).all(), (path, name)
            assert (known[name] <= known[f"{name}_high"] + 1e-9).all(), (path, name)


def test_leaks_are_marked_on_the_page_and_in_every_exhibit_that_shows_them(report: Report) -> None:
    page = (report.folder / "report.html").read_text()
    assert page.count("LEAKS") > 10
    for section in report.sections:
        for exhibit in section.exhibits:
            if "LEAKS" in exhibit.title:
                form = "csv" if isinstance(exhibit, Table) else "svg"
                assert "LEAKS" in (report.folder / f"{exhibit.name}.{form}").read_text(), exhibit.name
    for section in report.sections:
        for exhibit in section.exhibits:
            if Mark.LEAKS in exhibit.marks:
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


@pytest.mark.slow
def test_same_runs_give_the_same_bytes(report: Report, tmp_path: Path) -> None:
    again = write_report(report.folder.parent / "grid", tmp_path / "again", reference="paper")
    for path in sorted(report.folder.iterdir()):
        assert (again.folder / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.slow
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
def test_a_report_of_unusual_cells_is_written(
    make_grid: Callable[..., Path], tmp_path: Path, cell: dict[str, object]
) -> None:
    report = write_report(make_grid(cell, folds=2, seeds=1), tmp_path / "report", reference="paper")
    assert (report.folder / "report.html").stat().st_size > 10_000
    assert ("SYNTHETIC" in (report.folder / "report.html").read_text()) == ("synthetic" in cell)


def test_a_single_run_without_timelines_or_validation_has_a_report(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_run("grid/a")
    for name in ("timeline.csv", "predictions_val.csv", "curves.csv", "config.yaml"):
        (folder / name).unlink()
    report = write_report(tmp_path / "grid", tmp_path / "report")
    assert pd.read_csv(report.folder / "calibration.csv")["probabilities"].tolist() == ["as trained"]


def test_an_unknown_reference_is_reported_before_anything_is_written(
    make_run: Callable[..., Path], tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    make_run("grid/a")
    with user_error("reference", "papr", hint="paper"):
        write_report(tmp_path / "grid", tmp_path / "report", reference="papr")
    assert not (tmp_path / "report").exists()


def test_every_output_of_a_synthetic_corpus_is_marked_whatever_its_label(
    make_grid: Callable[..., Path], tmp_path: Path
) -> None:
    cells = [MLP, {"model": "lstm"}, {"model": "lstm", "split": "artist"}]
    grid = make_grid(*({**cell, "dataset": "mine", "synthetic": True} for cell in cells))
    report = write_report(grid, tmp_path / "report", reference="paper")
    assert report.text.count("SYNTHETIC") >= len(cells)
    shown = [exhibit for section in report.sections for exhibit in section.exhibits]
    assert len(shown) > 20
    for exhibit in shown:
        if exhibit.name == "reference_lines":  # published values alone
            continue
        assert exhibit.marks == (Mark.SYNTHETIC,), exhibit.name
        for form in ("csv", "md") if isinstance(exhibit, Table) else ("svg",):
            assert "SYNTHETIC" in (report.folder / f"{exhibit.name}.{form}").read_text(), exhibit.name
    page = (report.folder / "report.html").read_text()
    assert '<li><mark class="synthetic">SYNTHETIC</mark></li>' in page
    assert page.count('<mark class="synthetic">SYNTHETIC</mark></h3>') == len(shown) - 1


def test_a_recipe_that_may_know_the_test_music_is_marked_wherever_its_figures_are(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    for fold in (0, 1):
        make_run(f"grid/a{fold}", fold=fold, recipe="kaggle-reflect")
        make_run(f"grid/b{fold}", fold=fold, recipe="musicnn-msd", may_overlap=True)
    write_report(tmp_path / "grid", tmp_path / "report")
    board = pd.read_csv(tmp_path / "report/leaderboard.csv", keep_default_na=False).set_index("features")
    assert board["marks"].to_dict() == {"kaggle-reflect": "", "musicnn-msd": "MAY-OVERLAP"}
    pairs = pd.read_csv(tmp_path / "report/comparison.csv", keep_default_na=False)
    assert pairs["marks"].tolist() == ["MAY-OVERLAP"]
    assert sorted([*pairs["first"], *pairs["second"]]) == ["lstm 3 s kaggle-reflect", "lstm 3 s musicnn-msd"]
    page = (tmp_path / "report/report.html").read_text()
    assert "It may know recordings or artists of the test" in page


def test_a_table_of_others_is_not_replaced(
    report: Report, tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    (tmp_path / "leaderboard.csv").write_text("mine")
    with user_error(tmp_path / "leaderboard.csv"):
        write_report(report.folder.parent / "grid", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["leaderboard.csv"]
    assert (tmp_path / "leaderboard.csv").read_text() == "mine"
