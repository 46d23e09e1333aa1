"""A folder of labelled music becomes a model: the best of some models by validation, trained on every song."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from omegaconf import DictConfig

from genregrid.cli.argument import with_music
from genregrid.features.weights import FOLDER_VARIABLE
from genregrid.final.music import music_table
from genregrid.final.own import train_on_music
from genregrid.models.trained import load_checkpoint
from genregrid.record.facts import Provenance
from genregrid.training.corpus_reader import CorpusReader

UserErrors = Callable[..., AbstractContextManager[None]]
RATE_HZ = 22_050


@pytest.fixture
def music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five recordings of two genres: tones with noise, of half a second."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    monkeypatch.setattr("genregrid.final.music.num_cores", lambda: 1)
    random = np.random.default_rng(0)
    time = np.arange(RATE_HZ // 2) / RATE_HZ
    for genre, tone_hz in (("high", 2500.0), ("low", 200.0)):
        (tmp_path / "my music" / genre).mkdir(parents=True)
        for number in range(5):
            samples = 0.4 * np.sin(2 * np.pi * tone_hz * random.uniform(0.9, 1.1) * time)
            samples += 0.05 * random.standard_normal(len(time))
            soundfile.write(tmp_path / "my music" / genre / f"song {number}.wav", samples, RATE_HZ)
    return tmp_path / "my music"


@pytest.fixture
def trained(composed: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., str]:
    def run(music: Path, *given: str) -> str:
        given = (*given, "trainer.accelerator=cpu")
        return train_on_music(music, tmp_path / "runs" / "first", given, lambda all_: composed(*all_), CorpusReader())

    return run


def test_music_becomes_a_model_with_a_choice_and_a_next_command(
    music: Path, trained: Callable[..., str], tmp_path: Path
) -> None:
    text = trained(music, "slice=0.25")
    run = tmp_path / "runs" / "first"
    facts = json.loads((run / "run.json").read_text())
    assert facts["model"] in ("lda", "logistic")
    assert facts["dataset_label"] == "my music"
    scores = [json.loads(path.read_text())["val_accuracy"] for path in run.glob(f"{facts['model']}/fold*/run.json")]
    others = [json.loads(path.read_text())["val_accuracy"] for path in run.glob("*/fold*/run.json")]
    assert np.mean(scores) >= np.mean(others)
    assert f"chosen by validation tracks: {facts['model']}" in text
    assert "artists are not known" in text
    assert text.splitlines()[-1].startswith("next: `")
    provenance = Provenance.of(load_checkpoint(run), run)
    assert len(provenance.tracks["train"]) == 10
    assert provenance.map is not None


def test_recordings_are_described_once_until_they_change(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = music_table(music, tmp_path / "features", "kaggle", 0.25)
    made = first.path.stat().st_mtime_ns
    assert music_table(music, tmp_path / "features", "kaggle", 0.25) == first
    assert first.path.stat().st_mtime_ns == made
    assert "has these recordings already" in capsys.readouterr().out
    os.rename(music / "low" / "song 0.wav", music / "low" / "other.wav")
    music_table(music, tmp_path / "features", "kaggle", 0.25)
    assert "low.other" in first.path.read_text()


def test_a_list_with_artists_keeps_them_apart(music: Path, trained: Callable[..., str], tmp_path: Path) -> None:
    rows = [f"{path},{path.parent.name},{path.stem}-{path.parent.name}" for path in sorted(music.glob("*/*.wav"))]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,artist", *rows]))
    text = trained(tmp_path / "list.csv", "slice=0.25", "model=lda", "split.folds=3")
    assert "split artist" in text
    assert "artists are not known" not in text


def test_a_table_is_music_too(music: Path, trained: Callable[..., str], tmp_path: Path) -> None:
    table = music_table(music, tmp_path / "features", "kaggle", 0.25)
    assert "accuracy on 10 test tracks: lda" in trained(table.path, "model=lda", "split.folds=3")


def test_too_few_songs_of_a_genre_are_refused_before_they_are_described(
    music: Path, trained: Callable[..., str], user_error: UserErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("genregrid.final.music.extract", None)  # before hours of work
        for number in range(1, 5):
            (music / "low" / f"song {number}.wav").unlink()
        with user_error(str(music), problem="the genre 'low' has only 1 recording", hint="3 or more"):
            trained(music, "slice=0.25")
        (music / "low" / "song 0.wav").unlink()
        with user_error(str(music), problem="'high'", hint="two genres"):
            trained(music, "slice=0.25")


def test_a_genre_without_a_usable_recording_is_named(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for genre in ("bad", "empty"):
        (music / genre).mkdir()
    for number in range(3):
        (music / "bad" / f"{number}.mp3").write_text("no music")
    for _ in range(2):  # the second time, the table is there
        music_table(music, music.parent / "features", "kaggle", 0.25)
        assert "no recording of bad, empty could be used" in capsys.readouterr().out


def test_a_word_that_is_music_is_the_key(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = "hydra.run.dir=outputs/my-music-"
    monkeypatch.chdir(music.parent)
    first, second, last = with_music(["my music", "slice=6"])
    assert (first, second) == ("music=my music", "slice=6")
    assert last.startswith(folder)
    assert with_music(["model=lda", "hydra.run.dir=x"]) == ["model=lda", "hydra.run.dir=x"]
    assert with_music(["nothere"]) == ["nothere"]
