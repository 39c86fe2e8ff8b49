"""Every source of a checkpoint: folders of both layouts, archives, the hub; and every bad one.

python -m pytest tests/integration/test_models.py

The hub is a small server on 127.0.0.1; nothing here needs a network.
"""

import hashlib
import io
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM, BertTokenizer

from custom_bert import Bert
from knowledge_neurons.models import (
    HUB_NAMES,
    Pretrained,
    fingerprint,
    from_pretrained,
    save_pretrained,
)
from knowledge_neurons.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.reference.tiny import TINY, tiny_bert

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 1e-5  # of the largest logit: float32 sums in another order
VOCABULARY = [*SPECIAL_TOKENS, "Paris", "is", "the", "capital", "of", "##s", "."]
VOCABULARY += [f"Word{index}" for index in range(TINY.vocab_size - len(VOCABULARY))]
TEXT = "Paris is the capitals of [MASK]."
IDS = torch.tensor([[2, 5, 6, 7, 8, 10, 9, 4, 11, 3]])


def tokenizer(lowercase: bool = False) -> Tokenizer:
    return Tokenizer({token: index for index, token in enumerate(VOCABULARY)}, lowercase)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A checkpoint of the tiny model in today's layout, ours to change."""
    save_pretrained(tiny_bert(), tokenizer(), tmp_path / "model")
    return tmp_path / "model"


def as_pickle(folder: Path, old_names: bool = False) -> None:
    """Replace model.safetensors by pytorch_model.bin, with the gamma and beta of old if asked."""
    state = load_file(folder / "model.safetensors")
    if old_names:
        state = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): tensor
            for name, tensor in state.items()
        }
        # What the archives of 2018 hold besides.
        state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
        state["cls.seq_relationship.weight"] = torch.zeros(2, TINY.hidden_size)
        state["bert.pooler.dense.bias"] = torch.zeros(TINY.hidden_size)
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")


def as_old_layout(folder: Path) -> None:
    """bert_config.json without a model_type, pytorch_model.bin, vocab.txt, nothing else."""
    as_pickle(folder, old_names=True)
    config = json.loads((folder / "config.json").read_text())
    for key in ("architectures", "model_type", "layer_norm_eps"):
        del config[key]  # the old files did not have them; 1e-12 was in the code
    (folder / "bert_config.json").write_text(json.dumps(config))
    (folder / "config.json").unlink()
    (folder / "tokenizer_config.json").unlink()


def assert_is_tiny(loaded: Pretrained, seed: int = 0) -> None:
    """The model that was written, bit for bit, with its tokenizer."""
    expected = tiny_bert(seed)
    assert torch.equal(loaded.model(IDS), expected(IDS))
    assert loaded.sha256 == fingerprint(expected)
    assert loaded.model.config == TINY
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.tokenizer.encode(TEXT) == IDS[0].tolist()


def edit_json(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# --- folders ---------------------------------------------------------------------------------


def test_folder_with_safetensors(folder):
    """Today's layout, as `save_pretrained` writes it, named by a Path or a string."""
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    assert_is_tiny(from_pretrained(folder))
    assert_is_tiny(from_pretrained(str(folder)))


def test_folder_with_pickled_weights(folder):
    """Today's layout with pytorch_model.bin."""
    as_pickle(folder)
    assert_is_tiny(from_pretrained(folder))


def test_safetensors_are_preferred(folder):
    """Where both files are, the safe one is read and the other not even opened."""
    (folder / "pytorch_model.bin").write_bytes(b"not read")
    assert_is_tiny(from_pretrained(folder))


@pytest.mark.parametrize("lowercase", [False, True])
def test_folder_with_only_a_tokenizer_json(folder, lowercase):
    """Without vocab.txt and tokenizer_config.json, tokenizer.json says all."""
    BertTokenizer.from_pretrained(folder, do_lower_case=lowercase).save_pretrained(folder / "hf")
    shutil.copy(folder / "hf" / "tokenizer.json", folder)
    (folder / "vocab.txt").unlink()
    (folder / "tokenizer_config.json").unlink()
    loaded = from_pretrained(folder)
    assert loaded.tokenizer.vocabulary == tokenizer().vocabulary
    assert loaded.tokenizer.lowercase is lowercase
    if not lowercase:
        assert_is_tiny(loaded)


def test_folder_of_the_old_layout(folder):
    """bert_config.json without newer keys, a pickle with gamma and beta and pretraining heads."""
    as_old_layout(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "bert_config.json",
        "pytorch_model.bin",
        "vocab.txt",
    ]
    assert_is_tiny(from_pretrained(folder))


def test_folder_written_by_hugging_face(folder, tmp_path):
    """What their save_pretrained writes, weights and tokenizer, loads here to their logits."""
    theirs = BertForMaskedLM.from_pretrained(folder)
    theirs.save_pretrained(tmp_path / "theirs")
    BertTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "theirs")
    assert_is_tiny(from_pretrained(tmp_path / "theirs"))


def test_folder_that_we_write_loads_in_hugging_face(folder):
    """save_pretrained -> BertForMaskedLM and BertTokenizer: the same logits, nothing missing."""
    theirs, info = BertForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        expected = theirs.eval()(IDS).logits
    got = from_pretrained(folder).model(IDS)
    assert (got - expected).abs().max() <= CLOSE * expected.abs().max()
    assert BertTokenizer.from_pretrained(folder)(TEXT).input_ids == IDS[0].tolist()


def test_ids_without_a_token_keep_their_place(folder):
    """A vocabulary with unused ids survives save and load: no later token moves."""
    gaps = {token: index for index, token in enumerate(VOCABULARY) if index not in (6, 20, 21)}
    save_pretrained(tiny_bert(), Tokenizer(gaps, lowercase=False), folder)
    loaded = from_pretrained(folder).tokenizer
    assert {token: loaded.vocabulary[token] for token in gaps} == gaps
    assert len(loaded) == len(VOCABULARY)


def test_layer_norm_eps_can_be_replaced(folder):
    """The argument overrules the config, which is otherwise kept."""
    edit_json(folder / "config.json", layer_norm_eps=1e-3)
    assert from_pretrained(folder).model.config.layer_norm_eps == 1e-3
    replaced = from_pretrained(folder, layer_norm_eps=1e-5).model
    assert replaced.config.layer_norm_eps == 1e-5
    assert {m.eps for m in replaced.modules() if isinstance(m, torch.nn.LayerNorm)} == {1e-5}


# --- whether case is folded ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [("bert-tiny-uncased", True), ("bert-tiny-cased", False), ("tiny", False)],
)
def test_case_from_the_name_or_the_vocabulary(folder, name, expected):
    """Without a tokenizer_config.json: the name, else capital letters in the vocabulary."""
    (folder / "tokenizer_config.json").unlink()
    renamed = folder.rename(folder.with_name(name))
    assert from_pretrained(renamed).tokenizer.lowercase is expected
    assert from_pretrained(renamed, lowercase=not expected).tokenizer.lowercase is not expected


def test_case_of_a_vocabulary_without_capitals(folder):
    """Special tokens apart, a vocabulary with no capital letter is an uncased one, or so named."""
    (folder / "tokenizer_config.json").unlink()
    lines = [token if token in SPECIAL_TOKENS else token.lower() for token in VOCABULARY]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    assert from_pretrained(folder).tokenizer.lowercase is True
    named = folder.rename(folder.with_name("tiny-cased"))  # the name knows better
    assert from_pretrained(named).tokenizer.lowercase is False


@pytest.mark.parametrize("lowercase", [False, True])
def test_case_from_tokenizer_json_beside_the_vocabulary(folder, lowercase):
    """vocab.txt beside tokenizer.json, no tokenizer_config.json: the json knows."""
    BertTokenizer.from_pretrained(folder, do_lower_case=lowercase).save_pretrained(folder / "hf")
    shutil.copy(folder / "hf" / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").unlink()
    renamed = folder.rename(folder.with_name("uncased" if not lowercase else "cased"))
    assert from_pretrained(renamed).tokenizer.lowercase is lowercase


def test_config_of_the_tokenizer_comes_before_the_name(folder):
    """tokenizer_config.json overrules the name; the argument overrules both."""
    renamed = folder.rename(folder.with_name("uncased"))
    assert from_pretrained(renamed).tokenizer.lowercase is False
    assert from_pretrained(renamed, lowercase=True).tokenizer.lowercase is True


@pytest.mark.parametrize(
    "changes", [{"strip_accents": True}, {"tokenize_chinese_chars": False}], ids=str
)
def test_other_cleaning_of_text_is_an_error(folder, changes):
    """Tokenizer options that would silently give other ids are refused."""
    edit_json(folder / "tokenizer_config.json", **changes)
    with pytest.raises(ValueError, match=rf"tokenizer_config\.json: {next(iter(changes))}"):
        from_pretrained(folder)


# --- fingerprints ----------------------------------------------------------------------------


def test_fingerprint_is_that_of_the_weights_alone(folder, tmp_path):
    """One sha256 for safetensors, pickle, old names and an archive of the same weights."""
    expected = from_pretrained(folder).sha256
    assert re.fullmatch(r"[0-9a-f]{64}", expected)
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    as_old_layout(old)
    assert from_pretrained(old).sha256 == expected
    assert from_pretrained(archive_of(old, tmp_path / "old.tar.gz")).sha256 == expected
    edit_json(folder / "config.json", layer_norm_eps=1e-3)
    assert from_pretrained(folder).sha256 == expected


def test_fingerprint_changes_with_one_weight():
    """The last bit of any single tensor's first value shows."""
    model = tiny_bert()
    seen = {fingerprint(model)}
    for parameter in model.parameters():
        first = parameter.data.view(-1)[:1]
        first.copy_(torch.nextafter(first, first + 1))
        seen.add(fingerprint(model))
    assert len(seen) == 1 + len(list(model.parameters()))


# --- archives --------------------------------------------------------------------------------


def archive_of(folder: Path, archive: Path, prefix: str = "./", leave_out: tuple = ()) -> Path:
    """A tar of the folder's files; gzip unless the name says otherwise."""
    with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            if path.name not in leave_out:
                tar.add(path, prefix + path.name)
    return archive


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


# --- weights that cannot be trusted ----------------------------------------------------------


class Touch:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("in_archive", [False, True])
def test_code_in_a_pickle_does_not_run(folder, tmp_path, in_archive):
    """A pickle that would run code is refused and has no effect; unsafe loading would have."""
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Touch(tmp_path / "executed")}, folder / "pytorch_model.bin")
    source = archive_of(folder, tmp_path / "evil.tar.gz") if in_archive else folder
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: cannot be read safely") as error:
        from_pretrained(source)
    assert "weights_only" not in str(error.value), "torch's advice to load it unsafely"
    assert not (tmp_path / "executed").exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "executed").exists(), "the test's pickle is harmless"


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"PK\x03\x04" + bytes(99), b"\x80\x02]q", b"." * 50, bytes(range(256)) * 4],
    ids=["empty", "text", "zip", "list", "stops", "bytes"],
)
def test_damaged_pickle_is_an_error(folder, content):
    """Whatever exception the unpickler raises, the user gets a ValueError naming the file."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: cannot be read safely"):
        from_pretrained(folder)


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_pickle_is_an_error(folder, legacy):
    """Half of a pickle of either format, today's zip and the older stream."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    assert_is_tiny(from_pretrained(folder))
    whole = path.read_bytes()
    for share in (0.001, 0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=r"pytorch_model\.bin: cannot be read safely"):
            from_pretrained(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [([torch.zeros(2)], "got list"), ({"state_dict": {}}, "state_dict is none")],
)
def test_pickle_of_something_else_is_an_error(folder, content, message):
    """A list, or a training checkpoint with the tensors one level down, is named as such."""
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=rf"pytorch_model\.bin: expected a dictionary.*{message}"):
        from_pretrained(folder)


@pytest.mark.parametrize("size", [0, 4, 100, 5000, -1])
def test_truncated_safetensors_is_an_error(folder, size):
    """A file cut in the length, the header or the data, or by its last byte."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"model\.safetensors: cannot be read safely"):
        from_pretrained(folder)


def test_corrupt_safetensors_header_is_an_error(folder):
    """A header that is no JSON, and one that claims to be longer than the file."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    for damaged in (whole[:8] + b"[" + whole[9:], struct.pack("<Q", 1 << 40) + whole[8:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors: cannot be read safely"):
            from_pretrained(folder)


def test_errors_of_the_tensors_name_the_source(folder):
    """Missing, unexpected and wrongly shaped tensors reach the user with the folder's name."""
    path = folder / "model.safetensors"
    state = load_file(path)
    bias = "cls.predictions.bias"
    for changed, message in (
        ({k: v for k, v in state.items() if k != bias}, f"missing from the checkpoint: {bias}"),
        (state | {"extra.weight": torch.zeros(1)}, "unexpected tensors .*extra.weight"),
        (state | {bias: torch.zeros(54)}, rf"{bias} is \(54,\), the config says \(53,\)"),
    ):
        save_file(changed, path)
        with pytest.raises(ValueError, match=f"model: .*{message}"):
            from_pretrained(folder)


# --- configs and vocabularies that do not fit ------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ('{"vocab_size": 53,', "not valid JSON"),
        ("\ufeff{}", "not valid JSON"),
        ("[1, 2]", "expected a JSON object, got list"),
        ("null", "expected a JSON object, got NoneType"),
        ("{}", "lacks vocab_size, hidden_size"),
        ('{"vocab_size": "53"}', "lacks hidden_size"),
    ],
)
def test_corrupt_config_is_an_error(folder, content, message):
    """The file is named, with what is wrong with it."""
    (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": "three"},
        {"num_attention_heads": 0},
        {"hidden_size": 32.5},
        {"hidden_act": ["gelu"]},
        {"hidden_act": "tanh"},
        {"layer_norm_eps": None},
        {"model_type": "roberta"},
        {"is_decoder": True},
        {"position_embedding_type": "relative_key_query"},
    ],
    ids=str,
)
def test_unusable_config_is_an_error(folder, changes):
    """Wrong types, impossible sizes and models of another kind: never a traceback from torch."""
    edit_json(folder / "config.json", **changes)
    with pytest.raises(ValueError, match=r"config\.json: "):
        from_pretrained(folder)


def test_corrupt_tokenizer_config_is_an_error(folder):
    """It is optional, but not ignored when it is damaged."""
    for content in ("{", "[]"):
        (folder / "tokenizer_config.json").write_text(content)
        with pytest.raises(ValueError, match=r"tokenizer_config\.json: "):
            from_pretrained(folder)


def test_vocabulary_larger_than_the_model_is_an_error(folder):
    """Ids without an embedding: both numbers are named.  Fewer tokens than embeddings are fine."""
    path = folder / "vocab.txt"
    path.write_text("\n".join([*VOCABULARY, "extra"]) + "\n")
    with pytest.raises(ValueError, match=r"vocabulary has 54 entries, .* vocab_size 53"):
        from_pretrained(folder)
    path.write_text("\n".join(VOCABULARY[:50]) + "\n")
    assert_is_tiny(from_pretrained(folder))


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("config.json", r"no config: looked for config\.json or bert_config\.json, found model\."),
        ("model.safetensors", r"no weights: looked for model\.safetensors or pytorch_model\.bin"),
        ("vocab.txt", r"no vocabulary: looked for vocab\.txt or tokenizer\.json"),
    ],
)
def test_missing_file_of_a_folder_is_an_error(folder, removed, message):
    """The message says which part is missing, under which names it may come, what was found."""
    (folder / removed).unlink()
    with pytest.raises(ValueError, match=message):
        from_pretrained(folder)


def test_folder_without_a_checkpoint_is_an_error(tmp_path):
    """An empty folder has none of the files."""
    with pytest.raises(ValueError, match="found none of the files of a checkpoint"):
        from_pretrained(tmp_path)


def test_single_file_is_an_error(folder):
    """Naming the weights instead of the folder is answered with what to do."""
    with pytest.raises(ValueError, match="is a file: give the folder it lies in"):
        from_pretrained(folder / "model.safetensors")


def test_unknown_name_lists_the_known_ones():
    """A name that is nothing is answered with the seven names."""
    with pytest.raises(ValueError) as error:
        from_pretrained("bert-base-caesd")
    assert len(HUB_NAMES) == 7
    assert all(name in str(error.value) for name in ["bert-base-caesd", *HUB_NAMES])


# --- the hub ---------------------------------------------------------------------------------


class Hub:
    """As much of the hub as a download needs, on 127.0.0.1.

    repos[repo][revision] is {file name: content}; requests lists "METHOD repo/revision/file".
    """

    def __init__(self):
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[str] = []
        self.broken = ""  # GET of this file: the connection drops
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                hub.answer(self)

            do_GET = do_HEAD

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", request.path)
        repo, revision, name = map(unquote, match.groups()) if match else ("", "", "")
        if match:
            self.requests.append(f"{request.command} {repo}/{revision}/{name}")
        files = self.repos.get(repo, {}).get(revision)
        if files is None:
            error = "RevisionNotFound" if repo in self.repos else "RepoNotFound"
            return self.send(request, 404, {"X-Error-Code": error})
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        if name not in files:
            return self.send(
                request, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
            )
        if request.command == "GET" and name == self.broken:
            request.close_connection = True
            return None
        etag = hashlib.sha256(files[name]).hexdigest()
        return self.send(request, 200, {"ETag": f'"{etag}"', "X-Repo-Commit": commit}, files[name])

    def send(self, request, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        request.send_response(status)
        for key, value in headers.items():
            request.send_header(key, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(body)

    def put(self, name: str, folder: Path, revision: str = "main") -> None:
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self.repos.setdefault(HUB_NAMES.get(name, name), {})[revision] = files

    def served(self, method: str) -> list[str]:
        """File names of the requests of one method so far."""
        return [line.rsplit("/", 1)[1] for line in self.requests if line.startswith(method)]


def point_at(monkeypatch, url: str) -> None:
    """Make huggingface_hub, which reads its variables at import, talk to that server."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    point_at(monkeypatch, server.url)
    yield server
    server.close()


@pytest.fixture
def no_pauses(monkeypatch):
    """Retries without their waiting."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.mark.parametrize("name", HUB_NAMES)
def test_each_published_name(hub, folder, tmp_path, name):
    """Each of the seven names loads from its repository, and asks no other one."""
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    hub.put(name, folder)
    assert_is_tiny(from_pretrained(name, cache_dir=tmp_path / "cache"))
    assert all(f" google-bert/{name}/main/" in request for request in hub.requests)
    files = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"]
    assert hub.served("GET") == files


def test_any_repository(hub, folder, tmp_path):
    """organisation/name works as well."""
    hub.put("someone/their-bert", folder)
    assert_is_tiny(from_pretrained("someone/their-bert", cache_dir=tmp_path / "cache"))


def test_second_load_is_from_the_cache(hub, folder, tmp_path):
    """The second load downloads nothing; a changed repository is downloaded again."""
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    assert len(hub.served("GET")) == 4
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))
    assert len(hub.served("GET")) == 4
    save_pretrained(tiny_bert(1), tokenizer(), folder)
    hub.put("bert-base-cased", folder)
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"), seed=1)
    assert hub.served("GET")[4:] == ["model.safetensors"]


def test_offline_mode_uses_the_cache_and_asks_nothing(hub, folder, tmp_path, monkeypatch):
    """HF_HUB_OFFLINE after one load: the same model, not one request."""
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))
    assert hub.requests == []


def test_offline_mode_remembers_files_that_do_not_exist(hub, folder, tmp_path, monkeypatch):
    """A repository of the old layout without tokenizer_config.json is just as usable offline."""
    as_old_layout(folder)
    hub.put("bert-base-cased", folder)
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))


def test_offline_mode_without_a_cache_is_an_error(hub, folder, tmp_path, monkeypatch):
    """The message names the model, the file, and both ways out; nothing is asked."""
    hub.put("bert-base-cased", folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError) as error:
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    for words in ("bert-base-cased", "config.json", "HF_HUB_OFFLINE", "give a folder"):
        assert words in str(error.value)
    assert hub.requests == []


def test_offline_mode_with_half_a_cache_is_an_error(hub, folder, tmp_path, monkeypatch):
    """A file that exists on the hub and was not fetched is an error, not skipped in silence."""
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*/snapshots/*/tokenizer_config.json")
    cached.unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"cannot get tokenizer_config\.json"):
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")


def test_revision_chooses_the_content(hub, folder, tmp_path):
    """Branch, tag or commit: each gives its own weights; the cache keeps them apart."""
    hub.put("bert-base-cased", folder)
    save_pretrained(tiny_bert(1), tokenizer(), folder)
    hub.put("bert-base-cased", folder, revision="v1.0")
    hub.put("bert-base-cased", folder, revision="feature/x")
    for revision, seed in ((None, 0), ("v1.0", 1), ("feature/x", 1), ("main", 0)):
        loaded = from_pretrained("bert-base-cased", revision=revision, cache_dir=tmp_path / "cache")
        assert_is_tiny(loaded, seed)


def test_commit_hash_is_served_from_the_cache_alone(hub, folder, tmp_path):
    """A full commit hash cannot change, so the second load asks nothing."""
    commit = "0123456789" * 4
    hub.put("bert-base-cased", folder, revision=commit)
    where = {"revision": commit, "cache_dir": tmp_path / "cache"}
    hub.answer = hub_with_fixed_commit(hub, commit)
    assert_is_tiny(from_pretrained("bert-base-cased", **where))
    hub.requests.clear()
    assert_is_tiny(from_pretrained("bert-base-cased", **where))
    assert hub.requests == []


def hub_with_fixed_commit(hub: Hub, commit: str):
    """The hub's answers under that commit hash."""
    answer, send = hub.answer, hub.send
    hub.send = lambda request, status, headers, body=b"": send(
        request, status, headers | {"X-Repo-Commit": commit}, body
    )
    return answer


def test_unknown_revision_is_an_error(hub, folder, tmp_path):
    """The revision and the model are named."""
    hub.put("bert-base-cased", folder)
    with pytest.raises(ValueError, match=r"(?s)bert-base-cased: the hub does not give.*v9"):
        from_pretrained("bert-base-cased", revision="v9", cache_dir=tmp_path / "cache")


def test_unknown_repository_is_an_error(hub, tmp_path):
    """A repository that is not there, for example a mistyped folder."""
    with pytest.raises(ValueError, match=r"(?s)results/tpyo: the hub does not give config\.json"):
        from_pretrained("results/tpyo", cache_dir=tmp_path / "cache")


def test_repository_without_safetensors(hub, folder, tmp_path):
    """Falls back to pytorch_model.bin, and to the other alternatives of each part."""
    as_old_layout(folder)
    hub.put("bert-base-chinese", folder)
    assert_is_tiny(from_pretrained("bert-base-chinese", cache_dir=tmp_path / "cache"))
    assert hub.served("GET") == ["bert_config.json", "vocab.txt", "pytorch_model.bin"]


@pytest.mark.parametrize(
    ("removed", "part"), [("model.safetensors", "weights"), ("vocab.txt", "vocabulary")]
)
def test_repository_without_a_part_is_an_error(hub, folder, tmp_path, removed, part):
    """No weights under any name, no vocabulary under any name."""
    (folder / removed).unlink()
    hub.put("bert-base-cased", folder)
    with pytest.raises(ValueError, match=f"the checkpoint has no {part}"):
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")


def test_case_of_a_published_name_without_a_tokenizer_config(hub, folder, tmp_path):
    """The name decides where the repository does not say."""
    (folder / "tokenizer_config.json").unlink()
    for name in HUB_NAMES:
        hub.put(name, folder)
        loaded = from_pretrained(name, cache_dir=tmp_path / "cache")
        assert loaded.tokenizer.lowercase is ("uncased" in name)


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_unreachable_hub_is_an_error(tmp_path, monkeypatch, no_pauses):
    """No server: the message names the model and says what to do."""
    point_at(monkeypatch, closed_port())
    with pytest.raises(ValueError) as error:
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    for words in ("bert-base-cased", "config.json", "Check the connection", "give a folder"):
        assert words in str(error.value)


def test_unreachable_hub_with_a_cache(hub, folder, tmp_path, monkeypatch, no_pauses):
    """What was loaded once loads again without the server, absent files included."""
    as_old_layout(folder)
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    point_at(monkeypatch, closed_port())
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))


def test_broken_download_is_an_error_and_leaves_no_half_file(hub, folder, tmp_path, no_pauses):
    """A connection that drops in the weights is a ValueError; the next load is whole."""
    hub.put("bert-base-cased", folder)
    hub.broken = "model.safetensors"
    with pytest.raises(ValueError, match=r"bert-base-cased: the hub does not give model\.safe"):
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    hub.broken = ""
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))


def test_local_folder_comes_before_the_hub(hub, folder, tmp_path, monkeypatch):
    """A folder of a published name in the current directory is the folder."""
    folder.rename(tmp_path / "bert-base-cased")
    monkeypatch.chdir(tmp_path)
    assert_is_tiny(from_pretrained("bert-base-cased"))
    assert hub.requests == []


def test_environment_variables_hold(hub, folder, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE in the environment of a fresh process."""
    hub.put("bert-base-cased", folder)
    command = "from knowledge_neurons.models import from_pretrained as load\n"
    command += "print(load('bert-base-cased').sha256)"
    variables = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    variables |= {"PYTHONPATH": str(ROOT / "src"), "NO_PROXY": "127.0.0.1"}

    def run(**more) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", command],
            env=variables | more,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    refused = run(HF_HUB_OFFLINE="1")
    assert "ValueError: bert-base-cased: cannot get config.json" in refused.stderr
    assert hub.requests == []
    assert run().stdout.strip() == fingerprint(tiny_bert())
    assert len(hub.served("GET")) == 4
    assert run(HF_HUB_OFFLINE="1").stdout.strip() == fingerprint(tiny_bert())
    assert len(hub.served("GET")) == 4


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


def test_loaded_models_do_not_share_weights(folder):
    """Editing one loaded model in place leaves the file and the next load alone."""
    first = from_pretrained(folder).model
    assert isinstance(first, Bert)
    first.layers[0].output.weight.zero_()
    assert_is_tiny(from_pretrained(folder))
