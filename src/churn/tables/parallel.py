"""Work in threads: NumPy, PyArrow and XGBoost release the interpreter lock where they take time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit linear algebra (BLAS) to one thread, as a context manager or a decorator; XGBoost is not affected.

    On small matrices more threads are not faster, spin while other work needs their cores, and round sums in another
    order, so that a model would depend on the number of cores.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield


def in_order(function: Callable[[Item], Made], items: Iterable[Item], workers: int) -> Iterator[Made]:
    """Apply a function to each item in threads and yield the results in the order of the items.

    Items are taken in the thread that consumes the results, and only a few ahead of them, so that memory is bounded.

    Args:
        function: Function to apply.
        items: Its arguments, one per call.
        workers: Number of threads; with 1 the function runs in the thread that consumes the results.
    """
    if workers == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # After an error or Ctrl-C, wait only for calls that have begun.
            for future in waiting:
                future.cancel()
