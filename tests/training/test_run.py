"""Training and evaluation in process: what a run folder holds and what is refused."""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from genregrid.config import DatasetConfig
from genregrid.data.columns import FEATURE_NAMES
from genregrid.data.note import RecipeNote, note_path
from genregrid.errors import UserError
from genregrid.exhibit.spreadsheet import read_csv
from genregrid.models.estimator import EstimatorClassifier
from genregrid.models.trained import load_checkpoint
from genregrid.record.result import Result
from genregrid.report.cell import read_grid
from genregrid.report.ensemble import ensemble
from genregrid.report.leaderboard import leaderboard
from genregrid.training.evaluation import evaluate
from genregrid.training.run import train

GENRES = ("blues", "classical", "metal")
QUICK = ("logger=none", "trainer.max_epochs=3", "trainer.accelerator=cpu", "split.folds=3")
MakeConfig = Callable[..., DictConfig]
MakeResult = Callable[..., Result]
UserErrors = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def corpus(write_csv: Callable[..., Path]) -> Path:
    return write_csv(genres=GENRES, tracks=9, slices=4, short={"blues.00002": 3})


@pytest.fixture
def run(corpus: Path, composed: MakeConfig, tmp_path: Path) -> MakeResult:
    """`run("folder", *overrides)` trains on the drawn corpus into a folder below `tmp_path`."""

    def trained(folder: str, *overrides: str, model: str = "mlp") -> Result:
        data = ("dataset=csv", f"dataset.path={corpus}", "batch_size=8")
        return train(composed(*QUICK, *data, f"model={model}", *overrides), tmp_path / folder, model)

    return trained


@pytest.fixture
def rescore(composed: MakeConfig, corpus: Path, tmp_path: Path) -> MakeResult:
    """`rescore("folder", *overrides)` evaluates the checkpoint of the run in `run` into a folder below `tmp_path`.

    The dataset is that of the training, unless an override chooses one.
    """

    def evaluated(folder: str, *overrides: str) -> Result:
        if not any(override.startswith("dataset=") for override in overrides):
            overrides = ("dataset=csv", f"dataset.path={corpus}", *overrides)
        cfg = composed(f"checkpoint={tmp_path / 'run/checkpoint.ckpt'}", *overrides, config="evaluate")
        return evaluate(cfg, tmp_path / folder)

    return evaluated


def read_json(path: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads(path.read_text())
    return content


def test_a_run_replaces_no_file_of_others(
    run: MakeResult, tmp_path: Path, capsys: pytest.CaptureFixture[str], user_error: UserErrors
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/metrics.json").write_text("{}")
    with user_error(tmp_path / "mine/metrics.json"):
        run("mine")
    assert (tmp_path / "mine/metrics.json").read_text() == "{}"
    run("run", model="knn")
    run("run", model="lda")
    assert f"{tmp_path / 'run'}: its finished run of knn is replaced\n" in capsys.readouterr().out


def test_a_checkpoint_without_its_dataset_names_path_and_recipe_at_once(
    run: MakeResult, composed: MakeConfig, tmp_path: Path, user_error: UserErrors
) -> None:
    run("run", "dataset.recipe=kaggle-reflect", model="lda")
    hint = "dataset=csv dataset.path=FILE dataset.recipe=kaggle-reflect (it read features.csv)"
    with user_error("checkpoint", hint=hint):
        evaluate(composed(f"checkpoint={tmp_path / 'run/checkpoint.ckpt'}", config="evaluate"), tmp_path / "again")


def test_run_folder_keeps_the_contract(run: MakeResult, tmp_path: Path) -> None:
    run("run", "split.fold=1", "seed=3")
    folder = tmp_path / "run"
    metrics = read_json(folder / "metrics.json")
    names = ["accuracy", "top3", "precision_macro", "recall_macro", "f1_macro"]
    names += [f"{score}/{genre}" for score in ("precision", "recall", "f1", "certainty") for genre in GENRES]
    assert set(metrics) == {f"{level}/{name}" for level in ("test", "test_slice") for name in names}
    facts = read_json(folder / "run.json")
    assert {
        name: facts[name] for name in ("model", "dataset", "slice_seconds", "protocol", "leaks", "fold", "seed")
    } == {
        "model": "mlp",
        "dataset": "csv",
        "slice_seconds": 3.0,
        "protocol": "track",
        "leaks": False,
        "fold": 1,
        "seed": 3,
    }
    assert facts["num_tracks"] == {"train": 15, "val": 3, "test": 9}
    assert {"versions", "commit", "data_hashes"} <= set(facts)
    predictions = pd.read_csv(folder / "predictions.csv")
    columns = ["track", "part", "genre", "predicted", "certainty", *(f"p_{genre}" for genre in GENRES)]
    assert list(predictions.columns[: len(columns)]) == columns
    assert predictions["track"].is_unique
    assert len(predictions) == 9
    probabilities = predictions[[f"p_{genre}" for genre in GENRES]]
    assert probabilities.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-4)
    assert (probabilities.idxmax(axis=1) == "p_" + predictions["predicted"]).all()
    assert metrics["test/accuracy"] == pytest.approx((predictions["genre"] == predictions["predicted"]).mean())
    confusion = pd.read_csv(folder / "confusion.csv", index_col="genre")
    assert int(confusion.to_numpy().sum()) == 9
    assert len(pd.read_csv(folder / "curves.csv")) == 3
    assert {"config.yaml", "checkpoint.ckpt", "per_genre.csv", "split.csv"} <= {p.name for p in folder.iterdir()}


def test_validation_predictions_are_kept_and_no_test_track_is_among_them(run: MakeResult, tmp_path: Path) -> None:
    run("run")
    split = pd.read_csv(tmp_path / "run/split.csv")
    validation = pd.read_csv(tmp_path / "run/predictions_val.csv")
    assert set(validation["track"]) == set(split.loc[split["part"] == "val", "track"])
    assert set(validation["part"]) == {"val"}
    assert list(validation.columns) == list(pd.read_csv(tmp_path / "run/predictions.csv").columns)


def test_a_timeline_ends_with_the_prediction_for_the_whole_track(run: MakeResult, tmp_path: Path) -> None:
    run("run", model="lstm")
    timeline = pd.read_csv(tmp_path / "run/timeline.csv")
    assert timeline["stop_seconds"].tolist() == (3.0 * (timeline["slice"] + 1)).tolist()
    last = timeline.groupby("track").last()
    predictions = pd.read_csv(tmp_path / "run/predictions.csv").set_index("track")
    assert timeline.groupby("track").size().to_dict() == {
        track: 3 if track == "blues.00002" else 4 for track in predictions.index
    }
    columns = [f"p_{genre}" for genre in GENRES]
    pd.testing.assert_frame_equal(last[columns], predictions[columns].sort_index(), atol=1e-5)


def test_a_timeline_of_single_slices_has_the_slices_scores(run: MakeResult, tmp_path: Path) -> None:
    result = run("run")
    timeline = pd.read_csv(tmp_path / "run/timeline.csv")
    right = (timeline["genre"] == timeline["predicted"]).mean()
    assert right == pytest.approx(result.scores["test_slice/accuracy"])


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(run: MakeResult, tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(folder, f"seed={seed}", model="lstm")
    first, again, other = ((tmp_path / folder / "predictions.csv").read_bytes() for folder in "abc")
    assert first == again
    assert first != other
    assert (tmp_path / "a/metrics.json").read_bytes() == (tmp_path / "b/metrics.json").read_bytes()


def test_checkpoint_is_the_epoch_of_the_lowest_validation_loss(run: MakeResult, tmp_path: Path) -> None:
    result = run("run", "trainer.max_epochs=12", "model.learning_rate=0.05")
    best = int(result.curves["epoch"][result.curves["val/loss"].idxmin()])
    assert torch.load(tmp_path / "run/checkpoint.ckpt", weights_only=True)["epoch"] + 1 == best


@pytest.mark.slow
def test_leaks_are_marked_in_every_output(
    run: MakeResult, rescore: MakeResult, user_error: UserErrors, tmp_path: Path
) -> None:
    with user_error("split", "row", problem="leaks test tracks into training"):
        run("refused", "split=row")
    result = run("run", "split=row", "split.allow_leak=true")
    assert "LEAKS" in result.summary()
    assert read_json(tmp_path / "run/run.json")["leaks"] is True
    assert set(pd.read_csv(tmp_path / "run/per_genre.csv")["split"]) == {"row-LEAKS"}
    assert rescore("again").facts.leaks is True
    assert "LEAKS" in leaderboard(read_grid(tmp_path)[0]).text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "overrides"),
    [
        ("lstm", ("window=2", "hop_slices=1")),
        ("knn", ("window=1",)),
        ("set_kernel", ()),
        ("lstm_knn", ()),
        ("set_mlp", ("model.hidden_size=8",)),
    ],
)
def test_evaluate_has_the_scores_of_the_training(
    run: MakeResult, rescore: MakeResult, model: str, overrides: tuple[str, ...]
) -> None:
    trained = run("run", *overrides, model=model)
    again = rescore("again")
    assert again.scores == pytest.approx(trained.scores)
    pd.testing.assert_frame_equal(again.predictions, trained.predictions)


@pytest.mark.slow
def test_a_refitted_estimator_learns_from_validation_tracks_and_keeps_its_earlier_predictions_of_them(
    run: MakeResult, tmp_path: Path
) -> None:
    for name, refit in (("once", False), ("again", True)):
        run(name, f"model.refit={refit}", "model.num_neighbours=1", "window=1", model="knn")
    before, after = (pd.read_csv(tmp_path / name / "predictions_val.csv") for name in ("once", "again"))
    pd.testing.assert_frame_equal(before, after)
    split = pd.read_csv(tmp_path / "again/split.csv")
    num_slices = split.groupby("part")["num_slices"].sum()
    for name, parts in (("once", ["train"]), ("again", ["train", "val"])):
        model = load_checkpoint(tmp_path / name / "checkpoint.ckpt")
        assert isinstance(model, EstimatorClassifier)
        assert model.head.estimator[-1].n_samples_fit_ == num_slices[parts].sum()


@pytest.mark.slow
def test_validation_folds_are_runs_of_one_cell_that_vote_together(run: MakeResult, tmp_path: Path) -> None:
    for val_fold in range(2):
        run(f"grid/{val_fold}", "split.val_folds=2", f"split.val_fold={val_fold}", model="lda")
    (cell,) = read_grid(tmp_path / "grid")[0]
    assert cell.runs["val_fold"].tolist() == [0, 1]
    assert cell.settings == ""
    ensemble([str(tmp_path / "grid")], tmp_path / "vote")
    (vote,) = read_grid(tmp_path / "vote")[0]
    assert len(vote.predictions) == 9
    assert len(vote.validation) == 18  # what is not test, each track by the run that did not learn from it


@pytest.mark.slow
def test_evaluate_refuses_tracks_that_were_trained_on(
    run: MakeResult, rescore: MakeResult, write_csv: Callable[..., Path], user_error: UserErrors
) -> None:
    run("run")
    other_fold = ("split=track", "split.folds=3", "split.fold=1")
    by_features = "were in its training or validation part: their features are equal"
    for setting in ((), ("dataset.corpus=other",)):
        hint = "on its own test part, or add a split with split.allow_leak=true"  # no name of a corpus changes features
        with user_error("checkpoint", problem=by_features, hint=hint):
            rescore("a", *other_fold, *setting)
    assert rescore("own", *other_fold[:2]).facts.leaks is False
    result = rescore("b", *other_fold, "split.allow_leak=true")
    assert result.facts.leaks is True
    assert "LEAKS" in result.title
    redrawn = write_csv(name="redrawn.csv", genres=GENRES, tracks=9, slices=4, seed=5)
    other_table = ("dataset=csv", f"dataset.path={redrawn}", *other_fold)
    with user_error("checkpoint", problem="their names are the same in the corpus csv", hint="dataset.corpus=NAME"):
        rescore("c", *other_table)
    rescore("d", *other_table, "dataset.corpus=other")


@pytest.mark.parametrize("has_titles", [False, True])
def test_training_tracks_with_fewer_digits_are_noted_by_number_and_refused_by_title(
    composed: MakeConfig,
    make_frame: Callable[..., pd.DataFrame],
    tmp_path: Path,
    user_error: UserErrors,
    has_titles: bool,
) -> None:
    frame = make_frame(genres=GENRES, tracks=9, slices=1)
    if has_titles:
        frame["filename"] = frame["filename"].str.replace(".000", ".Song ", regex=False)
    data = ("dataset=csv", f"dataset.path={tmp_path / 'a.csv'}")
    frame.to_csv(tmp_path / "a.csv", index=False)
    train(composed(*QUICK, *data, "model=lda", "window=1"), tmp_path / "run", "lda")
    frame.round(dict.fromkeys(FEATURE_NAMES, 2)).to_csv(tmp_path / "a.csv", index=False)
    checkpoint = f"checkpoint={tmp_path / 'run/checkpoint.ckpt'}"
    cfg = composed(checkpoint, *data, "dataset.corpus=other", config="evaluate")
    if has_titles:
        with user_error(
            "dataset.corpus", "other", problem="have the names of tracks in its training", hint="leak=true"
        ):
            evaluate(cfg, tmp_path / "again")
        return
    result = evaluate(cfg, tmp_path / "again")
    assert not result.facts.leaks
    assert any("have the names of tracks in its training or validation part" in note for note in result.notes)


@pytest.mark.slow
def test_evaluate_scores_every_track_of_another_corpus(
    run: MakeResult, rescore: MakeResult, write_csv: Callable[..., Path]
) -> None:
    run("run")
    other = write_csv(name="other.csv", genres=GENRES[:2], tracks=5, slices=8, seed=1)
    result = rescore("other", "dataset=csv", "dataset.corpus=other", f"dataset.path={other}")
    assert len(result.predictions) == 10
    assert result.facts.protocol == "all"


def test_tracks_of_one_genre_are_scored_and_not_trained_on(
    run: MakeResult, rescore: MakeResult, write_csv: Callable[..., Path], tmp_path: Path, user_error: UserErrors
) -> None:
    run("run", model="gaussian")
    one = write_csv(name="one.csv", genres=GENRES[:1], tracks=5, slices=4, seed=1)
    result = rescore("one", "dataset=csv", "dataset.corpus=other", f"dataset.path={one}")
    genre = GENRES[0]
    known = {name for name, value in read_json(tmp_path / "one/metrics.json").items() if value is not None}
    names = ("accuracy", "top3", "recall_macro", f"recall/{genre}", f"certainty/{genre}")
    assert known == {f"{level}/{name}" for level in ("test", "test_slice") for name in names}
    assert result.scores[f"test/recall/{genre}"] == result.scores["test/accuracy"]
    with user_error("dataset", problem=f"all tracks are '{genre}'"):
        run("trained", f"dataset.path={one}", f"dataset.genres=[{','.join(GENRES)}]", model="gaussian")


def test_tracks_without_labels_are_predicted_and_have_no_scores(
    run: MakeResult,
    rescore: MakeResult,
    write_csv: Callable[..., Path],
    make_frame: Callable[..., pd.DataFrame],
    corpus: Path,
    tmp_path: Path,
    user_error: UserErrors,
) -> None:
    run("run", model="gaussian")
    frame = make_frame(genres=GENRES, tracks=3, slices=4, seed=1)
    other = ("dataset=csv", "dataset.corpus=other", f"dataset.path={tmp_path / 'other.csv'}")
    write_csv(frame, "other.csv")
    rescore("other", *other)
    labelled = pd.read_csv(tmp_path / "other/predictions.csv")
    frame["filename"] = frame["filename"].str.replace(r"^(\w+)\.0*(\d)\.", r"\1 \2.", regex=True)  # song 0.3.wav
    write_csv(frame.drop(columns="label"), "other.csv")
    cached = (*other, f"dataset.cache={tmp_path / 'cache'}")
    for folder, overrides in (("other", other), ("stored", cached), ("again", cached)):
        predictions = rescore(folder, *overrides)
        assert "9 tracks without a label, and so without scores" in predictions.summary()
        assert {path.name for path in (tmp_path / folder).iterdir()} == {"predictions.csv", "timeline.csv"}
        table = pd.read_csv(tmp_path / folder / "predictions.csv")
        assert {"genre", "part"} & {*table} == set()
        same = [name for name in table if name.startswith("p_") or name in ("predicted", "certainty", "second")]
        pd.testing.assert_frame_equal(table[same], labelled[same])
        assert len(pd.read_csv(tmp_path / folder / "timeline.csv")) == len(frame)
    with user_error("split"):
        rescore("x", *other, "split=track")
    own = pd.read_csv(corpus).assign(label="")
    write_csv(own, "own.csv")
    rescore("own", "dataset=csv", f"dataset.path={tmp_path / 'own.csv'}")
    notes = pd.read_csv(tmp_path / "own/predictions.csv")["notes"]
    assert notes.notna().sum() == 18  # training and validation
    own.loc[5, "label"] = own["filename"][5].partition(".")[0]
    write_csv(own, "own.csv")
    with user_error(f"{tmp_path / 'own.csv'}, row 2, column 'label'", problem="other tracks have a label"):
        rescore("x", "dataset=csv", f"dataset.path={tmp_path / 'own.csv'}")
    with user_error(f"{tmp_path / 'own.csv'}, row 2, column 'label'", problem="the cell is empty"):
        run("x", f"dataset.path={tmp_path / 'own.csv'}", model="gaussian")


@pytest.mark.slow
def test_evaluate_recognises_a_track_by_its_features_under_any_name(
    run: MakeResult, rescore: MakeResult, write_csv: Callable[..., Path], corpus: Path, user_error: UserErrors
) -> None:
    run("run")
    renamed = pd.read_csv(corpus)
    renamed["filename"] = renamed["filename"].str.replace(".000", ".123", regex=False)
    path = write_csv(renamed, "renamed.csv")
    with user_error("checkpoint", problem="18 of 27 test tracks"):
        rescore("x", "dataset=csv", "dataset.corpus=other", "dataset.name=other", f"dataset.path={path}")


@pytest.mark.slow
def test_evaluate_takes_the_test_part_of_the_training_from_a_changed_file(
    run: MakeResult, rescore: MakeResult, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = run("run")
    frame = pd.read_csv(corpus)
    frame[~frame["filename"].str.startswith("blues.00008")].to_csv(corpus, index=False)
    result = rescore("again")
    assert set(result.predictions["track"]) == set(trained.predictions["track"]) - {"blues.00008"}
    assert "the files differ from those that were trained on" in capsys.readouterr().out


@pytest.mark.slow
def test_evaluate_finds_data_that_moved(
    composed: MakeConfig, rescore: MakeResult, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "gtzan").mkdir(parents=True)
        (tmp_path / name / "gtzan" / "mine.csv").write_bytes(corpus.read_bytes())
    monkeypatch.setenv("GENREGRID_DATA", str(tmp_path / "old"))
    data = ("dataset=gtzan", "dataset.tables=[mine.csv]", f"dataset.genres={list(GENRES)}")
    train(composed(*QUICK, *data, "model=mlp"), tmp_path / "run", "mlp")
    (tmp_path / "old" / "gtzan" / "mine.csv").unlink()
    monkeypatch.setenv("GENREGRID_DATA", str(tmp_path / "new"))
    rescore("again", *data[:2])


def test_a_checkpoint_chooses_no_files(
    composed: MakeConfig, run: MakeResult, user_error: UserErrors, tmp_path: Path
) -> None:
    run("run")
    cfg = composed(f"checkpoint={tmp_path / 'run'}", config="evaluate")
    for named in (None, DatasetConfig(name="csv", corpus="csv", label="csv")):
        with user_error("checkpoint", hint="dataset=csv dataset.path=FILE"):
            evaluate(cfg, tmp_path / "again", dataset_named=lambda _, named=named: named)


def test_a_checkpoint_in_the_form_of_an_older_version_has_the_same_scores(
    run: MakeResult, rescore: MakeResult, tmp_path: Path
) -> None:
    trained = run("run", model="logistic")
    path = tmp_path / "run/checkpoint.ckpt"
    content = torch.load(path, weights_only=True)
    for key in ("estimator", "names", "max_iter"):
        content["hyper_parameters"].pop(key, None)
    content["genregrid"]["model_class"] = "genregrid.models.logistic.Logistic"
    torch.save(content, path)
    assert rescore("again").scores == pytest.approx(trained.scores)


def test_a_checkpoint_draws_no_larger_twin_than_its_own(
    composed: MakeConfig, user_error: UserErrors, tmp_path: Path
) -> None:
    train(composed(*QUICK, "dataset=twin", "dataset.num_tracks=60"), tmp_path, "lstm")
    path = tmp_path / "checkpoint.ckpt"
    content = torch.load(path, weights_only=True)
    content["genregrid"]["config"]["dataset"]["num_tracks"] = 1_000_000
    torch.save(content, path)
    twin = DatasetConfig(name="twin", corpus="twin", label="twin-synthetic", recipe="kaggle-reflect", synthetic=True)
    cfg = composed(f"checkpoint={path}", config="evaluate")
    with user_error("checkpoint", problem="1000000 tracks"):
        evaluate(cfg, tmp_path / "again", dataset_named=lambda _: twin)


def test_a_checkpoint_of_other_features_than_the_tables_is_refused(
    run: MakeResult, rescore: MakeResult, user_error: UserErrors, tmp_path: Path
) -> None:
    run("run")
    path = tmp_path / "run/checkpoint.ckpt"
    content = torch.load(path, weights_only=True)
    content["hyper_parameters"]["feature_names"][0] = "loudness_mean"
    torch.save(content, path)
    with user_error("checkpoint", problem="loudness_mean"):
        rescore("again")


def test_a_label_that_looks_like_an_expression_is_only_text(
    run: MakeResult,
    rescore: MakeResult,
    write_csv: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TOKEN_OF_MINE", "s3cr3t")
    path = write_csv(name="odd.csv", genres=("${oc.env:TOKEN_OF_MINE}", "blues", "metal"), tracks=9, slices=4)
    trained = run("run", f"dataset.path={path}")
    assert "${oc.env:TOKEN_OF_MINE}" in set(trained.predictions["genre"])
    again = rescore("again", "dataset=csv", f"dataset.path={path}")
    assert again.scores == pytest.approx(trained.scores)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"s3cr3t" in file.read_bytes()]


def test_a_checkpoint_of_one_genre_in_two_spellings_is_refused_in_a_sentence(
    run: MakeResult,
    rescore: MakeResult,
    write_csv: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    user_error: UserErrors,
) -> None:
    path = write_csv(name="old.csv", genres=("metal", "Metal"), tracks=5, slices=2)
    with monkeypatch.context() as older:
        older.setattr("genregrid.data.table.look_alikes", lambda _: None)
        run("run", f"dataset.path={path}")
    with user_error("checkpoint", problem="'Metal' and 'metal' look like one genre", hint="train again"):
        rescore("again", "dataset=csv", f"dataset.path={path}")


def test_genres_with_names_of_columns_keep_their_own_columns(
    run: MakeResult, write_csv: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_csv(name="odd.csv", genres=("genre", "true genre", "metal"), tracks=9, slices=4)
    trained = run("run", f"dataset.path={path}")
    table = read_csv(tmp_path / "run/confusion.csv")
    assert table.iloc[:, 0].tolist() == trained.genres == list(table.columns[1:])
    assert table.iloc[:, 1:].to_numpy().tolist() == trained.confusion.to_numpy().tolist()


def test_leaks_are_marked_under_any_chosen_protocol_and_no_other_label(run: MakeResult, user_error: UserErrors) -> None:
    assert "LEAKS" in run("run", "split.protocol=row", "split.allow_leak=true").title
    with user_error("split.label", "track"):
        run("refused", "split.protocol=row", "split.allow_leak=true", "split.label=track")


def test_a_loss_that_is_not_a_number_leaves_no_model(run: MakeResult, user_error: UserErrors) -> None:
    with user_error("model.learning_rate", problem="no epoch had a finite validation loss"):
        run("run", "model.learning_rate=1e20")


def test_a_note_reports_an_artist_index_with_few_of_the_tracks(run: MakeResult, tmp_path: Path) -> None:
    (tmp_path / "artists.csv").write_text("track,artist\nblues.00000,Skip James\n")
    result = run("run", "split=artist", f"dataset.artists={tmp_path / 'artists.csv'}")
    assert any(note.startswith("1 artist; 26 of 27 tracks ") for note in result.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "key", "problem"),
    [
        ({"genres": ("blues", "metal", "soul")}, "{path}, row 42, column 'label'", "'soul'"),
        ({"genres": GENRES, "slice_seconds": 5.0}, "slice", "5, 10, 15, 20"),
    ],
)
def test_evaluate_refuses_a_table_that_does_not_fit(
    run: MakeResult,
    rescore: MakeResult,
    write_csv: Callable[..., Path],
    user_error: UserErrors,
    change: dict[str, object],
    key: str,
    problem: str,
) -> None:
    run("run")
    other = write_csv(name="other.csv", tracks=5, slices=4, **change)
    with user_error(key.format(path=other), problem=problem):
        rescore("x", "dataset=csv", "dataset.corpus=other", f"dataset.path={other}")


def test_any_columns_are_trained_on_and_a_checkpoint_asks_for_its_own(
    composed: MakeConfig, tmp_path: Path, user_error: UserErrors
) -> None:
    random, centres = np.random.default_rng(0), np.random.default_rng(1).normal(size=(3, 512))
    rows = [(f"{'abc'[g]}.{t:05d}.{s}.wav", 66150, "abc"[g]) for g in range(3) for t in range(9) for s in range(2)]
    values = np.repeat(centres, 18, axis=0) + 0.5 * random.normal(size=(54, 512))
    frame = pd.DataFrame(values, columns=[f"e{number}" for number in range(512)])
    frame = pd.concat([pd.DataFrame(rows, columns=["filename", "length", "label"]), frame], axis=1)
    frame.to_csv(tmp_path / "f.csv.gz", index=False)
    data = ("dataset=csv", f"dataset.path={tmp_path / 'f.csv.gz'}")
    wanted = ("dataset.features=e*", "model=lda", "model.summary=[mean]")
    result = train(composed(*QUICK, *data, *wanted), tmp_path / "run", "lda")
    assert result.scores["test/accuracy"] == 1.0
    assert result.facts.settings["dataset.features"] == "e*"
    checkpoint = f"checkpoint={tmp_path / 'run/checkpoint.ckpt'}"
    again = evaluate(composed(checkpoint, *data, config="evaluate"), tmp_path / "again")
    assert again.scores == pytest.approx(result.scores)
    with user_error("dataset.features", ["e0", "e1"], problem="another choice, 512 descriptors", hint="leave it out"):
        evaluate(composed(checkpoint, *data[:2], "dataset.features=[e0,e1]", config="evaluate"), tmp_path / "two")
    frame.drop(columns="e7").to_csv(tmp_path / "f.csv.gz", index=False)
    with user_error("dataset.features", problem="fits 'e7'"):
        evaluate(composed(checkpoint, *data, config="evaluate"), tmp_path / "less")


def test_features_choose_the_tables_of_a_training_and_of_its_evaluation(
    write_csv: Callable[..., Path], composed: MakeConfig, tmp_path: Path
) -> None:
    for seed, (name, recipe) in enumerate({"own": "kaggle-reflect", "own.musicnn-ours": "musicnn-ours"}.items()):
        path = write_csv(name=f"{name}.csv", seed=seed, slices=2)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        note_path(path).write_text(RecipeNote(recipe, 3.0, digest).to_json())
    data = ("dataset=csv", f"dataset.root={tmp_path}", "dataset.tables=[own.csv]", "dataset.recipe=kaggle-reflect")
    result = train(composed(*QUICK, *data, "model=lda", "features=musicnn-ours"), tmp_path / "run", "lda")
    assert result.facts.recipe == "musicnn-ours"
    assert set(result.facts.data_hashes) == {"own.musicnn-ours.csv"}
    assert "by musicnn-ours" in result.title
    cfg = composed(f"checkpoint={tmp_path / 'run/checkpoint.ckpt'}", *data, config="evaluate")
    assert evaluate(cfg, tmp_path / "again").scores == pytest.approx(result.scores)


def test_evaluate_refuses_another_recipe(run: MakeResult, rescore: MakeResult, user_error: UserErrors) -> None:
    run("run")
    with user_error("dataset", "gtzan10", problem="its recipe is 'kaggle-constant'"):
        rescore("x", "dataset=gtzan10")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_evaluate_refuses_a_file_that_is_no_checkpoint(
    rescore: MakeResult, user_error: UserErrors, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "run/checkpoint.ckpt"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    with user_error("checkpoint", path, problem="does not exist" if content is None else "is no checkpoint"):
        rescore("x")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        ("trainer.max_epochs=0", ""),
        ("seed=-1", ""),
        ("window=tracks", ""),
        ("window=0", ""),
        ("batch_size=0", ""),
        ("slice=4", "3, 6, 9, 12"),
        ("slice=-3", ""),
        ("slice=nan", ""),
        ("trainer.threads=0", ""),
        ("trainer.devices=0", ""),
        ("trainer.devices=2", "starts processes"),
        ("trainer.strategy=fsdp", "auto or ddp"),
        ("trainer.patience=-1", ""),
        ("trainer.stack=0", ""),
        ("trainer.checkpoint_seconds=-1", ""),
        ("hop_slices=2 window=track", "window=track"),
        ("dataset.path=nowhere.csv", "does not exist"),
        ("trainer.accelerator=abacus", ""),
        ("trainer.accelerator=tpu", ""),
        ("split=artist", "artist index"),
        ("split=filtered", "lists of tracks"),
        ("split=official", "official split"),
        ("split.fold=3", "0 to 2"),
    ],
)
def test_a_users_mistake_is_one_sentence_about_its_setting(run: MakeResult, overrides: str, problem: str) -> None:
    setting, *others = overrides.split()
    with pytest.raises(UserError) as caught:
        run("run", setting, *others)
    assert str(caught.value).startswith(f"{setting}: ")
    assert "\n" not in str(caught.value)
    assert problem in caught.value.problem


@pytest.mark.slow
def test_shuffled_labels_fall_to_chance(
    run: MakeResult, write_csv: Callable[..., Path], make_frame: Callable[..., pd.DataFrame]
) -> None:
    frame = make_frame(genres=GENRES, tracks=60, slices=2, separation=0.0)
    path = write_csv(frame, "chance.csv")
    accuracy = run("run", f"dataset.path={path}", "trainer.max_epochs=10", "batch_size=16").scores["test/accuracy"]
    # 60 test tracks of three genres: chance is 33 %, and one draw in a thousand is outside 15 to 52 %
    assert 0.15 <= accuracy <= 0.52


@pytest.mark.slow
def test_leaderboard_pools_folds_and_ranks_cells(run: MakeResult, tmp_path: Path) -> None:
    for fold in range(3):
        run(f"grid/good{fold}", f"split.fold={fold}", "trainer.max_epochs=10")
        run(f"grid/bad{fold}", f"split.fold={fold}", "model.learning_rate=0.000001")
    cells, notes = read_grid(tmp_path / "grid")
    table = leaderboard(cells).frame
    assert notes == []
    assert table["runs"].tolist() == [3, 3]
    assert table["tracks"].tolist() == [27, 27]
    assert table["accuracy"].is_monotonic_decreasing
    assert "model.learning_rate=1e-06" in table["settings"][1]
    hits = [pd.read_csv(tmp_path / f"grid/good{fold}/predictions.csv") for fold in range(3)]
    pooled = pd.concat(hits)
    assert table["accuracy"][0] == pytest.approx((pooled["genre"] == pooled["predicted"]).mean())
    assert table["accuracy_low"][0] <= table["accuracy"][0] <= table["accuracy_high"][0]


@pytest.mark.slow
def test_leaderboard_counts_a_repeated_run_once_and_skips_unfinished_runs(run: MakeResult, tmp_path: Path) -> None:
    run("grid/first")
    run("grid/second")
    run("grid/third", "seed=1")
    (tmp_path / "grid/third/run.json").unlink()
    cells, notes = read_grid(tmp_path / "grid")
    assert [len(cell.runs) for cell in cells] == [1]
    assert any("not counted twice" in note for note in notes)
    assert any("has no result yet" in note for note in notes)


def test_leaderboard_of_an_empty_folder_is_refused(tmp_path: Path, user_error: UserErrors) -> None:
    with user_error("runs", str(tmp_path)):
        read_grid(tmp_path)
    with user_error("runs", tmp_path / "nowhere"):
        read_grid(tmp_path / "nowhere")


@pytest.mark.slow
def test_row_order_of_the_csv_does_not_matter(
    run: MakeResult, write_csv: Callable[..., Path], corpus: Path, tmp_path: Path
) -> None:
    run("sorted")
    shuffled = write_csv(pd.read_csv(corpus).sample(frac=1, random_state=0), "shuffled.csv")
    run("shuffled", f"dataset.path={shuffled}")
    assert (tmp_path / "sorted/metrics.json").read_bytes() == (tmp_path / "shuffled/metrics.json").read_bytes()
