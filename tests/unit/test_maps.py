"""Neuron maps read back, summed up and packed.  Run: pytest tests/unit/test_maps.py"""

import json
from dataclasses import replace

import pytest

from knowledge_neurons.figures import of_maps
from knowledge_neurons.report.mapped import maps_of
from knowledge_neurons.results import maps
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.maps import Checked, MapRecord, Node, summary_of
from knowledge_neurons.stages import tables
from knowledge_neurons.types import Neuron

LOW, TOP = Neuron(1, 0), Neuron(2, 3)


def record(fact: int = 0) -> MapRecord:
    """A neuron of layer 2 with two drivers and one of layer 1 with one."""
    top = Node(TOP, 2.0, 0.1, [(1, 4, 1.0), (0, 7, -0.5)], 0.75, 3, [0.25, 0.75])
    low = Node(LOW, -1.0, 0.2, [(0, 7, 0.1)], 0.5, 1, [1.0])
    off = {TOP: [Neuron(1, 4), Neuron(0, 7)], LOW: [Neuron(0, 7)]}
    checked = [
        Checked(TOP, off[TOP][:1], False, -1.0, -0.8),
        Checked(TOP, off[TOP][1:], False, 0.5, 0.4),
        Checked(TOP, off[TOP], False, -0.5, -0.3),
        Checked(TOP, [Neuron(1, 5)], True, 0.02, 0.01),
        Checked(TOP, [Neuron(0, 1), Neuron(1, 5)], True, 0.02, 0.04),
        Checked(LOW, off[LOW], False, -0.1, 0.1),
    ]
    return MapRecord("P1", fact, "x", 2, [top, low], checked)


def written(folder, *records: MapRecord) -> Results:
    results = Results(folder)
    results.maps("P1").parent.mkdir(parents=True)
    results.maps("P1").write_bytes(b"".join(encode_float32(one) + b"\n" for one in records))
    return results


def test_a_summary_by_hand():
    """Two facts with maps and one without; means and medians are over neurons with drivers."""
    empty = MapRecord("P1", 2, "x", 0, [], [])
    found = summary_of([record(), record(1), empty])
    assert (found.facts, found.left_out, found.neurons, found.driven) == (2, 1, 4, 4)
    assert found.share == pytest.approx(0.625) and found.half == 2
    assert [tuple(row) for row in found.flow] == [(1, 2, [1.0]), (2, 2, [0.25, 0.75])]
    held = found.validation
    assert (held.edges.count, held.upper.count, held.random.count) == (6, 2, 2)
    assert held.edges.sign == pytest.approx(2 / 3) and held.upper.slope == pytest.approx(0.8)
    assert held.taken == pytest.approx(0.15) and held.taken_by_random == pytest.approx(-0.02)
    assert held.together == pytest.approx(0.6) and held.random.r is None
    points = [(-0.5, -0.4, 1), (0.25, 0.2, 0), (0.1, -0.1, 0)]
    assert found.edges[:3] == [pytest.approx(one) for one in points]


def test_a_summary_keeps_points_from_first_to_last(monkeypatch):
    monkeypatch.setattr(maps, "MOST_POINTS", 3)
    found = summary_of([record(n) for n in range(5)])  # 15 changes
    assert len(found.edges) == 3 and len(found.random) == 3
    assert found.edges[0].layer == 1 and found.edges[-1] == summary_of([record()]).edges[-1]


def test_nothing_is_a_summary_too(capsys):
    """It is told and drawn."""
    found = summary_of([])
    assert found.share is None and found.flow == [] and found.edges == []
    tables.show_map("P1", found)
    assert "0 facts, 0 of 0 neurons" in capsys.readouterr().out
    assert len(of_maps.neuron_map("P1", found).axes) == 3


def test_the_screen_tells_the_validation(capsys):
    tables.show_map("P1", summary_of([record(), MapRecord("P1", 1, "x", 0, [], [])]))
    out = capsys.readouterr().out
    assert "1 facts, 2 of 2 neurons driven from below, 1 facts without neurons or prompts" in out
    assert "hold 62.5% of all absolute scores of a neuron; half is held by 2 drivers" in out
    assert "sign right in 66.7%, 3 changes" in out and "take 0.150 of the activation" in out


def test_records_are_read_as_written_with_the_digits_of_float32(tmp_path):
    results = written(tmp_path, record())
    assert list(maps.read_maps(results.maps("P1"))) == [record()]
    assert b"[1,4,1.0]" in results.maps("P1").read_bytes()
    third = replace(record().nodes[0], edges=[(0, 0, 1 / 3)])
    assert json.loads(encode_float32(third))["edges"] == [[0, 0, 0.33333334]]


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda one: one.checked.pop(0), r"neuron \[2, 3\]: what was checked is not its 2 edges"),
        (lambda one: one.nodes.pop(1), "a change was checked of a neuron that is not of the fact"),
        (lambda one: one.nodes[1].layers.append(0.1), r"neuron \[1, 0\] has drivers in 2 layers"),
    ],
)
def test_records_that_do_not_fit_together_are_refused(tmp_path, spoil, part):
    one = record()
    spoil(one)
    results = written(tmp_path, one)
    with pytest.raises(ValueError, match=f"P1.jsonl, line 1: {part}"):
        list(maps.read_maps(results.maps("P1")))


def test_the_browser_is_given_each_facts_map(tmp_path):
    """None for a fact without; what the drivers add and what happened with each off."""
    results = written(tmp_path, record(), MapRecord("P1", 1, "x", 0, [], []))
    assert maps_of(results, "P2", 3) == {}
    first, second, third = maps_of(results, "P1", 3)["maps"]
    assert second is None and third is None and first["wordings"] == 2
    top, low = first["nodes"]
    assert top["neuron"] == 2 * 65536 + 3 and top["from"] == [65536 + 4, 7]
    assert (top["adds"], top["off"], top["share"]) == ([1.0, -0.5], [-0.8, 0.4], 0.75)
    assert (top["together"], top["random"]) == ([-0.5, -0.3], 0.04)
    assert (low["together"], low["random"]) == (None, None)
    with pytest.raises(ValueError, match="has fact 1, the relation has 1"):
        maps_of(results, "P1", 1)
