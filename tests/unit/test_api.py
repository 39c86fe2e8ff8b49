"""The library's face on a tiny model: what it adds to the parts that it is made of.

Run: pytest tests/unit/test_api.py
"""

import inspect

import pytest
import torch

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.text.encoding import asking_after
from knowledge_neurons.types import Edit, Neuron, PromptScores, Triplet
from tests.reference import asked, families
from tests.reference import integrated_gradients as literal
from tests.reference import interventions as scaled
from tests.reference.asked import TINY as PROMPTS
from tests.reference.asked import encoded
from tests.reference.small_tokenizers import gpt2


@pytest.fixture(scope="module")
def kn() -> KnowledgeNeurons:
    return asked.bert()


def literal_activations(kn: KnowledgeNeurons, prompt) -> list[list[float]]:
    """Of every neuron at [MASK], a list a layer."""
    ids = torch.tensor(prompt.ids)
    layers = range(len(kn.model.layers))
    found = (literal.activations_of(kn.model, ids, prompt.mask_position, one) for one in layers)
    return [one.tolist() for one in found]


def defaults(method) -> dict:
    return {
        name: one.default
        for name, one in inspect.signature(method).parameters.items()
        if one.default is not inspect.Parameter.empty
    }


def test_the_defaults_are_the_papers():
    """20 steps of the left rule, scores from 0.1 of the largest, t = 0.2, p = 0.7, 3 prompts."""
    thresholds = {"coarse": 0.2, "shared": 0.7, "min_prompts": 3}
    ways = {"by": "share", "shared_by": "share"}
    within = {"tolerance": 1e-3, "layers": None, "target": "probability"}
    within |= {"scorer": "ig", "smooth": None, "noise": 0.05}
    steps = {"rule": "riemann-left", "steps": 20, "keep": 0.1, "dense": False}
    assert defaults(KnowledgeNeurons.scores) == steps | within
    assert defaults(KnowledgeNeurons.refine) == thresholds | ways | {"baseline": False}
    assert defaults(KnowledgeNeurons.find) == thresholds | ways | within | {"negative": ()}


def test_scores_are_the_sum_over_twenty_steps(kn):
    """Each kept score within the tolerance of the literal twin's, none below 0.1 of the largest."""
    steps = [j / 20 for j in range(20)], [1 / 20] * 20
    for prompt, scores in zip(encoded(kn), kn.scores(PROMPTS, "Paris"), strict=True):
        where = torch.tensor(prompt.ids), prompt.mask_position, prompt.answer
        layers = range(len(kn.model.layers))
        full = torch.stack(
            [literal.integrated_gradients(kn.model, *where, layer, *steps) for layer in layers]
        )  # (L, F)
        largest = full.max().item()
        assert scores.answer == "Paris" and scores.of_prediction == []
        assert {type(one) for one in (*scores.of_answer, *scores.baseline)} == {Triplet}
        for layer, index, score in scores.of_answer:
            assert score == pytest.approx(full[layer, index].item(), abs=2e-3 * largest)
            assert score >= 0.0999 * largest
        clear = [(i, j) for i, j in (full >= 0.102 * largest).nonzero().tolist()]
        assert set(clear) <= {(one.layer, one.index) for one in scores.of_answer}


def made(*sets: dict[tuple[int, int], float]) -> list[PromptScores]:
    return [
        PromptScores(
            [], "Paris", "x", "own(own)", of_answer=[Triplet(*k, v) for k, v in one.items()]
        )
        for one in sets
    ]


def test_refining_asks_for_three_prompts_or_all_where_there_are_fewer(kn):
    a, b = (0, 1), (2, 5)
    assert kn.refine(made({a: 1.0, b: 0.2}, {a: 1.0, b: 0.19})) == [Neuron(*a)]
    assert kn.refine(made({a: 1.0}, {a: 1.0}, {b: 1.0})) == []
    assert kn.refine(made({a: 1.0}, {a: 1.0}, {b: 1.0}), min_prompts=2, shared=0.6) == [Neuron(*a)]
    ten = [{a: 1.0, b: 1.0 if i < 7 else 0.1} for i in range(10)]
    assert kn.refine(made(*ten)) == [Neuron(*a), Neuron(*b)]
    assert kn.refine(made(*ten), shared=0.71) == [Neuron(*a)]
    assert kn.refine(made(*ten), coarse=0.1, shared=1.0) == [Neuron(*a), Neuron(*b)]


def test_the_baseline_refines_activations(kn):
    """Those from half of a prompt's largest, in all three prompts."""
    scores = kn.scores(PROMPTS, "Paris")
    sets = []
    for prompt in encoded(kn):
        active = torch.tensor([[*row] for row in literal_activations(kn, prompt)])  # (L, F)
        sets.append({Neuron(*one) for one in (active >= 0.5 * active.max()).nonzero().tolist()})
    assert set(kn.refine(scores, 0.5, baseline=True)) == set.intersection(*sets)


def test_find_is_scores_and_refine(kn):
    """Also for a t below the share of scores that are kept otherwise: all that it needs is kept."""
    assert kn.find(PROMPTS, "Paris") == kn.refine(kn.scores(PROMPTS, "Paris"))
    low = kn.refine(kn.scores(PROMPTS, "Paris", keep=0.02), coarse=0.02, shared=0.5)
    assert kn.find(PROMPTS, "Paris", coarse=0.02, shared=0.5) == low
    assert len(low) > len(kn.find(PROMPTS, "Paris"))


def test_probabilities_with_and_without_neurons(kn):
    """Of each prompt; the literal twin's with the neurons times a factor, 0 among them."""
    neurons = [Neuron(0, 3), Neuron(2, 7), Neuron(1, 36)]
    for factor in (None, 0.0, 2.0):
        own = () if factor is None else tuple(neurons)
        found = kn.probabilities(PROMPTS, "Paris", own, factor)
        edit = Edit(own, factor or 0.0)
        expected = [
            scaled.probabilities(kn.model, prompt, edit)[prompt.answer].item()
            for prompt in encoded(kn)
        ]
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("prompts", ["the capital of [MASK]", []])
def test_prompts_are_a_list(kn, prompts):
    with pytest.raises(ValueError, match="a list of prompts"):
        kn.scores(prompts, "Paris")


def test_neurons_without_a_factor_are_refused(kn):
    with pytest.raises(ValueError, match="0 suppresses them, 2 amplifies them"):
        kn.probabilities(PROMPTS, "Paris", [Neuron(0, 3)])


# --- a user's own model of `transformers` ----------------------------------------------------

FRANCE = [
    "The capital of France is [MASK].",
    "France: Rome is not its capital, its capital is <mask>",
    "Paris (France), the capital of France is [MASK]!",
]


@pytest.fixture(scope="module")
def llama() -> KnowledgeNeurons:
    return asked.decoder()


def whole(kn: KnowledgeNeurons, text: str, answer: str) -> tuple[list[int], list[int]]:
    """What stands before the mask, and the answer behind it, by the tokenizer itself."""
    before = text.replace("<mask>", "[MASK]").split("[MASK]")[0]
    ids = gpt2().encode(before.rstrip()).ids
    every = gpt2().encode(f"{before}{answer}").ids
    assert every[: len(ids)] == ids
    return ids, every[len(ids) :]


@pytest.mark.parametrize(("answer", "several"), [("Paris", False), ("Parisian", True)])
def test_probabilities_of_a_transformers_model(llama, answer, several):
    """Of the whole answer, token by token in whole passes, neurons off at each; prompts' own."""
    model, neurons = llama.model.model, (Neuron(0, 3), Neuron(2, 7))
    asked = [whole(llama, text, answer) for text in FRANCE]
    assert {len(tokens) > 1 for _, tokens in asked} == {several}
    for own, factor in (((), None), (neurons, 0.0)):
        found = llama.probabilities(FRANCE, answer, own, factor)
        expected = [
            families.probability(
                "llama", model, asking_after(ids, tokens, 64), Edit(own, factor or 0.0)
            )
            for ids, tokens in asked
        ]
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("answer", ["Paris", "Parisian"])
def test_find_in_a_transformers_model(llama, answer):
    """The neurons of its first token, in all layers but the lowest; the model stays as it was."""
    before = [tensor.clone() for tensor in llama.model.model.parameters()]
    scores = llama.scores(FRANCE, answer)
    assert {one.layer for prompt in scores for one in prompt.of_answer} == {1, 2}
    assert {prompt.answer for prompt in scores} == {answer}
    neurons = llama.find(FRANCE, answer)
    assert neurons == llama.refine(scores)
    expected = []
    for text in FRANCE:
        ids, tokens = whole(llama, text, answer)
        prompt = asking_after(ids, tokens[:1], 64)
        full = families.integrated_gradients(
            *("llama", llama.model.model, prompt),
            lambda x, of=tokens[0]: x.softmax(-1)[of],
            *([j / 20 for j in range(20)], [1 / 20] * 20),
        )[1:]
        coarse = (full >= 0.2 * full.max()).nonzero().tolist()
        expected.append({Neuron(layer + 1, index) for layer, index in coarse})
    shared = set.intersection(*expected)
    assert set(neurons) == shared
    after = llama.model.model.parameters()
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("prompt", "part"),
    [
        ("[MASK] is the capital of France", "more than punctuation follows the answer"),
        ("The capital [MASK] is of France", "more than punctuation follows the answer"),
        ("[MASK].", "nothing stands before the answer"),
        ("The capital of France is Paris", "expected one [MASK]"),
        ("The capital of [MASK] is [MASK]", "expected one [MASK]"),
    ],
)
def test_a_decoder_cannot_read_what_follows(llama, prompt, part):
    """An error that shows the text and why, in each method; the others are not skipped."""
    for ask in (llama.scores, llama.find, llama.probabilities):
        with pytest.raises(ValueError) as error:
            ask([*FRANCE, prompt], "Paris")
        assert part in str(error.value) and prompt in str(error.value)
