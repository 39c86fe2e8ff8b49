"""How a program ends: with exit code 2 and a line on what is wrong; stopped, with 130 or 143.

A script imports this before all else, so that signals are heard while large libraries are imported:

    from knowledge_neurons.stages import program  # isort: skip
    ...
    program.run(main)

Only scripts do: importing it takes the signals, which a program that uses the library keeps.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}


class Stopped(BaseException):
    """Somebody asked the program to end; files are closed on the way out."""

    def __init__(self, number: int):
        super().__init__(WORDS[number])
        self.signal = number


def run(main: Callable[[], None]) -> None:
    """Run a program: what the user can mend (input, disk, memory) is one line and exit code 2."""
    _listen(_raise)
    try:
        main()
    except (ValueError, OSError, MemoryError) as error:
        fail(str(error) or type(error).__name__)
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        fail(f"out of memory: {error}")
    except Stopped as stop:
        sys.stdout.flush()
        _end(stop.signal)
    finally:
        _listen(signal.SIG_DFL)


def printable(text: str) -> str:
    """On one line, control characters spelled out: no file may command the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def fail(message: str) -> NoReturn:
    """What is wrong, in one line, and exit code 2."""
    print(printable(f"error: {message}"), file=sys.stderr)
    sys.exit(2)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _end(number: int, frame: FrameType | None = None) -> NoReturn:
    """Say it and end at once, whatever is being imported."""
    os.write(2, f"\n{WORDS[number]}; run the same command again to go on\n".encode())
    os._exit(128 + number)


def _listen(handler: Callable[[int, FrameType | None], NoReturn] | signal.Handlers) -> None:
    """Both signals, but for one that the parent has ignored (nohup, a shell's background jobs)."""
    for number in WORDS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


_listen(_end)  # until `run`: nothing has been begun
