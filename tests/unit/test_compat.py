"""The peers' ways of finding neurons, on tiny models, against literal twins.

Run: pytest tests/unit/test_compat.py
"""

import inspect

import pytest
import torch

from knowledge_neurons import KnowledgeNeurons as Ours
from knowledge_neurons.attribution import quadrature
from knowledge_neurons.compat import KnowledgeNeurons
from knowledge_neurons.types import Prompt
from tests.integration.checkpoints import tokenizer
from tests.reference import peers as literal
from tests.reference.tiny import tiny_bert

PROMPTS = ["Word1 is the capital of [MASK] .", "the capital <mask> is Word2", "[MASK] of Word3"]
NEGATIVE = ["Word7 Word8 [MASK] Word9"]
ANSWER, STEPS = "Paris", 5
# Of float32 sums over three layers in another order, as a share of the largest score.
CLOSE = 1e-6


@pytest.fixture(scope="module")
def kn() -> KnowledgeNeurons:
    return KnowledgeNeurons(tiny_bert(), tokenizer(), "bert", device="cpu")


@pytest.fixture(autouse=True)
def _released_points(kn):
    kn.peer_numbers = False


def encoded(text: str) -> Prompt:
    words = tokenizer()
    ids = tuple(words.encode(text.replace("<mask>", "[MASK]")))
    return Prompt(ids, ids.index(words.mask), words.vocabulary[ANSWER])


def expected(text: str, ends: bool = False) -> torch.Tensor:
    return literal.scores(tiny_bert(), encoded(text), STEPS, ends)


def share(found: torch.Tensor, exact: torch.Tensor) -> float:
    return ((found - exact).abs().max() / exact.abs().max()).item()


# --- names, defaults -------------------------------------------------------------------------

_ASKED = "prompt, ground_truth"
_HOW = "batch_size=10, steps=20"
_CHANGE = "undo_modification=True, quiet=False"
_METHOD = "attribution_method='integrated_grads'"
SIGNATURES = {
    "get_scores": f"{_ASKED}, {_HOW}, {_METHOD}, pbar=True",
    "get_scores_for_layer": f"{_ASKED}, layer_idx, {_HOW}, encoded_input=None, {_METHOD}",
    "get_coarse_neurons": f"{_ASKED}, {_HOW}, threshold=None, adaptive_threshold=None, "
    f"percentile=None, {_METHOD}, pbar=True",
    "get_refined_neurons": f"prompts, ground_truth, negative_examples=None, p=0.5, {_HOW}, "
    "coarse_adaptive_threshold=0.3, coarse_threshold=None, coarse_percentile=None, quiet=False",
    "get_baseline_with_activations": "encoded_input, layer_idx, mask_idx",
    "modify_activations": f"{_ASKED}, neurons, mode='suppress', {_CHANGE}",
    "suppress_knowledge": f"{_ASKED}, neurons, {_CHANGE}",
    "enhance_knowledge": f"{_ASKED}, neurons, {_CHANGE}",
    "modify_weights": f"prompt, neurons, target, mode='edit', erase_value='zero', {_CHANGE}",
    "edit_knowledge": f"prompt, target, neurons, {_CHANGE}",
    "erase_knowledge": f"prompt, neurons, erase_value='zero', target=None, {_CHANGE}",
    "n_layers": "",
    "intermediate_size": "",
}
FORK = (
    SIGNATURES["get_refined_neurons"].replace("quiet", "aggregation_strategy='start', quiet")
    + ", peer_numbers=False"
)


def told(function) -> str:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return ", ".join(str(one.replace(annotation=inspect.Parameter.empty)) for one in parameters)


def test_signatures_are_the_peers(kn):
    """Names, order and defaults of EleutherAI's methods, and of the fork's in our own class."""
    assert {name: told(getattr(KnowledgeNeurons, name)) for name in SIGNATURES} == SIGNATURES
    assert told(Ours.get_refined_neurons) == FORK
    assert (kn.n_layers(), kn.intermediate_size(), kn.model_type) == (3, 37, "bert")


# --- scores ----------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", [False, True])
def test_scores_are_the_twins(kn, ends):
    """Of the left sum, or with peer_numbers of the package's own points; all layers, dense."""
    kn.peer_numbers = ends
    for text in PROMPTS:
        exact = expected(text, ends)
        found = kn.get_scores(text, ANSWER, batch_size=5, steps=STEPS, pbar=False)
        assert found.shape == (3, 37) and share(found, exact) < CLOSE
        for layer in range(3):
            own = kn.get_scores_for_layer(text, ANSWER, layer, steps=STEPS)
            assert share(own, exact[layer]) < 2 * CLOSE
    assert share(expected(PROMPTS[0]), expected(PROMPTS[0], True)) > 100 * CLOSE


def test_the_peers_points_have_both_ends():
    """Four points, a quarter each; no rule that stage 1 offers."""
    alphas, weights = quadrature.peer_endpoints(4)
    assert alphas.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1]) and weights.tolist() == [0.25] * 4
    assert quadrature.peer_endpoints(1).alphas.tolist() == [0]
    assert len(quadrature.RULES) == 5
    with pytest.raises(ValueError, match="at least 1 step"):
        quadrature.peer_endpoints(0)


def test_a_layer_of_ids_that_are_given(kn):
    """encoded_input stands in place of the prompt's own ids; padding is refused."""
    ids = torch.tensor([encoded(PROMPTS[1]).ids])
    found = kn.get_scores_for_layer(
        PROMPTS[0], ANSWER, 1, steps=STEPS, encoded_input={"input_ids": ids}
    )
    assert share(found, expected(PROMPTS[1])[1]) < 2 * CLOSE
    padded = {"input_ids": ids, "attention_mask": torch.zeros_like(ids)}
    two = {"input_ids": ids.expand(2, -1)}
    with pytest.raises(ValueError, match="2 rows: expected one text"):
        kn.get_scores_for_layer(PROMPTS[0], ANSWER, 1, encoded_input=two)
    with pytest.raises(ValueError, match="padded"):
        kn.get_scores_for_layer(PROMPTS[0], ANSWER, 1, encoded_input=padded)
    with pytest.raises(ValueError, match="layer 3: the model has 3"):
        kn.get_scores_for_layer(PROMPTS[0], ANSWER, 3)


def test_baseline_and_max_activations(kn):
    """Logits of the whole model, activations of a layer at a position counted from either end."""
    prompt, model = encoded(PROMPTS[0]), tiny_bert()
    ids = torch.tensor([prompt.ids])
    at, every = prompt.mask_position, []
    for layer in range(3):
        for place in (at, at - len(prompt.ids)):
            outputs, found = kn.get_baseline_with_activations({"input_ids": ids}, layer, place)
            exact = literal.integrated_gradients.__globals__["activations_of"](
                model, ids[0], at, layer
            )
            assert found.shape == (1, 37) and torch.allclose(found[0], exact, atol=1e-5)
        assert torch.allclose(outputs.logits, model(ids), atol=1e-4)
        every.append(found[0])
    scores = kn.get_scores(PROMPTS[0], ANSWER, attribution_method="max_activations")
    assert torch.allclose(scores, torch.stack(every), atol=1e-6)
    with pytest.raises(ValueError, match="integrated_grads or max_activations"):
        kn.get_scores(PROMPTS[0], ANSWER, attribution_method="ig")
    with pytest.raises(ValueError, match="there are 3 layers"):
        kn.get_baseline_with_activations({"input_ids": ids}, 3, 0)


# --- coarse and refined ----------------------------------------------------------------------


def test_coarse_neurons_by_each_threshold(kn):
    """Above a share of the largest, a percentile, a score; one of them, said before any work."""
    exact = expected(PROMPTS[0])
    largest = exact.max().item()
    for name, given, threshold in (
        ("adaptive_threshold", 0.3, 0.3 * largest),
        ("percentile", 90.5, literal.percentile(exact, 90.5)),
        ("threshold", 0.4 * largest, 0.4 * largest),
    ):
        found = kn.get_coarse_neurons(PROMPTS[0], ANSWER, steps=STEPS, **{name: given})
        assert found == literal.above(exact, threshold) != []
    for wrong in ({}, {"threshold": 0.1, "percentile": 99}):
        with pytest.raises(ValueError, match="exactly one"):
            kn.get_coarse_neurons("no mask", ANSWER, **wrong)
    with pytest.raises(ValueError, match="0 to 100"):
        kn.get_coarse_neurons(PROMPTS[0], ANSWER, percentile=101)


def test_refined_neurons_are_in_more_than_p_of_the_prompts(kn, capsys):
    """First seen first; where p is met exactly a neuron is out, as in theirs."""
    sets = [literal.above(s, 0.1 * s.max().item()) for s in map(expected, PROMPTS)]
    asked = {"steps": STEPS, "coarse_adaptive_threshold": 0.1}
    for p in (0.0, 0.5, 2 / 3):
        found = kn.get_refined_neurons(PROMPTS, ANSWER, p=p, quiet=True, **asked)
        assert found == literal.in_more_than(sets, p) != []
    assert capsys.readouterr().out == ""
    kn.get_refined_neurons(PROMPTS, ANSWER, p=0.5, **asked)
    said = f"{sum(map(len, sets))} coarse neurons, {len(literal.in_more_than(sets, 0.5))} refined\n"
    assert capsys.readouterr().out == said


def test_negative_examples_take_neurons_away(kn):
    """Any neuron that is coarse in one of them; in theirs none ever is."""
    sets = [literal.above(s, 0.1 * s.max().item()) for s in map(expected, [*PROMPTS, *NEGATIVE])]
    kept = [one for one in literal.in_more_than(sets[:3], 0.5) if one not in sets[3]]
    asked = {"p": 0.5, "steps": STEPS, "coarse_adaptive_threshold": 0.1, "quiet": True}
    assert kn.get_refined_neurons(PROMPTS, ANSWER, NEGATIVE, **asked) == kept
    assert len(kept) < len(literal.in_more_than(sets[:3], 0.5))


def test_the_default_threshold_gives_way(kn):
    """coarse_percentile alone is enough; beside a share that is not the default it is an error."""
    sets = [literal.above(s, literal.percentile(s, 95)) for s in map(expected, PROMPTS)]
    asked = {"steps": STEPS, "coarse_percentile": 95, "quiet": True}
    assert kn.get_refined_neurons(PROMPTS, ANSWER, **asked) == literal.in_more_than(sets, 0.5)
    with pytest.raises(ValueError, match="exactly one"):
        kn.get_refined_neurons(PROMPTS, ANSWER, coarse_adaptive_threshold=0.2, **asked)


def test_predicate_neurons_are_those_of_most_facts(kn):
    facts, answers = [PROMPTS, [PROMPTS[0], NEGATIVE[0]], NEGATIVE], ["Paris", "Word4", "Word5"]
    asked = {"steps": STEPS, "coarse_adaptive_threshold": 0.05, "quiet": True}
    sets = [
        kn.get_refined_neurons(own, answer, p=0.4, **asked)
        for own, answer in zip(facts, answers, strict=True)
    ]
    found = kn.get_predicate_neurons(facts, answers, p=0.4, predicate_p=0.5, **asked)
    assert found == literal.in_more_than(sets, 0.5)
    assert 0 < len(found) < len(literal.in_more_than(sets, 0))
    with pytest.raises(ValueError, match="3 facts, 2 answers"):
        kn.get_predicate_neurons(facts, answers[:2])
    for name in ("p", "predicate_p"):
        with pytest.raises(ValueError, match=f"^{name} is 1: "):
            kn.get_predicate_neurons(facts, answers, **{name: 1})


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("[MASK] is", ANSWER), "a list of texts"),
        (([], ANSWER), "at least one prompt"),
        ((["no mask"], ANSWER), r"one \[MASK\]"),
        ((["[MASK] is [MASK]"], ANSWER), r"one \[MASK\]"),
        ((["[MASK] [MASK] is"], ANSWER), "2 masks in .* has 1 tokens"),
        ((PROMPTS, 5), "the answer as a text"),
        ((PROMPTS, ANSWER, 0.7), "pass it by name"),
        ((PROMPTS, ANSWER, None, 1.0), "p is 1.0"),
        ((PROMPTS, ANSWER, None, 0.5, 0), "batch_size is 0"),
        ((PROMPTS, ANSWER, None, 0.5, 10, 0), "at least 1 step"),
    ],
)
def test_what_cannot_be_asked_is_an_error(kn, arguments, part):
    for method in (kn.get_refined_neurons, Ours(tiny_bert(), tokenizer()).get_refined_neurons):
        with pytest.raises(ValueError, match=part):
            method(*arguments)
