"""docs/notebook.md and docs/notebooks: their code runs as it is written, and the notebooks are small and clean."""

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/notebook.md"
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
MOST_BYTES = 100_000
# Paths and names of a machine, and what a kernel prints on it.
OF_A_MACHINE = re.compile(r"/(?:home|root|tmp|work|usr|Users|opt)/|site-packages|[A-Z]:\\\\|\x1b|ipykernel|Warning")


def run(code: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    names: dict[str, Any] = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")  # of a plain trainer, about its own settings
        for number, block in enumerate(code):
            exec(compile(block, f"block {number}", "exec"), names)


def test_the_code_of_the_page_runs(
    make_frame: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = make_frame(tracks=6, slices=2)
    frame.to_csv("features_3_sec.csv", index=False)
    frame.drop(columns="label").to_csv("unlabelled.csv", index=False)
    tracks = sorted({name.rsplit(".", 2)[0] for name in frame["filename"]})
    lines = [f"{track},{track[:-1]}{int(track[-1]) // 2}" for track in tracks]  # two tracks of each artist
    Path("artists.csv").write_text("\n".join(["track,artist", *lines]) + "\n")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 6
    run(blocks, monkeypatch)


@pytest.mark.parametrize(
    "path",
    # the other one trains on the whole twin
    [pytest.param(path, marks=[pytest.mark.torture] * (path.stem == "first_steps")) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_the_code_of_a_notebook_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("soundfile")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    run([cell["source"] for cell in cells if cell["cell_type"] == "code"], monkeypatch)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_has_outputs_of_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    book = json.loads(text)
    assert len(text.encode()) < MOST_BYTES
    assert book["nbformat"] == 4
    assert set(book["metadata"]) == {"kernelspec", "language_info"}
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"execute_result"}  # nothing is printed
    assert len(outputs) >= len(code) - 1
    assert not OF_A_MACHINE.search(text)


def test_there_are_two_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["first_steps", "own_recordings"]
