"""Our stages on files in the shape that the released scripts leave: no manifests, `indent=2`.

`ig_pred` is dense, `pred` is [[[V]]], the neurons are bare lists; stages 3 and 4 leave averages.
Made from our own stages' numbers on the embedded model, so that the results must be the same.

Run: pytest tests/integration/test_ours_read_theirs.py
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge_neurons import ROOT, report
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.layout import Results
from tests.integration.editable import MODEL, SAMPLE
from tests.integration.stages import Place, fine

RELATIONS = ("P36", "P37")
FACTS = 11  # of each: the fewest of which one fact's own neuron is under a tenth
LAYERS, WIDTH = 4, 512
SOURCES = ROOT / "data"


@pytest.fixture(scope="module")
def ours(one_thread, tmp_path_factory) -> Place:
    """Stages 1 to 4 on a few facts; not to be changed."""
    folder = tmp_path_factory.mktemp("theirs")
    bags = json.loads(SAMPLE.read_bytes())
    pairs = json.loads((SOURCES / "PARAREL/sample_query_pairs.json").read_bytes())
    few = {name: {r: content[r][:FACTS] for r in RELATIONS} for name, content in (
        ("data.json", bags), ("pairs.json", pairs))}  # fmt: skip
    for relation in RELATIONS:
        sentences = (SOURCES / f"BINGREL/sample_distant_{relation}.json").read_bytes()
        few[f"sentences_{relation}.json"] = json.loads(sentences)[:FACTS]
    for name, content in few.items():
        (folder / name).write_text(json.dumps(content))
    place = Place(MODEL, folder / "data.json", folder / "ours")
    for relation in RELATIONS:
        fine(place.score(relation, "--get_pred"))
    for script in ("2_get_kn", "2_analyze_kn", "3_modify_activation", "4_check_weights_distant"):
        fine(place.here(f"{script}.py"))
    return place


def dumped(path: Path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        json.dump(content, file, indent=2)


@pytest.fixture
def theirs(ours) -> Place:
    """Scores and neurons as their stages 1 and 2 leave them, in a folder of one's own."""
    place = replace(ours, results=ours.data.parent / "theirs")
    shutil.rmtree(place.results, ignore_errors=True)
    place.results.mkdir()
    for relation in RELATIONS:
        facts = ours.lines(relation)
        dense = [[1e-3 * layer] * WIDTH for layer in range(LAYERS)]
        for info, result in (prompt for fact in facts for prompt in fact):
            assert len(result["pred"]) == 1 and info["tokens"]
            result["ig_pred"] = dense
        lines = "".join(json.dumps(fact) + "\n" for fact in facts)
        place.scores(relation).write_text(lines)
        for kind in ("kn_bag", "base_kn_bag", "kn_rel", "base_kn_rel"):
            name = f"kn/{kind}-{relation}.json"
            dumped(place.results / name, json.loads((ours.results / name).read_bytes()))
    return place


def load(place: Place, name: str):
    return json.loads((place.results / name).read_bytes())


def test_stage_2_refines_their_scores(ours, theirs):
    """Dense ig_pred and pred are passed over; the neurons are those of our own scores."""
    shutil.rmtree(theirs.results / "kn")
    fine(theirs.here("2_get_kn.py"))
    fine(theirs.here("2_analyze_kn.py"))
    for relation in RELATIONS:
        for kind in ("kn_bag", "base_kn_bag", "kn_rel", "base_kn_rel"):
            name = f"kn/{kind}-{relation}.json"
            assert load(theirs, name) == load(ours, name)
    assert load(theirs, "kn/statistics.json") == load(ours, "kn/statistics.json")


@pytest.mark.parametrize(
    "script, outputs",
    [
        ("3_modify_activation.py", ("modify_activation/P36.jsonl", "modify_activation/P37.jsonl")),
        ("4_check_weights_distant.py", ("distant/P36.jsonl", "distant/P37.jsonl")),
    ],
)
def test_stages_3_and_4_take_their_neurons(ours, theirs, script, outputs):
    fine(theirs.here(script))
    for name in outputs:
        assert (theirs.results / name).read_bytes() == (ours.results / name).read_bytes()


def test_stage_5_takes_their_neurons(theirs):
    fine(theirs.here("5_find_trigger_examples.py", "--top", 2))
    folder = theirs.results / "trigger_examples_th"
    assert len((folder / "P36.jsonl").read_bytes().splitlines()) == FACTS
    assert list(folder.glob("P36-*.txt"))


def test_stages_6_and_7_take_their_neurons_and_scores(theirs):
    few = ("--facts_per_relation", 2, "--relations", "P36")
    fine(theirs.here("6_edit_knowledge_sampled.py", *few, "--save_patches"))
    fine(theirs.here("6_edit_knowledge_sampled.py", *few, "--top_k", "1,2"))
    fine(theirs.here("7_erase_knowledge.py", "--relation", "P36", "--neurons", 3))
    assert load(theirs, "edit/edit-1-8.json")["edits"][0]["edits"] == 2
    assert load(theirs, "erase/P36.json")["erased"]["relation"]["facts"] == FACTS


def test_stage_8_draws_their_results(ours, theirs):
    """Figures and tables of their stages 3 and 4: the same values; averages have no interval."""
    for folder, name in (("kn", "modify_activation_rlt"), ("distant", "kn_weights@distant_data")):
        for base in ("", "base_"):
            path = f"{folder}/{base}{name}.json"
            dumped(theirs.results / path, load(ours, path))
    ended = fine(theirs.here("8_plot_figures.py"))
    for figure in ("suppress", "amplify", "distant"):
        assert (theirs.results / f"figs/{figure}.pdf").exists(), ended.out
    identity = theirs.manifest("figs/suppress.pdf")["identity"]
    assert list(identity["sources_sha256"]) == [
        "kn/modify_activation_rlt.json",
        "kn/base_modify_activation_rlt.json",
    ]
    found, expected = (outcomes.read(Results(place.results)) for place in (theirs, ours))
    assert set(found.modified.relations) == set(RELATIONS)
    for kind, by_asked in expected.modified.overall.items():
        for asked, by_factor in by_asked.items():
            for factor, change in by_factor.items():
                read = found.modified.overall[kind][asked][factor]
                assert read.value == pytest.approx(change.value, abs=1e-6)
                assert read.interval is None and change.interval
    assert found.activations.theirs and found.activations.relations.keys() == set(RELATIONS)
    for kind, row in expected.activations.overall.items():
        read = found.activations.overall[kind]
        assert read.facts == row.facts
        for sentences, estimate in row.by_sentences.items():
            assert read.by_sentences[sentences].value == pytest.approx(estimate.value, abs=1e-6)
            assert read.by_sentences[sentences].interval
    page = report.render(Results(theirs.results))
    assert "averages of the released code's stage 3" in page
    assert "no intervals)" in page, "on the figure too"


def test_stage_8_reads_one_of_their_files(theirs, ours):
    """The released stage 3 runs the baseline alone; facts that were not read are words."""
    path = "kn/base_modify_activation_rlt.json"
    dumped(theirs.results / path, load(ours, path))
    entries = ["no_exmp", "no_kn", [[1.0, 2.0], [0.5, 0.5], [0.0, 0.0]]]
    dumped(theirs.results / "distant/kn_weights@distant_data.json", {"P36": entries})
    found = outcomes.read(Results(theirs.results))
    assert found.modified.overall["neurons"] == {"own": {}, "other": {}}
    assert set(found.modified.overall["baseline"]["own"]) == {0.0, 2.0}
    (kind,) = found.activations.overall
    row = found.activations.overall[kind]
    assert (kind, row.facts, row.by_sentences["both"].value) == ("neurons", 1, 1.5)
    fine(theirs.here("8_plot_figures.py"))


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("kn/modify_activation_rlt.json", {"kn_bag-P36": {"own:ori_prob": "0.5"}}, "`float`"),
        ("kn/modify_activation_rlt.json", [1], "`object`"),
        ("distant/kn_weights@distant_data.json", {"P36": ["none"]}, "none"),
        ("distant/kn_weights@distant_data.json", {"P36": [[[1.0], [1.0]]]}, "length 3"),
        ("distant/kn_weights@distant_data.json", {"P36": [[[1.0], [1.0, 2.0], [1.0]]]}, "as many"),
    ],
)
def test_their_files_of_another_shape_are_named(theirs, name, content, said):
    dumped(theirs.results / name, content)
    with pytest.raises(ValueError, match=said) as error:
        outcomes.read(Results(theirs.results))
    assert Path(name).name in str(error.value)
