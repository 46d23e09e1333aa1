"""The API of notebooks: the same numbers as the commands, pandas objects, silence, and one sentence for a bad call."""

import copy
import gc
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from tests.conftest import draw_frame

import genregrid as gg
from genregrid.api.mistake import python_words
from genregrid.record.result import Result
from genregrid.training.run import train

UserErrors = Callable[..., AbstractContextManager[None]]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    frame = draw_frame(tracks=6, slices=4, separation=0.3)
    frame.to_csv(path, index=False)
    tracks = sorted({name.rpartition(".")[0].rpartition(".")[0] for name in frame["filename"]})
    lines = [f"{track},{track[:-1]}" for track in tracks]
    path.with_name("artists.csv").write_text("\n".join(["track,artist", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def table(csv: Path) -> gg.Table:
    return gg.read_table(csv)


@pytest.fixture(scope="module")
def result(table: gg.Table) -> gg.TrainResult:
    return gg.train("lda", table, folds=3, shrinkage=0.3, transform="standardise")


@pytest.fixture(scope="module")
def validated(table: gg.Table) -> gg.CrossValidation:
    return gg.cross_validate("gaussian", table, folds=3)


@pytest.fixture
def result_of_command(composed: Callable[..., DictConfig], csv: Path) -> Callable[..., Result]:
    def run(*overrides: str) -> Result:
        cfg = composed("dataset=csv", f"dataset.path={csv}", "logger=none", "trainer.progress_bar=false", *overrides)
        result = train(cfg, Path("run"), cfg.get("name", "lda"))
        assert isinstance(result, Result)
        return result

    return run


def test_names_are_offered_without_loading_a_package() -> None:
    code = "import sys, genregrid as gg; assert 'train' in dir(gg); print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pandas", "numpy", "hydra", "genregrid.api"} & set(loaded)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        gg.trian  # noqa: B018


def test_a_training_has_the_numbers_of_the_command(
    result: gg.TrainResult, result_of_command: Callable[..., Result]
) -> None:
    command = result_of_command(
        "model=lda", "slice=3", "split.folds=3", "model.shrinkage=0.3", "model.transform=standardise"
    )
    pd.testing.assert_frame_equal(result.predictions, command.predictions.drop(columns="part"), check_exact=True)
    assert result._result.facts.identity == command.facts.identity
    assert result.scores.loc["accuracy", "value"] == pytest.approx(command.scores["test/accuracy"])
    for name in ("metrics.json", "predictions.csv", "timeline.csv"):
        assert (result.folder / name).read_bytes() == Path("run", name).read_bytes()


def test_a_frame_a_path_and_a_table_are_one_training(result: gg.TrainResult, csv: Path) -> None:
    frame = pd.read_csv(csv)
    pd.testing.assert_frame_equal(gg.read_table(frame).frame, gg.read_table(str(csv)).frame, check_exact=True)
    again = gg.train("lda", frame, folds=3, shrinkage=0.3, transform="standardise")  # type: ignore[arg-type]  # documented shorthand
    pd.testing.assert_frame_equal(again.predictions, result.predictions, check_exact=True)


def test_a_training_prints_logs_and_keeps_nothing(
    table: gg.Table, capfd: pytest.CaptureFixture[str], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    state, threads = (np.random.get_state()[1].tolist(), torch.get_rng_state()), torch.get_num_threads()  # type: ignore[index]  # noqa: NPY002
    one = gg.train("mlp", table, folds=3, max_epochs=2)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert not recwarn.list
    assert np.random.get_state()[1].tolist() == state[0]  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), state[1])
    assert torch.get_num_threads() == threads
    folder = one.folder
    assert one.curves["epoch"].tolist() == [1, 2]
    assert one.plot_curves().ending == "svg"
    model = one.model
    del one
    gc.collect()
    assert folder.is_dir()  # the model needs it
    del model
    gc.collect()
    assert not folder.exists()


def test_a_folder_keeps_the_files_of_a_run(table: gg.Table) -> None:
    gg.train("gaussian", table, folds=3, folder="outputs/mine")
    assert gg.load("latest").path == Path("outputs/mine/checkpoint.ckpt")


def test_tables_of_a_result_are_of_pandas_and_show_themselves(result: gg.TrainResult) -> None:
    assert list(result.scores.index) == ["accuracy", "top3", "f1_macro"]
    assert list(result.per_genre.index) == result.genres
    assert int(result.confusion.to_numpy().sum()) == len(result.predictions) == int(result.per_genre["num"].sum())
    assert result.curves.empty
    assert "lda, shrinkage=0.3" in repr(result)
    assert "<table>" in result._repr_html_()
    picture = result.plot_confusion()
    data, metadata = picture._repr_mimebundle_()
    assert data["image/svg+xml"].startswith("<svg")
    assert metadata["image/svg+xml"] == {"needs_background": "light"}
    picture.save("confusion.svg")
    assert Path("confusion.svg").read_text().endswith("</svg>")


def test_tables_and_results_can_be_given_to_other_processes(csv: Path, table: gg.Table, result: gg.TrainResult) -> None:
    artists = gg.read_table(csv, artists=csv.with_name("artists.csv"))
    for source in (table, artists, gg.read_corpus("twin", num_tracks=20)):
        again = pickle.loads(pickle.dumps(source))  # made here
        pd.testing.assert_frame_equal(again.frame, source.frame, check_exact=True)
        assert again.corpus.artists() == source.corpus.artists()
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(result)).scores, result.scores)


def test_names_from_data_are_no_markup(csv: Path) -> None:
    frame = pd.read_csv(csv)
    frame["filename"] = frame["filename"].str.replace("blues", "<b>b")
    frame["label"] = frame["label"].replace("blues", "<b>b")
    table = gg.read_table(frame)
    for shown in (table, gg.split(table, folds=3), gg.train("gaussian", table, folds=3)):
        assert "<b>" not in shown._repr_html_()


def test_a_split_shows_that_nothing_leaks(csv: Path, table: gg.Table) -> None:
    artists = gg.read_table(csv, artists=csv.with_name("artists.csv"))
    honest = gg.split(table, folds=3)
    summary = honest.summary()
    assert summary["tracks"].sum() == len(table)
    assert not summary[["tracks elsewhere", "groups elsewhere"]].to_numpy().any()
    assert not honest.leaks
    assert honest.counts.to_numpy().sum() == len(table)
    with pytest.raises(gg.UserError, match="only 1 track or group"):  # each genre is of one artist
        gg.split(artists, "artist", folds=3)
    leaking = gg.split(table, "row", folds=3, allow_leak=True)
    assert leaking.leaks
    assert leaking.summary()["tracks elsewhere"].min() > 0
    assert "LEAKS" in repr(leaking)


def test_the_tracks_of_a_split_are_those_of_its_training(table: gg.Table) -> None:
    split = gg.split(table, "row", fold=2, folds=3, allow_leak=True)
    trained = gg.train("gaussian", table, split=split)
    assert trained.marks == ["LEAKS"]
    pd.testing.assert_frame_equal(trained.tracks, split.tracks)


def test_a_cross_validation_tests_every_track_once(validated: gg.CrossValidation, table: gg.Table) -> None:
    cv = validated
    assert sorted(cv.predictions["track"]) == sorted(table.tracks["track"])
    assert cv.folds["fold"].tolist() == [0, 1, 2]
    low, value, high = cv.scores.loc["accuracy", ["low", "value", "high"]]
    assert low <= value <= high
    assert cv.scores.loc["accuracy", "value"] == (cv.predictions["genre"] == cv.predictions["predicted"]).mean()


def test_a_comparison_is_on_the_same_tracks(validated: gg.CrossValidation, result: gg.TrainResult) -> None:
    tested = result.predictions
    other = validated.predictions.set_index("track").loc[tested["track"]]
    found = gg.compare(result, validated)
    first, second = ((one["genre"] == one["predicted"]).mean() for one in (tested, other))
    assert found.index.tolist() == ["lda - gaussian"]
    assert found["difference"].item() == pytest.approx(first - second)
    assert found["low"].item() <= found["difference"].item() <= found["high"].item()
    assert found["tracks"].item() == len(tested)


def test_a_final_model_has_the_card_of_its_cross_validation(validated: gg.CrossValidation) -> None:
    cv = validated
    model = cv.final("final.ckpt")
    assert model.card is not None
    assert model.card.num_tracks == 18
    assert model.card.accuracy.value == pytest.approx(cv.scores.loc["accuracy", "value"], abs=1e-4)
    assert gg.load("final.ckpt").card == model.card
    assert model.about["training tracks"] == 18


def test_a_saved_model_predicts_as_it_was_tested(result: gg.TrainResult, csv: Path, table: gg.Table) -> None:
    model = gg.load(result.save("lda.ckpt"))
    assert model.genres == result.genres
    tested = result.predictions.set_index("track")
    frame = pd.read_csv(csv)
    frame.drop(columns="label").to_csv("unlabelled.csv", index=False)
    for source in (table, csv, frame, "unlabelled.csv"):
        found = model.predict(source).set_index("track")
        assert len(found) == 18
        assert ("genre" in found) != isinstance(source, str)
        for name in (f"p_{genre}" for genre in model.genres):
            np.testing.assert_allclose(found.loc[tested.index, name], tested[name], atol=1e-6)
        assert found["notes"].ne("").sum() == len(table) - len(tested)  # those that it was trained on
    assert len(model.timeline(table)) == len(frame)


BAD_CALLS: dict[str, tuple[Callable[[gg.Table, Path], object], str]] = {
    "an unknown model": (lambda table, _: gg.train("lsdm", table), "model"),
    "an unknown setting": (lambda table, _: gg.train("lda", table, shrinkag=1), "shrinkag"),
    "a value out of its range": (lambda table, _: gg.train("lda", table, shrinkage=7), "shrinkage"),
    "a value of another type": (lambda table, _: gg.train("lda", table, max_epochs="few"), "max_epochs"),
    "a value that no setting can have": (lambda table, _: gg.train("lda", table, shrinkage=object()), "shrinkage"),
    "a leaking protocol": (lambda table, _: gg.train("lda", table, split="row"), "split"),
    "an unknown protocol": (lambda table, _: gg.split(table, "tracks"), "split"),
    "no artists": (lambda table, _: gg.split(table, "artist"), "split"),
    "a fold that there is not": (lambda table, _: gg.train("lda", table, fold=9), "fold"),
    "too many folds": (lambda table, _: gg.train("lda", table, folds=9), "folds"),
    "no test": (lambda table, _: gg.cross_validate("lda", table, split="none"), "split"),
    "no path": (lambda *_: gg.read_table("nowhere.csv"), "path"),
    "no table": (lambda *_: gg.train("lda", 3), "table"),  # type: ignore[arg-type]
    "a slice that does not fit": (lambda _, csv: gg.read_table(csv, slice=4), "slice"),
    "an unknown setting of a table": (lambda _, csv: gg.read_table(csv, artist="x"), "artist"),
    "no artist index": (lambda _, csv: gg.read_table(csv, artists="x"), "artists"),
    "an unknown corpus": (lambda *_: gg.read_corpus("gtzam"), "corpus"),
    "a recipe that a corpus has not": (lambda *_: gg.read_corpus("twin", num_tracks=20, recipe="rich"), "recipe"),
    "no checkpoint": (lambda *_: gg.load("nowhere.ckpt"), "checkpoint"),
    "no training": (lambda *_: gg.load("latest"), "checkpoint"),
    "no recordings": (lambda *_: gg.extract("."), "."),
    "an unknown recipe": (lambda *_: gg.extract(".", recipe="x"), "recipe"),
    "model and table exchanged": (lambda table, _: gg.train(table, "lda"), "model"),  # type: ignore[arg-type]
    "a slice of no length": (lambda *_: gg.extract(".", slice=0), "slice"),
    "the name of a corpus": (lambda *_: gg.train("lda", "twin"), "table"),  # type: ignore[arg-type]
    "a slice in a training": (lambda table, _: gg.train("lda", table, slice=6), "slice"),
    "artists in a split": (lambda table, _: gg.split(table, "artist", artists="x.csv"), "artists"),
    "a split of another table": (
        lambda table, csv: gg.train("lda", pd.read_csv(csv)[4:], split=gg.split(table, folds=3)),  # type: ignore[arg-type]
        "split",
    ),
    "a DataFrame without labels": (
        lambda _, csv: gg.read_table(pd.read_csv(csv).drop(columns="label")),
        "DataFrame, row 1",
    ),
    "two things that are no models": (lambda *_: gg.compare(1, 2), "first"),  # type: ignore[arg-type]
}
COMMAND_LINE = re.compile(
    r"\b(dataset|split|model|trainer)\.[a-z_]+|--|\b(null|true|false)\b|=[a-z_]+\b(?! )|python -m"
)


@pytest.mark.parametrize("name", BAD_CALLS)
def test_a_bad_call_is_one_sentence_in_the_words_of_python(name: str, table: gg.Table, csv: Path) -> None:
    call, key = BAD_CALLS[name]
    with pytest.raises(gg.UserError) as caught:
        call(table, csv)
    assert caught.value.key == key
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert len(traceback.extract_tb(caught.value.__traceback__)) <= 4  # the call, and the decorator
    assert not COMMAND_LINE.search(str(caught.value)), str(caught.value)


def hints() -> list[str]:
    """Return the texts with a key and a value, in the rooms that a call can raise them from."""
    rooms = ("data", "models", "training", "record", "final", "listening")
    files = [path for room in rooms for path in sorted((ROOT / "src/genregrid" / room).rglob("*.py"))]
    lines = "\n".join(path.read_text(encoding="utf-8") for path in [*files, ROOT / "src/genregrid/config.py"])
    return re.findall(r'"([^"\n]*\b(?:dataset|split|model|trainer)\.[a-z_]+=[^"\n]*)"', lines)


def test_hints_of_all_rooms_have_keywords_of_python() -> None:
    assert len(hints()) > 10
    for text in hints():
        assert not re.search(r"\b(dataset|split|model|trainer)\.[a-z_]+=|=(true|false|null)\b", python_words(text)), (
            text
        )


def test_a_table_without_labels_names_what_predicts_it(csv: Path, user_error: UserErrors) -> None:
    frame = pd.read_csv(csv).drop(columns="label")
    with pytest.raises(gg.UserError, match=r"gg.load\(CHECKPOINT\).predict"):
        gg.read_table(frame)


def test_a_column_of_another_name_is_named_by_the_hint(csv: Path, user_error: UserErrors) -> None:
    with user_error("DataFrame, row 1", hint="rename 'genre' to 'label'"):
        gg.read_table(pd.read_csv(csv).rename(columns={"label": "genre"}))


def test_a_final_model_is_not_trained_for_a_folder_that_is_not_there(
    validated: gg.CrossValidation, result: gg.TrainResult, user_error: UserErrors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genregrid.api.validation.train_run", lambda *_, **__: pytest.fail("it was trained"))
    for save in (validated.final, result.save):
        with user_error("path", "nowhere/lda.ckpt", problem="folder does not exist"):
            save("nowhere/lda.ckpt")


def test_a_synthetic_corpus_is_not_compared_with_another(result: gg.TrainResult, user_error: UserErrors) -> None:
    synthetic = copy.copy(result)
    synthetic._cell = replace(result._cell, facts=replace(result._cell.facts, synthetic=True))
    with user_error("second", problem="synthetic"):
        gg.compare(result, synthetic)


def test_only_pictures_and_checkpoints_are_replaced(result: gg.TrainResult, user_error: UserErrors, csv: Path) -> None:
    with user_error("path", "mine.csv"):
        result.save("mine.csv")
    with user_error("path", "mine.csv"):
        result.plot_confusion().save("mine.csv")
    with user_error("lda", problem="no curves"):
        result.plot_curves()


def test_settings_of_a_model_are_keywords_of_a_training() -> None:
    known: Any = gg.settings("mlp")
    assert known["learning_rate"] == 0.01
    assert known["max_epochs"] == 100
    assert "_target_" not in known
    assert "devices" not in known
