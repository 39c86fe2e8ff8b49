"""What stages show on the screen: every cell, and where the columns end.

Run: pytest tests/unit/test_stage_tables.py
"""

import re
from dataclasses import replace
from itertools import pairwise

from knowledge_neurons.neurons.neuron_statistics import RefinedRelation
from knowledge_neurons.neurons.refine import Refined
from knowledge_neurons.results.controls import Effects
from knowledge_neurons.results.edits import EDITED, EditRun, Perplexity, Summary, Variant
from knowledge_neurons.results.erasures import Effect, Erased, Erasure
from knowledge_neurons.results.estimates import Estimate, Interval
from knowledge_neurons.stages import tables, tables_of_controls
from knowledge_neurons.types import Neuron
from tests.integration.stages import load

PAPER = "the paper's numbers are of bert-base-cased"
SHARE = Estimate(0.7071, Interval(0.6273, 0.7761))
NONE = Estimate(0.0, Interval(0.0, 0.051))
OWN = Summary(
    variant=Variant(1.0, 8.0),
    kind="knowledge",
    edits=140,
    neurons=3.456,
    size=12.345,
    change=SHARE,
    change_top5=NONE,
    success=Estimate(0.344, Interval(0.25, 0.45)),
    success_top5=SHARE,
    paraphrase_change=SHARE,
    paraphrase_success=None,
    paraphrase_success_top5=None,
    probability_new=Estimate(0.2514, Interval(0.2, 0.3)),
    probability_new_before=0.001,
    rank_new=2.5,
    rank_new_before=870.0,
    same_relation=Perplexity(1.456, 2.484, Estimate(1.028, Interval(0.4, 1.8))),
    other_relations=None,
)


def run_of(*variants: Variant) -> EditRun:
    """Each variant with all kinds of neurons; the controls of a kind succeed never."""
    summaries = [
        replace(OWN, variant=variant, kind=kind, success=OWN.success if kind == EDITED[0] else NONE)
        for variant in variants
        for kind in EDITED
    ]
    return EditRun("edit", "distinct", {}, summaries)


def shown(capsys) -> tuple[list[str], list[list[str]]]:
    """The lines as they are, and the cells of each: two spaces part them."""
    lines = capsys.readouterr().out.splitlines()
    return lines, [re.split(r"  +", line.strip()) for line in lines]


def test_table_6_of_one_variant(capsys):
    """Ours, the perplexities it comes from, and the paper's where it has any; then the ranks."""
    tables.show_edits(run_of(Variant(1.0, 8.0)))
    lines, (title, *rows) = shown(capsys)
    assert title == [
        "Table 6: 140 edits, distinct draw, lambdas 1 and 8, refined neurons "
        f"(95 % intervals; {PAPER})"
    ]
    same, share = "perplexity, same relation", "70.7 [62.7, 77.6] %"
    grown = ["+1.0 [+0.4, +1.8]", "1.46 -> 2.48"]
    answer = (
        "P 0.251 [0.200, 0.300], median rank 870 -> 2.5; 3.46 neurons an edit, size of the change "
    )
    assert rows == [
        ["change, knowledge neurons", share, "paper 48.5 %"],
        ["change, random neurons", share, "paper 4.7 %"],
        ["change, random, same size", share],
        ["success, knowledge neurons", "34.4 [25.0, 45.0] %", "paper 34.4 %"],
        ["success, random neurons", "0.0 [0.0, 5.1] %", "paper 0.0 %"],
        ["success, random, same size", "0.0 [0.0, 5.1] %"],
        [f"{same}, knowledge neurons", *grown, "paper +8.4"],
        [f"{same}, random neurons", *grown, "paper +10.1"],
        [f"{same}, random, same size", *grown],
        ["new answer, knowledge neurons", f"{answer}12.35"],
        ["new answer, random neurons", f"{answer}12.35"],
        ["new answer, random, same size", f"{answer}12.35"],
    ]
    assert len({line.index("paper") for line in lines[1:] if "paper" in line}) == 1
    assert len({line.index("]") for line in lines[1:10]}) == 1


def test_a_line_for_each_of_several_variants(capsys):
    tables.show_edits(run_of(Variant(1.0, 8.0), Variant(0.5, 8.0, 20)))
    lines, (title, heads, *rows) = shown(capsys)
    assert title == [
        "140 edits, distinct draw, in each of 2 ways (95 % intervals; rates in %; random, same "
        "size: success of the controls)"
    ]
    assert heads == [
        "neurons", "change", "success", "random", "same size", "perplexity: same", "other"
    ]  # fmt: skip
    cells = ["3.46", "70.7 [62.7, 77.6]", "34.4 [25.0, 45.0]", *2 * ["0.0 [0.0, 5.1]"],
             "1.03 [0.40, 1.80]", "-"]  # fmt: skip
    assert rows == [
        ["lambdas 1 and 8, refined neurons", *cells],
        ["lambdas 0.5 and 8, top 20 neurons", *cells],
    ]
    ends = [lines[1].index(head) + len(head) for head in heads]
    for end, cell in zip(ends, cells, strict=True):
        assert all(line[:end].endswith(cell) for line in lines[2:]), "columns end alike"
    assert [after - before for before, after in pairwise(ends)] == [22, 22, 18, 18, 22, 22]


def test_table_5(capsys):
    own = Effect(3, 12, 0.75, 0.125, 1450.0, 2996.0, Estimate(1.066, Interval(0.9, 1.3)))
    others = Effect(30, 240, 0.5, 0.4321, 120.3, 121.6, Estimate(0.011, None))
    erased, random = Erased(own, others, {}), Erased(replace(own, accuracy_after=0.75), None, {})
    tables.show_erasure(Erasure("P19", "P19", 20, erased, random))
    _, (title, *rows) = shown(capsys)
    assert title == [
        f"Table 5: growth of perplexity, P19 erased with 20 neurons (95 % intervals; {PAPER})"
    ]
    grown = ["+106.6 [+90.0, +130.0] %", "1450.00 -> 2996.00"]
    assert rows == [
        ["P19, knowledge neurons", *grown, "paper +106.6 %"],
        ["P19, random neurons", *grown],
        ["P19: all others, knowledge neurons", "+1.1 %", "120.30 -> 121.60", "paper +1.1 %"],
        ["accuracy, P19", "75.0 -> 12.5 %, 3 facts, 12 prompts"],
        ["accuracy, others", "50.0 -> 43.2 %, 30 facts, 240 prompts"],
        ["accuracy, P19, random neurons", "75.0 -> 75.0 %, 3 facts, 12 prompts"],
    ]


def test_numbers_that_are_not_there():
    assert tables.pair(4.126, None) == "4.13 and -"
    assert tables.pair(None, 0.5) == "- and 0.50"


# --- warnings --------------------------------------------------------------------------------

AUDIT = {
    "tolerance": 1e-3,
    "audited_prompts": 12,
    "over_tolerance": 0,
    "share_over_at_most": 0.22,
    "worst_error": 2e-4,
    "coarse_same": 12,
    "layers_failed": [],
    "integral": {"prompts": 12, "median": 0.04, "coarse_same": 0.75, "layers_far": []},
}


def test_layers_far_from_their_integral_are_a_warning(capsys):
    """Named, with what to do; nothing where there are none or nothing was compared."""
    tables.show_audit(AUDIT)
    calm = capsys.readouterr().out
    assert "the sum over all points is 4.0% from the integral" in calm and "75%" in calm
    tables.show_audit(AUDIT | {"integral": AUDIT["integral"] | {"layers_far": [0, 11]}})
    before, warning = capsys.readouterr().out.rsplit("  warning: ", 1)
    assert before == calm
    assert warning.startswith("in layers [0, 11], from 0, half of the prompts are over 10 %")
    assert "--layers" in warning and "--steps" in warning
    tables.show_audit(AUDIT | {"audited_prompts": 0, "integral": None, "layers_failed": [1]})
    only = "  layers that failed and get all points: [1], from 0\n"
    assert capsys.readouterr().out == only


def refined(*facts: list[Neuron]) -> RefinedRelation:
    """A relation's neurons as stage 2 finds them."""
    found = Refined([*facts], [], 0.7, 2.0, True, 1)
    return RefinedRelation(found, found, [])


def test_neurons_of_most_facts_are_named():
    """More than half of ten facts or more, three at most, the most shared first, with the share."""
    often, half, rare, fourth, fifth = (Neuron(layer, 7) for layer in range(5))
    ten = [[often, half] if place < 5 else [often] if place < 9 else [rare] for place in range(10)]
    shared_by_most = load("2_get_kn.py").shared_by_most
    relations = {"P19": refined(*ten), "P36": refined(*ten[:9]), "P101": refined(*[[]] * 12)}
    assert shared_by_most(relations) == {"P19": "layer 0 neuron 7 (90%)"}
    eleven = [*ten, [half, often, fourth, fifth]]
    assert shared_by_most({"P19": refined(*eleven)}) == {
        "P19": "layer 0 neuron 7 (91%), layer 1 neuron 7 (55%)"
    }
    crowded = [[often, half, fourth, fifth]] * 10
    assert shared_by_most({"P19": refined(*crowded)})["P19"].count("100%") == 3


def test_controls_a_line_for_each_kind_and_factor(capsys):
    """Neurons a fact, then the change of each that was asked, a dash where nothing was."""
    change = Estimate(-0.2903, Interval(-0.41, -0.153))
    wide = Estimate(-0.00042, Interval(-0.00093, 0.00002))
    found = [
        Effects("neurons", 0.0, 3.456, {"own": change, "same": NONE}, {"own": change.times(10)}),
        Effects("random", 0.0, 3.456, {"own": wide, "held_out": wide}, {"own": wide.times(10)}),
        Effects("shared_by_1", 0.0, 3.0, {"own": wide, "held_out": wide}, {"own": wide.times(10)}),
    ]
    tables_of_controls.show_effects(found)
    every, cells = shown(capsys)
    lines, (title, heads, *rows) = every[:4], cells[:4]
    assert cells[4][0].startswith("Whose are the neurons?") and "log-odds, in nats" in every[4]
    assert cells[5] == heads
    own_nats, random_nats = "-2.90 [-4.10, -1.53]", "-0.0042 [-0.0093, +0.0002]"
    assert cells[6] == ["knowledge neurons x 0", "3.46", own_nats, *3 * ["-"], random_nats]
    assert title[0].startswith("Whose are the neurons?")
    columns = ["own prompts", "own, held out", "same relation", "other relations"]
    assert heads == ["neurons", *columns, "random neurons, own prompts"]
    own, same = "-29.0 [-41.0, -15.3] %", "0.0 [0.0, +5.1] %"
    assert rows == [
        ["knowledge neurons x 0", "3.46", own, "-", same, "-", "-0.042 [-0.093, +0.002] %"],
        [
            *("those in at most 1 other fact x 0", "3.00"),
            *(*2 * ["-0.042 [-0.093, +0.002] %"], *3 * ["-"]),
        ],
    ]
    assert len({len(line) for line in lines[1:]}) == 1


def test_controls_of_an_earlier_version_say_that_they_have_no_log_odds(capsys):
    change = Estimate(-0.2903, Interval(-0.41, -0.153))
    tables_of_controls.show_effects([Effects("neurons", 0.0, 3.456, {"own": change})])
    assert "no log-odds: some of the records are of an earlier version" in capsys.readouterr().out
    tables_of_controls.show_effects([])
    assert "no log-odds" not in capsys.readouterr().out, "there is nothing to tell"
