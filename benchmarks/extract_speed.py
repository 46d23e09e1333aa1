"""Compare extraction with plain librosa: the same 57 descriptors and recordings, one process, one thread, in one run.

    python benchmarks/extract_speed.py [FOLDER] [--tracks 10] [--slice 3]

FOLDER holds recordings, in any subfolders. Without it, ten recordings of 30 s are synthesised. librosa's side uses its
public functions as a user would, one call per descriptor and slice. Both describe each recording, one after the other,
so that the noise of the machine is the same for both. Prints seconds per recording, the gain by more cores, and last
`times_faster_than_librosa: X`. Where the weights of musicnn are (`python -m genregrid.features --get musicnn`), the
learned recipe and the 57 take turns too.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import librosa
import numpy as np
import soundfile
from threadpoolctl import threadpool_limits

from genregrid.data.columns import SAMPLE_RATE_HZ
from genregrid.errors import UserError
from genregrid.features.folder import TrackFile, audio_files
from genregrid.features.handmade import HandmadeRecipe
from genregrid.features.musicnn import MusicnnRecipe
from genregrid.features.recipe import Recipe, TableKey
from genregrid.features.workers import describe_file, describe_files, keep_freed_memory

RECIPE = HandmadeRecipe("kaggle", "constant")  # the padding of today's librosa


def plain_librosa(path: Path, slice_seconds: float) -> np.ndarray:
    """The 57 descriptors of each slice, (slice, feature)."""
    samples, rate = librosa.load(path)
    bounds = RECIPE.slice_bounds(len(samples), slice_seconds)
    return np.array([_librosa_row(samples[start:stop], rate) for start, stop in bounds])


def _librosa_row(y: np.ndarray, sr: float) -> list[float]:
    harmonic, percussive = librosa.effects.hpss(y)
    over_time = [
        librosa.feature.chroma_stft(y=y, sr=sr),
        librosa.feature.rms(y=y),
        librosa.feature.spectral_centroid(y=y, sr=sr),
        librosa.feature.spectral_bandwidth(y=y, sr=sr),
        librosa.feature.spectral_rolloff(y=y, sr=sr),
        librosa.feature.zero_crossing_rate(y),
        harmonic,
        percussive,
    ]
    tempo, _ = librosa.beat.beat_track(y=y, sr=sr)
    row = [statistic(values) for values in over_time for statistic in (np.mean, np.var)]
    row.append(np.atleast_1d(tempo)[0])
    return row + [statistic(values) for values in librosa.feature.mfcc(y=y, sr=sr) for statistic in (np.mean, np.var)]


def synthesise(folder: Path) -> None:
    """Ten recordings of 30 s: tones, beats and noise."""
    random = np.random.default_rng(0)
    seconds = np.arange(30 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    for number in range(10):
        tones = sum(np.sin(2 * np.pi * hz * seconds) for hz in random.uniform(80, 2000, 5))
        beats = np.exp(-20 * (seconds % 0.5)) * random.standard_normal(len(seconds))
        soundfile.write(folder / f"{number}.wav", 0.1 * tones + 0.3 * beats, SAMPLE_RATE_HZ)


def compare(paths: list[Path], slice_seconds: float) -> float:
    """Describe every recording by both, print seconds, and return how many times faster genregrid is."""
    tracks = [TrackFile(path, f"any.{number:05d}", "any") for number, path in enumerate(paths)]
    plain_librosa(paths[0], slice_seconds)  # compiles
    mine = describe_files(tracks * 2, [TableKey(RECIPE, slice_seconds)], num_workers=1)
    next(mine)
    spent = {"librosa": 0.0, "genregrid": 0.0}
    worst, megabytes = 0.0, []
    with threadpool_limits(1):
        for path in [*paths[1:], paths[0]]:
            start = time.perf_counter()
            theirs = plain_librosa(path, slice_seconds)
            between = time.perf_counter()
            described = next(mine)
            spent["librosa"] += between - start
            spent["genregrid"] += time.perf_counter() - between
            megabytes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
            ours = np.array(described.rows[f"{slice_seconds:g}"])[:, 1:]
            worst = max(worst, float(np.max(np.abs(ours - theirs) / (np.abs(theirs) + 1e-3))))
    for name, seconds in spent.items():
        print(f"{name}: {seconds / len(paths):.3f} s a recording")
    print(f"largest difference of a cell: {worst:.1e} of its value plus 0.001")
    print(f"peak memory of both: {megabytes[0]:.0f} MB after one recording, {megabytes[-1]:.0f} MB after all")
    return spent["librosa"] / spent["genregrid"]


def compare_cores(paths: list[Path], slice_seconds: float, num_tracks: int = 100) -> None:
    """Print how much faster all cores describe recordings than one, starting the processes included."""
    repeated = (paths * (num_tracks // len(paths) + 1))[:num_tracks]
    tracks = [TrackFile(path, f"any.{number:05d}", "any") for number, path in enumerate(repeated)]
    num_cores = os.cpu_count() or 1
    spent = []
    for num_workers in (1, num_cores):
        start = time.perf_counter()
        num_done = sum(1 for _ in describe_files(tracks, [TableKey(RECIPE, slice_seconds)], num_workers))
        spent.append(time.perf_counter() - start)
        print(f"{num_workers} processes: {num_done / spent[-1]:.1f} recordings a second")
    print(f"{num_cores} processes are {spent[0] / spent[1]:.2f} times as fast as one, their start included")


def compare_recipes(paths: list[Path], slice_seconds: float) -> None:
    """Print the CPU seconds of the 57 and of a learned recipe on one thread, in turns on each recording."""
    recipes: list[Recipe] = [HandmadeRecipe(), MusicnnRecipe("msd")]
    spent = dict.fromkeys((recipe.name for recipe in recipes), 0.0)
    keep_freed_memory()
    with threadpool_limits(1):
        for number, path in enumerate([paths[0], *paths]):  # the first is not counted: it loads the network
            for recipe in recipes:
                start = time.process_time()
                describe_file(TrackFile(path, "any.00000", "any"), [TableKey(recipe, slice_seconds)])
                spent[recipe.name] += (time.process_time() - start) * (number > 0)
    for name, seconds in spent.items():
        print(f"{name}: {seconds / len(paths):.3f} CPU s a recording")
    print(f"musicnn takes {spent['musicnn-msd'] / spent['kaggle-reflect']:.2f} times the CPU time of the 57")


def main() -> None:
    """Compare on the given folder or on synthesised recordings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--tracks", type=int, default=10)
    parser.add_argument("--slice", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if options.folder is None:
            synthesise(Path(temporary))
        found = audio_files(options.folder or Path(temporary))
        paths = found[:: max(1, len(found) // options.tracks)][: options.tracks]  # from every genre
        faster = compare(paths, options.slice)
        compare_cores(paths, options.slice)
        try:
            MusicnnRecipe().check()
        except UserError as error:
            print(f"musicnn is left out: {error}")
        else:
            compare_recipes(paths, options.slice)
    print(f"times_faster_than_librosa: {faster:.1f}")


if __name__ == "__main__":
    sys.exit(main())
