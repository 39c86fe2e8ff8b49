"""Stage 9 as users run it, on the embedded model and facts it knows.

Run: pytest tests/integration/test_map_stage.py
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from knowledge_neurons import KnowledgeNeurons
from knowledge_neurons.experiments import distant_activation
from knowledge_neurons.report import embedding
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.maps import read_maps, read_summaries
from knowledge_neurons.results.neuron_activity import read_activity
from knowledge_neurons.results.neuron_words import read_neuron_words
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.results.neurons_alone import read_alone
from knowledge_neurons.stages import arguments
from knowledge_neurons.text.encoding import encode_open
from knowledge_neurons.types import Neuron
from tests.integration.editable import MODEL, SAMPLE
from tests.integration.stages import Ended, Place, fine, refused

STAGE_9 = "9_map_neurons.py"
SENTENCES = SAMPLE.parents[1] / "BINGREL"
FACTS, EDGES = 6, 5
RECORDS = "maps/P36.jsonl"


@pytest.fixture(scope="module")
def mapped(one_thread, tmp_path_factory) -> tuple[Place, Ended]:
    """Stages 1, 2 and 9 of a few facts; not to be changed."""
    folder = tmp_path_factory.mktemp("mapped")
    sample = json.loads(SAMPLE.read_bytes())
    (folder / "data.json").write_text(json.dumps({"P36": sample["P36"][:FACTS]}))
    place = Place(MODEL, folder / "data.json", folder / "results")
    sentences = json.loads((SENTENCES / "sample_distant_P36.json").read_bytes())[:FACTS]
    (folder / "sentences_P36.json").write_text(json.dumps(sentences))
    pairs = json.loads((SAMPLE.parent / "sample_query_pairs.json").read_bytes())
    (folder / "pairs.json").write_text(json.dumps({"P36": pairs["P36"][:FACTS]}))
    fine(place.score("P36"))
    fine(place.here("2_get_kn.py"))
    return place, fine(place.shell("9_neuron_map.sh", "P36", "--edges", EDGES, *with_texts(place)))


def with_texts(place: Place) -> list[object]:
    """The flags that name its sentences."""
    folder = place.data.parent
    return ["--sentences", folder / "sentences_{}.json", "--pairs", folder / "pairs.json"]


@pytest.fixture
def own(mapped, tmp_path) -> Place:
    """The same results in a folder of one's own."""
    place = replace(mapped[0], results=tmp_path / "results")
    shutil.copytree(mapped[0].results, place.results)
    return place


def test_maps_are_those_of_the_library(mapped):
    """Every fact in data order; its neurons are stage 2's, nodes and changes those of kn.map."""
    results = Results(mapped[0].results)
    found = list(read_maps(results.maps("P36")))
    neurons = read_fact_neurons(results.fact_neurons("P36", False))
    assert [one.fact for one in found] == list(range(FACTS)) and all(neurons)
    assert [[node.neuron for node in one.nodes] for one in found] == neurons
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    bags = json.loads(mapped[0].data.read_bytes())["P36"]
    for place in (0, 4):
        texts, answer = [prompt[0] for prompt in bags[place]], bags[place][0][1]
        expected = kn.map(texts, answer, neurons[place], edges=EDGES).record
        for node, other in zip(found[place].nodes, expected.nodes, strict=True):
            assert [edge[:2] for edge in node.edges] == [edge[:2] for edge in other.edges]
            assert node.edges[0][2] == pytest.approx(other.edges[0][2], rel=1e-4)
            assert node.share == pytest.approx(other.share, rel=1e-4) and node.half == other.half
            assert node.layers == pytest.approx(other.layers, rel=1e-4)
            measured = [one.measured for one in found[place].of_edges(node)]
            assert measured == pytest.approx([o.measured for o in expected.of_edges(other)], 1e-3)


def test_what_edges_predict_happens(mapped):
    """The summary is what the records say, by other code, and the screen says it too."""
    place, ended = mapped
    results = Results(place.results)
    summary = read_summaries(results)["P36"]
    found = list(read_maps(results.maps("P36")))
    nodes = [node for one in found for node in one.nodes]
    pairs = [
        (one.predicted / abs(node.activation), one.measured / abs(node.activation))
        for record in found
        for node in record.nodes
        for one in record.of_edges(node)
    ]
    assert len(pairs) == EDGES * len(nodes) == summary.validation.edges.count
    assert summary.validation.edges.r == pytest.approx(np.corrcoef(np.transpose(pairs))[0, 1])
    assert summary.validation.edges.r > 0.9 and summary.validation.edges.sign > 0.9
    assert summary.validation.taken > 10 * summary.validation.taken_by_random
    assert summary.share == pytest.approx(np.mean([node.share for node in nodes]), rel=1e-4)
    assert summary.neurons == len(nodes) and summary.left_out == 0
    assert all(sum(row.shares) == pytest.approx(1, abs=1e-4) for row in summary.flow)
    assert f"Neuron map of P36: {FACTS} facts" in ended.out
    assert f"r {summary.validation.edges.r:.3f}" in ended.out
    manifest = place.manifest(RECORDS)
    assert manifest["identity"]["lowest"] == 0 and manifest["identity"]["edges"] == EDGES


def test_goes_on_after_an_interruption(own):
    """What was whole is kept, the rest computed again: the same bytes."""
    path = own.results / RECORDS
    whole, before = path.read_bytes(), path.stat().st_mtime_ns
    arguments = ("--relations", "P36", "--edges", EDGES)
    fine(own.here(STAGE_9, *arguments))
    assert path.stat().st_mtime_ns == before  # done: left alone
    path.unlink()
    path.with_name(f"{path.name}.partial").write_bytes(whole[:-10])
    fine(own.here(STAGE_9, *arguments))
    assert path.read_bytes() == whole
    assert own.manifest(RECORDS)["facts_resumed"] == 4


def test_the_first_facts_alone(own):
    """Of all that stage 1 took; more of them are another file.  Wordings and layers are obeyed."""
    shutil.rmtree(own.results / "maps")
    few = ("--max_facts", 2, "--lowest", 1, "--wordings", 1)
    fine(own.here(STAGE_9, *few))
    found = list(read_maps(own.results / RECORDS))
    assert len(found) == 2 and {one.wordings for one in found} == {1}
    assert {edge[0] for one in found for node in one.nodes for edge in node.edges} <= {1, 2}
    refused(own.here(STAGE_9, *few[2:]), "max_facts is 2 there and 0 now", "To start over")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--edges", 0), "argument --edges: '0': expected"),
        (("--edges", 101), "argument --edges: '101': expected"),
        (("--wordings", 0), "argument --wordings: '0': expected"),
        (
            ("--lowest", 3),
            "error: lowest 3: the model has layers 0 to 3, and the topmost drives no",
        ),
        (("--relations", "P9"), "no neurons of P9"),
        (("--edges", EDGES, "--seed", 7), "seed is 42 there and 7 now"),
    ],
)
def test_refuses(own, arguments, part):
    refused(own.here(STAGE_9, *arguments), part)


def test_refuses_without_neurons(own):
    shutil.rmtree(own.results / "kn")
    refused(own.here(STAGE_9), "run stages 1 and 2 first")


def test_stage_8_shows_it(own):
    """The same figure, and in the browser every fact's neurons with their drivers."""
    figure = own.results / "figs/neuron_map-P36.png"
    before = figure.read_bytes()
    assert "neuron_map-P36" in fine(own.here("8_plot_figures.py")).out
    assert figure.read_bytes() == before
    shown = embedding.unpack(embedding.embed(Results(own.results)).relations["P36"])["maps"]
    (first, *_) = read_maps(own.results / RECORDS)
    assert len(shown) == FACTS and shown[0]["wordings"] == 3
    for node, packed in zip(first.nodes, shown[0]["nodes"], strict=True):
        assert divmod(packed["neuron"], embedding.STRIDE) == node.neuron
        froms = [divmod(one, embedding.STRIDE) for one in packed["from"]]
        assert froms == [edge[:2] for edge in node.edges]
        assert packed["adds"] == pytest.approx([edge[2] for edge in node.edges], rel=1e-2)
        assert packed["off"] == pytest.approx([o.measured for o in first.of_edges(node)], rel=1e-2)


def test_the_words_of_every_neuron_lie_beside_the_maps(mapped):
    """Every neuron of every fact, once, with the library's words; not written twice."""
    place = mapped[0]
    results = Results(place.results)
    neurons = read_fact_neurons(results.fact_neurons("P36", False))
    found = read_neuron_words(results)
    assert [one.neuron for one in found] == sorted({n for own in neurons for n in own})
    written = KnowledgeNeurons.from_pretrained(MODEL).what_writes(found[0].neuron)
    assert [word for word, _ in found[0].up] == [word for word, _ in written.up]
    before = results.neuron_words.stat().st_mtime_ns
    fine(place.here(STAGE_9, "--relations", "P36", "--edges", EDGES))
    assert results.neuron_words.stat().st_mtime_ns == before


def test_what_wakes_every_neuron_and_what_each_does_alone(mapped):
    """By the library: activations on the texts told, P with the neuron off; written once."""
    place = mapped[0]
    results = Results(place.results)
    neurons = read_fact_neurons(results.fact_neurons("P36", False))
    found = read_activity(results)
    assert [one.neuron for one in found] == sorted({n for own in neurons for n in own})
    kn = KnowledgeNeurons.from_pretrained(MODEL)
    bags = json.loads(place.data.read_bytes())["P36"]
    one = found[-1]
    for fired in (*one.prompts.most, *one.prompts.least):
        assert fired.text in [row[0] for row in bags[fired.fact]]
    fired = one.prompts.most[0]
    (prompt,) = encode_open([fired.text], kn.tokenizer, 128)
    read = distant_activation.neuron_activations(kn.model, [prompt], [[one.neuron]])
    assert read[0][0] == pytest.approx(fired.activation, rel=1e-4)
    assert one.means["own"] > one.means["relation"] and "both" in one.means
    records = list(read_alone(results.neurons_alone("P36")))
    assert [alone.neuron for alone in records] == [told.neuron for told in found]
    alone = records[-1]
    assert len(alone.asked) == 8 and {i for _, i, _ in alone.asked} <= {
        i for i, own in enumerate(neurons) if alone.neuron in own
    }
    _, index, prompt = alone.asked[0]
    text, answer, _ = bags[index][prompt]
    others = alone.neuron, Neuron(alone.neuron.layer, alone.random[0])
    for off, p in zip(others, alone.probabilities[0][1:], strict=True):
        told = kn.suppress([text], answer, [off]).probabilities
        assert (told[0][0], told[1][0]) == pytest.approx((alone.probabilities[0][0], p), rel=1e-4)
    before = results.neuron_activity.stat().st_mtime_ns
    fine(place.here(STAGE_9, "--relations", "P36", "--edges", EDGES, *with_texts(place)))
    assert results.neuron_activity.stat().st_mtime_ns == before


def test_without_sentences_prompts_wake_neurons_alone(own):
    """It is said, and there is no kind of text of them."""
    (own.results / "neurons/activity.jsonl").unlink()
    said = fine(own.here(STAGE_9, "--edges", EDGES, "--sentences", "none_{}.json")).out
    assert "what wakes neurons is told without sentences of P36: there are none" in said
    found = read_activity(Results(own.results))
    assert all(one.means.keys() <= {"own", "relation", "elsewhere"} for one in found)
    assert all(one.prompts.most and not one.sentences.most for one in found)


def test_the_full_sentences_may_be_of_other_facts(own, monkeypatch):
    """Nobody named them: a run of other prompts goes on without; named, they are refused."""
    other = own.results.parent / "full_{}.json"
    Path(str(other).format("P36")).write_text("[]")
    monkeypatch.setattr(arguments, "SENTENCES", other)
    (own.results / "neurons/activity.jsonl").unlink()
    flags = "--edges", EDGES, "--pairs", own.data.parent / "pairs.json", "--sentences", other
    assert "without sentences of P36" in fine(own.here(STAGE_9, *flags)).out
    assert not any(one.sentences.most for one in read_activity(Results(own.results)))


def test_what_is_wrong_with_sentences_is_said_before_any_work(own):
    folder = own.data.parent
    wrong = own.results.parent / "wrong_{}.json"
    Path(str(wrong).format("P36")).write_text("[]")
    shutil.rmtree(own.results / "maps")
    flags = ("--sentences", wrong, "--pairs", folder / "pairs.json")
    refused(own.here(STAGE_9, *flags), "expected a list of the 6 facts that P36 has")
    assert not (own.results / "maps").exists()
