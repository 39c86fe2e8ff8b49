"""The peers' interventions, on tiny models: what they return, and that nothing stays behind.

Run: pytest tests/unit/test_compat_changes.py
"""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from knowledge_neurons.attribution import quadrature
from knowledge_neurons.compat import KnowledgeNeurons, changing
from knowledge_neurons.compat.changing import Scaled, SlotEdits
from knowledge_neurons.editing import slots
from knowledge_neurons.networks import passes
from knowledge_neurons.types import Edit, Neuron, Prompt
from tests.integration.checkpoints import tokenizer
from tests.reference import families as twin
from tests.reference import interventions as literal
from tests.reference.edits import log_probabilities, updated_slot
from tests.reference.tiny import tiny_bert
from tests.unit.test_compat import ANSWER, PROMPTS, encoded
from tests.unit.test_compat_fork import decoder

NEURONS = [[0, 3], [2, 7], [1, 36]]
CHOSEN = tuple(Neuron(*one) for one in NEURONS)
PROMPT, OTHER = PROMPTS[0], PROMPTS[2]


@pytest.fixture
def kn() -> Iterator[KnowledgeNeurons]:
    """Whose model has to be what it was, whatever a test does: every bit, no hook."""
    model = tiny_bert()
    yield KnowledgeNeurons(model, tokenizer(), device="cpu")
    same = zip(model.parameters(), tiny_bert().parameters(), strict=True)
    assert all(torch.equal(now, before) for now, before in same)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def scaled(text: str, *edits: tuple[list[list[int]], float]) -> Tensor:
    """(V,) under edits of different neurons, one after the other, by the twin."""
    model, prompt = tiny_bert(), encoded(text)
    if not edits:
        return literal.probabilities(model, prompt, Edit((), 1.0))
    x = model.embed(torch.tensor([prompt.ids]))
    for index, layer in enumerate(model.layers):
        x = layer.attend(x)
        w = layer.ffn_in(x)
        for neurons, factor in edits:
            for at, neuron in neurons:
                if at == index:
                    w[0, prompt.mask_position, neuron] *= factor
        x = layer.ffn_out(w, x)
    return model.head(x)[0, prompt.mask_position].softmax(-1)


def told(p: Tensor, answer: str = ANSWER) -> dict:
    words = tokenizer()
    said = words.decode([p.argmax().item()])
    right = p[words.vocabulary[answer]].item()
    return {"gt_prob": right, "argmax_completion": said, "argmax_prob": p.max().item()}


def check(results: dict, before: Tensor, after: Tensor, answer: str = ANSWER) -> None:
    assert list(results) == ["before", "after"]
    for found, p in zip(results.values(), (before, after), strict=True):
        exact = told(p, answer)
        assert found.keys() == exact.keys()
        assert found["argmax_completion"] == exact["argmax_completion"]
        for name in ("gt_prob", "argmax_prob"):
            assert found[name] == pytest.approx(exact[name], rel=1e-5)


# --- activations -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "factor"), [("suppress_knowledge", 0), ("enhance_knowledge", 2)]
)
def test_activations_are_scaled_and_back(kn, method, factor):
    """Beside the literal twin; a neuron named twice counts once; none at all changes nothing."""
    change = getattr(kn, method)
    results, unpatch = change(PROMPT, ANSWER, [*NEURONS, NEURONS[0]], quiet=True)
    check(results, scaled(PROMPT), scaled(PROMPT, (NEURONS, factor)))
    assert unpatch(1, 2) == (1, 2) and unpatch() == ()
    results, _ = change(PROMPT, ANSWER, [], quiet=True)
    assert results["before"] == results["after"]


def test_quiet_is_what_it_says(kn, capsys):
    kn.suppress_knowledge(PROMPT, ANSWER, NEURONS, quiet=True)
    assert capsys.readouterr().out == ""
    kn.suppress_knowledge(PROMPT, ANSWER, NEURONS)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("before: P(answer) ") and second.startswith("after: P(answer) ")


def test_what_is_left_on_is_on_in_later_calls(kn):
    """At the position that each reads, also below further edits and in scores; the model itself is
    clean meanwhile, and undoing in any order, or twice, leaves nothing."""
    off, more = NEURONS[:2], [NEURONS[2], NEURONS[1]]
    _, undo_off = kn.suppress_knowledge(PROMPT, ANSWER, off, undo_modification=False, quiet=True)
    results, undo_more = kn.enhance_knowledge(
        OTHER, ANSWER, more, undo_modification=False, quiet=True
    )
    check(results, scaled(OTHER, (off, 0)), scaled(OTHER, (off, 0), (more, 2)))
    ids = torch.tensor([encoded(OTHER).ids])
    assert torch.equal(kn.model(ids), tiny_bert()(ids))
    at = encoded(OTHER).mask_position
    outputs, found = kn.get_baseline_with_activations({"input_ids": ids}, 0, at)
    p = outputs.logits[0, at].softmax(-1)
    assert torch.allclose(p, scaled(OTHER, (off, 0), (more, 2)), rtol=1e-5) and found[0, 3] == 0
    scores = kn.get_scores(OTHER, ANSWER, steps=5)
    exact = under_edits(encoded(OTHER), {0: {3: 0.0}, 2: {7: 0.0}, 1: {36: 2.0}})
    assert torch.allclose(scores, exact, rtol=0, atol=1e-6 * exact.abs().max().item())
    assert scores[0, 3] == scores[2, 7] == 0
    for _ in range(2):
        undo_off()
    results, _ = kn.suppress_knowledge(OTHER, ANSWER, [], quiet=True)
    check(results, scaled(OTHER, (more, 2)), scaled(OTHER, (more, 2)))
    undo_more()
    results, _ = kn.suppress_knowledge(OTHER, ANSWER, [], quiet=True)
    check(results, scaled(OTHER), scaled(OTHER))


def under_edits(prompt: Prompt, factors: dict[int, dict[int, float]]) -> Tensor:
    """(L, F) of the left sum with five points, neurons scaled in every run of the network."""
    model, at = tiny_bert(), prompt.mask_position

    def run(layer: int, point: Tensor | None) -> tuple[Tensor, Tensor]:
        x, seen = model.embed(torch.tensor([prompt.ids])), None
        for index, block in enumerate(model.layers):
            x = block.attend(x)
            w = block.ffn_in(x).clone()
            for neuron, factor in factors.get(index, {}).items():
                w[0, at, neuron] *= factor
            if index == layer:
                seen = w[0, at].clone()
                if point is not None:
                    w[0, at] = point
            x = block.ffn_out(w, x)
        return seen, model.head(x)[0, at].softmax(-1)[prompt.answer]

    scores = []
    for layer in range(3):
        w, total = run(layer, None)[0], 0.0
        for alpha, weight in zip(*quadrature.rule("riemann-left", 5), strict=True):
            point = (float(alpha) * w).requires_grad_(True)
            total = total + weight * torch.autograd.grad(run(layer, point)[1], point)[0]
        scores.append(w * total)
    return torch.stack(scores)


def test_the_same_text_is_read_once(monkeypatch):
    """One row while both continue alike; two once the model says another token than the answer."""
    kn, text, rows = decoder(), "The capital of France is", []

    def counted(network, batch, logits=passes.logits):
        rows.append(len(batch.ids))
        return logits(network, batch)

    monkeypatch.setattr(passes, "logits", counted)
    for answer in (" Paris", " Parisian"):
        rows.clear()
        asked = kn._encoded(text, answer)
        said = changing.completion(kn._network, asked).said
        assert said[0] != asked.answer and rows == [1] + [2] * len(asked.later)
    assert asked.later


@pytest.mark.parametrize("answer", [" Paris", " Parisian"])
def test_a_decoders_answers(answer):
    """The product of its tokens, each edited where it is read; the completion is greedy."""
    kn, text = decoder(), "The capital of France is"
    asked = kn._encoded(text, answer)
    results, _ = kn.suppress_knowledge(text, answer, NEURONS, quiet=True)
    for when, edit in (("before", Edit((), 1.0)), ("after", Edit(CHOSEN, 0.0))):
        exact = twin.probability("gpt2", kn.model, asked, edit)
        assert results[when]["gt_prob"] == pytest.approx(exact, rel=1e-4)
    ids, likely, said = list(asked.ids), 1.0, []
    for _ in asked.answers:
        p = kn.model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        likely, said = likely * p.max().item(), [*said, p.argmax().item()]
        ids.append(said[-1])
    assert results["before"]["argmax_prob"] == pytest.approx(likely, rel=1e-4)
    assert results["before"]["argmax_completion"] == kn.tokenizer.decode(said)


# --- weights ---------------------------------------------------------------------------------


def with_slots(new: Callable[[list[float]], list[float]], text: str = PROMPT) -> Tensor:
    """(V,) of a model whose slots of NEURONS are rewritten one by one."""
    model, prompt = tiny_bert(), encoded(text)
    for layer, index in NEURONS:
        weight = model.layers[layer].output.weight
        weight[:, index] = torch.tensor(new(weight[:, index].tolist()))
    return log_probabilities(model, prompt, len(prompt.ids)).exp()


def test_erasing(kn):
    """Slots of zeros, or of the [UNK] embedding; without a target of what the model says."""
    unknown = tiny_bert().words[tokenizer().unknown].tolist()
    before = scaled(PROMPT)
    said = tokenizer().tokens([before.argmax().item()])[0]
    for value, slot in (("zero", [0.0] * 32), ("unk", unknown)):
        after = with_slots(lambda _, slot=slot: slot)
        results, undo = kn.erase_knowledge(PROMPT, NEURONS, value, ANSWER, quiet=True)
        check(results, before, after)
        check(kn.erase_knowledge(PROMPT, NEURONS, value, quiet=True)[0], before, after, said)
        assert undo() == ()


def test_editing(kn):
    """The paper's update, from what the model says to the target, scaled by norms."""
    words, before = tiny_bert().words, scaled(PROMPT)
    target = "Word5"
    old, new = words[before.argmax()].tolist(), words[tokenizer().vocabulary[target]].tolist()
    after = with_slots(lambda slot: updated_slot(slot, old, new, 1.0, 8.0))
    results, _ = kn.edit_knowledge(PROMPT, target, NEURONS, quiet=True)
    check(results, before, after, target)


def test_weights_left_on_are_taken_back_in_any_order(kn):
    """The same slots twice, the first undone first: every bit is back (see the fixture)."""
    _, undo_1 = kn.edit_knowledge(PROMPT, "Word5", NEURONS, undo_modification=False, quiet=True)
    twice, undo_2 = kn.erase_knowledge(
        PROMPT, NEURONS[1:], target=ANSWER, undo_modification=False, quiet=True
    )
    on = [kn.model.value_slots(layer)[:, index].clone() for layer, index in NEURONS]
    assert on[0].any() and not on[1].any() and not on[2].any()
    undo_1()
    slot = kn.model.value_slots(0)[:, 3]
    assert torch.equal(slot, tiny_bert().value_slots(0)[:, 3]) and not torch.equal(slot, on[0])
    results, _ = kn.suppress_knowledge(PROMPT, ANSWER, [], quiet=True)
    assert results["before"] != twice["before"]
    for _ in range(2):
        undo_2()


def test_an_older_edit_shows_again_when_a_newer_is_taken_back():
    network = tiny_bert()
    edits, (one, *_) = SlotEdits(network), CHOSEN
    updated = slots.update(network, [one], old=5, new=6)
    undo_older = edits.add(updated)
    undo_newer = edits.add(slots.erase(network, [one]))
    undo_newer()
    assert torch.equal(network.value_slots(0)[:, 3], updated.after[0])
    undo_older()
    assert torch.equal(network.value_slots(0)[:, 3], tiny_bert().value_slots(0)[:, 3])


@pytest.mark.parametrize("method", ["edit_knowledge", "erase_knowledge", "suppress_knowledge"])
@pytest.mark.parametrize("undo", [True, False])
def test_nothing_stays_after_an_exception(kn, monkeypatch, method, undo):
    """The model fails while it is changed: weights are back, no edit is remembered."""
    calls = []

    def fails(network, prompt, completion=changing.completion):
        calls.append(prompt)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return completion(network, prompt)

    names = {"ground_truth" if method == "suppress_knowledge" else "target": ANSWER}
    arguments = {"neurons": NEURONS, "undo_modification": undo, "quiet": True} | names
    with monkeypatch.context() as patched:
        patched.setattr("knowledge_neurons.compat.eleuther.completion", fails)
        with pytest.raises(RuntimeError, match="out of memory"):
            getattr(kn, method)(PROMPT, **arguments)
    results, _ = kn.suppress_knowledge(PROMPT, ANSWER, [], quiet=True)
    check(results, scaled(PROMPT), scaled(PROMPT))


def test_a_model_of_transformers_is_the_users_own():
    """Weights left on are in it, activations are not; both are gone afterwards."""
    kn, text = decoder(), "The capital of France is"
    before = [one.clone() for one in kn.model.parameters()]
    _, undo = kn.erase_knowledge(
        text, NEURONS, target=" Paris", undo_modification=False, quiet=True
    )
    changed = kn.model.transformer.h[0].mlp.c_proj.weight
    assert not changed[3].any() and changed[4].any()
    undo()
    kn.suppress_knowledge(text, " Paris", NEURONS, undo_modification=False, quiet=True)
    same = zip(before, kn.model.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in same)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in kn.model.modules())


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda kn: kn.suppress_knowledge(PROMPT, ANSWER, [[3, 0]]), "layers 0 to 2"),
        (lambda kn: kn.erase_knowledge(PROMPT, [[0, 37]]), "layers 0 to 2 of 37"),
        (lambda kn: kn.suppress_knowledge(PROMPT, ANSWER, [3, 0]), r"\[\[layer, index\], ...\]"),
        (lambda kn: kn.suppress_knowledge(PROMPT, ANSWER, [[0, 1.5]]), "layer, index"),
        (lambda kn: kn.modify_activations(PROMPT, ANSWER, NEURONS, "double"), "mode is 'double'"),
        (lambda kn: kn.modify_weights(PROMPT, NEURONS, ANSWER, "cut"), "expected one of edit"),
        (lambda kn: kn.erase_knowledge(PROMPT, NEURONS, "one"), "expected one of edit"),
        (lambda kn: kn.modify_weights(PROMPT, NEURONS, None), "an edit needs an answer"),
        (lambda kn: kn.erase_knowledge("[MASK] is [MASK]", NEURONS), r"one \[MASK\]"),
        (
            lambda kn: kn.erase_knowledge("[MASK] is [MASK]", NEURONS, target=ANSWER),
            r"one \[MASK\]",
        ),
        (lambda _: decoder().erase_knowledge("[MASK] is it", NEURONS), "more than punctuation"),
    ],
)
def test_wrong_arguments(kn, monkeypatch, change, part):
    """Said before the model is asked anything."""
    monkeypatch.setattr(passes, "logits", None)
    with pytest.raises(ValueError, match=part):
        change(kn)


def test_without_an_unknown_token():
    kn = decoder()
    kn._tokenizer.unknown = None
    with pytest.raises(ValueError, match="use 'zero'"):
        kn.erase_knowledge("The capital of France is", NEURONS, "unk", " Paris")


def test_a_scaled_network_multiplies_what_comes_together():
    """Two edits of one neuron; what is not changed is the network's own."""
    with pytest.raises(ValueError, match="layers 0 to 2"):
        Scaled(tiny_bert(), [Edit((Neuron(9, 0),), 0.0)])
    both = Scaled(tiny_bert(), [Edit((Neuron(0, 3),), 2.0), Edit((Neuron(0, 3),), 3.0)])
    assert both.shape == tiny_bert().shape
    x, at = torch.randn(2, 4, 32), torch.tensor([1, 2])
    once = tiny_bert().through(0, x, at, only_read=False).activations
    found = both.through(0, x, at, only_read=False).activations
    assert torch.allclose(found[:, 3], 6 * once[:, 3]) and torch.equal(found[:, :3], once[:, :3])
