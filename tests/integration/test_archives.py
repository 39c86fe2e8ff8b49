"""Checkpoints in tar archives: published ones, hostile ones, damaged ones.

Run: pytest tests/integration/test_archives.py
"""

import errno
import gzip
import io
import re
import shutil
import tarfile
import time
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge_neurons.networks import sources
from knowledge_neurons.networks.checkpoints import from_pretrained
from knowledge_neurons.networks.sources import Limits
from tests.integration.checkpoints import VOCABULARY, archive_of, as_old_layout, assert_is_tiny


def member(name: str, content: bytes = b"", **fields) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, io.BytesIO(content)


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar"])
@pytest.mark.parametrize("prefix", ["./", "", "some/folder/"])
def test_archive_with_everything(folder, tmp_path, suffix, prefix):
    """Old layout with vocab.txt inside, at any depth."""
    as_old_layout(folder)
    assert_is_tiny(from_pretrained(archive_of(folder, tmp_path / f"tiny{suffix}", prefix)))


@pytest.mark.parametrize("vocabulary", ["bert-tiny-cased-vocab.txt", "vocab.txt"])
def test_archive_with_the_vocabulary_beside_it(folder, tmp_path, vocabulary):
    """As published in 2018: NAME.tar.gz without, NAME-vocab.txt beside."""
    as_old_layout(folder)
    archive = tmp_path / "bert-tiny-cased.tar.gz"
    archive_of(folder, archive, leave_out=("vocab.txt",))
    with pytest.raises(ValueError, match=r"no vocabulary: looked for vocab\.txt"):
        from_pretrained(archive)
    shutil.copy(folder / "vocab.txt", tmp_path / vocabulary)
    assert_is_tiny(from_pretrained(archive))


def test_archives_own_vocabulary_comes_first(folder, tmp_path):
    """A vocab.txt that happens to lie beside the archive does not replace the one inside."""
    (tmp_path / "vocab.txt").write_text("\n".join(reversed(VOCABULARY)))
    assert_is_tiny(from_pretrained(archive_of(folder, tmp_path / "tiny.tar.gz")))


@pytest.mark.parametrize(
    "path", ["../../evil/pytorch_model.bin", "/{outside}/pytorch_model.bin", "..", "a/../../../x"]
)
def test_archive_paths_cannot_escape(folder, tmp_path, monkeypatch, path):
    """Parent and absolute member paths write nothing outside the scratch folder."""
    scratch, outside = tmp_path / "a" / "b" / "scratch", tmp_path / "outside"
    scratch.mkdir(parents=True)
    outside.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    as_old_layout(folder)
    weights = (folder / "pytorch_model.bin").read_bytes()
    archive = archive_of(folder, tmp_path / "tiny.tar.gz", leave_out=("pytorch_model.bin",))
    with tarfile.open(tmp_path / "evil.tar", "w") as tar, tarfile.open(archive) as good:
        name = path.format(outside=str(outside).lstrip("/"))
        tar.addfile(*member(name, weights))
        for info in good:
            tar.addfile(info, good.extractfile(info))
    before = everything_under(tmp_path)
    if path.endswith("pytorch_model.bin"):  # read by its base name, so it still loads
        assert_is_tiny(from_pretrained(tmp_path / "evil.tar"))
    else:
        with pytest.raises(ValueError, match="no weights"):
            from_pretrained(tmp_path / "evil.tar")
    assert everything_under(tmp_path) == before


def everything_under(folder: Path) -> dict[str, bytes | None]:
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_archive_links_are_not_followed(folder, tmp_path, kind):
    """A link or a pipe in the place of the weights is an error, wherever it points."""
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for name in ("config.json", "vocab.txt"):
            tar.add(folder / name, name)
        link = str(folder / "model.safetensors")
        tar.addfile(*member("model.safetensors", type=kind, linkname=link))
    with pytest.raises(ValueError, match=r"member 'model\.safetensors' is a link, a folder"):
        from_pretrained(tmp_path / "evil.tar")


def test_archive_link_then_file_of_that_name(folder, tmp_path):
    """The classic escape, a link and then a file written through it, touches no target."""
    target = tmp_path / "target"
    target.write_text("untouched")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.addfile(*member("vocab.txt", type=tarfile.SYMTYPE, linkname=str(target)))
        for path in folder.iterdir():
            tar.add(path, path.name)
    with pytest.raises(ValueError, match=r"member 'vocab\.txt' is a link"):
        from_pretrained(tmp_path / "evil.tar")
    assert target.read_text() == "untouched"


def test_archive_with_a_member_twice_is_an_error(folder, tmp_path):
    """Two files of one base name: which is meant is not guessed."""
    with tarfile.open(tmp_path / "two.tar", "w") as tar:
        for path in folder.iterdir():
            tar.add(path, path.name)
        tar.add(folder / "vocab.txt", "other/vocab.txt")
    with pytest.raises(ValueError, match=r"two\.tar: member .* holds vocab\.txt more than"):
        from_pretrained(tmp_path / "two.tar")


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9])
def test_truncated_archive_is_an_error(folder, tmp_path, keep):
    """Half a download is named as such."""
    whole = archive_of(folder, tmp_path / "whole.tar.gz").read_bytes()
    size = int(keep * len(whole)) if isinstance(keep, float) else keep
    (tmp_path / "half.tar.gz").write_bytes(whole[:size])
    with pytest.raises(ValueError, match=r"half\.tar\.gz: not a readable tar archive"):
        from_pretrained(tmp_path / "half.tar.gz")


def test_damaged_archive_is_an_error(folder, tmp_path):
    """Whatever bytes are overwritten, the result is a ValueError or the intact model."""
    whole = archive_of(folder, tmp_path / "whole.tar.gz").read_bytes()
    outcomes = Counter()
    for start in range(0, len(whole) - 8, len(whole) // 40):
        damaged = whole[:start] + b"\xff" * 8 + whole[start + 8 :]
        (tmp_path / "bad.tar.gz").write_bytes(damaged)
        try:
            assert_is_tiny(from_pretrained(tmp_path / "bad.tar.gz"))
            outcomes["intact"] += 1
        except ValueError:
            outcomes["refused"] += 1
    assert outcomes["refused"] > 35, outcomes


def test_archive_with_an_impossible_block_is_an_error(folder, tmp_path):
    """Damage that the decompressor itself stumbles over, in the middle of the weights."""
    start = archive_of(folder, tmp_path / "whole.tar").read_bytes()[:20_000]
    deflate = zlib.compressobj(wbits=31)  # with gzip's header
    stream = deflate.compress(start) + deflate.flush(zlib.Z_FULL_FLUSH)
    (tmp_path / "bad.tar.gz").write_bytes(stream + b"\x07" * 100)  # block type 3: there is none
    with pytest.raises(ValueError, match=r"bad\.tar\.gz: not a readable .* invalid block type"):
        from_pretrained(tmp_path / "bad.tar.gz")


def test_missing_archive_is_an_error(tmp_path):
    """The path is named."""
    with pytest.raises(ValueError, match=r"nowhere\.tar\.gz: no such archive"):
        from_pretrained(tmp_path / "nowhere.tar.gz")


# --- limits ----------------------------------------------------------------------------------

SMALL = Limits(members=6, header=2000, weights=200_000, other=5000, total=300_000)


@pytest.fixture
def small(monkeypatch):
    """Limits that the tiny model just keeps."""
    monkeypatch.setattr(sources, "LIMITS", SMALL)


def with_members(folder: Path, archive: Path, *members, **options) -> Path:
    """The checkpoint's files and then some."""
    with tarfile.open(archive, "w", **options) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
        for info, content in members:
            tar.addfile(info, content)
    return archive


def test_archive_within_the_limits(folder, tmp_path, small):
    """The limits of these tests let the tiny model pass."""
    assert_is_tiny(from_pretrained(with_members(folder, tmp_path / "tiny.tar")))


def test_archive_of_many_members_is_an_error(folder, tmp_path, small):
    """Six are enough, empty ones count too: the archive is named."""
    rest = 6 - len(list(folder.iterdir()))
    empty = [member(f"m{i}") for i in range(rest + 1)]
    assert_is_tiny(from_pretrained(with_members(folder, tmp_path / "tiny.tar", *empty[1:])))
    bomb = with_members(folder, tmp_path / "bomb.tar", *empty)
    with pytest.raises(ValueError, match=r"bomb\.tar: over 6 members"):
        from_pretrained(bomb)


@pytest.mark.parametrize("name", ["tokenizer.json", "pytorch_model.bin", "unwanted"])
def test_member_that_is_too_large_is_an_error(folder, tmp_path, small, name):
    """Before it is unpacked, and by its name; what is not wanted counts as well."""
    large = member(f"sub/{name}", bytes(400_000))
    bomb = with_members(folder, tmp_path / "bomb.tar", large)
    with pytest.raises(ValueError, match=rf"bomb\.tar: member 'sub/{name}' has 400000 bytes"):
        from_pretrained(bomb)


def test_members_together_are_bounded(folder, tmp_path, monkeypatch):
    """To the byte, wanted or not."""
    total = sum(path.stat().st_size for path in folder.iterdir()) + 700
    archive = with_members(folder, tmp_path / "tiny.tar", member("notes", bytes(700)))
    monkeypatch.setattr(sources, "LIMITS", replace(SMALL, total=total))
    with pytest.raises(ValueError, match=rf"tiny\.tar: over {total} bytes"):
        from_pretrained(archive)  # the zeros at its end count too
    monkeypatch.setattr(sources, "LIMITS", replace(SMALL, total=total - 1))
    with pytest.raises(ValueError, match=r"member 'notes' has 700 bytes, more than"):
        from_pretrained(archive)
    ending = 2 * tarfile.RECORDSIZE
    monkeypatch.setattr(sources, "LIMITS", replace(SMALL, total=total + ending))
    assert_is_tiny(from_pretrained(archive))


def test_what_follows_the_last_member_is_bounded(folder, tmp_path, small):
    """gzip's stream may go on after the archive's end."""
    plain = with_members(folder, tmp_path / "tiny.tar").read_bytes()
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as file:
        file.write(plain + bytes(400_000))
    with pytest.raises(ValueError, match=r"bomb\.tar\.gz: over 300000 bytes"):
        from_pretrained(tmp_path / "bomb.tar.gz")


def test_archive_that_grows_a_thousandfold_is_an_error(tmp_path):
    """With the limits as they are: half a GiB of zeros in half a MiB, refused unread."""
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("pytorch_model.bin")
        info.size = 1 << 28
        with Path("/dev/zero").open("rb") as zeros:
            tar.addfile(info, zeros)
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r"member 'pytorch_model\.bin' has 268435456 bytes"):
        from_pretrained(tmp_path / "bomb.tar.gz")
    assert time.perf_counter() - started < 1


def test_the_largest_checkpoint_that_is_taken(tmp_path):
    """8 GiB of weights, 256 MiB of anything else, which members at their limits have."""
    limits, enough = sources.LIMITS, 1 << 40
    for name, most in (("pytorch_model.bin", 8 << 30), ("vocab.txt", 256 << 20)):
        info = tarfile.TarInfo(f"bert/{name}")
        info.size = most
        sources._check_member(info, enough, limits)
        sources._check_member(info, 0, limits)  # nothing may follow it
        with pytest.raises(ValueError, match=f"has {most} bytes, more than a checkpoint needs"):
            sources._check_member(info, -1, limits)
        info.size += 1
        with pytest.raises(ValueError, match=f"has {most + 1} bytes, more than"):
            sources._check_member(info, enough, limits)
    info = tarfile.TarInfo("bert/events.log")
    info.size = 9 << 30  # not wanted, so not unpacked
    sources._check_member(info, enough, limits)
    assert (limits.members, limits.header) == (1000, 1 << 20)


@pytest.mark.parametrize(
    "size, most", [(10, 100 << 20), (1 << 20, 100 << 20), (2 << 20, 200 << 20), (1 << 30, 16 << 30)]
)
def test_an_archive_may_grow_a_hundredfold(tmp_path, size, most):
    """One of less than a MiB as one of a MiB; to 16 GiB at most, however large it is."""
    archive = tmp_path / "bert.tar.gz"
    with archive.open("wb") as file:
        file.truncate(size)
    assert sources.LIMITS.total_of(archive) == most


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_header_that_is_too_large_is_an_error(folder, tmp_path, small, kind):
    """tarfile would take it into memory whole."""
    bomb = with_members(folder, tmp_path / "bomb.tar", member("x", bytes(9000), type=kind))
    with pytest.raises(
        ValueError, match=r"bomb\.tar: not a readable tar archive \(a header of 9000"
    ):
        from_pretrained(bomb)


def test_chain_of_headers_is_an_error(folder, tmp_path):
    """Long names of long names: tarfile calls itself for each."""
    chain = [member("x", bytes(9), type=tarfile.GNUTYPE_LONGNAME) for _ in range(2000)]
    bomb = with_members(folder, tmp_path / "bomb.tar", *chain)
    with pytest.raises(ValueError, match=r"bomb\.tar: not a readable tar archive"):
        from_pretrained(bomb)


@pytest.mark.parametrize("version", ["old", "0.1", "1.0"])
def test_sparse_member_is_an_error(folder, tmp_path, version):
    """A file of holes takes no room in the archive, whichever way it is written."""
    (folder / "pytorch_model.bin").write_bytes(b"1\n0\n512\n" + bytes(1015))
    bomb = tmp_path / "bomb.tar"
    if version == "old":
        sparse = member("pytorch_model.bin", bytes(512), type=tarfile.GNUTYPE_SPARSE)
        with_members(folder, bomb, sparse)
    else:
        headers = {"GNU.sparse.realsize": "1000000", "GNU.sparse.map": "0,512"}
        if version == "1.0":
            headers |= {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        with_members(folder, bomb, format=tarfile.PAX_FORMAT)
        with tarfile.open(bomb, "w", format=tarfile.PAX_FORMAT) as tar:
            info = tar.gettarinfo(folder / "pytorch_model.bin", "pytorch_model.bin")
            info.pax_headers = headers
            with (folder / "pytorch_model.bin").open("rb") as file:
                tar.addfile(info, file)
    with pytest.raises(ValueError, match=r"bomb\.tar: .*member 'pytorch_model\.bin' is sparse"):
        from_pretrained(bomb)


@pytest.mark.parametrize("size", ["-1024", "99999999999999"])
def test_impossible_size_is_an_error(folder, tmp_path, size):
    """A pax header's size: a negative one would send tarfile back for ever."""
    with tarfile.open(tmp_path / "bomb.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info, content = member("config.json", b"{}", pax_headers={"size": size})
        tar.addfile(info, content)
    with pytest.raises(ValueError, match=r"bomb\.tar: (member 'config\.json'|not a readable)"):
        from_pretrained(tmp_path / "bomb.tar")


def test_other_compression_is_an_error(folder, tmp_path):
    """bzip2 and xz are not what such archives come in; a plain tar under a gzip's name is fine."""
    for kind in ("bz2", "xz"):
        with tarfile.open(tmp_path / "tiny.tar.gz", f"w:{kind}") as tar:
            tar.add(folder / "config.json", "config.json")
        with pytest.raises(ValueError, match=r"tiny\.tar\.gz: not a readable tar archive"):
            from_pretrained(tmp_path / "tiny.tar.gz")
    assert_is_tiny(from_pretrained(with_members(folder, tmp_path / "tiny.tar.gz")))


@pytest.mark.parametrize("damage", ["config.json", "vocab.txt", "model.safetensors"])
def test_errors_name_the_archive_and_the_member(folder, tmp_path, damage):
    """Never the scratch folder, which is gone when the message is read."""
    (folder / damage).write_text("damaged")
    archive = archive_of(folder, tmp_path / "bad.tar.gz")
    with pytest.raises(ValueError) as error:
        from_pretrained(archive)
    assert str(error.value).startswith(f"{archive}: {damage}: ")
    assert "/tmp" not in str(error.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_temporary_folder_is_said_to_be_that(folder, tmp_path, monkeypatch, code):
    """The archive is fine: what to do is make room, or name another folder with TMPDIR."""

    def full(*_):
        raise OSError(code, "No space left on device")

    archive = archive_of(folder, tmp_path / "tiny.tar.gz")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(ValueError) as error:
        from_pretrained(archive)
    expected = rf"{archive}: the temporary folder {tmp_path} is full \(\d+ MiB free\): .*TMPDIR"
    assert re.fullmatch(expected, str(error.value))


def test_loading_leaves_nothing_in_the_temporary_folder(folder, tmp_path, monkeypatch):
    """The scratch folder of an archive is gone, after success and after an error."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    archive = archive_of(folder, tmp_path / "tiny.tar.gz")
    loaded = from_pretrained(archive)
    assert list(scratch.iterdir()) == []
    assert_is_tiny(loaded)  # its tensors do not lie in the scratch folder
    (folder / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="lacks"):
        from_pretrained(archive_of(folder, tmp_path / "bad.tar.gz"))
    assert list(scratch.iterdir()) == []
