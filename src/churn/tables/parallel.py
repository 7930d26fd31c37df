"""Work on several things at once, in threads: what takes time here, in NumPy, PyArrow and XGBoost, lets others run."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra in one thread, as a block or a decorator; XGBoost is not touched.

    For what is small: more threads bring nothing, wait for each other in a loop while something else runs on their cores, and
    round sums in another way, so that a model would depend on the number of cores.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        yield


def in_order(function: Callable[[Item], Made], items: Iterable[Item], workers: int) -> Iterator[Made]:
    """What a function makes of each item, in the order of the items.

    Items are taken by whoever asks for the results, a few ahead of them, so that no more than that are ever held.

    Args:
        function: Called in as many threads at once as there are workers.
        items: What it is called with.
        workers: How many; with one all is done where the results are asked for.
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
            # After an error, or Ctrl-C, only what has begun already is waited for.
            for future in waiting:
                future.cancel()
