"""Claims about `genregrid.features.level`: folders of a wrong level are refused, and folders of genres never are."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from genregrid.features.__main__ import main
from genregrid.features.folder import Found, find_tracks
from genregrid.features.level import check_level, genre_lines

Mistake = Callable[..., AbstractContextManager[None]]


def found_in(folder: Path, layout: str) -> Found:
    """Find empty recordings. `layout` is like ``train/{rock,jazz} test/{rock,jazz}``: folders with one each."""
    for number, path in enumerate(path for word in layout.split() for path in expanded(word.replace("_", " "))):
        (folder / path).mkdir(parents=True, exist_ok=True)
        (folder / path / f"song {number}.mp3").touch()
    return find_tracks(folder)


def expanded(word: str) -> list[str]:
    head, brace, rest = word.partition("{")
    names, _, tail = rest.partition("}")
    return [f"{head}{name}{end}" for name in names.split(",") for end in expanded(tail)] if brace else [head]


@pytest.mark.parametrize(
    ("layout", "give"),
    [
        ("genresoriginal/{rock,jazz}", "genresoriginal"),  # Kaggle's Data
        ("genres/{blues,classical,hip-hop}", "genres"),
        ("Data/genres/{rock,jazz,pop}", "Data/genres"),
        ("archive/Data/genres/{rock,jazz,pop}", "archive/Data/genres"),
        ("gtzan/{alpha,beta}", "gtzan"),  # genres of any name in a collection
        ("my_stuff/{Rock,Hip_Hop,unknown}", "my stuff"),
        ("training/{rock,jazz}", "training"),
        ("ballroom/{ChaChaCha,Jive,Quickstep,Rumba}", "ballroom"),
        ("wav/{Salsa,Bachata}/{A,B}", "wav"),
        ("songs/all/{Salsa,Bachata}", "songs/all"),
    ],
)
def test_a_folder_one_level_too_high_is_refused_with_the_folder_to_give(
    tmp_path: Path, user_error: Mistake, layout: str, give: str
) -> None:
    with user_error(tmp_path, problem="holds the genres", hint=f"give the folder {tmp_path / give}; if"):
        check_level(found_in(tmp_path, layout))


@pytest.mark.parametrize(
    "layout",
    [
        "train/{rock,jazz} test/{rock,jazz}",
        "Train/{rock,jazz} Validation/{rock,jazz} Test/{rock,jazz}",
        "training/rock dev/jazz eval/rock",
        "train_set/{a,b} test_set/{a,b}",
        "train1 train2 test",
        "train test rock",
        "train",
        "TRAIN_SET TEST_SET",
        "TRAIN_DATA/x VAL_DATA/x",
    ],
)
def test_parts_of_a_corpus_are_no_genres(tmp_path: Path, user_error: Mistake, layout: str) -> None:
    with user_error(tmp_path, problem="are parts of a corpus, not genres", hint="CSV of path and label"):
        check_level(found_in(tmp_path, layout))


@pytest.mark.parametrize(
    ("layout", "problem", "hint"),
    [
        ("{000,001,155}", "are numbers, not genres", "--labels fma_metadata/tracks.csv"),
        ("fma_small/{000,001}", "hold FMA's numbered folders", "--labels fma_metadata/tracks.csv"),
        ("{fma_small,fma_medium}/{000,155}", "hold FMA's numbered folders", "--labels fma_metadata/tracks.csv"),
        ("{rock,jazz}-{train,test}", "are genres of several parts", "CSV of path and label"),
        ("train_{rock,jazz} test_{rock,jazz}", "are genres of several parts", "CSV of path and label"),
        ("000", "are numbers, not genres", "--labels fma_metadata/tracks.csv"),
        ("CD1", "are numbered parts", "CSV of path and label"),
        ("{0,1,2}", "are numbers, not genres", "list the recordings in a CSV of path and label"),
        ("{1,2}/{rock,jazz}", "are numbers, not genres", "CSV of path and label"),
        ("fold{1,2,10}/{rock,jazz}", "are numbered parts", "give one of them"),
        ("Fold_{1,2}", "are numbered parts", "CSV of path and label"),
        ("split-{0,1}/{rock,jazz}", "are numbered parts", "give one of them"),
        ("CD{1,2}", "are numbered parts", "CSV of path and label"),
        ("Disc_{01,02}", "are numbered parts", "CSV of path and label"),
        ("part{a,b}", "are numbered parts", "CSV of path and label"),
        ("A/{ABBA,Air} B/{Beck,Blur}", "are initials", "CSV of path and label"),
    ],
)
def test_numbers_and_numbered_parts_are_no_genres(
    tmp_path: Path, user_error: Mistake, layout: str, problem: str, hint: str
) -> None:
    with user_error(tmp_path, problem=problem, hint=hint):
        check_level(found_in(tmp_path, layout))


@pytest.mark.parametrize(
    ("layout", "problem"),
    [
        ("alice/{rock,jazz} bob/{rock,jazz}", "hold the genres (jazz, rock)"),
        ("wav/{rock,jazz} mp3/{rock,jazz,pop}", "hold the genres (jazz, pop, rock)"),
        ("GTZAN/{rock,jazz} FMA/{Hip-Hop,Rock}", "hold the genres"),
        ("Brazil/{Samba,Forro} Cuba/{Salsa,Mambo}", "hold the genres"),
        ("one/{Alpha,Beta} two/{Alpha,Beta}", "all hold the same folders (Alpha, Beta)"),
    ],
)
def test_folders_that_hold_the_genres_are_refused(
    tmp_path: Path, user_error: Mistake, layout: str, problem: str
) -> None:
    with user_error(tmp_path, problem=problem, hint="give one of them"):
        check_level(found_in(tmp_path, layout))


@pytest.mark.parametrize(
    "layout",
    [
        "{rock,jazz}",
        "rock/{Queen,Rush}/{CD1,CD2} jazz/Miles/{CD1,CD2}",
        "{foo,bar}/{CD1,CD2}",
        "{foo,bar}/{Disc_1,Disc_2}",
        "{foo,bar}/{train,test}",
        "{foo,bar}/{mp3,wav}",
        "{foo,bar}/{1999,2000}",
        "{foo,bar}/{a,b,c}",
        "{rock,pop}/{Queen,Sting}",  # the same artists in two genres
        "{foo,pop}/{Queen,Sting}",
        "foo/{Queen,Sting} bar/{Queen,Prince}",
        "{foo,bar}/Queen",
        "rock/{Metal,Punk} pop/{Disco,Soul}",  # subgenres
        "metal/{death_metal,black_metal}",  # one genre with subgenres
        "rock",
        "rock/Queen/{Jazz,Hot_Space}",  # albums
        "songs",  # to be scored with a checkpoint
        "songs/{Queen,Sting}",
        "Salsa/{Celia,Oscar}",
        "foo/Queen/{One,Two}",
        "{80s,90s}",
        "train rock jazz",  # a band
        "rock/{000,001}/x jazz/000",  # clips of FMA, sorted by genre
        "{rock,jazz}/{000,001}",
        "indie_rock progressive_rock",
        "rock_test jazz",
        "test country",
        "{000,rock}",
        "{A,B}",
        "{Vol_1,rock}",
        "{Música_popular,音楽}",
        "disc_jockey cd",
    ],
)
def test_folders_of_genres_are_not_refused(tmp_path: Path, layout: str) -> None:
    check_level(found_in(tmp_path, layout))


@pytest.mark.parametrize("rows", ["train/a.mp3,train\ntest/b.mp3,test\n", "000/a.mp3,1\n001/b.mp3,2\n"])
def test_a_list_of_path_and_label_may_have_any_labels(tmp_path: Path, rows: str) -> None:
    (tmp_path / "list.csv").write_text(f"path,label\n{rows}")
    check_level(find_tracks(tmp_path / "list.csv"))


def test_nothing_is_read_or_written_before_a_wrong_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found_in(tmp_path / "music", "train/{rock,jazz} test/{rock,jazz}")
    assert main([str(tmp_path / "music"), "--out", "f.csv"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["music"]


def test_genres_are_shown_with_the_largest_first(tmp_path: Path) -> None:
    assert list(genre_lines(found_in(tmp_path, "rock jazz jazz/Miles"))) == [
        f"{tmp_path}: 3 recordings of 2 genres: jazz 2, rock 1"
    ]


def test_two_hundred_genres_are_one_short_line(tmp_path: Path) -> None:
    found = found_in(tmp_path, f"{{{','.join(f'g{number}' for number in range(200))}}} g7/x")
    (line,) = genre_lines(found)
    assert ": 201 recordings of 200 genres: g7 2, " in line
    assert line.endswith(" and 190 more, the smallest g99 1")


def test_one_genre_is_noted_as_too_few_for_a_training(tmp_path: Path) -> None:
    _, note = genre_lines(found_in(tmp_path / "one", "rock"))
    assert note.endswith("a training needs two genres or more")
    _, note = genre_lines(found_in(tmp_path / "all", "songs/{Queen,Sting}"))
    assert note.endswith(f"; if Queen, Sting are the genres, give {tmp_path / 'all' / 'songs'}")


def test_missing_ffmpeg_is_noted_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found_in(tmp_path / "music", "rock jazz")
    (tmp_path / "music/rock/b.m4a").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    _, note = genre_lines(find_tracks(tmp_path / "music"))
    assert note.startswith("1 recording such as b.m4a may need ffmpeg, which is not installed; ")
