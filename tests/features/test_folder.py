"""Claims about `genregrid.features.folder`: which recordings are found, their names, and why others are skipped.

Only names count here, so that the files are empty.
"""

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genregrid.data.slice_rows import FILENAME_PATTERN, TRACK_PATTERN
from genregrid.data.table import table_from_frame
from genregrid.features.folder import Found, audio_files, find_tracks, track_name
from genregrid.recording.content import READABLE_SUFFIXES

Mistake = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def music(tmp_path: Path) -> Callable[..., Path]:
    """`music("rock/a.wav", "pop/b.mp3")` is a folder of those files, all empty."""

    def make(*names: str) -> Path:
        folder = tmp_path / "music"
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        return folder

    return make


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[str], Path]:
    """`listed(text)` is a CSV with that text."""

    def make(text: str) -> Path:
        path = tmp_path / "list.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return make


def names(found: Found) -> list[str]:
    return [track.track for track in found.tracks]


# folders ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("blues/blues.00012.wav", "blues.00012"),  # GTZAN's own names stay
        ("blues/blues.00012.au", "blues.00012"),
        ("rock/Song.mp3", "rock.Song"),
        ("rock/01 Song.flac", "rock.01 Song"),
        ("rock/Album/01. Song.ogg", "rock.Album_01_ Song"),
        ("rock/Artist/Vol. 2/A.B.C.mp3", "rock.Artist_Vol_ 2_A_B_C"),
        ("rock/7.wav", "rock.00007"),  # shorter numbers are those of slices
        ("rock/1999.wav", "rock.01999"),
        ("rock/123456.wav", "rock.123456"),
        ("rock/rock.1.wav", "rock.rock_1"),
        ("rock/blues.00012.wav", "rock.blues_00012"),  # the folder decides on the genre
        ("blues/blues.00012.3.wav", "blues.blues_00012_3"),
        ('rock/"Heroes", live.wav', "rock._Heroes__ live"),
        ("hip hop/a.wav", "hip hop.a"),
        ("Bläser/Straße 音.wav", "Bläser.Straße 音"),
    ],
)
def test_a_track_is_called_by_its_genre_and_its_path_within_it(
    music: Callable[..., Path], path: str, name: str
) -> None:
    folder = music(path)
    (track,) = find_tracks(folder).tracks
    assert track.track == name
    assert track.genre == Path(path).parts[0]
    assert track.path == folder / path
    assert track.artist == ""


def test_the_folder_is_found_from_wherever_it_is_named(
    music: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = music("rock/a.wav", "pop/b.wav")
    monkeypatch.chdir(folder)
    here = find_tracks(Path())
    assert names(here) == names(find_tracks(folder)) == ["pop.b", "rock.a"]
    assert [track.path for track in here.tracks] == [Path("pop/b.wav"), Path("rock/a.wav")]


def test_tracks_are_sorted_and_every_readable_ending_is_found(music: Callable[..., Path]) -> None:
    endings = sorted(READABLE_SUFFIXES) + [suffix.upper() for suffix in sorted(READABLE_SUFFIXES)]
    found = find_tracks(music(*(f"rock/{number}x{suffix}" for number, suffix in enumerate(endings))))
    assert len(found.tracks) == len(endings)
    assert names(found) == sorted(names(found))
    assert found.skipped == []


@pytest.mark.parametrize(
    ("one", "other", "name"),
    [
        ("rock/a.mp3", "rock/a.wav", "rock.a"),
        ("rock/a/b.wav", "rock/a_b.wav", "rock.a_b"),
        ("rock/00007.wav", "rock/7.wav", "rock.00007"),
        ("rock/a.b.wav", "rock/a_b.wav", "rock.a_b"),
    ],
)
def test_of_two_recordings_of_one_name_the_second_is_named(
    music: Callable[..., Path], one: str, other: str, name: str
) -> None:
    folder = music(one, other, "pop/a.wav")
    found = find_tracks(folder)
    assert names(found) == sorted({"pop.a", name})
    kept = next(track.path for track in found.tracks if track.track == name)
    assert {kept} < {folder / one, folder / other}
    assert [path for path, _ in found.skipped] == [({folder / one, folder / other} - {kept}).pop()]
    assert found.skipped[0][1] == f"{kept} has the same track name, {name}; rename one"


def test_the_same_name_in_two_genres_is_two_tracks(music: Callable[..., Path]) -> None:
    found = find_tracks(music("rock/intro.wav", "pop/intro.wav"))
    assert names(found) == ["pop.intro", "rock.intro"]
    assert found.skipped == []


def test_files_that_are_not_audio_are_counted_and_ignored(music: Callable[..., Path]) -> None:
    found = find_tracks(
        music("rock/a.wav", "rock/cover.jpg", "rock/b.JPG", "rock/list.m3u", "rock/README", "notes.txt")
    )
    assert names(found) == ["rock.a"]
    assert found.ignored == {".jpg": 2, ".m3u": 1, "no ending": 1, ".txt": 1}
    assert found.skipped == []


def test_hidden_files_and_folders_are_no_part_of_a_corpus(music: Callable[..., Path]) -> None:
    found = find_tracks(music("rock/a.wav", "rock/._a.wav", ".trash/b.wav", "rock/.cache/c.wav", ".DS_Store"))
    assert names(found) == ["rock.a"]
    assert found.skipped == []
    assert not found.ignored


def test_the_name_of_a_recording_may_start_with_dots(music: Callable[..., Path]) -> None:
    assert names(find_tracks(music("rock/...And Justice for All.mp3"))) == ["rock.___And Justice for All"]


@pytest.mark.parametrize("again", ["a.wav", "b/../a.wav", "./a.wav"])
def test_one_file_under_two_genres_is_named(again: str, listed: Callable[[str], Path], tmp_path: Path) -> None:
    found = find_tracks(listed(f"path,label\na.wav,rock\n{again},pop\n"))
    assert found.skipped == [(tmp_path / again, "is listed under two genres, rock and pop; keep one")]


def test_a_hidden_folder_above_hides_nothing(tmp_path: Path) -> None:
    folder = tmp_path / ".local" / "music" / "rock"
    folder.mkdir(parents=True)
    (folder / "a.wav").touch()
    assert names(find_tracks(folder.parent)) == ["rock.a"]


@pytest.mark.parametrize("name", ["song.m4a", "song.M4A", "song.wma", "song.aac", "Album/song.webm", "song.m4b"])
def test_formats_that_need_ffmpeg_are_recordings(music: Callable[..., Path], name: str) -> None:
    found = find_tracks(music("rock/a.wav", f"rock/{name}"))
    assert set(names(found)) == {"rock.a", f"rock.{Path(name).with_suffix('')}".replace("/", "_")}
    assert not found.ignored


@pytest.mark.parametrize(("first", "kept"), [("song.m4a", "song.mp3"), ("song.aac", "song.wav")])
def test_of_one_name_the_format_that_needs_no_ffmpeg_is_kept(music: Callable[..., Path], first: str, kept: str) -> None:
    folder = music(f"rock/{first}", f"rock/{kept}")
    found = find_tracks(folder)
    assert [track.path.name for track in found.tracks] == [kept]
    assert [path.name for path, _ in found.skipped] == [first]


@pytest.mark.parametrize(
    ("name", "content", "track"),
    [
        ("song", b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0", "rock.song"),
        ("song.dat", b"RIFF\x24\0\0\0WAVEfmt ", "rock.song_dat"),
        ("song.mpeg", b"\xff\xfb\x90\0", "rock.song_mpeg"),
        ("01. Song", b"OggS\0", "rock.01_ Song"),
        ("Mr. Jones (live)", b"\0\0\0\x20ftypM4A ", "rock.Mr_ Jones (live)"),
        ("song.audio", b"fLaC\0\0\0\x22", "rock.song_audio"),
    ],
)
def test_a_recording_without_a_known_ending_is_found_by_its_first_bytes(
    music: Callable[..., Path], name: str, content: bytes, track: str
) -> None:
    folder = music("rock/song.mp3")
    (folder / "rock" / name).write_bytes(content)
    (folder / "list.csv").write_text(f"path,label\nrock/{name},rock\n")
    assert track in names(find_tracks(folder))
    (listed,) = find_tracks(folder / "list.csv").tracks
    assert listed.track == track.replace("rock.", "rock.rock_")
    assert folder / "rock" / name in audio_files(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("song.mp3.part", b"ID3\x04\0\0\0\0\0\0"),  # a download that is not complete
        ("song.mp3.bak", b"ID3\x04\0\0\0\0\0\0"),
        ("page", b"<!DOCTYPE html><html>"),
        ("notes", "\ufeffnotes".encode("utf-16")),
        ("notes.text", b"MAC addresses of all machines"),
        ("picture", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("photo.hei", b"\0\0\0\x18ftypheic"),
        ("texture", b"RIFF\x24\0\0\0WEBPVP8 "),
        ("clip.avi", b"RIFF\x24\0\0\0AVI LIST"),
        ("film.mkv", b"\x1a\x45\xdf\xa3"),
        ("empty", b""),
    ],
)
def test_other_files_without_a_known_ending_are_no_recordings(
    music: Callable[..., Path], name: str, content: bytes
) -> None:
    folder = music("rock/a.wav")
    (folder / "rock" / name).write_bytes(content)
    found = find_tracks(folder)
    assert names(found) == ["rock.a"]
    assert found.ignored.total() == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_without_an_ending_is_not_opened(music: Callable[..., Path]) -> None:
    folder = music("rock/a.wav")
    os.mkfifo(folder / "rock" / "pipe")
    assert names(find_tracks(folder)) == ["rock.a"]


@pytest.mark.parametrize("other", ["Hip-Hop", "hip hop", "hip\u00adhop", "HIPHOP"])
def test_a_genre_in_two_spellings_is_refused(
    music: Callable[..., Path], listed: Callable[[str], Path], user_error: Mistake, other: str
) -> None:
    folder = music("hiphop/a.wav", f"{other}/b.wav", "rock/c.mp3")
    shown = ascii(other)[1:-1]
    with user_error(folder, problem=f"'{shown}'", hint="make them one folder"):
        find_tracks(folder)
    path = listed(f"path,label\nmusic/hiphop/a.wav,hiphop\nmusic/rock/c.mp3,{other}\n")
    with user_error(path, problem="'hiphop'", hint="make them one genre"):
        find_tracks(path)


def test_a_recording_outside_the_genres_is_named(music: Callable[..., Path]) -> None:
    folder = music("rock/a.wav", "stray.mp3")
    found = find_tracks(folder)
    assert names(found) == ["rock.a"]
    assert found.skipped == [(folder / "stray.mp3", "lies outside the folders of genres")]


def test_a_folder_that_is_named_like_a_recording_is_a_folder(music: Callable[..., Path]) -> None:
    assert names(find_tracks(music("rock/live.wav/a.wav"))) == ["rock.live_wav_a"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_name_that_is_no_utf8_is_named(music: Callable[..., Path]) -> None:
    folder = music("rock/a.wav")
    bad = Path(os.fsdecode(os.fsencode(folder / "rock") + b"/b\xff.wav"))
    bad.touch()
    found = find_tracks(folder)
    assert names(found) == ["rock.a"]
    assert found.skipped == [(bad, "its name is not UTF-8; rename it")]


def test_a_genre_with_a_full_stop_is_refused_with_a_hint(music: Callable[..., Path], user_error: Mistake) -> None:
    folder = music("rock/a.wav", "r.n.b/b.wav")
    with user_error(folder / "r.n.b", problem="full stop", hint="rename the folder"):
        find_tracks(folder)


@pytest.mark.parametrize("name", ["old.backup", "None", "a,b", " ", "nan", "x" * 250])
def test_a_folder_without_recordings_may_have_any_name(music: Callable[..., Path], name: str) -> None:
    found = find_tracks(music("rock/a.wav", f"{name}/readme.txt", f"{name}/deep/cover.jpg"))
    assert names(found) == ["rock.a"]
    assert found.ignored == {".txt": 1, ".jpg": 1}


@pytest.mark.parametrize(
    "folder", ["__MACOSX", "@eaDir", "lost+found", "System Volume Information", "$RECYCLE.BIN", "#recycle", ".git"]
)
def test_folders_of_the_system_are_passed_over(music: Callable[..., Path], folder: str) -> None:
    found = find_tracks(music("rock/a.wav", f"{folder}/b.wav", f"rock/{folder}/rock/c.wav"))
    assert names(found) == ["rock.a"]
    assert found.skipped == []


@pytest.mark.parametrize("files", [(), ("rock/cover.jpg",), ("a.wav", "b.wav"), (".rock/a.wav",)], ids=str)
def test_a_folder_without_recordings_is_refused_with_the_layout(
    music: Callable[..., Path], tmp_path: Path, files: tuple[str, ...], user_error: Mistake
) -> None:
    (tmp_path / "music").mkdir()
    folder = music(*files)
    with user_error(folder, problem="no recording with a genre", hint="put audio files into one folder per genre"):
        find_tracks(folder)


def test_a_source_that_does_not_exist_is_refused(tmp_path: Path, user_error: Mistake) -> None:
    with user_error(
        tmp_path / "nowhere", problem="does not exist", hint="a folder with one folder per genre, or a CSV"
    ):
        find_tracks(tmp_path / "nowhere")


# names --------------------------------------------------------------------------------------------------------------

AWKWARD = [
    "rock/7.wav",
    "rock/1999.wav",
    "rock/rock.00001.wav",
    "rock/rock.1.wav",
    "rock/00001.5.wav",
    "rock/Album/01. Song, live.wav",
    'rock/"q".mp3',
    "rock/a\tb.wav",
    "rock/c\nd.wav",
    "rock/a...wav",
    "rock/nan.wav",
    "rock/٣.wav",
    "rock/²1.wav",
    "hip hop/12.flac",
    "80s/80s.00001.wav",
    "80s/80.wav",
    "Bläser/音楽.wav",
]


def test_every_name_is_one_that_the_table_reader_takes(
    music: Callable[..., Path], make_frame: Callable[..., pd.DataFrame]
) -> None:
    found = find_tracks(music(*AWKWARD))
    assert found.skipped == []
    assert len(found.tracks) == len(AWKWARD)
    for whole_clips in (False, True):
        rows = [(track, "" if whole_clips else f".{index}") for track in found.tracks for index in (0, 1)]
        rows = rows[::2] if whole_clips else rows
        frame = make_frame(genres=("rock",), tracks=1, slices=len(rows))
        frame["filename"] = [f"{track.track}{place}.wav" for track, place in rows]
        frame["label"] = [track.genre for track, _ in rows]
        table = table_from_frame(frame, source="found")
        assert table.tracks == tuple(names(found))
        assert {table.genres[index] for index in table.genre} == {"rock", "hip hop", "80s", "Bläser"}
        assert set(table.num_slices) == {1 if whole_clips else 2}


@given(
    genre=st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="./\\"), min_size=1, max_size=6),
    parts=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"], exclude_characters="/\0"), max_size=6)),
    stem=st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/."), min_size=1, max_size=6),
)
def test_a_name_contains_its_genre_and_is_no_slice_of_another(genre: str, parts: list[str], stem: str) -> None:
    folders = [part for part in parts if part.strip(". ")]
    name = track_name(genre, Path(*folders, f"{stem}.wav"))
    assert re.fullmatch(TRACK_PATTERN, name)
    for row, index in ((f"{name}.wav", None), (f"{name}.0.wav", "0"), (f"{name}.17.wav", "17")):
        keys = re.fullmatch(FILENAME_PATTERN, row)
        assert keys is not None
        assert (keys["track"], keys["prefix"], keys["slice"]) == (name, genre, index)


# lists --------------------------------------------------------------------------------------------------------------


def test_a_list_gives_genres_and_artists_to_files_beside_it(listed: Callable[[str], Path], tmp_path: Path) -> None:
    source = listed("path,label,artist\na/one.wav,rock, Queen \na/two.mp3,pop,\n/far/three.flac,pop,ABBA\n")
    found = find_tracks(source)
    assert [(t.track, t.genre, t.artist) for t in found.tracks] == [
        ("pop.a_two", "pop", ""),
        ("pop.three", "pop", "ABBA"),
        ("rock.a_one", "rock", "Queen"),
    ]
    assert [t.path for t in found.tracks] == [tmp_path / "a/two.mp3", Path("/far/three.flac"), tmp_path / "a/one.wav"]


def test_backslashes_in_a_list_divide_folders_unless_a_file_has_that_name(
    listed: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "AC\\DC.wav").touch()
    found = find_tracks(listed("path,label\r\njazz\\a.wav,jazz\r\nC:\\music\\b.wav,jazz\r\nAC\\DC.wav,rock\r\n"))
    assert [(track.track, str(track.path.relative_to(tmp_path))) for track in found.tracks] == [
        ("jazz.b", "C:/music/b.wav"),
        ("jazz.jazz_a", "jazz/a.wav"),
        ("rock.AC_DC", "AC\\DC.wav"),
    ]


def test_paths_are_relative_to_the_list_not_to_the_shell(
    listed: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed("path,label\nmusic/a.wav,rock\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (track,) = find_tracks(Path("../list.csv")).tracks
    assert track.path.resolve() == tmp_path / "music" / "a.wav"


def test_a_list_may_have_more_columns_in_any_order_and_a_byte_order_mark(listed: Callable[[str], Path]) -> None:
    found = find_tracks(listed('\ufefftitle,label,path\n"One, two",rock,"a, b.wav"\n\nX,pop,c.wav\n'))
    assert names(found) == ["pop.c", "rock.a_ b"]
    assert found.tracks[1].path.name == "a, b.wav"


def test_of_a_list_too_what_cannot_be_read_is_named(listed: Callable[[str], Path], tmp_path: Path) -> None:
    found = find_tracks(listed("path,label\na.wav,rock\nc.jpg,pop\nx/../c.mp3,rock\na.wav,rock\n"))
    assert found.skipped == [
        (tmp_path / "c.jpg", "not an audio file by its ending"),
        (tmp_path / "a.wav", "is listed twice"),
    ]
    assert not found.ignored  # a listed file is never ignored


@pytest.mark.parametrize(
    ("text", "row", "problem"),
    [
        ("file,genre\na.wav,rock\n", 1, "lacks the column 'path'; found: file, genre"),
        ("path,genre\na.wav,rock\n", 1, "lacks the column 'label'; found: path, genre"),
        ("path;label\na.wav;rock\n", 1, "lacks the column 'path'; found: path;label"),
        ("", 1, "lacks the column 'path'; found: nothing"),
        ("path,label\na.wav,rock\nb.wav,\n", 3, "the genre '' reads as a missing value"),
        ("path,label\nb.wav\n", 2, "the genre '' reads as a missing value"),
        ("path,label\n,rock\n", 2, "'' is not the path of a file"),
        ("path,label\na.wav,rock\nb.wav,rock,pop\n", 3, "it has 3 cells, and the header has 2"),
        ("path,label\n\na.wav,r.n.b\n", 3, "the genre 'r.n.b' contains a full stop"),
        ("path,label\na.wav,\u200b\n", 2, "it has no visible character"),
        (f"path,label\na.wav,{'r' * 256}\n", 2, "it has 256 characters, and 255 are allowed"),
    ],
)
def test_a_mistake_in_a_list_is_named_with_its_row(
    listed: Callable[[str], Path], text: str, row: int, problem: str, user_error: Mistake
) -> None:
    source = listed(text)
    hint = "give the columns path and label, separated by commas" if row == 1 else None
    with user_error(f"{source}, row {row}", problem=problem, hint=hint):
        find_tracks(source)


def test_a_list_of_nothing_is_refused(listed: Callable[[str], Path], user_error: Mistake) -> None:
    source = listed("path,label\n")
    with user_error(source, problem="no recording with a genre"):
        find_tracks(source)


def test_a_list_that_is_no_utf8_is_refused(tmp_path: Path, user_error: Mistake) -> None:
    (tmp_path / "list.csv").write_bytes("path,label\nStraße.wav,rock\n".encode("latin-1"))
    with user_error(tmp_path / "list.csv", problem="not UTF-8", hint="save the list of path and label as UTF-8"):
        find_tracks(tmp_path / "list.csv")


# audio files without genres -----------------------------------------------------------------------------------------


def test_audio_files_are_one_file_or_all_below_a_folder(music: Callable[..., Path]) -> None:
    folder = music("b.wav", "a/c.mp3", "a/cover.jpg", "._b.wav", ".hidden")
    assert audio_files(folder) == [folder / "a/c.mp3", folder / "b.wav"]
    assert audio_files(folder / "a/cover.jpg") == [folder / "a/cover.jpg"]  # what was named is tried


def test_no_audio_files_are_a_mistake(music: Callable[..., Path], user_error: Mistake) -> None:
    folder = music("cover.jpg")
    with user_error(folder, problem="no audio file (.aif, .aiff, "):
        audio_files(folder)
    with user_error(folder / "nowhere", problem="does not exist", hint="give an audio file or a folder of them"):
        audio_files(folder / "nowhere")


# --- corners -------------------------------------------------------------------------------------------------------


def test_a_recording_named_by_a_space_has_a_name_or_is_skipped(music: Callable[..., Path]) -> None:
    found = find_tracks(music("pop/a.wav", "rock/ .wav"))
    assert all(re.fullmatch(TRACK_PATTERN, name) for name in names(found))


@pytest.mark.parametrize("path", ["rock/rock.live/a.wav", "rock/rock.a\nb.wav", 'rock/rock.a,"b".wav'])
def test_no_name_holds_what_separates_paths_lines_or_cells(music: Callable[..., Path], path: str) -> None:
    (name,) = names(find_tracks(music(path)))
    assert not set(name) & set('/\n,"')


def test_a_genre_that_is_a_link_to_a_folder_is_found(music: Callable[..., Path], tmp_path: Path) -> None:
    folder = music("rock/a.wav")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.wav").touch()
    (folder / "jazz").symlink_to(tmp_path / "elsewhere")
    assert names(find_tracks(folder)) == ["jazz.b", "rock.a"]


def test_a_recording_that_is_a_broken_link_is_not_ignored(music: Callable[..., Path]) -> None:
    folder = music("rock/a.wav")
    (folder / "rock/b.wav").symlink_to(folder / "gone.wav")
    found = find_tracks(folder)
    assert len(found.tracks) + len(found.skipped) == 2


def test_a_list_with_an_open_quote_is_a_mistake(listed: Callable[[str], Path], user_error: Mistake) -> None:
    source = listed('path,label\n"' + 200_000 * "a" + ".wav,rock\n")
    with user_error(f"{source}, row 1", problem="not a CSV"):
        find_tracks(source)


def test_the_folder_of_one_genre_is_refused_with_the_folder_of_all(
    music: Callable[..., Path], user_error: Mistake
) -> None:
    folder = music("blues/a.wav", "rock/b.wav")
    with user_error(folder / "blues", hint=f"if 'blues' is a genre, give the folder of all genres, {folder};"):
        find_tracks(folder / "blues")
    assert names(find_tracks(folder)) == ["blues.a", "rock.b"]


def test_the_home_folder_is_known_in_a_list(
    music: Callable[..., Path], listed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(music("rock/a.wav")))
    (track,) = find_tracks(listed("path,label\n~/rock/a.wav,rock\n")).tracks
    assert track.path.is_file()
