"""Compare 3-second rows, pooled to 30 seconds, with rows that were computed on the whole clip.

    python benchmarks/pooling.py ROOT

ROOT is the folder that holds gtzan/. Prints one line per descriptor: the correlation over tracks, and the median and
95th percentile of the absolute difference, in standard deviations of the 30-second column.
"""

import sys
from pathlib import Path

import numpy as np

from genregrid.data.reslice import reslice
from genregrid.data.table import read_table

SLICES = ("features_3_sec.rebuilt192.csv", "features_3_sec.classical-jazz-rock.csv")


def main(root: Path) -> None:
    """Compare and print a Markdown table."""
    pooled = reslice(read_table([root / "gtzan" / name for name in SLICES]), 30)
    whole = read_table([root / "gtzan" / "features_30_sec.csv"])
    row = {track: number for number, track in enumerate(whole.tracks)}
    mine = pooled.features.astype(float)
    theirs = whole.features[[row[track] for track in pooled.tracks]].astype(float)
    difference = np.abs(mine - theirs) / theirs.std(axis=0)
    print(f"{len(pooled.tracks)} tracks\n\n| descriptor | correlation | median | 95 % |\n|---|---|---|---|")
    for number, name in enumerate(pooled.feature_names):
        correlation = np.corrcoef(mine[:, number], theirs[:, number])[0, 1]
        median, high = np.quantile(difference[:, number], [0.5, 0.95])
        print(f"| {name} | {correlation:.4f} | {median:.3f} | {high:.3f} |")
    same = np.isclose(mine[:, pooled.feature_names.index("tempo")], theirs[:, pooled.feature_names.index("tempo")])
    print(f"\ntempo equal for {100 * same.mean():.0f} % of tracks")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/pooling.py ROOT, the folder that holds gtzan/")
    main(Path(sys.argv[1]))
