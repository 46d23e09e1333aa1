"""Claims about `python -m genregrid.features`: what it writes and prints, and that a stopped run resumes.

Most tests run `main` in this process with one worker; slow tests start or kill processes.
"""

import contextlib
import csv
import errno
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from numpy.typing import NDArray

from genregrid.data.catalogue import read_artists
from genregrid.data.columns import FEATURE_NAMES, SAMPLE_RATE_HZ
from genregrid.data.note import read_note
from genregrid.data.table import read_table
from genregrid.features import description, extraction, workers
from genregrid.features.__main__ import main
from genregrid.features.extraction import extract
from genregrid.features.folder import TrackFile, find_tracks
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.journal import Described, Journal, seconds_key
from genregrid.features.recipe import TableKey
from genregrid.features.rich import RICH_FEATURE_NAMES
from genregrid.recording.audio import Recording, read_audio

TRACKS = {  # seconds of each
    "pop/one.wav": 1.6,
    "pop/two.flac": 1.1,
    "rock/Album/01. Song.wav": 1.3,
    "rock/rock.00007.wav": 2.2,
}
SOMETHING_SKIPPED = 3  # the exit code
INTERRUPTED = "interrupted; run the same command again to resume."
EXISTS = "features.csv: exists already; give --overwrite to replace it, or another --out."
NAMES = ("pop.one", "pop.two", "rock.00007", "rock.Album_01_ Song")


Use = Callable[[NDArray[np.float32]], object]


def samples_of(path: Path) -> NDArray[np.float32]:
    blocks: list[NDArray[np.float32]] = []
    read_audio(path, blocks.append)
    return np.concatenate(blocks)


def write_noise(path: Path, seconds: float, seed: int = 0, rate: int = SAMPLE_RATE_HZ) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, samples, rate)
    return path


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder of `TRACKS`."""
    for seed, (name, seconds) in enumerate(TRACKS.items()):
        write_noise(tmp_path / "music" / name, seconds, seed)
    return tmp_path / "music"


@pytest.fixture
def read_paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read, in their order."""
    seen: list[str] = []

    def read(path: Path, use: Use, *rates: Any) -> Recording:
        seen.append(path.name)
        return read_audio(path, use, *rates)

    monkeypatch.setattr(description, "read_audio", read)
    return seen


def run(source: Path, *arguments: str | Path, out: Path | str = "features.csv") -> int:
    return main([str(source), "--slice", "0.5", "--workers", "1", "--out", str(out), *map(str, arguments)])


def stop_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Have ctrl-C come while recording number `count` + 1 is read."""
    num_read = 0

    def read(path: Path, use: Use, *rates: Any) -> Recording:
        nonlocal num_read
        num_read += 1
        if num_read > count:
            raise KeyboardInterrupt
        return read_audio(path, use, *rates)

    monkeypatch.setattr(description, "read_audio", read)


def interrupted(monkeypatch: pytest.MonkeyPatch, source: Path, count: int, **kwargs: Any) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, count)
        assert run(source, **kwargs) == 130


def tracks_of(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


# what is written ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe", [HandmadeRecipe(), HandmadeRecipe("kaggle", "constant"), HandmadeRecipe("rich")], ids=lambda r: r.name
)
def test_the_csv_holds_the_descriptors_of_each_recording(music: Path, recipe: HandmadeRecipe) -> None:
    assert run(music, "--recipe", recipe.descriptors, "--padding", recipe.padding) == 0
    table = read_table([Path("features.csv")], feature_names=recipe.feature_names)
    assert table.tracks == NAMES
    assert table.genres == ("pop", "rock")
    assert table.slice_seconds == 0.5
    for number, track in enumerate(find_tracks(music).tracks):
        samples = samples_of(track.path)
        rows = table.track == number
        expected = recipe.describe(samples, 0.5).astype(np.float32)
        np.testing.assert_array_equal(table.features[rows], expected)
        lengths = [stop - start for start, stop in recipe.slice_bounds(len(samples), 0.5)]
        assert table.length_samples[rows].tolist() == lengths
        assert table.genres[table.genre[number]] == track.genre


def test_the_columns_have_the_order_of_kaggles_files(music: Path) -> None:
    run(music)
    header = Path("features.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == ",".join(["filename", "length", *FEATURE_NAMES, "label"])
    run(music, "--recipe", "rich", out="rich.csv")
    header = Path("rich.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == ",".join(["filename", "length", *RICH_FEATURE_NAMES, "label"])


def test_several_lengths_are_one_pass_and_equal_those_of_separate_runs(music: Path, read_paths: list[str]) -> None:
    assert run(music, "--slice", "1,0.5", out="many") == 0
    assert len(read_paths) == len(TRACKS)
    written = sorted(path.name for path in Path("many").iterdir())
    names = ["features_0.5_sec", "features_1_sec"]
    endings = (".csv", ".recipe.json")
    assert written == [*sorted(f"{name}{ending}" for name in names for ending in endings), "tracks.csv"]
    for seconds, name in zip(("0.5", "1"), names, strict=True):
        assert run(music, "--slice", seconds, out=f"{name}.csv") == 0
        assert Path(f"{name}.csv").read_bytes() == (Path("many") / f"{name}.csv").read_bytes()


def test_one_length_into_a_folder_is_called_by_its_length(music: Path) -> None:
    assert run(music, out="folder") == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == [
        "features_0.5_sec.csv",
        "features_0.5_sec.recipe.json",
        "features_0.5_sec.tracks.csv",
    ]


def test_tracks_of_one_slice_each_are_whole_clips(tmp_path: Path) -> None:
    for name, seconds in (("rock/a", 1.01), ("rock/b", 0.99), ("pop/a", 1.5)):
        write_noise(tmp_path / "music" / f"{name}.wav", seconds)
    assert run(tmp_path / "music", "--slice", "1") == 0
    frame = pd.read_csv("features.csv")
    assert frame["filename"].tolist() == ["pop.a.wav", "rock.a.wav", "rock.b.wav"]
    assert frame["length"].tolist() == [22_049, 22_270, 21_830]  # one cut, two whole
    assert read_table([Path("features.csv")]).slice_seconds == 1


def test_one_track_of_two_slices_makes_all_of_them_slices(tmp_path: Path) -> None:
    write_noise(tmp_path / "music/rock/a.wav", 2.1)
    write_noise(tmp_path / "music/pop/b.wav", 1.0)
    assert run(tmp_path / "music", "--slice", "1") == 0
    assert pd.read_csv("features.csv")["filename"].tolist() == ["pop.b.0.wav", "rock.a.0.wav", "rock.a.1.wav"]


def test_the_note_beside_a_csv_names_recipe_length_and_hash(music: Path) -> None:
    run(music, "--slice", "0.5,1", "--padding", "constant", out="many")
    for seconds in (0.5, 1.0):
        path = Path("many") / f"features_{seconds:g}_sec.csv"
        note = read_note(path)
        assert note is not None
        assert (note.recipe, note.slice_seconds) == ("kaggle-constant", seconds)
        assert note.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_list_of_tracks_has_the_result_of_each(music: Path) -> None:
    write_noise(music / "pop/short.wav", 0.2)
    write_noise(music / "rock/wide.wav", 1.0, rate=96_000)
    (music / "rock/a.m4a").touch()
    assert run(music) == SOMETHING_SKIPPED
    tracks = tracks_of(Path("features.tracks.csv"))
    assert list(tracks.columns) == ["track", "label", "artist", "path", "seconds", "skipped", "notes"]
    assert tracks["track"].tolist() == ["pop.one", "pop.short", "pop.two", *NAMES[2:], "rock.a", "rock.wide"]
    by_path = tracks.set_index(tracks["path"].map(lambda path: str(Path(path).relative_to(music))))
    assert by_path.loc["pop/one.wav"].tolist()[:3] == ["pop.one", "pop", ""]
    assert {name: float(by_path.loc[name, "seconds"]) for name in TRACKS} == TRACKS
    assert by_path.loc["pop/short.wav", "skipped"] == "lasts 0.20 s, too short for a slice of 0.5 s"
    assert by_path.loc["rock/wide.wav", "notes"] == "resampled from 96000 Hz"
    assert by_path.loc["rock/a.m4a", "skipped"] == "empty, 0 bytes"
    assert set(by_path.loc[list(TRACKS), "skipped"]) == {""}


def test_the_list_of_tracks_is_an_artist_index(music: Path, tmp_path: Path) -> None:
    source = tmp_path / "list.csv"
    source.write_text(
        "path,label,artist\nmusic/pop/one.wav,pop,ABBA\nmusic/pop/two.flac,pop,\n"
        'music/rock/rock.00007.wav,rock,"Simon, Paul"\nmusic/gone.wav,rock,Queen\n',
        encoding="utf-8",
    )
    assert run(source) == SOMETHING_SKIPPED
    assert read_artists(Path("features.tracks.csv")) == {
        "pop.music_pop_one": "ABBA",
        "rock.00007": "Simon, Paul",
        "rock.music_gone": "Queen",
    }
    tracks = set(read_table([Path("features.csv")]).tracks)
    assert tracks == {"pop.music_pop_one", "pop.music_pop_two", "rock.00007"}


# what is printed -----------------------------------------------------------------------------------------------------


def test_success_is_the_genres_one_line_and_code_zero(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(music) == 0
    out, err = capsys.readouterr()
    genres, summary, after = out.splitlines()
    assert after == "next: `python train.py features.csv`"
    assert genres == f"{music}: 4 recordings of 2 genres: pop 2, rock 2"
    assert summary == "features.csv: 11 slices of 0.5 s of 4 tracks in 2 genres, recipe kaggle-reflect"
    assert err == ""
    assert not list(Path().glob("*.partial")) + list(Path().glob("*.writing"))


def test_every_bad_recording_is_named_in_one_line_and_the_rest_is_done(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(music, out="good.csv")
    bad = music / "rock"
    one = np.ones(SAMPLE_RATE_HZ)
    soundfile.write(bad / "silent.wav", 0 * one, SAMPLE_RATE_HZ)
    soundfile.write(bad / "nan.wav", np.nan * one, SAMPLE_RATE_HZ, subtype="FLOAT")
    soundfile.write(bad / "huge.wav", 1e30 * one, SAMPLE_RATE_HZ, subtype="FLOAT")
    (bad / "empty.wav").touch()
    (bad / "text.wav").write_text("not audio")
    (bad / "prose.flac").write_text("not audio")
    write_noise(bad / "short.wav", 0.4)
    (bad / "b.m4a").touch()
    write_noise(music / "stray.wav", 1.0)
    (bad / "cover.jpg").touch()
    capsys.readouterr()
    assert run(music) == SOMETHING_SKIPPED
    out, err = capsys.readouterr()
    reasons = {
        "stray.wav": "lies outside the folders of genres",
        "rock/b.m4a": "empty, 0 bytes",
        "rock/empty.wav": "empty, 0 bytes",
        "rock/huge.wav": "its descriptors are not finite: samples reach 1e+30 times full scale",
        "rock/nan.wav": "holds samples that are not numbers, the first at 0.00 s",
        "rock/short.wav": "lasts 0.40 s, too short for a slice of 0.5 s",
        "rock/silent.wav": "silent throughout",
        "rock/prose.flac": "not audio that can be read",
        "rock/text.wav": "named .wav but without a RIFF header",
    }
    lines = out.splitlines()
    skipped = [line for line in lines if line.startswith("skipped ")]
    assert sorted(skipped) == sorted(f"skipped {music / name}: {reason}" for name, reason in reasons.items())
    assert lines[1 + len(skipped) :] == [
        "features.csv: 11 slices of 0.5 s of 4 tracks in 2 genres, recipe kaggle-reflect",
        "not audio, ignored: 1 .jpg",
        "9 skipped; features.tracks.csv lists the reasons",
        "next: `python train.py features.csv`",
    ]
    assert err == ""
    assert Path("features.csv").read_bytes() == Path("good.csv").read_bytes()


def test_an_odd_recording_is_noted_and_described(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = music / "rock/odd.wav"
    soundfile.write(odd, np.clip(np.random.default_rng(0).standard_normal((8000, 6)), -1, 1), 8000)
    assert run(music) == 0
    noted = [line for line in capsys.readouterr().out.splitlines() if line.startswith("noted ")]
    assert len(noted) == 1
    assert noted[0].startswith(f"noted {odd}: clipped: ")
    assert noted[0].endswith("8000 Hz: nothing above 4000 Hz to describe; 6 channels averaged")
    assert "rock.odd" in read_table([Path("features.csv")]).tracks


def test_a_recording_too_short_for_one_of_the_lengths_is_noted(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(music, "--slice", "0.5,1.5", out="many") == 0
    noted = [line for line in capsys.readouterr().out.splitlines() if line.startswith("noted ")]
    assert noted == [
        f"noted {music / 'pop/two.flac'}: lasts 1.10 s, too short for a slice of 1.5 s",
        f"noted {music / 'rock/Album/01. Song.wav'}: lasts 1.30 s, too short for a slice of 1.5 s",
    ]
    assert read_table([Path("many/features_1.5_sec.csv")], slice_seconds=1.5).tracks == ("pop.one", "rock.00007")
    assert read_table([Path("many/features_0.5_sec.csv")]).tracks == NAMES


def test_a_length_that_no_recording_has_is_printed_and_has_no_csv(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(music, "--slice", "0.5,30", out="many") == SOMETHING_SKIPPED
    assert "many/features_30_sec.csv: not written, no recording has a slice of 30 s" in capsys.readouterr().out
    assert not Path("many/features_30_sec.csv").exists()


def test_when_every_recording_is_skipped_nothing_that_is_there_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_noise(tmp_path / "music/rock/a.wav", 0.1)
    Path("features.csv").write_text("of last year")
    assert run(tmp_path / "music", "--overwrite") == 2
    out, err = capsys.readouterr()
    assert "\nskipped " in out
    assert err == "none of 1 recordings could be described, and nothing was written.\n"
    assert Path("features.csv").read_text() == "of last year"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.csv", "music"]


def test_the_bar_counts_tracks(music: Path, capfd: pytest.CaptureFixture[str]) -> None:
    extract(find_tracks(music), {TableKey(HandmadeRecipe(), 0.5): Path("features.csv")}, show_bar=True)
    assert "4/4" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--slice", "three"], "'three' is not seconds, such as 3 or 1,3,6"),
        (["--slice", "0.01"], "a slice lasts 0.05 to 600 seconds"),
        (["--slice", "nan"], "a slice lasts 0.05 to 600 seconds"),
        (["--workers", "0"], "1 process or more"),
        (["--recipe", "gourmet"], "invalid choice: 'gourmet'"),
    ],
)
def test_a_wrong_option_is_reported_with_what_is_expected(
    music: Path, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(music, *arguments) == 2
    assert sentence in mistake(capsys)


def mistake(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; nothing was printed as a result, other than the genres."""
    out, err = capsys.readouterr()
    assert not [line for line in out.splitlines() if ": " in line and " recordings of " not in line]
    assert len(err.splitlines()) == 1
    return err.rstrip("\n")


def test_several_lengths_into_one_file_are_a_mistake(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(music, "--slice", "0.5,1") == 2
    assert mistake(capsys) == "--out=features.csv: one file for 2 slice lengths; give a folder."


def test_a_source_without_recordings_is_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path) == 2
    assert mistake(capsys).startswith(f"{tmp_path}: has no recording with a genre; ")
    assert not list(tmp_path.iterdir())


def test_a_csv_that_is_there_is_not_overwritten_unasked(
    music: Path, capsys: pytest.CaptureFixture[str], read_paths: list[str]
) -> None:
    Path("features.csv").write_text("mine")
    assert run(music) == 2
    assert mistake(capsys) == EXISTS
    assert Path("features.csv").read_text() == "mine"
    assert read_paths == []
    assert run(music, "--overwrite") == 0
    assert read_table([Path("features.csv")]).tracks == NAMES
    assert run(music) == 2
    assert run(music, "--overwrite") == 0


@pytest.mark.parametrize("out", ["", "file", "file/features.csv", "file/folder", "/dev/full"])
def test_an_output_that_is_no_path_is_reported_before_anything_is_read(
    music: Path, out: str, capsys: pytest.CaptureFixture[str], read_paths: list[str]
) -> None:
    Path("file").write_text("a file in the place of a folder")
    assert run(music, out=out) == 2
    assert ("is not a folder" if out else "it is empty") in mistake(capsys)
    assert read_paths == []


@pytest.mark.parametrize("out", ["o.csv.gz", "o.parquet", "o.TXT"])
def test_an_output_of_another_kind_makes_no_folder(
    music: Path, out: str, capsys: pytest.CaptureFixture[str], read_paths: list[str]
) -> None:
    assert run(music, out=out) == 2
    assert "; give o.csv, or a folder" in mistake(capsys)
    assert read_paths == []
    assert not Path(out).exists()


@pytest.mark.parametrize("out", ["/proc/nowhere/features.csv"])
def test_an_output_that_cannot_be_written_is_reported_before_anything_is_read(
    music: Path, out: str, capsys: pytest.CaptureFixture[str], read_paths: list[str]
) -> None:
    Path("file").write_text("a file in the place of a folder")
    assert run(music, out=out) == 2
    sentence = mistake(capsys)
    assert sentence.startswith(str(Path(out).parent))
    assert ": cannot be written (" in sentence
    assert sentence.endswith("); choose another --out.")
    assert read_paths == []


# stopped and resumed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_stopped_run_resumes_and_ends_with_the_same_bytes(
    music: Path,
    count: int,
    monkeypatch: pytest.MonkeyPatch,
    read_paths: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(music, out="undisturbed.csv")
    assert len(read_paths) == len(TRACKS)
    capsys.readouterr()
    interrupted(monkeypatch, music, count)
    assert mistake(capsys) == INTERRUPTED
    assert not Path("features.csv").exists()
    assert Path("features.partial").exists()
    read_paths.clear()
    assert run(music) == 0
    assert read_paths == [track.path.name for track in find_tracks(music).tracks][count:]
    resuming = f"resuming: {count} of 4 recordings are in features.partial already"
    assert (resuming in capsys.readouterr().out) == (count > 0)
    for ending in (".csv", ".recipe.json", ".tracks.csv"):
        assert Path(f"features{ending}").read_bytes() == Path(f"undisturbed{ending}").read_bytes()
    assert not Path("features.partial").exists()


def test_a_run_stopped_after_the_last_recording_reads_nothing_again(
    music: Path, monkeypatch: pytest.MonkeyPatch, read_paths: list[str]
) -> None:
    with monkeypatch.context() as patch:

        def stop(*_: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(extraction, "_write_features", stop)
        assert run(music) == 130
    read_paths.clear()
    assert run(music) == 0
    assert read_paths == []
    assert read_table([Path("features.csv")]).tracks == NAMES


def test_a_run_stopped_twice_resumes_twice(music: Path, monkeypatch: pytest.MonkeyPatch, read_paths: list[str]) -> None:
    interrupted(monkeypatch, music, 1)
    interrupted(monkeypatch, music, 2)
    assert run(music) == 0
    assert read_paths == [find_tracks(music).tracks[-1].path.name]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_torn_write_costs_the_last_recordings_only(
    music: Path, tmp_path: Path, share: float, monkeypatch: pytest.MonkeyPatch, read_paths: list[str]
) -> None:
    """A killed run leaves SQLite's write-ahead log; of a torn log the complete transactions count."""
    run(music, out="undisturbed.csv")
    tracks = find_tracks(music).tracks
    journal = Journal(tmp_path / "killed" / "features.partial", music, [TableKey(HandmadeRecipe(), 0.5)])
    for track in tracks[:3]:
        journal.add(workers.describe_file(track, [TableKey(HandmadeRecipe(), 0.5)]))
    for path in (tmp_path / "killed").iterdir():
        shutil.copy(path, tmp_path)
    log = tmp_path / "features.partial-wal"
    log.write_bytes(log.read_bytes()[: round(share * log.stat().st_size)])
    kept = num_described(tmp_path / "features.partial")
    assert (kept == 0) == (share == 0)
    assert kept < 3
    read_paths.clear()
    assert run(music) == 0
    assert read_paths == [track.path.name for track in tracks][kept:]
    assert Path("features.csv").read_bytes() == Path("undisturbed.csv").read_bytes()
    journal.close()


@pytest.mark.parametrize("other", [["--slice", "1"], ["--padding", "constant"], ["--recipe", "rich"]], ids=str)
def test_a_journal_of_other_settings_is_refused_and_kept(
    music: Path, other: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(monkeypatch, music, 2)
    before = Path("features.partial").read_bytes()
    capsys.readouterr()
    assert run(music, *other) == 2
    sentence = mistake(capsys)
    assert sentence.startswith(f"features.partial: was started for {music} with --slice 0.5 --recipe kaggle --padding ")
    assert sentence.endswith("; use those to resume, or delete it to start again.")
    assert Path("features.partial").read_bytes() == before


def test_a_journal_of_another_folder_is_refused(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(monkeypatch, music, 2)
    music.rename("moved")
    capsys.readouterr()
    assert run(Path("moved")) == 2
    assert mistake(capsys).startswith(f"features.partial: was started for {music} with --slice 0.5")


def test_a_csv_that_came_in_between_is_not_replaced_unasked(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted(monkeypatch, music, 2)
    Path("features.csv").write_text("of another run")
    capsys.readouterr()
    assert run(music) == 2
    assert mistake(capsys) == EXISTS
    assert Path("features.csv").read_text() == "of another run"
    assert run(music, "--overwrite") == 0


def test_a_run_that_stopped_while_it_wrote_csvs_resumes(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "_write_tracks", stop)
        assert run(music) == 130
    assert Path("features.csv").exists()
    assert run(music) == 0


def of_another_program(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text)")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_text("half a download\nof something else\n"),
        lambda path: path.write_text('{"source": "music", "options": "--slice 0.5"}\n'),  # of an earlier version
        of_another_program,
    ],
    ids=["text", "JSON lines", "SQLite"],
)
def test_a_file_that_is_no_journal_is_kept_under_another_name(
    music: Path, write: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    run(music, out="undisturbed.csv")
    for number in ("", "1"):
        write(Path("features.partial"))
        before = Path("features.partial").read_bytes()
        capsys.readouterr()
        assert run(music, "--overwrite") == 0
        first = capsys.readouterr().out.splitlines()[0]
        assert first.startswith("features.partial cannot be used: ")
        assert first.endswith(f"; it is features.partial.unusable{number} now")
        assert Path(f"features.partial.unusable{number}").read_bytes() == before
        assert not Path("features.partial").exists()
        assert Path("features.csv").read_bytes() == Path("undisturbed.csv").read_bytes()


def test_a_journal_that_is_no_file_is_refused(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("features.partial")
    assert run(music) == 2
    assert mistake(capsys).startswith("features.partial: ")


def test_a_second_run_beside_the_first_is_refused(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Journal(tmp_path / "features.partial", music, [TableKey(HandmadeRecipe(), 0.5)])
    assert run(music) == 2
    assert mistake(capsys) == "features.partial: is used by another run; wait, or choose another --out."
    first.close()
    assert run(music) == 0


def test_a_damaged_journal_is_set_aside_and_what_is_sound_is_kept(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], read_paths: list[str]
) -> None:
    run(music, out="undisturbed.csv")
    interrupted(monkeypatch, music, 3)
    content = Path("features.partial").read_bytes()
    num_read = []
    for page in range(4096, len(content), 4096):
        damaged = content[:page] + b"\xff" * 4096 + content[page + 4096 :]
        Path("features.partial").write_bytes(damaged)
        read_paths.clear()
        capsys.readouterr()
        assert run(music, "--overwrite") == 0
        num_read.append(len(read_paths))
        assert "features.partial cannot be used: it is damaged (" in capsys.readouterr().out
        for ending in (".csv", ".recipe.json", ".tracks.csv"):
            assert Path(f"features{ending}").read_bytes() == Path(f"undisturbed{ending}").read_bytes()
    assert 1 <= min(num_read) < max(num_read) == len(TRACKS)


def test_no_flipped_bit_of_a_journal_changes_a_number(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is damaged, but SQLite itself finds few such faults."""
    run(music, out="undisturbed.csv")
    interrupted(monkeypatch, music, 3)
    content = Path("features.partial").read_bytes()
    monkeypatch.setattr(description, "read_audio", remembered(read_audio))
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content)
        damaged[random.integers(len(content))] ^= 1 << random.integers(8)
        Path("features.partial").write_bytes(damaged)
        if run(music, "--overwrite") == 0:
            for ending in (".csv", ".tracks.csv"):
                assert Path(f"features{ending}").read_bytes() == Path(f"undisturbed{ending}").read_bytes()
        Path("features.partial").unlink(missing_ok=True)


def remembered(read: Callable[[Path, Use], Recording]) -> Callable[[Path, Use], Recording]:
    """Read each file once only."""
    known: dict[Path, tuple[Recording, list[NDArray[np.float32]]]] = {}

    def read_once(path: Path, use: Use, *rates: Any) -> Recording:
        if path not in known:
            blocks: list[NDArray[np.float32]] = []
            known[path] = (read(path, blocks.append), blocks)
        recording, blocks = known[path]
        for block in blocks:
            use(block)
        return recording

    return read_once


@pytest.mark.parametrize(
    "damage", ["UPDATE slices SET rows = substr(rows, 1, 464)", "UPDATE described SET facts = CAST(x'ff' AS TEXT)"]
)
def test_a_damaged_value_costs_one_recording(
    music: Path, damage: str, monkeypatch: pytest.MonkeyPatch, read_paths: list[str]
) -> None:
    run(music, out="undisturbed.csv")
    interrupted(monkeypatch, music, 3)
    with contextlib.closing(sqlite3.connect("features.partial")) as database, database:
        database.execute(f"{damage} WHERE track = 'pop.two'")
    read_paths.clear()
    assert run(music) == 0
    assert read_paths == ["two.flac", find_tracks(music).tracks[-1].path.name]
    assert Path("features.csv").read_bytes() == Path("undisturbed.csv").read_bytes()


def test_a_recording_that_was_damaged_for_a_while_is_described_once_it_is_back(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Done, then skipped, then the same file again: the journal holds the last result."""
    assert run(music, out="undisturbed.csv") == 0
    interrupted(monkeypatch, music, 1)
    path = music / "pop/one.wav"
    content, state = path.read_bytes(), path.stat()
    path.write_text("damaged")
    interrupted(monkeypatch, music, 1)
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert run(music) == 0
    assert Path("features.csv").read_bytes() == Path("undisturbed.csv").read_bytes()


def test_the_list_of_tracks_can_be_extracted_from(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(Path("music")) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(tmp_path / "features.tracks.csv") == 0
    mine, again = (pd.read_csv(folder / "features.csv") for folder in (tmp_path, Path()))
    assert len(mine) == len(again)


def test_the_list_itself_is_not_overwritten(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(music) == 0
    before = Path("features.tracks.csv").read_bytes()
    capsys.readouterr()
    assert run(Path("features.tracks.csv"), "--overwrite") == 2
    assert mistake(capsys) == "features.tracks.csv: is the list itself and would be replaced; choose another --out."
    assert Path("features.tracks.csv").read_bytes() == before


def test_an_error_in_this_package_costs_one_recording_and_is_named(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def faulty(path: Path, use: Use, *rates: Any) -> Recording:
        if path.name == "one.wav":
            raise ZeroDivisionError("division by zero")
        return read_audio(path, use, *rates)

    monkeypatch.setattr(description, "read_audio", faulty)
    assert run(music) == SOMETHING_SKIPPED
    assert "one.wav: not described: ZeroDivisionError, division by zero" in capsys.readouterr().out


def test_a_recording_that_changed_meanwhile_is_described_again(
    music: Path, monkeypatch: pytest.MonkeyPatch, read_paths: list[str]
) -> None:
    interrupted(monkeypatch, music, 3)
    write_noise(music / "pop/one.wav", 1.6, seed=99)  # as long as before
    os.utime(music / "pop/one.wav", (1, 1))
    write_noise(music / "pop/two.flac", 0.6)
    read_paths.clear()
    assert run(music) == 0
    assert read_paths == ["one.wav", "two.flac", "01. Song.wav"]
    run(music, out="undisturbed.csv")
    assert Path("features.csv").read_bytes() == Path("undisturbed.csv").read_bytes()
    assert Path("features.tracks.csv").read_bytes() == Path("undisturbed.tracks.csv").read_bytes()


def test_a_recording_that_vanished_or_appeared_meanwhile_counts_as_it_is_now(
    music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, music, 3)
    (music / "pop/one.wav").unlink()
    write_noise(music / "pop/three.wav", 1.0)
    assert run(music) == 0
    assert read_table([Path("features.csv")]).tracks == ("pop.three", "pop.two", *NAMES[2:])
    assert tracks_of(Path("features.tracks.csv"))["track"].tolist() == ["pop.three", "pop.two", *NAMES[2:]]


def test_a_recording_that_was_skipped_is_tried_again(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repaired, still_bad = music / "pop/a.wav", music / "pop/b.wav"
    repaired.touch()
    still_bad.touch()
    interrupted(monkeypatch, music, 3)  # a, b, one
    assert f"skipped {repaired}: empty, 0 bytes" in capsys.readouterr().out
    write_noise(repaired, 1.0)
    assert run(music) == SOMETHING_SKIPPED
    out = capsys.readouterr().out
    assert "resuming: 1 of 6 recordings" in out
    assert str(repaired) not in out
    assert f"skipped {still_bad}: empty, 0 bytes" in out
    assert read_table([Path("features.csv")]).tracks == ("pop.a", *NAMES)


def test_a_failed_replacement_leaves_the_old_csv(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], read_paths: list[str]
) -> None:
    Path("features.csv").write_text("mine")
    with monkeypatch.context() as patch:

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(extraction.os, "replace", full)
        assert run(music, "--overwrite") == 2
    assert mistake(capsys) == (
        "features.csv: cannot be written (No space left on device); nothing that was described is lost; correct that "
        "and run the same command again."
    )
    assert Path("features.csv").read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["features.csv", "features.partial", "music"]
    read_paths.clear()
    assert run(music, "--overwrite") == 0
    assert read_paths == []
    assert read_table([Path("features.csv")]).tracks == NAMES


# the journal itself -------------------------------------------------------------------------------------------------


def test_the_journal_returns_what_was_added(tmp_path: Path) -> None:
    recording = write_noise(tmp_path / "a.wav", 0.6)
    track = TrackFile(recording, "rock.a", "rock", "Queen")
    recipe = HandmadeRecipe()
    added = workers.describe_file(track, [TableKey(recipe, 0.5)])
    first = Journal(tmp_path / "x.partial", tmp_path, [TableKey(recipe, 0.5)])
    first.add(added)
    first.close()
    again = Journal(tmp_path / "x.partial", tmp_path, [TableKey(recipe, 0.5)])
    assert again.has(track)
    rows = list(again.rows(track, TableKey(recipe, 0.5)))
    assert again.described(track) == replace(added, rows={})
    np.testing.assert_array_equal(rows, np.concatenate(added.rows[seconds_key(0.5)]))
    np.testing.assert_array_equal(np.array(rows)[:, 1:], recipe.describe(samples_of(recording), 0.5))
    assert again.num_slices(track, TableKey(recipe, 0.5)) == len(rows)
    again.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav"]


def test_the_order_of_slice_lengths_is_no_other_setting(
    tmp_path: Path, user_error: Callable[..., contextlib.AbstractContextManager[None]]
) -> None:
    tables = [TableKey(HandmadeRecipe(), seconds) for seconds in (3.0, 0.5)]
    Journal(tmp_path / "x.partial", tmp_path, tables).close()
    Journal(tmp_path / "x.partial", tmp_path, tables[::-1]).close()
    with user_error(tmp_path / "x.partial", problem="--slice 0.5,3 "):
        Journal(tmp_path / "x.partial", tmp_path, [TableKey(HandmadeRecipe(), 0.5)])


def test_a_killed_process_loses_no_added_track(tmp_path: Path) -> None:
    """Added tracks are in the files as soon as `add` returns: a copy of the files has them."""
    journal = Journal(tmp_path / "x.partial", tmp_path, [TableKey(HandmadeRecipe(), 0.5)])
    for number in range(3):
        journal.add(Described("a.wav", 1, 1, f"rock.{number}", "rock"))
        assert num_described(tmp_path / "x.partial") == number + 1
    journal.close()


# processes ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_workers_write_what_one_writes(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (music / "rock/text.wav").write_text("not audio")
    assert run(music, out="one.csv") == SOMETHING_SKIPPED
    assert run(music, "--workers", "2", out="two.csv") == SOMETHING_SKIPPED
    for ending in (".csv", ".tracks.csv"):
        assert Path(f"two{ending}").read_bytes() == Path(f"one{ending}").read_bytes()
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("skipped ") == 2


def describe_or_die(track: TrackFile, tables: tuple[TableKey, ...]) -> Described:
    """What a spawned worker runs in place of `_describe_watched`, which it imports by its name."""
    if track.path.name == "deadly.wav":
        os._exit(3)
    return workers.describe_file(track, tables)


@pytest.mark.slow
def test_a_recording_that_kills_its_worker_is_named_and_the_rest_is_done(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(music, out="good.csv")
    write_noise(music / "pop/deadly.wav", 1.0)
    capsys.readouterr()
    monkeypatch.setattr(workers, "_describe_watched", describe_or_die)
    assert run(music, "--workers", "2") == SOMETHING_SKIPPED
    skipped = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped ")]
    assert skipped == [
        f"skipped {music / 'pop/deadly.wav'}: reading it ended the process: out of memory, "
        "a fault of the decoder, or nothing read for 600 s"
    ]
    assert Path("features.csv").read_bytes() == Path("good.csv").read_bytes()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`command(source, *arguments)` starts the real command in its own process group, as a terminal does."""
    started = []

    def start(source: Path, *arguments: str, **kwargs: Any) -> subprocess.Popen[str]:
        parts = [sys.executable, "-m", "genregrid.features", str(source), *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(parts, cwd=tmp_path, start_new_session=True, **pipes, **kwargs)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(holds: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not (true := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


@pytest.fixture
def long_music(tmp_path: Path) -> Path:
    """Forty recordings of half a minute, each the same file: minutes of work."""
    first = write_noise(tmp_path / "music/rock/00.wav", 30.0)
    (tmp_path / "music/pop").mkdir()
    for number in range(1, 40):
        os.link(first, tmp_path / "music" / ("pop" if number % 2 else "rock") / f"{number:02d}.wav")
    return tmp_path / "music"


def described_tracks(journal: Path) -> list[str]:
    """Tracks in a journal, which a run may be writing: SQLite recovers the transactions from a copy."""
    with tempfile.TemporaryDirectory() as folder:
        for path in journal.parent.glob(f"{journal.name}*"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(path, folder)
        with contextlib.closing(sqlite3.connect(Path(folder) / journal.name)) as database:
            try:
                return [track for (track,) in database.execute("SELECT track FROM described ORDER BY track")]
            except sqlite3.Error:  # not complete yet
                return []


def num_described(journal: Path) -> int:
    return len(described_tracks(journal))


LONG = ("--slice", "0.5", "--workers", "2", "--out", "features.csv")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for workers in /proc")
@pytest.mark.slow
def test_a_killed_run_leaves_a_journal_to_resume_from_and_no_worker(
    long_music: Path, tmp_path: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    process = command(long_music, *LONG)
    partial = tmp_path / "features.partial"
    assert until(lambda: num_described(partial) >= 3), process.poll()
    assert len(group_of(process.pid)) >= 3  # the command and its two workers
    process.kill()
    process.wait()
    assert until(lambda: not group_of(process.pid), 30)
    done = described_tracks(partial)
    for track in find_tracks(long_music).tracks:  # leave two more to do
        if track.track not in done and track.path.name not in {"38.wav", "39.wav"}:
            track.path.unlink()
    left = len(list(long_music.glob("*/*.wav")))
    again = command(long_music, *LONG)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert f"resuming: {len(done)} of {left} recordings are in features.partial already" in out
    table = read_table([tmp_path / "features.csv"])
    assert len(table.tracks) == left
    assert set(table.num_slices) == {59}  # the sixtieth has no sample after it


def group_of(leader: int) -> list[int]:
    """Living processes of a session."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                members.append(int(stat.parent.name))
    return members


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_code_130(
    long_music: Path, tmp_path: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    process = command(long_music, *LONG)
    partial = tmp_path / "features.partial"
    assert until(lambda: num_described(partial) >= 1), process.poll()
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"{INTERRUPTED}\n"
    assert out == f"{long_music}: 40 recordings of 2 genres: pop 20, rock 20\n"
    assert 1 <= num_described(partial) < 40
    assert not (tmp_path / "features.csv").exists()


@pytest.mark.slow
def test_a_full_disk_ends_in_one_sentence_and_the_next_run_resumes(
    music: Path, tmp_path: Path, command: Callable[..., subprocess.Popen[str]], read_paths: list[str]
) -> None:
    resource = pytest.importorskip("resource")
    run(music, out="undisturbed.csv")

    def limit() -> None:  # files may grow to what the journal needs for some of the tracks
        resource.setrlimit(resource.RLIMIT_FSIZE, (32_000, 32_000))

    process = command(music, "--slice", "0.5", "--workers", "1", "--out", "features.csv", preexec_fn=limit)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    kept = num_described(Path("features.partial"))
    assert 1 <= kept < len(TRACKS)
    assert err == (
        f"features.partial: cannot be written (disk I/O error); {kept} tracks are kept in it; make room and run the "
        "same command again to resume.\n"
    )
    assert out == f"{music}: 4 recordings of 2 genres: pop 2, rock 2\n"
    assert not Path("features.csv").exists()
    read_paths.clear()
    assert run(music) == 0
    assert len(read_paths) == len(TRACKS) - kept
    assert Path("features.csv").read_bytes() == Path("undisturbed.csv").read_bytes()


# --- corners -------------------------------------------------------------------------------------------------------


def test_a_name_that_is_no_utf8_does_not_end_the_run(music: Path) -> None:
    Path(os.fsdecode(os.fsencode(music / "rock") + b"/b\xff.wav")).touch()
    assert run(music) == SOMETHING_SKIPPED
    assert read_table([Path("features.csv")]).tracks == NAMES


@pytest.mark.slow
def test_a_screen_that_lacks_a_character_does_not_end_the_run(
    music: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    (music / "rock/音.m4a").touch()
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    process = command(music, "--slice", "0.5", "--workers", "1", "--out", "features.csv", env=environment)
    _, err = process.communicate(timeout=60)
    assert process.returncode == SOMETHING_SKIPPED  # the code of a traceback is 1
    assert "Traceback" not in err


def test_colons_in_a_name_leave_the_list_of_tracks_an_artist_index(music: Path) -> None:
    write_noise(music / "rock/a ::: b.wav", 1.0)
    assert run(music) == 0
    assert read_artists(Path("features.tracks.csv")) == {}


def test_overwriting_leaves_no_csv_of_an_earlier_run(music: Path) -> None:
    assert run(music, "--slice", "0.5,1.5", out="many") == 0
    (music / "pop/one.wav").unlink()
    (music / "rock/rock.00007.wav").unlink()
    assert run(music, "--slice", "0.5,1.5", "--overwrite", out="many") == SOMETHING_SKIPPED
    assert not Path("many/features_1.5_sec.csv").exists()


def test_an_artist_that_was_added_meanwhile_counts(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = music / "list.csv"
    rows = [f"{path},{Path(path).parts[0]}" for path in TRACKS]
    source.write_text("\n".join(["path,label", *rows]))
    interrupted(monkeypatch, source, 3)
    source.write_text("\n".join(["path,label,artist", *(f"{row},Queen" for row in rows)]))
    assert run(source) == 0
    assert list(read_artists(Path("features.tracks.csv")).values()) == 4 * ["Queen"]


def test_the_count_of_tracks_is_that_of_the_csv(music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(music, "--slice", "0.5,1.5", out="many") == 0
    assert "many/features_1.5_sec.csv: 2 slices of 1.5 s of 2 tracks" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for workers in /proc")
@pytest.mark.slow
def test_ctrl_c_while_workers_start_ends_in_one_line_too(
    long_music: Path, tmp_path: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    process = command(long_music, *LONG)
    assert until(lambda: len(group_of(process.pid)) >= 4)  # the command, two workers, Python's resource tracker
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"{INTERRUPTED}\n"
    assert (tmp_path / "features.partial").exists()


@pytest.mark.slow
@pytest.mark.torture
def test_ctrl_c_again_and_again_is_one_ctrl_c(
    long_music: Path, tmp_path: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    process = command(long_music, *LONG)
    partial = tmp_path / "features.partial"
    assert until(lambda: num_described(partial) >= 1), process.poll()
    for _ in range(4):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.08)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"{INTERRUPTED}\n"


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_long_recording(
    tmp_path: Path, command: Callable[..., subprocess.Popen[str]]
) -> None:
    for name in ("a", "b"):
        write_noise(tmp_path / f"music/rock/{name}.wav", 1200.0)  # some 5 s of work each, and more on a busy machine
    process = command(tmp_path / "music", *LONG)
    assert until(lambda: len(group_of(process.pid)) >= 4)
    time.sleep(2)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"{INTERRUPTED}\n"
    assert time.monotonic() - start < 4


@pytest.mark.slow
def test_processes_that_cannot_start_are_not_blamed_on_recordings(music: Path) -> None:
    script = (
        "from pathlib import Path\nfrom genregrid.features.extraction import extract\n"
        "from genregrid.features.folder import find_tracks\n"
        "from genregrid.features.handmade import HandmadeRecipe\nfrom genregrid.features.recipe import TableKey\n"
        "extract(find_tracks(Path('music')), {TableKey(HandmadeRecipe(), 0.5): Path('f.csv')}, num_workers=2)\n"
    )
    Path("unguarded.py").write_text(script)
    done = subprocess.run([sys.executable, "unguarded.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "UserError: processes cannot be started" in done.stderr
    assert "skipped" not in done.stdout


def test_what_is_no_file_among_recordings_is_passed_over_with_a_sentence(
    music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(music, out="good.csv")
    os.mkfifo(music / "pop/pipe.wav")
    (music / "pop/zero.flac").symlink_to("/dev/zero")
    (music / "pop/circle.wav").symlink_to("circle.wav")
    (music / "pop/again").symlink_to(music)
    (music / "pop/folder.wav").mkdir()
    capsys.readouterr()
    assert run(music) == SOMETHING_SKIPPED
    skipped = [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines() if line.startswith("skipped ")]
    device = "a pipe, socket or device, not a file"
    assert sorted(skipped) == [device, device, "cannot be read: Too many levels of symbolic links"]
    assert Path("features.csv").read_bytes() == Path("good.csv").read_bytes()


@pytest.mark.parametrize("source", ["pipe", "pipe.csv", "/dev/zero"])
def test_a_source_that_is_no_file_is_a_mistake(tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not source.startswith("/"):
        os.mkfifo(source)
    assert run(Path(source)) == 2
    assert "pipe, socket or device" in mistake(capsys)


def test_no_cell_is_a_formula_and_no_control_character_is_printed(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(music / "pop/one.wav", music / "pop/\x1b[31m=red.wav")
    (music / "pop").rename(music / "=pop")
    (music / "rock/\x1b]0;title\x07.wav").touch()
    source = tmp_path / "list.csv"
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name},@artist" for path in music.glob("=pop/*")]
    source.write_text("\n".join(["path,label,artist", *rows]))
    assert run(music) == SOMETHING_SKIPPED
    assert run(source, out="list-features.csv") == 0
    printed = "".join(capsys.readouterr())
    assert all(character.isprintable() or character == "\n" for character in printed)
    for path in Path().glob("*features*.csv"):
        for cells in csv.reader(path.read_text(encoding="utf-8").splitlines()):
            assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in cells), cells
    first = Path("features.csv").read_text(encoding="utf-8").splitlines()[1]
    assert first.startswith("'=pop.")
    assert first.endswith(",'=pop")


def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hours are 635 MB of samples."""

    def describe(_: object, samples: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.zeros((len(samples), 57))

    monkeypatch.setattr(HandmadeRecipe, "describe_slices", describe)
    track = TrackFile(tmp_path / "long.wav", "rock.long", "rock")
    with soundfile.SoundFile(track.path, "w", SAMPLE_RATE_HZ, 1, subtype="PCM_U8") as file:
        second = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLE_RATE_HZ)
        for _ in range(120):
            file.write(np.tile(second, 60))
    tracemalloc.start()
    try:
        described = workers.describe_file(track, [TableKey(HandmadeRecipe(), 3.0), TableKey(HandmadeRecipe(), 30.0)])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert described.seconds == 7200
    assert peak < 40e6


def test_more_descriptors_than_memory_should_hold_are_refused(
    music: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(description, "MOST_VALUES", 1000)
    assert run(music, "--slice", "0.05") == 2
    assert "has more than 1000 descriptors; cut it, or choose longer slices" in capsys.readouterr().out


@pytest.mark.slow
def test_a_worker_whose_decoder_hangs_is_ended() -> None:
    script = (
        "import time\nfrom pathlib import Path\nfrom genregrid.features import description, workers\n"
        "from genregrid.features.folder import TrackFile\n"
        "from genregrid.features.handmade import HandmadeRecipe\nfrom genregrid.features.recipe import TableKey\n"
        "workers.MOST_SECONDS_PER_BLOCK = 0.5\ndescription.read_audio = lambda path, use, rates: time.sleep(300)\n"
        "workers._describe_watched(TrackFile(Path('a.wav'), 'rock.a', 'rock'), [TableKey(HandmadeRecipe(), 3.0)])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=120, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("workers_given", ["1e9", "²", "9" * 5000, "-1"])
def test_a_number_of_workers_that_is_none_is_a_mistake(
    music: Path, workers_given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(music, "--workers", workers_given) == 2
    assert "1 process or more" in mistake(capsys)


@pytest.mark.parametrize(
    "closed", [(1,), (2,), (0, 1, 2)], ids=["standard output", "standard error", "all three streams"]
)
def test_closed_streams_and_variables_of_the_bar_change_nothing(
    music: Path, tmp_path: Path, closed: tuple[int, ...]
) -> None:
    def command(out: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "genregrid.features",
            str(music),
            "--slice",
            "0.5",
            "--out",
            str(tmp_path / out),
            "--workers",
            "1",
        ]

    assert subprocess.run(command("usual.csv"), timeout=120, check=False).returncode == 0
    closing = " ".join(f"{number}>&-" for number in closed)
    variables = os.environ | {"TQDM_MININTERVAL": "soon"}
    shell = ["bash", "-c", f'"$@" {closing}', "-", *command("closed.csv")]
    assert subprocess.run(shell, timeout=120, check=False, env=variables).returncode == 0
    assert (tmp_path / "closed.csv").read_bytes() == (tmp_path / "usual.csv").read_bytes()


def test_a_full_standard_output_is_one_sentence(music: Path, tmp_path: Path) -> None:
    options = ["--slice", "0.5", "--out", str(tmp_path / "a.csv")]
    command = [sys.executable, "-m", "genregrid.features", str(music), *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, timeout=120, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "output: No space left on device.\n")
    assert not (tmp_path / "a.csv").exists()  # the genres could not be shown, and the work did not begin
