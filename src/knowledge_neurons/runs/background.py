"""Work in a second thread, so that writing does not keep the first one waiting."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Background:
    """Calls of one function, in order, in one thread, with a bounded number of them waiting.

        with Background(write) as writing:
            writing(lines)            # returns at once, or when there is room again

    What the function raises comes out of the next call, or when the block ends.  The block's end
    waits for all calls, also after an exception: what was handed over is done.
    """

    def __init__(self, work: Callable[..., Any], waiting: int = 4):
        self._work, self._room = work, waiting
        self._pending: deque[Future] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1)

    def __call__(self, *arguments: Any) -> None:
        while len(self._pending) >= self._room:
            self._pending.popleft().result()
        self._pending.append(self._thread.submit(self._work, *arguments))

    def __enter__(self) -> Background:
        return self

    def __exit__(self, *exception) -> None:
        self._thread.shutdown(wait=True)
        if exception[0] is None:
            for call in self._pending:
                call.result()
