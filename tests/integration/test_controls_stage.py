"""Stage 3's controls by its shell script, on the embedded model and facts it knows.

Run: pytest tests/integration/test_controls_stage.py
"""

import json
from dataclasses import replace

import pytest

from knowledge_neurons.results.controls import read_controls, read_effects
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons import read_fact_neurons
from tests.integration.editable import MODEL, SAMPLE
from tests.integration.stages import Ended, Place, fine

STAGE_3 = "3_modify_activation.py"
FACTS = 16  # of each relation
RELATIONS = ("P19", "P36")


@pytest.fixture(scope="module")
def controlled(one_thread, tmp_path_factory) -> tuple[Place, Ended]:
    """Stages 1 to 3 of two relations, every fourth prompt held out; not to be changed."""
    folder = tmp_path_factory.mktemp("controlled")
    sample = json.loads(SAMPLE.read_bytes())
    (folder / "data.json").write_text(json.dumps({r: sample[r][:FACTS] for r in RELATIONS}))
    place = Place(MODEL, folder / "data.json", folder / "results")
    for relation in RELATIONS:
        fine(place.score(relation))
    fine(place.here("2_get_kn.py", "--held_out", 4))
    return place, fine(place.shell("3_run_modify_activation.sh", "--controls"))


def test_the_neurons_hold_the_fact(controlled):
    """Off, they take from their own prompts, held out or not, what random ones do not."""
    place, _ = controlled
    found = {(one.kind, one.factor): one for one in read_effects(Results(place.results))}
    own, random = found["neurons", 0.0], found["random", 0.0]
    assert own.neurons == random.neurons > 1
    for column in ("own", "held_out"):
        assert own.changes[column].value < -0.1
        assert own.changes[column].interval.high < random.changes[column].interval.low
    assert own.changes["own"].value < own.changes["same"].value
    assert own.changes["own"].value < own.changes["other"].value
    assert found["neurons", 2.0].changes["own"].value > 0.05


def test_records_have_the_neurons_of_stage_2(controlled):
    """As many of each fact; held out is what stage 2 held out; all prompts were asked."""
    place, ended = controlled
    results = Results(place.results)
    for relation in RELATIONS:
        neurons = read_fact_neurons(results.fact_neurons(relation, baseline=False))
        records = read_controls(results.controls(relation))
        assert [one.neurons["neurons"] for one in records] == [len(own) for own in neurons]
        assert {one.held_out for one in records} == {4}
        identity = place.manifest(f"controls/{relation}.jsonl")["identity"]
        assert (identity["held_out"], identity["common"]) == (4, 0.1)
    assert "own, held out" in ended.out and "rare of them x 2" in ended.out
    assert str(results.controls_summary) in ended.out


def test_it_goes_on_and_gives_the_same_bytes(controlled, tmp_path):
    """A second run computes nothing again; one of its own gives the same files."""
    place, _ = controlled
    again = fine(place.here(STAGE_3, "--controls"))
    assert "controls:" not in again.err, "no bar of a relation"
    own = replace(place, results=tmp_path / "results")
    kn_dir = place.results / "kn"
    fine(own.here(STAGE_3, "--controls", "--kn_dir", kn_dir))
    for name in ("controls/P19.jsonl", "controls/P36.jsonl", "controls/summary.json"):
        assert (own.results / name).read_bytes() == (place.results / name).read_bytes()
    other = replace(place, results=tmp_path / "other")
    fine(other.here(STAGE_3, "--controls", "--kn_dir", kn_dir, "--seed", 7))
    name = "controls/P19.jsonl"
    assert (other.results / name).read_bytes() != (place.results / name).read_bytes()


def test_controls_stand_in_the_report(controlled):
    place, _ = controlled
    fine(place.here("8_plot_report.py"))
    html = (place.results / "report.html").read_text()
    table = html[html.index('<h3 id="controls">') :].split("</table>")[0]
    off = read_effects(Results(place.results))[0]
    row = table[table.index("knowledge neurons × 0") :].split("</tr>")[0]
    assert f"{off.neurons:.2f}" in row and f"{100 * abs(off.changes['own'].value):.1f}" in row
    assert row.count("<td") == 5 and "–" not in row
