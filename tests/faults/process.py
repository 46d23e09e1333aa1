"""Run the real commands in forked processes, with limits, and note how each one ended and what it touched.

A `Server` is one Python process that has imported torch, Lightning and genregrid. For each command it forks itself, so
that a command costs a tenth of a second instead of six seconds of imports, and a crash, a hang or a full memory ends
the forked process only. The forked process runs the same function as ``python train.py``.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
#: Modules that commands import; imported once in the server.
_IMPORTS = (
    "genregrid.cli.script",
    "genregrid.cli.train",
    "genregrid.cli.evaluate",
    "genregrid.training.run",
    "genregrid.search.trial",
    "genregrid.report.writer",
    "genregrid.report.ensemble",
    "genregrid.listening.score",
    "genregrid.features.command",
    "genregrid.features.extraction",
    "genregrid.grid.progress",
    "hydra_plugins.genregrid_sweeper",
    "hydra_plugins.genregrid_launcher",
    "lightgbm",
    "matplotlib.pyplot",
    "sklearn.ensemble",
    "sklearn.svm",
    "sklearn.neighbors",
)
#: What a forked process may write besides its own folder; files of the system and of packages' caches.
_HARMLESS = ("/dev/", "/proc/", "/sys/")


@dataclass(frozen=True)
class Command:
    """One command: a script and its arguments, and what surrounds it.

    Attributes:
        words: ``train``, ``evaluate`` or ``features``, and arguments.
        folder: the working folder, the only one in which the command may write.
        environment: variables that are added; ``None`` removes one.
        seconds: of the wall clock after which it counts as hanging.
        cpu_seconds: of computing after which the system ends it.
        memory_bytes: of address space that it may have.
        file_bytes: largest size of a file that it may write; ``None``: no limit.
        kill_after: seconds after which it gets SIGKILL, with all its processes; ``None``: never.
        closed: numbers of the standard streams that are closed when it starts.
        setup: Python code that the process runs first.
    """

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str | None] = field(default_factory=dict)
    seconds: float = 120.0
    cpu_seconds: int = 40
    memory_bytes: int = 12 << 30
    file_bytes: int | None = None
    kill_after: float | None = None
    closed: Sequence[int] = ()
    setup: str = ""


@dataclass(frozen=True)
class Done:
    """How a command ended.

    Attributes:
        code: exit code; negative: the signal that ended it.
        hung: whether it was ended because its time was over.
        killed: whether it was ended by `Command.kill_after`.
        seconds: of the wall clock.
        peak_bytes: largest resident memory, about 0.4 GB of it imports.
        out: standard output.
        err: standard error.
        touched: files that it wrote outside of its folder, hosts that it asked for, programs that it started.
    """

    code: int
    hung: bool
    killed: bool
    seconds: float
    peak_bytes: int
    out: str
    err: str
    touched: list[str]


class Server:
    """A process that has imported everything, and forks itself for each command.

    Args:
        folder: for its notes; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        plain = {"MPLCONFIGDIR": str(folder / "matplotlib"), "WANDB_MODE": "offline", "PYTHONDONTWRITEBYTECODE": "1"}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GENREGRID_")}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment | threads | plain,
            text=True,
            cwd=folder,
        )

    def run(self, *commands: Command) -> list[Done]:
        """Run commands at the same time, and return how each one ended."""
        request = [asdict(one) | {"words": list(one.words), "folder": str(one.folder)} for one in commands]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the server ended with {self._process.wait()}")
        return [Done(**one) for one in json.loads(answer)]

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def serve() -> None:
    """Answer requests, one a line, until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an import prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the process that asks
    sys.path[:] = [str(ROOT / "src"), *(path for path in sys.path if Path(path) != Path(__file__).parent)]
    for name in _IMPORTS:
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("genregrid"):
                raise
    _warm_up()
    for line in sys.stdin:
        answers.write(json.dumps(_run_all(json.loads(line))) + "\n")
        answers.flush()


def _warm_up() -> None:
    """Parse configurations once: Hydra's parser keeps what it learns."""
    from hydra import compose, initialize_config_dir

    from genregrid.config import register_schemas

    register_schemas()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for model in ("lstm", "mlp", "logistic"):
            compose("train", [f"model={model}", "dataset=csv", "dataset.path=x.csv", "logger=none", "slice=3"])
        compose("evaluate", ["checkpoint=x.ckpt"])


def _run_all(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    children = [_start(request) for request in requests]
    return [_wait(child, request) for child, request in zip(children, requests, strict=True)]


def _start(request: dict[str, Any]) -> dict[str, Any]:
    streams = [os.memfd_create(name) for name in ("out", "err", "touched")]
    pid = os.fork()
    if pid == 0:
        _child(request, *streams)
    return {"pid": pid, "streams": streams, "started": time.monotonic()}


def _wait(child: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """Wait for a child; kill its process group at the time that the request names, or when its time is over."""
    pid, started = child["pid"], child["started"]
    waiting = select.poll()
    descriptor = os.pidfd_open(pid)
    waiting.register(descriptor, select.POLLIN)
    kill_after, limit = request["kill_after"], request["seconds"]
    seconds = limit if kill_after is None else min(limit, kill_after)
    left = max(0.0, started + seconds - time.monotonic())
    over = not waiting.poll(1000 * left)
    if over:
        _kill_group(pid)
    _, status, usage = os.wait4(pid, 0)
    _kill_group(pid)  # processes that it started and left
    os.close(descriptor)
    texts = []
    for stream in child["streams"]:
        os.lseek(stream, 0, os.SEEK_SET)
        with os.fdopen(stream, "rb") as file:
            texts.append(file.read(200_000).decode("utf-8", "replace"))
    return {
        "code": os.waitstatus_to_exitcode(status),
        "hung": over and kill_after is None,
        "killed": over and kill_after is not None,
        "seconds": time.monotonic() - started,
        "peak_bytes": 1024 * usage.ru_maxrss,
        "out": texts[0],
        "err": texts[1],
        "touched": sorted(set(texts[2].splitlines())),
    }


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        os.kill(pid, signal.SIGKILL)


def _child(request: dict[str, Any], out: int, err: int, touched: int) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        folder = Path(request["folder"]).resolve()
        os.chdir(folder)
        _set_environment(folder, request["environment"])
        _set_limits(request)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # as at a start
        for name, number in (("stdout", 1), ("stderr", 2)):
            setattr(sys, name, open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))  # noqa: SIM115
        for number in request["closed"]:
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
        _watch(folder, touched)
        exec(request["setup"], {})
        code = _run(request["words"])
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                code = code or 120  # as Python does
        os._exit(code)


def _run(words: list[str]) -> int:
    """Run a command as its script does; return the exit code."""
    name, arguments = words[0], words[1:]
    try:
        if name == "features":
            from genregrid.features.__main__ import main

            sys.argv = ["features", *arguments]
            return main(arguments)
        if name == "stack":
            return _stack(arguments)
        from genregrid.cli.start import start

        sys.argv = [str(ROOT / f"{name}.py"), *arguments]
        start(name, ROOT / "conf")
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)
        return 1


def _stack(overrides: list[str]) -> int:
    """Train seeds 0 and 1 of a cell as one computation, as a worker of launcher=local does, into out/0 and out/1."""
    from hydra import compose, initialize_config_dir

    from genregrid.config import register_schemas
    from genregrid.errors import command
    from genregrid.training.corpus_reader import CorpusReader
    from genregrid.training.run import finished_before, train, train_together

    @command()
    def run() -> None:
        register_schemas()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            configs = [compose("train", [*overrides, f"seed={seed}", "trainer.stack=2"]) for seed in (0, 1)]
        corpora = CorpusReader()
        jobs = [(cfg, Path("out") / str(seed), "mlp") for seed, cfg in enumerate(configs)]
        fitted = train_together(jobs, corpora)
        unfinished = [job for job in jobs if not (job[0].resume and finished_before(*job, corpora))]
        if unfinished and len(fitted) != len(jobs):
            raise RuntimeError("the fits were not stacked")
        for cfg, folder, name in unfinished:
            train(cfg, folder, name, corpora, fitted)

    return run()


def _set_environment(folder: Path, changes: dict[str, str | None]) -> None:
    for name in ("home", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    tempfile.tempdir = None  # it was chosen before TMPDIR was set
    os.environ |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary")}
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _set_limits(request: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (request["memory_bytes"], request["memory_bytes"]))
    resource.setrlimit(resource.RLIMIT_CPU, (request["cpu_seconds"], request["cpu_seconds"] + 5))
    if request["file_bytes"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing then fails with EFBIG, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_bytes"], request["file_bytes"]))


def _watch(folder: Path, touched: int) -> None:
    """Note what Python code of this process writes outside of its folder, asks the network for, or starts."""
    allowed = (str(folder), *_HARMLESS, os.environ.get("MPLCONFIGDIR", str(folder)))

    def note(text: str) -> None:
        os.write(touched, text[:500].encode("utf-8", "replace") + b"\n")

    def outside(path: Any) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        whole = os.path.realpath(os.fsdecode(path))
        return not whole.startswith(allowed)

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = details
            writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(flags, int) else False
            writes = writes or (isinstance(mode, str) and any(letter in mode for letter in "wax+"))
            if writes and outside(path):
                note(f"wrote {path!r}")
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename", "os.symlink", "os.link", "shutil.rmtree"):
            if any(outside(path) for path in details[:2]):
                note(f"{event} {details[:2]!r}")
        elif event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
            if not str(details[-1] if event == "socket.connect" else details[0]).startswith(("/", "b'/")):
                note(f"{event} {details[-1] if event == 'socket.connect' else details[0]!r}")
        elif event == "os.system" or (event == "subprocess.Popen" and not _is_known(details[1])):
            note(f"{event} {details[:2]!r}")

    sys.addaudithook(hook)


def _is_known(arguments: Any) -> bool:
    """Return whether a program is one that genregrid, torch or multiprocessing start: git, uname, Python itself."""
    words = [arguments] if isinstance(arguments, str | bytes) else list(arguments)
    return Path(os.fsdecode(words[0])).name in (
        "git",
        "uname",
        "lscpu",
        "sysctl",
        "nvidia-smi",
        Path(sys.executable).name,
    )


if __name__ == "__main__":
    serve()
