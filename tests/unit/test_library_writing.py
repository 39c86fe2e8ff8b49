"""Value slots read, changed and put back to the bit; changes kept in files.

Run: pytest tests/unit/test_library_writing.py
"""

import math
from pathlib import Path

import pytest
import torch

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.editing import patches
from knowledge_neurons.editing.slots import value_slots
from knowledge_neurons.types import Neuron
from tests.reference import asked, families
from tests.reference.asked import DECODER, FRANCE, demo
from tests.reference.edits import updated_slot

NEURONS = [Neuron(0, 3), Neuron(2, 36), Neuron(2, 0)]


@pytest.fixture(params=["bert", "decoder"])
def kn(request) -> KnowledgeNeurons:
    return getattr(asked, request.param)()


def bits(kn: KnowledgeNeurons) -> dict[str, bytes]:
    return {name: t.numpy().tobytes() for name, t in kn.model.published_state().items()}


def slots(kn: KnowledgeNeurons, neurons: list[Neuron]) -> list[list[float]]:
    return value_slots(kn.model, neurons).double().tolist()


def word(kn: KnowledgeNeurons, text: str) -> list[float]:
    """The direction of an answer behind "It is "."""
    token = kn.tokenizer.vocabulary[text if "[MASK]" in kn.tokenizer.vocabulary else f"Ġ{text}"]
    return kn.model.words[token].double().tolist()


# --- what a neuron writes --------------------------------------------------------------------


def test_what_writes_is_a_cosine(kn):
    """Of the slot and each word's direction less all words' mean; special tokens left out."""
    vocabulary, rows = kn.tokenizer.vocabulary, kn.model.words.tolist()
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    for neuron in NEURONS:
        (slot,) = slots(kn, [neuron])
        products = {
            index: cosine(slot, [x - m for x, m in zip(rows[index], mean, strict=True)])
            for index in vocabulary.values()
            if index not in kn.tokenizer.special
        }
        found = kn.what_writes(neuron, k=4)
        for told, order in ((found.up, -1), (found.down, 1)):
            best = sorted(products, key=lambda index, s=order: s * products[index])[:4]
            assert [text for text, _ in told] == [kn.tokenizer.text([index]) for index in best]
            numbers = [value for _, value in told]
            assert numbers == pytest.approx([products[index] for index in best], rel=1e-3)
    every = kn.what_writes((1, 1), k=10_000)
    assert len(every.up) == len(every.down) == len(products), "all words but the special tokens"
    assert f"neuron {neuron.index} of layer {neuron.layer}" in str(found) and "up by" in str(found)


def test_what_writes_is_of_one_neuron():
    kn = asked.bert()
    assert kn.what_writes([(2, 3)]) == kn.what_writes((2, 3)) == kn.what_writes(Neuron(2, 3))
    for neurons, k in ((NEURONS, 10), ((2, 3), 0), ([], 10)):
        with pytest.raises(ValueError, match="expected one neuron"):
            kn.what_writes(neurons, k)


# --- changes ---------------------------------------------------------------------------------


def test_an_update_is_the_papers_arithmetic(kn):
    for lambdas in ((1.0, 8.0), (0.5, 2.0)):
        before = slots(kn, NEURONS)
        with kn.updated(NEURONS, "Paris", "is", lambdas) as change:
            assert change.edit.neurons == tuple(NEURONS) and change.lambdas == lambdas
            for old, new in zip(before, slots(kn, NEURONS), strict=True):
                expected = updated_slot(old, word(kn, "Paris"), word(kn, "is"), *lambdas)
                assert new == pytest.approx(expected, abs=1e-4)
        assert slots(kn, NEURONS) == before


def test_an_update_moves_a_known_fact():
    """In the embedded model: the old answer loses, the new one gains; then all is as before."""
    kn = demo()
    found, plain = kn.find(FRANCE, "Paris"), bits(kn)
    old, new = (sum(kn.probabilities(FRANCE, answer)) for answer in ("Paris", "Rome"))
    with kn.updated(found, "Paris", "Rome"):
        assert sum(kn.probabilities(FRANCE, "Paris")) < 0.5 * old
        assert sum(kn.probabilities(FRANCE, "Rome")) > new
    assert bits(kn) == plain


def test_an_update_takes_the_answers_as_they_stand_in_a_text():
    """Behind a space and elsewhere words are other tokens, which other slots are made of."""
    kn = asked.decoder()
    spaced, start = (kn.tokenizer.vocabulary[word] for word in ("ĠParis", "Paris"))
    for token, more in (
        (spaced, {}),
        (spaced, {"prompt": "x [MASK]"}),
        (start, {"prompt": "([MASK]"}),
    ):
        edit = kn.update(NEURONS[:1], "Paris", "is", (1, 0), **more).edit
        removed = edit.before[0] - edit.after[0]
        direction = kn.model.words[token]
        assert torch.cosine_similarity(removed, direction, dim=0).item() == pytest.approx(1)


def test_erasing_is_zero_or_the_unknown_word():
    kn = asked.bert()
    with kn.erased(NEURONS):
        assert not any(map(any, slots(kn, NEURONS)))
    unknown = kn.model.words[kn.tokenizer.unknown].double().tolist()
    with kn.erased(NEURONS, "unk"):
        assert slots(kn, NEURONS) == [unknown] * 3
    with pytest.raises(ValueError, match="value 'one': expected one of zero, unk"):
        kn.erase(NEURONS, "one")


def test_an_erased_decoder_says_what_its_twin_says():
    kn = asked.decoder()
    twin = families.with_slots(
        "llama", kn.model.model, dict.fromkeys(NEURONS, lambda old: [0.0] * len(old))
    )
    ids = torch.tensor([kn.tokenizer.encode(DECODER[0].split(" [MASK]")[0])])
    expected = twin(ids).logits[0, -1].softmax(-1)
    with kn.erased(NEURONS):
        ((_, p), *_), *_ = kn.top(DECODER[:1])
    assert p == pytest.approx(expected.max().item(), rel=1e-4)


# --- undone to the bit -----------------------------------------------------------------------


def entered(kn: KnowledgeNeurons, path: Path) -> dict:
    """Every context that changes the model, fresh each time."""
    update, erase = kn.update(NEURONS, "Paris", "is"), kn.erase(NEURONS[:1])
    return {
        "updated": lambda: kn.updated(NEURONS, "Paris", "is"),
        "erased": lambda: kn.erased(NEURONS),
        "applied": lambda: kn.applied(update, erase),
        "patched": lambda: kn.patched(path),
    }


@pytest.mark.parametrize("name", ["updated", "erased", "applied", "patched"])
def test_every_bit_is_put_back(kn, name, tmp_path):
    """After the block, and after an exception in it, -0.0 among the bits; a change is there inside,
    computing one and saving it changes nothing."""
    path = tmp_path / "patch"
    with torch.no_grad():
        kn.model.value_slots(0)[0, 3] = -0.0
    before = bits(kn)
    kn.save_patch(path, kn.update(NEURONS, "Paris", "is"))
    context = entered(kn, path)[name]
    assert bits(kn) == before
    with context():
        assert bits(kn) != before and kn.state
    assert bits(kn) == before and not kn.state
    with pytest.raises(KeyError), context():
        raise KeyError
    assert bits(kn) == before and not kn.state
    with context():
        pass  # may be entered again


def test_contexts_nest_with_the_same_neurons(kn):
    """Each level is put back as it was, also where the inner one is left by an exception."""
    plain = bits(kn)
    with kn.updated(NEURONS, "Paris", "is"):
        outer, state = bits(kn), kn.state
        with kn.erased(NEURONS[:2]):
            inner = bits(kn)
            assert kn.state not in (0, state)
            with pytest.raises(KeyError), kn.updated(NEURONS[2:], "Paris", "is"):
                raise KeyError
            assert bits(kn) == inner != outer
        assert bits(kn) == outer != plain and kn.state == state
    assert bits(kn) == plain


def test_several_facts_at_once_with_a_common_neuron(kn):
    """What both do to the common neuron adds up; the others have their own; then all is back."""
    plain, before = bits(kn), slots(kn, NEURONS)
    one, two = kn.update(NEURONS[:2], "Paris", "is"), kn.update(NEURONS[1:], "is", "Paris", (1, 2))
    with kn.applied(one, two):
        now = slots(kn, NEURONS)
    assert now[0] == one.edit.after[0].double().tolist()
    assert now[2] == two.edit.after[1].double().tolist()
    changes = [
        new + other - 2 * old
        for new, other, old in zip(
            one.edit.after[1].tolist(), two.edit.after[0].tolist(), before[1], strict=True
        )
    ]
    expected = [old + change for old, change in zip(before[1], changes, strict=True)]
    assert now[1] == pytest.approx(expected, abs=1e-5)
    assert bits(kn) == plain


def test_a_change_of_other_weights_is_refused():
    """Nested by mistake, the second would take the first back without a word."""
    kn = asked.bert()
    plain = bits(kn)
    one, two = kn.update(NEURONS[:2], "Paris", "is"), kn.update(NEURONS[1:], "is", "Paris")
    with kn.applied(one):
        with pytest.raises(ValueError, match="neuron 36 of layer 2 was computed from other"):
            kn.applied(two).__enter__()
        within = kn.update(NEURONS[1:], "is", "Paris")
        with kn.applied(within):
            pass
    with pytest.raises(ValueError, match="edits of different weights"):
        kn.applied(one, within).__enter__()
    with pytest.raises(ValueError, match="at least one edit"):
        kn.applied().__enter__()
    assert bits(kn) == plain


# --- kept in files ---------------------------------------------------------------------------


def test_a_patch_does_what_the_change_did(kn, tmp_path):
    for name, change in (
        ("update", kn.update(NEURONS, "Paris", "is", (1, 2))),
        ("erase", kn.erase(NEURONS)),
    ):
        kn.save_patch(tmp_path / name, change)
        with kn.patched(tmp_path / name) as read:
            assert slots(kn, NEURONS) == change.edit.after.double().tolist()
        assert (read.kind, read.old, read.new) == (change.kind, change.old, change.new)
        assert read.lambdas == change.lambdas and read.edit.neurons == change.edit.neurons
    assert patches.load(tmp_path / "update").header.relation == "own"


def test_a_patch_of_another_model_is_refused(tmp_path):
    kn, path = asked.bert(), tmp_path / "patch"
    kn.save_patch(path, kn.erase(NEURONS))
    with torch.no_grad():
        kn.model.value_slots(1)[0, 0] += 1e-3
    plain = bits(kn)
    with pytest.raises(ValueError, match="load the model that the patch was made from"):
        kn.patched(path).__enter__()
    with pytest.raises(ValueError, match="no such file"):
        kn.patched(tmp_path / "none").__enter__()
    assert bits(kn) == plain


def test_patches_are_saved_and_entered_outside_of_other_changes(tmp_path):
    """Inside the weights are not those that a patch names; nor are they for a change from there."""
    kn, path = asked.bert(), tmp_path / "patch"
    change = kn.update(NEURONS, "Paris", "is")
    with kn.erased(NEURONS):
        within = kn.update(NEURONS[:1], "Paris", "is")
        with pytest.raises(ValueError, match="outside of `with`"):
            kn.save_patch(path, change)
    with pytest.raises(ValueError, match="computed from other weights"):
        kn.save_patch(path, within)
    assert not path.exists()
    kn.save_patch(path, change)
    with kn.erased(NEURONS), pytest.raises(ValueError, match="enter `patched` before other"):
        kn.patched(path).__enter__()


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lambdas", [(float("nan"), 8), (1, float("inf")), (1,), (1, 2, 3), 8, ("a", 1)]
)
def test_lambdas_that_are_no_two_numbers_are_refused(lambdas):
    kn = asked.bert()
    plain = bits(kn)
    for ask in (kn.update, lambda *a: kn.updated(*a).__enter__()):
        with pytest.raises(ValueError, match=r"^lambdas .*: expected two numbers"):
            ask(NEURONS, "Paris", "is", lambdas)
    assert bits(kn) == plain


def test_neurons_that_cannot_be_changed_are_refused():
    kn = asked.bert()
    for neurons, part in (([], "at least one"), ([(0, 1), (0, 1)], "named twice"), ([(9, 1)], "9")):
        for ask in (kn.erase, lambda some: kn.update(some, "Paris", "is")):
            with pytest.raises(ValueError, match=part):
                ask(neurons)


def test_a_change_prints_what_it_is():
    kn = asked.bert()
    text = str(kn.update(NEURONS, "Paris", "is"))
    assert text.startswith("update of the value slots of 3 neurons, from 'Paris' to 'is', lambdas")
    assert "tensor" not in repr(kn.erase(NEURONS))
