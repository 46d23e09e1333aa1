"""Damaged run folders: each file changed in many ways gives one sentence or the same numbers, and never a traceback."""

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from genregrid.errors import UserError
from genregrid.record.folder import with_hashes
from genregrid.report.cell import Cell, read_grid
from genregrid.report.ensemble import ensemble
from genregrid.report.leaderboard import leaderboard
from genregrid.report.writer import write_report

Expect = Callable[..., AbstractContextManager[None]]
CSVS = ("predictions.csv", "predictions_val.csv", "split.csv", "timeline.csv", "curves.csv")
# GENREGRID_ROUNDS=3000 looks further; read here, as tests do not see the variable
ROUNDS = int(os.environ.get("GENREGRID_ROUNDS", "40"))
FILES = ("run.json", "metrics.json", "config.yaml", *CSVS)
CELLS = [
    "",
    "=1+1",
    "nan",
    "inf",
    "-1",
    "1e999",
    "9" * 400,
    "0",
    "1",
    "x" * 9000,
    "'",
    '"',
    "\0",
    "\u202e",
    "2",
    "-0.5",
]


def sealed(folder: Path) -> Path:
    """Add the hashes that a run writes, to a drawn run folder."""
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(with_hashes(content, folder, FILES)))
    return folder


@pytest.fixture
def grid(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """Two models with one fold each, with hashes."""
    for model in ("good", "bad"):
        sealed(make_run(f"grid/{model}", model=model, tracks=8))
    return tmp_path / "grid"


def numbers(cells: list[Cell]) -> tuple[Any, ...]:
    """All that a report computes with."""
    frames = [frame.to_csv() for cell in cells for frame in (cell.predictions, cell.validation, cell.timeline)]
    return leaderboard(cells).text(), frames, [cell.curves.to_csv() for cell in cells], [cell.config for cell in cells]


def mutated(draw: random.Random, content: bytes) -> bytes:
    """Change bytes, lines or cells of a file."""
    kind, at = draw.randrange(10), draw.randrange(max(len(content), 1))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([content[at] ^ 1 << draw.randrange(8)]) + content[at + 1 :]
    if kind == 2:
        return content[:at] + draw.randbytes(draw.randrange(1, 9)) + content[at:]
    if kind == 3:
        return draw.choice([b"", b"\0" * 99, b"\xff\xfe" + content, b"null", b"[]", b"{}", b"a,b\n", content * 2])
    if kind == 4:
        return draw.choice(
            [b"[" * 99999, b"{a: " * 9999, b"a: &a [*a]", b"a: !!python/name:os.system", b"a: 1\n---\nb: 2"]
        )
    lines = content.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    if kind == 5:
        lines[one], lines[other] = lines[other], lines[one]
    elif kind == 6:
        del lines[one]
    elif kind == 7:
        lines.insert(one, lines[other])
    else:
        cells = lines[one].split(b",")
        cells[draw.randrange(len(cells))] = draw.choice(CELLS).encode()
        lines[one] = b",".join(cells)
    return b"\n".join(lines)


def mutated_json(draw: random.Random, content: bytes) -> bytes:
    """Change the value of a key of run.json or metrics.json, or take the key away."""
    found = json.loads(content)
    key = draw.choice(list(found))
    values = [None, -1, 0, 1.5, 10**30, "", "../../..", "\x1b[31m", "<b>|`$\\frac", [], {}, [[1]], {"a": [None]}, True]
    if draw.random() < 0.2:
        del found[key]
    else:
        found[key] = draw.choice(values)
    return json.dumps(found).encode()


def damage(draw: random.Random, run: Path) -> str:
    """Damage one file of a run folder, and return its name."""
    name = draw.choice(FILES)
    path = run / name
    if (kind := draw.randrange(12)) == 0:
        path.unlink()
    elif kind == 1:
        path.unlink()
        draw.choice(
            [path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to(path), lambda: path.symlink_to("/dev/zero")]
        )()
    elif kind < 5 and name.endswith(".json"):
        path.write_bytes(mutated_json(draw, path.read_bytes()))
    else:
        path.write_bytes(mutated(draw, path.read_bytes()))
    return name


def attempt(grid: Path, folder: Path, whole: bool) -> tuple[Any, ...] | None:
    """Return the numbers of a grid and its notes; ``None`` after one sentence."""
    sentence = ""
    try:
        cells, notes = read_grid(grid)
        found = (*numbers(cells), notes)
        text = ensemble([str(grid)], folder / "vote")
        if whole:
            write_report(grid, folder / "report")
    except UserError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 1200
    assert not any(name in sentence for name in ("Error:", "Exception", "Traceback", "codec")), sentence
    return None if sentence else (*found, text)


@pytest.mark.slow
@pytest.mark.parametrize("has_hashes", [True, False])
def test_a_damaged_file_gives_one_sentence_or_the_same_numbers(grid: Path, tmp_path: Path, has_hashes: bool) -> None:
    """Without hashes, as in folders of older versions, a number that a run can have written may differ."""
    if not has_hashes:
        for path in grid.glob("*/run.json"):
            content = json.loads(path.read_text())
            path.write_text(
                json.dumps({key: value for key, value in content.items() if key not in ("files", "sha256")})
            )
    before = attempt(grid, tmp_path, whole=False)
    assert before is not None
    draw, lost = random.Random(ROUNDS), []
    for number in range(ROUNDS):
        copy = tmp_path / "copy"
        shutil.copytree(grid, copy / "grid")
        name = damage(draw, copy / "grid" / draw.choice(["good", "bad"]))
        os.chdir(copy)
        after = attempt(copy / "grid", copy, whole=number % 20 == 0)
        os.chdir(tmp_path)
        if has_hashes and after is not None and after[:-2] != before[:-2] and after[-2] == before[-2]:
            lost.append((number, name))
        shutil.rmtree(copy)
    assert not lost


def without_hashes(run: Path) -> Path:
    """Make a run folder one of an older version."""
    content = json.loads((run / "run.json").read_text())
    kept = {key: value for key, value in content.items() if key not in ("files", "sha256")}
    (run / "run.json").write_text(json.dumps(kept))
    return run


@pytest.mark.parametrize("name", ["predictions.csv", "timeline.csv", "predictions_val.csv"])
@pytest.mark.parametrize("value", ["-5", "1e17", "1e308"])
def test_a_changed_certainty_is_found_without_hashes(grid: Path, user_error: Expect, name: str, value: str) -> None:
    path = without_hashes(grid / "good") / name
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[1, "certainty"] = value
    frame.to_csv(path, index=False)
    with user_error(path, problem="row 2 has a certainty that its probabilities do not have"):
        numbers(read_grid(grid)[0])


@pytest.mark.parametrize(("name", "part"), [("predictions.csv", "test"), ("predictions_val.csv", "val")])
def test_predictions_that_break_off_are_found_without_hashes(
    grid: Path, user_error: Expect, name: str, part: str
) -> None:
    path = without_hashes(grid / "good") / name
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    problem = f"it has {len(lines) - 2} tracks, and split.csv has {len(lines) - 1} of the part {part}"
    with user_error(path, problem=problem):
        numbers(read_grid(grid)[0])


@pytest.mark.parametrize(("column", "value"), [("epoch", "1e308"), ("val/loss", "1e300")])
def test_curves_that_cannot_be_drawn_are_refused(grid: Path, user_error: Expect, column: str, value: str) -> None:
    path = without_hashes(grid / "good") / "curves.csv"
    frame = pd.read_csv(path, dtype=str)
    frame.loc[2, column] = value
    frame.to_csv(path, index=False)
    with user_error(path, problem="row 3 has"):
        numbers(read_grid(grid)[0])


def test_curves_of_too_many_columns_are_refused(grid: Path, user_error: Expect) -> None:
    path = without_hashes(grid / "good") / "curves.csv"
    frame = pd.read_csv(path)
    pd.concat([frame, *(frame[["val/loss"]].set_axis([f"val/{n}"], axis=1) for n in range(100))], axis=1).to_csv(
        path, index=False
    )
    with user_error(path, problem="columns, and 100 are the most"):
        numbers(read_grid(grid)[0])


def test_a_timeline_that_breaks_off_is_found_without_hashes(grid: Path, user_error: Expect) -> None:
    path = without_hashes(grid / "good") / "timeline.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with user_error(path, problem="it has 3 slices of"):
        numbers(read_grid(grid)[0])


def test_a_timeline_of_older_runs_without_numbers_of_slices_is_read(grid: Path) -> None:
    path = without_hashes(grid / "good") / "split.csv"
    before = numbers(read_grid(grid)[0])
    pd.read_csv(path).drop(columns="num_slices").to_csv(path, index=False)
    assert numbers(read_grid(grid)[0]) == before


@pytest.mark.parametrize("num_tracks", [{"train": 2**32, "test": 0}, {"train": 1, "val": 1, "test": 1}])
def test_numbers_of_tracks_that_split_csv_does_not_have_are_found_without_hashes(
    grid: Path, user_error: Expect, num_tracks: dict[str, int]
) -> None:
    path = without_hashes(grid / "good") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_tracks": num_tracks}))
    with user_error(path, problem="its num_tracks"):
        read_grid(grid)
