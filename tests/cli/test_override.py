"""Paths and labels on the command line: every key that takes one, times every kind of name, alone and in a grid."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from genregrid.cli.argument import check_form
from genregrid.cli.override import quoted, with_literal_text
from genregrid.config import TEXT_DICTS, TEXT_KEYS, TEXT_LISTS, TEXT_OR_NULL, DatasetConfig
from genregrid.errors import UserError
from hydra_plugins.genregrid_sweeper import _products, _values

Composed = Callable[..., DictConfig]

NAMES = [
    "song.mp3",
    "Beyoncé.wav",
    "曲/Ünïcode и музыка.mp3",
    "my music (2024)/f.csv",
    "rock, pop/f.csv",
    "a,b",
    "a=b==c.mp3",
    "=x",
    "[MV] Band - Song.mp3",
    "[a]",
    "[a,b].mp3",
    "{a}",
    "{a: b}.mp3",
    "'Til Dawn.mp3",
    "it's.wav",
    '"Heroes".mp3',
    "a'b\"c.wav",
    "a\\'b",
    "C:\\music\\",
    "C:\\my music\\a.mp3",
    "\\\\server\\share\\a.mp3",
    "back\\slash\\\\",
    "- Intro.mp3",
    "-x",
    "--help",
    "~x",
    "+x",
    "null",
    "NULL",
    "true",
    "False",
    "1e5",
    "1_000",
    "1.0",
    "007",
    "nan",
    "-inf",
    ".",
    " two  blanks ",
    "a\tb",
    "a\nb",
    "a:b",
    "a;b&c|d<e>f*?!#%@^`.mp3",
    "A$AP $not.mp3",
    "range(1,3)",
    "sort(3,1)",
    "glob(*)",
    "str(x)",
    "tag(a,b)",
    "choice(a).mp3",
    "x" * 300,
    "\udce9t\udce9.mp3",  # bytes that are no UTF-8
]
_NAMED = {"name": "x", "corpus": "x", "label": "x"}
_EVALUATE = sorted(key for key in TEXT_KEYS if "." not in key and key != "music")


def in_grid(overrides: Sequence[str]) -> list[str]:
    """Return the overrides of the one job that a grid makes of overrides."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    (job,) = _products({override.get_key_element(): _values(override) for override in parsed})
    return job


def read(override: str, *, multirun: bool) -> Any:
    (override,) = in_grid([override]) if multirun else [override]
    (parsed,) = OverridesParser.create().parse_overrides([override])
    return parsed.value()


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_the_value_of_every_key_for_one(name: str, multirun: bool) -> None:
    for key in sorted(TEXT_KEYS):
        if key in TEXT_OR_NULL and name.lower() == "null":
            continue
        if key in TEXT_LISTS and name.startswith("[") and name.endswith("]"):
            continue
        assert read(with_literal_text(f"{key}={name}"), multirun=multirun) == name, key


def test_keys_may_have_plus_signs() -> None:
    for sign in ("+", "++"):
        assert with_literal_text(f"{sign}dataset.path=a (1)") == f"{sign}dataset.path='a (1)'"


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("name", [name for name in NAMES if "," not in name and name == name.strip()])
def test_a_name_is_an_element_of_every_list_and_dict(name: str, multirun: bool) -> None:
    for key in TEXT_LISTS:
        assert read(with_literal_text(f"{key}=[first,{name}, last one]"), multirun=multirun) == [
            "first",
            name,
            "last one",
        ]
    for key in TEXT_DICTS:
        lists = read(with_literal_text(f"{key}={{train: {name},val:b,test:{name}}}"), multirun=multirun)
        assert lists == {"train": name, "val": "b", "test": name}


@pytest.mark.parametrize("multirun", [False, True])
@pytest.mark.parametrize("name", ["rock, [pop] 'é' (1)/a=b\\"])
def test_the_composed_configuration_has_the_name(name: str, multirun: bool, composed: Composed) -> None:
    keys = sorted(TEXT_KEYS - set(_EVALUATE))
    overrides = ["dataset=csv", "logger=wandb", *(with_literal_text(f"{key}={name}") for key in keys)]
    cfg = composed(*(in_grid(overrides) if multirun else overrides), hydra=True)
    assert {key: OmegaConf.select(cfg, key) for key in keys} == dict.fromkeys(keys, name)
    overrides = [with_literal_text(f"{key}={name}") for key in _EVALUATE]
    cfg = composed(*(in_grid(overrides) if multirun else overrides), config="evaluate")
    assert {key: cfg[key] for key in _EVALUATE} == dict.fromkeys(_EVALUATE, name)


@given(st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_any_text_can_be_quoted(text: str) -> None:
    assert read(f"audio={quoted(text)}", multirun=False) == text
    assert read(f"audio={quoted(text)}", multirun=True) == text


def test_every_text_of_a_dataset_is_declared() -> None:
    known = {key.removeprefix("dataset.") for key in TEXT_KEYS | TEXT_LISTS | TEXT_DICTS}
    texts = {name for name, one in DatasetConfig.__dataclass_fields__.items() if "str" in str(one.type)}
    assert texts - known == {"hint", "pooling"}  # for files of conf only, and a choice


@pytest.mark.parametrize(
    "name", ["[a]", "[a,b]", "choice(a,b)", "'a'", "a,b", "a${b}", "\\${a}\\", "{train:a}", "null", "é ${x} \\\\${y}"]
)
def test_a_file_that_exists_is_that_file(name: str, composed: Composed) -> None:
    Path(name).touch()
    for other in ("a", "b"):
        Path(other).touch()
    override = with_literal_text(f"ensemble={name}")
    value = composed(override, config="evaluate").ensemble if "${" in name else read(override, multirun=False)
    assert value == name


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("choice(a.csv,b.csv)", ["a.csv", "b.csv"]),
        ("choice(Beyoncé (1).csv, b c.csv)", ["Beyoncé (1).csv", "b c.csv"]),
        ("choice('a, b.csv',null)", ["a, b.csv", "null"]),
        ("'a.csv','my, b.csv'", ["a.csv", "my, b.csv"]),
        ("here é.csv,here 2.csv", ["here é.csv", "here 2.csv"]),
    ],
)
def test_several_paths_are_swept_if_they_are_listed_so(value: str, expected: list[str]) -> None:
    for name in ("here é.csv", "here 2.csv"):
        Path(name).touch()
    (override,) = OverridesParser.create().parse_overrides([with_literal_text(f"dataset.path={value}")])
    swept = [read(f"x={one}", multirun=False) for one in _values(override)]
    assert swept == expected


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("audio='a b'", "a b"),
        ('audio="a b"', "a b"),
        ("dataset.artists=null", None),
        ("dataset.genres=null", None),
        ("dataset.filtered=null", None),
        ("dataset.root=${oc.env:HOME}/my data", "${oc.env:HOME}/my data"),
        ("hydra.run.dir=out (1)/${now:%Y}", "out (1)/${now:%Y}"),
        ("dataset.tables=['a, b',c]", ["a, b", "c"]),
        ("dataset.genres=[1,2]", ["1", "2"]),
        (
            "dataset.filtered={train:rock, pop/a,val:C:\\b,test:null}",
            {"train": "rock, pop/a", "val": "C:\\b", "test": "null"},
        ),
    ],
)
def test_quotation_marks_null_and_expressions_have_their_meaning(argument: str, value: Any) -> None:
    assert read(with_literal_text(argument), multirun=False) == value


def test_a_tilde_is_the_home_folder_of_a_path_and_not_of_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    read_values = [
        read(with_literal_text(argument), multirun=False)
        for argument in ("audio=~/a b", "runs=[~/a,b]", "dataset.filtered={train:~/a,val:b}", "dataset.label=~/a")
    ]
    assert read_values == ["/home/me/a b", ["/home/me/a", "b"], {"train": "/home/me/a", "val": "b"}, "~/a"]


@pytest.mark.parametrize(
    "argument",
    ["slice=3,6", "model.x=[1,2]", "audio=a/b-c_1.wav", "dataset.tables=[a],[b]", "dataset.genres=[a,,b]", "-m"],
)
def test_what_hydra_reads_as_it_is_written_stays(argument: str) -> None:
    assert with_literal_text(argument) == argument  # grids are resumed by their overrides


@pytest.mark.parametrize(
    ("script", "sign", "dataset"),
    [("train", "", "csv"), ("evaluate", "+", "csv"), ("train", "++", "csv"), ("evaluate", "", "gtzan")],
)
def test_lists_of_tracks_may_be_given_at_once_or_one_by_one(
    script: str, sign: str, dataset: str, composed: Composed
) -> None:
    lists = {"train": "a b", "val": "é", "test": "1e5"}
    at_once = [f"{sign}dataset.filtered={{{','.join(f'{part}:{path}' for part, path in lists.items())}}}"]
    at_once += [f"{sign}dataset.downloads={{a: {{urls: [x], hashes: [y]}}}}"] if dataset == "csv" else []
    one_by_one = [f"{sign}dataset.filtered.{part}={path}" for part, path in lists.items()]
    for given_lists in (at_once, one_by_one):
        overrides = [with_literal_text(one) for one in given_lists]
        cfg = composed(f"dataset={dataset}", *overrides, config=script)
        assert OmegaConf.to_object(cfg.dataset).filtered == lists  # type: ignore[union-attr]


@pytest.mark.parametrize("downloads", ["3", "x", "[a]", "{a:b}", "{a:{urls:[x]}}", "{a:{urls:x,hashes:[y]}}"])
def test_downloads_have_addresses_and_hashes(downloads: str, user_error: Callable[..., Any]) -> None:
    with user_error("dataset.downloads"):
        DatasetConfig(**_NAMED, downloads=read(f"x={downloads}", multirun=False))


@pytest.mark.parametrize("filtered", ["3", "x", "[a]", "{trian:b}", "{train:[x]}", "{train:null}", "{1:a}"])
def test_lists_of_tracks_are_a_file_for_each_part(filtered: str, user_error: Callable[..., Any]) -> None:
    with user_error("dataset.filtered"):
        DatasetConfig(**_NAMED, filtered=read(f"x={filtered}", multirun=False))


@pytest.mark.parametrize(
    ("script", "words", "command"),
    [
        ("evaluate", ["song.mp3"], "python evaluate.py checkpoint=PATH audio=song.mp3"),
        ("evaluate", ["Beyoncé (Live).wav"], "python evaluate.py checkpoint=PATH 'audio=Beyoncé (Live).wav'"),
        ("evaluate", ["- Intro.mp3"], "'audio=- Intro.mp3'"),
        ("evaluate", ["C:\\music\\a=b.mp3"], "'audio=C:\\music\\a=b.mp3'"),
        ("evaluate", ["a/checkpoint.ckpt", "song.mp3"], "evaluate.py checkpoint=a/checkpoint.ckpt audio=song.mp3"),
        (
            "evaluate",
            ["checkpoint=a.ckpt", "f.csv"],
            "python evaluate.py checkpoint=a.ckpt dataset=csv dataset.path=f.csv",
        ),
        ("evaluate", ["run"], "python evaluate.py checkpoint=run/checkpoint.ckpt"),
        ("evaluate", ["runs"], "python evaluate.py runs=runs"),
        ("evaluate", ["music"], "python evaluate.py checkpoint=PATH audio=music"),
        ("evaluate", ["audio=My", "Song", "1.mp3"], "'audio=My Song 1.mp3'"),
        ("train", ["lstm", "slice=3"], "python train.py model=lstm slice=3"),
        ("train", ["gtzan", "-m"], "python train.py dataset=gtzan -m"),
        ("train", ["my.csv"], "python train.py dataset=csv dataset.path=my.csv"),
        ("train", ["song 1.mp3"], "python -m genregrid hear 'song 1.mp3'"),
        ("train", ["nothere"], "give a folder with one folder per genre"),
        ("train", ["dataset.path=my", "f.csv"], "'dataset.path=my f.csv'"),
    ],
)
def test_a_word_without_a_key_names_the_right_command(
    script: str, words: list[str], command: str, project_root: Path
) -> None:
    for file in ("run/checkpoint.ckpt", "runs/a/run.json", "music/rock/a.mp3"):
        Path(file).parent.mkdir(parents=True)
        Path(file).touch()
    with pytest.raises(UserError) as caught:
        check_form(words, script, project_root / "conf")
    assert caught.value.key == (words[1] if "=" in words[0] and ":" not in words[0] else words[0])
    assert command in (caught.value.hint or "")
    if "`" in (caught.value.hint or ""):
        quoted_command = (caught.value.hint or "").split("`")[1]
        check_form(shlex.split(quoted_command)[2:] if script == "evaluate" else [], script, project_root / "conf")


def test_options_and_overrides_are_not_words_without_a_key(project_root: Path) -> None:
    arguments = [
        "--cfg",
        "job",
        "-m",
        "--config-dir",
        "my conf",
        "~dataset.artists",
        "+a.b=1",
        "hydra/launcher=x",
        "a@b=c",
    ]
    check_form([*arguments, "++x-y_$=", "--help"], "train", project_root / "conf")
