"""The numbers of a report equal those that scikit-learn computes from predictions.csv of the run folders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from genregrid.report.writer import write_report

GENRES = ["blues", "jazz", "rock", "soul"]
CELL = {"model": "mlp", "slice_seconds": 3.0, "window": 1, "genres": GENRES, "skill": 1.0}


@pytest.fixture(scope="module")
def written(
    draw_grid: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[pd.DataFrame, pd.DataFrame, Path]:
    """Test predictions and slices of all runs of the MLP, read from their files, and the report's folder."""
    folder = tmp_path_factory.mktemp("recomputed")
    grid = draw_grid(folder, CELL, {**CELL, "model": "lstm", "window": "track", "skill": 2.0})
    write_report(grid, folder / "report", reference="paper")
    runs = sorted(grid.glob("0-*"))
    assert len(runs) == 4
    frames = [pd.concat([pd.read_csv(run / name) for run in runs]) for name in ("predictions.csv", "timeline.csv")]
    return frames[0], frames[1], folder / "report"


def of_mlp(folder: Path, name: str) -> pd.DataFrame:
    table = pd.read_csv(folder / f"{name}.csv")
    return table[table["model"].isin(["mlp", "mlp 3 s"])].reset_index(drop=True)


def probs_of(frame: pd.DataFrame) -> np.ndarray:
    probs = frame[[f"p_{genre}" for genre in GENRES]].to_numpy()
    return np.asarray(probs / probs.sum(axis=1, keepdims=True))  # rounded to six digits they do not add up to one


def test_leaderboard_and_top_three(written: tuple[pd.DataFrame, pd.DataFrame, Path]) -> None:
    frame, slices, folder = written
    (board,) = of_mlp(folder, "leaderboard").to_dict(orient="records")
    assert board["accuracy"] == pytest.approx(accuracy_score(frame["genre"], frame["predicted"]))
    assert board["f1_macro"] == pytest.approx(f1_score(frame["genre"], frame["predicted"], average="macro"))
    assert board["top3"] == pytest.approx(top_k_accuracy_score(frame["genre"], probs_of(frame), k=3, labels=GENRES))
    top = of_mlp(folder, "top").set_index("level")
    assert top.loc["slice", "top1"] == pytest.approx(accuracy_score(slices["genre"], slices["predicted"]))
    assert top.loc["slice", "top3"] == pytest.approx(
        top_k_accuracy_score(slices["genre"], probs_of(slices), k=3, labels=GENRES)
    )
    assert (top.loc["slice", "top1_paper"], top.loc["slice", "top3_paper"]) == (0.51, 0.78)


def test_table_1(written: tuple[pd.DataFrame, pd.DataFrame, Path]) -> None:
    frame, slices, folder = written
    table = pd.read_csv(folder / "table1.csv").set_index(["metric", "genre"])
    assert (table["dataset"].unique().tolist(), table["split"].unique().tolist()) == (["drawn"], ["track"])
    for name, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        expected = score(frame["genre"], frame["predicted"], labels=GENRES, average=None)
        assert table.loc[name, "mlp 3 s"].tolist() == pytest.approx(expected)
    assert "mlp 3 s_paper" not in table  # the paper counts slices there
    by_slice = table["mlp 3 s by slice"]
    assert by_slice["accuracy", "all"] == pytest.approx(accuracy_score(slices["genre"], slices["predicted"]))
    recall = recall_score(slices["genre"], slices["predicted"], labels=GENRES, average=None)
    assert by_slice["recall"].tolist() == pytest.approx(recall)
    assert table.loc[("accuracy", "all"), "mlp 3 s by slice_paper"] == 0.66
    less = by_slice - table["mlp 3 s by slice_paper"]
    pd.testing.assert_series_equal(table["mlp 3 s by slice_less_paper"], less, check_names=False, atol=1e-5)
    assert table.loc[("accuracy", "all"), "lstm 3 s_less_paper"] == pytest.approx(
        table.loc[("accuracy", "all"), "lstm 3 s"] - 0.93, abs=1e-5
    )
    assert np.isnan(table.loc[("recall", "soul"), "lstm 3 s_paper"])  # the paper does not have this genre


def test_certainty_and_confusion(written: tuple[pd.DataFrame, pd.DataFrame, Path]) -> None:
    frame, _, folder = written
    certainty = of_mlp(folder, "certainty").set_index("genre")
    ranked = np.sort(probs_of(frame), axis=1)
    decades = pd.Series(np.log10(ranked[:, -1] / ranked[:, -2])).groupby(frame["genre"].to_numpy()).mean()
    assert certainty["certainty"].tolist() == pytest.approx(decades[GENRES].tolist(), rel=1e-4)
    assert certainty["recall"].tolist() == pytest.approx(
        recall_score(frame["genre"], frame["predicted"], labels=GENRES, average=None)
    )
    counts = confusion_matrix(frame["genre"], frame["predicted"], labels=GENRES)
    tables = [pd.read_csv(path) for path in folder.glob("confusion_*.csv")]
    assert any((table[[f"as {genre}_num" for genre in GENRES]].to_numpy() == counts).all() for table in tables)


def test_calibration_and_sorting(written: tuple[pd.DataFrame, pd.DataFrame, Path]) -> None:
    frame, _, folder = written
    calibration = of_mlp(folder, "calibration").set_index("probabilities")
    trained = calibration.loc["as trained"]
    assert trained["nll"] == pytest.approx(log_loss(frame["genre"], probs_of(frame), labels=GENRES), rel=1e-4)
    expected = brier_score_loss(frame["genre"], probs_of(frame), labels=GENRES, scale_by_half=False)
    assert trained["brier"] == pytest.approx(expected, rel=1e-4)
    (sorting,) = of_mlp(folder, "sorting").to_dict(orient="records")
    correct = frame["genre"] == frame["predicted"]
    assert sorting["auroc_certainty"] == pytest.approx(roc_auc_score(correct, frame["certainty"]), abs=1e-5)
    assert sorting["auroc_max_probability"] == pytest.approx(
        roc_auc_score(correct, probs_of(frame).max(axis=1)), abs=1e-4
    )
    surest = frame[frame["certainty"] >= frame["certainty"].quantile(0.5)]
    assert sorting["accuracy_50"] == pytest.approx(
        accuracy_score(surest["genre"], surest["predicted"]), abs=1.5 / len(surest)
    )


def test_conformal_sets_have_about_the_intended_coverage(written: tuple[pd.DataFrame, pd.DataFrame, Path]) -> None:
    frame, _, folder = written
    table = of_mlp(folder, "conformal")
    every = table[table["genre"] == "all"]
    assert every["num"].tolist() == [len(frame)] * 2
    assert (every["coverage"] >= 0.85).all()
    by_genre = table[(table["method"] == "LAC") & (table["genre"] != "all")]
    lac = every[every["method"] == "LAC"].iloc[0]
    assert np.average(by_genre["coverage"], weights=by_genre["num"]) == pytest.approx(lac["coverage"], abs=1e-5)
    assert np.average(by_genre["size"], weights=by_genre["num"]) == pytest.approx(lac["size"], abs=1e-5)
