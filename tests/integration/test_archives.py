"""Checkpoints in tar archives: published ones, hostile ones, damaged ones.

Run: pytest tests/integration/test_archives.py
"""

import io
import shutil
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import pytest

from knowledge_neurons.models import from_pretrained
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
    """A link or a pipe in the place of the weights is no weights, wherever it points."""
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for name in ("config.json", "vocab.txt"):
            tar.add(folder / name, name)
        link = str(folder / "model.safetensors")
        tar.addfile(*member("model.safetensors", type=kind, linkname=link))
    with pytest.raises(ValueError, match="no weights"):
        from_pretrained(tmp_path / "evil.tar")


def test_archive_link_then_file_of_that_name(folder, tmp_path):
    """The classic escape, a link and then a file written through it, touches no target."""
    target = tmp_path / "target"
    target.write_text("untouched")
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.addfile(*member("vocab.txt", type=tarfile.SYMTYPE, linkname=str(target)))
        for path in folder.iterdir():
            tar.add(path, path.name)
    assert_is_tiny(from_pretrained(tmp_path / "evil.tar"))
    assert target.read_text() == "untouched"


def test_archive_with_a_member_twice_is_an_error(folder, tmp_path):
    """Two files of one base name: which is meant is not guessed."""
    with tarfile.open(tmp_path / "two.tar", "w") as tar:
        for path in folder.iterdir():
            tar.add(path, path.name)
        tar.add(folder / "vocab.txt", "other/vocab.txt")
    with pytest.raises(ValueError, match=r"two\.tar: holds vocab\.txt more than once"):
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
