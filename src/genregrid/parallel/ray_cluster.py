"""Run many tasks on a Ray cluster, a few per CPU at a time; tasks of a machine that fails are submitted again.

Ray is imported only if a cluster is used, because it is an optional dependency.
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
from genregrid.program import install_command

_AHEAD = 2  # tasks submitted per CPU: none waits for its next task, and few are queued
_MAX_ATTEMPTS = 3  # a machine that fails costs one attempt; a task that ends its process uses all of them
_SECONDS_BETWEEN_COUNTS = 5.0  # how often the CPUs are counted: machines join and leave
_COPIED_VARIABLES = ("GENREGRID_", "WANDB_", "HYDRA_")  # Ray's workers have the environment of their own machine
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class LostTask:
    """The result of a task that ended its process at every attempt."""

    reason: str  # Ray's message about the last attempt, one line


@contextmanager
def connected(address: str, key: str) -> Iterator[None]:
    """Connect to a Ray cluster that this machine belongs to, and disconnect at the end.

    The address is ``auto`` for the cluster that runs on this machine, or ``HOST:PORT`` of its head node; `key` is the
    option that it was given with, for errors.
    """
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError("Ray is not installed", key=key, value=address, hint=f"`{install_command('ray')}`") from None
    head = re.fullmatch(r"(.+):(\d{1,5})", address)
    if head is None and address != "auto":
        hint = "give auto, or HOST:PORT of its head node"
        raise UserError("not the address of a Ray cluster", key=key, value=address, hint=hint)
    try:
        if head is not None:  # Ray itself tries for minutes, and then ends the process
            socket.create_connection((head[1], int(head[2])), timeout=10).close()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        problem = (
            f"no Ray cluster that this machine belongs to ({' '.join(str(error).split()).split('. ')[0].rstrip('.')})"
        )
        hint = "docs/clusters.md explains how to start one"
        raise UserError(problem, key=key, value=address, hint=hint) from None
    try:
        yield
    finally:
        ray.shutdown()  # also cancels all running tasks


def each_done(
    function: Callable[..., Result],
    items: Iterable[Item],
    *shared: Any,
    cpus: float = 1,
    gpus: float = 0,
    memory_gb: float | None = None,
) -> Generator[tuple[Item, Result | LostTask]]:
    """Call ``function(item, *shared)`` on the connected cluster, and yield each item with its result as it is done.

    Calls see the working directory of this process, and its variables that name data and W&B. Only a few calls per CPU
    are submitted at a time, whatever the number of items. `cpus`, `gpus` (may be a fraction) and free `memory_gb` are
    what one call needs.

    Raises:
        UserError: a call raised: a machine lacks what the call needs.
    """
    import ray

    memory = None if memory_gb is None else int(memory_gb * 1e9)
    # No retries by Ray: it would retry tasks that run out of memory for ever
    call = ray.remote(num_cpus=cpus, num_gpus=gpus, memory=memory, max_retries=0)(_call_in_worker)
    variables = {name: value for name, value in os.environ.items() if name.startswith(_COPIED_VARIABLES)}
    surroundings = (os.getcwd(), variables)
    new = ((item, 1) for item in items)  # with the number of the attempt
    again: deque[tuple[Item, int]] = deque()
    submitted: dict[Any, tuple[Item, int]] = {}
    limit, counted = 0, -_SECONDS_BETWEEN_COUNTS
    while True:
        if time.monotonic() - counted > _SECONDS_BETWEEN_COUNTS:
            num_at_once = int(ray.cluster_resources().get("CPU", 0) / (cpus or 1))
            limit, counted = _AHEAD * max(1, num_at_once), time.monotonic()
        while len(submitted) < limit:
            entry = again.popleft() if again else next(new, None)
            if entry is None:
                break
            submitted[call.remote(surroundings, function, entry[0], *shared)] = entry
        if not submitted:
            return
        ray.wait(list(submitted))  # for one result; take all that are there by then
        for ref in ray.wait(list(submitted), num_returns=len(submitted), timeout=0)[0]:
            item, attempt = submitted.pop(ref)
            try:
                yield item, ray.get(ref)
            except ray.exceptions.RayTaskError as error:
                last_line = str(error).strip().splitlines()[-1].strip().rstrip(".")
                hint = f"every machine needs the same environment, and the folder {surroundings[0]}"
                raise UserError(f"a task failed on the cluster ({last_line})", hint=hint) from error
            except ray.exceptions.RayError as error:
                if attempt < _MAX_ATTEMPTS:
                    again.append((item, attempt + 1))
                else:
                    yield item, LostTask(str(error).splitlines()[0])


def _call_in_worker(
    surroundings: tuple[str, dict[str, str]], function: Callable[..., Result], item: Any, *shared: Any
) -> Result:
    """Set the folder and the variables of the submitting process, and call the function."""
    folder, variables = surroundings
    os.chdir(folder)
    os.environ.update(variables)
    return function(item, *shared)
