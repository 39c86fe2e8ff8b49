"""Checkpoints in folders of both layouts, and every one that cannot be used.

Run: pytest tests/integration/test_models.py
"""

import json
import math
import os
import re
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForMaskedLM, BertTokenizer

from custom_bert import Bert
from knowledge_neurons.networks.checkpoints import fingerprint, from_pretrained, save_pretrained
from knowledge_neurons.networks.hub import HUB_NAMES
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
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
    [([torch.zeros(2)], "got list"), ({"state_dict": {}}, "'state_dict' is none")],
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
    """Missing, unexpected and wrongly shaped tensors reach the user with the file's name."""
    path = folder / "model.safetensors"
    state = load_file(path)
    bias = "cls.predictions.bias"
    for changed, message in (
        ({k: v for k, v in state.items() if k != bias}, f"missing from the checkpoint: {bias}"),
        (state | {"extra.weight": torch.zeros(1)}, "unexpected tensors .*extra.weight"),
        (state | {bias: torch.zeros(54)}, rf"{bias} is \(54,\), the config says \(53,\)"),
    ):
        save_file(changed, path)
        with pytest.raises(ValueError, match=rf"model\.safetensors: .*{message}"):
            from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read(folder, dtype):
    """Half and double precision become float32."""
    path = folder / "model.safetensors"
    save_file({name: tensor.to(dtype) for name, tensor in load_file(path).items()}, path)
    expected = tiny_bert().to(dtype).float()
    assert torch.equal(from_pretrained(folder).model(IDS), expected(IDS))


NAME = "bert.encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.to(torch.int32), "holds int32, expected one of float32"),
        (lambda t: t > 0, "holds bool, expected one of float32"),
        (lambda t: t.to(torch.complex64), "holds complex64, expected one of float32"),
        (lambda t: t.to(torch.float8_e5m2), "holds float8_e5m2, expected"),
        (lambda t: t.fill_(0), "is all zero"),
        (
            lambda t: t.index_fill(0, torch.tensor([3]), math.nan),
            "holds numbers that are not finite",
        ),
        (
            lambda t: t.index_fill(1, torch.tensor([2]), -math.inf),
            "holds numbers that are not finite",
        ),
        (lambda t: t.double() * 1e300, "holds numbers that are not finite"),
    ],
    ids=["int", "bool", "complex", "float8", "zero", "nan", "inf", "over float32"],
)
def test_tensor_that_is_no_weights_is_an_error(folder, change, message):
    """Tensors of the right shape whose content is no trained weights: file and tensor named."""
    path = folder / "model.safetensors"
    state = load_file(path)
    save_file(state | {NAME: change(state[NAME])}, path)
    with pytest.raises(ValueError, match=rf"model\.safetensors: '?{NAME}'? {message}"):
        from_pretrained(folder)


def test_zero_biases_and_zero_scales(folder):
    """Biases may be zero; the scale of a LayerNorm, without which nothing passes, may not."""
    path = folder / "model.safetensors"
    state = load_file(path)
    zero = {name: tensor * 0 for name, tensor in state.items() if name.endswith(".bias")}
    save_file(state | zero, path)
    from_pretrained(folder)
    scale = "bert.encoder.layer.0.output.LayerNorm.weight"
    save_file(state | {scale: state[scale] * 0}, path)
    with pytest.raises(ValueError, match=f"{scale} is all zero"):
        from_pretrained(folder)


@pytest.mark.parametrize("kind", ["sparse", "meta", "number"])
def test_pickled_tensor_of_another_kind_is_an_error(folder, kind):
    """A sparse tensor, one without numbers, one under a name that is none."""
    as_pickle(folder)
    path = folder / "pytorch_model.bin"
    state = torch.load(path)
    made = {
        "sparse": {NAME: state[NAME].to_sparse()},
        "meta": {NAME: state[NAME].to("meta")},
        "number": {7: state[NAME]},
    }
    torch.save(state | made[kind], path)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: .*(holds|7 is none|read safely)"):
        from_pretrained(folder)


def test_compressed_pickle_is_an_error(folder):
    """torch stores its entries as they are; compressed ones, which it reads, may be of any size."""
    as_pickle(folder)
    path = folder / "pytorch_model.bin"
    with zipfile.ZipFile(path) as old:
        entries = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in entries.items():
            new.writestr(name, content)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin: cannot be read safely"):
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
        ('{"vocab_size": 53, "vocab_size": 54}', "the key 'vocab_size' stands twice"),
        ('{"layer_norm_eps": NaN}', "NaN is no number"),
        ('{"a": "\\ud800"}', "half a character"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
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


def test_bert_that_calls_itself_another_family_is_an_error(folder):
    """It is looked for under that family's names, and nothing missing is filled in at random."""
    edit_json(folder / "config.json", model_type="roberta")
    with pytest.raises(ValueError, match=r"model: \d+ tensors are missing"):
        from_pretrained(folder)


def test_corrupt_tokenizer_config_is_an_error(folder):
    """It is optional, but not ignored when it is damaged or says no to a question of yes or no."""
    for content in (
        *("{", "[]", '{"do_lower_case": "yes"}', '{"do_lower_case": 1}', '{"strip_accents": []}'),
        *('{"do_lower_case": true, "do_lower_case": false}', '{"tokenize_chinese_chars": "no"}'),
    ):
        (folder / "tokenizer_config.json").write_text(content)
        with pytest.raises(ValueError, match=r"tokenizer_config\.json: "):
            from_pretrained(folder)


def test_vocabulary_larger_than_the_model_is_an_error(folder):
    """Ids without an embedding: file and both numbers are named."""
    path = folder / "vocab.txt"
    path.write_text("\n".join([*VOCABULARY, "extra"]) + "\n")
    message = r"vocab\.txt: the vocabulary has 54 entries, .* vocab_size 53"
    with pytest.raises(ValueError, match=message):
        from_pretrained(folder)


@pytest.mark.parametrize("lost", [0, 20, 52])
def test_vocabulary_that_lost_a_line_is_an_error(folder, lost):
    """A trained row of the embedding has no token: file and id are named, and the way out."""
    lines = [*VOCABULARY[:lost], *VOCABULARY[lost + 1 :]]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n")
    with pytest.raises(
        ValueError, match=r"vocab\.txt: .*(id 52. *Are lines lost|lacks the special)"
    ):
        from_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join([*VOCABULARY[:-1], "[unused1]"]) + "\n")
    assert from_pretrained(folder).tokenizer.vocabulary["[unused1]"] == 52


def test_embedding_may_be_padded_with_zeros(folder):
    """Rows that are all zero need no token; nobody trained them."""
    state = load_file(folder / "model.safetensors")
    state["bert.embeddings.word_embeddings.weight"][50:] = 0
    save_file(state, folder / "model.safetensors")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY[:50]) + "\n")
    assert len(from_pretrained(folder).tokenizer) == 50


def test_tokenizer_json_that_lost_a_token_is_an_error(folder):
    """A hole in the middle of the ids is a lost token as well."""
    BertTokenizer.from_pretrained(folder).save_pretrained(folder / "hf")
    content = json.loads((folder / "hf" / "tokenizer.json").read_text())
    del content["model"]["vocab"]["capital"]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "vocab.txt").unlink()
    with pytest.raises(ValueError, match=r"tokenizer\.json: .* of id 8. *Are lines lost"):
        from_pretrained(folder)


def test_option_layer_norm_eps_is_bounded(folder):
    """As the config's is."""
    for eps in (0.5, math.nan, 0.0, -1.0):
        with pytest.raises(ValueError, match="layer_norm_eps is"):
            from_pretrained(folder, layer_norm_eps=eps)


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


def test_file_of_a_folder_that_is_none_is_an_error(folder, tmp_path):
    """A link to nothing, a folder: even the optional file is not left out in silence."""
    path = folder / "tokenizer_config.json"
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: expected a file, found"):
        from_pretrained(folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=r"tokenizer_config\.json: expected a file, found"):
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
