"""Many runs as one table: the runs of a cell (model, slice, corpus, protocol) are pooled over folds and seeds."""

import hashlib
import json
from pathlib import Path

import pandas as pd

from genregrid.errors import UserError
from genregrid.report.interval import cluster_interval

_CELL = ["dataset", "split", "model", "slice_seconds", "trained_on", "settings"]


def write_leaderboard(runs: Path, folder: Path) -> str:
    """Gather the runs below `runs` into leaderboard.csv and leaderboard.txt in `folder`, and return it as text.

    Raises:
        UserError: there is no finished run.
    """
    table, notes = read_leaderboard(runs)
    text = "\n".join([format_leaderboard(table), *notes])
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "leaderboard.csv", index=False, float_format="%.6g")
    (folder / "leaderboard.txt").write_text(text + "\n", encoding="utf-8")
    return text


def read_leaderboard(folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """Gather every run below a folder into a table of cells, the most accurate first within a corpus and protocol.

    A checkpoint scored on another corpus is a cell of its own; scored again on its own test part it is no new run.

    Accuracy is that of all test tracks of all folds and seeds together; its 95 % interval is a bootstrap over groups
    of tracks that the protocol keeps together, so that a track scored by three seeds counts as one draw.

    Returns:
        Columns dataset, split, model, slice_seconds, trained_on, settings, runs, tracks, accuracy, low, high, top3,
        f1_macro (fractions; the last two are means over runs), leaks; and notes on folders that were passed over.

    Raises:
        UserError: the folder is missing or holds no finished run.
    """
    if not folder.is_dir():
        raise UserError(f"runs={folder} is not a folder: give the folder of a multirun, or outputs.")
    paths = sorted(folder.rglob("run.json"))
    started = {p.parent for p in folder.rglob("config.yaml") if "wandb" not in p.parts}
    unfinished = sorted(started - {p.parent for p in paths})
    notes = [f"{path} has no result yet and was passed over" for path in unfinished]
    runs = [run for path in paths if not (run := _read_run(path.parent))["repeats"]]
    if not runs:
        raise UserError(f"runs={folder} holds no finished run: a run folder has run.json and metrics.json.")
    frame = pd.DataFrame(runs).sort_values("started", kind="stable")
    frame["settings"] = _settings(frame)
    again = frame.duplicated([*_CELL, "fold", "seed", "split_seed", "scored"], keep="last")
    notes += [f"{path} was run again later and is not counted twice" for path in frame["folder"][again]]
    frame = frame[~again]
    cells = [_cell(dict(zip(_CELL, key, strict=True)), group) for key, group in frame.groupby(_CELL, sort=False)]
    table = pd.DataFrame(cells).sort_values(
        ["dataset", "split", "accuracy"], ascending=[True, True, False], ignore_index=True
    )
    return table, notes


def format_leaderboard(table: pd.DataFrame) -> str:
    """The leaderboard as text to read: percentages with intervals."""
    shown = pd.DataFrame(
        {
            "dataset": table["dataset"],
            "split": table["split"],
            "model": table["model"],
            "slice": table["slice_seconds"].map("{:g} s".format),
            "accuracy %": (100 * table["accuracy"]).map("{:.1f}".format),
            "95 % interval": [
                f"{100 * low:.1f} to {100 * high:.1f}" for low, high in zip(table["low"], table["high"], strict=True)
            ],
            "top-3 %": (100 * table["top3"]).map("{:.1f}".format),
            "macro F1 %": (100 * table["f1_macro"]).map("{:.1f}".format),
            "runs": table["runs"],
            "tracks": table["tracks"],
        }
    )
    for name in ("settings", "trained_on"):
        if (table[name] != "").any():
            shown.insert(4, name, table[name])
    return str(shown.to_string(index=False))


def _read_run(folder: Path) -> dict[str, object]:
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        predictions = pd.read_csv(folder / "predictions.csv", usecols=["track", "genre", "predicted"], dtype=str)
        groups = pd.read_csv(folder / "split.csv", usecols=["track", "group"]).drop_duplicates("track")
        return {
            "dataset": facts["dataset_label"],
            "split": facts["split_label"],
            "model": facts["model"],
            "slice_seconds": float(facts["slice_seconds"]),
            "leaks": facts["leaks"],
            "fold": facts["fold"],
            "seed": facts["seed"],
            "split_seed": facts["split_seed"],
            "folder": folder,
            "repeats": "checkpoint" in facts and facts["trained_on"].startswith(f"{facts['dataset_label']} "),
            "started": facts["started"],
            "trained_on": facts.get("trained_on", ""),
            "scored": facts.get("checkpoint", ""),
            "knobs": facts["settings"]
            | {name: facts[name] for name in ("folds", "val_folds")}
            | {"data": hashlib.sha256(json.dumps(facts["data_hashes"], sort_keys=True).encode()).hexdigest()[:8]},
            "top3": metrics["test/top3"],
            "f1_macro": metrics["test/f1_macro"],
            "predictions": predictions.merge(groups, on="track", how="left", validate="many_to_one"),
        }
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{folder} is no complete run folder ({type(error).__name__}: {error}); remove it or run it again."
        ) from None


def _settings(frame: pd.DataFrame) -> "pd.Series[str]":
    """What tells the runs of one model apart besides fold and seed, such as ``model.hidden_size=32``."""
    configs = pd.DataFrame(frame["knobs"].tolist(), index=frame.index)
    words = pd.Series("", index=frame.index)
    for _, group in configs.groupby([frame[name] for name in _CELL[:-1]]):
        varying = [name for name in group if group[name].astype(str).nunique() > 1]
        for name in varying:
            words.loc[group.index] += f" {name}=" + group[name].astype(str)
    return words.str.strip()


def _cell(key: dict[str, object], runs: pd.DataFrame) -> dict[str, object]:
    predictions = pd.concat(runs["predictions"].tolist(), ignore_index=True)
    correct = predictions["genre"] == predictions["predicted"]
    low, high = cluster_interval(correct, predictions["group"])
    return key | {
        "runs": len(runs),
        "tracks": predictions["track"].nunique(),
        "accuracy": float(correct.mean()),
        "low": low,
        "high": high,
        "top3": float(runs["top3"].mean()),
        "f1_macro": float(runs["f1_macro"].mean()),
        "leaks": bool(runs["leaks"].any()),
    }
