"""What a plan counts, extrapolates and advises, by hand.

Run: pytest tests/unit/test_planning.py
"""

import json
import os
import sys
from dataclasses import replace

import pytest
import torch

from custom_bert import BertConfig
from knowledge_neurons import ROOT
from knowledge_neurons.networks import operations, shapes
from knowledge_neurons.planning import calls, estimate, trial, work
from knowledge_neurons.planning.calls import KNOWN, Call
from knowledge_neurons.planning.survey import Sentences, Survey, survey
from knowledge_neurons.planning.trial import Line, Rates
from knowledge_neurons.planning.work import Asked, Work
from knowledge_neurons.stages import planning

SHAPE = shapes.of_config(BertConfig(500, 48, 5, 4, 192))
ASKED = Asked(
    SHAPE,
    Survey(
        prompts={"P19": [2, 2, 2], "P36": [4, 4], "P101": [5]},
        askable=1.0,
        tokens=7.2,
        of_sentence=20,
        tokenised=True,
        sentences=Sentences(both=12, head=6, words=14, bytes=300, known=True),
        read=0.0,
        encode=0.0,
        bytes=1000,
    ),
)
CPU = torch.device("cpu")
ONES = Rates(*[1.0] * 10, by_dtype={"bfloat16": 0.5}, peak=1.0)


def works(*lines: str) -> dict[int, Work]:
    return work.works_of(ASKED, calls.read(lines))


# --- calls -------------------------------------------------------------------------------------


def test_calls_are_read_as_the_scripts_make_them():
    """Names of relations, factors other than 1, variants, draws; unknown flags are passed over."""
    found = calls.read(
        [
            "bash /any/where/1_run_mlm.sh P19 --max_facts 3 --exact --layers 1-3 --get_pred",
            "3_run_modify_activation.sh --relations P36,P19 --scales 0,0.5,...,2 --oov skip",
            "bash 6_run_edit.sh 1 8 --draw distinct --facts_per_relation 5 --top_k 1,2,5",
            "7_run_erase.sh P36",
            "",
            "known_facts.py --per_relation 13 --output x",
        ]
    )
    assert [one.stage for one in found] == [1, 3, 6, 7, KNOWN]
    assert found[0].relations == ("P19",) and found[0].tolerance is None
    assert found[0].layers == (1, 3) and found[1].scales == 4
    assert found[1].relations == ("P36", "P19")
    assert (found[2].variants, found[2].edits, found[2].all_prompts) == (3, 5, False)
    assert found[3].relations == ("P36",) and found[4].taken == 13
    assert calls.read(["1_run_mlm.sh --steps 7"]) == [Call(1, steps=7)]
    with pytest.raises(ValueError, match="rm -rf"):
        calls.read(["rm -rf /"])


@pytest.mark.parametrize("stage", ["1_run_mlm.sh", "7_run_erase.sh", "9_neuron_map.sh"])
def test_a_relation_is_what_stands_first_and_is_no_flag(stage):
    """The value of a flag that is not known here is none, nor is a flag's alone."""
    found = calls.read([f"{stage} --oov skip", f"{stage} --get_pred", f"{stage} P36 --oov skip"])
    assert [one.relations for one in found] == [(), (), ("P36",)]
    assert calls.of_stages([1], ["--oov", "skip"])[0].relations == ()


@pytest.mark.parametrize(
    "flags",
    [
        *("--steps x", "--steps", "--tolerance x", "--layers x", "--layers 1-x", "--scales 0,x"),
        *("--scales 0,...,2", "--scales 0,1,...", "--scales 0,...,1,2", "--scales 0,0,...,2"),
        *("--scales 2,1,...,0", "--scales 0,1e-9,...,1e9", "--scales 0,nan,...,2"),
    ],
)
def test_a_value_that_no_stage_takes_is_an_error_with_its_line(flags):
    with pytest.raises(ValueError, match=rf"1_run_mlm\.sh P36 .*argument {flags.split()[0]}: "):
        calls.read([f"1_run_mlm.sh P36 {flags}"])


def test_stages_by_number_have_the_papers_settings():
    """Flags that are not known go to stage 1 alone."""
    first, third = calls.of_stages([1, 3], ["--exact"])
    assert (first.stage, first.tolerance, third) == (1, None, Call(3))


# --- work --------------------------------------------------------------------------------------


def test_points_of_stage_1_by_hand():
    """19 prompts; of 6, 8 and 5 four each are audited: all 20 points, 10 of the integral."""
    (found,) = works("1_run_mlm.sh --exact").values()
    assert found.points == 19 * 20 + 12 * (20 + 10) and found.starts == 3
    assert found.scored == 19 + 2 * 12
    (found,) = works("1_run_mlm.sh P36").values()
    fewer = work.POINTS[False]
    assert found.points == pytest.approx(8 * fewer + 4 * (30 + fewer) + 16 * work.CALIBRATION)
    told = replace(ASKED, points=3.0, calibrated=True)
    (found,) = work.works_of(told, calls.read(["1_run_mlm.sh P36"])).values()
    assert found.points == 8 * 3.0 + 4 * 33.0


def test_fewer_layers_are_fewer_points():
    """In units of a point in every layer, by their operations; the top layer's is the head."""
    all_, top = (works(f"1_run_mlm.sh P19 --exact{flag}")[1] for flag in ("", " --layers 4"))
    every = sum(operations.point(SHAPE, 7, layer) for layer in range(5))
    assert top.points == pytest.approx(all_.points * 2 * operations.head(SHAPE) / every)
    assert all_.operations > top.operations


def test_copies_and_scorers_of_stage_1_by_hand():
    """Copies are scored alike, the audit once; other scorers have none, nor points along a path.
    Neurons one by one are edits, in units of those that a fact's neurons have."""
    plain, smooth = (works(f"1_run_mlm.sh P36 --exact{flag}")[1] for flag in ("", " --smooth 5"))
    assert smooth.points == 5 * 8 * 20 + 4 * 30 and smooth.scored == 5 * 8 + 2 * 4
    assert plain.tokenised == smooth.tokenised == 8
    found = works("1_run_mlm.sh P36 --scorer gradient-activation --smooth 2")[1]
    assert (found.points, found.scored, found.edits) == (8 * 2, 8 * 2, 0)
    found = works("1_run_mlm.sh P36 --scorer logit")[1]
    assert (found.points, found.scored, found.edits) == (0, 8, 0)
    usual = operations.edit(SHAPE, 7, 3)
    for scorer, layers in (("zero-out", range(5)), ("log-probability", [4] * 5)):
        found = works(f"1_run_mlm.sh P36 --scorer {scorer} --smooth 2")[1]
        done = 2 * 8 * 192 * sum(operations.edit(SHAPE, 7, layer) for layer in layers)
        assert found.edits == pytest.approx(done / usual) and found.operations > done
        (call,) = calls.read([f"1_run_mlm.sh --scorer {scorer}"])
        each = work.prompt_of(ASKED, call)
        assert (each.scored, each.edits) == (1, pytest.approx(found.edits / 16))
    with pytest.raises(ValueError, match="shapley"):
        calls.read(["1_run_mlm.sh --scorer shapley"])


def test_passes_of_the_other_stages_by_hand():
    """As the experiments have it; 19 prompts of 6 facts, 12 and 6 sentences."""
    found = works("3_run_modify_activation.sh")[3]
    assert (found.edited, found.edits) == (2 * 19, 2 * 19 * 4)
    found = works("10_controls.sh --sample 0")[10]
    assert (found.edited, found.edits) == (3 * 19, 3 * 19 * 16)
    found = works("10_controls.sh --relations P36 --sample 1")[10]
    assert (found.edited, found.edits) == (3 * 8 + 4, 3 * 8 * 16 + 4 * 40)
    found = works("3_run_modify_activation.sh --relations P36 --scales 0,1,2")[3]
    assert (found.edited, found.edits) == (2 * 8, 2 * 8 * 4)
    assert works("4_run_distant.sh")[4].sentences == 2 * 12 + 6
    assert works("5_run_trigger_examples.sh --relations P36")[5].sentences == 12 * 2 / 6
    each = 19 / 6
    found = works("6_run_edit.sh 1 8")[6]
    assert found.read == pytest.approx(6 * ((each + 10 * each) * 4 + 4)) and found.updates == 18
    found = works("6_run_edit.sh 1 8 --draw distinct --facts_per_relation 1 --top_k 1,2")[6]
    assert found.read == pytest.approx(3 * ((each + 10) * 7 + 4)) and found.updates == 18
    assert works("7_run_erase.sh P36")[7].together == 3 * 19
    assert works("7_run_erase.sh P36 --other_sample 2")[7].together == 3 * (8 + 2)
    found = works("9_neuron_map.sh P36 --max_facts 1 --wordings 2")[9]
    assert found.points == 2 * 2.5 * 2 and found.edits == work.NEURONS * 22 + 2 * 8 * 2 * 2
    assert found.edited == 8 * 2 * 2 and found.sentences == 12 + 6 and found.starts == 1
    assert found.together == 19 + 19
    few = works("9_neuron_map.sh P36 --texts 5")[9]
    assert few.together == 5 + 19 and few.sentences == 5
    assert works("9_neuron_map.sh --relations P36,P101")[9].points == 3 * 3 * 2.5 * 2
    assert works("known_facts.py --per_relation 1")[KNOWN].read == pytest.approx(3 * each)


def test_relations_of_a_run_are_those_of_calls_that_name_none():
    """Stage 7 reads all others too; a relation that is not there is refused."""
    some = replace(ASKED, relations=("P36", "P101"))
    found = work.works_of(some, calls.of_stages(range(1, 9)))
    assert found[1].starts == 2 and found[3].edited == 2 * 13 and found[7].together == 3 * 19
    assert found[4].sentences == 30 * 3 / 6
    for wrong in (["1_run_mlm.sh P99"], ["7_run_erase.sh P99"]):
        with pytest.raises(ValueError, match="P99 is not in the data"):
            work.works_of(ASKED, calls.read(wrong))


def test_sentences_are_those_of_the_facts_asked_for():
    """Two of six facts, 12 and 6 sentences of all; all of them where no relation is named."""
    done = works("4_run_distant.sh")
    few, every = (
        estimate.plan(replace(ASKED, relations=named), done, ONES, 4.2, 1 << 30, CPU)
        for named in (("P36",), ())
    )
    assert (few.facts, few.sentences) == (2, 6) and (every.facts, every.sentences) == (6, 18)


def test_calls_of_a_stage_add_up():
    one, two = works("7_run_erase.sh P36")[7], works("7_run_erase.sh P36", "7_run_erase.sh P19")[7]
    assert (two.together, two.starts) == (2 * one.together, 2)
    assert two.operations == 2 * one.operations


# --- estimates ---------------------------------------------------------------------------------


def test_a_line_through_two_times():
    """3 s and 2 s a unit; one point alone has no fixed part; none of the two is ever negative."""
    line = Line.through([1, 4], [5.0, 11.0])
    assert (line.fixed, line.each) == (3.0, 2.0) and line.at(10) == 23.0
    assert Line.through([2], [5.0]).at(4) == 10.0
    assert Line.through([1, 4], [1.0, 7.0]) == Line(0.0, 1.75)
    assert Line.through([1, 4], [5.0, 4.0]) == Line(4.0, 0.0)


def test_seconds_are_work_times_rates():
    """A second of everything: 2 starts with their load, 3 points, 4 reads."""
    found = estimate.seconds_of(Work(6, starts=2, points=3, read=4), ONES)
    assert found == pytest.approx(2 * (estimate.STAGE + 1) + 3 + 4)


@pytest.mark.parametrize(
    "hours, deadline, expected", [(2, 4, 1), (4, 4, 1), (5, 4, 2), (80, 10, 10), (81, 10, 11)]
)
def test_workers_for_a_deadline(hours, deadline, expected):
    """One where that is in time; else at 80 % each."""
    assert estimate.workers(hours, deadline) == expected


def test_advice_names_the_error_and_switches_nothing():
    """Half the time pays, nine tenths do not."""
    done = works("1_run_mlm.sh")

    def advised(seconds: float) -> str:
        rates = replace(ONES, by_dtype={"bfloat16": seconds})
        plan = estimate.plan(ASKED, done, rates, 4.2, 1 << 30, CPU)
        return planning.advice(plan)

    assert "--dtype bfloat16 would pay here" in advised(0.4) and "0.01 of the largest" in advised(
        0.4
    )
    assert "no other than float32" in advised(0.9)


def test_memory_follows_the_weights_and_the_budget():
    """A larger budget, a larger peak; on a GPU the batch is the device's."""
    few, many = (estimate.peaks(1, SHAPE, ASKED.survey, 20, size, CPU)[0] for size in (1e5, 1e9))
    assert few < many
    host, device = estimate.peaks(1, SHAPE, ASKED.survey, 20, 1 << 20, torch.device("cuda"))
    weights = 4 * shapes.parameters(SHAPE)
    assert weights < device <= weights + estimate.HELD[False] * (1 << 20) and host < many


# --- survey and trial --------------------------------------------------------------------------


def test_the_sample_is_counted():
    """588 facts, 4,704 prompts and the sentences; tokens of a part, or by the number of words."""
    model = str(ROOT / "models/demo-bert")
    shape = shapes.shape_of(model)
    given = (ROOT / "data/PARAREL/sample_allbags.json", None)
    pattern = str(ROOT / "data/BINGREL/sample_distant_{}.json")
    found = survey(*given, pattern, shapes.tokens_of(model, shape), False)
    assert (found.facts_of(()), found.prompts_of()) == (588, 4704) and found.tokenised
    texts = [
        len(fact[key])
        for path in ROOT.glob("data/BINGREL/sample_distant_*.json")
        for fact in json.loads(path.read_text())
        for key in ("th_bags", "h_bags")
    ]
    assert found.sentences.known and found.sentences.both + found.sentences.head == sum(texts)
    guessed = survey(*given, "nowhere/{}", None, False)
    assert not guessed.tokenised and not guessed.sentences.known
    assert guessed.tokens == pytest.approx(found.tokens, rel=0.3)
    few = survey(*given[:1], 3, pattern, None, True)
    assert (
        few.facts_of(()) == 3 * 14 and few.facts_of(["P36"]) == 3 and 0 < few.askable < 1
    )  # a decoder reads some of them


def test_a_trial_tells_every_rate(monkeypatch):
    """With a clock that counts its own calls: each takes one tick, whatever the work."""
    monkeypatch.setattr(trial, "A_RUN", 1e-3)
    monkeypatch.setattr(trial, "ROUNDS", 1)
    ticks = iter(range(10**6))
    prompts = survey(ROOT / "data/PARAREL/sample_allbags.json", 4, "none/{}", None, False)
    before = torch.backends.cuda.matmul.allow_tf32
    found = trial.rates(SHAPE, prompts, CPU, 2.0, clock=lambda: next(ticks) / 1e3)
    assert found.start == pytest.approx(2.0 + prompts.read)
    assert found.read > 0 and found.scored > 0 and found.sentence > 0
    assert set(found.by_dtype) == {"bfloat16"}
    assert torch.backends.cuda.matmul.allow_tf32 == before


# --- asking ------------------------------------------------------------------------------------


@pytest.fixture
def long_plan():
    rates = replace(ONES, point=10.0)
    return estimate.plan(ASKED, works("1_run_mlm.sh --exact"), rates, 20, 1 << 30, CPU)


@pytest.mark.parametrize("said, expected", [("y", True), ("Yes", True), ("", False), ("n", False)])
def test_a_terminal_is_asked_before_more_than_an_hour(monkeypatch, long_plan, said, expected):
    """On a pseudo-terminal; "no" is what a bare return means."""
    ours, theirs = os.openpty()
    with open(theirs, closefd=False) as into, open(theirs, "w", closefd=False) as out:
        monkeypatch.setattr(sys, "stdin", into)
        monkeypatch.setattr(sys, "stdout", out)
        os.write(ours, f"{said}\n".encode())
        assert long_plan.hours > planning.ASKED_OVER
        assert planning.confirmed(long_plan) is expected
        monkeypatch.undo()
    shown = b""
    while b"Go on? [y/N]" not in shown:
        shown += os.read(ours, 1000)
    os.close(theirs)
    os.close(ours)


def test_nobody_is_asked_without_a_terminal(long_plan):
    assert planning.confirmed(long_plan)


def test_a_plan_that_cannot_be_made_is_one_line(tmp_path, capsys):
    """Before a run; asked for by itself it is an error."""
    flags = ["--model", str(ROOT / "models/demo-bert"), "--data_path", str(tmp_path / "none.json")]
    planning.main([*flags, "--ask"])
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "none.json" in said
    with pytest.raises(ValueError, match=r"none\.json"):
        planning.main(flags)


@pytest.mark.parametrize(
    "wrong",
    [["--steps", "all"], ["--scales", "0,...,2"], ["--stages", "9-12"], ["--calls", "none"]],
)
def test_calls_that_cannot_be_read_are_one_line_too(wrong, tmp_path, monkeypatch, capsys):
    """Of stage 1's flags, of stages that are not there, of a file that is not: the run goes on."""
    monkeypatch.chdir(tmp_path)
    flags = ["--model", str(ROOT / "models/demo-bert"), *wrong]
    planning.main([*flags, "--ask"])
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and wrong[1] in said
    with pytest.raises((ValueError, OSError), match=wrong[1]):
        planning.main(flags)


def test_every_stage_that_can_be_planned_has_a_name_in_the_table():
    assert set(planning.NAMES) == {KNOWN, *calls.STAGES}
