"""Stage 11's files read back, told and shown, on made numbers.

Run: pytest tests/unit/test_ways.py
"""

from dataclasses import replace

import pytest

from knowledge_neurons import report
from knowledge_neurons.figures import gallery, of_ways, plots
from knowledge_neurons.planning import calls
from knowledge_neurons.report.ways import of_one_prompt, of_scorers
from knowledge_neurons.results import outcomes, scorers, single_prompt
from knowledge_neurons.results.companions import seconds_path
from knowledge_neurons.results.estimates import Estimate, Interval
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.scorers import ScorerRecord, ScorersSummary
from knowledge_neurons.results.single_prompt import OnePromptSummary, SingleRecord
from knowledge_neurons.results.ways import Chosen, encode_line, encode_seconds
from knowledge_neurons.stages import tables
from knowledge_neurons.types import Fact
from tests.reference.made_results import MadeFact, Writer

CHOSEN = Chosen(0.1, 20, {"not known": 3})
# Scorer -> agreement, deletion curve, insertion curve, overlap, seconds, neurons scored.
MADE = {
    "ig": (0.9, [0.8, 0.2], [1.0], 1.0, 2.0, 100),
    "zero-out": (None, [0.7, 0.2], [], 0.75, 1.0, 10),
    "logit": (0.3, [0.9, 0.9], [0.5], 0.25, 0.1, 100),
}
WAYS = {"one prompt": (0.5, 0.5), "2 wordings": (0.75, 1.0), "smoothed": (0.25, 0.5)}


def fact(index: int) -> Fact:
    return Fact("P1", "name", index, "Paris", ("a [MASK]",))


def of_fact(index: int) -> list[ScorerRecord]:
    return [
        ScorerRecord("P1", index, prompt, name, cost, count, agreed, off, on, overlap)
        for prompt in (0, 1)
        for name, (agreed, off, on, overlap, cost, count) in MADE.items()
    ]


def asked(index: int) -> list[SingleRecord]:
    return [
        SingleRecord("P1", index, 0, way, 4, precision[index], 0.5)
        for way, precision in WAYS.items()
    ]


def summaries() -> tuple[ScorersSummary, OnePromptSummary]:
    of_all = scorers.summaries_of(of_fact(0) + of_fact(1))
    ways = single_prompt.summaries_of(asked(0) + asked(1))
    return (
        ScorersSummary(2, 4, 100, [1, 5], [0.1], CHOSEN, of_all),
        OnePromptSummary(2, 4.0, CHOSEN, ways),
    )


def written(path, lines: dict[int, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for one, encode in ((path, encode_line), (seconds_path(path), encode_seconds)):
        one.write_bytes(b"".join(encode(fact(i), own) + b"\n" for i, own in lines.items()))


def results_of(folder) -> Results:
    """Facts 0 and 1, and one that said nothing of one prompt."""
    results = Results(folder)
    written(results.compared_scorers("P1"), {0: of_fact(0), 1: of_fact(1)})
    written(results.one_prompt("P1"), {0: asked(0), 2: [], 1: asked(1)})
    return results


# --- files -------------------------------------------------------------------------------------


def test_records_are_read_as_written_with_their_seconds(tmp_path):
    """The file itself has none: it is the same whatever they are."""
    results = results_of(tmp_path)
    path = results.compared_scorers("P1")
    assert scorers.read_scorers(path) == of_fact(0) + of_fact(1)
    assert single_prompt.read_one_prompt(results.one_prompt("P1")) == (asked(0) + asked(1), 1)
    slow = [replace(one, seconds=9.0) for one in of_fact(0)]
    assert encode_line(fact(0), slow) == encode_line(fact(0), of_fact(0))
    assert encode_seconds(fact(0), slow) != encode_seconds(fact(0), of_fact(0))
    assert b"seconds" not in path.read_bytes()


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda one: one[:-1], "not every prompt has a record of every scorer"),
        (lambda one: [*one[:1], *one], "not every prompt has a record of every scorer"),
        (lambda one: [replace(r, overlap=2.0) for r in one], r"`float` <= 1.0001"),
        (lambda one: [replace(r, deletion=[0.1]) for r in one], r"deletion has \[1, 2\] numbers"),
    ],
)
def test_records_that_do_not_fit_together_are_refused(tmp_path, spoil, part):
    path = Results(tmp_path).compared_scorers("P1")
    written(path, {0: of_fact(0), 1: spoil(of_fact(1))})
    with pytest.raises(ValueError, match=f"scorers-P1.jsonl.*{part}.*To start over"):
        scorers.read_scorers(path)


def test_seconds_of_other_records_are_refused(tmp_path):
    results = results_of(tmp_path)
    path = results.one_prompt("P1")
    beside = seconds_path(path)
    beside.write_bytes(beside.read_bytes().replace(b"[0.5,0.5,0.5]", b"[0.5,0.5]"))
    with pytest.raises(ValueError, match=r"seconds.jsonl: its facts and records are not those of"):
        single_prompt.read_one_prompt(path)
    beside.unlink()
    with pytest.raises(ValueError, match=r"P1.seconds.jsonl: no such file, it grows with one_pro"):
        single_prompt.read_one_prompt(path)


@pytest.mark.parametrize(
    ("records", "part"),
    [
        ([*asked(0), asked(0)[0]], "a way of asking has two records"),
        ([asked(0)[0], replace(asked(0)[1], neurons=3)], "not judged by the same number"),
    ],
)
def test_ways_that_do_not_fit_together_are_refused(tmp_path, records, part):
    path = Results(tmp_path).one_prompt("P1")
    written(path, {0: records})
    with pytest.raises(ValueError, match=f"one_prompt-P1.jsonl, line 1: .*{part}"):
        single_prompt.read_one_prompt(path)


def test_summaries_are_read_as_written(tmp_path):
    results, (of_all, single) = Results(tmp_path), summaries()
    assert scorers.read_scorers_summary(results) is None
    assert single_prompt.read_one_prompt_summary(results) is None
    scorers.write_summary(results.scorers_summary, of_all)
    single_prompt.write_summary(results.one_prompt_summary, single)
    assert scorers.read_scorers_summary(results) == of_all
    assert single_prompt.read_one_prompt_summary(results) == single
    scorers.write_summary(results.scorers_summary, replace(of_all, ks=[1]))
    with pytest.raises(ValueError, match=r"scorers.json: ig.deletions has 2 numbers, expected 1"):
        scorers.read_scorers_summary(results)


# --- what is said ------------------------------------------------------------------------------


def test_what_won_is_said_from_the_numbers():
    """Other numbers, other winners; what an interval cannot tell apart is named."""
    found, single = summaries()
    told = of_scorers(found)
    assert told[0].startswith("Closest to zero-out: ig, 0.90") and "overlaps" not in told[0]
    assert told[1].startswith("Takes most with its strongest off: zero-out, 0.45")
    assert told[-1] == "Cheapest for all neurons: logit; dearest: zero-out."  # 1 s of 10 of 100
    wide = Estimate(0.3, Interval(0.1, 0.95))
    first, second, third = found.scorers
    vague = replace(found, scorers=[first, second, replace(third, agreement=wide)])
    assert of_scorers(vague)[0].endswith("with an interval that overlaps: logit.")
    assert of_scorers(replace(found, scorers=[first])) == []
    gains = {
        "2 wordings": Estimate(0.3, Interval(0.1, 0.5)),
        "smoothed": Estimate(-0.1, Interval(-0.2, 0.0)),
    }
    ways = [replace(one, gain=gains.get(one.way)) for one in single.ways]
    more, neither = of_one_prompt(replace(single, ways=ways))
    assert more == "Finds more than one prompt alone: 2 wordings (+0.30 [+0.10, +0.50])."
    assert neither == "No difference can be told: smoothed (-0.10 [-0.20, 0.00])."


def test_the_screen_tells_both(capsys):
    found, single = summaries()
    tables.show_scorers(found)
    tables.show_one_prompt(single)
    out = capsys.readouterr().out
    assert "Scorers on 4 prompts of 2 facts (95 % intervals; left out: 3 not known)" in out
    (line,) = [one.split() for one in out.splitlines() if one.startswith("  zero-out")]
    assert line[1] == "-" and line[-2:] == ["1.0000", "10.0000"]
    (line,) = [one.split() for one in out.splitlines() if one.startswith("  2 wordings")]
    assert "2 / 0" in " ".join(line) and line[-1] == "0.500"


def test_figures_are_drawn_of_what_there_is():
    """A line a scorer, two intervals less where there is no curve; a row a way; of nothing too."""
    found, single = summaries()
    deletion, insertion, cost = of_ways.scorers(found).axes
    assert [len(panel.lines) for panel in (deletion, insertion, cost)] == [3, 3, 3]
    assert list(deletion.lines[0].get_ydata()) == pytest.approx([0.8, 0.2])
    assert cost.lines[1].get_markerfacecolor() == "none"  # of candidates alone
    assert [line.get_xdata()[0] for line in cost.lines] == pytest.approx([2.0, 10.0, 0.1])
    precision, seconds = of_ways.one_prompt(single).axes
    assert [text.get_text() for text in precision.get_yticklabels()] == [*WAYS]
    assert [bar.get_width() for bar in seconds.patches] == pytest.approx([0.5] * 3)
    nothing = OnePromptSummary(0, None, CHOSEN, [])
    for figure in (of_ways.one_prompt(nothing), of_ways.scorers(replace(found, scorers=[]))):
        assert plots.svg(figure).startswith("<svg")


def test_the_report_shows_them_where_they_are(tmp_path):
    """Both, one, or none; text of the files stays text."""
    prompts = ("{} lives in [MASK] .", "the home of {} is [MASK] .")
    results = Results(tmp_path)
    Writer(results, {"P19": ("birth", [MadeFact("Ann", "Rome", prompts)])}).stage_1()
    assert 'href="#ways"' not in report.render(results)
    found, single = summaries()
    evil = replace(single, ways=[replace(one, way="<b>way</b>") for one in single.ways])
    single_prompt.write_summary(results.one_prompt_summary, evil)
    html = report.render(results)
    assert 'href="#ways"' in html and "<h3>One prompt</h3>" in html
    assert "<h3>Scorers</h3>" not in html and "<b>way" not in html and "&lt;b&gt;way" in html
    scorers.write_summary(results.scorers_summary, found)
    html = report.render(results)
    for part in ("<h3>Scorers</h3>", "Closest to zero-out: ig", "Facts left out: 3 not known."):
        assert part in html
    names = [one.name for one in gallery.draw(results, outcomes.read(results))]
    assert names[-2:] == ["scorers", "one_prompt"]


def test_a_plan_does_not_count_it():
    with pytest.raises(ValueError, match=r"11_compare_ways.sh.*stage 11 costs is not planned"):
        calls.read(["1_run_mlm.sh P36", "bash 11_compare_ways.sh --facts 5"])
