"""Published neurons: what is read and refused, who a uuid is, what adopted records may lack.

Run: pytest tests/unit/test_published_neurons.py
"""

import json
import sys
from pathlib import Path

import pytest

from knowledge_neurons.figures import plots
from knowledge_neurons.results import adopted, change_files, changes
from knowledge_neurons.results.changes import ChangeRecord, Outcome
from knowledge_neurons.types import Neuron

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))  # its neighbours

import data_sources
import published_neurons
from published_neurons import Who

PARIS, ROME = Who("P36", "France", "Paris"), Who("P36", "Italy", "Rome")
ONE, TWO = [Neuron(1, 2)], [Neuron(3, 4)]


def test_neurons_come_in_order():
    raw = b'{"a": [[11, 7], [0, 3071]]}'
    assert published_neurons.check_neurons(raw) == {"a": [Neuron(0, 3071), Neuron(11, 7)]}


@pytest.mark.parametrize(
    "content", [{"a": [[12, 0]]}, {"a": [[0, 3072]]}, {"a": []}, {"a": [[1, 2], [1, 2]]}]
)
def test_neurons_that_the_model_lacks_none_or_twice_are_refused(content):
    with pytest.raises(ValueError, match="of a, expected some, each once, of 12 layers of 3,072"):
        published_neurons.check_neurons(json.dumps(content).encode())


@pytest.mark.parametrize("content", [b'{"a": [[1]]}', b'{"a": [[-1, 2]]}', b"[]", b"Not Found"])
def test_content_of_another_shape_names_the_file(content):
    with pytest.raises(ValueError, match="the_file: got content that starts with"):
        data_sources.checked(published_neurons.check_neurons, content, "the_file")


def test_facts_of_a_relation_by_uuid():
    row = {"sub_label": "France", "obj_label": "Paris", "uuid": "a"}
    raw = json.dumps(row).encode()
    assert published_neurons.check_facts(raw + b"\n", "P36") == {"a": PARIS}
    with pytest.raises(ValueError, match="got 1 uuids twice"):
        published_neurons.check_facts(raw + b"\n" + raw, "P36")


def test_a_fact_under_two_uuids_has_its_neurons_once():
    who = {"a": PARIS, "b": PARIS, "c": ROME}
    neurons = {"a": ONE, "b": ONE, "c": TWO}
    assert published_neurons.merge(neurons, who) == {PARIS: ONE, ROME: TWO}
    with pytest.raises(ValueError, match=r"two sets of neurons of .*'France', 'Paris'"):
        published_neurons.merge(neurons | {"b": TWO}, who)


def test_a_uuid_that_no_fact_has_is_refused():
    with pytest.raises(ValueError, match="got 1 uuids that no fact has, such as d"):
        published_neurons.merge({"d": ONE}, {"a": PARIS})


@pytest.mark.parametrize(
    "neurons, takes_part, kinds",
    [
        ({"neurons": 3, "baseline": 2}, True, ["neurons", "baseline"]),
        ({"neurons": 3}, True, ["neurons"]),
        ({}, False, ["neurons"]),
    ],
)
def test_a_record_may_lack_the_baseline_or_all_where_it_tells_of_nothing(
    neurons, takes_part, kinds
):
    assert adopted.check_kinds(neurons, takes_part) == kinds


@pytest.mark.parametrize("neurons", [{}, {"baseline": 2}, {"neurons": 1, "rare": 2}])
def test_other_kinds_are_refused(neurons):
    with pytest.raises(ValueError, match="neurons has"):
        adopted.check_kinds(neurons, takes_part=True)


def test_averages_are_over_the_published_facts_alone():
    """A fact that was not published does not count as one that its neurons leave as it is."""
    halved = Outcome("P36", 0, [0.8, 0.4], {"neurons": {0.0: [0.4, 0.2], 2.0: [0.8, 0.4]}})
    records = [
        ChangeRecord("P36", 0, "Paris", {"neurons": 3}, halved, None),
        ChangeRecord("P36", 1, "Rome", {}, None, None),
    ]
    found = changes.modified_of({"P36": records}, seed=1)
    assert found.overall["neurons"]["own"][0.0].value == pytest.approx(-0.5)
    assert found.overall["baseline"]["own"] == {}
    assert found.counts == {
        "facts": 2, "cannot_be_asked": 0, "no_other_relation": 1, "neurons_not_published": 1,
        "without_neurons": 0,
    }  # fmt: skip
    theirs = change_files.authors_averages({"P36": records}, "neurons")
    assert theirs["kn_bag-P36"]["rm_own:ave_delta_ratio"] == pytest.approx(-0.5)
    assert change_files.authors_averages({"P36": records}, "baseline") == {}


def test_figure_3_without_a_baseline_has_one_panel():
    figure = plots.layer_distribution([0.25, 0.75])
    (panel,) = figure.axes
    assert panel.get_title() == "Knowledge neurons" and len(panel.patches) == 2
