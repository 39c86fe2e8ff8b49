"""The files of a checkpoint, wherever it lies: a folder, a tar.gz, a name on the hub.

    with opened("bert-base-cased") as files:
        files["config.json"]  # a path

Nothing is read from them here; `checkpoints` does that, and `hub` fetches them.
"""

from __future__ import annotations

import errno
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons.networks import hub
from knowledge_neurons.networks.hub import Files

# What a checkpoint consists of: for each part the file names that may hold it, best first.
CONFIG_FILES = ("config.json", "bert_config.json")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
VOCABULARY_FILES = ("vocab.txt", "tokenizer.json")
OPTIONAL_FILES = ("tokenizer_config.json",)
PARTS = {"config": CONFIG_FILES, "vocabulary": VOCABULARY_FILES, "weights": WEIGHT_FILES}
ALL_FILES = CONFIG_FILES + WEIGHT_FILES + VOCABULARY_FILES + OPTIONAL_FILES
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")


@contextmanager
def opened(source: str, revision: str | None, cache_dir: str | Path | None) -> Iterator[Files]:
    """The files of a checkpoint that has all of PARTS; they may be gone afterwards.

    revision, cache_dir: of the hub.
    Raises ValueError for a source that is nothing, cannot be reached or lacks a part.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        yield _complete(source, _folder_files(path))
    elif path.name.endswith(ARCHIVE_SUFFIXES):
        with _unpacked(path) as files:
            yield _complete(source, files)
    elif path.is_file():
        raise ValueError(f"{path} is a file: give the folder it lies in, or a .tar.gz archive")
    else:
        hub.check_name(source)
        names = (CONFIG_FILES, VOCABULARY_FILES, OPTIONAL_FILES, WEIGHT_FILES)
        yield _complete(source, hub.fetch(source, revision, cache_dir, names))


def _folder_files(folder: Path) -> Files:
    """Those of ALL_FILES that are there; ValueError where something else is in the place of one."""
    there = [folder / name for name in ALL_FILES if os.path.lexists(folder / name)]
    if odd := [path for path in there if not path.is_file()]:
        raise ValueError(f"{odd[0]}: expected a file, found a folder or a link to nothing")
    return {path.name: path for path in there}


def _complete(source: str, files: Files) -> Files:
    for part, names in PARTS.items():
        if not files.keys() & set(names):
            found = ", ".join(files) or "none of the files of a checkpoint"
            raise ValueError(
                f"{source} has no {part}: looked for {' or '.join(names)}, found {found}"
            )
    return files


# --- archives --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """How much an archive may unpack to; a BERT needs far less.

    members: how many.  header: bytes of a member's own header (a long name).  weights, other: bytes
    of a file of weights and of any other wanted one.  total: bytes of all members together, wanted
    or not, and of what follows the last one; nor may that be over `growth` times the archive's own
    (or a MiB's), for trained weights hardly shrink.
    """

    members: int = 1000
    header: int = 1 << 20
    weights: int = 8 << 30
    other: int = 256 << 20
    total: int = 16 << 30
    growth: int = 100

    def total_of(self, archive: Path) -> int:
        """Bytes that this archive may unpack to."""
        return min(self.total, self.growth * max(archive.stat().st_size, 1 << 20))


LIMITS = Limits()


@contextmanager
def _unpacked(archive: Path) -> Iterator[Files]:
    """The wanted members of an archive in a scratch folder, which no message ever names."""
    if not archive.is_file():
        raise ValueError(f"{archive}: no such archive")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        try:
            unpack(archive, scratch, LIMITS)
            yield _with_vocabulary_beside(archive, _folder_files(scratch))
        except ValueError as error:
            raise ValueError(str(error).replace(f"{scratch}/", f"{archive}: ")) from error


def unpack(archive: Path, scratch: Path, limits: Limits) -> None:
    """Copy the wanted members out of the archive by their base names.

    Member paths are never used for writing and only regular files are taken, so nothing in the
    archive can reach outside the scratch folder.  Every header is checked before what it announces
    is read.  Raises ValueError naming the archive and the member.
    """
    try:
        with archive.open("rb") as file:
            packed = "gz" if file.read(2) == b"\x1f\x8b" else ""
        with tarfile.open(archive, f"r:{packed}", tarinfo=_header_class(limits)) as tar:
            left = total = limits.total_of(archive)
            for count, member in enumerate(tar, start=1):
                if count > limits.members:
                    raise ValueError(f"{archive}: over {limits.members} members, no checkpoint")
                left -= member.size
                try:
                    _check_member(member, left, limits)
                    _copy_member(tar, member, scratch)
                except ValueError as error:
                    raise ValueError(f"{archive}: member {member.name!r:.200} {error}") from error
            # gzip's checksum is compared at the end of the stream, which tarfile does not read to.
            while chunk := tar.fileobj.read(1 << 20):
                left -= len(chunk)
                if left < 0:
                    raise ValueError(f"{archive}: over {total} bytes, no checkpoint")
    except (tarfile.TarError, zlib.error, EOFError, OSError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ValueError(
                f"{archive}: the temporary folder {scratch.parent} is full "
                f"({shutil.disk_usage(scratch).free >> 20} MiB free): make room there, or name "
                "another with TMPDIR"
            ) from error
        raise ValueError(f"{archive}: not a readable tar archive ({error})") from error


def _header_class(limits: Limits) -> type[tarfile.TarInfo]:
    """TarInfo that refuses a header before tarfile reads what it announces.

    tarfile takes a pax header or a long name into memory whole, and follows a sparse file's map.
    """
    long = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
    long += (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
            made = super().frombuf(buf, encoding, errors)
            if made.size < 0 or (made.type in long and made.size > limits.header):
                raise tarfile.ReadError(f"a header of {made.size} bytes")
            if made.type == tarfile.GNUTYPE_SPARSE:
                raise tarfile.ReadError(f"member {made.name!r:.200} is sparse")
            return made

        def _proc_gnusparse_10(self, *_):  # it would read the map; `_check_member` sees the others
            raise tarfile.ReadError(f"member {self.name!r:.200} is sparse")

    return Header


def _check_member(member: tarfile.TarInfo, left: int, limits: Limits) -> None:
    """left: bytes that the archive may still hold after this member."""
    most = limits.weights if _base_name(member) in WEIGHT_FILES else limits.other
    wanted = _base_name(member) in ALL_FILES
    if member.size < 0 or member.issparse():
        raise ValueError("is sparse or has an impossible size")
    if left < 0 or (wanted and member.size > most):
        raise ValueError(f"has {member.size} bytes, more than a checkpoint needs")


def _copy_member(tar: tarfile.TarFile, member: tarfile.TarInfo, scratch: Path) -> None:
    """To the scratch folder, where it is a file of a checkpoint."""
    name = _base_name(member)
    if name not in ALL_FILES:
        return
    if not member.isfile():
        raise ValueError("is a link, a folder or a pipe, expected a file")
    if (scratch / name).exists():
        raise ValueError(f"is one of two: it holds {name} more than once")
    with (scratch / name).open("wb") as target:
        shutil.copyfileobj(tar.extractfile(member), target)


def _base_name(member: tarfile.TarInfo) -> str:
    return Path(member.name).name


def _with_vocabulary_beside(archive: Path, files: Files) -> Files:
    """Archives of the paper's time have no vocabulary: it lay beside them as NAME-vocab.txt."""
    stem = archive.name[: -len(next(s for s in ARCHIVE_SUFFIXES if archive.name.endswith(s)))]
    for beside in (archive.with_name(f"{stem}-vocab.txt"), archive.with_name("vocab.txt")):
        if beside.is_file() and not files.keys() & set(VOCABULARY_FILES):
            files["vocab.txt"] = beside
    return files
