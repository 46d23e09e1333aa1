"""A song has an answer without a training, and mistakes have a sentence before anything slow."""

import errno
from pathlib import Path

import numpy as np
import pytest
import soundfile

from genregrid.cli.hear import main
from genregrid.exhibit.spreadsheet import read_csv
from genregrid.features.weights import FOLDER_VARIABLE
from genregrid.listening.shipped import FOLDER, choose_model, shipped_models
from genregrid.models.trained import load_checkpoint
from genregrid.record.facts import Provenance

GENRES = {"blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"}


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def song(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    path = tmp_path / "music" / "song.wav"
    path.parent.mkdir()
    soundfile.write(path, 0.1 * random.standard_normal(12 * 22_050), 22_050)
    return path


def test_a_song_has_an_answer_and_leaves_no_file(song: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(song)]) == 0
    out = capsys.readouterr().out
    first, second, *_ = out.splitlines()
    assert first.startswith(f"{song}: ")
    assert set(first.removeprefix(f"{song}: ").removeprefix("unsure: ").replace(" or ", ", ").split(", ")) <= GENRES
    assert "times as probable as the second" in second
    assert "artists that it was not trained on" in out
    assert "better: gtzan-musicnn-msd" in out
    assert [path.name for path in Path().iterdir()] == ["music"]


def test_a_folder_has_a_page_and_tables(
    song: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (song.parent / "notes.mp3").write_text("no music")
    (song.parent / "again.wav").write_bytes(song.read_bytes())
    assert main([str(song.parent), "--out", "answers"]) == 3
    assert sorted(path.name for path in Path("answers").iterdir()) == ["hear.html", "recordings.csv", "timeline.csv"]
    assert '"name":"notes.mp3","audio":"","answer":null,"fault":"not audio' in Path("answers/hear.html").read_text()
    table = read_csv(Path("answers/recordings.csv"))
    assert set(";".join(table["possible"].dropna()).replace(" ", "").split(";")) <= GENRES
    assert table["notes"].str.startswith("skipped: ").sum() == 1
    assert "1 of 3 recordings skipped" in capsys.readouterr().out

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genregrid.listening.score.Scorer.score_all", interrupted)
    assert main([str(song.parent), "--out", "answers"]) == 130
    assert not Path("answers/hear.html").exists()  # it would show other recordings than the tables


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_scored(
    song: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("genregrid.cli.hear.TemporaryDirectory", refuse)
    assert main([str(song), "--out", "answers"]) == 2
    expected = "--out=answers: it cannot be written (Read-only file system); give another folder by --out.\n"
    assert capsys.readouterr() == ("", expected)


def test_a_full_disk_is_one_sentence_after_the_answers(
    song: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("genregrid.listening.score.ScoredFolder.write", full)
    assert main([str(song), "--out", "answers"]) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith(str(song))
    assert (
        printed.err == "--out=answers: it cannot be written (No space left on device); give another folder by --out.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothere.mp3"], "it does not exist"),
        (["music/song.wav", "--model", "nothere"], "no model of this name; choose gtzan-musicnn-msd, "),
        (["music/song.wav", "--model", "gtzan-musicnn-msd"], "--get musicnn"),
        (["music/song.wav", "--model", "latest"], "--model=latest: "),
        (["music/text.wav"], "text.wav"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], problem: str, song: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (song.parent / "text.wav").write_text("no music")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert err.count("\n") == 1


def test_the_best_model_is_taken_whose_needs_are_met(monkeypatch: pytest.MonkeyPatch, musicnn_wheel: Path) -> None:
    chosen = choose_model()
    assert (chosen.name, chosen.better and chosen.better.name) == ("gtzan-descriptors", "gtzan-musicnn-msd")
    monkeypatch.setenv(FOLDER_VARIABLE, str(musicnn_wheel.parent))
    chosen = choose_model()
    assert (chosen.name, chosen.better) == ("gtzan-musicnn-msd", None)


@pytest.mark.parametrize("name", [model.name for model in shipped_models()])
def test_a_shipped_model_has_a_card_and_no_row_of_a_corpus(name: str) -> None:
    (shipped,) = (one for one in shipped_models() if one.name == name)
    model = load_checkpoint(shipped.checkpoint)
    trained = Provenance.of(model, shipped.checkpoint)
    assert trained.card is not None
    assert trained.facts.recipe == shipped.recipe
    assert trained.card.protocol == "artist"
    assert trained.map is None
    assert trained.facts.data_hashes  # which tables it was trained on
    assert trained.card.evidence in shipped.checkpoint.with_suffix(".md").read_text(encoding="utf-8")
    rows = len(trained.tracks["train"])
    assert all(rows not in values.shape for values in model.state_dict().values() if hasattr(values, "shape"))


def test_shipped_models_are_small_and_the_better_ones_come_first() -> None:
    files = [model.checkpoint for model in shipped_models()]
    assert sorted(FOLDER.glob("*.ckpt")) == sorted(files)
    assert sum(path.stat().st_size for path in files) < 1_000_000
    cards = [Provenance.of(load_checkpoint(path), path).card for path in files]
    assert [card and card.accuracy.value for card in cards] == sorted(
        (card.accuracy.value or 0 for card in cards if card), reverse=True
    )
