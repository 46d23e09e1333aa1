"""A Ray cluster: tasks are given out a few per CPU, and those of a machine that dies are given out again.

Ray is imported only where a cluster is asked for: it is an extra.
"""

import logging
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from genregrid.errors import UserError

_AHEAD = 2  # tasks given out per CPU, so that none waits and none piles up
_MOST_ATTEMPTS = 3  # a machine that dies costs one; a task that ends its process takes all
_SECONDS_BETWEEN_COUNTS = 5.0  # machines join and leave
_PASSED_ON = ("GENREGRID_", "WANDB_", "HYDRA_")  # variables that a run reads; Ray's workers have those of their machine
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Died:
    """What becomes of a task whose process ended at every attempt.

    Attributes:
        reason: what Ray says of the last attempt, in one line.
    """

    reason: str


@contextmanager
def connected(address: str, asked: str) -> Iterator[None]:
    """Be connected to a cluster that this machine is part of.

    Args:
        address: ``auto`` for the cluster that runs on this machine, or ``HOST:PORT`` of its head.
        asked: what the user said, for errors: ``--ray auto``.

    Raises:
        UserError: Ray is not installed, there is no cluster at that address, or it does not take this machine.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(f'{asked} needs Ray: `pip install -e ".[ray]"`.') from None
    head = re.fullmatch(r"(.+):(\d{1,5})", address)
    if head is None and address != "auto":
        raise UserError(f"{asked} is no address of a Ray cluster: give auto, or HOST:PORT of its head.")
    try:
        if head is not None:  # Ray itself tries for minutes, and then ends the process
            socket.create_connection((head[1], int(head[2])), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()).split(". ")[0].rstrip(".")
        raise UserError(
            f"{asked}: no Ray cluster that this machine is part of ({reason}); docs/clusters.md says how to start one."
        ) from None
    try:
        yield
    finally:
        ray.shutdown()  # and with it whatever is still in work


def each_done(
    function: Callable[..., Result],
    items: Iterable[Item],
    *shared: Any,
    cpus: float = 1,
    gpus: float = 0,
    memory_gb: float | None = None,
) -> Generator[tuple[Item, Result | Died]]:
    """Call ``function(item, *shared)`` on the connected cluster, and yield each item with its result as it is done.

    Calls see the working directory of this process, and its variables that name data and W&B. Only a few are given out
    per CPU, whatever the number of items.

    Args:
        function: handles what goes wrong by itself; what it raises ends all.
        items: of the calls.
        shared: the rest of each call's arguments.
        cpus: cores of a call.
        gpus: GPUs of a call, or a part of one.
        memory_gb: memory in GB that a machine must have unclaimed for a call to start there.

    Raises:
        UserError: a call raised: what it needs is missing on a machine.
    """
    import ray

    memory = None if memory_gb is None else int(memory_gb * 1e9)
    # no retries by Ray: those of tasks that take all memory it would never end
    call = ray.remote(num_cpus=cpus, num_gpus=gpus, memory=memory, max_retries=0)(_called)
    place = (os.getcwd(), {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)})
    todo = iter(items)
    again: deque[tuple[Item, int]] = deque()
    given: dict[Any, tuple[Item, int]] = {}
    most, counted = 0, -_SECONDS_BETWEEN_COUNTS
    while True:
        if time.monotonic() - counted > _SECONDS_BETWEEN_COUNTS:
            num_at_once = int(ray.cluster_resources().get("CPU", 0) / (cpus or 1))
            most, counted = _AHEAD * max(1, num_at_once), time.monotonic()
        while len(given) < most and (entry := again.popleft() if again else _first(todo)) is not None:
            given[call.remote(place, function, entry[0], *shared)] = entry
        if not given:
            return
        for ref in _finished(given):
            item, attempt = given.pop(ref)
            try:
                result = ray.get(ref)
            except ray.exceptions.RayTaskError as error:
                raise UserError(
                    f"a task failed on the cluster ({_last_line(error)}): every machine needs the same environment, "
                    f"and {place[0]}."
                ) from error
            except ray.exceptions.RayError as error:
                if attempt < _MOST_ATTEMPTS:
                    again.append((item, attempt + 1))
                    continue
                result = Died(str(error).splitlines()[0])
            yield item, result


def _first(todo: Iterator[Item]) -> tuple[Item, int] | None:
    for item in todo:
        return item, 1
    return None


def _finished(given: dict[Any, Any]) -> list[Any]:
    """Wait for one result, and take along what else is there."""
    import ray

    refs = list(given)
    ray.wait(refs)
    done, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
    return list(done)


def _called(place: tuple[str, dict[str, str]], function: Callable[..., Result], item: Any, *shared: Any) -> Result:
    """What a worker runs."""
    folder, variables = place
    os.chdir(folder)
    os.environ.update(variables)
    return function(item, *shared)


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip().rstrip(".")
