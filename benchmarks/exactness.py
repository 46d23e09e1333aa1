"""Compare rows described from recordings with other people's CSVs of the same recordings.

    python benchmarks/exactness.py ROOT

ROOT is the folder that holds gtzan/. Prints for each file the recipe, the number of its rows that the recordings cover,
the largest difference of any cell in standard deviations of its column, and how many tempi are equal.
"""

import sys
import tempfile
from pathlib import Path

import pandas as pd

from genregrid.data.columns import FEATURE_NAMES
from genregrid.features.extraction import extract
from genregrid.features.folder import find_tracks
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.recipe import TableKey

PUBLISHED = (
    (3.0, HandmadeRecipe("kaggle", "reflect"), "features_3_sec.classical-jazz-rock.csv"),  # Kaggle's own, three genres
    (3.0, HandmadeRecipe("kaggle", "reflect"), "features_3_sec.rebuilt192.csv"),  # librosa 0.8.1 on the same recordings
    (30.0, HandmadeRecipe("kaggle", "reflect"), "features_30_sec.csv"),  # Kaggle's own
    (10.0, HandmadeRecipe("kaggle", "constant"), "features_10_sec.csv"),  # a student's, by a librosa from 0.10 on
)


def main(root: Path) -> None:
    """Describe, compare and print a Markdown table."""
    print("| file | recipe | rows | largest difference | the next column's | tempo equal |")
    print("|---|---|---|---|---|---|")
    columns = [name for name in FEATURE_NAMES if name != "tempo"]
    for seconds, recipe, name in PUBLISHED:
        theirs = pd.read_csv(root / "gtzan" / name).set_index("filename")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            extract(find_tracks(root / "gtzan" / "audio"), {TableKey(recipe, seconds): path}, num_workers=2)
            mine = pd.read_csv(path).set_index("filename")
        mine = mine[mine["label"].isin(theirs["label"])]
        both = mine.index.intersection(theirs.index)
        away = (
            ((mine[columns] - theirs[columns]).loc[both].abs() / theirs[columns].std())
            .max()
            .sort_values(ascending=False)
        )
        tempo = (mine["tempo"] - theirs["tempo"]).loc[both].abs() < 1e-6
        worst, second = (f"{away.index[place]}, {away.iloc[place]:.1e}" for place in (0, 1))
        print(
            f"| {name} | {recipe.name} | {len(both)} of {len(mine)} | {worst} | {second} | {100 * tempo.mean():.1f} % |"
        )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/exactness.py ROOT, the folder that holds gtzan/")
    main(Path(sys.argv[1]))
