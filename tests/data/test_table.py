"""Claims about `genregrid.data.table`: the table of a feature CSV, and the errors about a wrong CSV."""

import codecs
import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.reslice import reslice
from genregrid.data.table import FeatureTable, peek_slice_seconds, read_table, table_from_frame
from genregrid.errors import UserError
from genregrid.tablefile.scan import place

Frames = Callable[..., pd.DataFrame]
Writer = Callable[..., Path]
Expect = Callable[..., Any]
Finder = Callable[[str], Path]

GTZAN_GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
LENGTH_NOTE = "constant, and so without information: length = 66149"


@contextmanager
def refused(
    source: object, row: int = 0, column: str | None = None, *, problem: str = "", hint: str = ""
) -> Iterator[None]:
    """Expect a `UserError` of one line about a file, or a row and a column of it."""
    with pytest.raises(UserError) as caught:
        yield
    error = caught.value
    assert error.key == (place(source, row, column) if row else str(source))
    assert problem in error.problem
    assert hint in (error.hint or "")
    assert "\n" not in str(error)


def cells_of(frame: pd.DataFrame) -> list[list[str]]:
    return [list(frame.columns), *frame.astype(str).to_numpy().tolist()]


def write_cells(path: Path, cells: Sequence[Sequence[str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(cells)
    return path


def assert_same_table(left: FeatureTable, right: FeatureTable) -> None:
    """Equal in everything but the hashes of the files."""
    for name in ("features", "length_samples", "track", "slice_index", "genre"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)
    for name in ("feature_names", "tracks", "genres", "slice_seconds", "notes"):
        assert getattr(left, name) == getattr(right, name), name


@pytest.fixture
def cells(make_frame: Frames) -> list[list[str]]:
    """Header and twelve rows: blues and rock, two tracks each, three slices a track; row 5 is blues.00001.0."""
    return cells_of(make_frame(genres=("blues", "rock"), tracks=2, slices=3))


@pytest.fixture
def spoilt(cells: list[list[str]], tmp_path: Path) -> Callable[[int, str, str], Path]:
    """`spoilt(5, "tempo", "fast")` writes the CSV with that text in that row (the header is row 1) and column."""

    def spoil(row: int, column: str, text: str) -> Path:
        cells[row - 1][cells[0].index(column)] = text
        return write_cells(tmp_path / "mine.csv", cells)

    return spoil


# --- what comes out -------------------------------------------------------------------------------------------------


def test_table_holds_the_csv_cell_by_cell(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(genres=("rock", "blues"), tracks=2, slices=3, short={"rock.00001": 2})
    path = write_csv(frame)
    table = read_table([path])
    assert table.feature_names == FEATURE_NAMES
    assert len(table.feature_names) == 57
    assert table.tracks == ("blues.00000", "blues.00001", "rock.00000", "rock.00001")
    assert table.genres == ("blues", "rock")
    assert table.genre.tolist() == [0, 0, 1, 1]
    assert table.num_slices.tolist() == [3, 3, 3, 2]
    assert table.slice_seconds == 3.0
    assert table.features.dtype == np.float32
    assert table.features.shape == (11, 57)
    assert table.hashes == {"features.csv": hashlib.sha256(path.read_bytes()).hexdigest()}
    by_name = frame.set_index("filename")
    for row in range(11):
        source = by_name.loc[f"{table.tracks[table.track[row]]}.{table.slice_index[row]}.wav"]
        np.testing.assert_array_equal(table.features[row], source[list(FEATURE_NAMES)].to_numpy(np.float32))
        assert table.length_samples[row] == source["length"]
        assert table.genres[table.genre[table.track[row]]] == source["label"]


def test_csv_and_frame_make_equal_tables(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame()
    assert_same_table(read_table([write_csv(frame)]), table_from_frame(frame, source="drawn"))


def test_row_order_does_not_matter(make_frame: Frames) -> None:
    frame = make_frame(slices=12)  # slice 10 sorts after slice 9, not after slice 1
    shuffled = frame.sample(frac=1, random_state=1)
    assert shuffled["filename"].tolist() != frame["filename"].tolist()
    table = table_from_frame(shuffled.reset_index(drop=True), source="shuffled")
    assert_same_table(table, table_from_frame(frame, source="drawn"))
    assert table.slice_index.tolist() == list(range(12)) * len(table.tracks)


def test_column_order_does_not_matter(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame()
    turned = frame[list(frame.columns[::-1])]
    assert_same_table(read_table([write_csv(turned, "turned.csv")]), read_table([write_csv(frame)]))


@pytest.mark.parametrize("change", [lambda data: codecs.BOM_UTF8 + data, lambda data: data.replace(b"\n", b"\r\n")])
def test_byte_order_mark_and_crlf_are_read(write_csv: Writer, change: Callable[[bytes], bytes]) -> None:
    path = write_csv()
    plain = read_table([path])
    path.write_bytes(change(path.read_bytes()))
    changed = read_table([path])
    assert_same_table(changed, plain)
    assert changed.hashes != plain.hashes


def test_extra_columns_are_named_and_ignored(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame()
    path = write_csv(frame.assign(year=1973, comment='good, but "loud"', mood="a"))
    table = read_table([path])
    assert table.notes[0] == "features.csv: ignored the columns year, comment, mood"
    assert_same_table(replace(table, notes=table.notes[1:]), table_from_frame(frame, source="drawn"))


def test_constant_column_is_noted(make_frame: Frames) -> None:
    frame = make_frame()
    assert table_from_frame(frame, source="drawn").notes == (LENGTH_NOTE,)
    frame["rolloff_var"] = 1.5
    assert table_from_frame(frame, source="drawn").notes == (
        "constant, and so without information: rolloff_var = 1.5, length = 66149",
    )


def test_genres_keep_the_given_order_and_may_be_more(make_frame: Frames) -> None:
    table = table_from_frame(
        make_frame(genres=("blues", "rock"), tracks=2), source="x", genres=["rock", "pop", "blues"]
    )
    assert table.genres == ("rock", "pop", "blues")
    assert table.genre.tolist() == [2, 2, 0, 0]


def test_with_length_adds_the_58th_descriptor(make_table: Callable[..., FeatureTable]) -> None:
    table = make_table(whole_clips=True, slice_seconds=30)
    longer = table.with_length()
    assert longer.feature_names == (*FEATURE_NAMES, "length")
    np.testing.assert_array_equal(longer.features[:, :57], table.features)
    np.testing.assert_array_equal(longer.features[:, 57], table.length_samples)
    assert len(np.unique(longer.features[:, 57])) > 1


# --- slice length ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [3.0, 0.5, 1.25, 10.0, 29.95])
def test_slice_seconds_are_read_from_lengths(write_csv: Writer, seconds: float) -> None:
    path = write_csv(tracks=2, slices=3, slice_seconds=seconds)
    assert read_table([path]).slice_seconds == seconds
    assert peek_slice_seconds(path) == seconds


def test_whole_clips_are_rounded_to_a_second(write_csv: Writer, make_frame: Frames) -> None:
    frame = make_frame(whole_clips=True, slice_seconds=30)
    frame["length"] = np.random.default_rng(0).choice([660000, 664000, 675808], len(frame), p=[0.1, 0.8, 0.1])
    path = write_csv(frame)
    assert read_table([path]).slice_seconds == 30.0
    assert peek_slice_seconds(path) == 30.0
    assert read_table([path]).slice_index.tolist() == [0] * len(frame)


def test_given_slice_seconds_win(make_frame: Frames) -> None:
    assert table_from_frame(make_frame(), source="drawn", slice_seconds=2.9).slice_seconds == 2.9


@pytest.mark.parametrize("read", [lambda path: read_table([path]), peek_slice_seconds])
def test_length_that_gives_no_slice_length_is_refused(
    make_frame: Frames, write_csv: Writer, read: Callable[[Path], object]
) -> None:
    path = write_csv(make_frame().assign(length=3))  # seconds in place of samples
    problem = "samples at 22050 Hz, but their median is 3"
    with refused(f"{path}, column 'length'", problem=problem, hint="in seconds, set dataset.table_slice_seconds=3"):
        read(path)


def test_peek_reads_no_further_than_a_hundred_rows(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(tracks=20)
    frame.loc[300:, "length"] = 1
    assert peek_slice_seconds(write_csv(frame)) == 3.0


# --- one wrong file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [lambda path: read_table([path]), peek_slice_seconds])
def test_missing_file_and_folder_are_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with refused(tmp_path / "gone.csv", problem="does not exist", hint="feature CSV"):
        read(tmp_path / "gone.csv")
    with refused(tmp_path, problem="is a folder, not a file"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n\n", codecs.BOM_UTF8])
def test_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with refused(path, problem="is empty; expected a header"):
        read_table([path])


def test_an_empty_line_above_the_header_is_named(cells: list[list[str]], tmp_path: Path) -> None:
    path = write_cells(tmp_path / "mine.csv", cells)
    path.write_text("\n" + path.read_text())
    with refused(path, 1, problem="is empty", hint="delete empty lines"):
        read_table([path])


def test_header_without_rows_is_refused(cells: list[list[str]], tmp_path: Path) -> None:
    path = write_cells(tmp_path / "mine.csv", cells[:1])
    with refused(path, problem="header but no rows"):
        read_table([path])


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_wrong_delimiter_is_named(cells: list[list[str]], tmp_path: Path, delimiter: str, name: str) -> None:
    path = write_cells(tmp_path / "mine.csv", cells, delimiter)
    with refused(path, 1, problem=f"separated by {name}", hint="commas"):
        read_table([path])


@pytest.mark.parametrize(("row", "encoding"), [(1, "latin-1"), (6, "cp1252"), (6, "mac-roman"), (6, "shift-jis")])
def test_other_encoding_is_refused_with_its_row(
    cells: list[list[str]], tmp_path: Path, row: int, encoding: str
) -> None:
    cells[row - 1][-1] = "\u97f3" if encoding == "shift-jis" else "\u00e9tude"
    path = tmp_path / "mine.csv"
    path.write_bytes("\n".join(",".join(line) for line in cells).encode(encoding))
    with refused(path, row, problem="not UTF-8", hint="UTF-8"):
        read_table([path])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nan", "expected a finite number, found 'nan'"),
        ("inf", "expected a finite number, found 'inf'"),
        ("-Infinity", "expected a finite number, found '-Infinity'"),
        ("1e400", "expected a finite number, found '1e400'"),
        ("", "the cell is empty"),
        ("  ", "the cell is empty"),
        ("fast", "expected a number, found 'fast'"),
        ("1,5", "expected a number, found '1,5'"),
        ("NA", "expected a number, found 'NA'"),
    ],
)
@pytest.mark.parametrize("column", ["mfcc20_var", "length"])
def test_cell_that_is_no_finite_number_is_named(
    spoilt: Callable[[int, str, str], Path], column: str, text: str, reason: str
) -> None:
    path = spoilt(9, column, text)
    with refused(path, 9, column, problem=reason):
        read_table([path])


def test_number_beyond_float32_is_named(spoilt: Callable[[int, str, str], Path]) -> None:
    path = spoilt(9, "tempo", "1e39")
    with refused(path, 9, "tempo", problem="no descriptor is beyond 1e12, found 1e+39"):
        read_table([path])


@pytest.mark.parametrize("column", ["filename", "label"])
@pytest.mark.parametrize(("text", "reason"), [("", "the cell is empty"), ("NA", "'NA' is read as a missing value")])
def test_missing_name_or_label_is_named(
    spoilt: Callable[[int, str, str], Path], column: str, text: str, reason: str
) -> None:
    path = spoilt(4, column, text)
    with refused(path, 4, column, problem=reason, hint="fill "):
        read_table([path])


def test_row_with_too_few_fields_is_named(cells: list[list[str]], tmp_path: Path) -> None:
    del cells[6][20]
    path = write_cells(tmp_path / "mine.csv", cells)
    with refused(path, 7, problem="59 fields, but the header has 60"):
        read_table([path])


@pytest.mark.parametrize("position", [20, 60])  # inside, and after the last column
@pytest.mark.parametrize("row", [2, 7])
def test_row_with_too_many_fields_is_named(cells: list[list[str]], tmp_path: Path, position: int, row: int) -> None:
    cells[row - 1].insert(position, "0.5")
    path = write_cells(tmp_path / "mine.csv", cells)
    with refused(path, row, problem="61 fields, but the header has 60"):
        read_table([path])


def test_surplus_field_in_every_row_is_refused(cells: list[list[str]], tmp_path: Path) -> None:
    path = write_cells(tmp_path / "mine.csv", [cells[0], *(["0", *line] for line in cells[1:])])
    with refused(path, 2, problem="61 fields, but the header has 60"):
        read_table([path])


def test_cut_off_file_is_refused(write_csv: Writer) -> None:
    path = write_csv(genres=("blues", "rock"), tracks=2, slices=3)
    path.write_bytes(path.read_bytes()[:-200])
    with refused(path, 13, problem="fields, but the header has 60"):
        read_table([path])


def test_missing_columns_are_named(make_frame: Frames, write_csv: Writer) -> None:
    path = write_csv(make_frame().drop(columns=["tempo", "label", "mfcc1_mean", "mfcc2_mean", "mfcc3_mean"]))
    problem = "the columns 'label', 'tempo', 'mfcc1_mean', 'mfcc2_mean', 'mfcc3_mean' are missing"
    with refused(path, 1, problem=problem, hint="data/README.md"):
        read_table([path])
    path = write_csv(make_frame()[["tempo"]])
    problem = "the columns 'filename', 'length', 'label' and 56 more are missing"
    for read in (lambda path: read_table([path]), lambda path: peek_slice_seconds(path, FEATURE_NAMES)):
        with refused(path, 1, problem=problem, hint="data/README.md"):
            read(path)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("rolloff_mean", "roloff_mean"),
        ("mfcc7_var", "mfcc7_variance"),
    ],
)
def test_misspelt_column_gets_a_suggestion(make_frame: Frames, write_csv: Writer, name: str, found: str) -> None:
    path = write_csv(make_frame().rename(columns={name: found}))
    with refused(path, 1, problem=f"the column '{name}' is missing (is it '{found}'?)"):
        read_table([path])


@pytest.mark.parametrize(
    "names",
    [
        {"label": "genre"},
        {"label": "class", "filename": "file"},
        {"label": "genre_top", "filename": "track_id"},
        {"label": "Genre_Inferred"},
        {"label": "Label", "filename": " filename", "length": "LENGTH"},
        {"filename": "path", "label": "genre", "mfcc1_mean": "MFCC1 mean"},
        {"tempo": "Tempo ", "rms_mean": "rms.mean"},
    ],
)
def test_columns_of_other_names_are_named_and_read_once_renamed(
    make_frame: Frames, write_csv: Writer, names: dict[str, str]
) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=2)
    path = write_csv(frame.rename(columns=names))
    for read in (lambda path: read_table([path]), lambda path: peek_slice_seconds(path, FEATURE_NAMES)):
        with pytest.raises(UserError) as caught:
            read(path)
        hint = caught.value.hint or ""
        assert hint == "rename " + ", ".join(
            f"'{names[name]}' to '{name}'" for name in sorted(names, key=list(frame.columns.insert(2, "label")).index)
        )


def test_a_table_without_a_header_is_named(cells: list[list[str]], tmp_path: Path) -> None:
    path = write_cells(tmp_path / "mine.csv", cells[1:])
    with refused(path, 1, problem="numbers in place of the names of columns", hint="write a header above it"):
        read_table([path])


def test_many_columns_of_other_names_are_counted(make_frame: Frames, write_csv: Writer) -> None:
    path = write_csv(make_frame().rename(columns=str.upper))
    hint = "rename 'FILENAME' to 'filename', 'LENGTH' to 'length', 'LABEL' to 'label' and 57 more"
    with refused(path, 1, problem="'filename', 'length', 'label' and 57 more are missing", hint=hint):
        read_table([path])


def test_a_table_of_means_only_is_named(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame()
    means = frame[[name for name in frame.columns if not name.endswith("_var")]].drop(columns="length")
    path = write_csv(means.rename(columns=lambda name: name.removesuffix("_mean")))
    problem = "'length', 'chroma_stft_mean', 'chroma_stft_var' and 54 more are missing: it has means only"
    with refused(path, 1, problem=problem, hint="python -m genregrid.features"):
        read_table([path])
    path = write_csv(means.rename(columns=lambda name: name.removesuffix("_mean")).rename(columns={"label": "genre"}))
    with refused(path, 1, problem="it has means only", hint="rename 'genre' to 'label'"):
        read_table([path])


def test_a_table_without_lengths_is_read_where_the_slice_length_is_known(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(tracks=2)
    path = write_csv(frame.drop(columns="length"))
    table = read_table([path], slice_seconds=3.0)
    np.testing.assert_array_equal(table.features, table_from_frame(frame, source="drawn").features)
    assert set(table.length_samples.tolist()) == {66150.0}
    assert table.notes[0] == "features.csv: it has no column 'length'; its slices are taken as 3 s"
    for arguments in ({"slice_seconds": 3.0, "needs_length": True}, {}):
        with refused(path, 1, problem="the column 'length' is missing"):
            read_table([path], **arguments)


@pytest.mark.parametrize("ending", [".0", ""])
def test_file_names_without_ending_are_named(make_frame: Frames, write_csv: Writer, ending: str) -> None:
    frame = make_frame(whole_clips=not ending, slice_seconds=30 if not ending else 3, slices=2)
    path = write_csv(frame.assign(filename=frame["filename"].str.removesuffix(".wav")))
    name = f"blues.00000{ending}"
    with refused(path, 2, "filename", problem=f"'{name}' has no ending such as .wav", hint=f"{name}.wav"):
        read_table([path])
    frame["filename"] = frame["filename"].str.removesuffix(".wav") + ".wav"  # as advised
    assert len(read_table([write_csv(frame)]).tracks) == 18


def test_column_that_occurs_twice_is_named(cells: list[list[str]], tmp_path: Path) -> None:
    path = write_cells(tmp_path / "mine.csv", [[*line, "tempo" if row == 0 else "1"] for row, line in enumerate(cells)])
    with refused(path, 1, "tempo", problem="more than once"):
        read_table([path])


@pytest.mark.parametrize("name", ["blues_00001.0.wav", "blues.1.0.wav", "bogus", "00001.wav", "blues.00001.0.wav/"])
def test_file_name_of_another_form_is_named(spoilt: Callable[[int, str, str], Path], name: str) -> None:
    path = spoilt(5, "filename", name)
    with refused(path, 5, "filename", problem=f"'{name}' is not of the form genre.NNNNN.wav"):
        read_table([path])


@pytest.mark.parametrize("track", ["blues.Some Song", "blues.01 song", "blues.12x", "blues.音", "blues.0000123"])
def test_a_track_may_be_called_by_a_word(cells: list[list[str]], tmp_path: Path, track: str) -> None:
    named = [[cell.replace("blues.00001.", f"{track}.") for cell in line] for line in cells]
    table = read_table([write_cells(tmp_path / "mine.csv", named)])
    assert track in table.tracks
    assert len(table.tracks) == len(read_table([write_cells(tmp_path / "numbers.csv", cells)]).tracks)


def test_slice_number_beyond_counting_is_refused(spoilt: Callable[[int, str, str], Path]) -> None:
    path = spoilt(5, "filename", f"blues.00001.{10**20}.wav")
    with refused(path, 5, "filename"):
        read_table([path])


def test_repeated_file_name_names_both_rows(spoilt: Callable[[int, str, str], Path]) -> None:
    path = spoilt(9, "filename", "blues.00000.1.wav")
    with refused(path, 9, "filename", problem="'blues.00000.1.wav' is in row 3 already"):
        read_table([path])


def test_rows_are_counted_as_in_the_file_past_blank_lines(cells: list[list[str]], tmp_path: Path) -> None:
    cells[6][0] = "bogus"
    cells.insert(3, [])
    path = write_cells(tmp_path / "mine.csv", cells)
    with refused(path, 8, "filename", problem="'bogus'"):
        read_table([path])


@pytest.mark.parametrize(
    ("label", "hint"),
    [("clasical", "did you mean 'classical'?"), ("Blues", "did you mean 'blues'?"), ("polka", "has blues")],
)
def test_unknown_genre_is_named_with_a_suggestion(make_frame: Frames, write_csv: Writer, label: str, hint: str) -> None:
    path = write_csv(make_frame(genres=("rock", label), tracks=2, slices=3))
    with refused(path, 8, "label", problem=f"unknown genre '{label}'", hint=hint):
        read_table([path], genres=["blues", "classical", "rock"])


@pytest.mark.parametrize(
    ("other", "shown"), [("Blues", "'Blues'"), ("b-lues", "'b-lues'"), ("blues\u00a0", "'blues\\xa0'")]
)
def test_a_genre_in_two_spellings_is_refused_with_both(
    make_frame: Frames, write_csv: Writer, other: str, shown: str
) -> None:
    first = write_csv(make_frame(genres=("blues", "rock"), tracks=2, slices=2), "a.csv")
    second = write_csv(make_frame(genres=(other, "metal"), tracks=4, slices=2), "b.csv")
    problem = f"{shown} looks like another spelling of 'blues', the genre in row 2"
    with refused(second, 2, "label", problem=f"{problem} of {first}", hint="in the file names too"):
        read_table([first, second])
    frame = make_frame(genres=("blues", other), tracks=2, slices=2)
    with refused("drawn", 6, "label", problem=problem):
        table_from_frame(frame, source="drawn")
    with refused("drawn", 2, "label", hint="did you mean 'blues'?"):
        table_from_frame(frame.iloc[[6, 7]], source="drawn", genres=["rock", "blues"])


def test_label_that_contradicts_the_file_name_is_refused(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=3)
    frame.loc[frame["filename"].str.startswith("rock.00001"), "label"] = "blues"
    path = write_csv(frame)
    problem = "'blues' contradicts the genre 'rock' in the file name 'rock.00001.0.wav'"
    with refused(path, 11, "label", problem=problem, hint="write the genre in one way in both"):
        read_table([path])


@pytest.mark.parametrize("folder", ["C:\\music\\", "blues/"])
def test_file_names_with_folders_are_refused_with_the_way_out(
    folder: str, make_frame: Frames, write_csv: Writer
) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=3)
    frame["filename"] = folder + frame["filename"]
    path = write_csv(frame)
    with refused(path, 2, "label", hint="leave folders out of file names"):
        read_table([path])


def test_two_genres_for_one_track_are_refused(spoilt: Callable[[int, str, str], Path]) -> None:
    path = spoilt(6, "label", "rock")
    with refused(path, 6, "label", problem="'rock' is a second genre for the track blues.00001"):
        read_table([path])


@pytest.mark.parametrize(("row", "number", "left_out", "bad_row"), [(3, 3, 1, 4), (4, 5, 2, 4), (2, 7, 0, 3)])
def test_gap_in_slice_numbers_is_refused(
    spoilt: Callable[[int, str, str], Path], row: int, number: int, left_out: int, bad_row: int
) -> None:
    path = spoilt(row, "filename", f"blues.00000.{number}.wav")
    problem = f"slice {left_out} of blues.00000 is missing before slice"
    with refused(path, bad_row, "filename", problem=problem):
        read_table([path])


@pytest.mark.parametrize("twin", ["blues.00000.00.wav", "blues.00000.0.mp3"])
def test_one_slice_under_two_names_is_called_repeated(spoilt: Callable[[int, str, str], Path], twin: str) -> None:
    path = spoilt(3, "filename", twin)  # row 2 is blues.00000.0.wav
    with refused(path, 3, "filename", problem=f"in row 2 of {path} already"):
        read_table([path])


def test_slices_and_whole_clips_do_not_mix(spoilt: Callable[[int, str, str], Path]) -> None:
    path = spoilt(5, "filename", "blues.00001.wav")
    with refused(path, 5, "filename", problem="'blues.00001.wav' is a whole clip in a file of slices"):
        read_table([path])


def test_one_genre_only_is_refused(write_csv: Writer) -> None:
    path = write_csv(genres=("blues",))
    with refused(path, problem="all tracks are 'blues'; a classifier needs two genres"):
        read_table([path])


def test_frame_in_memory_is_refused_alike(make_frame: Frames) -> None:
    frame = make_frame()
    with refused("mine", 1, problem="the column 'tempo' is missing"):
        table_from_frame(frame.drop(columns="tempo"), source="mine")
    frame.loc[3, "tempo"] = np.inf
    with refused("mine", 5, "tempo", problem="expected a finite number"):
        table_from_frame(frame, source="mine")


# --- two files ------------------------------------------------------------------------------------------------------


def test_joined_files_make_the_table_of_all_rows(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(tracks=4)
    parts = [write_csv(frame[60:], "b.csv"), write_csv(frame[:60], "a.csv")]
    table = read_table(parts)
    assert_same_table(table, table_from_frame(frame, source="drawn"))
    assert table.hashes == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in parts}


def test_rows_that_agree_are_kept_once(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(tracks=4)
    again = frame[40:80].copy()
    # within the tolerance of a thousandth of the column's standard deviation
    again["tempo"] += 5e-4 * frame["tempo"][:80].std()
    table = read_table([write_csv(frame[:80], "a.csv"), write_csv(again, "b.csv"), write_csv(frame[80:], "c.csv")])
    assert table.notes[0] == "40 rows stood in two files, agreed, and were kept once"
    assert_same_table(replace(table, notes=table.notes[1:]), table_from_frame(frame, source="drawn"))


def test_rows_that_contradict_are_refused(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(tracks=4)
    again = frame[40:80].reset_index(drop=True)
    again.loc[7, "tempo"] += 2e-3 * frame["tempo"].std()
    first, second = write_csv(frame, "a.csv"), write_csv(again, "b.csv")
    with refused(second, 9, "tempo", problem=f"in {first}", hint="cannot be joined"):
        read_table([first, second])


def test_tables_of_two_slice_lengths_are_not_joined(write_csv: Writer) -> None:
    paths = [write_csv(name="a.csv"), write_csv(name="b.csv", genres=("pop", "rock"), slice_seconds=10.0, slices=3)]
    problem = f"slices of 10 s, and {paths[0]} has slices of 3 s"
    with refused(paths[1], problem=problem, hint="one length"):
        read_table(paths)


def test_slices_are_not_joined_with_whole_clips(write_csv: Writer) -> None:
    paths = [write_csv(name="a.csv"), write_csv(name="b.csv", slice_seconds=30.0, whole_clips=True)]
    with refused(paths[1], problem="whole clip", hint="one kind"):
        read_table(paths)


# --- the real files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "num_tracks", "num_rows", "num_short", "seconds"),
    [
        (["gtzan/features_30_sec.csv"], 1000, 1000, 0, 30.0),
        (["gtzan/features_10_sec.csv"], 1000, 2991, 9, 10.0),
        (["gtzan/features_3_sec.rebuilt192.csv"], 192, 1915, 5, 3.0),
        (["gtzan/features_3_sec.rebuilt192.csv", "gtzan/features_3_sec.classical-jazz-rock.csv"], 438, 4372, 8, 3.0),
        (["epidemic11/features_3_sec.csv"], 2205, 22050, 0, 3.0),
    ],
)
def test_real_tables_have_their_documented_shapes(
    real_file: Finder, names: list[str], num_tracks: int, num_rows: int, num_short: int, seconds: float
) -> None:
    table = read_table([real_file(name) for name in names])
    assert len(table.tracks) == num_tracks
    assert table.features.shape == (num_rows, 57)
    assert int((table.num_slices < table.num_slices.max()).sum()) == num_short
    assert table.slice_seconds == seconds
    if "gtzan" in names[0]:
        assert table.genres == GTZAN_GENRES
    if len(names) > 1:
        assert table.notes[0] == "539 rows stood in two files, agreed, and were kept once"


def test_real_files_of_two_recipes_are_not_joined(real_file: Finder, write_csv: Writer) -> None:
    other = pd.read_csv(real_file("gtzan/features_3_sec.rebuilt192.csv"))
    other["mfcc1_mean"] *= 1.05
    path = write_csv(other)
    with refused(path, 202, "mfcc1_mean", hint="cannot be joined"):
        read_table([real_file("gtzan/features_3_sec.classical-jazz-rock.csv"), path])


@pytest.mark.parametrize("name", ["ntds2017_features.csv", "ntds2017_tracks.csv", "fma_small_genres.csv"])
def test_real_csv_of_another_form_is_refused(real_file: Finder, name: str) -> None:
    path = real_file(f"fma/{name}")
    with refused(path, 1, problem="are missing", hint="data/README.md"):
        read_table([path])


def test_rows_are_contiguous_in_memory_for_every_source(
    make_frame: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    """Batches take rows: from a table stored by columns, each would cost a copy of the whole."""
    frame = make_frame()
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.sample(frac=1, random_state=0).to_csv(tmp_path / "b.csv", index=False)
    tables = [table_from_frame(frame, source="drawn"), *(read_table([tmp_path / f"{name}.csv"]) for name in "ab")]
    tables += [reslice(table, 6) for table in tables] + [table.with_length() for table in tables]
    assert all(table.features.flags.c_contiguous for table in tables)


# --- lengths that contradict each other ---------------------------------------------------------------------------


def test_a_row_of_another_length_is_refused(make_frame: Frames, write_csv: Writer, user_error: Expect) -> None:
    frame = make_frame(slices=2, tracks=2)
    frame.loc[3, "length"] = 220_500
    path = write_csv(frame)
    with user_error(place(path, 5, "length"), problem="10 s, and most rows have 3 s", hint="table_slice_seconds"):
        read_table([path])
    (note,) = (note for note in read_table([path], slice_seconds=3).notes if "length" in note)
    assert "1 of 12 rows have another length than 3 s, such as 10 s; all are taken as 3 s" in note
    frame.loc[3, "length"] = 66_510  # as in Kaggle's file
    assert read_table([write_csv(frame)]).slice_seconds == 3


def test_whole_recordings_may_have_any_length(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(whole_clips=True, slice_seconds=30)
    frame.loc[3, "length"] = 2_205_000
    table = read_table([write_csv(frame)])
    assert table.slice_seconds == 30
    assert any("1 of 18 rows have another length than 30 s, such as 100 s" in note for note in table.notes)


def test_a_given_slice_length_that_the_lengths_contradict_is_noted(write_csv: Writer) -> None:
    path = write_csv(slices=2, tracks=2)
    notes = read_table([path], slice_seconds=10).notes
    assert any("12 of 12 rows have another length than 10 s, such as 3 s" in note for note in notes)
    assert not any("another length" in note for note in read_table([path], slice_seconds=3).notes)


def test_a_length_that_a_table_has_not_is_not_called_constant(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(slices=2, tracks=2)
    constant = "constant, and so without information: length = 66149"
    assert constant in read_table([write_csv(frame)]).notes
    notes = read_table([write_csv(frame.drop(columns="length"))], slice_seconds=3).notes
    assert not any("constant" in note for note in notes)
