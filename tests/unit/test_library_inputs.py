"""What the library takes: neurons of any form, texts, answers, devices; and what it refuses.

Run: pytest tests/unit/test_library_inputs.py
"""

import numpy as np
import pytest
import torch
import transformers

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.types import Neuron
from tests.reference import asked
from tests.reference.asked import DECODER, ROOT, TINY
from tests.reference.families import small
from tests.reference.small_tokenizers import gpt2

DEMO = ROOT / "models" / "demo-bert"
PAIR = [Neuron(0, 3), Neuron(2, 7)]


@pytest.fixture(scope="module")
def kn() -> KnowledgeNeurons:
    return asked.bert()


# --- neurons ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        PAIR,
        tuple(PAIR),
        [(0, 3), (2, 7)],
        [[0, 3], [2, 7]],
        np.array([[0, 3], [2, 7]]),
        [(np.int64(0), np.int32(3)), (2.0, 7.0)],
        {Neuron(0, 3): 0.5, Neuron(2, 7): 0.25},
        torch.tensor([[0, 3], [2, 7]]),
    ],
    ids=["Neuron", "tuple of", "tuples", "lists", "array", "numpy", "dict", "tensor"],
)
def test_neurons_of_any_form(kn, form):
    """In every method that takes them, once read as `Neuron` of whole numbers."""
    for ask in (kn.suppress, kn.amplify, kn.dose, kn.against_random):
        assert str(ask(TINY, "Paris", form)) == str(ask(TINY, "Paris", PAIR))
    assert kn.probabilities(TINY, "Paris", form, 0.0) == kn.probabilities(TINY, "Paris", PAIR, 0.0)
    assert kn.top(TINY, 2, form, 0.0) == kn.top(TINY, 2, PAIR, 0.0)
    for change in (kn.update(form, "Paris", "is"), kn.erase(form)):
        assert change.edit.neurons == tuple(PAIR)
        assert {type(number) for neuron in change.edit.neurons for number in neuron} == {int}


@pytest.mark.parametrize("form", [(2, 7), [2, 7], Neuron(2, 7), np.array([2, 7])])
def test_one_neuron_alone(kn, form):
    assert kn.suppress(TINY, "Paris", form) == kn.suppress(TINY, "Paris", PAIR[1:])
    assert kn.erase(form).edit.neurons == (PAIR[1],)
    assert kn.what_writes(form).neuron == PAIR[1]


def test_what_find_gives_can_be_given(kn):
    found = kn.find(TINY, "Paris")
    assert found and kn.suppress(TINY, "Paris", found).neurons == tuple(found)


def test_a_neuron_named_twice_counts_once(kn):
    twice = kn.suppress(TINY, "Paris", [*PAIR, (0, 3)])
    assert twice == kn.suppress(TINY, "Paris", PAIR) and "2 neurons times 0" in str(twice)
    control = kn.against_random(TINY, "Paris", [*PAIR, (0, 3)], draws=3)
    assert control == kn.against_random(TINY, "Paris", PAIR, draws=3)


@pytest.mark.parametrize(
    ("wrong", "part"),
    [
        (["3@7"], "'3@7' is no neuron"),
        ("37", "'3' is no neuron"),
        ([(1, 2, 3)], r"\(1, 2, 3\) is no neuron"),
        ([(0.5, 3)], r"\(0.5, 3\) is no neuron"),
        ([(float("nan"), 3)], r"\(nan, 3\) is no neuron"),
        ([(float("inf"), 3)], r"\(inf, 3\) is no neuron"),
        ([1, 2, 3], "1 is no neuron"),
        ([None], "None is no neuron"),
        (None, "None: expected a list of neurons"),
        (7, "7: expected a list of neurons"),
        ([(3, 0)], "neuron 0 of layer 3: the model has layers 0 to 2 of 37 neurons"),
        ([(0, 37)], "neuron 37 of layer 0"),
        ([(0, -1)], "neuron -1 of layer 0"),
    ],
)
def test_what_is_no_neuron_is_refused(kn, wrong, part):
    for ask in (
        lambda: kn.suppress(TINY, "Paris", wrong),
        lambda: kn.against_random(TINY, "Paris", wrong),
        lambda: kn.probabilities(TINY, "Paris", wrong, 0.0),
        lambda: kn.update(wrong, "Paris", "is"),
        lambda: kn.erase(wrong),
        lambda: kn.what_writes(wrong),
    ):
        with pytest.raises(ValueError, match=part):
            ask()


# --- texts and answers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompts", "answer", "part"),
    [
        ("the capital of [MASK]", "Paris", "expected a list of prompts"),
        ([], "Paris", "expected a list of prompts"),
        ((text for text in TINY), "Paris", "expected a list of prompts"),
        ([*TINY, "no mask"], "Paris", r"expected one \[MASK\] in 'no mask'"),
        ([*TINY, "[MASK] [MASK]"], "Paris", r"expected one \[MASK\] in '\[MASK\] \[MASK\]'"),
        ([*TINY, None], "Paris", "None is no text"),
        (TINY, None, "None is no text"),
        (TINY, ["Paris"], r"\['Paris'\] is no text"),
        ("Paris", TINY, "is no text"),
        (TINY, "[MASK]", "is a special token"),
        (TINY, "Zanzibar", "the answer 'Zanzibar' is not in the model's vocabulary"),
    ],
)
def test_errors_name_the_text(kn, prompts, answer, part):
    for ask in (
        kn.find,
        kn.scores,
        kn.probabilities,
        lambda p, a: kn.suppress(p, a, PAIR),
        lambda p, a: kn.dose(p, a, PAIR),
        lambda p, a: kn.against_random(p, a, PAIR),
    ):
        with pytest.raises(ValueError, match=part) as error:
            ask(prompts, answer)
        assert "own fact" not in str(error.value)


def test_a_space_before_the_answer_is_not_doubled():
    """People of GPT write " Paris"; behind a space that would be two spaces, another answer."""
    llama = asked.decoder()
    plain = llama.probabilities(DECODER, "Paris")
    assert llama.probabilities(DECODER, " Paris") == llama.probabilities(DECODER, "Paris ") == plain
    glued = [text.replace(" [MASK]", "[MASK]") for text in DECODER]
    assert llama.probabilities(glued, " Paris") == plain


def test_what_a_decoder_cannot_read_is_named():
    llama = asked.decoder()
    for ask in (llama.find, llama.probabilities, lambda p, a: llama.suppress(p, a, PAIR)):
        with pytest.raises(ValueError, match=r"follows the answer in 'The \[MASK\] of France'"):
            ask(["The [MASK] of France"], "Paris")
    with pytest.raises(ValueError, match="follows the answer"):
        llama.top(["The [MASK] of France"])


# --- devices ---------------------------------------------------------------------------------


def test_the_device_is_chosen_as_in_the_stages(monkeypatch):
    """The argument before KN_DEVICE before a GPU; what is not there is an error."""
    cpu = torch.device("cpu")
    monkeypatch.setenv("KN_DEVICE", "meta")  # holds no numbers: nobody may take it
    for device in ("cpu", cpu):
        assert KnowledgeNeurons.from_pretrained(DEMO, device=device).model.device == cpu
    with pytest.raises(ValueError, match="device 'meta' cannot be used here"):
        KnowledgeNeurons.from_pretrained(DEMO)
    monkeypatch.setenv("KN_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert KnowledgeNeurons.from_pretrained(DEMO).model.device == cpu
    monkeypatch.delenv("KN_DEVICE")
    asked_for = []
    monkeypatch.setattr(
        "knowledge_neurons.library.model.chosen_device",
        lambda name: asked_for.append(name) or cpu,
    )
    KnowledgeNeurons.from_pretrained(DEMO)
    assert asked_for == [None], "the stages' choice, a GPU where there is one"


def test_a_model_of_ones_own_stays_where_it_is_or_goes_where_it_is_told():
    backend = gpt2()
    words = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
    model = small("llama", vocab_size=backend.get_vocab_size())
    for device in (None, "cpu", torch.device("cpu")):
        kn = KnowledgeNeurons(model, words, device=device)
        assert kn.model.device == torch.device("cpu") and kn.find(DECODER, "Paris") is not None
