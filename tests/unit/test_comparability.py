"""What a run must have been made with for its numbers to stand beside the paper's."""

import copy

import pytest

from knowledge_neurons.report import comparability as module
from knowledge_neurons.report.comparability import TABLES, comparability
from knowledge_neurons.results import published

WEIGHTS = "ab" * 32
REFINED = {"shared": 0.7, "step": 0.05, "fewest": 2.0, "most": 5.0, "rounds": 6}
REFINED |= {"min_prompts": 3, "relation_share": 0.1, "max_share": 1.0}
REFINED |= {"held_out": None, "answer_token": 0}
PAPER = {  # output -> identity, {} in place of the relation
    "TREx-all-{}.rlt.jsonl": {
        "model_sha256": WEIGHTS,
        "data_sha256": published.PROMPTS_SHA256,
        "lowercase": False,
        "layer_norm_eps": 1e-12,
        "max_seq_length": 128,
        "rule": "riemann-left",
        "steps": 20,
        "tolerance": 1e-3,
        "dtype": "float32",
        "keep": 0.1,
        "layers": "0-11",
        "answers": "own",
        "seed": 7,
    },
    "kn/kn_bag-{}.json": REFINED | {"coarse": 0.2},
    "kn/base_kn_bag-{}.json": REFINED | {"coarse": 0.5},
    "modify_activation/{}.jsonl": {"scales": [0.0, 2.0]},
    "distant/{}.jsonl": {
        "max_seq_length": 512,
        "pool_sha256": published.SENTENCES_SHA256,
        "pairs_sha256": published.PAIRS_SHA256,
    },
    "edit/edit-1-8.jsonl": {
        "facts_per_relation": 10,
        "draw": "released",
        "variants": [{"lambda_1": 1.0, "lambda_2": 8.0, "top_k": None}],
    },
    "erase/P19.jsonl": {"neurons": 20, "value": "zero", "other_sample": None},
}


@pytest.fixture
def manifests():
    """Those of a run with the paper's model, data and settings."""
    made = {}
    for output, identity in PAPER.items():
        for n in range(34):
            identity = copy.deepcopy(identity)
            made[output.format(f"P{n + 1}")] = {"identity": identity}
    for n in range(34):
        output = made[f"TREx-all-P{n + 1}.rlt.jsonl"]
        output["identity"]["relation"] = f"P{n + 1}"
        output |= {
            "arguments": {"bert_model": "bert-base-cased"},
            "layers": 12,
            "facts": published.FACTS // 34 + (published.FACTS % 34) * (n == 0),
            "prompts": published.PROMPTS // 34 + (published.PROMPTS % 34) * (n == 0),
        }
    return made


@pytest.fixture
def known(monkeypatch):
    """Somebody has filled in the fingerprint."""
    monkeypatch.setattr(published, "MODEL_SHA256", WEIGHTS)


def scored(manifests):
    return module.outputs_of(manifests, 1)


@pytest.mark.parametrize(
    "name", ["bert-base-cased", "google-bert/bert-base-cased", "old/bert-base-cased.tar.gz"]
)
def test_the_papers_run_can_be_compared_in_every_table(manifests, known, name):
    for one in scored(manifests):
        one["arguments"]["bert_model"] = name
    found = comparability(manifests)
    assert found.verified and not any(found.of(table) for table in TABLES)


def test_without_a_known_fingerprint_nothing_is_verified(manifests):
    found = comparability(manifests)
    assert not found.verified and not found.common


def test_other_weights_under_the_papers_name(manifests, monkeypatch):
    monkeypatch.setattr(published, "MODEL_SHA256", "cd" * 32)
    found = comparability(manifests)
    assert not found.verified
    assert found.common == [
        "the model is named bert-base-cased, but its weights are others (sha256)"
    ]


@pytest.mark.parametrize(
    ("pattern", "field", "value", "table"),
    [
        ("rlt", "rule", "trapezoid", None),
        ("rlt", "steps", 3, None),
        ("rlt", "keep", 0.3, None),
        ("rlt", "layer_norm_eps", 1e-3, None),
        ("rlt", "lowercase", True, None),
        ("rlt", "dtype", "bfloat16", None),
        ("rlt", "tolerance", 0.01, None),
        ("rlt", "max_seq_length", 127, None),
        ("rlt", "tolerance", 1.1e-3, None),
        ("rlt", "keep", 0.11, None),
        ("rlt", "steps", 21, None),
        ("kn/kn_bag", "step", 0.1, None),
        ("kn/kn_bag", "fewest", 1.0, None),
        ("kn/kn_bag", "most", 6.0, None),
        ("kn/kn_bag", "relation_share", 0.2, None),
        ("kn/kn_bag", "coarse", 0.3, None),
        ("kn/base_kn_bag", "coarse", 0.2, None),
        ("kn/kn_bag", "shared", 0.5, None),
        ("kn/kn_bag", "rounds", 7, None),
        ("kn/kn_bag", "min_prompts", 1, None),
        ("modify", "scales", [0.0, 3.0], "suppressed"),
        ("distant", "max_seq_length", 128, "activations"),
        ("distant", "pool_sha256", "ef" * 32, "activations"),
        ("distant", "pairs_sha256", "ef" * 32, "activations"),
        ("edit", "variants", [{"lambda_1": 0.0, "lambda_2": 8.0, "top_k": None}], "edits"),
        ("edit", "draw", "distinct", "edits"),
        ("edit", "facts_per_relation", 5, "edits"),
        ("erase", "neurons", 10, "erasures"),
        ("erase", "value", "unk", "erasures"),
        ("erase", "other_sample", 100, "erasures"),
    ],
)
def test_a_setting_that_is_not_the_papers_is_named_where_it_counts(
    manifests, known, pattern, field, value, table
):
    """One output of many is enough; tables that do not depend on it stay comparable."""
    output = next(name for name in manifests if pattern in name)
    manifests[output]["identity"][field] = value
    found = comparability(manifests)
    touched = {name for name in TABLES if found.of(name)}
    expected = set(TABLES) if table is None else {table}
    assert touched == (expected | {"amplified"} if table == "suppressed" else expected)
    reasons = found.common if table is None else found.tables[table]
    assert any(field in reason and module._short(str(value)) in reason for reason in reasons)


def test_seeds_may_differ_and_all_points_are_exact(manifests, known):
    for one in scored(manifests):
        one["identity"] |= {"seed": 1, "tolerance": None}
    assert not comparability(manifests).common


def test_a_field_that_is_not_told_is_not_taken_for_the_papers(manifests, known):
    for name in [name for name in manifests if name.startswith("edit/")]:
        del manifests[name]["identity"]["draw"]
    assert comparability(manifests).of("edits") == ["stage 6 has draw None, the paper released"]


def test_a_stage_of_few_relations_and_one_without_manifests(manifests, known):
    del manifests["modify_activation/P3.jsonl"]
    for name in [name for name in manifests if name.startswith("distant/")]:
        del manifests[name]
    found = comparability(manifests)
    assert found.of("suppressed") == ["stage 3 has 33 relations of 34"]
    assert found.of("activations") == ["no manifest of stage 4 says what it was run with"]
    assert not found.of("counts")


def test_another_model_or_data(manifests):
    for one in scored(manifests):
        one["layers"] = 4
    scored(manifests)[0]["facts"] -= 1
    found = comparability(manifests)
    assert not any(found.tables.values())  # what follows from fewer data is not told again
    model, data = found.common
    assert "bert-base-cased with 4 layers" in model and "with 12 layers" in model
    assert "27,737 facts" in data and "27,738 facts, 253,448 prompts" in data


def test_counts_that_no_manifest_tells_are_none(manifests, known):
    for one in scored(manifests):
        del one["facts"], one["prompts"]
    (reason,) = comparability(manifests).common
    assert reason.startswith("the data are 34 relations, 0 facts, 0 prompts, the paper's 34")


def test_other_prompts_of_the_same_number(manifests, known):
    scored(manifests)[3]["identity"]["data_sha256"] = "ef" * 32
    (reason,) = [r for r in comparability(manifests).common if "other prompts" in r]
    assert "as many as the paper's" in reason


def test_results_of_several_models(manifests, known):
    manifests["distant/P1.jsonl"]["identity"]["model_sha256"] = "cd" * 32
    assert "results are of 2 models" in comparability(manifests).common[0]


def test_no_manifest_of_stage_1(manifests):
    found = comparability({"kn/statistics.json": {}})
    assert "no manifest of stage 1" in found.common[0] and not found.verified


def test_settings_that_are_better_than_the_papers_do(manifests, known):
    """Longer prompts, smaller errors, more scores kept."""
    for one in scored(manifests):
        one["identity"] |= {"max_seq_length": 512, "tolerance": 1e-5, "keep": 0.0}
    assert not comparability(manifests).common


def test_a_sha256_is_told_by_its_start(manifests, known):
    manifests["distant/P1.jsonl"]["identity"]["pool_sha256"] = "ef" * 32
    (reason,) = comparability(manifests).of("activations")
    assert reason == (
        f"stage 4 has pool_sha256 {'ef' * 8}..., the paper {published.SENTENCES_SHA256[:16]}..."
    )
