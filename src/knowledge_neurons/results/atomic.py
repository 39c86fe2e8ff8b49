"""Files that are never half there under their name: written beside their place, then renamed.

A temporary is called .NAME.PID.tmp, which no listing by the start of a name takes for a result; the
next writer of NAME removes those whose process has ended and those older than an hour.  What has
its name is on the disk, not in the system's memory alone: after a power cut there is the old file
or the new one.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

OLD = 3600  # seconds; a temporary is written in a few
FULL = (errno.ENOSPC, errno.EDQUOT)


def write_atomic(path: Path, content: bytes) -> None:
    """Readers see the old file or the new one."""
    with replacing(path) as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the path's place when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming_full_disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_left_over(path)
            with temporary.open("wb") as file:
                yield file
                sync(file)
            rename(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def sync(file: BinaryIO) -> None:
    """Have what was written on the disk."""
    file.flush()
    os.fsync(file.fileno())


def rename(source: Path, target: Path) -> None:
    """Give a file its name, and have the name on the disk too."""
    os.replace(source, target)
    with suppress(OSError):  # Windows and some network file systems have none for folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Say of a full disk which file found it so, how much is free, and how to go on."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        there = next(folder for folder in path.absolute().parents if folder.exists())
        free = shutil.disk_usage(there).free / 1e6
        why = "your quota is used up" if error.errno == errno.EDQUOT else "the disk is full"
        raise OSError(
            f"{path} cannot be written: {why} ({free:.1f} MB free).  Make room, then run the same "
            "command again: it goes on from what is there"
        ) from error


# --- temporaries of runs that were killed -----------------------------------------------------


def _remove_left_over(path: Path) -> None:
    """Remove the path's temporaries whose process has ended, and those older than an hour."""
    for old, process in _temporaries(path.parent).pop(path.name, ()):
        with suppress(FileNotFoundError):
            if time.time() - old.stat().st_mtime > OLD or not _is_running(process):
                old.unlink()


@functools.cache
def _temporaries(folder: Path) -> dict[str, list[tuple[Path, int]]]:
    """NAME -> its temporaries when this process first wrote to the folder, and whose they are.

    Listed once: a folder may hold a file for each of 28,000 facts.
    """
    found: dict[str, list[tuple[Path, int]]] = {}
    for path in folder.glob("*.tmp"):
        if match := re.fullmatch(r"\.?(.+)\.(\d{1,9})\.tmp", path.name, re.DOTALL):
            found.setdefault(match[1], []).append((path, int(match[2])))
    return found


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where asking by signal 0 would send Ctrl-C: age alone decides
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
