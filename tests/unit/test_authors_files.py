"""The released code's own averages and activations, read where ours are not there.

Run: pytest tests/unit/test_authors_files.py
"""

import random

import pytest

from knowledge_neurons.results.activations import (
    read_activations_found,
    read_authors_activations,
    table_rows,
)
from knowledge_neurons.results.change_files import (
    mean_changes,
    read_authors_changes,
    read_modified,
)
from knowledge_neurons.results.estimates import Estimate
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path)


# --- changes ---------------------------------------------------------------------------------

KN = {
    "kn_bag-P36": {
        "rm_own:ave_delta_ratio": -0.4,
        "eh_oth:ave_delta_ratio": 0.1,
        "own:ori_prob": 1,
    },
    "kn_bag-P101": {"rm_own:ave_delta_ratio": -0.2, "eh_own:ave_delta_ratio": 0.6},
}
BASE = {"base_kn_bag-P36": {"rm_own:ave_delta_ratio": 0.02}}


def test_their_averages_are_changes_without_intervals(results):
    """Of both kinds; rm is a factor of 0, eh of 2; what they do not tell is not there."""
    write_json(results.modified_averages(False), KN)
    write_json(results.modified_averages(True), BASE)
    found = read_authors_changes(results)
    assert list(found) == ["P101", "P36"]
    assert found["P36"] == {
        "neurons": {"own": {0.0: Estimate(-0.4, None)}, "other": {2.0: Estimate(0.1, None)}},
        "baseline": {"own": {0.0: Estimate(0.02, None)}, "other": {}},
    }
    assert found["P101"]["baseline"] == {"own": {}, "other": {}}


def test_their_overall_change_is_the_mean_over_relations_that_tell_of_it(results):
    write_json(results.modified_averages(False), KN)
    found = read_modified(results)
    assert found.overall == mean_changes(list(found.relations.values()))
    assert found.overall["neurons"] == {
        "own": {0.0: Estimate(pytest.approx(-0.3), None), 2.0: Estimate(0.6, None)},
        "other": {2.0: Estimate(0.1, None)},
    }
    assert found.overall["baseline"] == {"own": {}, "other": {}}
    assert found.theirs == ["kn/modify_activation_rlt.json"] and found.counts == {}


def test_no_changes_without_files(results):
    assert read_authors_changes(results) == {} and read_modified(results) is None


# --- activations -----------------------------------------------------------------------------

OWN = {"P36": [[[1.0, 3.0], [0.5, 0.7], [0.0, 0.1]], "no_exmp", "no_kn"]}
OTHERS = {"P36": ["no_kn", "no_exmp", [[2.0], [1.5], [1.0]]], "P101": [[[4.0], [5.0], [6.0]]]}


def test_their_activations_are_records_of_facts(results):
    """Those of either kind side by side; a fact that neither read has none."""
    write_json(results.distant_activations(False), OWN)
    write_json(results.distant_activations(True), OTHERS)
    found = read_authors_activations(results)
    assert list(found) == ["P101", "P36"]
    first, none, last = found["P36"]
    assert [(one.relation, one.fact) for one in found["P36"]] == [("P36", n) for n in range(3)]
    assert (first.neurons, none.neurons) == (
        {"neurons": 2, "baseline": 0},
        dict.fromkeys(first.neurons, 0),
    )
    assert first.means == {
        "neurons": {"both": [1.0, 3.0], "head": [0.5, 0.7], "random": [0.0, 0.1]},
        "baseline": {"both": [], "head": [], "random": []},
    }
    assert none.means is None and last.neurons == {"neurons": 0, "baseline": 1}
    assert last.means["baseline"]["head"] == [1.5] and last.means["neurons"]["head"] == []
    assert (first.sentences, first.cut, first.names_tail) == (
        {"both": 0, "head": 0, "random": 0},
        0,
        0,
    )
    (lone,) = found["P101"]
    assert lone.neurons == {"neurons": 0, "baseline": 1}


def test_table_4_of_their_files_names_them(results):
    write_json(results.distant_activations(False), OWN)
    found = read_activations_found(results)
    assert found.theirs == ["distant/kn_weights@distant_data.json"]
    assert list(found.overall) == ["neurons"] and list(found.relations) == ["P36"]
    assert found.overall["neurons"].facts == 1
    assert found.overall["neurons"].by_sentences["both"] == Estimate(2.0, None)


def test_intervals_of_their_table_have_the_seed_42(results):
    """As our stages' by default, for their files tell none."""
    rng = random.Random(0)
    facts = [[[rng.random()], [rng.random()], [rng.random()]] for _ in range(9)]
    write_json(results.distant_activations(False), {"P36": facts})
    (read,) = read_authors_activations(results).values()
    found = read_activations_found(results)
    assert found.overall == table_rows(read, 42) != table_rows(read, 43)
    assert found.relations == {"P36": found.overall}


def test_no_activations_without_files(results):
    assert read_authors_activations(results) == {} and read_activations_found(results) is None


@pytest.mark.parametrize(
    "entry", [[[1.0, 2.0], [0.5], [0.0, 0.1]], [[1.0], [0.5], [0.0, 0.1]], [[], [], []]]
)
def test_lists_of_unlike_lengths_are_named(results, entry):
    """An entry has three lists of as many neurons, at least one."""
    write_json(results.distant_activations(True), {"P36": ["no_kn", entry]})
    with pytest.raises(ValueError, match=r"P36 fact 1 in kn_weights.*\(baseline\): expected three"):
        read_authors_activations(results)


def test_kinds_of_unlike_numbers_of_facts_are_refused(results):
    write_json(results.distant_activations(False), OWN)
    write_json(results.distant_activations(True), {"P36": OTHERS["P36"][:2]})
    with pytest.raises(ValueError, match=r"base_kn_weights.*P36, with unlike numbers of facts"):
        read_authors_activations(results)
    write_json(results.distant_activations(True), {"P36": []})
    assert len(read_authors_activations(results)["P36"]) == 3, "none at all is no other number"
