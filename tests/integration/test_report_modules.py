"""The logic of the report's script, module by module: search, addresses, unpacking, edges.

Run: pytest tests/integration/test_report_modules.py      (needs Chromium, as test_report_browser)
"""

import json

import pytest

from knowledge_neurons.report.packing import STRIDE

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from tests.integration.browsers import chromium, found_chromium
from tests.reference.browser_modules import called

pytestmark = pytest.mark.skipif(
    found_chromium() is None, reason="no Chromium or Chrome on PATH; name one with KN_CHROMIUM"
)
ADDRESSES = ("addresses",)
SEARCH = ("elements", *ADDRESSES, "search")


@pytest.fixture(scope="module")
def page():
    with chromium() as browser:
        yield browser.new_page()


def test_every_kind_of_address_is_read_back(page):
    """A fact, its prompt, a neuron, a relation, two; an id with signs of its own."""
    ways = """[{ fact: data.facts[1] }, { fact: data.facts[2], prompt: 2 },
      { neuron: index.stride + 7 }, { compared: [1] }, { compared: [1, 0] }]"""
    there = called(page, f"{ways}.map((one) => addressOf(data, one))", *ADDRESSES)
    expected = ["#P36/1", "#A%2FB%201/0/2", "#neuron=1/7", "#A%2FB%201", "#compare=A%2FB%201/P36"]
    assert there == expected
    back = f"{json.dumps(there)}.map((one) => addressOf(data, addressed(data, one)))"
    assert called(page, back, *ADDRESSES) == expected


@pytest.mark.parametrize(
    "address",
    [
        *("", "#", "#facts", "#P36/2", "#P99/0", "#%E0%A4%A/1", "#neuron=3/0", "#neuron=0/60"),
        *("#neuron=1", "#compare=P36", "#compare=P36/P99", "#P36/0/x"),
    ],
)
def test_other_addresses_are_of_nothing(page, address):
    assert called(page, f"addressed(data, {json.dumps(address)})", *ADDRESSES) is None


@pytest.mark.parametrize(
    ("text", "neuron"),
    [
        *((text, [3, 7]) for text in ("3/7", "[3, 7]", " 3,7 ", "L3 N7", "l3n7", "L3/N7", "3 7")),
        ("layer 3 neuron 7", [3, 7]),
        *((text, None) for text in ("37", "Paris", "3/", "in 1937", "3/7/1", "P3/7", "")),
    ],
)
def test_a_neuron_is_known_however_it_is_written(page, text, neuron):
    assert called(page, f"neuronAsked({json.dumps(text)})", *SEARCH) == neuron


def test_one_box_finds_all_kinds(page):
    """In heads, answers, ids and labels, whatever the case; a relation that is chosen bounds the
    facts alone; a neuron that the model does not have is none."""

    def found(text, place="null"):
        listed = f"search(data, {json.dumps(text)}, {place}).map((one) => addressOf(data, one))"
        return called(page, listed, *SEARCH)

    assert found("pARis") == ["#P36/0", "#A%2FB%201/0"]
    assert found("oslo") == ["#A%2FB%201", "#P36/1"]
    assert found("oslo", 1) == ["#A%2FB%201"]
    assert found("p36") == ["#P36"]
    assert found("1/7") == ["#neuron=1/7"] and found("3/7") == []
    assert found("") == ["#P36/0", "#P36/1", "#A%2FB%201/0"]


def test_prompts_are_found_of_facts_that_are_not_found_otherwise(page):
    texts = json.dumps([["[MASK] rules France", "it is [MASK]"], ["Norway, ruled from [MASK]"]])

    def found(text, known="[]"):
        call = f"promptsFound(data, {json.dumps(text)}, 0, {texts}, new Set({known}))"
        return [
            tuple(one)
            for one in called(page, f"{call}.map((o) => [o.fact.name, o.prompt])", *SEARCH)
        ]

    assert found("RULE") == [("France", 0), ("Norway", 0)]
    assert found("rule", "[data.facts[0]]") == [("Norway", 0)]
    assert found("it") == [], "two letters are too few"
    tally = (
        "tally([{ neuron: 1 }, ...data.facts.map((fact) => ({ fact })), { fact: 1, prompt: 0 }])"
    )
    assert called(page, tally, *SEARCH) == "1 neuron, 3 facts, 1 prompt"
    assert called(page, "tally([])", *SEARCH) == "0 facts"


def test_owners_are_the_facts_of_each_neuron(page):
    """As numbers over all relations, which start where the one before ends."""
    owners = called(page, "[...data.owners]")
    assert owners == [[STRIDE + 7, [0, 1]], [2 * STRIDE, [0]], [59, [2]]]
    assert called(page, "index.relations.map((one) => one.start)") == [0, 2]


def test_a_facts_columns_are_told_apart(page):
    """Differences add up to the union, flat scores are cut by prompt, other facts' are passed over;
    without scores the neurons stand at full height."""
    columns = json.dumps(
        {"neurons": [[1], [5, 2]], "scores": [[9], [100, 0, 50, 100]], "own": [1, 2]}
    )
    known = called(page, f"detailsOf({columns}, ['a', 'b'], data.facts[1] && "
                         "{ number: 1, neurons: [7], scored: true })")  # fmt: skip
    assert (known["union"], known["scores"]) == ([5, 7], [[100, 0], [50, 100]])
    assert (known["own"], known["nats"], known["edits"]) == (2, None, [])
    told = "detailsOf({}, ['a'], { number: 1, neurons: [7, 9], scored: false })"
    told = called(page, told)
    assert (told["union"], told["scores"], told["predicted"]) == ([7, 9], [[100, 100]], ["[MASK]"])


def test_words_are_looked_up(page):
    packed = {"words": ["a", "b"], "neurons": {"7": [[1, 30, 0, 20], [0, -9], [STRIDE, 55]]}}
    found = called(page, f"writtenBy({json.dumps(packed)}, 7)")
    assert found == {"up": [["b", 30], ["a", 20]], "down": [["a", -9]], "alike": [[STRIDE, 55]]}
    assert called(page, f"writtenBy({json.dumps(packed)}, 8)") is None


def test_edges_of_many_maps_are_averaged(page):
    """What drives a neuron and what it drives, as shares of the driven one's activation; those of
    more maps first."""
    maps = [
        {"nodes": [{"neuron": 9, "active": 2, "from": [3, 4], "adds": [1, 0.4], "off": [-1, 0]}]},
        {"nodes": [{"neuron": 9, "active": 4, "from": [3], "adds": [1], "off": [-2]},
                   {"neuron": 30, "active": 1, "from": [9], "adds": [0.1], "off": [0]}]},
    ]  # fmt: skip
    into, out = called(page, f"edgesAround({json.dumps(maps)}, 9)", "elements", "around")
    assert into == [[3, 0.375, -0.5, 2], [4, 0.2, 0, 1]]
    assert out == [[30, 0.1, 0, 1]]
