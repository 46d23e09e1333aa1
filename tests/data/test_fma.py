"""Claims about `genregrid.data.fma`: FMA's table of tracks, from genres and artists to a training on its split."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from omegaconf import DictConfig

from genregrid.data.fma import FmaTrack, fma_artists, fma_genre, fma_parts, is_fma, read_fma
from genregrid.features.__main__ import main
from genregrid.features.folder import find_tracks
from genregrid.record.result import Result
from genregrid.training.run import train

Mistake = Callable[..., AbstractContextManager[None]]
Writer = Callable[..., Path]
TRACKS = {
    2: ("Hip-Hop", 1, "AWOL", "training"),
    10: ("Pop", 6, "Kurt Vile", "validation"),
    182: ("Rock", 41, "Ed Askew", "test"),
    183: ("", 41, "Ed Askew", "training"),
    99134: ("Old-Time / Historic", 7, "", "training"),
    155066: ("Rock", 8, "AWOL", "training"),  # another artist of the same name
}


def test_the_table_is_read_below_its_header_of_three_rows(write_fma_tracks: Writer) -> None:
    path = write_fma_tracks(TRACKS)
    lines = path.read_text().splitlines()
    assert lines[0].startswith(",album,album")
    assert lines[1].startswith(",comments,date_created")
    assert set(lines[2]) == set("track_id,")
    assert is_fma(path)
    assert read_fma(path) == {
        2: FmaTrack("Hip-Hop", "AWOL (1)", "train"),
        10: FmaTrack("Pop", "Kurt Vile (6)", "val"),
        182: FmaTrack("Rock", "Ed Askew (41)", "test"),
        183: FmaTrack("", "Ed Askew (41)", "train"),
        99134: FmaTrack("Old-Time / Historic", "(7)", "train"),
        155066: FmaTrack("Rock", "AWOL (8)", "train"),
    }


def test_tracks_are_found_by_number_and_genre(write_fma_tracks: Writer) -> None:
    path = write_fma_tracks(TRACKS)
    tracks = ("Hip-Hop.000002", "Old-Time-Historic.099134", "Pop.00010", "rock.000_000182", "Rock.155066")
    assert fma_parts(path, tracks) == dict(zip(tracks, ("train", "train", "val", "test", "train"), strict=True))
    assert fma_artists(path, tracks)["rock.000_000182"] == "Ed Askew (41)"
    assert len(set(fma_artists(path, tracks).values())) == 5  # two of one name are two


def test_tracks_of_another_corpus_are_refused(write_fma_tracks: Writer, user_error: Mistake) -> None:
    path = write_fma_tracks(TRACKS)
    with user_error(path, problem="it has 1 of the 3 tracks, and not such as 'blues.00002'", hint="Rock.000182"):
        fma_parts(path, ["blues.00002", "Rock.000182", "jazz.some song"])


@pytest.mark.parametrize(
    "text",
    ["", "path,label\na.mp3,rock\n", ",track\n", ",set,set\n,split,subset\ntrack_id,,\n", '"', "\0\1", "a\n" * 9],
)
def test_another_table_is_refused(tmp_path: Path, user_error: Mistake, text: str) -> None:
    path = tmp_path / "tracks.csv"
    path.write_text(text)
    assert not is_fma(path)
    with user_error(path, problem="is not FMA's table of tracks", hint="give tracks.csv of fma_metadata.zip"):
        read_fma(path)


def test_a_table_that_breaks_off_is_refused(write_fma_tracks: Writer, user_error: Mistake) -> None:
    path = write_fma_tracks(TRACKS)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"Life")])
    with user_error(path, problem="damaged", hint="download it again"):
        read_fma(path)


def test_a_table_that_changed_is_read_again(write_fma_tracks: Writer) -> None:
    assert len(read_fma(write_fma_tracks(TRACKS))) == len(TRACKS)
    assert len(read_fma(write_fma_tracks({2: TRACKS[2]}))) == 1


def test_every_genre_of_fma_is_a_name_of_a_genre(project_root: Path) -> None:
    assert fma_genre("Old-Time / Historic") in (project_root / "conf/dataset/fma_medium.yaml").read_text()


# folders of recordings ----------------------------------------------------------------------------------------------


def test_recordings_have_the_genres_and_artists_of_the_table(write_fma_tracks: Writer, tmp_path: Path) -> None:
    labels = write_fma_tracks(TRACKS)
    names = ["000/000002.mp3", "000/000183.mp3", "099/099134.mp3", "155/155066.mp3", "000/000003.mp3", "000/intro.mp3"]
    for name in (*names, "README.txt", "checksums"):
        (tmp_path / "fma_small" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fma_small" / name).touch()
    for given in (labels, labels.parent):
        found = find_tracks(tmp_path / "fma_small", given)
        assert [(track.track, track.genre, track.artist) for track in found.tracks] == [
            ("Hip-Hop.000002", "Hip-Hop", "AWOL (1)"),
            ("Old-Time-Historic.099134", "Old-Time-Historic", "(7)"),
            ("Rock.155066", "Rock", "AWOL (8)"),
        ]
        assert {path.name for path, _ in found.skipped} == {"000183.mp3", "000003.mp3", "intro.mp3"}
        assert found.ignored.total() == 2


def test_a_list_takes_no_labels(write_fma_tracks: Writer, tmp_path: Path, user_error: Mistake) -> None:
    (tmp_path / "list.csv").write_text("path,label\na.mp3,rock\n")
    labels = write_fma_tracks(TRACKS)
    with user_error("--labels", labels, hint="leave it out"):
        find_tracks(tmp_path / "list.csv", labels)


def test_a_missing_table_is_refused(tmp_path: Path, user_error: Mistake) -> None:
    (tmp_path / "fma_small").mkdir()
    with user_error(tmp_path / "tracks.csv", problem="does not exist"):
        find_tracks(tmp_path / "fma_small", tmp_path / "tracks.csv")


# training -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(write_fma_tracks: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the layout of data/README.md with 24 recordings, 8 of a genre and 6 of an artist."""
    monkeypatch.setenv("GENREGRID_DATA", str(tmp_path / "data"))
    tracks, random = {}, np.random.default_rng(0)
    for number in range(24):
        genre = ("Hip-Hop", "Pop", "Rock")[number % 3]
        part = ("training", "training", "validation", "test")[number // 6]
        tracks[200 + number] = (genre, number // 6, "The Same Name", part)
        path = tmp_path / f"data/fma/fma_small/000/{200 + number:06d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = np.sin(np.arange(22_050) * (0.05 + 0.1 * (number % 3) + 0.001 * number))
        soundfile.write(path, 0.3 * tone + 0.01 * random.standard_normal(22_050), 22_050)
    (tmp_path / "data/fma/fma_small/000/000300.wav").write_bytes(b"RIFF")  # a broken clip
    tracks[300] = ("Rock", 9, "X", "training")
    write_fma_tracks(tracks, "data/fma/fma_metadata/tracks.csv")
    return tmp_path / "data/fma"


def extract(corpus: Path) -> int:
    out = corpus / "fma_small/features_3_sec.csv"
    labels = corpus / "fma_metadata/tracks.csv"
    options = ["--labels", str(labels), "--slice", "0.5", "--workers", "1", "--out", str(out)]
    return main([str(corpus / "fma_small"), *options])


@pytest.fixture
def fit(composed: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., Result]:
    """`fit("split=official", ...)` trains on fma_small."""

    def trained(split: str, *overrides: str) -> Result:
        fixed = ("dataset=fma_small", "slice=0.5", "model=gaussian", "logger=none", "dataset.genres=null")
        return train(composed(*fixed, split, *overrides), tmp_path / split, "gaussian")

    return trained


def parts_of(folder: Path) -> dict[str, set[str]]:
    split = pd.read_csv(folder / "split.csv")
    return {str(part): set(own["track"]) for part, own in split.groupby("part")}


def test_a_folder_of_fma_is_extracted_and_trained_on_by_its_official_split(
    corpus: Path, fit: Callable[..., Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extract(corpus) == 3  # one was skipped
    assert "000300.wav: not audio that can be read" in capsys.readouterr().out
    result = fit("split=official")
    parts = parts_of(tmp_path / "split=official")
    assert {name: len(tracks) for name, tracks in parts.items()} == {"train": 12, "val": 6, "test": 6}
    assert parts["test"] == {f"{('Hip-Hop', 'Pop', 'Rock')[number % 3]}.{200 + number:06d}" for number in range(18, 24)}
    assert result.facts.protocol == "official"
    assert (result.facts.folds, result.facts.val_folds) == (1, None)
    assert not [note for note in result.notes if "leaks" in note]


def test_artists_are_those_of_the_table(corpus: Path, fit: Callable[..., Result], tmp_path: Path) -> None:
    extract(corpus)
    fit("split=artist", "split.folds=3")
    parts = parts_of(tmp_path / "split=artist")
    artists = {name: {(int(track[-6:]) - 200) // 6 for track in tracks} for name, tracks in parts.items()}
    assert sum(map(len, artists.values())) == 4  # of six tracks each, and none in two parts
