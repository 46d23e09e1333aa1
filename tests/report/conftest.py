"""Run folders with drawn predictions, not trained ones: the files that a report reads, with scores that a test sets."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from genregrid.record.result import prediction_columns

GENRES = ["blues", "jazz", "rock"]


def draw_run(
    folder: Path,
    *,
    model: str = "lstm",
    slice_seconds: float = 3.0,
    split: str = "track",
    dataset: str = "drawn",
    fold: int = 0,
    folds: int = 2,
    seed: int = 0,
    skill: float = 2.0,
    tracks: int = 12,
    window: int | str = "track",
    synthetic: bool = False,
    genres: list[str] = GENRES,
    settings: dict[str, Any] | None = None,
    root: str = "nowhere",
    recipe: str | None = None,
    may_overlap: bool = False,
) -> Path:
    """Write the files of one finished run: one fold of the tracks of every genre is tested, one in four validated.

    Args:
        folder: made if missing.
        model: its name.
        slice_seconds: slice length in seconds; a track has four slices.
        split: label of the protocol; with ``-LEAKS`` at its end the run leaks.
        dataset: label of the corpus.
        fold: which tracks are tested.
        folds: number of folds.
        seed: of the draw.
        skill: mean of the true genre's logit above the others; 0 gives random predictions.
        tracks: of each genre.
        window: 1 makes the model take single slices.
        synthetic: marks the corpus.
        genres: names.
        settings: other settings that distinguish the cell.
        root: folder of the corpus.
        recipe: of the descriptors.
        may_overlap: marks the recipe.
    """
    folder.mkdir(parents=True)
    random = np.random.default_rng([seed, fold, *model.encode(), round(10 * slice_seconds), *split.encode()])
    names = [(f"{genre}.{number:05d}", genre) for genre in genres for number in range(tracks)]
    part = ["test" if n % folds == fold else "val" if n // folds % 4 == 3 else "train" for n in range(len(names))]
    table = pd.DataFrame(names, columns=["track", "genre"]).assign(part=part)

    def predicted(rows: pd.DataFrame) -> dict[str, Any]:
        logits = random.standard_normal((len(rows), len(genres))).astype(np.float32)
        logits[np.arange(len(rows)), [genres.index(genre) for genre in rows["genre"]]] += skill
        return prediction_columns(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), genres)

    for name, which in (("predictions", "test"), ("predictions_val", "val")):
        rows = table.loc[table["part"] == which, ["track", "part", "genre"]].reset_index(drop=True)
        rows.assign(**predicted(rows)).to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    tested = table[table["part"] == "test"]
    slices = tested.loc[tested.index.repeat(4), ["track", "genre"]].reset_index(drop=True)
    slices.insert(1, "slice", np.tile(np.arange(4), len(tested)))
    slices.insert(2, "start_seconds", slice_seconds * slices["slice"])
    slices.insert(3, "stop_seconds", slice_seconds * (slices["slice"] + 1))
    slices.assign(**predicted(slices)).to_csv(folder / "timeline.csv", index=False, float_format="%.6g")
    table.assign(group=np.arange(len(table)) // 2, num_slices=4).to_csv(folder / "split.csv", index=False)
    epochs = pd.DataFrame({"epoch": np.arange(1, 6), "train/loss": 1.0, "train/accuracy": np.linspace(0.3, 0.9, 5)})
    epochs["val/loss"], epochs["val/accuracy"] = 1.0, np.linspace(0.3, 0.7, 5) + 0.01 * random.standard_normal(5)
    epochs.to_csv(folder / "curves.csv", index=False)
    predictions = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
    accuracy = float((predictions["genre"] == predictions["predicted"]).mean())
    (folder / "metrics.json").write_text(json.dumps({"test/accuracy": accuracy}))
    config = {"dataset": {"root": root, "corpus": "gtzan", "name": dataset}, "window": window}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    facts = {
        "started": f"2026-01-01T00:00:{fold:02d}.{seed:03d}+00:00",
        "model": model,
        "seed": seed,
        "settings": {"window": window} | (settings or {}),
        "versions": {"python": "3.11"},
        "commit": "0" * 40,
        "dataset": dataset,
        "dataset_label": dataset,
        "synthetic": synthetic,
        "slice_seconds": slice_seconds,
        "protocol": split.removesuffix("-LEAKS"),
        "split_label": split,
        "leaks": split.endswith("LEAKS"),
        "folds": folds,
        "fold": fold,
        "val_folds": 4,
        "split_seed": seed,
        "num_tracks": table["part"].value_counts().to_dict(),
        "data_hashes": {"drawn.csv": "0"},
    }
    facts |= ({"recipe": recipe} if recipe else {}) | ({"may_overlap": True} if may_overlap else {})
    (folder / "run.json").write_text(json.dumps(facts))
    return folder


@pytest.fixture(scope="session")
def change_run() -> Callable[..., None]:
    """`change_run(folder, change)` changes the frame of predictions.csv, and what must fit it in other files.

    A changed column `predicted` changes probabilities, and changed probabilities change `predicted` and `certainty`.
    Genres and parts in split.csv, timeline.csv, num_tracks in run.json and the accuracy in metrics.json follow.
    """

    def change(folder: Path, changed: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        before = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
        frame = changed(before.copy()).reset_index(drop=True)
        columns = [name for name in frame if name.startswith("p_")]
        probs, genres = frame[columns].to_numpy().copy(), np.array([name[2:] for name in columns])
        same = before.set_index("track")["predicted"].loc[frame["track"]].to_numpy() == frame["predicted"].to_numpy()
        for row in np.flatnonzero(~same):
            chosen, best = int(np.flatnonzero(genres == frame["predicted"][row])[0]), int(probs[row].argmax())
            probs[row, [chosen, best]] = probs[row, [best, chosen]]
        frame[columns] = probs
        ranked = np.argsort(-probs, axis=1, kind="stable")
        for rank, name in enumerate(("predicted", "second", "third")):
            frame[name] = genres[ranked[:, rank]]
        first, second = np.take_along_axis(probs, ranked[:, :2], axis=1).T
        exact = np.log10(first / np.where(second > 0, second, 1.0))
        frame["certainty"] = np.where(second > 0, exact, np.maximum(frame["certainty"], 300.0))
        frame.to_csv(folder / "predictions.csv", index=False)
        split = pd.read_csv(folder / "split.csv", keep_default_na=False)
        genre = split["track"].map(frame.set_index("track")["genre"])
        part = split["part"].mask((split["part"] == "test") & genre.isna(), "train")
        split.assign(genre=genre.fillna(split["genre"]), part=part).to_csv(folder / "split.csv", index=False)
        timeline = pd.read_csv(folder / "timeline.csv", keep_default_na=False)
        timeline[timeline["track"].isin(frame["track"])].to_csv(folder / "timeline.csv", index=False)
        facts = json.loads((folder / "run.json").read_text()) | {"num_tracks": part.value_counts().to_dict()}
        (folder / "run.json").write_text(json.dumps(facts))
        accuracy = float((frame["genre"] == frame["predicted"]).mean())
        (folder / "metrics.json").write_text(json.dumps({"test/accuracy": accuracy}))

    return change


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`make_run("grid/a", fold=1)` draws the run folder ``tmp_path/grid/a``; arguments are those of `draw_run`."""

    def make(name: str, **kwargs: Any) -> Path:
        return draw_run(tmp_path / name, **kwargs)

    return make


@pytest.fixture(scope="session")
def draw_grid() -> Callable[..., Path]:
    """`draw_grid(folder, {"model": "mlp"})` draws two folds with two seeds of each cell, and returns `folder`/grid."""

    def draw(folder: Path, *cells: dict[str, Any], folds: int = 2, seeds: int = 2) -> Path:
        for number, cell in enumerate(cells):
            for fold in range(folds):
                for seed in range(seeds):
                    draw_run(folder / f"grid/{number}-{fold}-{seed}", fold=fold, folds=folds, seed=seed, **cell)
        return folder / "grid"

    return draw


@pytest.fixture
def make_grid(draw_grid: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """`make_grid({"model": "mlp"}, {"model": "lstm"})` is `draw_grid` in ``tmp_path``."""
    return partial(draw_grid, tmp_path)
