"""The section on what models use: its tables and figures, and runs that cannot be explained."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genregrid.data.kind import ALL, ALL_BRIGHTNESS, BRIGHTNESS_KINDS
from genregrid.errors import UserError
from genregrid.exhibit.table import Figure, Section, Table
from genregrid.record.explanation import Evidence, Explanation
from genregrid.record.folder import BEST_CHECKPOINT
from genregrid.report import writer
from genregrid.report.cell import read_grid
from genregrid.report.importance import explained_cells
from genregrid.report.writer import Report, write_report

UserErrors = Callable[..., AbstractContextManager[None]]
CELLS = ({"model": "lda", "dataset": "gtzan"}, {"model": "lstm", "dataset": "gtzan", "skill": 1.0})


def explain(run: Path) -> Explanation:
    """Explain a drawn run: all is lost without its tempo, nothing without anything else."""
    frame = pd.read_csv(run / "predictions.csv")
    num = len(frame)
    right = (frame["genre"] == frame["predicted"]).to_numpy(float)
    kinds = {"tempo": 1, BRIGHTNESS_KINDS[0]: 2, ALL_BRIGHTNESS: 8, ALL: 57}
    after = {kind: 0 * right if kind in ("tempo", ALL) else right for kind in kinds}
    evidence = Evidence({kind: np.full(num, 2.0) for kind in kinds}, np.full((num, 4), 0.5), 1e-4)
    return Explanation(
        tracks=tuple(frame["track"]),
        genre=tuple(frame["genre"]),
        predicted=tuple(frame["predicted"]),
        num_descriptors=kinds,
        right_by_kind=after,
        right_by_descriptor={"tempo": 0 * right, "rms_var": right},
        kind_of={"tempo": "tempo", "rms_var": "loudness (rms)"},
        num_permutations=10,
        brightness_hz=frame["genre"].map({"blues": 1000.0, "jazz": 3000.0, "rock": 2000.0}).to_numpy() + np.arange(num),
        evidence=evidence if "lstm" in (run / "run.json").read_text() else None,
    )


@pytest.fixture(scope="module")
def report(draw_grid: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("explained")
    grid = draw_grid(folder, *CELLS, seeds=1)
    for run in grid.iterdir():
        if run.name != "1-1-0":
            (run / BEST_CHECKPOINT).write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("audit", "paper", "comparison", "trust", "ambiguity"):  # other tests draw them
            patch.setattr(writer, f"{name}_section", lambda *_, name=name: Section(name, name, ""))
        return write_report(grid, folder / "report", reference="paper", explain=explain)


def test_the_section_has_importance_by_kind_and_descriptor_and_gradients_of_networks(report: Report) -> None:
    (section,) = [section for section in report.sections if section.name == "importance"]
    names = [one.name for one in section.exhibits]
    assert names == [
        *("importance_map", "importance_map_1", "importance", "importance_single"),
        *("gradients_map", "gradients", "gradients_position", "brightness"),
    ]
    assert sum(isinstance(one, Figure) for one in section.exhibits) == 3
    assert "Correlated descriptors share their importance" in section.text
    assert "Nothing was chosen by these numbers" in section.text
    frame = pd.read_csv(report.folder / "importance.csv").set_index(["model", "exchanged", "genre"])
    lost = frame.loc[("lda 3 s", "tempo", "all")]
    assert lost["fall"] == pytest.approx(lost["before"])
    assert lost["num"] == 36
    assert 0 < lost["fall_low"] < lost["fall"] < lost["fall_high"]
    assert frame.loc[("lda 3 s", ALL_BRIGHTNESS, "jazz"), "fall"] == 0
    positions = pd.read_csv(report.folder / "gradients_position.csv")
    assert set(positions["model"]) == {"lstm 3 s"}
    assert positions["evidence"].eq(0.5).all()


def test_brightness_is_ranked_beside_the_remarks_of_the_paper(report: Report) -> None:
    frame = pd.read_csv(report.folder / "brightness.csv")
    assert frame["genre"].tolist() == ["jazz", "rock", "blues"]
    assert frame["num"].eq(12).all()
    assert frame["hz"].between(1000, 3100).all()
    (table,) = [one for s in report.sections for one in s.exhibits if one.name == "brightness"]
    assert isinstance(table, Table)
    assert table.columns[-1].title == "the paper's remark"


def test_a_run_without_a_checkpoint_is_named_in_one_sentence(report: Report) -> None:
    sentence = [line for line in report.text.splitlines() if "checkpoint" in line]
    assert len(sentence) == 1
    assert sentence[0].startswith("1 run has no checkpoint and is not explained (")
    assert "1-1-0" in sentence[0]


def test_a_checkpoint_that_predicts_otherwise_than_its_run_is_left_out(
    make_grid: Callable[..., Path], user_error: UserErrors
) -> None:
    grid = make_grid(CELLS[0], seeds=1)
    for run in grid.iterdir():
        (run / BEST_CHECKPOINT).write_bytes(b"")
    cells, _ = read_grid(grid)
    (found,), (note,) = explained_cells(cells, lambda _: explain(grid / "0-0-0"))  # for either run
    assert found.frame["run"].tolist() == [0] * 18
    assert "predicts 18 tracks of 18 otherwise than its run" in note

    def none(run: Path) -> Explanation:
        raise UserError("no such file", key="dataset.path")

    with user_error("dataset.path"):
        explained_cells(cells, none)
