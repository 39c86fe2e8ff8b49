"""Checkpoints in folders of both layouts, and every one that cannot be used.

Run: pytest tests/integration/test_models.py
"""

import json
import os
import re
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM, BertTokenizer

from custom_bert import Bert
from knowledge_neurons.models import HUB_NAMES, fingerprint, from_pretrained, save_pretrained
from knowledge_neurons.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.integration.checkpoints import (
    IDS,
    TEXT,
    VOCABULARY,
    archive_of,
    as_old_layout,
    as_pickle,
    assert_is_tiny,
    tokenizer,
)
from tests.reference.tiny import tiny_bert

CLOSE = 1e-5  # of the largest logit: float32 sums in another order


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


def test_loaded_models_do_not_share_weights(folder):
    """Editing one loaded model in place leaves the file and the next load alone."""
    first = from_pretrained(folder).model
    assert isinstance(first, Bert)
    first.layers[0].output.weight.zero_()
    assert_is_tiny(from_pretrained(folder))


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
