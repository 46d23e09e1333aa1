"""Everything that a grid says, written at once: tables as CSV and Markdown, figures, and one page to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genregrid.exhibit.mark import union
from genregrid.exhibit.page import render_page
from genregrid.exhibit.table import Column, Exhibit, Section, Table
from genregrid.published.reference import read_reference
from genregrid.report.ambiguity import ambiguity_section
from genregrid.report.audit import audit_section
from genregrid.report.cell import Cell, read_grid
from genregrid.report.leaderboard import comparison, comparison_matrix, leaderboard
from genregrid.report.listener import listener_section, listening_genres, listening_items, people_table, read_answers
from genregrid.report.paper import paper_section
from genregrid.report.recording import recording_urls
from genregrid.report.trust import trust_section


@dataclass(frozen=True)
class Report:
    """A written report.

    Attributes:
        folder: where its files lie: report.html, and each table and figure by name.
        sections: what it holds.
        cells: of the grid.
        text: the leaderboard and notes, for the screen.
    """

    folder: Path
    sections: tuple[Section, ...]
    cells: tuple[Cell, ...]
    text: str


def write_report(
    runs: Path,
    folder: Path,
    *,
    reference: str | None = None,
    audio: Path | None = None,
    human: Path | None = None,
) -> Report:
    """Gather the runs below a folder and write all that they say.

    Args:
        runs: a folder of run folders.
        folder: where to write; made if missing.
        reference: published figures to set beside ours, such as "paper".
        audio: recordings in a folder per genre; ``None`` looks beside the feature CSVs.
        human: answers of the report's listening test.

    Raises:
        UserError: there is no finished run, or the reference, the recordings or the answers do not fit.
    """
    cells, notes = read_grid(runs)
    published = read_reference(reference) if reference is not None else None
    urls = recording_urls(cells, audio, folder)
    board = leaderboard(cells)
    sections = [_overview(cells, board), audit_section(cells, published), paper_section(cells, published)]
    sections += [_comparison(cells), trust_section(cells)]
    sections += [ambiguity_section(cells, urls, published)]
    text = [board.text()]
    if human is not None:
        answers, more = read_answers(human, cells)
        notes += more
        sections.insert(1, listener_section(answers, cells))
        text += ["", people_table(answers).text()]
    sections.append(_provenance(cells, notes))
    items = listening_items(cells, urls)
    genres = listening_genres(cells, items)
    marks = union(cell.marks for cell in cells)
    page = render_page("genregrid report", _subtitle(cells), marks, sections, items, genres)
    _write(folder, sections, page)
    text += notes
    return Report(folder, tuple(sections), tuple(cells), "\n".join([*text, f"report: {folder / 'report.html'}"]))


def _write(folder: Path, sections: Sequence[Section], page: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for exhibit in section.exhibits:
            exhibit.write(folder)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _subtitle(cells: Sequence[Cell]) -> str:
    num_runs = sum(len(cell.runs) for cell in cells)
    datasets = ", ".join(dict.fromkeys(cell.dataset for cell in cells))
    return f"{num_runs} runs in {len(cells)} cells on {datasets}"


def _overview(cells: Sequence[Cell], board: Table) -> Section:
    text = "Every model, slice length, corpus and protocol of these runs. Compare within a corpus and protocol only."
    if any(cell.leaks for cell in cells):
        text += " Figures marked LEAKS come from tracks that the model had learnt from: they measure memory."
    if any(cell.facts.synthetic for cell in cells):
        text += " A synthetic corpus shows how the software works; its figures are about no music."
    return Section("leaderboard", "Leaderboard", text, (board,))


def _comparison(cells: Sequence[Cell]) -> Section:
    table = comparison(cells)
    exhibits: tuple[Exhibit, ...] = () if table is None else (*comparison_matrix(table), table)
    text = "Any two models of a corpus and protocol, on the same tracks."
    if table is None:
        text += " There are no two here."
    return Section("comparison", "Which differences are real", text, exhibits)


def _provenance(cells: Sequence[Cell], notes: Sequence[str]) -> Section:
    """Which run folders every number comes from."""
    frame = pd.concat(
        [cell.runs.assign(dataset=cell.dataset, split=cell.split, model=cell.label) for cell in cells],
        ignore_index=True,
    )
    frame["folder"] = frame["folder"].astype(str)
    frame["commit"] = frame["commit"].fillna("").str[:12]
    columns = (
        Column("dataset", "dataset"),
        Column("split", "protocol"),
        Column("model", "model"),
        Column("fold", "fold", "count"),
        Column("seed", "seed", "count"),
        Column("num_train", "training tracks", "count"),
        Column("num_test", "test tracks", "count"),
        Column("accuracy", "accuracy %", "percent"),
        Column("commit", "commit"),
        Column("folder", "folder"),
    )
    versions = ", ".join(f"{name} {version}" for name, version in cells[0].facts.versions.items())
    text = (
        "Every number above is computed from predictions.csv, predictions_val.csv, timeline.csv and curves.csv of "
        f"these run folders, and every table lies as CSV beside this page. First run: {versions}."
    )
    text = "\n\n".join([text, *notes])
    return Section("runs", "Where the numbers come from", text, (Table("runs", "Runs", frame, columns),))
