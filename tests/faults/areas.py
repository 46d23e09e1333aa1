"""What is tried, area by area: each function makes case `number` of its area in an empty folder.

The number decides the kind of a case, so that a few cases of every kind run even if only the first ones are tried, and
`random`, seeded with it, decides the rest.
"""

import csv
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import torch
import yaml
from tests.faults import mutation
from tests.faults.mutation import (
    FILE_KINDS,
    TEXTS,
    bytes_mutated,
    csv_illegal,
    file_replaced,
    hostile_checkpoint,
    plain_mutated,
    read_cells,
    write_cells,
    zip_mutated,
)
from tests.faults.process import Command
from tests.faults.trial import Area, Trial
from tests.faults.workshop import CORPUS, Workshop, content_of, numbers_in, tables_in

NETWORKS = ("lstm", "mlp", "gru", "cnn", "transformer", "bilstm_attention", "set_mlp")
ESTIMATORS = (
    "logistic", "extra_trees", "boosting", "knn", "svm", "gmm", "kmeans", "lda", "gaussian", "kernel_ridge",
    "set_kernel", "lstm_svm", "lstm_knn",
)  # fmt: skip


def _scores(workshop: Workshop, model: str, how: str, folder: Path, **more: Any) -> Trial:
    """Return the trial that scores the checkpoint in `folder`."""
    words = ["evaluate", "checkpoint=x.ckpt", *CORPUS, "hydra.run.dir=out"]
    return Trial(f"{model}: {how}", [[Command(words, folder)]], workshop.scored(model), **more)


def checkpoint_files(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A checkpoint with damaged bytes, another kind of file, an attack, or a changed value besides the provenance."""
    model = random.choice(NETWORKS[:2] if number % 3 else NETWORKS)
    good, path = workshop.run(model) / "checkpoint.ckpt", folder / "x.ckpt"
    kind = number % 8
    if kind in (0, 1, 2):
        data, how = bytes_mutated(good.read_bytes(), random)
        path.write_bytes(data)
    elif kind == 3:
        shutil.copy(good, path)
        how = FILE_KINDS[number // 8 % len(FILE_KINDS)]
        file_replaced(path, how)
    elif kind == 4:
        how = hostile_checkpoint(content_of(good), random, path)
    else:
        content = content_of(good)
        under = (random.choice([*(["state_dict", "hyper_parameters"] * 3), *content]),)
        if under == ("genregrid",):
            under = ()
        changed, how, may_differ = plain_mutated(content, random, under)
        torch.save(changed, path)
        if may_differ:
            return _scores(workshop, model, how, folder, may_differ=True)
    return _scores(workshop, model, how, folder)


def provenance(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A checkpoint whose provenance was changed, with right CRCs."""
    model = random.choice(("lstm", "mlp", "logistic"))
    content = content_of(workshop.run(model) / "checkpoint.ckpt")
    keys = list(content["genregrid"])  # type: ignore[call-overload]
    key = keys[number % len(keys)]
    if number % 3 == 0:
        under: tuple[Any, ...] = ("genregrid", "config", random.choice(list(content["genregrid"]["config"])))  # type: ignore[index]
    elif number % 3 == 1:
        under = ("genregrid",)
    else:
        under = ("genregrid", key)
    changed, how, may_differ = plain_mutated(content, random, under)
    if how.startswith("replace everything"):
        changed = content
        new, how = mutation.value_mutated(content["genregrid"][key], random)  # type: ignore[index]
        changed["genregrid"][key] = new  # type: ignore[index]
        how = f"set genregrid.{key} to {how}"
    torch.save(changed, folder / "x.ckpt")
    return _scores(workshop, model, how, folder, may_differ=may_differ)


def estimators(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A checkpoint whose fitted estimator was changed inside, with right CRCs, or damaged."""
    model = ESTIMATORS[number % len(ESTIMATORS)]
    content: Any = content_of(workshop.run(model) / "checkpoint.ckpt")
    name = next(key for key in content["state_dict"] if key.endswith("_extra_state"))
    data = content["state_dict"][name].numpy().tobytes()
    if number // len(ESTIMATORS) % 4 == 3:
        data, how = bytes_mutated(data, random)
        may_differ = False
    else:
        data, how, may_differ = zip_mutated(data, random)
    content["state_dict"][name] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0)
    torch.save(content, folder / "x.ckpt")
    return _scores(workshop, model, how, folder, may_differ=may_differ)


def feature_csvs(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A feature CSV that breaks its contract, is laid out differently, or is damaged; a model is trained on it."""
    model = ("lda", "logistic")[number % 2]
    good, path = workshop.corpus, folder / "x.csv"
    words = workshop.train_words(model, "dataset=csv", "dataset.path=x.csv")
    honest = numbers_in(workshop.run(model))
    cells = read_cells(good)
    kind = number % 6
    more: dict[str, Any] = {}
    if kind in (0, 1):
        cells, how = csv_illegal(cells, random)
        write_cells(cells, path)
        more["must_fail"] = True
    elif kind == 2:
        how = _other_layout(good, path, random)
    elif kind == 3:
        data, how = bytes_mutated(good.read_bytes(), random)
        path.write_bytes(data)
        more["may_differ"] = True
    elif kind == 4 and number // 6 % 2:
        shutil.copy(good, path)
        how = FILE_KINDS[number // 12 % len(FILE_KINDS)]
        file_replaced(path, how)
        more["must_fail"] = True
    elif kind == 4:
        how = _huge_csv(cells, path, random)
        more["may_differ"] = True
    else:
        column = random.choice((0, cells[0].index("label")))
        text = random.choice(TEXTS)
        old = cells[random.randrange(1, len(cells))][column]
        if column:
            for row in cells[1:]:
                row[column] = text if row[column] == old else row[column]
        else:
            track = old.rsplit(".", 2)[0]
            for row in cells[1:]:
                row[0] = row[0].replace(track, text)
        how = f"{cells[0][column]} {old} becomes {text[:40]!r}"
        write_cells(cells, path)
        more["may_differ"] = True
    return Trial(f"{model}: {how}", [[Command(words, folder)]], honest, **more)


def _other_layout(good: Path, path: Path, random: Random) -> str:
    """Write the same table in another form."""
    text = good.read_text()
    kind = random.choice(
        ("BOM", "CRLF", "no last newline", "blank lines", "quotes", "column order", "more columns", "zeros")
    )
    if kind == "BOM":
        text = "\ufeff" + text
    elif kind == "CRLF":
        text = text.replace("\n", "\r\n")
    elif kind == "no last newline":
        text = text.rstrip("\n")
    elif kind == "blank lines":
        text = text.replace("\n", "\n\n")
    else:
        rows = [line.split(",") for line in text.splitlines()]
        if kind == "quotes":
            rows = [[f'"{cell}"' for cell in row] for row in rows]
        elif kind == "column order":
            order = list(range(len(rows[0])))
            random.shuffle(order)
            rows = [[row[column] for column in order] for row in rows]
        elif kind == "more columns":
            rows = [[*row, "mine" if number == 0 else "=1+1"] for number, row in enumerate(rows)]
        else:
            rows = [[f"{cell}0" if re.fullmatch(r"-?\d+\.\d+", cell) else cell for cell in row] for row in rows]
        text = "".join(",".join(row) + "\n" for row in rows)
    path.write_text(text, newline="")
    return f"the same table with {kind}"


def _huge_csv(cells: list[list[str]], path: Path, random: Random, kind: str | None = None) -> str:
    """Write a CSV with something huge in it."""
    kind = kind or random.choice(("columns", "header", "cell", "quote", "NULs", "line", "sparse", "rows"))
    if kind == "columns":
        cells = [
            [*row, *(f"c{n}" if index == 0 else "1" for n in range(1_000_000))] for index, row in enumerate(cells[:3])
        ]
        write_cells(cells, path)
    elif kind == "header":
        path.write_bytes(b"x" * 200_000_000 + b"\n1\n")
    elif kind in ("cell", "quote"):
        cells[2][0] = "x" * 3_000_000 if kind == "cell" else '"unclosed'
        path.write_text("".join(",".join(row) + "\n" for row in cells))
    elif kind in ("NULs", "line"):
        write_cells(cells, path)
        with path.open("ab") as file:
            file.write(bytes(1_000_000) if kind == "NULs" else b"," * 5_000_000)
    elif kind == "sparse":
        write_cells(cells, path)
        with path.open("r+b") as file:
            file.truncate(10 << 30)
    else:
        write_cells([cells[0], *cells[1:] * 300], path)
    return f"huge {kind}"


def notes_and_caches(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A damaged note of a recipe, or a damaged table in the cache."""
    words = workshop.train_words("lda", "dataset=csv", "dataset.path=x.csv")
    if number % 2:
        shutil.copy(workshop.corpus, folder / "x.csv")
        note = {"recipe": "kaggle-reflect", "slice_seconds": 3.0, "sha256": mutation.sha256_of(folder / "x.csv")}
        text = json.dumps(note)
        path = folder / "x.recipe.json"
        if number % 4 == 1:
            changed, how, _ = plain_mutated(note, random)
            path.write_text(json.dumps(changed))
        elif number % 8 == 3:
            path.write_text(text)
            how = FILE_KINDS[number // 8 % len(FILE_KINDS)]
            file_replaced(path, how)
        else:
            data, how = bytes_mutated(text.encode(), random)
            path.write_bytes(data)
        return Trial(f"note: {how}", [[Command(words, folder)]], numbers_in(workshop.run("lda")))
    shutil.copy(workshop.corpus, folder / "x.csv")
    words = [*words, "dataset.cache=temporary/cache"]
    workshop.must(Command(words, folder))
    shutil.rmtree(folder / "out")
    files = sorted(path for path in (folder / "temporary/cache").rglob("*") if path.is_file())
    path = random.choice(files)
    if number % 8 == 0:
        how = FILE_KINDS[number // 8 % len(FILE_KINDS)]
        file_replaced(path, how)
    elif number % 8 == 4 and path.suffix == ".json":
        content, how, _ = plain_mutated(json.loads(path.read_text()), random)
        path.write_text(json.dumps(content))
    else:
        data, how = bytes_mutated(path.read_bytes(), random)
        path.write_bytes(data)
    return Trial(f"cache, {path.name}: {how}", [[Command(words, folder)]], numbers_in(workshop.run("lda")))


def recordings(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A damaged recording, or one whose header lies, alone or in a folder; it is scored or described."""
    import soundfile

    good = sorted(workshop.recordings.rglob("*.wav"))
    samples, rate = soundfile.read(good[0])
    suffix = ("wav", "flac", "ogg", "mp3", "wav", "aiff")[number % 6]
    path = folder / "music" / "high" / f"x.{suffix}"
    path.parent.mkdir(parents=True)
    soundfile.write(path, samples, rate)
    data = bytearray(path.read_bytes())
    if number % 3 == 0:  # the header only
        at = random.randrange(min(len(data), 64))
        data[at : at + 4] = random.choice((b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x80", random.randbytes(4)))
        how = f"{suffix}: four bytes of the header at {at}"
        path.write_bytes(data)
    elif number % 3 == 1:
        changed, how = bytes_mutated(bytes(data), random)
        path.write_bytes(changed)
        how = f"{suffix}: {how}"
    else:
        kinds = (*FILE_KINDS, "one sample", "1024 channels", "8 channels", "silence", "full scale", "rate 1", "name")
        kind = kinds[number // 3 % len(kinds)]
        how = f"{suffix}: {kind}"
        _special_recording(path, kind, samples, rate)
    if number // 3 % 2:
        for other in good[:2]:
            target = folder / "music" / other.parent.name / other.name
            target.parent.mkdir(exist_ok=True)
            shutil.copy(other, target)
        (folder / "out").mkdir()
        words = ["features", "music", "--slice", "0.5", "--out", "out/f.csv", "--workers", "1"]
        return Trial(f"features of {how}", [[Command(words, folder)]], codes=(0, 3))
    listener = workshop.listener()
    audio = path.parent if random.random() < 0.5 else path
    words = ["evaluate", f"checkpoint={listener}", f"audio={audio.relative_to(folder)}", "hydra.run.dir=out"]
    return Trial(f"scores of {how}", [[Command(words, folder)]], codes=(0, 2), skips=True)


def _special_recording(path: Path, kind: str, samples: Any, rate: int) -> None:
    import numpy as np
    import soundfile

    if kind in FILE_KINDS:
        file_replaced(path, kind)
        return
    path = path.with_suffix(".wav")
    if kind == "one sample":
        soundfile.write(path, samples[:1], rate)
    elif kind.endswith("channels"):
        soundfile.write(path, np.repeat(samples[:, None], int(kind.split()[0]), axis=1), rate)
    elif kind == "silence":
        soundfile.write(path, np.zeros_like(samples), rate)
    elif kind == "full scale":
        soundfile.write(path, np.where(samples > 0, 1e30, -1e30), rate, subtype="FLOAT")
    elif kind == "rate 1":
        soundfile.write(path, samples, 1)
    else:
        soundfile.write(path.with_name("=1+1 \x1b[31m\n\u202e.wav"), samples, rate)


def run_folders(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A run folder with a damaged or changed file; its runs are reported, or vote."""
    words = (["runs=runs"], ["ensemble=[runs]"])[number % 2]
    honest = workshop.reported(*words)
    shutil.copytree(workshop.runs, folder / "runs")
    run = folder / "runs" / random.choice(("mlp-0", "mlp-1", "logistic-0"))
    names = ["run.json", "run.json", "config.yaml", "predictions.csv", "predictions.csv", "timeline.csv", "curves.csv"]
    names += ["predictions_val.csv", "split.csv", "metrics.json"]
    path = run / random.choice([name for name in names if (run / name).is_file()])
    kind, may_differ = number // 2 % 4, False
    if kind == 0:
        data, how = bytes_mutated(path.read_bytes(), random)
        path.write_bytes(data)
    elif kind == 1 and number // 8 % 2:
        how = FILE_KINDS[number // 16 % len(FILE_KINDS)]
        file_replaced(path, how)
    elif kind == 1:
        path = run / "config.yaml"
        how = _hostile_yaml(path, random)
    elif path.suffix == ".csv":
        cells = read_cells(path)
        row, column = random.randrange(len(cells)), random.randrange(len(cells[0]))
        new = random.choice((*TEXTS, *map(str, mutation.NUMBERS)))
        how = f"row {row + 1}, column {column + 1} becomes {new[:40]!r}"
        cells[row][column] = new
        if random.random() < 0.2:
            cells, how = cells[:1], "header only"
        write_cells(cells, path)
    else:
        text = path.read_text()
        content, how, _ = plain_mutated(yaml.safe_load(text), random)
        path.write_text(json.dumps(content, default=str) if path.suffix == ".json" else yaml.safe_dump(content))
        may_differ = path.name in ("run.json", "config.yaml")
    names = [f"{run.name}", path.name]
    return Trial(
        f"{words[0].split('=')[0]} of {run.name}/{path.name}: {how}",
        [[Command(["evaluate", *words, "hydra.run.dir=out"], folder)]],
        honest,
        may_differ=may_differ,
        names=names,
        read=_tables,
    )


def _tables(folder: Path) -> dict[str, bytes]:
    return tables_in(folder / "out")


def _hostile_yaml(path: Path, random: Random, kind: str | None = None) -> str:
    """Write a config.yaml that is none."""
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
    bomb += "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))
    texts = {
        "bomb": bomb,
        "half": path.read_text()[: path.stat().st_size // 2] + "\n  - {",
        "NULs": "a: b\0c\n",
        "UTF-16": path.read_text().encode("utf-16"),
        "list": "[1, 2]\n",
        "number": "3\n",
        "tag": "!!python/object/apply:os.system ['touch ran']\n",
        "deep": "[" * 3000 + "]" * 3000,
        "tabs": "a:\n\tb: 1\n",
        "two documents": "a: 1\n---\nb: 2\n",
        "resolver": "dataset: {root: '${oc.env:GENREGRID_SECRET}', corpus: '${oc.env:GENREGRID_SECRET}'}\n",
        "merge": "dataset:\n  <<: *nothing\n",
        "recursion": "dataset: &d {corpus: *d}\n",
        "root": "dataset: {root: /, corpus: gtzan, name: x, tables: ['../../etc/passwd']}\n",
    }
    kind = kind or random.choice(sorted(texts))
    content = texts[kind]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"config.yaml with {kind}"


def resume_files(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """An interrupted training, stacked or not, whose last checkpoint or folder was damaged, is resumed."""
    stacked = number % 3 == 2
    epochs = ("trainer.checkpoint_seconds=0", "trainer.max_epochs=60" if stacked else "trainer.max_epochs=25")
    if stacked:
        words = ["stack", "model=mlp", "logger=none", "trainer.accelerator=cpu", "split.folds=3", *CORPUS, *epochs]
        file = "out/0/stack.ckpt"
        left, whole, _ = workshop.interrupted(words, "stack-left", file)
    else:
        words = workshop.train_words("lstm", *CORPUS, *epochs)
        file = "out/last.ckpt"
        left, whole, _ = workshop.interrupted(words, "train-left", file)
    shutil.copytree(left, folder / "out")
    path = folder / file
    if number % 9 == 8 or (number % 9 == 4 and not stacked):
        path = folder / ("out/checkpoint.ckpt" if not stacked else file)
    kind, may_differ = number // 3 % 4, False
    if kind == 0:
        data, how = bytes_mutated(path.read_bytes(), random)
        path.write_bytes(data)
    elif kind == 1 and number // 12 % 2:
        how = FILE_KINDS[number // 24 % len(FILE_KINDS)]
        file_replaced(path, how)
    elif kind == 1:
        content = content_of(path)
        kinds = ("payload", "plain pickle", "garbage after", "another project", "empty dict", "a list", "old format")
        how = hostile_checkpoint(content, random, path, random.choice(kinds))
    else:
        changed, how, may_differ = plain_mutated(content_of(path), random)
        torch.save(changed, path)
    step = [Command([*words, "resume=true"], folder)]
    return Trial(f"{path.name}: {how}", [step], whole, read=_tables, may_differ=may_differ)


#: Variables of the environment that schedulers, shells and libraries read.
_VARIABLES: tuple[dict[str, str | None], ...] = (
    {"LOCAL_RANK": "1"},
    {"LOCAL_RANK": "x"},
    {"LOCAL_RANK": ""},
    {"RANK": "3", "WORLD_SIZE": "4"},
    {"NODE_RANK": "1"},
    {"GROUP_RANK": "2"},
    {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1"},
    {"SLURM_NTASKS": "2", "SLURM_JOB_ID": "1", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_JOB_NAME": "x"},
    {"SLURM_JOB_ID": "1", "SLURM_PROCID": "1"},
    {"MASTER_ADDR": "nowhere.invalid", "MASTER_PORT": "1"},
    {"TORCHELASTIC_RUN_ID": "1", "RANK": "1"},
    {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"},
    {"PMI_RANK": "1", "PMI_SIZE": "2"},
    {"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2"},
    {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere"},
    {"KUBERNETES_PORT": "tcp://127.0.0.1:443"},
    {"PL_GLOBAL_SEED": "7"},
    {"PL_GLOBAL_SEED": "x"},
    {"PL_SEED_WORKERS": "x"},
    {"CUDA_VISIBLE_DEVICES": "x"},
    {"MPLBACKEND": "nonsense"},
    {"MPLCONFIGDIR": "/proc/nowhere"},
    {"HOME": "/nowhere"},
    {"HOME": None, "USER": None, "LOGNAME": None},
    {"TMPDIR": "/nowhere"},
    {"LANG": "xx_YY", "LC_ALL": "xx_YY"},
    {"TZ": "Nowhere/City"},
    {"COLUMNS": "0", "LINES": "x"},
    {"TERM": "dumb", "NO_COLOR": "1"},
    {"HYDRA_FULL_ERROR": "x"},
    {"GENREGRID_DATA": ""},
    {"GENREGRID_DATA": "/dev/null"},
    {"GENREGRID_DATA": "${oc.env:GENREGRID_SECRET}"},
    {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "0", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
    {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
    {"PATH": ""},
    {"GIT_DIR": "/nowhere"},
    {"GIT_CEILING_DIRECTORIES": "/"},
    {"SOURCE_DATE_EPOCH": "x"},
    {"OMP_NUM_THREADS": "x"},
    {"OMP_NUM_THREADS": "100000"},
    {"WANDB_MODE": "nonsense"},
)
_KEYS = (
    "slice", "window", "hop_slices", "batch_size", "seed", "resume", "trainer.max_epochs", "trainer.patience",
    "trainer.accelerator", "trainer.devices", "trainer.strategy", "trainer.precision", "trainer.gradient_clip_val",
    "trainer.threads", "trainer.stack", "trainer.checkpoint_seconds", "split.folds", "split.fold", "split.val_folds",
    "split.val_fold", "split.seed", "split.allow_leak", "split.protocol", "split.label", "dataset.path",
    "dataset.genres", "dataset.label", "dataset.name", "dataset.corpus", "dataset.recipe", "dataset.root",
    "dataset.tables", "dataset.cache", "dataset.artists", "dataset.table_slice_seconds", "dataset.include_length",
    "dataset.num_tracks", "dataset.hint", "model", "model._target_", "model.hidden_size", "model.learning_rate",
    "model.dropout", "model.weight_decay", "model.transform", "model.label_smoothing", "model.mixup", "dataset",
    "split", "logger", "launcher", "experiment", "sweep", "hydra.run.dir",
)  # fmt: skip
_VALUES = (
    "-1", "0", "0.5", "1e30", "1e400", "nan", "inf", "-inf", "null", "true", "''", "[]", "{}", "[1,2]", "x", "tpu",
    "9999999999999999999", "../../escaped", "/nowhere/x", "'a b'", "'\u202e'", "'\x1b[31m'", "'=1+1'", "${nothing}",
    "\\${oc.env:GENREGRID_SECRET}", "${", "[", "'", "x" * 3000, "{a: 1}", "2", "10000",
    "1.0", "0x10", "1_000",
)  # fmt: skip


def environment_and_command_line(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """Variables of the environment, closed streams, values of settings: a model is trained, or a checkpoint scored."""
    _ = workshop.corpus
    if number % 2:
        key = _KEYS[number // 2 % len(_KEYS)]
        value = random.choice([value for value in _VALUES if key != "trainer.max_epochs" or len(value) < 4])
        words = [*workshop.train_words("mlp", *CORPUS), f"{key}={value}"]
        if key == "hydra.run.dir":
            words = [word for word in words if word != "hydra.run.dir=out"]
        outside = key in ("hydra.run.dir", "dataset.cache", "experiment")
        command = Command(words, folder)
        return Trial(f"{key}={value[:60]!r}", [[command]], anywhere=outside)
    variables = _VARIABLES[number // 2 % len(_VARIABLES)]
    closed: tuple[int, ...] = ()
    if number // 2 % 7 == 6:
        variables, closed = {}, random.choice(((1,), (2,), (0, 1, 2), (0,)))
    how = f"{variables} {f'closed streams {closed}' if closed else ''}"
    if number // 2 % 3:
        words, honest = workshop.train_words("mlp", *CORPUS), numbers_in(workshop.run("mlp"))
    else:
        words = ["evaluate", f"checkpoint={workshop.run('lstm')}/checkpoint.ckpt", *CORPUS, "hydra.run.dir=out"]
        honest = workshop.scored("lstm")
    return Trial(how, [[Command(words, folder, environment=variables, closed=closed)]], honest)


_EPOCHS = ("trainer.checkpoint_seconds=0", "trainer.max_epochs=15")
_PLAIN = ("logger=none", "trainer.accelerator=cpu", "split.folds=3", *CORPUS)


def _killable(workshop: Workshop, name: str) -> tuple[list[str], list[str]]:
    """Return a command that may be killed, and the one that resumes it."""
    grid = ["train", "-m", "model=mlp", "seed=0,1", *_PLAIN, *_EPOCHS, "hydra.sweep.dir=out"]
    words = {
        "train": workshop.train_words("lstm", *CORPUS, *_EPOCHS),
        "estimator": workshop.train_words("logistic", *CORPUS),
        "grid": grid,
        "stack": ["stack", "model=mlp", *_PLAIN, *_EPOCHS],
        "local grid": [*grid, "launcher=local", "hydra.launcher.workers=2"],
        "stacked grid": [*grid, "launcher=local", "hydra.launcher.workers=1", "trainer.stack=2"],
        "search": [*grid[:3], *grid[4:], "sweep=optuna", "search.num_trials=3"],
        "features": ["features", "../../honest/music/music", "--slice", "0.5,1", "--out", "out", "--workers", "1"],
        "report": ["evaluate", "runs=runs", "hydra.run.dir=out"],
        "vote": ["evaluate", "ensemble=[runs]", "hydra.run.dir=out"],
        "evaluation": ["evaluate", "checkpoint=../../honest/run-lstm/out", *CORPUS, "hydra.run.dir=out"],
    }[name]
    return words, [*words, "resume=true"] if words[0] in ("train", "stack") else words


def _prepare(workshop: Workshop, name: str, folder: Path) -> None:
    """Put what a command of `_killable` reads into its folder."""
    if name in ("report", "vote"):
        shutil.copytree(workshop.runs, folder / "runs")
    elif name == "features":
        _ = workshop.recordings
    elif name == "evaluation":
        workshop.run("lstm")


def _unbroken(workshop: Workshop, name: str) -> tuple[Mapping[str, bytes], float]:
    """Return the tables and seconds of a command of `_killable` that nothing disturbs."""
    words, _ = _killable(workshop, name)
    return workshop.unbroken(words, f"unbroken-{name}", lambda folder: _prepare(workshop, name, folder))


def _kill(workshop: Workshop, random: Random, name: str, folder: Path) -> Trial:
    """Return the trial of a command that gets SIGKILL, with all its processes, and runs again."""
    whole, seconds = _unbroken(workshop, name)
    read: Callable[[Path], Mapping[str, bytes]] = _tables
    if name == "search":
        whole, read = _trials(workshop.folder / "honest" / f"unbroken-{name}"), _trials
    _prepare(workshop, name, folder)
    words, again = _killable(workshop, name)
    moments = [random.uniform(0.05, 1.0) * seconds for _ in range(random.choice((1, 1, 2, 3)))]
    steps = [[Command(again if index else words, folder, kill_after=end)] for index, end in enumerate(moments)]
    steps.append([Command(again, folder, seconds=600, cpu_seconds=200)])
    when = ", ".join(f"{moment:.2f}" for moment in moments)
    how = f"{name} killed after {when} s of {seconds:.2f} s"
    return Trial(how, steps, whole, read=read, codes=(0, 3), killed=True)


def _trials(folder: Path) -> dict[str, bytes]:
    """Return the number of finished trials, and settings and score of the first; trials also have numbers and times."""
    with (folder / "out/trials.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["state"] in ("finished", "pruned")]
    return {"number": str(len(rows)).encode(), "first": f"{rows[0]['settings']} {rows[0]['value']}".encode()}


def kills(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A command that gets SIGKILL at a random moment, and runs again: the same bytes as without it."""
    names = ("train", "grid", "stack", "features", "report", "estimator", "evaluation", "vote")
    return _kill(workshop, random, names[number % len(names)], folder)


def kills_of_grids(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """A grid of several processes, a stacked grid or a search that gets SIGKILL, and runs again."""
    names = ("local grid", "stacked grid", "search")
    return _kill(workshop, random, names[number % len(names)], folder)


def clocks(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """The system's clock jumps, forwards and backwards, while a command runs."""
    name = ("train", "grid", "stack", "features", "report")[number % 5]
    whole, _ = _unbroken(workshop, name)
    _prepare(workshop, name, folder)
    words, _ = _killable(workshop, name)
    jumps = [random.choice((-1e9, -86_400.0, -1.0, 3600.0, 1e9, 2e9)) for _ in range(3)]
    setup = (
        "import time\n"
        f"jumps, real, calls = {jumps}, time.time, [0]\n"
        "def jumped():\n"
        "    calls[0] += 1\n"
        "    return max(0.0, real() + jumps[calls[0] // 3 % 3])\n"
        "time.time = jumped\n"
    )
    return Trial(f"{name} with clock jumps {jumps}", [[Command(words, folder, setup=setup)]], whole, read=_tables)


def full_disks(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """No file can grow over a size while a command runs, as on a full disk; then there is room, and it runs again."""
    name = ("train", "grid", "stack", "features", "report", "evaluation")[number % 6]
    whole, _ = _unbroken(workshop, name)
    _prepare(workshop, name, folder)
    words, again = _killable(workshop, name)
    most = random.choice((2000, 5000, 20_000, 100_000, 500_000))  # what it prints is limited too
    full = Command(words, folder, file_bytes=most)
    steps = [[full], [Command(again, folder)]]
    how = f"{name} without room for {most} bytes, then with room"
    # a grid prints a sentence for each job
    return Trial(how, steps, whole, read=_tables, killed=True, codes=(0, 3), judge_all=True, skips=name == "grid")


def crowds(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """Twenty times the same command at once in one folder."""
    name = ("train", "estimator", "features", "report", "grid", "evaluation")[number % 6]
    whole, _ = _unbroken(workshop, name)
    _prepare(workshop, name, folder)
    words, _ = _killable(workshop, name)
    crowd = [Command(words, folder, seconds=900, cpu_seconds=120) for _ in range(20)]
    return Trial(f"{name} twenty times at once", [crowd], whole, read=_tables, codes=(0, 3), skips=name == "grid")


#: Checkpoints of `hostile_checkpoint`, CSVs of `_huge_csv` and others whose memory and time must stay bounded.
BOUNDS = (
    *(("checkpoint", kind) for kind in ("zip bomb", "huge storage", "huge size", "million layers", "million tracks")),
    *(("csv", kind) for kind in ("sparse", "columns", "header", "cell", "quote", "NULs", "line", "rows")),
    *(("recording", kind) for kind in ("4 h FLAC", "8 channels", "1024 channels", "sparse 4 GiB wav")),
    *(("run", kind) for kind in ("bomb", "deep")),
    ("command", "trainer.threads=10000"),
)


def bounds(workshop: Workshop, random: Random, number: int, folder: Path) -> Trial:
    """Small inputs that ask for much memory or time: `BOUNDS`, one after another."""
    what, kind = BOUNDS[number % len(BOUNDS)]
    # four hours of audio take minutes to describe
    how, limits = f"{what}: {kind}", {"seconds": 3600, "cpu_seconds": 900 if what == "recording" else 60}
    if what == "checkpoint":
        content = content_of(workshop.run("lstm") / "checkpoint.ckpt")
        hostile_checkpoint(content, random, folder / "x.ckpt", kind)
        words = ["evaluate", "checkpoint=x.ckpt", *CORPUS, "hydra.run.dir=out"]
    elif what == "csv":
        _huge_csv(read_cells(workshop.corpus), folder / "x.csv", random, kind)
        words = workshop.train_words("lda", "dataset=csv", "dataset.path=x.csv")
    elif what == "recording":
        path = _long_recording(folder, kind)
        words = ["evaluate", f"checkpoint={workshop.listener()}", f"audio={path.name}", "hydra.run.dir=out"]
    elif what == "run":
        shutil.copytree(workshop.runs, folder / "runs")
        _hostile_yaml(folder / "runs/mlp-0/config.yaml", random, kind)
        words = ["evaluate", "runs=runs", "hydra.run.dir=out"]
    else:
        words = [*workshop.train_words("mlp", *CORPUS), kind]
    return Trial(how, [[Command(words, folder, **limits)]], skips=True)  # type: ignore[arg-type]


def _long_recording(folder: Path, kind: str) -> Path:
    """Write a recording that is small as a file and large in memory."""
    import numpy as np
    import soundfile

    rate, channels, seconds = {
        "4 h FLAC": (22_050, 1, 4 * 3600),
        "8 channels": (44_100, 8, 400),
        "1024 channels": (22_050, 1024, 20),
        "sparse 4 GiB wav": (44_100, 2, 1),
    }[kind]
    path = folder / ("x.wav" if channels > 8 or "wav" in kind else "x.flac")
    block = 0.1 * np.random.default_rng(0).standard_normal((rate, channels))
    if "FLAC" in kind:
        block = np.round(8 * block) / 8  # compresses to 36 MB
    with soundfile.SoundFile(path, "w", rate, channels) as file:
        for _ in range(seconds):
            file.write(block)
    if "sparse" in kind:
        with path.open("r+b") as raw:
            raw.truncate((4 << 30) - 8)
            for at in (4, 40):  # the sizes in the header
                raw.seek(at)
                raw.write(((4 << 30) - 8 - at - 4).to_bytes(4, "little"))
    return path


AREAS: dict[str, Area] = {
    "checkpoints": checkpoint_files,
    "provenance": provenance,
    "estimators": estimators,
    "csvs": feature_csvs,
    "caches": notes_and_caches,
    "recordings": recordings,
    "runs": run_folders,
    "resume": resume_files,
    "environment": environment_and_command_line,
    "kills": kills,
}
#: Areas that take longer, for benchmarks/torture.py only.
LONG_AREAS: dict[str, Area] = {
    "grids": kills_of_grids,
    "clocks": clocks,
    "disks": full_disks,
    "crowds": crowds,
    "bounds": bounds,
}


def first_cases(**counts: int) -> list[tuple[str, int]]:
    """Return area and number of the first cases of each area."""
    return [(area, number) for area, count in counts.items() for number in range(count)]
