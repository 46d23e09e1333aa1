"""Compute on one CPU thread where the last bits of a result count.

Only modules that compute with torch import this one.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute tensors on one CPU thread: with more, last bits depend on their number."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
