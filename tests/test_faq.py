"""docs/faq.md: its commands run on small data, its links lead somewhere, and its figures are those of docs/results.md.

Commands run in this process, in a folder with small files of the names that the page uses, with one epoch, few tracks
and one job of a grid; its other choices are composed. Commands that need a cluster, a GPU or hours (`launcher=`,
`experiment=`) are composed and checked, not run; so are those of W&B, which tests/tracking runs. `pip install` is
compared with pyproject.toml.
"""

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from genregrid.config import TrainConfig
from genregrid.features.__main__ import main as describe

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/faq.md"
QUESTION = re.compile(r"^### (\d+)\. (.*)$", re.MULTILINE)
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
FMA_GENRES = ("Electronic", "Experimental", "Folk", "Hip-Hop", "Instrumental", "International", "Pop", "Rock")
PROGRAMS = {
    ("python", "train.py"): "train",
    ("python", "evaluate.py"): "evaluate",
    ("python", "-m", "genregrid.features"): "features",
    ("pip", "install"): "pip",
}
NOT_RUN = ("launcher=", "experiment=", "trainer.accelerator=gpu", "logger=wandb")
RATE_HZ = 22_050

Check = Callable[[str], None]


def parts() -> dict[str, str]:
    """Return the text of every question by its heading."""
    _, *rest = QUESTION.split(PAGE.read_text(encoding="utf-8").partition("\n## Where the questions")[0])
    return {f"{number}. {title}": text for number, title, text in zip(*[iter(rest)] * 3, strict=True)}


def commands(text: str) -> list[str]:
    """Return the commands of a text: indented lines, joined where they end in a backslash."""
    indented = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    return indented.replace("\\\n", " ").splitlines()


QUESTIONS = parts()


def write_recording(path: Path, number: int, seconds: float = 3.2, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.arange(round(seconds * RATE_HZ))
    tone = np.sin(samples * (0.03 + 0.013 * number)) * (1 + 0.5 * np.sin(samples / 2000))
    noise = np.random.default_rng(number).standard_normal(len(samples))
    soundfile.write(path, 0.3 * tone + 0.02 * noise, RATE_HZ, **options)


@pytest.fixture(scope="module")
def readers_folder(tmp_path_factory: pytest.TempPathFactory, make_frame: Callable[..., pd.DataFrame]) -> Path:
    """A folder with the files that the page names, and no outputs."""
    folder = tmp_path_factory.mktemp("reader")
    for number in range(18):
        genre = ("blues", "jazz", "metal")[number % 3]
        write_recording(folder / f"music/{genre}/song {number:02d}.wav", 10 * (number % 3) + number)
    for number in range(2):
        write_recording(folder / f"mysongs/blues/{number}.wav", number, seconds=10.1)
    write_recording(folder / "song.mp3", 3, seconds=10.5, format="MP3")
    write_recording(folder / "live/encore.flac", 4, seconds=10.5)
    if shutil.which("ffmpeg"):
        words = ["ffmpeg", "-loglevel", "error", "-i", str(folder / "song.mp3"), str(folder / "music/jazz/live.m4a")]
        subprocess.run(words, check=True, timeout=60, stdin=subprocess.DEVNULL)
    listed = [{"path": str(path), "label": path.parent.name} for path in sorted(folder.glob("music/*/*.wav"))]
    pd.DataFrame(listed).to_csv(folder / "list.csv", index=False)

    mine = make_frame(genres=("blues", "jazz", "metal"), tracks=6, slices=2)
    mine.to_csv(folder / "my.csv", index=False)
    embeddings = mine[["filename", "length", "label", "tempo", "rolloff_mean"]]
    embeddings.rename(columns={"tempo": "e0", "rolloff_mean": "e1"}).to_csv(folder / "embeddings.csv", index=False)
    ten_seconds = make_frame(genres=GENRES, tracks=6, slices=3, slice_seconds=10.0)
    ten_seconds.drop(columns="label").to_csv(folder / "unlabelled.csv", index=False)
    (folder / "data/gtzan/meta").mkdir(parents=True)
    ten_seconds.to_csv(folder / "data/gtzan/features_10_sec.csv", index=False)
    for path, genres in (("artists.csv", ("blues", "jazz", "metal")), ("data/gtzan/meta/GTZANindex.txt", GENRES)):
        lines = [f"{genre}.{number:05d},{genre} {number}" for genre in genres for number in range(6)]
        (folder / path).write_text("\n".join(["track,artist", *lines]) + "\n")
    return folder


@pytest.fixture
def fma(tmp_path: Path, write_fma_tracks: Callable[..., Path]) -> None:
    """FMA's table, and a clip of each part of its split for each genre."""
    tracks = {}
    for number in range(24):
        part = ("training", "validation", "test")[number // 8]
        tracks[200 + number] = (FMA_GENRES[number % 8], number, f"Artist {number}", part)
        write_recording(tmp_path / f"data/fma/fma_small/000/{200 + number:06d}.wav", number)
    write_fma_tracks(tracks, "data/fma/fma_metadata/tracks.csv")


def jobs_of(arguments: Sequence[str]) -> list[dict[str, str]]:
    """Return a job of the first values of train.py's arguments, and one for each other choice of a group."""
    values = {}
    for word in arguments:
        if word != "-m":
            key, _, value = word.partition("=")
            values[key] = value.split(",") if "-m" in arguments else [value]
    first = {key: choices[0] for key, choices in values.items()}
    return [first, *(first | {key: value} for key in first if "." not in key for value in values[key][1:])]


def small(job: dict[str, str]) -> list[str]:
    """Return arguments of train.py that run a job on small data, for an epoch."""
    changed = {"trainer.max_epochs": "1", "trainer.accelerator": "cpu", "model.transform": "standardise"}
    changed["logger"] = job.get("logger", "none")
    if "dataset" not in job:
        changed["dataset.num_tracks"] = "50"
    if job.get("sweep") == "optuna":
        changed |= {"search.num_trials": "1", "search.num_folds": "1"}
    return [f"{key}={value}" for key, value in (job | changed).items()]


@pytest.fixture
def check(
    script: Callable[..., int],
    composed: Callable[..., DictConfig],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Check:
    """`check("python train.py model=lstm")` runs a command, or composes it, and fails if it does not work."""
    monkeypatch.setattr("genregrid.search.sweep.write_study_report", str)  # it has its own tests, and takes long

    def train(arguments: Sequence[str]) -> int:
        jobs = jobs_of(arguments)
        is_run = not any(word.startswith(NOT_RUN) for word in arguments)
        for job in jobs[is_run:]:
            cfg = composed(*(f"{key}={value}" for key, value in job.items()))
            assert isinstance(OmegaConf.to_object(cfg), TrainConfig)
        return script("train", *arguments[: "-m" in arguments], *small(jobs[0])) if is_run else 0

    def check_command(line: str) -> None:
        words = shlex.split(line, comments=True)
        start = next(start for start in PROGRAMS if tuple(words[: len(start)]) == start)
        name, arguments = PROGRAMS[start], words[len(start) :]
        if name == "pip":
            (extra,) = re.findall(r"-e \.\[(\w+)\]", " ".join(arguments))
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            assert extra in project["optional-dependencies"]
            return
        if name == "train":
            code = train(arguments)
        elif name == "features":
            code = describe([*arguments, "--workers", "1"])
        else:
            code = script(name, *arguments)
        printed = capsys.readouterr()
        assert code == 0, f"{line}: {printed.err or printed.out}"

    return check_command


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_commands_of_every_answer_work(
    question: str, check: Check, readers_folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    shutil.copytree(readers_folder, tmp_path, dirs_exist_ok=True)
    lines = commands(QUESTIONS[question])
    assert lines
    if any("fma_small" in line for line in lines):
        request.getfixturevalue("fma")
    for line in lines:
        check(line)


@pytest.mark.parametrize(
    "line",
    [
        "python train.py epochs=5",
        "python train.py -m model=lda,knn,nothing slice=3 launcher=local",
        "python train.py experiment=paper launcher=slurm hydra.launcher.queue=NAME",
        "python train.py dataset=csv dataset.path=missing.csv slice=3",
        "python evaluate.py runs=missing",
        "python -m genregrid.features missing --out f.csv",
        'pip install -e ".[nothing]"',
    ],
)
def test_a_command_with_a_key_or_a_file_that_does_not_exist_would_be_found(line: str, check: Check) -> None:
    with pytest.raises((AssertionError, HydraException, SystemExit)):
        check(line)


def test_there_are_twenty_short_answers() -> None:
    assert [int(question.partition(".")[0]) for question in QUESTIONS] == list(range(1, 21))
    for question, text in QUESTIONS.items():
        prose = [line for line in text.splitlines() if line and not line.startswith(("    ", "## "))]
        assert len(prose) <= 10, question


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8")):
        if not link.startswith("https://"):
            name, _, anchor = link.partition("#")
            path = PAGE.parent / name if name else PAGE
            assert path.exists(), link
            assert not anchor or anchor in anchors(path), link


def test_figures_are_those_of_the_results() -> None:
    results = " ".join((ROOT / "docs/results.md").read_text(encoding="utf-8").split())
    page = " ".join(PAGE.read_text(encoding="utf-8").split())
    figures = re.findall(r"(\d+\.\d)(?: %)? \((\d+\.\d to \d+\.\d)", page)
    assert len(figures) > 10
    for value, interval in figures:
        assert re.search(rf"{re.escape(value)}(?: %)? \({re.escape(interval)}", results), f"{value} ({interval})"
