"""What is read back from a results folder.  Run: pytest tests/unit/test_outcomes.py"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knowledge_neurons import ROOT
from knowledge_neurons.results import outcomes
from knowledge_neurons.results.activations import read_activations, table_row
from knowledge_neurons.results.changes import average_change, read_changes
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.edits import (
    EDITED,
    EditRecord,
    EditRun,
    Summary,
    by_lambdas,
    summarise_edits,
)
from knowledge_neurons.results.erasures import ErasureRecord, summarise_erasure
from knowledge_neurons.results.estimates import Interval
from knowledge_neurons.results.json_files import convert, encode
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records
from knowledge_neurons.results.outcomes import RUN
from knowledge_neurons.results.scores import encode_fact_scores
from knowledge_neurons.results.triggers import read_triggers
from knowledge_neurons.types import KINDS, Neuron, PromptScores
from tests.reference import synthetic

COUNT = 3
NAMES = synthetic.relations_of(COUNT)
FIRST = next(iter(NAMES))
ROUNDED = 1e-7  # records hold probabilities as float32


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    """Stages 2 to 7 of three relations; not to be changed."""
    return synthetic.write(tmp_path_factory.mktemp("outcomes"), COUNT)


@pytest.fixture(scope="module")
def found(results) -> outcomes.Outcomes:
    return outcomes.read(results)


def test_statistics_of_both_kinds(found):
    for kind in KINDS:
        assert found.statistics[kind].facts == COUNT * synthetic.FACTS
        assert sum(found.statistics[kind].layers) == pytest.approx(1)
        assert set(found.statistics[kind].relations) == set(NAMES)


def test_changes_are_those_of_the_records(results, found):
    """Overall and of each relation, with their intervals, recomputed from the lines."""
    records = {name: read_changes(results.changes(name)) for name in NAMES}
    groups = {name: {name: own} for name, own in records.items()}
    for read, of in (
        (found.modified.overall, records),
        *((found.modified.relations[name], groups[name]) for name in NAMES),
    ):
        for kind in KINDS:
            for asked in ("own", "other"):
                for factor in (0.0, 2.0):
                    expected = average_change(of, asked, kind, factor, seed=1)
                    change, ends = read[kind][asked][factor].value, expected.interval
                    assert change == pytest.approx(expected.value, abs=ROUNDED)
                    assert read[kind][asked][factor].interval == pytest.approx(ends, abs=ROUNDED)
    assert isinstance(found.modified.overall["neurons"]["own"][0.0].interval, Interval)
    assert found.modified.counts["facts"] == COUNT * synthetic.FACTS


def test_curve_has_every_factor(found):
    (curve,) = found.curves.values()
    assert list(found.curves) == [FIRST]
    assert list(curve["neurons"]["own"]) == list(synthetic.SCALES)
    assert curve["baseline"]["other"][1.0].value == pytest.approx(0)


def test_activations_of_each_relation_come_from_its_records(results, found):
    """No summary holds them; the seed is that of the stage's manifest."""
    for name in NAMES:
        records = read_activations(results.activations(name))
        for kind in KINDS:
            row = found.activations.relations[name][kind]
            assert row == table_row(records, kind, synthetic.IDENTITY["seed"])
    overall = found.activations.overall["neurons"]
    assert overall.facts == COUNT * synthetic.FACTS
    low, high = overall.by_sentences["both"].interval
    assert low < overall.by_sentences["both"].value < high
    assert not found.activations.theirs


def test_summaries_of_edits_are_what_they_were(results, found):
    """Read from JSON, equal to those made from the lines."""
    assert [run.name for run in found.edits] == ["edit-1-8", "edit-1-8-top_k"]
    for run in found.edits:
        records = list(read_records(results.edits(run.name), EditRecord))
        assert run.summaries == summarise_edits(records, seed=1)
        assert run.lambdas == [(1.0, 8.0)]
        assert run.chosen[FIRST]["drawn"] == 5 and run.draw == "released"
    assert [run.name for run in found.success] == ["edit-1-8-top_k"]


def test_curves_of_success_are_by_lambdas_and_kind(found):
    ((pair, curves),) = by_lambdas(found.success[0].summaries).items()
    assert pair == (1.0, 8.0) and list(curves) == list(EDITED)
    assert [s.variant.top_k for s in curves["knowledge"]] == [1, 2, 3]
    assert [s.kind for s in curves["random"]] == ["random"] * 3


def test_several_lambdas_are_a_sweep(found):
    run = found.edits[0]
    rows = [
        json.loads(json.dumps(row).replace("8.0", "4.0"))
        for row in json.loads(encode(run.summaries))
    ]
    again = convert(rows, list[Summary], "here")
    both = EditRun("edit-sweep", "released", {}, run.summaries + again)
    assert both.lambdas == [(1.0, 8.0), (1.0, 4.0)]
    assert not both.by_count and found.sweep == []


def test_erasures_are_those_of_the_records(results, found):
    assert [run.relation for run in found.erasures] == sorted(NAMES)
    for run in found.erasures:
        records = list(read_records(results.erased(run.run), ErasureRecord))
        for edit in ("erased", "random"):
            expected = summarise_erasure(records, run.relation, edit, seed=1)
            assert getattr(run, edit) == expected


def test_triggers_are_read_a_line_at_a_time(found):
    assert [path.name for path in found.triggers] == [f"{name}.jsonl" for name in sorted(NAMES)]
    (record,) = read_triggers(found.triggers[0])
    assert (record.head, record.tail, record.sentences) == ("head", "tail", 2)
    assert record.top == [{"activation": 3.0, "sentence": "one <b>", "masked": "[MASK] <b>"}]
    assert record.neurons == [Neuron(1, 2)]


def test_labels_come_from_triggers_or_scores(results, found, tmp_path):
    assert found.labels == NAMES
    synthetic.write(tmp_path, COUNT, ["statistics"])
    only = Results(tmp_path)
    assert outcomes.read(only).labels == {}
    prompt = PromptScores(["a"], "b", "c", f"{FIRST}(a (longer) label)")
    lines = [encode_fact_scores(prompts) for prompts in ([], [prompt])]
    only.scores(FIRST).write_bytes(b"\n".join(lines) + b"\n")
    assert outcomes.read(only).labels == {FIRST: "a (longer) label"}


# --- what is not there, or broken -------------------------------------------------------------


def test_missing_names_what_to_run(found, tmp_path):
    assert found.missing == {part: RUN[part] for part in ("sweep", "controls")}
    for number, part in enumerate(synthetic.PARTS):
        rest = [other for other in ("statistics", "triggers") if other != part]
        folder = tmp_path / str(number)
        missing = outcomes.read(synthetic.write(folder, 1, rest)).missing
        assert missing[part] == RUN[part]
        assert not missing.keys() & set(rest)


def test_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nothing of stages 1 to 7 .* KN_RESULTS"):
        outcomes.read(Results(tmp_path / "none"))


@pytest.mark.parametrize(
    "name, advice",
    [
        ("kn/statistics.json", "run stage 2 again"),
        ("modify_activation/summary.json", "run stage 3 again"),
        (f"dose_response/{FIRST}.json", "run stage 3 again"),
        ("distant/summary.json", "run stage 4 again"),
        (f"distant/{FIRST}.jsonl", "To start over: rm "),
        (f"trigger_examples_th/{FIRST}.jsonl", "To start over: rm "),
        ("edit/edit-1-8.json", "run stage 6 again"),
        (f"erase/{FIRST}.json", "run stage 7 again"),
    ],
)
@pytest.mark.parametrize("content", ['{"neurons": 3}', '[{"a": 1}, 2]', '{"cut": [1, '])
def test_broken_file_is_named(results, tmp_path, name, advice, content):
    """Another shape, or cut off, whatever the stage; and what to run again."""
    folder = Path(name).parent
    shutil.copytree(results.root / folder, tmp_path / folder)
    path = tmp_path / name
    path.write_text(content + "\n")
    manifest_path(path).unlink(missing_ok=True)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as error:
        outcomes.read(Results(tmp_path))
    assert advice in str(error.value)


def test_cut_records_are_named(tmp_path):
    """Fewer bytes than the manifest was written for."""
    synthetic.write(tmp_path, 1, ["activations"])
    path = tmp_path / "distant" / f"{FIRST}.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{FIRST}\.jsonl is not what its manifest says"):
        outcomes.read(Results(tmp_path))


def test_reading_needs_no_torch(results):
    """Nor does drawing: in a process of its own, as stage 8 starts."""
    program = (
        "from pathlib import Path;"
        "from knowledge_neurons.figures import gallery;"
        "from knowledge_neurons.results import layout, outcomes;"
        "results = layout.Results(Path(sys.argv[1])); found = outcomes.read(results);"
        "print(len(list(gallery.draw(results, found))), 'torch' in sys.modules)"
    )
    source = str(ROOT / "src")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r}); {program}"]
    ended = subprocess.run([*command, str(results.root)], capture_output=True, text=True)
    assert ended.stdout.split() == ["11", "False"], ended.stderr


def test_summaries_are_written_for_people_and_records_for_programs(results):
    """Indented, a number a line; of records every line is whole."""
    readable = [results.changes_summary, results.curve(FIRST)]
    readable += [results.edits_summary(run) for run in results.edit_runs()]
    readable += [manifest_path(path) for path in (results.curve(FIRST), results.changes_summary)]
    for path in readable:
        lines = path.read_text().splitlines()
        assert lines[0] == "{" and lines[1].startswith('  "'), path
    change = json.loads(results.changes_summary.read_text())["change"]["neurons"]["own"]
    assert list(change) == ["0", "2"], "factors are as short as they were given"
    assert len(results.statistics.read_text().splitlines()) == 1
