"""Manifests summed up, by hand.  Run: pytest tests/unit/test_provenance.py"""

from knowledge_neurons.results.provenance import provenance

MADE = {"python": "3.11", "numpy": "2", "machine": "two cores", "commit": "abc"}


def manifest(seconds: float, identity: dict, **more) -> dict:
    return {
        "identity": identity,
        "arguments": {"bert_model": "bert", "data_path": "bags.json", "seed": 7},
        "device": "cpu",
        "wall_seconds": seconds,
        "made_with": MADE,
        **more,
    }


SCORED = {"relation": "P1", "model_sha256": "m", "data_sha256": "d", "rule": "left", "steps": 20}
MANIFESTS = {
    "TREx-all-P1.rlt.jsonl": manifest(10, SCORED, quadrature={"worst_error": 0.1}),
    "other-P2.rlt.jsonl": manifest(5, SCORED | {"relation": "P2", "steps": 10}),
    "kn/kn_bag-P1.json": manifest(1, {}),
    "kn/base_kn_bag-P1.json": manifest(1, {}),  # the same second as above
    "kn/kn_rel-P1.json": manifest(1, {}),
    "kn/statistics.json": manifest(2, {}),
    "modify_activation/P1.jsonl": manifest(3, {"model_sha256": "n", "seed": 42}),
    "modify_activation/summary.json": {"identity": {}},
    "edit/edit-1-8.jsonl": manifest(4, {}) | {"made_with": MADE | {"numpy": "3"}},
    "edit/edit-1-8.json": manifest(9, {}),  # of the summary alone
    "figs/suppress.pdf": manifest(8, {}),
}


def test_seconds_of_each_stage_count_nothing_twice():
    assert provenance(MANIFESTS).seconds == {1: 15, 2: 3, 3: 3, 6: 4}


def test_every_different_value_is_told():
    made = provenance(MANIFESTS)
    assert (made.models, made.models_sha256) == (["bert"], ["m", "n"])
    assert (made.data, made.data_sha256) == (["bags.json"], ["d"])
    assert (made.seeds, made.devices, made.machines) == ([7, 42], ["cpu"], ["two cores"])
    assert made.versions == {"numpy": ["2", "3"], "python": ["3.11"]}
    assert made.commits == ["abc"]


def test_quadrature_of_each_relation_that_has_an_audit():
    made = provenance(MANIFESTS)
    assert made.quadrature == {"P1": {"worst_error": 0.1}}
    assert made.rules == ["left, 10 steps", "left, 20 steps"]


def test_files_of_the_released_code_have_no_manifests():
    made = provenance({})
    assert made.seconds == {} and made.models == [] and made.versions == {}


def test_every_question_of_stage_10_costs_time():
    """Those about neurons, of each relation, as those about edits."""
    names = ("P19.jsonl", "stability-P19.jsonl", "symmetry.jsonl", "editors.jsonl")
    manifests = {f"controls/{name}": {"wall_seconds": 2.0} for name in names}
    assert provenance(manifests).seconds == {10: 8.0}
