"""Measure time and memory of a run on 1000, 10 000 and 100 000 tracks of the twin, read from a CSV; Linux only.

    python benchmarks/large_corpora.py docs/large_corpora.svg

For each size, one process draws and writes the corpus. A second measures the stages one by one: reading and validating
the CSV, the artist split with its search for repeated recordings, windows and the fitted transform, an epoch of the
LSTM with its validation. A third runs everything that ``train.py`` does, including test, timeline and run folder.
Memory is the largest resident size during a stage, less that of a process which has already trained on 200 tracks, so
that every library has loaded its late parts. The size of these parts is printed too.

A fourth process runs ``train.py`` twice with `dataset.cache`, so that features are mapped from a file. Memory there is
the largest anonymous memory, sampled every 20 ms: the system can take back its copy of a file, but not this memory.

One thread; everything takes five minutes and 2 GB of disk below the system's folder for temporary files.
"""

import contextlib
import io
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from genregrid.exhibit.drawing import DASHED, INK, WIDTH, draw_key, finished, key_height, look, looks, plot, styled

ROOT = Path(__file__).resolve().parents[1]
NUM_TRACKS = (1_000, 10_000, 100_000)
STAGES = {
    "read": "reading",
    "split": "splitting",
    "window": "windows, transform",
    "epoch": "an epoch",
    "train.py": "train.py as a whole",
}
STORED = {"storing": "train.py, first with dataset.cache", "stored": "train.py, again with dataset.cache"}
MIB = 2**20


def write_twin(num_tracks: int, folder: Path) -> None:
    """Write the twin's slices and its artist index."""
    from genregrid.twin.draw import draw_twin

    twin = draw_twin(num_tracks=num_tracks)
    twin.frame.to_csv(folder / "features.csv", index=False, float_format="%.9g")
    pd.Series(twin.artists, name="artist").rename_axis("track").to_csv(folder / "artists.csv")


def resident(what: str) -> float:
    """Resident memory in MiB: ``VmRSS`` now, ``VmHWM`` the largest since the last `forget_peak`."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{what}:")[1].split()[0]) / 1024


@contextlib.contextmanager
def largest(what: str) -> Iterator[list[float]]:
    """The largest of some figure of `resident` within the block, looked at every 20 ms; a list of one number."""
    found, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            found[0] = max(found[0], resident(what))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def forget_peak() -> None:
    """Let ``VmHWM`` start anew."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def composed(*overrides: str) -> Any:
    """The config of an LSTM's single epoch."""
    from hydra import compose, initialize_config_dir

    common = ["model=lstm", "split=artist", "logger=none", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose("train", [*common, "trainer.progress_bar=false", *overrides])


def measure(folder: Path, what: str) -> None:
    """Print seconds and MiB of each stage, of the whole command, or of that with a stored table, as JSON."""
    import lightning.pytorch as pl
    import torch

    from genregrid.config import SplitConfig, register_schemas
    from genregrid.data.catalogue import read_artists
    from genregrid.data.datamodule import GenreDataModule
    from genregrid.data.split import split_table
    from genregrid.data.table import read_table
    from genregrid.models.lstm import LSTM
    from genregrid.training.run import train

    register_schemas()
    imported = resident("VmRSS")
    with contextlib.redirect_stdout(io.StringIO()):
        train(composed("dataset=twin", "dataset.num_tracks=200"), folder / "small", "lstm").summary()
    forget_peak()
    base = resident("VmRSS")
    figures: dict[str, Any] = {"libraries": base - imported}

    def record(stage: str) -> None:
        nonlocal begin
        figures[stage] = {"seconds": time.perf_counter() - begin, "mib": resident("VmHWM") - base}
        forget_peak()
        begin = time.perf_counter()

    csv, artists = folder / "features.csv", folder / "artists.csv"
    begin = time.perf_counter()
    config = ["dataset=csv", f"dataset.path={csv}", f"dataset.artists={artists}"]
    if what == "command":
        with contextlib.redirect_stdout(io.StringIO()):
            train(composed(*config), folder / "run", "lstm").summary()
        record("train.py")
    elif what == "stored":
        base = resident("RssAnon")
        for name in ("storing", "stored"):
            begin = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()), largest("RssAnon") as anonymous:
                train(composed(*config, f"dataset.cache={folder / 'cache'}"), folder / name, "lstm").summary()
            figures[name] = {"seconds": time.perf_counter() - begin, "mib": anonymous[0] - base}
    else:
        table = read_table([csv])
        record("read")
        split = split_table(table, SplitConfig(protocol="artist"), artists=read_artists(artists))
        record("split")
        datamodule = GenreDataModule(table, split)
        facts = {"genres": table.genres, "feature_names": table.feature_names, "slice_seconds": table.slice_seconds}
        model = LSTM(**facts)
        model.transform.fit(table.features, datamodule.training_rows)
        record("window")
        torch.set_num_threads(1)
        quiet = ("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing")
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=folder,
            **dict.fromkeys(quiet, False),
        )
        trainer.fit(model, datamodule)
        record("epoch")
        figures["float32"] = table.features.nbytes / MIB
        figures["num_slices"] = len(table.features)
    print(json.dumps(figures))


@styled
def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw seconds and largest memory of each stage against the number of slices, on logarithmic axes."""
    keys = looks(list(STAGES.values()))
    limit = Line2D([], [], color=INK, linestyle=DASHED, label="three times float32")
    gap = 70
    width = (WIDTH - gap) / 2
    top = key_height([str(key.get_label()) for key in [*keys, limit]]) + 30
    drawing, clock = plot(250, top=top, right=WIDTH - 58 - (width - gap / 2 - 16))
    place = clock.get_position()
    memory = drawing.add_axes((place.x0 + (width + gap / 2) / WIDTH, place.y0, place.width, place.height))
    drawing.set(frameon=True, facecolor="white")  # on its own, the file has no page in the background
    for axes, column, title in ((clock, "seconds", "time, seconds"), (memory, "mib", "largest memory, MiB")):
        for number, stage in enumerate(STAGES):
            own = rows[rows["stage"] == stage]
            axes.plot(own["num_slices"], own[column].clip(lower=0.01), **look(number))
        axes.set(xscale="log", yscale="log", xlabel="slices")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace(",", " "))
            axis.set_minor_locator(NullLocator())
        axes.set_title(title)
        axes.patch.set_visible(False)
    sizes = rows.drop_duplicates("num_slices")
    memory.plot(sizes["num_slices"], 3 * sizes["float32"], color=INK, linestyle=DASHED)
    draw_key(drawing, [*keys, limit])
    alt = "Seconds and memory of each stage of a run against the number of slices; both grow in proportion."
    path.write_text(finished("large_corpora", "Large corpora", drawing, alt).svg + "\n", encoding="utf-8")


def run(*words: str) -> dict[str, Any]:
    """What a process of its own prints as its last line."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1] if done.stdout else "{}")
    return figures


def main(path: Path) -> None:
    """Measure all sizes, print a table in Markdown, and draw it."""
    rows = []
    print(
        "| tracks | slices | float32 | stage | seconds | memory, MiB | times float32 |\n|---|---|---|---|---|---|---|"
    )
    for num_tracks in NUM_TRACKS:
        with tempfile.TemporaryDirectory() as folder:
            run("write", str(num_tracks), folder)
            parts, whole, kept = (run(what, folder) for what in ("stages", "command", "stored"))
        size = {name: parts[name] for name in ("num_slices", "float32")}
        for stage, name in (STAGES | STORED).items():
            took = (parts | whole | kept)[stage]
            rows.append({"stage": stage} | size | took)
            cells = f"{name} | {took['seconds']:.2f} | {took['mib']:.0f} | {took['mib'] / size['float32']:.2f}"
            print(f"| {num_tracks} | {size['num_slices']} | {size['float32']:.1f} MiB | {cells} |", flush=True)
    print(f"\nlibraries, at the first run of any size: {whole['libraries']:.0f} MiB")
    draw(pd.DataFrame(rows), path)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", num_tracks, folder]:
            write_twin(int(num_tracks), Path(folder))
        case ["stages" | "command" | "stored" as what, folder]:
            measure(Path(folder), what)
        case [path]:
            main(Path(path))
        case _:
            sys.exit("usage: python benchmarks/large_corpora.py PATH, of the drawing")
