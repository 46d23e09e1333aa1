"""Claims about `genregrid.data.feature_csv`: values and names of a CSV, and any damage to it, end in a sentence."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.feature_csv import choose_columns
from genregrid.data.table import read_table, table_from_frame
from genregrid.errors import UserError
from genregrid.exhibit import spreadsheet
from genregrid.tablefile.scan import place
from genregrid.twin.draw import draw_twin

Expect = Callable[..., Any]
Frames = Callable[..., pd.DataFrame]
Writer = Callable[..., Path]

IMPOSSIBLE = [
    ("rms_var", -1e-9),
    ("mfcc20_var", -5.0),
    ("chroma_stft_mean", -0.1),
    ("chroma_stft_mean", 1.1),
    ("zero_crossing_rate_mean", 1.5),
    ("rms_mean", -0.1),
    ("spectral_centroid_mean", -1.0),
    ("spectral_bandwidth_mean", -1.0),
    ("rolloff_mean", -1.0),
    ("tempo", -120.0),
    ("mfcc1_mean", 1e30),
    ("mfcc1_mean", -3.4e38),
    ("harmony_mean", 2e12),
    ("length", 0),
    ("length", -66149),
]


@pytest.mark.parametrize(("column", "value"), IMPOSSIBLE)
def test_values_that_no_descriptor_can_have_are_refused(
    make_frame: Frames, write_csv: Writer, user_error: Expect, column: str, value: float
) -> None:
    frame = make_frame()
    frame[column] = frame[column].astype(float)
    frame.loc[7, column] = value
    path = write_csv(frame)
    with user_error(place(path, 9, column), problem=f"found {value:g}"):
        read_table([path])
    with user_error(place("drawn", 9, column), problem=f"found {value:g}"):
        table_from_frame(frame, source="drawn")


def test_a_standardised_table_is_refused_with_the_way_out(
    make_frame: Frames, write_csv: Writer, user_error: Expect
) -> None:
    frame = make_frame()
    names = list(FEATURE_NAMES)
    frame[names] = (frame[names] - frame[names].mean()) / frame[names].std()
    with pytest.raises(UserError, match="standardised"):
        read_table([write_csv(frame)])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_bounds_themselves_are_values(make_frame: Frames, value: float) -> None:
    frame = make_frame().assign(chroma_stft_mean=value, zero_crossing_rate_mean=value, rms_var=0.0, tempo=0.0)
    assert table_from_frame(frame, source="silent").features.shape == (180, 57)


@pytest.mark.parametrize("seed", range(3))
def test_the_twin_has_possible_values(seed: int) -> None:
    assert table_from_frame(draw_twin(seed=seed, num_tracks=1000).frame, source="twin").features.min() > -1e12


@pytest.mark.parametrize("genre", ["  ", "\x01\x02", "ro\nck", "ro\tck", "\x1b[31m", "r" * 300, "\u200b"])
def test_a_genre_that_is_no_name_is_refused(make_frame: Frames, write_csv: Writer, genre: str) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=3)
    for column in ("filename", "label"):
        frame[column] = frame[column].str.replace("rock", genre)
    path = write_csv(frame)
    with pytest.raises(UserError) as caught:
        read_table([path])
    assert "cannot be a name" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "genre", ["${oc.env:HOME}", "../../..", "{track}", " rock ", "=cmd|' /C calc'!A0", "'-x", "音楽"]
)
def test_any_other_genre_is_text(make_frame: Frames, write_csv: Writer, genre: str, tmp_path: Path) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=3)
    for column in ("filename", "label"):
        frame[column] = frame[column].str.replace("rock", genre, regex=False)
    spreadsheet.write_csv(frame, tmp_path / "guarded.csv", index=False)
    for path in [write_csv(frame)] * (not genre.startswith("'")) + [tmp_path / "guarded.csv"]:
        table = read_table([path])
        assert sorted(table.genres) == sorted(["blues", genre])
        assert f"{genre}.00001" in table.tracks


def test_more_genres_than_a_model_has_outputs_are_refused(
    make_frame: Frames, write_csv: Writer, user_error: Expect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genregrid.data.feature_csv.MOST_GENRES", 2)
    path = write_csv(make_frame())
    with user_error(path, problem="more than 2 genres"):
        read_table([path])


def test_thousands_of_other_columns_are_ignored(make_frame: Frames, write_csv: Writer) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=3)
    others = pd.DataFrame(np.ones((len(frame), 4096)), columns=[f"learned_{number}" for number in range(4096)])
    table = read_table([write_csv(pd.concat([others, frame], axis=1))])
    np.testing.assert_array_equal(table.features, table_from_frame(frame, source="drawn").features)
    assert len(table.notes[0]) < 21_000


WORDS = [b"", b"\0", b"\n", b"\r", b'"', b",", b"'", b"=1", b"nan", b"inf", b"1e39", b"-1", b"\xff", b"\xef\xbb\xbf"]
WORDS += [
    b"\x1b[31m",
    "\u2028".encode(),
    b"9" * 5000,
    b"../..",
    b"${oc.env:HOME}",
    b"{0}",
    b"rock",
    b";",
    b"\t",
    b"1_0",
]


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Change bytes, cells or lines of a CSV at one to four places."""
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(content) + 1)
        match draw.randrange(6):
            case 0:
                content = content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
            case 1:
                content = content[:at] + draw.choice(WORDS) + content[at:]
            case 2:
                content = content[:at] + content[at + draw.choice((1, 10, 500)) :]
            case 3:
                cells = content.split(b",")
                cells[draw.randrange(len(cells))] = draw.choice(WORDS)
                content = b",".join(cells)
            case 4:
                lines = content.split(b"\n")
                lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
                content = b"\n".join(lines)
            case _:
                lines = content.split(b"\n")
                lines[draw.randrange(len(lines))] = draw.choice(WORDS)
                content = b"\n".join(lines)
    return content


def check_mutations(frame: pd.DataFrame, path: Path, seeds: range) -> int:
    """Read mutations of a CSV, and return how many made a table; the others end in one sentence."""
    content, sentences = frame.to_csv(index=False).encode(), []
    for seed in seeds:
        path.write_bytes(mutated(content, random.Random(seed)))
        try:
            assert np.isfinite(read_table([path]).features).all(), seed
        except UserError as error:
            sentences.append(str(error))
    assert all(sentence.isprintable() for sentence in sentences)
    assert max(map(len, sentences)) <= 600
    return len(seeds) - len(sentences)


def test_any_damage_ends_in_a_sentence_or_a_table(make_frame: Frames, tmp_path: Path) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=2)
    assert 0 < check_mutations(frame, tmp_path / "mine.csv", range(60)) < 60


@pytest.mark.torture
def test_thousands_of_damages_end_in_a_sentence_or_a_table(make_frame: Frames, tmp_path: Path) -> None:
    frame = make_frame(genres=("blues", "rock"), tracks=2, slices=2)
    assert check_mutations(frame, tmp_path / "mine.csv", range(60, 3000)) > 0


@pytest.mark.parametrize("surplus", ["1,9", '"9,5"'])
def test_a_missing_cell_is_found_though_another_row_has_one_too_many(
    write_csv: Callable[..., Path], surplus: str
) -> None:
    """The cells after it would be those of the next columns."""
    path = write_csv()
    header, first, second, *rest = path.read_text().splitlines()
    cells, at = f"{first},1".split(","), header.split(",").index("mfcc5_mean")
    lines = [f"{header},more", ",".join([*cells[:at], *cells[at + 1 :]]), f"{second},{surplus}"]
    path.write_text("\n".join([*lines, *(f"{row},1" for row in rest)]) + "\n")
    with pytest.raises(UserError, match="row 2"):
        read_table([path])


EMBEDDINGS = "filename,length,e0,e1,e10,tempo,artist,,label\n0.wav,66150,1,2,3,120,abba,7,rock\n"


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        ("all", ("e0", "e1", "e10", "tempo")),
        ("e*", ("e0", "e1", "e10")),
        ("e1", ("e1",)),
        (["tempo", "e1*"], ("tempo", "e1", "e10")),
        (["artist"], ("artist",)),  # a name is taken as it is: its text is then refused with row and column
    ],
)
def test_descriptors_are_chosen_by_names_and_patterns(
    tmp_path: Path, wanted: str | list[str], chosen: tuple[str, ...]
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(EMBEDDINGS)
    assert choose_columns(path, wanted) == chosen


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [("tempi", "is it tempo"), (["x*"], "choose from e0, e1, e10, tempo"), (["artists"], "choose from e0")],
)
def test_a_pattern_without_a_column_is_refused(
    tmp_path: Path, user_error: Callable[..., Any], wanted: str | list[str], hint: str
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(EMBEDDINGS)
    with user_error("dataset.features", hint=hint):
        choose_columns(path, wanted)
