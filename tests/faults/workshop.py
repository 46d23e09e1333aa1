"""Honest inputs, made once: a corpus, trained runs, recordings, an interrupted run; and where a case is tried."""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tests.faults.mutation import SECRET
from tests.faults.process import Command, Done, Server

_GENRES = ("blues", "classical", "metal")
#: Files of a run folder whose numbers must be those of the honest input.
NUMBERS = ("metrics.json", "predictions.csv", "predictions_val.csv", "timeline.csv", "curves.csv")
_QUICK = ("logger=none", "trainer.accelerator=cpu", "split.folds=3")
CORPUS = ("dataset=csv", "dataset.path=../../corpus.csv")
TONES = ("dataset=csv", "dataset.path=../../tones.csv")


class Workshop:
    """Makes honest inputs below a folder; several processes may share it.

    Inputs are made by the commands themselves. A case runs in ``folder/cases/NAME``, an honest run in
    ``folder/honest/NAME``, so that relative paths are the same in both.

    Args:
        folder: made if missing.
        server: runs commands.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        (folder / "honest").mkdir(parents=True, exist_ok=True)
        (folder / "cases").mkdir(exist_ok=True)

    @contextmanager
    def once(self, name: str) -> Iterator[Path | None]:
        """Yield the folder of an honest input to be made; ``None`` where it is made already."""
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            folder = self.folder / "honest" / name
            if (folder / "done").exists():
                yield None
                return
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            yield folder
            (folder / "done").touch()

    def must(self, command: Command) -> Done:
        """Run a command that must succeed."""
        (done,) = self.server.run(command)
        if done.code != 0:
            raise RuntimeError(f"{' '.join(command.words)} ended with {done.code}:\n{done.out}\n{done.err}")
        return done

    @property
    def corpus(self) -> Path:
        """Return the feature CSV: three genres of nine tracks, four slices each."""
        with self.once("corpus") as folder:
            if folder:
                from genregrid.twin.draw import draw_twin

                frame = draw_twin(num_tracks=100).frame
                frame = frame[frame["label"].isin(_GENRES)]
                index = frame["filename"].str.split(".").str[-2].astype(int)
                track = frame["filename"].str.rsplit(".", n=2).str[0]
                first = track.drop_duplicates().groupby(frame["label"]).head(9)
                frame = frame[(index < 4) & track.isin(first)]
                part = self.folder / "corpus.part"
                frame.to_csv(part, index=False)
                part.rename(self.folder / "corpus.csv")
        return self.folder / "corpus.csv"

    def run(self, model: str, *overrides: str, data: Sequence[str] = CORPUS) -> Path:
        """Return the folder of an honest run of a model."""
        if data is CORPUS:
            _ = self.corpus
        name = "-".join(["run", model, *overrides]).replace("/", "_")
        with self.once(name) as folder:
            if folder:
                words = [
                    "train",
                    f"model={model}",
                    *_QUICK,
                    "trainer.max_epochs=2",
                    *data,
                    *overrides,
                    "hydra.run.dir=out",
                ]
                self.must(Command(words, folder))
        return self.folder / "honest" / name / "out"

    def train_words(self, model: str, *overrides: str) -> list[str]:
        """Return the command of `run`."""
        return ["train", f"model={model}", *_QUICK, "trainer.max_epochs=2", *overrides, "hydra.run.dir=out"]

    def scored(self, model: str) -> dict[str, bytes]:
        """Return the numbers of an honest evaluation of the model's checkpoint."""
        checkpoint = self.run(model) / "checkpoint.ckpt"
        with self.once(f"scored-{model}") as folder:
            if folder:
                self.must(Command(["evaluate", f"checkpoint={checkpoint}", *CORPUS, "hydra.run.dir=out"], folder))
        return numbers_in(self.folder / "honest" / f"scored-{model}" / "out")

    @property
    def recordings(self) -> Path:
        """Return a folder of recordings of two genres; ``tones.csv`` beside ``corpus.csv`` has their descriptors."""
        with self.once("music") as folder:
            if folder:
                import soundfile

                for number in range(6):
                    for genre, hz in (("high", 2500.0), ("low", 200.0)):
                        random = np.random.default_rng([number, int(hz)])
                        seconds = np.arange(round(2.2 * 22_050)) / 22_050
                        wave = 0.4 * np.sin(2 * np.pi * hz * random.uniform(0.9, 1.1) * seconds)
                        path = folder / "music" / genre / f"song {number}.wav"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        soundfile.write(path, wave + 0.05 * random.standard_normal(len(wave)), 22_050)
                words = ["features", "music", "--slice", "0.5", "--out", "tones.csv", "--workers", "1"]
                self.must(Command(words, folder))
                for path in folder.glob("tones*"):
                    shutil.copy(path, self.folder / path.name)
        return self.folder / "honest" / "music" / "music"

    def listener(self) -> Path:
        """Return the checkpoint of a model that was trained on `recordings`."""
        _ = self.recordings
        return self.run("mlp", "slice=0.5", data=TONES) / "checkpoint.ckpt"

    @property
    def runs(self) -> Path:
        """Return a folder of four finished runs: two models on two folds."""
        _ = self.corpus
        with self.once("runs") as folder:
            if folder:
                for model in ("mlp", "logistic"):
                    for fold in (0, 1):
                        (folder / f"runs/{model}-{fold}").mkdir(parents=True)
                        words = [
                            *self.train_words(model, *CORPUS, f"split.fold={fold}"),
                            f"hydra.run.dir=runs/{model}-{fold}",
                        ]
                        self.must(Command(words, folder))
        return self.folder / "honest" / "runs" / "runs"

    def reported(self, *words: str) -> dict[str, bytes]:
        """Return the tables of an honest ``evaluate.py runs=runs`` or ``ensemble=[runs]``."""
        runs = self.runs
        name = "reported-" + words[0].split("=")[0]
        with self.once(name) as folder:
            if folder:
                shutil.copytree(runs, folder / "runs")
                self.must(Command(["evaluate", *words, "hydra.run.dir=out"], folder))
        return tables_in(self.folder / "honest" / name / "out")

    def interrupted(self, words: list[str], name: str, file: str) -> tuple[Path, dict[str, bytes], float]:
        """Return the folder that an interrupted command left, the tables of the unbroken one, and its seconds.

        Args:
            words: of the command, with ``hydra.run.dir=out``.
            name: of the input.
            file: below the folder; it exists as soon as the command can be resumed.
        """
        whole, seconds = self.unbroken(words, f"{name}-whole")
        with self.once(name) as folder:
            if folder:
                for attempt in range(40):
                    shutil.rmtree(folder / "out", ignore_errors=True)
                    share = 0.3 + 0.7 * ((attempt * 7) % 10) / 10
                    self.server.run(Command(words, folder, kill_after=seconds * share))
                    if (folder / file).is_file() and not list(folder.rglob("run.json")):
                        break
                else:
                    raise RuntimeError(f"{' '.join(words)} was never killed in time")
        return self.folder / "honest" / name / "out", whole, seconds

    def unbroken(
        self, words: list[str], name: str, before: Callable[[Path], object] = str
    ) -> tuple[dict[str, bytes], float]:
        """Return the tables and seconds of a command that nothing interrupts; `before` prepares its folder."""
        _ = self.corpus
        with self.once(name) as folder:
            if folder:
                before(folder)
                done = self.must(Command(words, folder))
                (folder / "seconds").write_text(str(done.seconds))
        folder = self.folder / "honest" / name
        return tables_in(folder / "out"), float((folder / "seconds").read_text())

    def case_folder(self, name: str) -> Path:
        """Return an empty folder for a case."""
        folder = self.folder / "cases" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


def numbers_in(folder: Path) -> dict[str, bytes]:
    """Return the numbers that a run folder holds, by file."""
    return {name: (folder / name).read_bytes() for name in NUMBERS if (folder / name).is_file()}


def tables_in(folder: Path) -> dict[str, bytes]:
    """Return every table below a folder, by file, but not the one that lists run folders and times."""
    paths = [*folder.rglob("*.csv"), *folder.rglob("metrics.json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(paths) if path.name != "runs.csv"}


def content_of(checkpoint: Path) -> dict[str, object]:
    """Return the content of a checkpoint."""
    content: dict[str, object] = torch.load(checkpoint, weights_only=True)
    return content


def environment() -> dict[str, str | None]:
    """Return variables for every command under test."""
    return {"GENREGRID_SECRET": SECRET, "WANDB_MODE": "offline"}
