"""Facts scored under noise and by other scorers, against plain loops over whole models.

Run: pytest tests/unit/test_smoothed_scores.py
"""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from knowledge_neurons.attribution import adaptive, quadrature
from knowledge_neurons.attribution.dense import dense_scores
from knowledge_neurons.attribution.fact_scores import batches, prepare, score_facts
from knowledge_neurons.attribution.quadrature import rule
from knowledge_neurons.attribution.scorers import IG, ONE_BY_ONE, SCORERS, UNITS, scores_in
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.smoothing import EMBEDDINGS, PLACES, Smoothing
from knowledge_neurons.networks import passes
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.results.origin import UNNAMED
from knowledge_neurons.types import Fact, Prompt
from tests.integration.checkpoints import tokenizer
from tests.reference import integrated_gradients as literal
from tests.reference import refine
from tests.reference.family_errors import share
from tests.reference.tiny import TINY, tiny_bert

CLOSE = 1e-5  # of the largest score: float32 sums in another order
NOISY = Smoothing(3, 0.1, seed=5)
EVERY = Settings(tolerance=None, keep=0.0, of_prediction=True, smoothing=NOISY)
FACTS = [Fact("P1", "of", n, f"word{n}", ("a", "b")) for n in range(3)]
# Of two lengths, so that a group has two batches.
ASKED = [
    [Prompt((2, 7 + n, 4, *(9, 5)[: 1 + n % 2], 3), 2, 20 + n), Prompt((2, 4, 11 + n, 3), 1, 30)]
    for n in range(3)
]


def literal_scores(model, prompt: Prompt, token: int) -> torch.Tensor:
    """(L, F)."""
    how = rule("riemann-left", 20)
    given = model, torch.tensor(prompt.ids), prompt.mask_position, token
    layers = range(TINY.num_hidden_layers)
    return torch.stack([literal.integrated_gradients(*given, layer, *how) for layer in layers])


def noisy_model(copy: int):
    """The whole model again, each weight times 1 + S n, n drawn in the order of published names."""
    model, noise = tiny_bert(), torch.Generator().manual_seed(1000 * NOISY.seed + copy)
    for _, tensor in sorted(model.published_state().items()):
        tensor.mul_(1 + NOISY.noise * torch.randn(tensor.shape, generator=noise))
    return model


def test_scores_are_the_mean_over_whole_noisy_models():
    """For the answer and for the token that the model itself predicts; the rest is its own."""
    model = tiny_bert()
    engine = prepare(model, tokenizer(), EVERY)
    (group,) = score_facts(engine, FACTS, ASKED)
    copies = [noisy_model(copy) for copy in range(NOISY.copies)]
    plain = prepare(model, tokenizer(), replace(EVERY, smoothing=None))
    (clean,) = score_facts(plain, FACTS, ASKED)
    for fact, as_it_is, prompts in zip(group, clean, ASKED, strict=True):
        assert fact.points == NOISY.copies * as_it_is.points
        for found, own, prompt in zip(fact.prompts, as_it_is.prompts, prompts, strict=True):
            assert (found.predicted, found.baseline) == (own.predicted, own.baseline)
            said = int(passes.logits(model, collate([prompt], [0])).argmax())
            for triplets, token in (
                (found.of_answer, prompt.answer),
                (found.of_prediction, said),
            ):
                each = [literal_scores(one, prompt, token) for one in copies]
                mean = torch.stack(each).mean(0)
                assert triplets != own.of_answer
                expected = refine.triplets(mean.tolist(), 0.0)
                values = {row[:2]: row[2] for row in triplets}
                for layer, index, score in expected:
                    off = abs(values.get((layer, index), 0.0) - score)
                    assert off < CLOSE * mean.max().item()


def test_means_are_taken_before_scores_are_left_out():
    """A neuron that one copy alone would drop is in the mean of all."""
    model = tiny_bert()
    found = {}
    for keep in (0.0, 0.1):
        engine = prepare(model, tokenizer(), replace(EVERY, keep=keep))
        ((fact, *_),) = score_facts(engine, FACTS, ASKED)
        found[keep] = fact.prompts[0].of_answer
    largest = max(score for *_, score in found[0.0])
    assert found[0.1] == [one for one in found[0.0] if one[2] >= 0.1 * largest]


def test_noise_is_the_same_whoever_is_scored_beside():
    """A fact alone, as after a run was resumed, and with others."""
    for place in PLACES:
        some = replace(EVERY, smoothing=replace(NOISY, place=place), tolerance=1e-3)
        engine = prepare(tiny_bert(), tokenizer(), some)
        (together,) = score_facts(engine, FACTS, ASKED)
        ((alone,),) = score_facts(engine, FACTS[2:], ASKED[2:])
        for one, other in zip(alone.prompts, together[2].prompts, strict=True):
            assert [row[:2] for row in one.of_answer] == [row[:2] for row in other.of_answer]
            pairs = zip(one.of_answer, other.of_answer, strict=True)
            assert max(abs(a[2] - b[2]) for a, b in pairs) < CLOSE * one.of_answer[0][2] + 1e-7


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_put_back(place, monkeypatch):
    """After scoring, and after an exception in the second copy; a copy a group, not a prompt."""
    model = tiny_bert()
    before = fingerprint(model)
    some = replace(EVERY, smoothing=replace(NOISY, place=place), of_prediction=False)
    engine = prepare(model, tokenizer(), some)
    seen: Counter[str] = Counter()
    asked = adaptive.adaptive_gradients

    def counted(noisy, *rest):
        seen[fingerprint(noisy)] += 1
        if sum(seen.values()) == stop:
            raise RuntimeError("in the middle")
        return asked(noisy, *rest)

    monkeypatch.setattr(adaptive, "adaptive_gradients", counted)
    stop = 0
    list(score_facts(engine, FACTS, ASKED))
    assert fingerprint(model) == before
    planned = len(list(batches(engine, [one for own in ASKED for one in own])))
    assert planned > 1
    assert sum(seen.values()) == NOISY.copies * planned
    assert [*seen.values()] == ([3 * planned] if place == EMBEDDINGS else [planned] * 3)
    seen.clear()
    stop = planned + 1
    with pytest.raises(RuntimeError, match="in the middle"):
        list(score_facts(engine, FACTS, ASKED))
    assert fingerprint(model) == before


def test_the_model_that_scores_is_the_one_that_is_noisy(monkeypatch):
    """With products in bfloat16 that is a copy; the reference stays as it is also meanwhile."""
    reference = tiny_bert()
    model, before = reference.products_in(torch.bfloat16), fingerprint(reference)
    engine = prepare(model, tokenizer(), replace(EVERY, of_prediction=False), reference)
    asked, seen = adaptive.adaptive_gradients, []

    def watched(noisy, *rest):
        seen.append((noisy is model, fingerprint(reference), fingerprint(model)))
        return asked(noisy, *rest)

    own = fingerprint(model)
    monkeypatch.setattr(adaptive, "adaptive_gradients", watched)
    list(score_facts(engine, FACTS, ASKED))
    assert {(scores, there) for scores, there, _ in seen} == {(True, before)}
    assert own not in {noisy for *_, noisy in seen} and fingerprint(model) == own


# --- scorers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SCORERS if name != IG])
def test_every_scorer_scores_the_layers_that_are_asked_for(name):
    """Its own numbers there, 0 elsewhere; smoothed, the mean over whole noisy models."""
    prompts = [one for own in ASKED for one in own]
    settings = Settings(scorer=name, keep=0.0, layers=(1, 2), baseline=False)
    engine = prepare(tiny_bert(), tokenizer(), settings)
    smooth = replace(engine, settings=replace(engine.settings, smoothing=NOISY))
    copies = [noisy_model(copy) for copy in range(NOISY.copies)]
    planned = list(batches(engine, prompts))
    for (clean, dense, points), (_, means, _) in zip(
        dense_scores(engine, planned), dense_scores(smooth, planned), strict=True
    ):
        tokens = clean.batch.answers
        every = SCORERS[name](engine.model, clean, tokens, 1 << 20)
        found = dense["of_answer"]
        assert share(found[:, 1:], every[:, 1:]) < 1e-6
        assert found[:, 1:].any() and not found[:, 0].any() and not points.any()
        noisy = [(one, passes.clean_pass(one, clean.batch)) for one in copies]
        each = [SCORERS[name](*one, tokens, 1 << 20) for one in noisy]
        mean = torch.stack(each).mean(0)[:, 1:]
        assert share(means["of_answer"][:, 1:], mean) < CLOSE


def test_neurons_of_other_layers_are_not_asked(monkeypatch):
    """One by one is what costs."""
    model, asked = tiny_bert(), []
    clean = passes.clean_pass(model, collate([ASKED[0][0]], [0]))

    def of_some(model, clean, tokens, neurons, memory):
        asked.extend(neurons)
        return clean.activations.new_zeros(1, len(neurons))

    for name in ONE_BY_ONE:
        asked.clear()
        monkeypatch.setitem(ONE_BY_ONE, name, of_some)
        scores_in([2], name, model, clean, clean.batch.answers, 1)
        assert {layer for layer, _ in asked} == {2} and len(asked) == TINY.intermediate_size


def test_what_does_not_go_together():
    exact = {"scorer": "logit", "tolerance": None}
    other = {"scorer": "logit", "rule": quadrature.rule("riemann-left", 7)}
    for wrong, part in (
        ({"scorer": "shapley"}, "scorer 'shapley': expected one of ig"),
        ({"scorer": "logit", "target": "logit"}, "target are of ig alone"),
        (exact, "tolerance and target are of ig alone"),
        (other, "rule, steps"),
        ({"scorer": "logit", "answers": "joint"}, "scored by ig"),
        ({"smoothing": NOISY, "answers": "joint"}, "not averaged over noisy copies"),
        ({"smoothing": NOISY, "of_answer": False}, "nothing to average"),
    ):
        with pytest.raises(ValueError, match=part):
            Settings(**wrong)


def test_units_and_what_identities_leave_out():
    """Every scorer's scores are in something; the defaults here are those that results know of."""
    assert {IG, *UNITS} == set(SCORERS)
    assert (Settings().unit, Settings(target="logit").unit) == ("probability", "logit")
    assert Settings(scorer="activation").unit == "activation"
    assert {name: getattr(Settings(), name) for name in UNNAMED} == UNNAMED
    assert str(NOISY) == "weights x N(1, 0.1^2), 3 copies"
    Smoothing(2, 0.05, seed=2**63 - 1)  # whose noise a generator takes
