"""Weight edits against their arithmetic by hand, and that nothing of them stays behind.

Run: pytest tests/unit/test_editing.py
"""

import math

import pytest
import torch

from knowledge_neurons.editing.slots import (
    apply,
    edited,
    erase,
    first_differing,
    resized,
    size_of,
    update,
    value_slots,
)
from knowledge_neurons.types import Neuron
from tests.reference.edits import updated_slot
from tests.reference.tiny import tiny_bert

NEURONS = [Neuron(0, 3), Neuron(2, 36), Neuron(2, 0)]
IDS = torch.tensor([[2, 9, 4, 11, 3]])
# float32 sums of 32 numbers of size 1 against float64.
TOLERANCE = 1e-5


def bits(model) -> dict[str, bytes]:
    return {name: t.numpy().tobytes() for name, t in model.state_dict().items()}


def test_update_is_the_papers_arithmetic():
    """Each slot loses l1 of the old embedding and gains l2 of the new, at the slot's own norm."""
    model = tiny_bert()
    edit = update(model, NEURONS, old=7, new=20, lambda_1=1.5, lambda_2=8.0)
    words = model.embeddings.word.weight.double().tolist()
    for (layer, index), before, after in zip(NEURONS, edit.before, edit.after, strict=True):
        slot = model.layers[layer].output.weight[:, index]
        assert torch.equal(before, slot)
        expected = updated_slot(slot.double().tolist(), words[7], words[20], 1.5, 8.0)
        assert after.tolist() == pytest.approx(expected, abs=TOLERANCE)


def test_update_by_hand():
    """v = (3, 4, 0 ...), t along one axis, t' along another: v' = (3 - 5 l1, 4 + 5 l2, 0 ...)."""
    model = tiny_bert()
    model.layers[1].output.weight[:, 5] = torch.tensor([3.0, 4.0] + [0.0] * 30)
    words = model.embeddings.word.weight
    words[7] = torch.tensor([2.0] + [0.0] * 31)
    words[20] = torch.tensor([0.0, 0.1] + [0.0] * 30)
    edit = update(model, [Neuron(1, 5)], old=7, new=20, lambda_1=1, lambda_2=8)
    assert edit.after[0, :3].tolist() == pytest.approx([-2.0, 44.0, 0.0])


def test_the_papers_lambdas_are_1_and_8():
    model = tiny_bert()
    given, usual = update(model, NEURONS, 7, 20, 1, 8), update(model, NEURONS, 7, 20)
    assert torch.equal(given.after, usual.after)


def test_computing_an_edit_leaves_the_model_alone():
    model = tiny_bert()
    before = bits(model)
    update(model, NEURONS, 7, 20)
    erase(model, NEURONS)
    assert bits(model) == before


def test_edited_changes_the_slots_and_gives_every_bit_back():
    model = tiny_bert()
    before, plain = bits(model), model(IDS)
    edit = update(model, NEURONS, 7, 20)
    with edited(model, edit) as same:
        assert same is model
        assert torch.equal(value_slots(model, NEURONS), edit.after)
        assert (model(IDS) - plain).abs().max() > 1e-2
        changed = {name for name, content in bits(model).items() if content != before[name]}
        assert changed == {"layers.0.mlp.output.weight", "layers.2.mlp.output.weight"}
    assert bits(model) == before
    assert torch.equal(model(IDS), plain)


def test_edited_gives_every_bit_back_after_an_exception_and_nested():
    """Two edits that share a neuron, the inner one left by an exception."""
    model = tiny_bert()
    model.layers[0].output.weight[0, 3] = -0.0  # a bit that arithmetic would lose
    before = bits(model)
    outer, inner = update(model, NEURONS, 7, 20), erase(model, NEURONS[:2])
    with edited(model, outer):
        inside = bits(model)
        with pytest.raises(KeyError), edited(model, inner):
            assert not value_slots(model, NEURONS[:2]).any()
            raise KeyError
        assert bits(model) == inside
    assert bits(model) == before


def test_edited_undoes_what_it_had_begun_to_write():
    """An edit whose second slot has the wrong width fails; its first slot is restored."""
    model = tiny_bert()
    before = bits(model)
    edit = update(model, NEURONS, 7, 20)
    broken = type(edit)(edit.neurons, edit.before, [edit.after[0], torch.zeros(7), edit.after[2]])
    with pytest.raises(RuntimeError), edited(model, broken):
        raise AssertionError("never entered")
    assert bits(model) == before


def test_edited_works_on_weights_that_require_gradients():
    """The released code crashes there (difference 17)."""
    model = tiny_bert().requires_grad_(True)
    with edited(model, erase(model, NEURONS)):
        assert not value_slots(model, NEURONS).any()


def test_apply_stays():
    model = tiny_bert()
    edit = update(model, NEURONS, 7, 20)
    apply(model, edit)
    assert torch.equal(value_slots(model, NEURONS), edit.after)


def test_erase_sets_zero_or_a_vector():
    model = tiny_bert()
    assert not erase(model, NEURONS).after.any()
    vector = model.embeddings.word.weight[1]
    assert all(torch.equal(slot, vector) for slot in erase(model, NEURONS, vector).after)


def test_resized_keeps_the_direction():
    """The Frobenius norm is what was asked; each slot's change keeps its direction."""
    model = tiny_bert()
    edit = update(model, NEURONS, 7, 20)
    assert size_of(edit) == pytest.approx(math.sqrt((edit.after - edit.before).pow(2).sum()))
    scaled = resized(edit, 2.5)
    assert size_of(scaled) == pytest.approx(2.5, rel=1e-5)
    ratio = (scaled.after - scaled.before) / (edit.after - edit.before)
    assert ratio == pytest.approx(torch.full_like(ratio, 2.5 / size_of(edit)), rel=1e-3)
    with pytest.raises(ValueError, match="changes nothing"):
        resized(update(model, NEURONS, 7, 20, 0, 0), 1.0)


@pytest.mark.parametrize(
    "neurons, message",
    [
        ([], "at least one neuron"),
        ([Neuron(3, 0)], "neuron 0 of layer 3: the model has layers 0 to 2 of 37 neurons"),
        ([Neuron(0, -1)], "neuron -1 of layer 0"),
        ([Neuron(1, 2), Neuron(0, 1), Neuron(1, 2)], "neuron 2 of layer 1 is named twice"),
    ],
)
def test_neurons_that_cannot_be_edited_are_refused(neurons, message):
    model = tiny_bert()
    for compute in (lambda: update(model, neurons, 7, 20), lambda: erase(model, neurons)):
        with pytest.raises(ValueError, match=message):
            compute()


def test_answers_are_edited_by_their_first_tokens_that_differ():
    """Whichever is longer; the first of both where one is the start of the other."""
    assert first_differing([5], [6]) == (5, 6)
    assert first_differing([5, 7, 8], [5, 9]) == (7, 9)
    assert first_differing([5, 7], [5, 7, 8]) == first_differing([5], [5]) == (5, 5)


def test_an_answer_outside_the_vocabulary_is_refused():
    with pytest.raises(ValueError, match="token 53: the model has 53"):
        update(tiny_bert(), NEURONS, 7, 53)
