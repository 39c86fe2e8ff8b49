"""Stage 10 by its shell script, on the embedded model and facts it knows.

Run: pytest tests/integration/test_controls_stage.py
"""

import json
from dataclasses import replace
from itertools import combinations

import pytest

from knowledge_neurons.neurons.refine import Thresholds, coarse, count_coarse, refine_relation
from knowledge_neurons.results.controls import random_of, read_controls, read_effects
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.localisation import read_localisation
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.results.stability import read_stability
from knowledge_neurons.runs.executor import InThisProcess
from tests.integration.editable import MODEL, SAMPLE
from tests.integration.stages import Ended, Place, fine, refused

STAGE_10, ASKED = "10_question_neurons.py", "whose,localisation,stability"
FACTS = 12  # of each relation
RELATIONS = ("P19", "P36")
CONTROLS = (
    *("P19.jsonl", "P36.jsonl", "summary.json", "localisation.json", "stability-P19.jsonl"),
    *("stability-P36.jsonl", "stability.json"),
)


@pytest.fixture(scope="module")
def controlled(one_thread, tmp_path_factory) -> tuple[Place, Ended]:
    """Stages 1, 2 and 10 of two relations; not to be changed."""
    folder = tmp_path_factory.mktemp("controlled")
    sample = json.loads(SAMPLE.read_bytes())
    (folder / "data.json").write_text(json.dumps({r: sample[r][:FACTS] for r in RELATIONS}))
    place = Place(MODEL, folder / "data.json", folder / "results")
    for relation in RELATIONS:
        fine(place.score(relation))
    fine(place.here("2_get_kn.py", "--rounds", 1))  # p stays 0.7
    return place, fine(place.shell("10_controls.sh", "--sample", 5, "--ask", ASKED))


def test_the_neurons_hold_the_fact(controlled):
    """Off, they take from their own prompts, held out or not, what random ones do not; those that
    the other prompts find do so on prompts that did not find them."""
    place, _ = controlled
    found = {(one.kind, one.factor): one for one in read_effects(Results(place.results))}
    own, rest = found["neurons", 0.0], found["rest", 0.0]
    assert own.neurons == found["random", 0.0].neurons > 1
    for kind in ("neurons", "rest"):
        for column in ("own", "held_out"):
            off, random = (found[name, 0.0].changes[column] for name in (kind, random_of(kind)))
            assert off.value < -0.1 and off.interval.high < random.interval.low
    assert own.changes["own"].value < own.changes["same"].value
    assert own.changes["own"].value < own.changes["other"].value
    assert found["neurons", 2.0].changes["own"].value > 0.05
    few = [found[f"shared_by_{s}", 0.0] for s in (0, 1, 2, 5)]
    counts = [one.neurons for one in few]
    assert counts == sorted(counts) and counts[-1] <= own.neurons
    assert rest.neurons != own.neurons


def test_records_have_the_neurons_of_stage_2(controlled):
    """As many of each fact; the rest's are those that the prompts not held out refine to."""
    place, ended = controlled
    results = Results(place.results)
    for relation in RELATIONS:
        neurons = read_fact_neurons(results.fact_neurons(relation, baseline=False))
        records = read_controls(results.controls(relation))
        assert [one.neurons["neurons"] for one in records] == [len(own) for own in neurons]
        assert {one.held_out for one in records} == {4}
        facts = [
            count_coarse((p.of_answer for i, p in enumerate(own) if i % 4 != 3), 0.2)
            for own in read_fact_scores(results.scores(relation))
        ]
        rest = refine_relation(facts, Thresholds(rounds=1)).facts
        assert [one.neurons["rest"] for one in records] == [len(own) for own in rest]
        identity = place.manifest(f"controls/{relation}.jsonl")["identity"]
        assert (identity["held_out"], identity["shared_by"]) == (4, [0, 1, 2, 5])
    for told in ("own, held out", "those in at most 1 other fact x 0", "t = 0.2", "p = 0.7"):
        assert told in ended.out
    assert str(results.controls_summary) in ended.out
    assert ended.out.endswith("next: bash 8_run_plot.sh\n")


def test_wordings_of_a_fact_agree_more_than_facts(controlled):
    """On this model; the overlaps of a fact are those of its coarse neurons, by hand."""
    place, _ = controlled
    results = Results(place.results)
    found = read_localisation(results)
    of = found.overall.overlaps
    assert of["wordings"].interval.low > of["same_wording"].interval.high
    assert found.overall.facts == 2 * FACTS
    prompts = next(iter(read_fact_scores(results.scores("P19"))))
    sets = [set(coarse(one.of_answer, 0.2)) for one in prompts]
    by_hand = [len(a & b) / len(a | b) for a, b in combinations(sets, 2)]
    assert found.by_fact["P19"][0] == pytest.approx(sum(by_hand) / len(by_hand))


def test_the_thresholds_of_stage_2_are_a_cell(controlled):
    """There the neurons are its own; the change is that of the facts sampled."""
    place, _ = controlled
    results = Results(place.results)
    found = read_stability(results)
    assert {one.t for one in found.cells} == {0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5}, "as stored"
    (own,) = [one for one in found.cells if (one.t, one.p) == (0.2, 0.7)]
    assert own.overlap.value == 1 and found.sampled == 10
    records = [read_controls(results.controls(name))[:5] for name in RELATIONS]
    outcomes = [[one.own for one in own] for own in records]
    by_hand = [
        sum(sum(o.edited["neurons"][0.0]) for o in own) / sum(sum(o.original) for o in own) - 1
        for own in outcomes
    ]
    assert own.change.value == pytest.approx(sum(by_hand) / 2, rel=1e-5)
    assert 0.3 < found.halves.value < 1


def test_it_goes_on_and_gives_the_same_bytes(controlled, tmp_path):
    """A second run computes nothing again; one of its own gives the same files."""
    place, _ = controlled
    again = fine(place.here(STAGE_10, "--sample", 5))
    assert "whose:" not in again.err, "no bar of a relation"
    own = replace(place, results=tmp_path / "results")
    copied = ("kn", "TREx-all-P19.rlt.jsonl", "TREx-all-P36.rlt.jsonl", "manifests")
    own.results.mkdir()
    for name in copied:
        (own.results / name).symlink_to(place.results / name)
    fine(own.here(STAGE_10, "--sample", 5))
    for name in CONTROLS:
        name = f"controls/{name}"
        assert (own.results / name).read_bytes() == (place.results / name).read_bytes()


def test_other_scores_stand_beside(controlled, tmp_path):
    """Another rule, another seed for all that is drawn; what differs is named."""
    place, _ = controlled
    other = replace(place, results=tmp_path / "right")
    for relation in RELATIONS:
        fine(other.score(relation, "--rule", "riemann-right"))
    fine(other.here("2_get_kn.py"))
    before = (place.results / "controls/stability.json").read_bytes()
    beside = replace(place, results=tmp_path / "beside")
    beside.results.mkdir()
    for name in ("kn", "TREx-all-P19.rlt.jsonl", "TREx-all-P36.rlt.jsonl", "manifests"):
        (beside.results / name).symlink_to(place.results / name)
    flags = ("--ask", "stability", "--sample", 0, "--against", other.results)
    ended = fine(beside.here(STAGE_10, *flags))
    (found,) = read_stability(Results(beside.results)).against
    assert found.differs == {"rule": "riemann-right"} and "rule riemann-right" in ended.out
    assert 0.5 < found.overlap.value <= 1 and found.facts == 2 * FACTS
    assert (place.results / "controls/stability.json").read_bytes() == before
    missing = beside.here(STAGE_10, "--ask", "stability", "--against", tmp_path / "nowhere")
    assert missing.code == 2 and "run stages 1 and 2" in missing.err


def test_workers_end_with_the_first_script(controlled, monkeypatch):
    """The second, in the same process, starts workers of its own; Ray would refuse it."""
    place, _ = controlled
    ended = []
    monkeypatch.setattr(InThisProcess, "close", lambda self: ended.append(self))
    fine(place.here(STAGE_10, "--sample", 5))
    assert len(ended) == 1


def test_scores_stored_from_different_shares_are_asked_apart(controlled, tmp_path):
    """Their neurons could not be refined at the same thresholds."""
    place, _ = controlled
    mixed = replace(place, results=tmp_path / "mixed")
    for relation, keep in (("P19", 0.05), ("P36", 0.1)):
        fine(mixed.score(relation, "--keep", keep, "--max_facts", 4))
        fine(mixed.here("2_get_kn.py", "--relations", relation))
    flags = ("--ask", "stability", "--sample", 0)
    refused(mixed.here(STAGE_10, *flags), "different --keep", "--relations")
    fine(mixed.here(STAGE_10, *flags, "--relations", "P19"))


def test_scores_must_be_there(controlled, tmp_path):
    place, _ = controlled
    bare = replace(place, results=tmp_path)
    (tmp_path / "kn").symlink_to(place.results / "kn")
    ended = bare.here(STAGE_10, "--relations", "P19")
    assert ended.code == 2 and "TREx-all-P19.rlt.jsonl: no such file" in ended.err
    assert bare.here(STAGE_10, "--ask", "whom").code == 2


def test_files_of_edits_are_looked_at_before_neurons_are_questioned(controlled, tmp_path):
    """The shell runs both programs: an hour of the first is not spent on a name that is wrong."""
    place, _ = controlled
    for flag in ("--from", "--inverses"):
        refused(place.here(STAGE_10, flag, tmp_path / "none.json"), "none.json: no such file")


def test_controls_stand_in_the_report(controlled):
    place, _ = controlled
    fine(place.here("8_plot_report.py"))
    html = (place.results / "report.html").read_text()
    section = html[html.index('<section id="controls">') :].split("</section>")[0]
    off = read_effects(Results(place.results))[0]
    row = section[section.index("knowledge neurons ×&nbsp;0") :].split("</tr>")[0]
    assert f"{off.neurons:.2f}" in row and f"{100 * abs(off.changes['own'].value):.1f}" in row
    assert row.count("<td") == 6 and "–" not in row
    assert section.count("<svg") == 3 and "other fact, same wording" in section
