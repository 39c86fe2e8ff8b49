"""Neuron maps, scorers compared, one prompt studied: records against literal counts.

Run: pytest tests/unit/test_experiments_beyond.py
"""

import pytest
import torch
from scipy import stats

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.attribution import quadrature
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.experiments import compare_scorers, neuron_maps
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.results import maps, scorers, single_prompt
from knowledge_neurons.results.maps import Checked, MapRecord, Node, validation_of
from knowledge_neurons.results.scorers import ScorerRecord
from knowledge_neurons.results.single_prompt import SingleRecord
from knowledge_neurons.types import Edit, Fact, Neuron
from tests.integration.checkpoints import tokenizer
from tests.reference import families as twin
from tests.reference.families import SHAPE, small
from tests.reference.family_errors import prompts
from tests.reference.tiny import tiny_bert

FACT = Fact("P1", "name", 3, "Paris", ("a", "b"))
NEURONS = [Neuron(2, 5), Neuron(1, 4), Neuron(0, 1)]


@pytest.fixture(scope="module")
def mapped() -> tuple:
    """A LLaMA in float64, prompts of two lengths, and the map of three neurons over both."""
    model = small("llama", torch.float64)
    asked = [*prompts("llama", 6, 1), *prompts("llama", 9, 1)]
    settings = neuron_maps.Settings(edges=4, wordings=2)
    network = AdaptedNetwork(model)
    return model, asked, settings, neuron_maps.map_fact(network, FACT, asked, NEURONS, settings, 7)


def test_edges_are_the_strongest_of_the_mean_over_wordings(mapped):
    """Their scores are the literal twin's; shares are of all drivers; layer 0 has none below."""
    model, asked, settings, record = mapped
    assert record.wordings == 2 and record.nodes[2].edges == [] and record.nodes[2].half == 0
    for node in record.nodes[:2]:
        literal = [twin.drivers("llama", model, p, node.neuron, *settings.rule) for p in asked]
        mean = torch.stack(literal).mean(0)  # (l, F)
        sizes = mean.abs().flatten().sort(descending=True)
        expected = [divmod(place, SHAPE.neurons) for place in sizes.indices[:4].tolist()]
        assert [tuple(edge[:2]) for edge in node.edges] == expected
        for layer, index, score in node.edges:
            assert score == pytest.approx(mean[layer, index].item(), rel=1e-5)
        assert node.share == pytest.approx((sizes.values[:4].sum() / sizes.values.sum()).item())
        half = (sizes.values.cumsum(0) < sizes.values.sum() / 2).sum().item() + 1
        assert node.half == half
        by_layer = mean.abs().sum(1)[: node.neuron.layer] / mean.abs().sum()
        assert node.layers == pytest.approx(by_layer.tolist())
        active = [twin.activations("llama", model, p, node.neuron.layer) for p in asked]
        assert node.activation == pytest.approx(torch.stack(active).mean(0)[node.neuron.index])


def test_changes_are_measured_with_neurons_off(mapped):
    """On the first wording, each the twin's; random ones are others of the same layers."""
    model, (first, _), _, record = mapped
    plain = {
        one: twin.edited_activation("llama", model, first, Edit((), 1.0), one) for one in NEURONS
    }
    for one in record.checked:
        off = Edit(tuple(one.off), 0.0)
        after = twin.edited_activation("llama", model, first, off, one.neuron)
        assert one.measured == pytest.approx(after - plain[one.neuron], abs=1e-9)
    for node in record.nodes[:2]:
        own = [one for one in record.checked if one.neuron == node.neuron]
        edges = [Neuron(*edge[:2]) for edge in node.edges]
        single = [one.off[0] for one in own if len(one.off) == 1 and not one.random]
        drawn = [one.off[0] for one in own if len(one.off) == 1 and one.random]
        assert single == edges and not {*drawn} & {*edges}
        assert sorted(n.layer for n in drawn) == sorted(n.layer for n in edges)


def test_a_fact_without_neurons_has_an_empty_map():
    settings = neuron_maps.Settings()
    network = AdaptedNetwork(small("llama"))
    assert neuron_maps.map_fact(network, FACT, [], NEURONS, settings, 0).nodes == []
    with pytest.raises(ValueError, match="edges is 0"):
        neuron_maps.Settings(edges=0)


def test_validation_by_hand():
    """Shares of the activation; r over single drivers, without layer 0, sign, slope, together."""
    top = Neuron(3, 0)
    edges = [(0, 1, 1.0), (1, 1, 1.0), (2, 1, 1.0), (2, 2, 1.0)]
    node = Node(top, -2.0, 0.1, edges, 0.5, 9, [0.2, 0.3, 0.5])
    single = [((0, 1), 2.0, 2.0), ((1, 1), -1.0, -0.5), ((2, 1), 1.0, -1.0), ((2, 2), 3.0, 2.0)]
    checked = [Checked(top, [Neuron(*n)], False, p, m) for n, p, m in single]
    pair = [Neuron(0, 1), Neuron(2, 2)]
    checked += [Checked(top, pair, False, 1.0, 0.8), Checked(top, pair, True, 0.1, -0.02)]
    found = validation_of([MapRecord("P1", 0, "x", 1, [node], checked)])
    x, y = torch.tensor([1.0, -0.5, 0.5, 1.5]), torch.tensor([1.0, -0.25, -0.5, 1.0])
    every, upper = found.edges, found.upper
    assert (every.count, every.sign, upper.count) == (4, 0.75, 3)
    assert every.r == pytest.approx(torch.corrcoef(torch.stack([x, y]))[0, 1].item())
    assert upper.r == pytest.approx(torch.corrcoef(torch.stack([x[1:], y[1:]]))[0, 1].item())
    assert every.slope == pytest.approx((x @ y / (x @ x)).item())
    assert found.together == pytest.approx(0.8) and found.taken == pytest.approx(0.4)
    assert found.taken_by_random == pytest.approx(-0.01)
    nothing = maps.Agreement(0, None, None, None)
    assert found.random == nothing
    assert validation_of([]) == maps.Validation(nothing, nothing, nothing, None, None, None)


def test_scorers_are_compared_on_the_same_candidates():
    """Zero-out agrees with itself, deletion falls as the truth says, curves are shares of P."""
    network = AdaptedNetwork(small("gpt2"))
    asked = prompts("gpt2", 6, 2)
    settings = compare_scorers.Settings(ks=(1, 3), shares=(0.5, 1.0), strongest=5, random=10)
    records = compare_scorers.compare(network, FACT, asked, NEURONS, settings, 0)
    assert [one.scorer for one in records] == [*settings.scorers] * 2
    for one in records:
        dense = one.scorer not in ("zero-out", "log-probability")
        assert one.neurons == (SHAPE.layers * SHAPE.neurons if dense else one.neurons)
        assert (one.agreement is None) == (one.scorer == "zero-out")
        assert len(one.deletion) == 2 and len(one.insertion) == 2 * dense
        if dense:
            assert one.insertion[1] == pytest.approx(1.0)  # with all on
    first = {one.scorer: one for one in records[: len(settings.scorers)]}
    best = first["zero-out"].deletion[0]
    assert all(best <= one.deletion[0] + 1e-6 for one in first.values())
    with pytest.raises(ValueError, match="scorer 'x'"):
        compare_scorers.Settings(scorers=("x",))


def test_curves_and_agreement_are_those_of_the_literal_twin():
    """GPT-2 in float64, of its layers 1 and 2: the strongest off, all others off, every neuron off
    alone; the neurons of other layers stay on."""
    model, (asked,) = small("gpt2", torch.float64), prompts("gpt2", 6, 1)
    how = compare_scorers.Settings(
        *(("ig", "activation"), (1, 3), (0.1,)), random=10**6, layers=(1, 2)
    )
    own = [Neuron(2, 5), Neuron(1, 4)]
    found = compare_scorers.compare(AdaptedNetwork(model), FACT, [asked], own, how, 0)
    every = [Neuron(n, i) for n in (1, 2) for i in range(SHAPE.neurons)]

    def share(off):
        return twin.probability("gpt2", model, asked, Edit(tuple(off), 0.0)) / whole

    whole = twin.probability("gpt2", model, asked, Edit((), 0.0))
    alone = [whole - whole * share([one]) for one in every]
    rule_of_twenty = quadrature.rule("riemann-left", 20)
    scores = {
        "ig": twin.integrated_gradients(
            "gpt2", model, asked, lambda x: x.softmax(-1)[asked.answer], *rule_of_twenty
        ),
        "activation": torch.stack(
            [twin.activations("gpt2", model, asked, n) for n in range(SHAPE.layers)]
        ),
    }
    for one in found:
        values = [scores[one.scorer][neuron].item() for neuron in every]
        order = sorted(every, key=lambda n, s=scores[one.scorer]: -s[n].item())
        assert one.deletion == pytest.approx([share(order[:1]), share(order[:3])], rel=1e-9)
        kept = round(0.1 * len(every))
        assert one.insertion == pytest.approx([share(order[kept:])], rel=1e-9)
        assert one.agreement == pytest.approx(stats.spearmanr(values, alone).statistic)
        assert one.overlap == len({*order[:2]} & {*own}) / 2


def test_summaries_weigh_facts_not_prompts():
    records = [
        ScorerRecord("P1", 0, place, "ig", 1.0, 10, 0.5, [0.2, 0.4], [], None) for place in (0, 1)
    ]
    records.append(ScorerRecord("P1", 1, 0, "ig", 4.0, 10, 1.0, [0.8, 1.0], [0.5], 0.25))
    (found,) = scorers.summaries_of(records)
    assert (found.facts, found.seconds) == (2, 2.0)
    assert found.agreement.value == 0.75 and found.deletion.value == pytest.approx(0.6)
    assert found.insertion.value == 0.5 and found.overlap.interval is None
    assert [one.value for one in found.deletions] == pytest.approx([0.5, 0.7])
    assert [one.value for one in found.insertions] == [0.5]
    ways = [SingleRecord("P1", n, 0, "one prompt", 4, 0.5, 1.0) for n in range(3)]
    ways += [SingleRecord("P1", n, 0, "two", 4, p, 2.0) for n, p in enumerate((0.75, 0.5, 0.25))]
    one, two = single_prompt.summaries_of(ways)
    assert one.gain is None and two.gain.value == 0.0 and (two.better, two.worse) == (1, 1)


def test_one_prompt_is_judged_by_the_others():
    """Six prompts: the truth is of the last three; fewer say nothing; noise leaves no bit."""
    kn = KnowledgeNeurons(tiny_bert(), tokenizer())
    texts = [f"{word} is the capital of [MASK]" for word in ("Word1", "Word2", "Word3", "the")]
    texts += ["the capital [MASK] is Word2", "[MASK] of Word3"]
    before = [tensor.clone() for tensor in kn.model.state_dict().values()]
    smooth = (Smoothing(2, 0.05),)
    found = kn.single_prompt_study([(texts, "Paris"), (texts[:5], "Paris")], smooth, progress=False)
    assert {one.fact for one in found.records} == {0}
    ways = [one.way for one in found.records]
    assert ways[0] == "one prompt" and ways[-2:] == ["2 wordings", "3 wordings"]
    truth = kn.find(texts[3:], "Paris", tolerance=None)
    alone = [kn.scores([one], "Paris", tolerance=None, dense=True).matrix() for one in texts[:3]]
    for record, count in zip((found.records[0], *found.records[-2:]), (1, 2, 3), strict=True):
        dense = sum(alone[:count])  # the mean has the same order
        best = dense.ravel().argsort()[::-1][: len(truth)]
        hits = {tuple(divmod(int(place), dense.shape[1])) for place in best} & {*map(tuple, truth)}
        assert record.precision == pytest.approx(len(hits) / len(truth))
    after = kn.model.state_dict().values()
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
