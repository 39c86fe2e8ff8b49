"""Stage 10's questions about edits as users ask them, on the embedded model and a few facts.

Run: pytest tests/integration/test_question_edits_stage.py
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from knowledge_neurons import ROOT
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results.editors import read_editors
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.symmetry import read_reach
from tests.integration.editable import FACTS, MODEL, another, editable, interrupt
from tests.integration.stages import Ended, Place, fine, refused

STAGE = "10_question_edits.py"
SAMPLE_PAIRS = ROOT / "data" / "PARAREL" / "sample_query_pairs.json"
SAMPLE_CASES = ROOT / "data" / "COUNTERFACT" / "sample_counterfact.json"
QUICK = ("--facts_per_relation", 3, "--max_cases", 10)
CASES = ("--ask", "editors", "--max_cases", 2, "--from")


@pytest.fixture(scope="module")
def questioned(one_thread, tmp_path_factory) -> tuple[Place, Ended]:
    """Both questions, of P36 and P37, of which alone there are inverses; not to be changed."""
    place = editable(tmp_path_factory.mktemp("questioned"))
    pairs = json.loads(SAMPLE_PAIRS.read_bytes())
    of_facts = {name: own[:FACTS] for name, own in pairs.items()}
    (place.data.parent / "pairs.json").write_text(json.dumps(of_facts))
    return place, fine(place.here(STAGE, *QUICK))


@pytest.fixture
def place(questioned, tmp_path_factory) -> Place:
    """The same inputs, results of one's own."""
    return another(questioned[0], tmp_path_factory.mktemp("own").name)


def lines(place: Place, question: str) -> list[dict]:
    content = Results(place.results).questioned(question).read_bytes()
    return [json.loads(line) for line in content.splitlines()]


def test_symmetry(questioned):
    """A line an edit and kind; P37 is asked by other names alone; the summary counts."""
    place, ended = questioned
    records = lines(place, "symmetry")
    assert [record["kind"] for record in records] == ["knowledge", "random"] * 6
    for record in records:
        assert len(record["own"]["new"]["rank"][0]) == 8
        assert record["own"]["old"]["rank"][0][record["asked"]] == 1
        backwards = record["new_pair"], record["old_pair"]
        if record["relation"] == "P37":
            assert backwards == (None, None)
        else:
            assert all(len(one["log_p"][1]) == 4 for one in backwards)
    own, drawn = read_reach(Results(place.results))
    assert (own.edits, drawn.edits, own.new_pair.edits, own.new_pair.wordings) == (6, 6, 3, 12)
    assert own.names.edits >= 1 and "alike" not in ended.out
    identity = place.manifest("controls/symmetry.jsonl")["identity"]
    assert set(identity["neurons_sha256"]) == {"P36", "P37"} and identity["lambdas"] == [1, 8]
    assert "Do edits reach other ways to ask?" in ended.out and "symmetry.json" in ended.out


def test_editors(questioned):
    """Found without results of other stages; own neurons do what random ones do not."""
    place, ended = questioned
    records = lines(place, "editors")
    sample = {one["case_id"]: one for one in json.loads(SAMPLE_CASES.read_bytes())}
    numbers = [record["case"] for record in records]
    assert len(numbers) == 10 and numbers == sorted(set(numbers))
    for record in records:
        asked = sample[record["case"]]
        of_edit = record["answered"]["knowledge"]
        assert len(of_edit["paraphrases"]) == len(asked["paraphrase_prompts"])
        assert len(of_edit["neighbours"]) == len(asked["neighborhood_prompts"])
        assert 1 <= len(record["neurons"]["knowledge"]) <= 5
    nothing, own, drawn = read_editors(Results(place.results))["judged"]
    efficacy = [one.scores["efficacy"].share.value for one in (nothing, own, drawn)]
    assert efficacy[0] == 0 < efficacy[1] and efficacy[2] < efficacy[1]
    assert nothing.overall.value == 0 < own.overall.value
    assert "Edits judged on 10 cases of sample_counterfact.json" in ended.out


@pytest.mark.parametrize("question", ["symmetry", "editors"])
def test_weights_are_the_same_after_the_run(questioned, question):
    manifest = questioned[0].manifest(f"controls/{question}.jsonl")
    assert manifest["model_sha256_after"] == manifest["identity"]["model_sha256"]
    assert manifest["model_sha256_after"] == checkpoints.from_pretrained(MODEL).sha256


@pytest.mark.parametrize("question, kept", [("symmetry", 5.5), ("editors", 9.5)])
def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(questioned, place, question, kept):
    whole, own = (Results(one.results).questioned(question) for one in (questioned[0], place))
    interrupt(whole, own, kept)
    fine(place.here(STAGE, "--ask", question, *QUICK))
    assert own.read_bytes() == whole.read_bytes()
    both = (Results(one.results).questioned_summary(question) for one in (questioned[0], place))
    assert len({path.read_bytes() for path in both}) == 1
    manifest = place.manifest(f"controls/{question}.jsonl")
    assert manifest["lines_resumed"] == {"symmetry": 4, "editors": 8}[question]


def test_what_is_there_is_not_made_again_nor_mixed(questioned):
    place, first = questioned
    again = fine(place.here(STAGE, *QUICK))
    assert "symmetry:" not in again.err and "editors:" not in again.err, "no bar"
    assert again.out == first.out
    refused(place.here(STAGE, "--ask", "editors", *QUICK, "--neurons", 2), "made differently")
    refused(place.here(STAGE, "--ask", "symmetry", *QUICK, "--lambda_2", 4), "made differently")


def test_the_report_shows_both(questioned, tmp_path):
    place, _ = questioned
    fine(place.here("8_plot_report.py"))
    page = (place.results / "report.html").read_text()
    part = page[page.index('<section id="controls">') :].split("</section>")[0]
    assert 'id="symmetry"' in part and 'id="editors"' in part
    own = read_editors(Results(place.results))["judged"][1]
    assert f"{100 * own.overall.value:.1f} [" in part and "10 cases of sample" in part
    assert "Efficacy score" in part and "New pair, backwards: head first, after" in part


def test_without_neurons_editors_alone_are_asked(place, tmp_path):
    """No PARAREL is needed, and a report comes out."""
    bare = replace(place, data=tmp_path / "none.json", results=tmp_path / "results")
    ended = fine(bare.here(STAGE, "--max_cases", 2))
    assert (
        "symmetry: left out" in ended.out
        and not Results(bare.results).questioned("symmetry").exists()
    )
    fine(bare.here("8_plot_report.py"))
    page = (bare.results / "report.html").read_text()
    assert 'id="editors"' in page and 'id="symmetry"' not in page
    refused(bare.here(STAGE, "--ask", "symmetry"), "none.json: no such file")


# --- bad input -------------------------------------------------------------------------------


def cases_with(folder: Path, **changes: object) -> Path:
    """Three of our cases, the last with another rewrite."""
    cases = json.loads(SAMPLE_CASES.read_bytes())[:3]
    cases[-1]["requested_rewrite"] |= changes
    path = folder / "cases.json"
    path.write_text(json.dumps(cases))
    return path


def test_an_answer_that_is_not_in_the_vocabulary(place, tmp_path):
    path = cases_with(tmp_path, target_new={"str": "☃"})
    ask = ("--ask", "editors", "--from", path)
    refused(place.here(STAGE, *ask), path, "1 of 3 facts cannot be asked", "☃", "--oov skip")
    ended = fine(place.here(STAGE, *ask, "--oov", "skip"))
    assert "2 cases of cases.json, 1 left out (the answer is not in the vocabulary)" in ended.out
    left_out = read_editors(Results(place.results))["left_out"]
    assert left_out == {"the answer is not in the vocabulary": 1}


def test_files_that_do_not_fit(place, tmp_path):
    refused(place.here(STAGE, *CASES, cases_with(tmp_path, prompt="It is")), "record 2", "one {}")
    for content, told in (("", "not valid JSON"), ("[]", "empty list"), ("{}", "got dict")):
        (tmp_path / "cases.json").write_text(content)
        refused(place.here(STAGE, *CASES, tmp_path / "cases.json"), "cases.json", told)
    refused(place.here(STAGE, *CASES, tmp_path / "none.json"), "get_data.py --counterfact")
    ask = ("--ask", "symmetry")
    refused(place.here(STAGE, *ask, "--relations", "P19"), "none of the relations P19", "P36")
    refused(place.here(STAGE, *ask, "--pairs", SAMPLE_PAIRS), "12 facts", "42 pairs")
    (tmp_path / "inverses.json").write_text('{"P1": {"aliases": {"a": ["b"]}}}')
    other = ("--inverses", tmp_path / "inverses.json")
    refused(place.here(STAGE, *ask, *other), "none of the relations P19, P36, P37")
    ended = place.here(STAGE, "--ask", "symmetrie")
    assert ended.code == 2 and "expected some of whose" in ended.err
    assert not (place.results / "controls").exists(), "nothing is written"


def test_a_decoder_is_asked_too(decoder, tmp_path):
    """The tiny LLaMA, an answer of two tokens among its facts."""
    pairs = json.loads((decoder.data.parent / "pairs.json").read_bytes())
    (head, answer), *_ = [one for one in pairs["P19"] if one[1] == "New York"]
    cases = json.loads(SAMPLE_CASES.read_bytes())[:1]
    target = {"target_true": {"str": answer}, "target_new": {"str": "Oslo"}}
    cases[0] |= {
        "requested_rewrite": {"prompt": "{} was born in", "subject": head, "relation_id": "P19"}
        | target,
        "paraphrase_prompts": [f"{head} comes from"],
        "neighborhood_prompts": [],
    }
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    place = replace(decoder, results=tmp_path / "results")
    fine(place.here(STAGE, "--ask", "editors", "--from", tmp_path / "cases.json"))
    (record,) = lines(place, "editors")
    assert record["true"] == "New York" and record["answered"]["nothing"]["neighbours"] == []
    own = record["answered"]
    for name in ("true", "new"):
        before, after = (own[kind]["rewrite"][0][name] for kind in ("nothing", "knowledge"))
        assert abs(after - before) > 1
    assert min(layer for layer, _ in record["neurons"]["knowledge"]) >= 1
