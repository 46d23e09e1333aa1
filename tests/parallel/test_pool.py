"""Claims about `genregrid.parallel.pool`: an ended process costs its own task only, and nothing is left running."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from genregrid.parallel.pool import Pool

pytestmark = pytest.mark.slow  # each test starts processes


def work(folder: Path, name: str) -> tuple[str, int]:
    """Record each attempt in a file; the name decides what happens."""
    with (folder / name).open("a") as file:
        file.write("attempt\n")
    if name == "deadly" or (name == "deadly-once" and len((folder / name).read_text().splitlines()) == 1):
        os._exit(3)
    if name == "after-all":
        assert (folder / "long").exists()
    if name.startswith("long"):
        time.sleep(1.5)
    return name, os.getpid()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, int | None]]:
    """`run("a", "b")` is the process of each task, or ``None`` for tasks that ended theirs, in order of the results."""

    def run_tasks(*names: str, num_workers: int = 2, ahead: int = 2) -> dict[str, int | None]:
        pool = Pool(partial(work, tmp_path), num_workers, ahead=ahead, hint="")
        results = list(pool.run(names))
        assert len(results) == len(names)
        assert all(result is None or result[0] == name for name, result in results)
        return {name: result and result[1] for name, result in results}

    return run_tasks


def attempts(folder: Path) -> dict[str, int]:
    return {path.name: len(path.read_text().splitlines()) for path in folder.iterdir()}


def test_each_task_has_its_result_from_one_of_two_processes(run: Callable[..., dict[str, int | None]]) -> None:
    results = run(*map(str, range(8)))
    assert set(results) == set(map(str, range(8)))
    assert len(set(results.values())) <= 2
    assert os.getpid() not in results.values()


@pytest.mark.parametrize("ahead", [1, 2])
def test_a_task_that_ends_its_process_fails_alone_after_two_attempts(
    run: Callable[..., dict[str, int | None]], tmp_path: Path, ahead: int
) -> None:
    results = run("deadly", "long-1", "a", "b", "c", ahead=ahead)
    assert [name for name, process in results.items() if process is None] == ["deadly"]
    assert attempts(tmp_path) == {"deadly": 2, "long-1": 1, "a": 1, "b": 1, "c": 1}  # nothing else is repeated


def test_the_second_attempt_comes_after_all_other_tasks(
    run: Callable[..., dict[str, int | None]], tmp_path: Path
) -> None:
    results = run("deadly-once", "a", "long", "b")
    assert list(results)[-1] == "deadly-once"
    assert results["deadly-once"] is not None
    assert attempts(tmp_path)["deadly-once"] == 2


def test_results_come_as_soon_as_they_are_there(tmp_path: Path) -> None:
    results = Pool(partial(work, tmp_path), 2, ahead=1, hint="").run(["long", "a", "b"])
    assert [name for name, _ in results] == ["a", "b", "long"]


def test_tasks_are_started_in_their_order(tmp_path: Path) -> None:
    names = [f"{number:02d}" for number in range(12)]
    assert [name for name, _ in Pool(partial(work, tmp_path), 1, hint="").run(names)] == names


SCRIPT = """
import signal, sys, time
from genregrid.parallel.pool import Pool

def work(number):
    print("at work", flush=True)
    time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in background jobs
    try:
        list(Pool(work, 2, hint="").run(range(4)))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def at_work(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, whose two workers are at work."""
    (tmp_path / "script.py").write_text(SCRIPT)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, start_new_session=True, **pipes)
    for _ in range(2):
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="groups of processes are POSIX")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_a_signal_to_the_parent_ends_all_processes_at_once(
    at_work: subprocess.Popen[str], number: int, code: int
) -> None:
    start = time.monotonic()
    at_work.send_signal(number)
    # pipes close when the last worker has ended
    out, err = at_work.communicate(timeout=30)
    assert time.monotonic() - start < 5
    assert at_work.returncode == code
    assert out == ""
    assert "Traceback" not in err
    assert err == "" or number != signal.SIGINT  # after the others Python's resource tracker warns of semaphores


def test_without_a_main_guard_the_hint_is_raised(tmp_path: Path) -> None:
    (tmp_path / "unguarded.py").write_text(
        "from genregrid.parallel.pool import Pool\nlist(Pool(str, 2, hint='use a main guard').run([1, 2, 3]))\n"
    )
    done = subprocess.run([sys.executable, "unguarded.py"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    # Python's resource tracker may warn of semaphores after it
    assert "UserError: processes cannot be started; use a main guard.\n" in done.stderr
