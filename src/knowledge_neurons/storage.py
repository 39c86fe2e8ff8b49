"""How files are written, found whole again, and known by what they were made from.

Nothing is ever half there under its final name: whole files are written beside their place and
renamed, and a file that grows by lines does so as NAME.partial.  Beside each output lies
NAME.manifest.json, which says what it was made from.  What the files are is `artifacts`' matter.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib.metadata
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import orjson

ROOT = Path(__file__).resolve().parents[2]
PINNED = (
    *("torch", "numpy", "scipy", "matplotlib", "seaborn"),
    *("tokenizers", "safetensors", "huggingface_hub", "orjson", "jinja2"),
)


def write_atomic(path: Path, content: bytes) -> None:
    """Write beside the final place, then rename: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, readable: bool = False) -> None:
    """JSON, atomically; readable: indented, for people."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    options |= orjson.OPT_INDENT_2 * readable
    write_atomic(path, orjson.dumps(value, default=named_tuple, option=options))


def named_tuple(value: Any) -> list:
    """orjson's fallback: it writes tuples, but Neuron and Triplet only through this."""
    if isinstance(value, tuple):
        return list(value)
    raise TypeError


def read_json(path: Path) -> Any:
    """The content of a JSON file; ValueError names a file that is missing or broken."""
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file") from error
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error


def read_json_lines(path: Path) -> list[Any]:
    """The lines of a finished file of records; ValueError names a line that is broken."""
    check_whole(path)
    values = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            values.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not valid JSON ({error})") from error
    return values


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_record(record: Any) -> bytes:
    """A dataclass or a mapping as one line of JSON."""
    return orjson.dumps(record)


def read_records(path: Path, kind: type) -> Iterator[Any]:
    """The lines of a file as dataclasses of this kind; ValueError names file and line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield kind(**orjson.loads(line))
            except (orjson.JSONDecodeError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: no {kind.__name__} ({error}).  Remove the file and "
                    "run the stage again"
                ) from error


# --- files that grow by lines -----------------------------------------------------------------


class GrowingLines:
    """A JSON-lines file that is computed in groups of lines and can be interrupted at any time.

    It grows as NAME.partial; `finish` gives it its name and its manifest.  What was complete when a
    run stopped is found again: `done` lines, a multiple of `group`, so that a resumed run forms the
    same groups as an uninterrupted one and writes the same bytes.  A manifest that disagrees with
    that of the lines already there is refused.

    beside: a second file that grows line by line with the first.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        group: int = 1,
        beside: Path | None = None,
    ):
        self.path, self.partial = path, _partial(path)
        self.identity = identity
        self._paths = [path] if beside is None else [path, beside]
        path.parent.mkdir(parents=True, exist_ok=True)
        # An empty one is of a run that ended before it had written its manifest.
        if self.partial.exists() and self.partial.stat().st_size:
            check_identity(path, identity)
        self._files = [_partial(one).open("ab") for one in self._paths]
        _lock(self._files[0], path)
        self.done = _drop_incomplete([_partial(one) for one in self._paths], group)
        write_json(manifest_path(path), {"complete": False, "identity": identity}, readable=True)

    def append(self, lines: Sequence[bytes], beside: Sequence[bytes] = ()) -> None:
        """Add one group of lines to each file and hand it to the system."""
        for file, some in zip(self._files, (lines, beside), strict=False):
            file.write(b"".join(line + b"\n" for line in some))
            file.flush()
        self.done += len(lines)

    def read_beside(self) -> list[Any]:
        """The second file's lines so far."""
        return [orjson.loads(line) for line in _partial(self._paths[1]).read_bytes().splitlines()]

    def finish(self, **facts: Any) -> None:
        """Write the final manifest, then give the files their final names."""
        size = self.partial.stat().st_size
        write_manifest(self.path, self.identity, bytes=size, **facts)
        for path in reversed(self._paths):
            _partial(path).replace(path)
        self.close()

    def close(self) -> None:
        for file in self._files:
            file.close()

    def __enter__(self) -> GrowingLines:
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _lock(file: BinaryIO, path: Path) -> None:
    """Keep a second run off the same file; the system frees the lock when this one ends."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise ValueError(f"{path} is being written by another run; wait for it to end") from error


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


# --- manifests -------------------------------------------------------------------------------


def manifest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.manifest.json")


def write_manifest(path: Path, identity: Mapping[str, Any], **facts: Any) -> None:
    """Write NAME.manifest.json for a finished output.

    identity: what decides the content (arguments, sha256 of model and data): files with different
    identities must not be mixed.  facts: what else is worth knowing (seconds, counts).
    """
    content = {"complete": True, "identity": identity, **facts, "made_with": environment()}
    write_json(manifest_path(path), content, readable=True)


def read_manifest(path: Path) -> dict[str, Any] | None:
    """The manifest of an output, None where there is none (a file of the released code)."""
    manifest = manifest_path(path)
    return read_json(manifest) if manifest.exists() else None


def is_done(path: Path, identity: Mapping[str, Any]) -> bool:
    """Whether the output is there and was made from the same things; ValueError if from others."""
    if not path.exists():
        return False
    check_identity(path, identity)
    check_whole(path)
    return True


def check_whole(path: Path) -> None:
    """Raise ValueError for a file that has lost or gained bytes since its manifest was written."""
    manifest = read_manifest(path) or {}
    size = path.stat().st_size
    if manifest.get("bytes", size) != size:
        raise ValueError(
            f"{path} has {size} bytes, its manifest says {manifest['bytes']}: it was changed or "
            f"cut.  {_start_over(path)}"
        )


def _start_over(path: Path) -> str:
    return f"To start over: rm {shlex.quote(str(path))}*; to keep it choose another --output_dir"


def check_identity(path: Path, identity: Mapping[str, Any]) -> None:
    """Raise ValueError naming the fields in which an output differs from what is asked for now."""
    manifest = read_manifest(path)
    if manifest is None:
        raise ValueError(
            f"{path} is there without a manifest, so not from here.  {_start_over(path)}"
        )
    there, asked = manifest.get("identity", {}), orjson.loads(orjson.dumps(dict(identity)))
    differing = [
        f"{key} is {there.get(key)!r} there and {asked.get(key)!r} now"
        for key in sorted(there.keys() | asked.keys())
        if there.get(key) != asked.get(key)
    ]
    if differing:
        raise ValueError(
            f"{path} was made differently: {'; '.join(differing)}.  {_start_over(path)}"
        )


@functools.cache
def environment() -> dict[str, Any]:
    """Versions, machine and commit, for the manifest."""
    versions = {name: importlib.metadata.version(name) for name in PINNED}
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    return {
        "python": platform.python_version(),
        **versions,
        "machine": machine,
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The checkout's commit, marked where files are changed; None outside our git checkout."""
    if not (ROOT / "src" / "custom_bert.py").exists():
        return None
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
