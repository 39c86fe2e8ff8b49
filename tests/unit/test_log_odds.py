"""Log-odds where P is certain: against float64 twins, in records, in averages.

Run: pytest tests/unit/test_log_odds.py
"""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

from knowledge_neurons.experiments import modify_activation
from knowledge_neurons.experiments.modify_activation import answer_probabilities, answered
from knowledge_neurons.networks import log_odds
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.results.change_files import (
    read_curves,
    read_modified,
    write_curve,
    write_summary,
)
from knowledge_neurons.results.changes import (
    ChangeRecord,
    Outcome,
    changes_of,
    curve_of,
    has_log_odds,
    modified_of,
    read_changes,
)
from knowledge_neurons.results.comparison import log_odds_beside
from knowledge_neurons.results.controls import (
    ControlRecord,
    effects_of,
    read_effects,
    write_effects,
)
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.log_odds import LogOdds, mean_difference
from knowledge_neurons.types import KINDS, Edit, Fact, Neuron, Prompt
from tests.reference import interventions as twin
from tests.reference.families import LONG, small
from tests.reference.family_errors import prompts
from tests.reference.tiny import tiny_bert

RELATIVE = 1e-5  # float32 logits of a model, against the same model in float64
NATS = 1e-4  # where they are near 0: the last digit of a logit of 100 is 1e-5
SHARP = 50  # times a tiny model's logits: P is 1 in float32
NEURONS = (Neuron(0, 3), Neuron(2, 36), Neuron(1, 5))
TEXTS = ((2, 9, 4, 11, 3), (2, 4, 8, 30, 31, 3), (2, 40, 41, 4, 3), (2, 4, 3))


def sharp(dtype: torch.dtype = torch.float32):
    """A tiny model whose logits are large; the same weights in either precision."""
    model = tiny_bert(dtype=dtype)
    head = model.head
    model.head = lambda stream: SHARP * head(stream)
    return model


def asking_for(place: int) -> list[Prompt]:
    """Prompts, each for the token at a place of the sharp model's ranking: 0 what it says."""
    made = [Prompt(ids, ids.index(4), 5) for ids in TEXTS]
    ranked = [twin.logits(EXACT, one, PLAIN).argsort(descending=True).tolist() for one in made]
    return [replace(one, answer=own[place]) for one, own in zip(made, ranked, strict=True)]


EXACT, PLAIN = sharp(torch.float64), Edit((), 1.0)


# --- against twins ---------------------------------------------------------------------------


def test_where_p_is_one_the_log_odds_tell():
    """P is 1 in float32 and does not change; log-odds are those of float64, to 1e-5."""
    asked, edits = asking_for(0), [Edit(NEURONS, 0.0), Edit(NEURONS[:1], 2.0)]
    found, steady = answered(sharp(), asked, [edits] * len(asked)), 0
    for prompt, p, odds in zip(asked, *found, strict=True):
        expected = [twin.log_odds(EXACT, prompt, one) for one in (PLAIN, *edits)]
        assert odds.tolist() == pytest.approx(expected, rel=RELATIVE)
        steady += p.tolist() == [1.0] * 3 and abs(odds[1] - odds[0]) > 0.5
    assert steady >= 2, "P tells of no change at all, and nats have gone"


def test_where_p_is_zero_too():
    """An answer that float32 gives probability 0: finite, as the twin has it."""
    asked, off = asking_for(-1), Edit(NEURONS, 0.0)
    found = answered(sharp(), asked, [[off]] * len(asked))
    assert not found.probabilities.any()
    for prompt, odds in zip(asked, found.log_odds, strict=True):
        expected = [twin.log_odds(EXACT, prompt, one) for one in (PLAIN, off)]
        assert odds.tolist() == pytest.approx(expected, rel=RELATIVE)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_several_tokens_are_the_product(name):
    """ln P - ln(1 - P) of the product, where float64 tells it; P itself as ever."""
    model = AdaptedNetwork(small(name, torch.float64))
    asked = [p for tokens in (3, 1, 2) for p in prompts(name, LONG, 2, answers=tokens)]
    edits = [[Edit((Neuron(0, 3), Neuron(1, 5)), 0.0)]] * len(asked)
    found = answered(model, asked, edits)
    assert found.log_odds == pytest.approx(np.log(found.probabilities / (1 - found.probabilities)))
    assert answer_probabilities(model, asked, edits) == found.probabilities.tolist()


@pytest.mark.parametrize("spread", [1, 30, 600])
def test_two_tokens_together(spread):
    """Against ratios of whole numbers, which lose nothing, at any size; finite at every."""
    rng = random.Random(spread)
    for _ in range(50):
        a, b = rng.uniform(-spread, spread), rng.uniform(-spread, spread)
        p, q = (1 / (1 + Fraction(math.exp(-x))) for x in (a, b))
        odds = p * q / (1 - p * q)
        expected = math.log(odds.numerator) - math.log(odds.denominator)
        found = float(log_odds.of_both(np.array(a), np.array(b)))
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert log_odds.of_both(np.array(1e4), np.array(2e4)) == 1e4
    assert log_odds.of_both(np.array(np.inf), np.array(0.3)) == 0.3, "certain, and another"


def test_of_two_tokens_as_the_definition_has_it():
    """log p = -log1p(e^-o), log P their sum, log(1 - P) = log(-expm1(log P))."""
    one, other = np.array([0.3, 25.0, -4.0]), np.array([-2.0, 31.0, 700.0])
    log_p = -np.log1p(np.exp(-one)) - np.log1p(np.exp(-other))
    expected = log_p - np.log(-np.expm1(log_p))
    assert log_odds.of_both(one, other) == pytest.approx(expected, rel=1e-12)


def test_precision_of_half_floats_is_theirs_alone():
    """bfloat16 logits: read exactly, summed in float32."""
    logits = torch.tensor([[60.0, 30.0, 29.5]], dtype=torch.bfloat16)
    found = log_odds.of_tokens(logits, torch.tensor([0]))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(60 - math.log(math.exp(30) + math.exp(29.5)), rel=1e-6)


# --- records ---------------------------------------------------------------------------------

FACTS = [Fact("P1", "label", index, "x", ("[MASK]",)) for index in range(2)]


def modified() -> list[ChangeRecord]:
    """Two facts of the sharp model."""
    asked = asking_for(0)
    own, others = [asked[:2], asked[2:]], [("P2", 4, asked[1:3]), None]
    neurons = {kind: [list(NEURONS), []] for kind in KINDS}
    return modify_activation.modify(sharp(), FACTS, own, others, neurons)


def test_records_hold_them_beside_p(tmp_path):
    """Of each prompt and factor, to float32's digits; a file without them is still read."""
    records = modified()
    path = tmp_path / "P1.jsonl"
    path.write_bytes(b"".join(encode_float32(one) + b"\n" for one in records))
    read = read_changes(path)
    assert has_log_odds(read) and read[0].other.log_odds
    own = read[0].own
    for place, prompt in enumerate(asking_for(0)[:2]):
        for factor in (0.0, 2.0):
            expected = twin.log_odds(EXACT, prompt, Edit(NEURONS, factor))
            got = own.log_odds.edited["neurons"][factor][place]
            assert got == pytest.approx(expected, rel=RELATIVE, abs=NATS)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        for asked in ("own", "other"):
            (line[asked] or {}).pop("log_odds", None)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    old = read_changes(path)
    assert not has_log_odds(old) and old[0].own.original == read[0].own.original
    found = modified_of({"P1": old}, 1)
    assert found.log_odds is None and log_odds_beside(found, 0.0) == []
    assert found.overall == modified_of({"P1": read}, 1).overall
    assert modified_of({"P1": [read[0], old[1]]}, 1).log_odds is None, "not of some of the facts"
    assert "log_odds" not in curve_of("P1", old, (0.0, 2.0), 1)


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        (lambda odds: odds["original"].pop(), "own.log_odds.original has 1 numbers, expected 2"),
        (lambda odds: odds["edited"].pop("baseline"), "own.log_odds.edited has"),
        (lambda odds: odds["edited"]["neurons"].pop("0.0"), "log_odds.edited.neurons has factors"),
        (lambda odds: odds["edited"]["neurons"]["2.0"].pop(), "log_odds.edited.neurons.2.0 has 1"),
        (lambda odds: odds["original"].__setitem__(0, 1e31), "own.log_odds.original"),
    ],
)
def test_damaged_ones_are_named(tmp_path, harm, part):
    line = json.loads(encode_float32(modified()[0]))
    harm(line["own"]["log_odds"])
    (tmp_path / "P1.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(ValueError, match=f"P1.jsonl, line 1.*{part}"):
        read_changes(tmp_path / "P1.jsonl")


# --- averages --------------------------------------------------------------------------------


def outcome(before: list[float], after: list[float], kinds: Sequence[str] = KINDS) -> Outcome:
    """P is certain throughout; log-odds go from before to after when suppressed."""
    certainly = dict.fromkeys((0.0, 2.0), [1.0] * len(before))
    odds = LogOdds(before, {kind: {0.0: after, 2.0: before} for kind in kinds})
    return Outcome("P1", 0, [1.0] * len(before), dict.fromkeys(kinds, certainly), odds)


def record(before: list[float], after: list[float]) -> ChangeRecord:
    return ChangeRecord("P1", 0, "x", dict.fromkeys(KINDS, 1), outcome(before, after), None)


RECORDS = {
    "P1": [record([20.0, 30.0], [19.0, 26.0]), record([40.0], [39.5])],  # -2.5 and -0.5
    "P2": [record([10.0, 10.0], [9.0, 9.0])],  # -1
}


def test_averages_by_hand():
    """Mean over a fact's prompts, over facts, over relations; P tells of no change."""
    found = modified_of(RECORDS, seed=1)
    own = found.log_odds.overall["neurons"]["own"]
    assert own[0.0].value == pytest.approx((-1.5 - 1.0) / 2) and own[2.0].value == 0
    # The facts of P1 drawn anew: its first twice, or its second.
    assert own[0.0].interval == pytest.approx(((-2.5 - 1) / 2, (-0.5 - 1) / 2))
    assert found.log_odds.relations["P1"]["baseline"]["own"][0.0].value == pytest.approx(-1.5)
    assert found.log_odds.relations["P2"]["neurons"]["own"][0.0].interval is None, "of one fact"
    assert found.log_odds.overall["neurons"]["other"] == {}
    assert found.overall["neurons"]["own"][0.0].value == 0
    (row, *_) = log_odds_beside(found, 0.0)
    assert (row.quantity, row.unit, row.paper) == ("log-odds, own facts", "nats", None)
    assert row.ours == pytest.approx(-1.25)


def test_no_average_of_nothing():
    assert mean_difference([[], []], 1) is None
    assert mean_difference([[], [-1.0]], 1).value == -1.0


def test_averages_and_curves_round_trip(tmp_path):
    """Beside the share, under a key of their own; without it they are read as before."""
    results = Results(tmp_path)
    results.changes_summary.parent.mkdir()
    found = modified_of(RECORDS, seed=1)
    write_summary(results.changes_summary, found)
    assert read_modified(results) == found
    old = replace(found, log_odds=None)
    write_summary(results.changes_summary, old)
    assert read_modified(results) == old and "log_odds" not in results.changes_summary.read_text()
    results.curve("P1").parent.mkdir()
    without = [replace(one, own=replace(one.own, log_odds=None)) for one in RECORDS["P1"]]
    for records in (RECORDS["P1"], without):
        curve = curve_of("P1", records, (0.0, 2.0), 1)
        write_curve(results.curve("P1"), curve)
        assert read_curves(results) == {"P1": curve}
        assert {kind: curve[kind] for kind in KINDS} == changes_of({"P1": records}, (0.0, 2.0), 1)
        assert ("log_odds" in curve) == (records is not without)


# --- controls --------------------------------------------------------------------------------


BOTH = ("neurons", "random")


def control(own: Outcome, same: Outcome | None = None) -> ControlRecord:
    return ControlRecord("P1", 0, dict.fromkeys(BOTH, 1), 2, own, same, None)


def test_controls_tell_them_column_by_column(tmp_path):
    """Every second prompt held out; a column of which some record has none is not told."""
    first = outcome([20.0, 30.0], [19.0, 26.0], BOTH)
    second = outcome([40.0], [39.5], BOTH)
    records = {"P1": [control(first, same=second), control(second, same=second)]}
    off = effects_of(records, seed=1)[0].log_odds
    assert off["own"].value == pytest.approx((-1 - 0.5) / 2)
    assert off["held_out"].value == pytest.approx(-4)
    assert off["same"].value == pytest.approx(-0.5) and "other" not in off
    old = {"P1": [records["P1"][0], control(second, same=replace(second, log_odds=None))]}
    partly = effects_of(old, seed=1)[0]
    assert set(partly.log_odds) == {"own", "held_out"} and "same" in partly.changes
    results = Results(tmp_path)
    results.controls_summary.parent.mkdir()
    write_effects(results.controls_summary, effects_of(records, 1))
    assert read_effects(results) == effects_of(records, 1)
    content = json.loads(results.controls_summary.read_text())
    for one in content["effects"]:
        del one["log_odds"]
    results.controls_summary.write_text(json.dumps(content))
    assert all(one.log_odds == {} for one in read_effects(results)), "of an earlier version"
