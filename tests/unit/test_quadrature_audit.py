"""Calibration and audit of stage 1 by hand and on a tiny model.

Run: pytest tests/unit/test_quadrature_audit.py
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from knowledge_neurons.attribution import adaptive, quadrature_audit
from knowledge_neurons.attribution.adaptive import Adapted
from knowledge_neurons.attribution.fact_scores import Engine, prepare
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature_audit import Audited
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks.batching import collate
from knowledge_neurons.networks.passes import clean_pass
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.reference.tiny import tiny_bert
from tests.unit.test_attribution import random_prompts

WORDS = ("a", "b", "c", "d", "e", "f", "rome", "oslo", "is", ".")
SOURCE = Path("data.json")


def engine(**settings) -> Engine:
    return prepare(tiny_bert(), None, Settings(memory=1 << 28, **settings))


def tokenizer() -> Tokenizer:
    return Tokenizer({t: i for i, t in enumerate((*SPECIAL_TOKENS, *WORDS))}, lowercase=False)


def encoded(count: int = 160) -> list:
    """Facts of two prompts."""
    prompts = random_prompts(5, [8] * 2 * count)
    return [prompts[i : i + 2] for i in range(0, 2 * count, 2)]


# --- calibration -----------------------------------------------------------------------------


def bag(head: str, answer: str, name: str = "P1") -> list:
    return [[f"{head} is [MASK]{end}", answer, f"{name}(label)"] for end in ("", ".", " .")]


def test_sample_is_a_prompt_of_each_fact_that_can_be_asked():
    """Of all relations; without a known answer or with a broken bag a fact is passed over."""
    bags = {"P2": [bag(h, "oslo", "P2") for h in "abc"], "P1": [bag(h, "rome") for h in "def"]}
    bags["P1"] += [bag("a", "atlantis"), [["no mask", "rome", "P1(label)"]], "broken"]
    sample = quadrature_audit.draw_sample(bags, SOURCE, tokenizer(), 16, seed=1)
    assert sorted(prompt.ids[1] for prompt in sample) == [5, 6, 7, 8, 9, 10]
    again = quadrature_audit.draw_sample(bags, SOURCE, tokenizer(), 16, seed=1)
    other = quadrature_audit.draw_sample(bags, SOURCE, tokenizer(), 16, seed=2)
    assert sample == again != other


def test_sample_has_its_size():
    bags = {"P1": [bag("a", "rome")] * 100}
    drawn = quadrature_audit.draw_sample(bags, SOURCE, tokenizer(), 16, seed=1)
    assert len(drawn) == quadrature_audit.CALIBRATED == 16


def test_calibration_replaces_the_eight_points():
    """By those of `adaptive.calibrate`, on the reference; all points stay all points."""
    plain = engine()
    prompts = [prompt for fact in encoded(20) for prompt in fact]
    found = quadrature_audit.calibrate(plain, prompts)
    whole = clean_pass(plain.model, collate(prompts, range(len(prompts))))
    assert found.scheme == adaptive.calibrate(plain.model, [whole], plain.settings.rule)
    assert found.scheme.first != plain.scheme.first == (8, 8, 8)
    assert quadrature_audit.calibrate(plain, []) == plain
    exact = engine(tolerance=None)
    assert quadrature_audit.calibrate(exact, prompts) == exact and exact.scheme.exact
    assert quadrature_audit.calibrated(plain, found.scheme.first) == found
    with pytest.raises(ValueError, match="points for 2 layers: the model has 3"):
        quadrature_audit.calibrated(plain, [3, 3])


# --- audit -----------------------------------------------------------------------------------


def test_a_layer_that_fails_takes_all_points(monkeypatch):
    """One prompt off by more than the tolerance in layer 1: that layer alone, and it is told."""
    plain, whole = engine(), adaptive.adaptive_gradients

    def off(model, clean, target, scheme, memory):
        found = whole(model, clean, target, adaptive.all_points(scheme.rule, 3), memory).scores
        found[:, 1, 0] += 0.9e-3 * adaptive.largest_scores(found).float()
        found[0, 1, 0] += 1e-3 * adaptive.largest_scores(found)[0].float()
        return Adapted(found, None)

    monkeypatch.setattr(adaptive, "adaptive_gradients", off)
    after, record = quadrature_audit.audit(plain, encoded(), seed=1)
    assert after == replace(plain, scheme=replace(plain.scheme, first=(8, 20, 8)))
    assert record["layers_failed"] == [1] and record["points_tried"] == [8, 20, 8]
    assert record["audited_prompts"] == 16 and record["over_tolerance"] == 1
    assert record["worst_error"] == pytest.approx(1.9e-3, rel=1e-2) == record["worst_written"]


def test_an_audit_that_finds_nothing_changes_nothing():
    plain = engine()
    after, record = quadrature_audit.audit(plain, encoded(), seed=1)
    assert after == plain and record["layers_failed"] == []
    assert record["over_tolerance"] == 0 < record["worst_error"] < 1e-3
    assert record["coarse_same"] == record["audited_prompts"] == 16
    assert quadrature_audit.audit(plain, encoded(), seed=1)[1] == record
    assert quadrature_audit.audit(plain, encoded(), seed=2)[1] != record


@pytest.mark.parametrize("facts, audited", [(1, 2), (4, 4), (60, 6), (200, 16), (1000, 20)])
def test_a_share_of_the_prompts_is_audited(monkeypatch, facts, audited):
    """1 %, at least 16; of fewer than 320 prompts 5 %, at least 4, or all."""
    one = Audited(np.zeros(3), 0.0, True, np.zeros(3), True, 0.0)
    monkeypatch.setattr(quadrature_audit, "compare", lambda engine, batch: [one] * len(batch.order))
    _, record = quadrature_audit.audit(engine(), encoded(facts), seed=1)
    assert record["audited_prompts"] == record["integral"]["prompts"] == audited


def test_full_sums_have_nothing_to_audit_but_their_distance_from_the_integral():
    """Every number of `compare` beside the formula it stands for."""
    exact = engine(tolerance=None)
    _, record = quadrature_audit.audit(exact, encoded(), seed=1)
    assert record["audited_prompts"] == 0
    batch = collate(random_prompts(5, [8] * 4), range(4))
    clean = clean_pass(exact.model, batch)
    sums, integral = (
        integrated_gradients(exact.model, clean, Probability(batch.answers), how)
        for how in (exact.settings.rule, quadrature_audit.INTEGRAL)
    )
    for row, one in enumerate(quadrature_audit.compare(exact, batch)):
        expected = (sums[row] - integral[row]).abs().max() / integral[row].max()
        assert one.integral.max() == pytest.approx(expected.item(), rel=1e-4)
        assert one.errors.tolist() == [0.0] * 3 and one.worst == 0 and one.coarse_same
        sets = [(s[row] >= 0.2 * s[row].max()).tolist() for s in (sums, integral)]
        assert one.integral_same == (sets[0] == sets[1])


def test_fewer_digits_are_told_apart_from_fewer_points():
    """A layer does not fail for the digits of bfloat16, which all points would not mend."""
    model = tiny_bert()
    few = prepare(model.products_in(torch.bfloat16), None, Settings(memory=1 << 28), model)
    after, record = quadrature_audit.audit(few, encoded(), seed=1)
    assert record["worst_written"] > 1e-3 > record["worst_error"] and after == few
    whole = prepare(few.model, None, Settings(memory=1 << 28, tolerance=None), model)
    _, record = quadrature_audit.audit(whole, encoded(), seed=1)
    assert record["audited_prompts"] == 16 and record["worst_error"] == 0 < record["worst_written"]


def test_nothing_to_attribute_is_nothing_to_audit():
    """Activations alone, or no fact that can be asked."""
    for some, facts in ((engine(of_answer=False), encoded()), (engine(), [[], []])):
        after, record = quadrature_audit.audit(some, facts, seed=1)
        assert after == some and record["audited_prompts"] == 0 and "integral" not in record


def test_damaged_weights_are_refused():
    damaged = engine()
    damaged.model.layers[1].output.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        quadrature_audit.audit(damaged, encoded(), seed=1)


def test_summaries_by_hand():
    """Errors are the largest of the layers; median, quantile, worst and shares of the integral."""
    one = Audited(np.array([2e-3, 1e-4]), 3e-3, False, np.array([0.02, 0.01]), False, 1e-6)
    other = Audited(np.array([1e-5, 9e-4]), 1e-3, True, np.array([0.0, 0.3]), True, 3e-6)
    found = quadrature_audit.summary([one, other], 1e-3)
    assert found["audited_prompts"] == 2 and found["over_tolerance"] == 1
    assert found["worst_error"] == 2e-3 and found["worst_written"] == 3e-3
    assert found["coarse_same"] == 1
    assert quadrature_audit.integral_summary([one, other]) == {
        "prompts": 2,
        "median": pytest.approx(0.16),
        "p95": pytest.approx(0.286),
        "largest": 0.3,
        "coarse_same": 0.5,
        "completeness_gap": 3e-6,
        "layers_far": [1],
    }
