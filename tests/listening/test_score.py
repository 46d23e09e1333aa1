"""Scores of recordings equal the evaluation of their CSV, and recordings that cannot be scored are refused."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from omegaconf import DictConfig
from threadpoolctl import threadpool_limits

from genregrid.errors import UserError
from genregrid.features.__main__ import main as extract
from genregrid.listening import score
from genregrid.listening.score import score_recording, score_recordings
from genregrid.training.evaluation import evaluate
from genregrid.training.run import train

RATE_HZ = 22_050
TONES_HZ = {"high": 2500.0, "low": 200.0}


def write_recording(path: Path, genre: str, *, seconds: float = 3.3, seed: int = 0, rate: int = RATE_HZ) -> Path:
    """Write a tone with noise; a small model learns such genres at once."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.4 * np.sin(2 * np.pi * TONES_HZ[genre] * random.uniform(0.9, 1.1) * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples + 0.05 * random.standard_normal(len(time)), rate)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twelve recordings of two genres, six slices of half a second each, and their CSV by the recipe `kaggle`."""
    for number in range(6):
        for genre in TONES_HZ:
            write_recording(tmp_path / "music" / genre / f"song {number}.wav", genre, seed=number)
    assert (
        extract([str(tmp_path / "music"), "--slice", "0.5", "--out", str(tmp_path / "mine.csv"), "--workers", "1"]) == 0
    )
    return tmp_path / "mine.csv"


@pytest.fixture
def trained(corpus: Path, composed: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., Path]:
    """`trained("lstm", *overrides)` is the folder of a run on `corpus`."""

    def run(model: str, *overrides: str) -> Path:
        folder = tmp_path / "-".join([model, *overrides]).replace("/", "_")
        base = [f"model={model}", "logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=15", "split.folds=3"]
        train(composed(*base, "dataset=csv", f"dataset.path={corpus}", "slice=0.5", *overrides), folder, model)
        return folder

    return run


@pytest.mark.parametrize(
    "setting",
    [
        ("lstm",),
        pytest.param(("mlp",), marks=pytest.mark.slow),
        pytest.param(("lstm", "slice=1"), marks=pytest.mark.slow),
        pytest.param(("lstm", "window=2", "hop_slices=1"), marks=pytest.mark.slow),
        pytest.param(("mlp", "dataset.include_length=true"), marks=pytest.mark.slow),
    ],
)
def test_a_recording_is_scored_as_its_row_of_the_csv_is(
    trained: Callable[..., Path], tmp_path: Path, setting: tuple[str, ...]
) -> None:
    folder = trained(*setting)
    score_recordings(folder, tmp_path / "music", tmp_path / "scored")
    scored = pd.read_csv(tmp_path / "scored/recordings.csv").set_index("file")
    predictions = pd.read_csv(folder / "predictions.csv")
    for row in predictions.itertuples():
        genre, song = row.track.split(".")
        mine = scored.loc[str(tmp_path / "music" / genre / f"{song}.wav")]
        assert mine["genre"] == row.predicted
        assert mine["p_high"] == pytest.approx(row.p_high, abs=1e-4)
        assert mine["certainty"] == pytest.approx(row.certainty, rel=1e-3)


@pytest.mark.parametrize("num_threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_recordings_of_the_training_set_have_a_note(
    trained: Callable[..., Path], tmp_path: Path, num_threads: int
) -> None:
    """It does on any number of threads, though sums of matrix products differ in their last bits."""
    folder = trained("lstm")
    with threadpool_limits(num_threads):
        score_recordings(folder, tmp_path / "music", tmp_path / "scored")
    scored = pd.read_csv(tmp_path / "scored/recordings.csv").set_index("file")["notes"].fillna("")
    parts = pd.read_csv(folder / "split.csv").set_index("track")["part"]
    for file, notes in scored.items():
        path = Path(str(file))
        seen = parts[f"{path.parent.name}.{path.stem}"] in ("train", "val")
        assert ("trained on this recording" in notes) == seen, file


def test_a_recording_with_the_name_of_a_training_track_has_a_note(trained: Callable[..., Path], tmp_path: Path) -> None:
    folder = trained("mlp")
    parts = pd.read_csv(folder / "split.csv").set_index("track")["part"]
    track = parts[parts == "train"].index[0]
    genre, song = track.split(".")
    write_recording(tmp_path / genre / f"{song}.flac", genre, seed=77)
    printed = score_recordings(folder, tmp_path / genre, tmp_path / "scored")
    assert f"the model was trained on a {track}: if it is this recording, its answer is no test" in printed


def test_a_long_recording_is_cut_into_windows_as_long_as_those_of_training(
    trained: Callable[..., Path], tmp_path: Path
) -> None:
    """Its first half is low and its second half is high, and so is the timeline."""
    folder = trained("lstm")
    low, _ = soundfile.read(write_recording(tmp_path / "low.wav", "low", seconds=6, seed=8))
    high, _ = soundfile.read(write_recording(tmp_path / "high.wav", "high", seconds=6, seed=9))
    soundfile.write(tmp_path / "both.flac", np.concatenate([low, high]), RATE_HZ)
    printed = score_recordings(folder, tmp_path / "both.flac", tmp_path / "scored")
    timeline = pd.read_csv(tmp_path / "scored/timeline.csv")
    assert len(timeline) == 23  # in Kaggle's recipe the last slice needs one sample more
    assert list(timeline["start_seconds"][:3]) == [0.0, 0.5, 1.0]
    assert timeline["genre"].iloc[0] == "low"
    assert timeline["genre"].iloc[-1] == "high"
    alone = pd.read_csv(tmp_path / "scored/timeline.csv")["p_low"].iloc[11]
    assert alone > 0.5
    assert "0:00-" in printed
    assert "low" in printed


def test_a_folder_gives_two_tables_and_a_picture_of_each_recording(
    trained: Callable[..., Path], tmp_path: Path
) -> None:
    folder = trained("mlp")
    write_recording(tmp_path / "new/Ke$ha - $ong.ogg", "high", seed=20)
    write_recording(tmp_path / "new/44100 Hz.wav", "low", seed=21, rate=44_100)
    printed = score_recordings(folder, tmp_path / "new", tmp_path / "scored")
    scored = pd.read_csv(tmp_path / "scored/recordings.csv")
    assert list(scored["genre"]) == ["low", "high"]
    assert scored[["p_high", "p_low"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    pictures = sorted((tmp_path / "scored").glob("*.png"))
    assert [path.name for path in pictures] == ["000-44100 Hz.png", "001-Ke$ha - $ong.png"]
    assert all(path.stat().st_size > 5000 for path in pictures)
    assert "%" in printed
    assert "decades" in printed


def test_tables_are_written_while_recordings_are_scored(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that is killed keeps them."""
    folder = trained("mlp")
    for number in range(2):
        write_recording(tmp_path / f"new/{number}.wav", "high", seed=number)
    num_rows = []

    def counted(*arguments: Any) -> Any:
        table = tmp_path / "scored/recordings.csv"
        num_rows.append(len(pd.read_csv(table)) if table.exists() else 0)
        return score_recording(*arguments)

    monkeypatch.setattr(score, "_WRITE_SECONDS", 0.0)
    monkeypatch.setattr(score, "score_recording", counted)
    score_recordings(folder, tmp_path / "new", tmp_path / "scored")
    assert num_rows == [0, 1]


def test_recordings_that_cannot_be_scored_are_listed_and_the_others_scored(
    trained: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    folder = trained("mlp")
    write_recording(tmp_path / "new/fine.wav", "high")
    write_recording(tmp_path / "new/short.wav", "high", seconds=0.3)
    (tmp_path / "new/text.wav").write_text("no audio")
    score_recordings(folder, tmp_path / "new", tmp_path / "scored")
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert "short.wav: lasts 0.30 s, too short for a slice of 0.5 s" in errors[0]
    assert "text.wav: named .wav but without a RIFF header" in errors[1]
    scored = pd.read_csv(tmp_path / "scored/recordings.csv")
    assert scored["genre"].notna().tolist() == [True, False, False]
    assert scored["notes"][1].startswith("skipped: lasts 0.30 s")
    with user_error("audio", tmp_path / "new/text.wav", problem="named .wav but without a RIFF header"):
        score_recordings(folder, tmp_path / "new/text.wav", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_model_of_a_recipe_that_cannot_be_computed_is_refused(
    trained: Callable[..., Path],
    corpus: Path,
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    corpus.with_suffix(".recipe.json").unlink()
    folder = trained("mlp")
    with user_error("checkpoint", folder, problem="'unknown'"):
        score_recordings(folder, tmp_path / "music", tmp_path / "scored")


def test_a_model_is_not_evaluated_on_a_csv_of_another_recipe(
    trained: Callable[..., Path],
    composed: Callable[..., DictConfig],
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    folder = trained("mlp")
    other = tmp_path / "constant.csv"
    arguments = ["--slice", "0.5", "--padding", "constant", "--out", str(other), "--workers", "1"]
    assert extract([str(tmp_path / "music"), *arguments]) == 0
    overrides = [f"checkpoint={folder}", "dataset=csv", f"dataset.path={other}", "dataset.corpus=other"]
    cfg = composed(*overrides, config="evaluate")
    with user_error("dataset", "csv", problem="'kaggle-constant'", hint="kaggle-reflect"):
        evaluate(cfg, tmp_path / "evaluated")


@pytest.mark.slow
def test_the_rich_recipe_trains_and_scores(corpus: Path, trained: Callable[..., Path], tmp_path: Path) -> None:
    arguments = ["--slice", "0.5", "--recipe", "rich", "--out", str(corpus), "--workers", "1", "--overwrite"]
    assert extract([str(tmp_path / "music"), *arguments]) == 0
    folder = trained("mlp")
    score_recordings(folder, tmp_path / "music/high/song 0.wav", tmp_path / "scored")
    assert pd.read_csv(tmp_path / "scored/recordings.csv")["genre"].tolist() == ["high"]


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], None]], None]:
    """`changed(change)` applies `change` to each model that is loaded from now on."""

    def install(change: Callable[[Any], None]) -> None:
        original = score.load_checkpoint

        def load(path: Path) -> Any:
            model = original(path)
            change(model)
            return model

        monkeypatch.setattr(score, "load_checkpoint", load)

    return install


def test_predictions_that_are_no_numbers_are_refused(
    trained: Callable[..., Path],
    changed: Callable[[Callable[[Any], None]], None],
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
) -> None:
    folder = trained("mlp")

    def ruin(model: Any) -> None:
        with torch.no_grad():
            next(model.parameters()).fill_(float("nan"))

    changed(ruin)
    with user_error("model", problem="not finite"):
        score_recordings(folder, tmp_path / "music", tmp_path / "scored")
    assert not (tmp_path / "scored").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("source_slice_seconds", 1e-9),
        ("source_slice_seconds", 1e9),
        ("source_slice_seconds", float("nan")),
        ("window_slices", 0),
        ("window_slices", -(10**30)),
        ("hop_slices", 0),
        ("hop_slices", "many"),
        ("window", None),
        ("feature_names", "reversed"),
        ("slice_seconds", float("nan")),
        ("slice_seconds", 1.0),
    ],
)
def test_settings_that_no_training_has_are_refused(
    trained: Callable[..., Path],
    changed: Callable[[Callable[[Any], None]], None],
    tmp_path: Path,
    user_error: Callable[..., AbstractContextManager[None]],
    key: str,
    value: Any,
) -> None:
    folder = trained("mlp")

    def change(model: Any) -> None:
        if key == "feature_names":
            model.feature_names = model.feature_names[::-1]
        elif key == "slice_seconds":
            model.slice_seconds = value
        elif key in ("window", "hop_slices"):
            model.provenance["config"] |= {"window": 2, key: value}
        else:
            model.provenance[key] = value

    changed(change)
    own = ("checkpoint", folder) if key in ("feature_names", "slice_seconds") else (folder,)  # or of the facts
    with user_error(*own, problem=key):
        score_recordings(folder, tmp_path / "music", tmp_path / "scored")


def test_windows_of_any_length_are_no_longer_than_the_recording(
    trained: Callable[..., Path], changed: Callable[[Callable[[Any], None]], None], tmp_path: Path
) -> None:
    folder = trained("lstm", "window=2", "hop_slices=1")
    recording = tmp_path / "music/high/song 0.wav"

    def change(model: Any) -> None:
        model.provenance["window_slices"] = 2**32
        model.provenance["config"]["hop_slices"] = 2**32

    changed(change)
    score_recordings(folder, recording, tmp_path / "scored")
    assert len(pd.read_csv(tmp_path / "scored/timeline.csv")) == 6


def test_windows_that_are_predicted_a_few_at_a_time_have_the_same_predictions(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = trained("lstm")
    recording = write_recording(tmp_path / "long.wav", "high", seconds=20, seed=4)
    score_recordings(folder, recording, tmp_path / "whole")
    monkeypatch.setattr(score, "_VALUES_AT_ONCE", 3 * 6 * 57)
    score_recordings(folder, recording, tmp_path / "parts")
    whole, parts = (pd.read_csv(tmp_path / name / "timeline.csv") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, parts, rtol=1e-4, atol=1e-6)
    monkeypatch.setattr(score, "_MOST_WINDOW_SLICES", 100)
    with pytest.raises(UserError, match="too many for the model's windows"):
        score_recordings(folder, recording, tmp_path / "refused")


def test_names_that_are_no_text_harm_neither_screen_nor_tables(
    trained: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained("mlp")
    names = [b"=HYPERLINK(1).wav", b"\x1b[31m$red_{\n.wav", b"\xff.wav", b"a" * 251 + b".wav"]
    for number, name in enumerate(names):
        recording = write_recording(tmp_path / "new/a.wav", "high", seed=number)
        recording.rename(tmp_path / "new" / os.fsdecode(name))
    os.mkfifo(tmp_path / "new/\x1bpipe.wav")
    printed = score_recordings(folder, tmp_path / "new", tmp_path / "scored")
    printed += capsys.readouterr().err
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert "pipe.wav: a pipe, socket or device, not a file" in printed
    scored = pd.read_csv(tmp_path / "scored/recordings.csv")
    assert scored["genre"].notna().sum() == len(names)
    pictures = [path.name for path in (tmp_path / "scored").glob("*.png")]
    assert len(pictures) == len(names)
    assert all(name.isprintable() for name in pictures)


def test_a_device_is_no_recording(
    trained: Callable[..., Path], tmp_path: Path, user_error: Callable[..., AbstractContextManager[None]]
) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    folder = trained("mlp")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        with user_error(path, problem="pipe, socket or device"):
            score_recordings(folder, path, tmp_path / "scored")
