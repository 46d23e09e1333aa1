"""Measure what learned descriptors are worth beyond `train.py`: joined tables, published tags, and who gains by MSD.

    python benchmarks/learned.py join GTZAN OUT
    python benchmarks/learned.py tags TAGGRAMS OUT
    python benchmarks/learned.py recall RUNS
    python benchmarks/learned.py overlap RUNS INDEX --msd ARTISTS --famous ARTISTS

`join` writes tables of joined descriptors from those of one corpus, such as ``57_mtt.csv``; GTZAN is the folder of
``features_3_sec.csv``, ``features_3_sec.musicnn-msd.csv`` and so on (docs/recipes.md). `tags` writes one table from
``training.npz`` and ``evaluation.npz``: the tags of MSD_musicnn, a row a second, that its authors published for the
filtered split (repository jordipons/sklearn-audio-transfer-learning, data/audio_representations). Train on both with
``dataset=csv dataset.path=FILE dataset.features=all``.

`recall` prints the mean recall of the genres for every cell of a folder of runs, which corpora of unequal genres need,
the same on validation tracks, and how much it is above that of the same model on the 57. Intervals are over artists,
and differences are paired.

`overlap` compares the runs with musicnn-msd and with musicnn-mtt in a folder, model by model. Tracks by artists on a
list gain more or less by MSD than other tracks; the interval of this difference is over artists. ARTISTS is a text file
with an artist a line. The artists of the Million Song Dataset are on its site (unique_artists.txt); a list of famous
ones is, for example, the most played of Last.fm. Sturm's INDEX names composers of classical music, not performers, so
the second line of each pair leaves this genre out.
"""

import argparse
import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd

from genregrid.data.catalogue import read_artists
from genregrid.features.musicnn import NETWORKS
from genregrid.metrics.interval import ClusterBootstrap, Estimate
from genregrid.report.cell import read_grid

ENDINGS = {
    "57": "",
    "rich": ".rich",
    "mtt": ".musicnn-mtt",
    "msd": ".musicnn-msd",
    "tags": ".musicnn-msd-tags",
}
JOINED = ("57_mtt", "57_msd", "rich_mtt", "mtt_msd", "msd_tags", "57_mtt_msd", "mtt_msd_tags")


def join(gtzan: Path, out: Path) -> None:
    """Write a table of each set of descriptors, with the slices that all have."""
    tables = {name: pd.read_csv(gtzan / f"features_3_sec{ending}.csv") for name, ending in ENDINGS.items()}
    for joined in JOINED:
        first, *others = (tables[name] for name in joined.split("_"))
        table = first
        for other in others:
            table = table.merge(other.drop(columns=["length", "label"]), on="filename")
        table.to_csv(out / f"{joined}.csv", index=False)


def tags(taggrams: Path, out: Path) -> None:
    """Write the published tags of both parts of the filtered split as one table of slices of a second."""
    tables = []
    for part in ("training", "evaluation"):
        with np.load(taggrams / f"{part}.npz") as arrays:
            track = pd.Series(arrays["IDS"]).str.extract(r"/(.*)\.au$")[0]
            number = track.groupby(track).cumcount().astype(str)
            table = pd.DataFrame(arrays["X"], columns=[f"{tag.replace(' ', '_')}_mean" for tag in NETWORKS["msd"]])
        keys = pd.DataFrame({"filename": track + "." + number + ".wav", "length": 22_050})
        tables.append(keys.join(table).assign(label=track.str.partition(".")[0]))
    pd.concat(tables).to_csv(out / "published_tags.csv", index=False)


def recall(runs: Path) -> None:
    """Print accuracy and mean recall of the genres of every cell, and the gain over the same model on the 57."""
    cells, notes = read_grid(runs)
    base = {
        (cell.model, cell.slice_seconds, cell.settings): cell for cell in cells if cell.features.startswith("kaggle")
    }
    print(*notes, sep="\n")
    print(
        "| features | model | slice | accuracy | mean recall | validation | less the 57 |", "|---" * 7 + "|", sep="\n"
    )
    for cell in cells:
        of_genre = (cell.genre[:, None] == np.arange(len(cell.genres))).astype(float)
        score = cell.bootstrap.mean_ratio(cell.correct[:, None] * of_genre, of_genre)
        accuracy = cell.bootstrap.mean(cell.correct)
        is_right = cell.validation["genre"] == cell.validation["predicted"]
        validation = is_right.groupby(cell.validation["genre"]).mean().mean()
        other = base.get((cell.model, cell.slice_seconds, cell.settings), cell)
        gain = ""
        if other is not cell and set(cell.tracks) == set(other.tracks):
            hit, other_hit = (pd.Series(one.correct * 1.0, one.predictions["track"]) for one in (cell, other))
            # a mean of shares from 0 to 1, as `mean_ratio` needs; each track is tested once
            half = ((hit - other_hit[hit.index]).to_numpy() + 1) / 2
            found = cell.bootstrap.mean_ratio(half[:, None] * of_genre, of_genre)
            gain = _points(Estimate(2 * found.value - 1, 2 * found.low - 1, 2 * found.high - 1), "+")
        row = [cell.features, f"{cell.model} {cell.settings}".strip(), f"{cell.slice_seconds:g}", _points(accuracy)]
        print("|", " | ".join([*row, _points(score), f"{100 * validation:.1f}", gain]), "|")


def _points(estimate: Estimate, sign: str = "") -> str:
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"


def overlap(runs: Path, index: Path, lists: dict[str, Path]) -> None:
    """Print how much more tracks by artists on each list gain by MSD."""
    artist_of = {track: plain(artist) for track, artist in read_artists(index).items()}
    cells, _ = read_grid(runs)
    found = pd.concat([cell.predictions.assign(features=cell.features, hit=cell.correct) for cell in cells])
    share = found.groupby(["track", "genre", "features"])["hit"].mean().unstack().reset_index()
    share["artist"] = share["track"].map(artist_of)
    share = share.dropna(subset="artist")
    share["gain"] = 100 * (share["musicnn-msd"] - share["musicnn-mtt"])
    for name, path in lists.items():
        listed = {plain(line) for line in path.read_text(encoding="utf-8").splitlines()}
        for some, which in ((share, "all genres"), (share[share["genre"] != "classical"], "without classical")):
            is_listed = some["artist"].isin(listed).to_numpy()
            gain = some["gain"].to_numpy()

            def difference(weights: np.ndarray, gain: np.ndarray = gain, own: np.ndarray = is_listed) -> np.ndarray:
                return (weights @ (gain * own)) / (weights @ own) - (weights @ (gain * ~own)) / (weights @ ~own)

            found_difference = ClusterBootstrap(some["artist"]).statistic(difference, num_resamples=2000)
            print(
                f"{name}, {which}: {is_listed.sum()} tracks on the list gain {gain[is_listed].mean():+.1f} points, "
                f"{(~is_listed).sum()} others {gain[~is_listed].mean():+.1f}; difference "
                f"{found_difference.value:+.1f} ({found_difference.low:+.1f} to {found_difference.high:+.1f}), "
                f"{some['artist'].nunique()} artists"
            )


def plain(artist: str) -> str:
    """Return a name without accents, signs, guests and the article.

    >>> plain("The Beyoncé & Friends feat. Jay-Z")
    'beyonce and friends'
    """
    letters = unicodedata.normalize("NFKD", artist).casefold().replace("&", "and")
    letters = re.sub(r"\b(feat|featuring|ft)\b.*", "", "".join(c for c in letters if not unicodedata.combining(c)))
    return re.sub(r"^the ", "", re.sub(r"[^a-z0-9]+", " ", letters).strip())


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Joined tables, published tags, and who gains by MSD.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("join", "tags"):
        own = kinds.add_parser(kind)
        own.add_argument("source", type=Path)
        own.add_argument("out", type=Path)
    kinds.add_parser("recall").add_argument("runs", type=Path)
    own = kinds.add_parser("overlap")
    own.add_argument("runs", type=Path)
    own.add_argument("index", type=Path)
    own.add_argument("--msd", type=Path, required=True, help="artists of the Million Song Dataset, one a line")
    own.add_argument("--famous", type=Path, required=True, help="famous artists, one a line")
    options = parser.parse_args()
    if options.kind == "recall":
        recall(options.runs)
    elif options.kind == "overlap":
        overlap(options.runs, options.index, {"in MSD": options.msd, "famous": options.famous})
    else:
        options.out.mkdir(parents=True, exist_ok=True)
        {"join": join, "tags": tags}[options.kind](options.source, options.out)


if __name__ == "__main__":
    main()
