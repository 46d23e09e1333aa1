"""Write the report of a grid: tables as CSV and Markdown, figures as SVG, and one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from genregrid.errors import counted, printable
from genregrid.exhibit.mark import Mark, union
from genregrid.exhibit.page import render_page
from genregrid.exhibit.table import Section, Table, columns, written
from genregrid.files import write_text
from genregrid.published.reference import read_reference
from genregrid.record.folder import check_replaceable
from genregrid.report.ambiguity import ambiguity_section
from genregrid.report.audit import audit_section
from genregrid.report.cell import Cell, read_grid
from genregrid.report.comparison import comparison_section
from genregrid.report.importance import Explain, importance_section
from genregrid.report.leaderboard import chosen, leaderboard
from genregrid.report.listener import listener_section, listening_genres, listening_items, people_table, read_answers
from genregrid.report.paper import paper_section
from genregrid.report.recording import recording_urls
from genregrid.report.rows import CELL_COLUMNS, cell_row
from genregrid.report.trust import trust_section

_LONGEST_NOTE = 1000  # characters


@dataclass(frozen=True)
class Report:
    """A written report: report.html, and each table and figure by name, in a folder."""

    folder: Path
    sections: tuple[Section, ...]
    cells: tuple[Cell, ...]
    text: str  # the leaderboard and notes, to print


def write_report(
    runs: Path | Sequence[Path],
    folder: Path,
    *,
    reference: str | None = None,
    audio: Path | None = None,
    human: Path | None = None,
    explain: Explain | None = None,
) -> Report:
    """Read the runs below one folder or several and write their report into `folder`, which is made if missing.

    `reference` names published values, such as "paper". `audio` has recordings in a folder per genre; ``None`` searches
    beside the feature CSVs. `human` has answers of the report's listening test. `explain` explains a run by its
    checkpoint; ``None`` leaves out the section on what models use.

    Raises:
        UserError: there is no finished run, the reference, the recordings or the answers do not fit, or the folder has
            files of others.
    """
    cells, notes = read_grid(*([runs] if isinstance(runs, Path) else runs))
    published = read_reference(reference) if reference is not None else None
    urls = recording_urls(cells, audio, folder)
    board = leaderboard(cells)
    text, people = [board.text()], []
    if human is not None:
        answers, more = read_answers(human, cells)
        notes += more
        people = [listener_section(answers, cells)]
        text += ["", people_table(answers).text()]
    explained = []
    if explain is not None:
        section, more = importance_section(cells, explain, published)
        explained, notes = [section], [*notes, *more]
    sections = (
        _overview(cells, board),
        *people,
        audit_section(cells, published),
        paper_section(cells, published),
        comparison_section(cells),
        trust_section(cells),
        ambiguity_section(cells, urls, published),
        *explained,
        _provenance(cells, notes),
    )
    items = listening_items(cells, urls)
    marks = union(cell.marks for cell in cells)
    titles = ", ".join(dict.fromkeys(cell.dataset_title for cell in cells))
    subtitle = f"{counted(sum(len(cell.runs) for cell in cells), 'run')} in {counted(len(cells), 'cell')} on {titles}"
    page = render_page("genregrid report", subtitle, marks, sections, items, listening_genres(cells, items))
    names = [one.name for section in sections for one in section.exhibits]
    check_replaceable(folder, [f"{name}.{ending}" for name in names for ending in ("csv", "md", "svg")])
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "report.html", page)  # first: by it an interrupted report is recognised as ours
    for section in sections:
        for exhibit in section.exhibits:
            exhibit.write(folder)
    lines = [*text, *(printable(note, _LONGEST_NOTE) for note in notes), f"report: {folder / 'report.html'}"]
    return Report(folder, sections, tuple(cells), "\n".join(lines))


def _path_text(path: Path) -> str:
    """Write a path as text; names in the file system may have bytes that are no text."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def _overview(cells: Sequence[Cell], board: Table) -> Section:
    text = (
        "Every model, slice length, corpus and protocol of these runs. Runs that differ only in fold and seed form one "
        "cell, and their test predictions are pooled. Compare cells of one corpus and protocol only."
    )
    marks = union(cell.marks for cell in cells)
    if Mark.LEAKS in marks:
        text += " Scores marked LEAKS come from tracks that the model was trained on: they measure memory."
    if Mark.SYNTHETIC in marks:
        text += " Scores marked SYNTHETIC come from a statistical twin of a corpus: they show the software, not music."
    if Mark.MAY_OVERLAP in marks:
        text += (
            " Scores marked MAY-OVERLAP rest on a network that was trained on commercial music with tags such as rock "
            "and jazz, or on music that is not known here. It may know recordings or artists of the test, so they are "
            "not about unknown music."
        )
    for cell in chosen(cells):
        accuracy = cell.bootstrap.mean(cell.correct)
        shown = " to ".join(written(bound, "percent") for bound in (accuracy.low, accuracy.high) if bound == bound)
        value = written(accuracy.value, "percent") + (f" ({shown})" if shown else "")
        text += f"\n\nChosen on validation tracks: {cell.title}. Its test accuracy is {value} %."
    return Section("leaderboard", "Leaderboard", text, (board,))


def _provenance(cells: Sequence[Cell], notes: Sequence[str]) -> Section:
    """List the run folders that the numbers come from."""
    frame = pd.concat([cell.runs.assign(**cell_row(cell)) for cell in cells], ignore_index=True)
    frame["folder"] = frame["folder"].map(_path_text)
    frame["commit"] = frame["commit"].fillna("").str[:12]
    shown = (
        *CELL_COLUMNS,
        *columns("count", fold="fold", seed="seed", num_train="training tracks", num_test="test tracks"),
        *columns("percent", accuracy="accuracy %"),
        *columns(commit="commit", folder="folder"),
    )
    versions = ", ".join(f"{name} {version}" for name, version in cells[0].facts.versions.items())
    text = (
        "Every number is computed from predictions.csv, predictions_val.csv, timeline.csv and curves.csv of these run "
        f"folders. Every table is also a CSV in the folder of this page. Versions of the first run: {versions}."
    )
    marks = [cell.marks for cell in cells for _ in range(len(cell.runs))]
    table = Table("runs", "Runs", frame, shown, "One row per run. Accuracy is that of its test tracks.", marks)
    shown_notes = [printable(note, _LONGEST_NOTE) for note in notes]
    return Section("runs", "Where the numbers come from", "\n\n".join([text, *shown_notes]), (table,))
