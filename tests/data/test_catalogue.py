"""Claims about `genregrid.data.catalogue`: artists and published lists by track name."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from genregrid.config import SplitConfig
from genregrid.data.catalogue import read_artists, read_lists
from genregrid.data.split import split_table
from genregrid.data.table import FeatureTable
from genregrid.errors import UserError
from genregrid.exhibit import spreadsheet
from genregrid.tablefile.scan import place

Writer = Callable[[str, str], Path]
Expect = Callable[..., Any]


@pytest.fixture
def write(tmp_path: Path) -> Writer:
    """`write("a.txt", text)` writes a file and gives its path."""

    def write_text(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


# --- artists ------------------------------------------------------------------------------------------------------


def test_csv_of_artists_is_read_by_column_name(write: Writer) -> None:
    path = write("a.csv", 'title,artist,track\nX,"Earth, Wind & Fire",disco.00003\nY, Björk ,pop.00012\n')
    assert read_artists(path) == {"disco.00003": "Earth, Wind & Fire", "pop.00012": "Björk"}


def test_index_lines_are_read_below_comments(write: Writer) -> None:
    path = write(
        "index.txt",
        "## an index\n## FILE ::: ARTIST ::: TITLE\n\n"
        "blues/blues.00000.wav ::: John Lee Hooker ::: One Bourbon\n"
        "blues.00001.au:::  Kelly Joe Phelps:::\n"
        "rock.00002 ::: U2\n",
    )
    assert read_artists(path) == {
        "blues.00000": "John Lee Hooker",
        "blues.00001": "Kelly Joe Phelps",
        "rock.00002": "U2",
    }


def test_byte_order_mark_and_crlf_are_read(write: Writer) -> None:
    assert read_artists(write("a.csv", "\ufefftrack,artist\r\nblues.00000,B. B. King\r\n")) == {
        "blues.00000": "B. B. King"
    }
    assert read_artists(write("a.txt", "\ufeff## head\r\nblues.00000.wav ::: B. B. King ::: X\r\n")) == {
        "blues.00000": "B. B. King"
    }


def test_tracks_of_unknown_artist_are_missing(write: Writer) -> None:
    assert read_artists(write("a.csv", "track,artist\nblues.00000,\nblues.00001,Skip James\n")) == {
        "blues.00001": "Skip James"
    }
    text = "blues.00000.wav ::: ::: Untitled\nblues.00001.wav ::: Skip James ::: X\n"
    assert read_artists(write("a.txt", text)) == {"blues.00001": "Skip James"}


def test_blank_artist_in_a_csv_is_unknown(write: Writer) -> None:
    assert read_artists(write("a.csv", "track,artist\nblues.00000,  \nblues.00001,Skip James\n")) == {
        "blues.00001": "Skip James"
    }


@pytest.mark.parametrize("artist", ["None", "NA", "null"])
def test_artist_whose_name_looks_missing_is_kept(write: Writer, artist: str) -> None:
    assert read_artists(write("a.csv", f"track,artist\nblues.00000,{artist}\n")) == {"blues.00000": artist}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "track,artist\nblues.00000,Skip James\nblues.00000,B. B. King\n"),
        ("a.txt", "blues.00000 ::: Skip James ::: X\nblues.00000 ::: B. B. King ::: X\n"),
    ],
)
def test_two_artists_for_one_track_are_refused(write: Writer, user_error: Expect, name: str, text: str) -> None:
    path = write(name, text)
    row = 2 if name == "a.txt" else 3
    with user_error(
        place(path, row), problem=f"blues.00000 has the artist 'B. B. King' here and 'Skip James' in row {row - 1}"
    ):
        read_artists(path)


def test_bad_index_line_is_named(write: Writer, user_error: Expect) -> None:
    path = write("index.txt", "## head\nblues.00000.wav ::: A ::: B\nblues.00001.wav - Skip James\n")
    with user_error(place(path, 3), problem="expected `FILE ::: ARTIST ::: TITLE`, found 'blues.00001.wav"):
        read_artists(path)
    path = write("index.txt", "blues.00000.wav ::: A ::: B\nbogus ::: Skip James ::: X\n")
    with user_error(place(path, 2), problem="'bogus' names no track of the form genre.NNNNN"):
        read_artists(path)


@pytest.mark.parametrize("text", ["song,player\nblues.00000,Skip James\n", "", "just words\n"])
def test_file_of_neither_form_is_refused(write: Writer, user_error: Expect, text: str) -> None:
    path = write("a.csv", text)
    with user_error(path, problem="is no artist index; expected a CSV with the columns track and artist, or lines"):
        read_artists(path)


def test_two_unicode_forms_of_a_name_are_one_artist(write: Writer) -> None:
    index = read_artists(write("index.csv", "track,artist\na.00000,Beyonc\u00e9\na.00001,Beyonce\u0301\n"))
    assert len(set(index.values())) == 1


def test_an_index_with_a_column_twice_is_refused(write: Writer, user_error: Expect) -> None:
    path = write("index.csv", "track,artist,track\na.00000,Abba,b.00000\n")
    with user_error(path):
        read_artists(path)


def test_missing_index_is_refused(tmp_path: Path, user_error: Expect) -> None:
    with user_error(tmp_path / "gone.txt", problem="does not exist", hint="an artist index"):
        read_artists(tmp_path / "gone.txt")


def test_index_in_another_encoding_is_refused(tmp_path: Path, user_error: Expect) -> None:
    (tmp_path / "a.csv").write_bytes("track,artist\npop.00001,Björk\n".encode("latin-1"))
    with user_error(tmp_path / "a.csv", problem="is not UTF-8 text", hint="save an artist index as UTF-8"):
        read_artists(tmp_path / "a.csv")


# --- lists --------------------------------------------------------------------------------------------------------


def test_lists_take_both_forms_of_a_line(write: Writer) -> None:
    paths = {
        "train": write("train.txt", "blues/blues.00029.wav\n\nblues.00030\r\n"),
        "test": write("test.txt", "\ufeffrock/rock.00001.au\n"),
    }
    assert read_lists(paths) == {"blues.00029": "train", "blues.00030": "train", "rock.00001": "test"}


def test_track_in_two_lists_is_refused(write: Writer, user_error: Expect) -> None:
    paths = {
        "train": write("train.txt", "blues.00000\nblues.00001\n"),
        "test": write("test.txt", "x.00007\nblues.00001\n"),
    }
    with user_error(place(paths["test"], 2), problem="blues.00001 is in the list of 'train' already"):
        read_lists(paths)


def test_list_line_without_a_track_is_named(write: Writer, user_error: Expect) -> None:
    path = write("val.txt", "blues.00000\nblues_00030.wav\n")
    with user_error(place(path, 2), problem="'blues_00030.wav' names no track"):
        read_lists({"val": path})


def test_missing_list_is_refused_with_its_part(tmp_path: Path, user_error: Expect) -> None:
    with user_error(tmp_path / "gone.txt", problem="does not exist", hint="the list of the part 'val'"):
        read_lists({"val": tmp_path / "gone.txt"})


# --- the real files -------------------------------------------------------------------------------------------------


def test_real_index_names_919_tracks(real_file: Callable[[str], Path]) -> None:
    artists = read_artists(real_file("gtzan/meta/GTZANindex.txt"))
    assert len(artists) == 919
    assert len({artist.casefold() for artist in artists.values()}) == 243  # one is written in two ways
    assert artists["blues.00000"] == "John Lee Hooker"


def test_real_artist_csv_names_every_track(real_file: Callable[[str], Path]) -> None:
    artists = read_artists(real_file("epidemic11/tracks.csv"))
    assert len(artists) == 2205
    assert len(set(artists.values())) == 489


def test_real_lists_have_their_published_sizes(real_file: Callable[[str], Path]) -> None:
    folder = {"train": "train", "val": "valid", "test": "test"}
    lists = read_lists({part: real_file(f"gtzan/splits/filtered/{name}_filtered.txt") for part, name in folder.items()})
    assert Counter(lists.values()) == {"train": 443, "val": 197, "test": 290}


HOSTILE = {
    "zeros": b"track,artist\n" + b"\0" * 1000,
    "open quote": b'track,artist\nblues.00001,"' + b"a" * 200_000,
    "wide": b"x," * 200_000 + b"\n",
    "short row": b"track,artist\nblues.00001\n",
    "long line": b":::" + b"x" * 1_000_000,
    "long track": b"blues." + b"a" * 10_000 + b".wav ::: A ::: T",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_index_ends_in_one_short_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    for read in (lambda: read_artists(tmp_path / "a.csv"), lambda: read_lists({"train": tmp_path / "a.csv"})):
        with pytest.raises(UserError) as caught:
            read()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) <= 600


def test_a_sparse_index_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    os.truncate(tmp_path / "a.csv", 10 * 2**30)
    os.mkfifo(tmp_path / "b.csv")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(UserError):
            read_artists(tmp_path / name)


def test_guards_of_spreadsheets_are_taken_away(tmp_path: Path) -> None:
    names = {"=rock.00001": "+one", "@pop.00001": "'=two", "'jazz.00001": "'three"}
    frame = pd.DataFrame({"track": list(names), "artist": list(names.values())})
    spreadsheet.write_csv(frame, tmp_path / "tracks.csv", index=False)
    assert read_artists(tmp_path / "tracks.csv") == names
    (tmp_path / "list.txt").write_text("'=rock.00001\n@pop.00001.wav\n")
    assert read_lists({"train": tmp_path / "list.txt"}) == {"=rock.00001": "train", "@pop.00001": "train"}


@pytest.mark.parametrize("rows", ['rock.1,"Queen\nrock.2,Abba\n', 'rock.1,"Queen"s\n', "rock.1,Earth, Wind & Fire\n"])
def test_a_row_whose_cells_run_together_or_apart_is_refused(tmp_path: Path, rows: str) -> None:
    """Otherwise artists would be lost, and their tracks in several parts."""
    path = tmp_path / "artists.csv"
    path.write_text(f"track,artist\n{rows}")
    with pytest.raises(UserError):
        read_artists(path)


def test_a_quoted_header_is_that_of_a_csv_whatever_the_cells_hold(write: Writer) -> None:
    path = write("a.csv", '"track","artist"\n"rock.00001","A ::: B"\n')
    assert read_artists(path) == {"rock.00001": "A ::: B"}


def test_an_empty_first_line_is_named(write: Writer, user_error: Expect) -> None:
    path = write("a.csv", "\ntrack,artist\nrock.00001,A\n")
    with user_error(place(path, 1), problem="it is empty"):
        read_artists(path)


def test_track_names_have_one_unicode_form(write: Writer) -> None:
    decomposed, composed = "rock.Cafe\u0301", "rock.Caf\u00e9"
    assert read_artists(write("a.csv", f"track,artist\n{decomposed},Beyonce\u0301\n")) == {composed: "Beyonc\u00e9"}
    assert read_artists(write("a.txt", f"{decomposed}.wav ::: Beyonce\u0301\n")) == {composed: "Beyonc\u00e9"}
    assert read_lists({"test": write("t.txt", f"{decomposed}\n")}) == {composed: "test"}


# --- Windows ------------------------------------------------------------------------------------------------------


def test_backslashes_divide_folders_as_slashes_do(write: Writer) -> None:
    lines = "blues\\blues.00000.wav\r\nC:\\music\\jazz\\jazz.00001.mp3\r\nrock.00002\r\n"
    tracks = ["blues.00000", "jazz.00001", "rock.00002"]
    assert read_lists({"train": write("train.txt", lines)}) == dict.fromkeys(tracks, "train")
    index = write("a.txt", "".join(f"{line} ::: A ::: B\r\n" for line in lines.split()))
    assert read_artists(index) == dict.fromkeys(tracks, "A")
    index = write("a.csv", "track,artist\r\nblues\\blues.00000,A\r\nC:\\music\\jazz.00001,A\r\nrock.00002,A\r\n")
    assert read_artists(index) == dict.fromkeys(tracks, "A")


def test_a_backslash_within_a_name_stays(write: Writer) -> None:
    assert read_lists({"train": write("train.txt", "rock/rock.AC\\DC.mp3\n")}) == {"rock.AC\\DC": "train"}
    assert read_artists(write("a.csv", "track,artist\nrock.AC\\DC,AC/DC\n")) == {"rock.AC\\DC": "AC/DC"}


# --- names as people write them -------------------------------------------------------------------------------------

SPELLINGS = {
    "a file": "{0}.wav",
    "another ending": "{0}.M4A",
    "a folder": "blues/{0}.wav",
    "folders of Windows": "C:\\music\\blues\\{0}.mp3",
    "an address": "file:///music/{0}.flac",
    "a slice": "{0}.0.wav",
    "a slice without ending": "{0}.3",
    "a slice in a folder": "./features/{0}.12.au",
    "blanks": "\u00a0 {0} ",
    "a mark of the byte order": "\ufeff{0}",
    "quotes": "\u201c{0}.wav\u201d",
    "single quotes": "'{0}'",
}
CASES: dict[str, Callable[[str], str]] = {
    "upper": lambda name: f"{name.upper()}.WAV",
    "title": str.title,
    "wide": lambda name: name.replace("0", "\uff10"),
    "decomposed": lambda name: unicodedata.normalize("NFD", f"{name}.ogg"),
}
TRACKS = [*(f"blues.{number:05d}" for number in range(6)), *(f"m\u00fasica.Caf\u00e9 {number}" for number in range(6))]
CHANGES = [*(spelling.format for spelling in SPELLINGS.values()), *CASES.values()]


@pytest.mark.parametrize("change", CHANGES, ids=[*SPELLINGS, *CASES])
@pytest.mark.parametrize("form", ["track,artist", "filename,artist", "Path, Artist", ":::"])
def test_a_track_is_found_by_every_spelling(write: Writer, change: Callable[[str], str], form: str) -> None:
    if form == ":::":
        text = "".join(f"{change(track)} ::: A{number} ::: T\n" for number, track in enumerate(TRACKS))
    else:
        text = form + "\n" + "".join(f"{change(track)},A{number}\n" for number, track in enumerate(TRACKS))
    found = read_artists(write("index", text), TRACKS)
    assert found == {track: f"A{number}" for number, track in enumerate(TRACKS)}


@pytest.mark.parametrize("change", CHANGES, ids=[*SPELLINGS, *CASES])
def test_a_list_finds_a_track_by_every_spelling(write: Writer, change: Callable[[str], str]) -> None:
    path = write("list", "".join(f"{change(track)}\n" for track in TRACKS))
    assert read_lists({"test": path}, TRACKS) == dict.fromkeys(TRACKS, "test")


@pytest.mark.parametrize("change", CHANGES, ids=[*SPELLINGS, *CASES])
def test_no_artist_is_in_two_parts_however_half_the_index_is_spelt(
    write: Writer, make_table: Callable[..., FeatureTable], change: Callable[[str], str]
) -> None:
    table = make_table(genres=("blues", "rock"), tracks=12, slices=1)
    artist = {track: f"artist {number // 3}" for number, track in enumerate(table.tracks)}
    names = [change(track) if number % 3 else track for number, track in enumerate(artist)]
    index = "".join(f"{name},{of}\n" for name, of in zip(names, artist.values(), strict=True))
    artists = read_artists(write("a.csv", f"track,artist\n{index}"), table.tracks)
    split = split_table(table, SplitConfig(protocol="artist", folds=4), artists=artists)
    parts = {(artist[name], part) for name, part in zip(table.tracks, split.part, strict=True)}
    assert len(parts) == 8
    assert split.notes[0] == "8 artists; 0 of 24 tracks have none and stand for themselves"


def test_a_file_in_the_folder_of_its_genre_is_the_track_of_an_extraction(write: Writer) -> None:
    files = {"rock/Album/01. Song.mp3": "rock.Album_01_ Song", "C:\\m\\Rock\\1999.flac": "rock.01999", "a/b": "a.b"}
    index = write("a.csv", "path,artist\n" + "".join(f"{name},{track}\n" for name, track in files.items()))
    assert read_artists(index, files.values()) == {track: track for track in files.values()}
    assert read_lists({"val": write("list.txt", "\n".join(files))}, files.values()) == dict.fromkeys(
        files.values(), "val"
    )


@pytest.mark.parametrize("top", ["# made by hand\n", "sep=,\r\n", '"sep=,"\n#\n# more, and more\n'])
def test_lines_above_the_header_of_an_index_are_passed_over(write: Writer, user_error: Expect, top: str) -> None:
    path = write("a.csv", f"{top}track,artist\nblues.00000,A\n")
    assert read_artists(path) == {"blues.00000": "A"}
    path = write("a.csv", f"{top}track,artist\nblues.00000,A,B\n")
    with user_error(place(path, top.count("\n") + 2), problem="3 fields"):
        read_artists(path)
    assert read_artists(write("b.csv", "#,Track,Artist\n1,blues.00000,A\n")) == {"blues.00000": "A"}


def test_comments_and_a_header_of_a_list_are_passed_over(write: Writer) -> None:
    path = write("list.txt", "filename\n# the rest\nblues.00000.wav\n#1 Hits.00001\n")
    assert read_lists({"test": path}, ["blues.00000"]) == {"blues.00000": "test", "#1 Hits.00001": "test"}


@pytest.mark.parametrize(
    ("content", "problem", "hint"),
    [
        (b"track;artist\nblues.00000;A\n", "separated by semicolons", "commas"),
        (b"track\tartist\nblues.00000\tA\n", "separated by tabs", "commas"),
        (b"track,performer\nblues.00000,A\n", "is no artist index", "its columns are track, performer"),
        (b"PK\3\4" + bytes(26) + b"[Content_Types].xml", "it is an Excel workbook", "as UTF-8 text"),
        ("track,artist\n".encode("utf-16"), "it is text in UTF-16", "as UTF-8 text"),
    ],
)
def test_an_index_of_another_form_is_named(
    tmp_path: Path, user_error: Expect, content: bytes, problem: str, hint: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with user_error(tmp_path / "a.csv", problem=problem, hint=hint):
        read_artists(tmp_path / "a.csv")


def test_the_name_of_a_track_in_the_table_is_that_track(write: Writer) -> None:
    tracks = ["rock.Live.mp3", "rock.Live", "Pop.00001", "pop.00001", "x/y.00001", "y.00001", "jazz.00001"]
    path = write("a.csv", "track,artist\n" + "".join(f"{track},{track}\n" for track in [*tracks, "POP.00001"]))
    assert read_artists(path, tracks) == {track: track for track in [*tracks, "POP.00001"]}  # which of two is unclear


def test_two_artists_of_one_track_are_named_with_both_rows(write: Writer, user_error: Expect) -> None:
    path = write("a.csv", "track,artist\nblues.00000.0.wav,Skip  JAMES\nblues.00000.1.wav,Skip James\nBlues.00000,U2\n")
    problem = "blues.00000 has the artist 'U2' here and 'Skip  JAMES' in row 2"
    with user_error(place(path, 4), problem=problem):
        read_artists(path, ["blues.00000"])


def test_an_index_of_other_names_is_refused_with_an_example_of_both(write: Writer, user_error: Expect) -> None:
    rows = "".join(f"{number}_blues,A{number}\n" for number in range(5))
    path = write("a.csv", f"track,artist\nblues.00000,B\nblues.00001,\n{rows}")
    problem = "it names 2 of the 6 tracks, and 5 of its names are no tracks: it has such as '0_blues', and the table "
    with user_error(path, problem=f"{problem}'blues.00002'", hint="write the names as in the table"):
        read_artists(path, TRACKS[:6])


def test_an_index_of_many_more_tracks_or_of_few_artists_is_read(write: Writer) -> None:
    rows = "".join(f"pop.{number:05d},A{number}\n" for number in range(1000))
    known = "blues.00000,B\nblues.00001,\nblues.00002,\n"  # two tracks of unknown artist are named all the same
    assert len(read_artists(write("a.csv", f"track,artist\n{known}{rows}"), TRACKS[:6])) == 1001
    assert read_artists(write("b.csv", "track,artist\nblues.00000,B\n"), TRACKS) == {"blues.00000": "B"}


def test_names_that_are_no_track_are_counted(write: Writer, make_table: Callable[..., FeatureTable]) -> None:
    table = make_table(genres=("blues", "rock"), tracks=6, slices=1)
    rows = "".join(f"{track},{number // 2}\n" for number, track in enumerate(table.tracks))
    artists = read_artists(write("a.csv", f"track,artist\n{rows}pop.00001.wav,A\nb/pop.00002,B\n"), table.tracks)
    split = split_table(table, SplitConfig(protocol="artist", folds=3), artists=artists)
    assert split.notes[1] == "2 names of the artist index are no tracks of this table, such as pop.00001"


@pytest.mark.parametrize("line", ["{}\tblues", "{},blues", "{}; Blues", "{} blues", "blues/{}\t0"])
def test_a_label_after_the_name_of_a_listed_track_is_no_part_of_it(line: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(line.format("blues.00029.wav") + "\n")
    assert read_lists({"train": path}, ["blues.00029"]) == {"blues.00029": "train"}


def test_only_a_genre_or_a_number_is_a_label_after_a_name(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("rock.Some Song\nblues.00029.wav,jazz\n")
    assert not {"rock.Some", "blues.00029"} & set(read_lists({"train": path}, ["rock.Some", "blues.00029"]))


def test_a_quotation_mark_after_a_blank_is_read(tmp_path: Path) -> None:
    path = tmp_path / "artists.csv"
    path.write_text('track , artist\nblues.00029 , "A, B"\n')
    assert read_artists(path) == {"blues.00029": "A, B"}
