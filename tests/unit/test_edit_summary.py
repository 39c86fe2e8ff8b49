"""Table 6 from hand-written records.

Run: pytest tests/unit/test_edit_summary.py
"""

import math

import pytest

from knowledge_neurons.results.edits import EditRecord, Variant, summarise_edits
from knowledge_neurons.results.metrics import binomial_interval
from tests.reference import released as literal


def outcome(old: int, new: int, p_new: float = 0.5) -> dict:
    """Ranks after the edit."""
    ranks = {"rank_old": [1, old], "rank_new": [9, new]}
    return {"p_old": [0.8, 0.1], "p_new": [0.1, p_new], "predicted": "x", **ranks}


def record(prompts, same=(), other=(), kind="knowledge", asked=0, top_k=None) -> EditRecord:
    """same, other: of each fact that watches, P of its prompts before and after."""
    watched = [
        [
            {"fact": ["P1", 0], "prompts": [0], "log_p": [list(map(math.log, p)) for p in fact]}
            for fact in facts
        ]
        for facts in (same, other)
    ]
    settings = {"kind": kind, "lambda_1": 1.0, "lambda_2": 8.0, "top_k": top_k}
    edit = {"neurons": [[0, 1], [0, 2]], "size": 3.0, "prompts": prompts}
    where = {"relation": "P1", "fact": 0, "asked": asked, "old": "a", "new": "b"}
    return EditRecord(**where, **settings, **edit, same=watched[0], other=watched[1])


RECORDS = [
    # succeeds; of its two paraphrases both change, one succeeds
    record(
        [outcome(2, 1, 0.9), outcome(2, 1), outcome(6, 4)],
        same=[([0.5], [0.25]), ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])],
    ),
    # changes to something else; its paraphrase stays.  It was asked by its second prompt
    record([outcome(1, 3), outcome(7, 2, 0.3)], same=[([0.5], [0.25])], asked=1),
    # does nothing; no paraphrase
    record([outcome(1, 8, 0.0)], same=[([0.5], [0.5])]),
]


def test_rates_by_hand():
    (row,) = summarise_edits(RECORDS, seed=0)
    assert (row.variant, row.kind, row.edits) == (Variant(1.0, 8.0), "knowledge", 3)
    assert (row.neurons, row.size) == (2.0, 3.0)
    assert row.change.value == pytest.approx(2 / 3)
    assert row.success.value == pytest.approx(1 / 3)
    assert row.success.interval == binomial_interval(1, 3)
    assert row.change_top5.value == pytest.approx(1 / 3)
    assert row.success_top5.value == pytest.approx(2 / 3)
    assert row.probability_new.value == pytest.approx(0.4)
    assert row.probability_new_before == pytest.approx(0.1)
    assert (row.rank_new_before, row.rank_new) == (9, 2)


def test_paraphrases_leave_the_asked_prompt_out():
    """Shares 2/2 and 0/1 changed, 1/2 and 0/1 succeeded; the fact of one prompt does not count."""
    (row,) = summarise_edits(RECORDS, seed=0)
    assert row.paraphrase_change.value == pytest.approx(0.5)
    assert row.paraphrase_success.value == pytest.approx(0.25)
    assert row.paraphrase_success_top5.value == pytest.approx(1.0)
    (alone,) = summarise_edits(RECORDS[2:], seed=0)
    assert alone.paraphrase_success is None


@pytest.mark.parametrize("rank, success, top5", [(1, 1, 1), (2, 0, 1), (5, 0, 1), (6, 0, 0)])
def test_ranks_that_just_succeed(rank, success, top5):
    """The first is a success, the fifth is among five; a prompt asked and its paraphrase alike."""
    (row,) = summarise_edits([record([outcome(rank, rank), outcome(rank, rank)])] * 2, seed=0)
    assert (row.success.value, row.paraphrase_success.value) == (success, success)
    assert (row.success_top5.value, row.paraphrase_success_top5.value) == (top5, top5)
    assert (row.change.value, row.paraphrase_change.value) == (1 - success, 1 - success)
    assert row.change_top5.value == 1 - top5


def test_perplexity_is_of_the_mean_over_edits_of_the_mean_over_prompts():
    """In bits: edits of 5/4 (one of four prompts 2, three 1), 2 and 1; their mean is 17/12."""
    (row,) = summarise_edits(RECORDS, seed=0)
    assert row.same_relation.before == pytest.approx(2.0)
    assert row.same_relation.after == pytest.approx(2 ** (17 / 12))
    watched = [[[math.exp(p) for p in fact["log_p"][1]] for fact in r.same] for r in RECORDS]
    assert row.same_relation.after == pytest.approx(literal.perplexity(watched))
    grown = row.same_relation.increase
    assert grown.value == pytest.approx(2 ** (17 / 12) - 2)
    low, high = grown.interval
    assert 0 <= low < grown.value < high <= 2
    assert row.other_relations is None


def test_no_interval_of_one_edit_and_one_of_edits_that_all_fail():
    """What a single edit did is told alone; shares that are all zero have Wilson's interval."""
    (alone,) = summarise_edits(RECORDS[:1], seed=0)
    for estimate in (alone.change, alone.success, alone.paraphrase_change, alone.probability_new):
        assert estimate.interval is None
    assert alone.same_relation.increase.interval is None
    failing = [record([outcome(1, 8), outcome(1, 9)]) for _ in range(40)]
    (row,) = summarise_edits(failing, seed=0)
    assert row.paraphrase_success == row.success
    assert row.paraphrase_success.interval == binomial_interval(0, 40)


def test_variants_and_kinds_stay_apart_in_order():
    more = [
        record([outcome(1, 1)], kind="random"),
        record([outcome(1, 1)], top_k=3),
        record([outcome(1, 1)], kind="random"),
    ]
    rows = summarise_edits([*RECORDS, *more], seed=0)
    assert [(row.variant.top_k, row.kind, row.edits) for row in rows] == [
        (None, "knowledge", 3),
        (None, "random", 2),
        (3, "knowledge", 1),
    ]


def test_a_summary_is_seeded():
    assert summarise_edits(RECORDS, seed=3) == summarise_edits(RECORDS, seed=3)
