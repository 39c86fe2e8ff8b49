"""What the paper says of edits, measured afresh on the embedded model's own knowledge neurons.

Run: pytest tests/integration/test_demo_edits.py
"""

import pytest

from knowledge_neurons.attribution.fact_scores import prepare, score_facts
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.editing import slots
from knowledge_neurons.experiments import choose_facts, edit_facts, erase_relation
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.networks.checkpoints import fingerprint
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.neurons.neuron_statistics import refine_scores
from knowledge_neurons.results.edits import EDITED, Variant, summarise_edits
from knowledge_neurons.results.erasures import summarise_erasure
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_facts
from tests.integration.editable import MODEL, SAMPLE
from tests.reference import edits as literal

SCORED = ("P36", "P19")


@pytest.fixture(scope="module")
def known():
    """The model, the prompts of all relations, the refined neurons of two of them."""
    pretrained, bags = checkpoints.from_pretrained(MODEL), data.read_bags(SAMPLE)
    facts = {name: data.facts_of(bags, name, SAMPLE) for name in bags}
    encoded = {
        name: encode_facts(own, pretrained.tokenizer, 64, False).prompts
        for name, own in facts.items()
    }
    neurons = {}
    for name in SCORED:
        engine = prepare(pretrained.model, pretrained.tokenizer, Settings())
        scored = [f for group in score_facts(engine, facts[name], encoded[name]) for f in group]
        neurons[name] = refine_scores(fact.prompts for fact in scored).neurons.facts
    return pretrained, encoded, neurons


def test_updating_succeeds_far_above_both_controls(known):
    """Table 6's first half: 20 edits; and the weights are those that were loaded."""
    pretrained, bags, neurons = known
    model, tokenizer = pretrained.model, pretrained.tokenizer
    records = []
    for name in SCORED:
        plan = choose_facts.plan(model, bags, name, neurons[name], choose_facts.Selection())
        assert len(plan.facts) == 10
        for planned in plan.facts:
            records += edit_facts.edit_fact(model, tokenizer, bags, planned, [Variant(1, 8)], 42)
    rows = {row.kind: row for row in summarise_edits(records, seed=0)}
    own, *controls = (rows[kind] for kind in EDITED)
    for control in controls:
        assert own.success.interval.low > control.success.value + 0.05
        assert own.change.interval.low > 2 * control.change.value
        assert own.paraphrase_success.interval.low > control.paraphrase_success.interval.high
    assert own.same_relation.increase.value > 0
    assert fingerprint(model) == pretrained.sha256


def test_erasing_raises_the_relations_perplexity_by_far_more_than_the_others(known):
    """Table 5's signs; five times the increase of the others', at least."""
    pretrained, bags, neurons = known
    model = pretrained.model
    chosen = erase_relation.frequent_neurons(neurons["P19"], 20)
    assert len(chosen) == 20
    edits = {"erased": slots.erase(model, chosen)}
    places = erase_relation.choose_prompts(bags, "P19", 1000, seed=0)
    records = erase_relation.read_facts(model, bags, erase_relation.by_fact(places), edits)
    table = summarise_erasure(records, "P19", "erased", seed=0)
    grown, others = table.relation.perplexity_increase, table.others.perplexity_increase
    assert grown.interval.low > 0.3
    assert grown.value > 5 * max(others.value, 0.02)
    assert table.relation.accuracy_after < table.relation.accuracy_before


def test_batched_perplexity_is_the_slow_twins(known):
    """On real prompts, padded to 128 one at a time."""
    pretrained, bags, _ = known
    prompts = [bag[0] for bag in bags["P19"][:12]]
    found = Reader(pretrained.model, prompts).read().log_probabilities[:, 0]
    for prompt, log_p in zip(prompts, found, strict=True):
        expected = literal.log_probabilities(pretrained.model, prompt, 128)[prompt.answer]
        assert log_p == pytest.approx(expected.item(), abs=1e-4)
