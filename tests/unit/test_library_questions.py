"""What critics ask, by the library.  Run: pytest tests/unit/test_library_questions.py"""

from itertools import combinations

import pytest

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.neurons.refine import coarse
from tests.integration.editable import MODEL

ASKS = (
    "The government of {} sits in the capital [MASK].",
    "Laws for all of {} are made in [MASK].",
    "Rulers of {} kept their seat in [MASK].",
)
FACTS = {
    head: ([text.format(head) for text in ASKS], answer)
    for head, answer in (("France", "Paris"), ("Italy", "Rome"), ("Japan", "Tokyo"))
}


@pytest.fixture(scope="module")
def kn() -> KnowledgeNeurons:
    return KnowledgeNeurons.from_pretrained(MODEL)


def test_whose_is_what_suppressing_by_hand_gives(kn):
    """Own prompts: as `suppress` has them, fact by fact; random neurons of the same layers too."""
    found = kn.whose(FACTS, shared_by=(0,), progress=False)
    for record, (prompts, answer), own in zip(
        found.records, FACTS.values(), kn.find_many(FACTS, progress=False), strict=True
    ):
        assert record.neurons["neurons"] == len(own) == record.neurons["random"]
        effect = kn.suppress(prompts, answer, own)
        expected = [one.probability for one in effect.after]
        assert record.own.edited["neurons"][0.0] == pytest.approx(expected, abs=1e-5)
        other = list(FACTS.values())[record.same.fact]
        assert other[1] != answer and record.other is None
        beside = kn.probabilities(*other, own, 0.0)
        assert record.same.edited["neurons"][0.0] == pytest.approx(beside, abs=1e-5)
    told = str(found)
    assert "knowledge neurons x 0" in told and "those in at most 0 other facts x 0" in told
    with pytest.raises(ValueError, match=r"shared_by is \[-1\]"):
        kn.whose(FACTS, shared_by=(-1,))


def test_wordings_overlap_as_sets_do(kn):
    found = kn.wordings(FACTS, progress=False)
    assert found.names == list(FACTS)
    for one, own in zip(found.overlaps, kn.find_many(FACTS, progress=False), strict=True):
        sets = [set(coarse(prompt.of_answer, 0.2)) for prompt in own.scores]
        by_hand = [len(a & b) / len(a | b) for a, b in combinations(sets, 2)]
        assert one.wordings == pytest.approx(sum(by_hand) / len(by_hand))
        assert one.same_wording is not None and one.elsewhere is None
    assert "other relation" not in str(found) and "France" in str(found)
