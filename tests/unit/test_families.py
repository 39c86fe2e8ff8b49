"""Every family of `transformers` that has a row, against the literal twin of `tests/reference`.

A small random model each: scores, logits, interventions, activations and edits; that nothing stays
behind in a model; what is refused.  Run: pytest tests/unit/test_families.py
"""

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import transformers
from accelerate import dispatch_model
from torch import nn

from knowledge_neurons.attribution.gradients import completeness_gap, integrated_gradients
from knowledge_neurons.attribution.quadrature import Rule, rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.editing import slots
from knowledge_neurons.networks import families, passes
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.batching import collate, select
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.networks.families import Family
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.types import Neuron
from tests.reference import families as twin
from tests.reference.families import CASES, LONG, SHAPE, WINDOW, small
from tests.reference.family_errors import ERRORS, RULE, prompts, share

# Shares of the largest number; what is found is a hundredth of them, or a millionth in float64.
WITHIN = {torch.float32: 1e-4, torch.float64: 1e-9}
# GPT-Neo's attention is float32 whatever the weights are, by the library's design.
GPT_NEO_WITHIN = 1e-5
# bfloat16 has 8 bits: half a unit in the last place is 0.4 %, of which three gated layers make
# up to 8 % (LLaMA; most families 1 to 2 %).  float16 has 11 bits, an eighth of that.
HALF_WITHIN = {torch.bfloat16: 0.2, torch.float16: 0.025}
WINDOWED = [name for name, case in CASES.items() if case.wide]


def tolerance(name: str, dtype: torch.dtype) -> float:
    """What a case may be off in a dtype."""
    in_float32 = dtype == torch.float64 and CASES[name].model_type == "gpt_neo"
    return GPT_NEO_WITHIN if in_float32 else WITHIN[dtype]


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("name", CASES)
def test_engine_equals_the_literal_twin(name, kind):
    """In float32 and float64, what `family_errors` measures of each kind."""
    for dtype in WITHIN:
        assert ERRORS[kind](name, dtype) < tolerance(name, dtype), dtype


def test_every_row_has_a_model():
    """A family without a small model would go untested."""
    assert {case.model_type for case in CASES.values()} == set(families.names())


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_bite(name):
    """The long prompts of these tests reach beyond the windows: wider ones give other logits."""
    (prompt,) = prompts(name, LONG, 1)
    models = small(name), small(name, **CASES[name].wide)
    narrow, wide = (twin.logits(name, model, prompt) for model in models)
    assert len(prompt.ids) > WINDOW and share(narrow, wide) > 1e-2


@pytest.mark.parametrize("name", CASES)
def test_batch_equals_prompts_one_at_a_time(name):
    """Several prompts of a length, read at different places; memory for a few rows at a time."""
    network = AdaptedNetwork(small(name, torch.float64))
    asked = prompts(name, LONG, 4)
    batch = collate(asked, range(4))

    def scores(chosen, memory=None):
        clean = passes.clean_pass(network, chosen)
        return integrated_gradients(network, clean, Probability(chosen.answers), RULE, memory)

    together, within = scores(batch), tolerance(name, torch.float64)
    assert share(scores(batch, memory=50_000), together) < within
    for row, found in enumerate(together):
        (alone,) = scores(select(batch, [row]))
        assert share(found, alone) < within


NORMED = [name for name, case in CASES.items() if families.of(case.model_type).between]


@pytest.mark.parametrize("name", [name for name in CASES if name not in NORMED])
def test_fine_sums_are_complete(name):
    """They come to the target's change along the path, which uses no gradient."""
    network = AdaptedNetwork(small(name, torch.float64))
    batch = collate(prompts(name, LONG, 2), range(2))
    clean, of = passes.clean_pass(network, batch), Probability(batch.answers)
    scores = integrated_gradients(network, clean, of, rule("gauss-legendre", 20))
    change = scores.sum(-1).abs().max()
    assert completeness_gap(network, clean, of, scores).max() < 1e-4 * change


@pytest.mark.parametrize("name", NORMED)
def test_path_through_a_norm_is_a_jump_at_its_start(name):
    """Gemma 2 norms y before the sum, so along the path alpha y is y but for the first hundredths.

    The scores of all that comes after 5 % add to nothing, and the paper's left sum is mostly its
    point at 0 (docs/families.md).
    """
    network = AdaptedNetwork(small(name, torch.float64))
    batch = collate(prompts(name, LONG, 2), range(2))
    clean, of = passes.clean_pass(network, batch), Probability(batch.answers)

    def scores(how):
        return integrated_gradients(network, clean, of, how)

    fine = rule("gauss-legendre", 20)
    late = Rule(0.05 + 0.95 * fine.alphas, 0.95 * fine.weights)
    left, first = rule("riemann-left", 20), Rule(np.array([0.0]), np.array([0.05]))
    change = completeness_gap(network, clean, of, torch.zeros_like(clean.activations))
    assert (scores(late).sum(-1).abs() < 0.02 * change).all()
    assert share(scores(first), scores(left)) < 0.5


# --- a user's model stays a user's model -----------------------------------------------------


def left_behind(model: nn.Module) -> dict[str, list]:
    """What could have been registered on a model: hooks of all kinds, and own attributes."""
    found = {}
    for name, module in model.named_modules():
        hooks = {key: dict(value) for key, value in vars(module).items() if "hooks" in key}
        found[name] = [hooks, sorted(vars(module)), type(module), module.training]
    return found


@pytest.fixture(params=CASES)
def untouched(request) -> Iterator[tuple[str, nn.Module, AdaptedNetwork]]:
    """A case and its network; afterwards the model is what it was, to the last bit."""
    model = small(request.param)
    state, registered = copy.deepcopy(model.state_dict()), left_behind(model)
    network = AdaptedNetwork(model)
    sha256 = fingerprint(network)
    yield request.param, model, network
    assert left_behind(model) == registered
    assert not any(part[0][key] for part in registered.values() for key in part[0])
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert fingerprint(network) == sha256


class Raised(Exception):
    pass


def raising(*_):
    raise Raised


def test_nothing_stays_behind(untouched):
    """After scores, readings and nested edits."""
    name, _, network = untouched
    asked = prompts(name, LONG, 2)
    batch = collate(asked, range(2))
    clean = passes.clean_pass(network, batch)
    integrated_gradients(network, clean, Probability(batch.answers), RULE)
    reader, neurons = Reader(network, asked), [Neuron(0, 3), Neuron(2, 22)]
    before = reader.read().log_probabilities
    update = slots.update(network, neurons, old=8, new=9)
    erase = slots.erase(network, neurons[1:])
    with slots.edited(network, update), slots.edited(network, erase):
        reader.read()
    assert (reader.read().log_probabilities == before).all()


def test_nothing_stays_behind_an_exception(untouched):
    """Raised by a change of activations, by a target, by the model itself, inside an edit."""
    name, _, network = untouched
    asked = prompts(name, LONG, 2)
    batch = collate(asked, range(2))
    x = network.embed(batch.ids)
    for layer in range(SHAPE.layers):
        for leaving in (False, True):
            with pytest.raises(Raised):
                passes.up(network, layer, x, batch.mask_positions, raising, leaving)
        x = passes.up(network, layer, x, batch.mask_positions).x
    clean = passes.clean_pass(network, batch)
    with pytest.raises(Raised):
        integrated_gradients(network, clean, raising, RULE)
    for unknown in (batch.ids + SHAPE.vocabulary, batch.ids[:, :-1] + SHAPE.vocabulary):
        with pytest.raises(IndexError):
            network.embed(unknown)
    erase = slots.erase(network, [Neuron(1, 4)])
    with pytest.raises(Raised), slots.edited(network, erase):
        raising()


def test_model_is_put_to_rest():
    """Dropout off, no gradients kept for parameters: all that is changed of a user's model."""
    model = small("gpt2").train().requires_grad_(True)
    AdaptedNetwork(model)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


# --- fewer digits ----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALF_WITHIN)
@pytest.mark.parametrize("name", CASES)
def test_half_precision_weights_give_float32_scores(name, dtype):
    """Close to those of the same weights in float32; activations and logits are float32 too."""
    halved = AdaptedNetwork(small(name, dtype))
    full = AdaptedNetwork(small(name, dtype).float())
    batch = collate(prompts(name, LONG, 2), range(2))
    found = []
    for network in (halved, full):
        clean = passes.clean_pass(network, batch)
        of = Probability(batch.answers)
        scores = integrated_gradients(network, clean, of, rule("riemann-left", 20))
        assert {scores.dtype, clean.activations.dtype, clean.logits.dtype} == {torch.float32}
        found.append(scores)
    assert halved.dtype == dtype
    assert share(*found) < HALF_WITHIN[dtype]


def test_products_in_another_dtype_are_of_a_copy():
    """The original keeps its weights and its numbers."""
    network = AdaptedNetwork(small("llama"))
    batch = collate(prompts("llama", LONG, 2), range(2))
    before = passes.logits(network, batch)
    halved = network.products_in(torch.bfloat16)
    assert (halved.dtype, network.dtype) == (torch.bfloat16, torch.float32)
    assert 0 < share(passes.logits(halved, batch), before) < HALF_WITHIN[torch.bfloat16]
    assert torch.equal(passes.logits(network, batch), before)


# --- what has a row, and what is refused -----------------------------------------------------


def test_type_without_a_row_names_those_that_have_one():
    """And what a row needs, and how it is given."""
    model = transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=61, hidden_size=32, ffn_dim=37, num_hidden_layers=1, num_attention_heads=4
        )
    )
    with pytest.raises(ValueError, match="models of type 'opt' are not known") as error:
        AdaptedNetwork(model)
    for word in (*families.names(), "families.register", "layers", "matrix", "head", "causal"):
        assert word in str(error.value)


@pytest.fixture
def made_up(monkeypatch) -> str:
    """A model type that the table has during the test alone."""
    monkeypatch.setattr(families, "_FAMILIES", dict(families._FAMILIES))
    families.register("made-up", families.of("llama"))
    return "made-up"


def test_registered_family_is_taken_apart(made_up):
    """Of the same modules under another type: the same logits.  A row is given once."""
    model = small("llama")
    batch = collate(prompts("llama", LONG, 2), range(2))
    expected = passes.logits(AdaptedNetwork(model), batch)
    model.config.model_type = made_up
    assert torch.equal(passes.logits(AdaptedNetwork(model), batch), expected)
    families.register(made_up, families.of("llama"))  # the same once more
    with pytest.raises(ValueError, match="'made-up' has another row already"):
        families.register(made_up, families.of("gpt2"))
    with pytest.raises(ValueError, match="'llama' has another row already"):
        families.register("llama", families.of("gpt2"))


def test_row_whose_names_are_wrong_says_which(made_up):
    model = small("llama")
    for wrong in (
        {"layers": "model.blocks"},
        {"matrix": "mlp.output"},
        {"head": ("model.last", "lm_head")},
        {"after": "norm_behind"},
    ):
        row = {"layers": "model.layers", "matrix": "mlp.down_proj", "causal": True}
        row |= {"head": ("model.norm", "lm_head")} | wrong
        families._FAMILIES[made_up] = Family(**row)
        model.config.model_type = made_up
        (name,) = (value[0] if isinstance(value, tuple) else value for value in wrong.values())
        with pytest.raises(ValueError, match=f"made-up.*{name.split('.')[-1]}"):
            AdaptedNetwork(model)


def test_layer_without_the_matrix_is_refused():
    """One in the middle, as of a model with experts in some layers."""
    model = small("llama")
    model.model.layers[1].mlp = nn.Identity()
    with pytest.raises(ValueError, match="down_proj"):
        AdaptedNetwork(model)


class Quantised(nn.Linear):
    """As libraries of quantised products have them: a Linear whose weight is something else."""


def test_quantised_matrix_is_refused():
    """A class of its own, in any layer; a weight of whole numbers; no matrix at all."""

    def replaced(new) -> nn.Module:
        model = small("llama")
        model.model.layers[1].mlp.down_proj = new
        return model

    whole = nn.Linear(SHAPE.neurons, SHAPE.width, False)
    whole.weight = nn.Parameter(whole.weight.to(torch.int8), requires_grad=False)
    packed = nn.Linear(SHAPE.neurons, SHAPE.width, False)
    packed.weight = nn.Parameter(packed.weight.flatten(), requires_grad=False)
    for odd in (Quantised(SHAPE.neurons, SHAPE.width), whole, packed, nn.Identity()):
        with pytest.raises(ValueError, match="expected a plain linear map") as error:
            AdaptedNetwork(replaced(odd))
        assert "without quantisation" in str(error.value)


@pytest.mark.parametrize(
    "kind",
    [
        "LlamaModel",
        "LlamaForSequenceClassification",
        "GPT2Model",
        "BertModel",
        "BertForPreTraining",
        "RobertaForSequenceClassification",
        "XLMRobertaModel",
    ],
)
def test_model_without_a_language_head_is_refused(kind):
    """The message names the class and what is expected."""
    start = kind.removesuffix("Model").split("For")[0]
    case = next(case for case in CASES.values() if case.name == start)
    config = getattr(transformers, f"{start}Config")(**twin._COMMON | case.options)
    model = getattr(transformers, kind)(config)
    with pytest.raises(ValueError, match=f"{kind} .*ForMaskedLM or ...ForCausalLM"):
        AdaptedNetwork(model)


def test_model_on_several_devices_is_refused(tmp_path):
    """With the reason; one whose map names one device is as good as any."""
    where = {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu"}
    where |= {f"model.layers.{layer}": "cpu" for layer in range(SHAPE.layers)} | {"lm_head": "disk"}
    spread = dispatch_model(small("llama"), where, main_device="cpu", offload_dir=str(tmp_path))
    with pytest.raises(ValueError, match=r"spread over 2 devices.*one device"):
        AdaptedNetwork(spread)
    mapped = dispatch_model(small("llama"), {"": "cpu"}, force_hooks=True)
    batch = collate(prompts("llama", LONG, 2), range(2))
    expected = passes.logits(AdaptedNetwork(small("llama")), batch)
    assert torch.equal(passes.logits(AdaptedNetwork(mapped), batch), expected)
