"""A second thread that does things in order.  Run: pytest tests/unit/test_background.py"""

import threading
import time

import pytest

from knowledge_neurons.runs.background import Background


def test_calls_are_done_in_order_in_another_thread():
    """All of them by the end of the block."""
    done = []
    with Background(lambda n: done.append((n, threading.get_ident()))) as call:
        for n in range(20):
            call(n)
    assert [n for n, _ in done] == list(range(20))
    assert {thread for _, thread in done} != {threading.get_ident()}


def test_no_more_than_so_many_wait():
    """The call after `waiting` of them waits for one to end."""
    free, started = threading.Event(), []

    def work(n):
        started.append(n)
        free.wait(5)

    with Background(work, waiting=2) as call:
        call(0)
        call(1)
        blocked = threading.Thread(target=call, args=(2,))
        blocked.start()
        time.sleep(0.05)
        assert blocked.is_alive()
        free.set()
        blocked.join(5)
        assert not blocked.is_alive()
    assert started == [0, 1, 2]


def test_four_wait_unless_told_otherwise():
    free = threading.Event()
    with Background(lambda n: free.wait(5)) as call:
        for n in range(4):
            call(n)
        blocked = threading.Thread(target=call, args=(4,))
        blocked.start()
        time.sleep(0.05)
        assert blocked.is_alive()
        free.set()
        blocked.join(5)
        assert not blocked.is_alive()


def test_what_it_raises_comes_out():
    """In a later call or at the end of the block."""

    def fail(_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), Background(fail) as call:
        call(1)
    with pytest.raises(OSError, match="disk full"), Background(fail, waiting=1) as call:
        for n in range(3):
            call(n)


def test_what_was_handed_over_is_done_after_an_exception():
    """An interruption loses nothing that was computed."""
    done = []

    def slow(n):
        time.sleep(0.02)
        done.append(n)

    with pytest.raises(KeyboardInterrupt), Background(slow) as call:
        call(1)
        call(2)
        raise KeyboardInterrupt
    assert done == [1, 2]
