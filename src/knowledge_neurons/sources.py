"""The files of a checkpoint, wherever it lies: a folder, a tar.gz, a name on the hub.

    with opened("bert-base-cased") as files:
        files["config.json"]  # a path

Nothing is read from them here; `models` does that.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    _CACHED_NO_EXIST,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
)

from knowledge_neurons.storage import ROOT

HUB_NAMES = {
    name: f"google-bert/{name}"
    for name in (
        "bert-base-uncased",
        "bert-large-uncased",
        "bert-base-cased",
        "bert-large-cased",
        "bert-base-multilingual-uncased",
        "bert-base-multilingual-cased",
        "bert-base-chinese",
    )
}

# What a checkpoint consists of: for each part the file names that may hold it, best first.
CONFIG_FILES = ("config.json", "bert_config.json")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
VOCABULARY_FILES = ("vocab.txt", "tokenizer.json")
OPTIONAL_FILES = ("tokenizer_config.json",)
PARTS = {"config": CONFIG_FILES, "vocabulary": VOCABULARY_FILES, "weights": WEIGHT_FILES}
ALL_FILES = CONFIG_FILES + WEIGHT_FILES + VOCABULARY_FILES + OPTIONAL_FILES
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")

Files = dict[str, Path]  # file name -> where it can be read


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
        _check_hub_name(source)
        yield _complete(source, _hub_files(source, revision, cache_dir))


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


# --- the hub ---------------------------------------------------------------------------------

PATIENCE_S = 3.0  # for the hub's first answer; HF_HUB_ETAG_TIMEOUT overrules it


def _check_hub_name(source: str) -> None:
    """ValueError unless the hub is meant: a known name, or organisation/name that is no path.

    It is taken for a path where that folder lies above here or in the repository, or where its
    first part is a folder there or here.
    """
    if source in HUB_NAMES:
        return
    here = Path.cwd()
    missing = f"{Path(source).expanduser().absolute()}: no such folder or .tar.gz"
    for base in (*here.parents, ROOT):
        if not Path(source).is_absolute() and (base / source).exists():
            raise ValueError(f"{missing}.  Did you mean {base / source}?")
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        first = source.split("/")[0]
        folders = [base / first for base in (here, ROOT) if (base / first).is_dir()]
        if not folders:
            return
        missing += f" ({folders[0]} is a folder, so {source} is not looked for on the hub)"
    raise ValueError(
        f"{missing}, and no model's name.  Known names: {', '.join(HUB_NAMES)}; others on the hub "
        "as organisation/name"
    )


def _hub_files(source: str, revision: str | None, cache_dir: str | Path | None) -> Files:
    """Download (or find in the cache) the best file of each part."""
    repo = HUB_NAMES.get(source, source)
    where = {"revision": revision, "cache_dir": cache_dir}
    silence = _silence(repo, where)

    def fetch(name: str) -> Path | None:
        """The path of a file, None where the repository is known not to have it."""
        try:
            return Path(hf_hub_download(repo, name, local_files_only=bool(silence), **where))
        except LocalEntryNotFoundError as error:
            if try_to_load_from_cache(repo, name, **where) is _CACHED_NO_EXIST:
                return None
            raise ValueError(
                f"{source}: cannot get {name} from the hub, and it is not in the cache "
                f"({silence or _line(error)}).  Check the connection or HF_HUB_OFFLINE, or give a "
                f"folder that holds the model; there is no folder {Path(source).absolute()}"
            ) from error
        except EntryNotFoundError:
            return None
        except (HTTPError, OSError) as error:
            raise ValueError(
                f"{source}: the hub does not give {name} ({_line(error)}), and there is no folder "
                f"{Path(source).absolute()}"
            ) from error

    files = {}
    for alternatives in (CONFIG_FILES, VOCABULARY_FILES, OPTIONAL_FILES, WEIGHT_FILES):
        for name in alternatives:
            path = fetch(name)
            if path is not None:
                files[name] = path
                break
    return files


def _silence(repo: str, where: dict) -> str:
    """Why the hub cannot be asked, "" where it can or need not be; known within PATIENCE_S.

    huggingface_hub itself tries for minutes before it gives up on a file that is not cached, and
    no timeout of its covers the look-up of a name.
    """
    pinned = re.fullmatch(r"[0-9a-f]{40}", where["revision"] or "")
    cached = try_to_load_from_cache(repo, CONFIG_FILES[0], **where) is not None
    if constants.HF_HUB_OFFLINE or (pinned and cached):
        return ""
    chosen = constants.HF_HUB_ETAG_TIMEOUT != constants.DEFAULT_ETAG_TIMEOUT
    patience = constants.HF_HUB_ETAG_TIMEOUT if chosen else PATIENCE_S
    failures: list[str] = []

    def ask() -> None:
        url = hf_hub_url(repo, CONFIG_FILES[0], revision=where["revision"])
        try:
            get_hf_file_metadata(url, timeout=patience)
        except HfHubHTTPError as error:  # "not found" is an answer too
            if error.response.status_code >= 500:
                failures.append(_line(error))
        except Exception as error:  # no connection, proxy, certificate, ...
            failures.append(_line(error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    if asking.is_alive():
        return f"no answer within {patience:g} s; HF_HUB_ETAG_TIMEOUT=30 waits longer"
    return failures[0] if failures else ""


def _line(error: Exception) -> str:
    """Its message on one line."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.300}"
