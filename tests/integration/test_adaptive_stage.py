"""Stage 1 with fewer points, on the embedded model: the same neurons, an audit, a repair.

Run: pytest tests/integration/test_adaptive_stage.py
"""

import json
import statistics
from dataclasses import replace

import pytest

from knowledge_neurons import ROOT
from knowledge_neurons.attribution import adaptive, fact_scores, gradients, quadrature
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import batching, checkpoints, passes
from knowledge_neurons.neurons import refine
from knowledge_neurons.results.layout import Results
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact
from tests.integration.stages import Place, fine

RELATION, FACTS = "P36", 42
WITHIN = 1e-3  # the default tolerance


@pytest.fixture(scope="module")
def embedded(one_thread, tmp_path_factory) -> Place:
    """The embedded model and sample, with results of an exact and of a default run."""
    folder = tmp_path_factory.mktemp("adaptive")
    data = ROOT / "data/PARAREL/sample_allbags.json"
    place = Place(ROOT / "models/demo-bert", data, folder / "default")
    fine(place.score(RELATION))
    fine(replace(place, results=folder / "exact").score(RELATION, "--exact"))
    return place


def exact_of(place: Place) -> Place:
    return replace(place, results=place.results.with_name("exact"))


def prompts_of(place: Place) -> list[dict]:
    return [result for line in place.lines(RELATION) for _, result in line]


def test_scores_are_within_the_tolerance_and_coarse_neurons_identical(embedded):
    """Every stored score of every prompt; the baseline byte for byte."""
    for fewer, exact in zip(prompts_of(embedded), prompts_of(exact_of(embedded)), strict=True):
        assert fewer["base"] == exact["base"]
        expected = {(layer, i): score for layer, i, score in exact["ig_gold"]}
        largest = max(expected.values())
        for layer, i, score in fewer["ig_gold"]:
            # What is not there lies below 0.1 of the largest, by at most the tolerance.
            assert abs(score - expected.get((layer, i), 0.1 * largest)) <= WITHIN * largest
        assert refine.coarse(fewer["ig_gold"], 0.2) == refine.coarse(exact["ig_gold"], 0.2)


def test_manifest_says_how_paths_were_integrated(embedded):
    """Climbs, points, audit; an exact run has all points and nothing to audit."""
    made = embedded.scores_manifest(RELATION)
    audit = made["quadrature"]
    assert made["identity"]["tolerance"] == audit["tolerance"] == WITHIN
    assert [climb[-1] for climb in audit["climbs"]] == [20] * 4
    assert 3 <= audit["points_per_layer"] <= 6
    assert audit["audited_facts"] == 4 and audit["audited_prompts"] == 32
    assert audit["over_tolerance"] == 0 and audit["worst_error"] < WITHIN
    assert audit["coarse_same"] == 32 and audit["refined_same"] == 4
    assert audit["repaired_facts"] == []
    exact = exact_of(embedded).scores_manifest(RELATION)
    assert exact["identity"]["tolerance"] is None
    assert exact["quadrature"]["points_per_layer"] == 20
    assert exact["quadrature"]["audited_prompts"] == 0


def test_manifest_says_how_far_the_sum_is_from_the_integral(embedded):
    """Both runs compare full sums; 20 points of Gauss-Legendre, prompt by prompt, say the same."""
    integral = embedded.scores_manifest(RELATION)["quadrature"]["integral"]
    assert integral["prompts"] == 32 and integral["completeness_gap"] < 1e-5
    of_exact = exact_of(embedded).scores_manifest(RELATION)["quadrature"]["integral"]
    assert of_exact == pytest.approx(integral, rel=1e-3)
    pretrained = checkpoints.from_pretrained(embedded.model)
    facts = data.facts_of(data.read_bags(embedded.data), RELATION, embedded.data)
    errors = [
        distance(pretrained.model, prompt)
        for index in checked_facts(embedded)
        for prompt in encode_fact(facts[index], pretrained.tokenizer, 128)
    ]
    assert integral["median"] == pytest.approx(statistics.median(errors), rel=1e-3)
    assert integral["largest"] == pytest.approx(max(errors), rel=1e-3) and max(errors) > 0.01


def checked_facts(place: Place) -> list[int]:
    path = Results(place.results).quadrature(RELATION)
    records = enumerate(path.read_bytes().splitlines())
    return [index for index, line in records if json.loads(line)["integral"]]


def distance(model, prompt) -> float:
    """Between the released code's sum and the integral, as a share of the largest."""
    (batch,) = batching.plan([prompt], 1, lambda tokens: 1)
    clean = passes.clean_pass(model, batch)
    rules = (quadrature.rule(name, 20) for name in ("riemann-left", "gauss-legendre"))
    sums, exact = (
        gradients.integrated_gradients(model, clean, Probability(batch.answers), rule)
        for rule in rules
    )
    return ((sums - exact).abs().max() / exact.max()).item()


def test_a_record_beside_every_fact(embedded):
    """A line per fact: prompts, points, rungs with their indicators, the audit of four."""
    path = Results(embedded.results).quadrature(RELATION)
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(records) == FACTS
    assert sum(record["audit"] is not None for record in records) == 4
    climbs = embedded.scores_manifest(RELATION)["quadrature"]["climbs"]
    for record in records:
        assert record["prompts"] == 8
        for layer, points, seen in record["accepted"]:
            assert points in climbs[layer][:-1] and 0 < seen <= WITHIN


def test_other_tolerances_are_other_results(embedded):
    """What was computed within 1e-3 is not gone on with at 1e-2, nor with all points."""
    for flags in (("--tolerance", 1e-2), ("--exact",)):
        ended = embedded.score(RELATION, *flags)
        assert ended.code == 2 and "tolerance is 0.001 there" in ended.err


@pytest.fixture
def blind(monkeypatch):
    """A calibration that trusts three points everywhere, whatever the indicator says."""

    def calibrate(judged, rule, tolerance):
        layers = 1 + max(layer for layer, _ in judged[0].errors)
        trust = {(layer, 3): 1e-9 for layer in range(layers)}
        return adaptive.Ladder(rule, tolerance, ((3, 20),) * layers, trust)

    monkeypatch.setattr(fact_scores.adaptive, "calibrate", calibrate)


def test_a_run_that_misses_its_tolerance_says_so_and_repairs_what_it_wrote(
    embedded, blind, tmp_path
):
    """The audit sees the errors; facts in doubt come out as in the exact run, byte for byte."""
    place = replace(embedded, results=tmp_path / "blind")
    ended = fine(place.score(RELATION))
    audit = place.scores_manifest(RELATION)["quadrature"]
    repaired = audit["repaired_facts"]
    assert audit["over_tolerance"] > 0 and audit["worst_error"] > WITHIN
    assert f"leaves {len(repaired)} facts in doubt" in ended.out and len(repaired) > FACTS / 2
    exact = exact_of(embedded).lines(RELATION)
    written = place.lines(RELATION)
    for index in repaired:
        for (info, one), (_, other) in zip(written[index], exact[index], strict=True):
            assert info["gold_obj"] and [t[:2] for t in one["ig_gold"]] == [
                t[:2] for t in other["ig_gold"]
            ]
            largest = max(score for _, _, score in other["ig_gold"])
            pairs = zip(one["ig_gold"], other["ig_gold"], strict=True)
            assert max(abs(a[2] - b[2]) for a, b in pairs) < 1e-5 * largest
    assert "error" not in ended.err.lower()


def test_bfloat16_products_agree_with_float32(embedded, tmp_path):
    """The manifest has the measured agreement, and the scores are near, not equal."""
    place = replace(embedded, results=tmp_path / "bf16")
    fine(place.score(RELATION, "--dtype", "bfloat16"))
    audit = place.scores_manifest(RELATION)["quadrature"]
    assert place.identity(RELATION)["dtype"] == "bfloat16"
    assert 1e-4 < audit["worst_written"] < 0.2 and audit["worst_error"] < WITHIN
    assert audit["audited_prompts"] == 32
    assert audit["coarse_same"] >= 16 and audit["refined_same"] >= 2
    assert prompts_of(place) != prompts_of(embedded)
