"""The BERT of custom_bert.py on tiny random weights: its parts, its config, its loader.

python -m pytest tests/unit/test_custom_bert.py
"""

import ast
import math
import sys
from pathlib import Path

import pytest
import torch
from transformers import BertConfig as TheirConfig
from transformers import BertForMaskedLM

import custom_bert
from custom_bert import ACTIVATIONS, BertConfig
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.bert_names import KNOWN_HARMLESS, TIED
from tests.reference.tiny import TINY, tiny_bert

# Float32 sums of a few dozen terms in another order: a few units in the last place.
ROUNDING = 1e-5
SIZES_OF_TINY = {name: getattr(TINY, name) for name in TINY.__dataclass_fields__}
WORD = "bert.embeddings.word_embeddings.weight"
NORM = "bert.encoder.layer.1.attention.output.LayerNorm"


def random_ids(B: int, T: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(TINY.vocab_size, (B, T), generator=torch.Generator().manual_seed(seed))


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """A valid published checkpoint of the TINY shape, ours to spoil."""
    return {name: tensor.clone() for name, tensor in tiny_bert(seed).published_state().items()}


def their_model(**changes) -> BertForMaskedLM:
    """Hugging Face's model of the TINY shape with random, far from initial weights."""
    theirs = BertForMaskedLM(TheirConfig(**SIZES_OF_TINY | changes)).eval()
    torch.manual_seed(1)
    for parameter in theirs.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return theirs


# --- the parts -------------------------------------------------------------------------------


def test_parts_by_hand_are_the_forward_pass():
    """embed, attend, ffn_in, ffn_out and head, called one by one, are model(ids) bit for bit."""
    model, ids = tiny_bert(), random_ids(3, 7)
    x = model.embed(ids)
    assert x.shape == (3, 7, TINY.hidden_size)
    for layer in model.layers:
        x = layer.attend(x)
        w = layer.ffn_in(x)
        assert w.shape == (3, 7, TINY.intermediate_size)
        x = layer.ffn_out(w, x)
        assert x.shape == (3, 7, TINY.hidden_size)
    logits = model.head(x)
    assert logits.shape == (3, 7, TINY.vocab_size)
    assert torch.equal(logits, model(ids))


def test_ffn_out_adds_one_value_slot_per_neuron():
    """Column i of output.weight is what neuron i writes: the sum over neurons is ffn_out."""
    layer = tiny_bert().layers[1]
    x = torch.randn(TINY.hidden_size, generator=torch.Generator().manual_seed(2))
    w = layer.ffn_in(x)  # (F,)
    y = sum(w[i] * layer.output.weight[:, i] for i in range(TINY.intermediate_size))
    expected = layer.ffn_out(w, x)
    torch.testing.assert_close(layer.add_ffn(y + layer.output.bias, x), expected)


@pytest.mark.parametrize("position", [0, 3, 6])
def test_attend_of_one_position_is_a_row_of_full_attention(position):
    """Asking attention for one token over the whole context gives that token's row."""
    model = tiny_bert()
    x = model.embed(random_ids(3, 7))  # (B, T, D)
    one = model.layers[0].attend(x[:, position : position + 1], context=x)  # (B, 1, D)
    full = model.layers[0].attend(x)[:, position : position + 1]
    torch.testing.assert_close(one, full, rtol=ROUNDING, atol=ROUNDING)


def test_attend_at_takes_a_position_of_each_row():
    """Rows of the full attention, each at a place of its own."""
    model, at = tiny_bert(), torch.tensor([0, 4, 2])
    x = model.embed(random_ids(3, 5))
    full = model.layers[0].attend(x)
    expected = full[torch.arange(3), at]
    torch.testing.assert_close(model.layers[0].attend_at(x, at), expected, rtol=0, atol=ROUNDING)


def test_masked_padding_changes_nothing():
    """With the mask, padding of any content leaves the logits of the real positions alone."""
    model, ids = tiny_bert(), random_ids(2, 5)
    expected = model(ids)
    for filler in (0, 7):
        padded = torch.cat([ids, torch.full((2, 4), filler)], dim=1)  # (B, T + 4)
        mask = torch.arange(9).expand(2, 9) < 5
        got = model(padded, mask)[:, :5]
        torch.testing.assert_close(got, expected, rtol=ROUNDING, atol=ROUNDING)
        assert not torch.allclose(model(padded)[:, :5], expected, atol=1e-2), "the mask is idle"


def test_position_and_word_order_matter():
    """The same tokens in another order give other logits: positions are added."""
    model, ids = tiny_bert(), torch.tensor([[4, 9, 2]])
    assert not torch.allclose(model(ids)[0, 0], model(ids.flip(1))[0, 2], atol=1e-2)


def test_too_long_prompt_is_an_error():
    """More tokens than positions is a ValueError that names both numbers."""
    with pytest.raises(ValueError, match="25 tokens in a prompt, the model has positions for 24"):
        tiny_bert()(random_ids(1, 25))


def test_the_network_needs_torch_only():
    """custom_bert.py imports torch and the standard library, but where it loads checkpoints."""
    body = ast.parse(Path(custom_bert.__file__).read_text()).body
    names = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in body if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"torch"}


# --- the config ------------------------------------------------------------------------------

SIZES = {
    "vocab_size": 11,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 5,
}


def test_config_defaults_and_unknown_keys():
    """Absent optional keys take BERT's defaults; keys that do not shape the network are ignored."""
    config = BertConfig.from_dict(SIZES | {"hidden_dropout_prob": 0.1, "model_type": "bert"})
    assert config == BertConfig(11, 8, 2, 2, 5, 512, 2, "gelu", 1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "quick_gelu"}, "hidden_act 'quick_gelu' is not one of gelu, gelu_new"),
        ({"is_decoder": True}, "is_decoder"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"model_type": "roberta"}, "roberta"),
        ({"num_attention_heads": 3}, "hidden_size 8 is no multiple of num_attention_heads 3"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0, expected an integer from 1"),
        ({"num_hidden_layers": None}, "num_hidden_layers is None, expected an integer"),
        ({"vocab_size": "11"}, "vocab_size is '11', expected an integer from 1"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is 10+, expected .* from 1 to 256"),
        ({"hidden_size": 10**12}, "hidden_size is 10+, expected"),
        ({"vocab_size": 10**12}, "vocab_size is 10+, expected"),
        ({"intermediate_size": 10**30}, "intermediate_size is 10+, expected"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings is 10+, expected"),
        ({"type_vocab_size": True}, "type_vocab_size is True, expected an integer"),
        ({"num_hidden_layers": 2.0}, "num_hidden_layers is 2.0, expected an integer"),
        ({"vocab_size": "1" * 10**6}, r"vocab_size is '1{79}, expected"),
        ({"hidden_act": ["gelu"]}, r"hidden_act \['gelu'\] is not one of"),
        ({"model_type": "x" * 10**6}, "the config asks for .{200}, only {.{,150}$"),
        ({"layer_norm_eps": 0.011}, "layer_norm_eps is 0.011, expected a number .* up to 0.01"),
        ({"layer_norm_eps": math.nan}, "layer_norm_eps is nan"),
        ({"layer_norm_eps": math.inf}, "layer_norm_eps is inf"),
        ({"type_vocab_size": 0}, "type_vocab_size is 0"),
        ({"layer_norm_eps": "1e-12"}, "layer_norm_eps is '1e-12'"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps is 0.0"),
    ],
)
def test_config_that_would_compute_wrongly_is_an_error(changes, message):
    """Each option that this file does not compute is a ValueError naming key and value."""
    with pytest.raises(ValueError, match=message):
        BertConfig.from_dict(SIZES | changes)


def test_config_names_every_missing_key():
    """All absent required keys are named at once."""
    with pytest.raises(ValueError, match="lacks vocab_size, intermediate_size"):
        BertConfig.from_dict(
            {k: v for k, v in SIZES.items() if k not in ("vocab_size", "intermediate_size")}
        )


# --- Hugging Face as oracle ------------------------------------------------------------------


@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"])
def test_every_activation_gives_their_logits(hidden_act):
    """For each entry of ACTIVATIONS the logits are BertForMaskedLM's, mask or not."""
    theirs = their_model(hidden_act=hidden_act)
    ours = BertNetwork.from_state(
        BertConfig.from_dict(theirs.config.to_dict()), theirs.state_dict()
    )
    ids, mask = random_ids(3, 9), torch.arange(9) < torch.tensor([[9], [5], [3]])
    with torch.no_grad():
        expected = theirs(ids).logits, theirs(ids, attention_mask=mask.long()).logits
    for got, want in zip((ours(ids), ours(ids, mask)), expected, strict=True):
        assert (got - want).abs().max() <= ROUNDING * want.abs().max()


def test_the_activations_tested_are_all_there_are():
    """The list above is ACTIVATIONS, and no two but the two names of one function agree."""
    assert list(ACTIVATIONS) == ["gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu"]
    x = torch.linspace(-3, 3, 50)
    different = {tuple(f(x).tolist()) for f in ACTIVATIONS.values()}
    assert len(different) == len(ACTIVATIONS) - 1


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 1e-2])
def test_layer_norm_eps_is_the_configs(eps):
    """The epsilon reaches every LayerNorm: their logits at that eps, other ones at another."""
    theirs = their_model(layer_norm_eps=eps)
    config = BertConfig.from_dict(theirs.config.to_dict())
    ours, ids = BertNetwork.from_state(config, theirs.state_dict()), random_ids(2, 6)
    norms = [m for m in ours.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 2 * TINY.num_hidden_layers + 2
    assert {m.eps for m in norms} == {eps}
    with torch.no_grad():
        want = theirs(ids).logits
    assert (ours(ids) - want).abs().max() <= ROUNDING * want.abs().max()
    other = BertNetwork.from_state(
        BertConfig.from_dict(SIZES_OF_TINY | {"layer_norm_eps": 0.01}), published()
    )
    same = BertNetwork.from_state(BertConfig.from_dict(SIZES_OF_TINY), published())
    assert not torch.allclose(other(ids), same(ids), atol=1e-3)


def test_published_state_has_their_names_and_shapes():
    """published_state() is their state dict without the second copies of tied tensors."""
    theirs = {name: tuple(t.shape) for name, t in their_model().state_dict().items()}
    ours = {name: tuple(t.shape) for name, t in tiny_bert().published_state().items()}
    assert ours == {name: shape for name, shape in theirs.items() if name not in TIED}


def test_published_state_round_trip():
    """Their tensors -> from_state -> published_state -> their model: the same bits."""
    theirs = their_model()
    ours = BertNetwork.from_state(
        BertConfig.from_dict(theirs.config.to_dict()), theirs.state_dict()
    )
    back = ours.published_state()
    assert all(torch.equal(back[name], theirs.state_dict()[name]) for name in back)
    fresh = their_model()
    missing, unexpected = fresh.load_state_dict(back, strict=False)
    assert (set(missing), unexpected) == (set(TIED), [])


# --- the loader ------------------------------------------------------------------------------


def test_loaded_model_is_frozen_and_in_eval_mode():
    """from_state gives float32, eval, no parameter with a gradient, nothing left on meta."""
    state = {name: tensor.half() for name, tensor in published().items()}
    model = BertNetwork.from_state(TINY, state)
    assert not any(module.training for module in model.modules())
    for parameter in model.parameters():
        assert not parameter.requires_grad
        assert (parameter.dtype, parameter.device.type) == (torch.float32, "cpu")


def test_missing_tensors_are_named():
    """A checkpoint without two tensors is an error that names both as published."""
    state = published()
    del state[f"{NORM}.bias"], state["cls.predictions.bias"]
    with pytest.raises(ValueError, match=rf"missing.*: {NORM}\.bias, cls\.predictions\.bias$"):
        BertNetwork.from_state(TINY, state)


def test_many_missing_tensors_are_counted():
    """A checkpoint with one layer less names six tensors and counts the other ten."""
    state = {n: t for n, t in published().items() if not n.startswith("bert.encoder.layer.2.")}
    with pytest.raises(ValueError, match=r"missing.*bert\.encoder\.layer\.2\..* and 10 more$"):
        BertNetwork.from_state(TINY, state)


@pytest.mark.parametrize(("missing", "end"), [(6, "weight"), (7, "bias and 1 more")])
def test_six_tensors_are_named(missing, end):
    state = published()
    for name in sorted(n for n in state if n.startswith("bert.encoder.layer.2."))[-missing:]:
        del state[name]
    with pytest.raises(ValueError, match=rf"missing(.*, ){{5}}bert\S*{end}$"):
        BertNetwork.from_state(TINY, state)


@pytest.mark.parametrize(
    "name",
    [
        "bert.encoder.layer.0.attention.self.distance_embedding.weight",
        "bert.encoder.layer.3.output.dense.weight",  # one layer too many
        "bert.encoder.layer.#.output.dense.weight",
        "bert.encoder.layer.1.output.dense.scale",
        "embeddings.word.weight",  # our own name is not a published one
        "classifier.weight",
        "cls.weight",
        "weight",
    ],
)
def test_unexpected_tensors_are_named(name):
    """One tensor that the masked LM has no place for is an error that names it."""
    with pytest.raises(ValueError) as error:
        BertNetwork.from_state(TINY, published() | {name: torch.zeros(2)})
    assert "unexpected tensors" in str(error.value)
    assert name in str(error.value)


def test_wrong_shapes_are_named():
    """The message has the published name, the shape got and the shape expected."""
    state = published()
    state[WORD] = torch.zeros(53, 31)
    state[f"{NORM}.weight"] = torch.zeros(1, 32)
    with pytest.raises(ValueError) as error:
        BertNetwork.from_state(TINY, state)
    assert f"{WORD} is (53, 31), the config says (53, 32)" in str(error.value)
    assert f"{NORM}.weight is (1, 32), the config says (32,)" in str(error.value)


@pytest.mark.parametrize("copy", TIED)
def test_untied_heads_are_refused(copy):
    """A decoder that is not the tensor it should be tied to is an error naming both."""
    state = published()
    state[copy] = state[TIED[copy]].clone()
    BertNetwork.from_state(TINY, state)
    state[copy][0] += 1
    with pytest.raises(ValueError) as error:
        BertNetwork.from_state(TINY, state)
    assert f"{copy} differs from {TIED[copy]}" in str(error.value)


@pytest.mark.parametrize("copy", TIED)
def test_only_the_copy_of_a_tied_tensor_is_enough(copy):
    """A checkpoint that kept just the decoder's copy loads to the same weights."""
    state = published()
    state[copy] = state.pop(TIED[copy])
    again = BertNetwork.from_state(TINY, state).published_state()
    assert torch.equal(again[TIED[copy]], state[copy])


def test_harmless_tensors_are_accepted():
    """Pooler, next-sentence head and position ids of a pretraining checkpoint change nothing."""
    extra = {
        "bert.pooler.dense.weight": torch.zeros(32, 32),
        "bert.pooler.dense.bias": torch.zeros(32),
        "cls.seq_relationship.weight": torch.zeros(2, 32),
        "cls.seq_relationship.bias": torch.zeros(2),
        "bert.embeddings.position_ids": torch.arange(24)[None],
    }
    assert all(any(name.startswith(start) for name in extra) for start in KNOWN_HARMLESS)
    ids = random_ids(1, 5)
    assert torch.equal(BertNetwork.from_state(TINY, published() | extra)(ids), tiny_bert()(ids))


def with_old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The LayerNorm tensors under their names of TensorFlow times."""
    old = {}
    for name, tensor in state.items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old[name.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    return old


def test_gamma_and_beta_are_accepted():
    """Old LayerNorm names load to the same model, each into its own place."""
    old, ids = with_old_names(published()), random_ids(1, 5)
    assert sum(name.endswith((".gamma", ".beta")) for name in old) == 2 * (2 * 3 + 2)
    assert torch.equal(BertNetwork.from_state(TINY, old)(ids), tiny_bert()(ids))


def test_old_and_new_name_of_one_tensor_at_once_is_an_error():
    """gamma beside weight of the same LayerNorm: neither wins silently."""
    state = published()
    state[f"{NORM}.gamma"] = state[f"{NORM}.weight"] + 1
    with pytest.raises(ValueError, match=rf"at once: {NORM}\.gamma$"):
        BertNetwork.from_state(TINY, state)
