"""Files of lines that take long to compute: they can be interrupted at any time and go on.

A file grows as NAME.partial; when all is there its manifest says so, and it gets its name.  A lock
on .NAME.lock keeps a second run off it: the system's, which ends with the process however that
ends, so that a file left behind by a killed run blocks nobody.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from knowledge_neurons.results.atomic import naming_full_disk, rename, sync
from knowledge_neurons.results.companions import lock_path, partial_path
from knowledge_neurons.results.json_files import decode
from knowledge_neurons.results.manifests import (
    check_identity,
    is_done,
    read_manifest,
    sha256_of,
    start_over,
    write_manifest,
)


class GrowingLines:
    """A JSON-lines file that is computed in groups of lines and can be interrupted at any time.

    What was complete when a run stopped is found again: `done` lines, a multiple of `group`, so
    that a resumed run forms the same groups as an uninterrupted one and writes the same bytes.  A
    manifest that disagrees with that of the lines already there is refused, and so is a second
    writer.

    finished: the file is there and whole; another run ended it since this one looked, or a kill
    came just before it had its name.  Then there is nothing to do.
    beside: a second file that grows line by line with the first.
    under: device and threads that lines are computed with, for the manifest.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        group: int = 1,
        beside: Path | None = None,
        under: Mapping[str, Any] | None = None,
    ):
        self.path, self.partial = path, partial_path(path)
        self.identity = identity
        self.finished, self.done = False, 0
        self._paths = [path] if beside is None else [path, beside]
        self._files: list[BinaryIO] = []
        self._under: list[dict[str, Any]] = []
        with naming_full_disk(self.partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(path)
        try:
            self._open(group, under)
        except BaseException:
            self.close()
            raise

    def _open(self, group: int, under: Mapping[str, Any] | None) -> None:
        """Find out, alone with the file, what is there."""
        self._end_interrupted_finish()
        if is_done(self.path, self.identity):
            self.finished = True
            return
        # An empty one is of a run that ended before it had written its manifest.
        if self.partial.exists() and self.partial.stat().st_size:
            check_identity(self.path, self.identity)
        with naming_full_disk(self.partial):
            self._files += [_opened(partial_path(one)) for one in self._paths]
        self.done = _drop_incomplete([partial_path(one) for one in self._paths], group)
        self._under = self._made_under(under)
        write_manifest(self.path, self.identity, complete=False, made_under=self._under)

    def _end_interrupted_finish(self) -> None:
        """A kill between `finish`'s renames: the manifest says that all was there, and it is."""
        manifest = read_manifest(self.path) or {}
        if (
            not self.path.exists()
            and self.partial.exists()
            and manifest.get("complete")
            and manifest.get("sha256") == sha256_of(self.partial)
        ):
            check_identity(self.path, self.identity)
            self._rename()

    def _made_under(self, under: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """From which line on which device and threads: one entry unless the file was resumed."""
        earlier = (read_manifest(self.path) or {}).get("made_under", [])
        made = [one for one in earlier if one["from_line"] < self.done]
        if under and (not made or any(made[-1][name] != under[name] for name in under)):
            made.append({**under, "from_line": self.done})
        return made

    def append(self, lines: Sequence[bytes], beside: Sequence[bytes] = ()) -> None:
        """Add one group of lines to each file and hand it to the system."""
        assert not self.finished
        for path, file, some in zip(self._paths, self._files, (lines, beside), strict=False):
            with naming_full_disk(partial_path(path)):
                _write(file, b"".join(line + b"\n" for line in some))
        self.done += len(lines)

    def read_beside(self, kind: Any) -> list[Any]:
        """The second file's lines so far, each as this type."""
        path = partial_path(self._paths[1])
        return [
            decode(line, kind, f"{path}, line {number}", start_over(self.path))
            for number, line in enumerate(path.read_bytes().splitlines(), start=1)
        ]

    def finish(self, **facts: Any) -> None:
        """Write the final manifest, then give the files their final names."""
        for path, file in zip(self._paths, self._files, strict=True):
            with naming_full_disk(partial_path(path)):
                sync(file)
        write_manifest(self.path, self.identity, **facts, made_under=self._under)
        self._close_files()  # Windows renames no open file
        self._rename()
        self.close()

    def _rename(self) -> None:
        """The first file last: its name says that all is there."""
        for path in reversed(self._paths):
            if partial_path(path).exists():
                rename(partial_path(path), path)

    def _close_files(self) -> None:
        for file in self._files:
            file.close()

    def close(self) -> None:
        self._close_files()
        if self._lock.is_locked:
            with suppress(PermissionError):  # Windows keeps it, as it is open
                lock_path(self.path).unlink(missing_ok=True)  # while nobody else can hold it
            self._lock.release()

    def __enter__(self) -> GrowingLines:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _opened(path: Path) -> BinaryIO:
    """To add to it; unbuffered, so that what a full disk refused is not tried again on closing."""
    return path.open("ab", buffering=0)


def _write(file: BinaryIO, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _locked(path: Path) -> FileLock:
    """The lock of a file's only writer, held; ValueError where another run holds it."""
    lock = FileLock(lock_path(path), thread_local=False)
    try:
        # Not at once: the other run may remove the lock's file in between; then it is made anew.
        lock.acquire(timeout=0.2, poll_interval=0.02)
    except Timeout as error:
        raise ValueError(f"{path} is being written by another run; wait for it to end") from error
    return lock


def _drop_incomplete(paths: Sequence[Path], group: int) -> int:
    """Cut files after the last group of lines that all of them have whole; return lines left."""
    ends = [_ends_of_lines(path) for path in paths]
    whole = min(map(len, ends)) // group * group
    for path, of_file in zip(paths, ends, strict=True):
        os.truncate(path, of_file[whole - 1] if whole else 0)
    return whole


def _ends_of_lines(path: Path) -> list[int]:
    """Where each complete line of a file ends."""
    ends, position = [], 0
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            if line.endswith(b"\n"):
                ends.append(position)
    return ends
