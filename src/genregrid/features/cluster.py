"""Describe recordings on a Ray cluster; the rows are the same as on one machine."""

from collections.abc import Generator, Sequence
from functools import cache

from threadpoolctl import threadpool_limits

from genregrid.features.folder import TrackFile
from genregrid.features.journal import Described
from genregrid.features.recipe import Recipe
from genregrid.features.workers import describe_file, ended_its_process, keep_freed_memory
from genregrid.parallel.ray_cluster import LostTask, connected, each_done


def describe_on_cluster(
    tracks: Sequence[TrackFile], recipe: Recipe, slice_seconds: Sequence[float], address: str
) -> Generator[Described]:
    """Describe recordings and yield each result as soon as it is done; a recording that ends its process is skipped.

    Every machine of the cluster must find the recordings under the same paths as this one.

    Args:
        tracks: the recordings.
        recipe: how to describe them.
        slice_seconds: slice lengths in seconds.
        address: of the cluster, ``auto`` or ``HOST:PORT`` of its head node.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or a machine lacks what it needs.
    """
    with connected(address, "--ray"):
        for track, described in each_done(_describe, tracks, recipe, tuple(slice_seconds)):
            yield ended_its_process(track) if isinstance(described, LostTask) else described


def _describe(track: TrackFile, recipe: Recipe, slice_seconds: Sequence[float]) -> Described:
    """Describe one recording in a worker."""
    _prepare_process()
    return describe_file(track, recipe, slice_seconds)


@cache  # once per process
def _prepare_process() -> None:
    threadpool_limits(1)
    keep_freed_memory()
