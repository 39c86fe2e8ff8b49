"""Stage 1 with fewer points, on the embedded model: the same neurons, a calibration, an audit.

Run: pytest tests/integration/test_adaptive_stage.py
"""

import json
import random
import statistics
from dataclasses import replace

import pytest

from knowledge_neurons import ROOT
from knowledge_neurons.attribution import adaptive, gradients, quadrature
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import batching, checkpoints, passes
from knowledge_neurons.neurons import refine
from knowledge_neurons.results.layout import Results
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact
from tests.integration.stages import Place, fine, refused

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


def refined_of(place: Place) -> list[list]:
    """The refined neurons of each fact at the paper's thresholds."""
    t, found = refine.THRESHOLDS, []
    for line in place.lines(RELATION):
        counts = refine.count_coarse((result["ig_gold"] for _, result in line), t.coarse)
        found.append(refine.refine_fact(counts, t.shared, t.min_prompts))
    return found


def test_scores_are_within_the_tolerance_and_neurons_identical(embedded):
    """Every stored score of every prompt; the baseline byte for byte; the neurons of every fact.

    A prompt's coarse ones differ in a neuron whose score is the threshold within the tolerance.
    """
    assert refined_of(embedded) == refined_of(exact_of(embedded))
    others = 0
    for fewer, exact in zip(prompts_of(embedded), prompts_of(exact_of(embedded)), strict=True):
        assert fewer["base"] == exact["base"]
        expected = {(layer, i): score for layer, i, score in exact["ig_gold"]}
        largest = max(expected.values())
        for layer, i, score in fewer["ig_gold"]:
            # What is not there lies below 0.1 of the largest, by at most the tolerance.
            assert abs(score - expected.get((layer, i), 0.1 * largest)) <= WITHIN * largest
        one, other = (set(refine.coarse(kind["ig_gold"], 0.2)) for kind in (fewer, exact))
        for neuron in one ^ other:
            assert abs(expected[neuron] / largest - 0.2) <= 2 * WITHIN
        others += one != other
    assert others <= 1, "of 336 prompts"


def test_manifest_says_how_paths_were_integrated(embedded):
    """Points and audit; an exact run has all points and nothing to audit."""
    made = embedded.scores_manifest(RELATION)
    audit = made["quadrature"]
    assert made["identity"]["tolerance"] == audit["tolerance"] == WITHIN
    assert len(audit["points_tried"]) == 4 and max(audit["points_tried"]) < 20
    assert 3 <= audit["points_per_layer"] <= 6
    assert audit["audited_prompts"] == audit["coarse_same"] == 16
    assert audit["over_tolerance"] == 0 and audit["worst_error"] < WITHIN
    assert audit["share_over_at_most"] == pytest.approx(1 - 0.05 ** (1 / 16))
    assert audit["layers_failed"] == []
    exact = exact_of(embedded).scores_manifest(RELATION)
    assert exact["identity"]["tolerance"] is None
    assert exact["quadrature"]["points_per_layer"] == 20
    assert exact["quadrature"]["audited_prompts"] == 0


def test_manifest_says_how_far_the_sum_is_from_the_integral(embedded):
    """Both runs compare full sums; 20 points of Gauss-Legendre, prompt by prompt, say the same."""
    integral = embedded.scores_manifest(RELATION)["quadrature"]["integral"]
    assert integral["prompts"] == 16 and integral["completeness_gap"] < 1e-5
    of_exact = exact_of(embedded).scores_manifest(RELATION)["quadrature"]["integral"]
    assert of_exact.pop("layers_far") == integral.pop("layers_far") == []
    assert of_exact == pytest.approx(integral, rel=1e-3)
    pretrained = checkpoints.from_pretrained(embedded.model)
    facts = data.facts_of(data.read_bags(embedded.data), RELATION, embedded.data)
    encoded = [encode_fact(fact, pretrained.tokenizer, 128) for fact in facts]
    sample = random.Random(42).sample([prompt for fact in encoded for prompt in fact], 16)
    errors = [distance(pretrained.model, prompt) for prompt in sample]
    assert integral["median"] == pytest.approx(statistics.median(errors), rel=1e-3)
    assert integral["largest"] == pytest.approx(max(errors), rel=1e-3) and max(errors) > 0.01


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
    """A line per fact: its prompts, and the points that the manifest has the mean of."""
    path = Results(embedded.results).quadrature(RELATION)
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(records) == FACTS and {record["prompts"] for record in records} == {8}
    mean = sum(record["points"] for record in records) / (FACTS * 8 * 4)
    assert embedded.scores_manifest(RELATION)["quadrature"]["points_per_layer"] == mean


def test_one_calibration_serves_all_relations(embedded, tmp_path):
    """It depends on no relation: another one first, in another folder, leaves the same file."""
    path = Results(embedded.results).calibration
    kept = json.loads(path.read_bytes())
    audit = embedded.scores_manifest(RELATION)["quadrature"]
    assert kept["points_tried"] == audit["points_tried"] and kept["prompts"] == 16
    other = replace(embedded, results=tmp_path / "other")
    fine(other.score("P19", "--max_facts", 1))
    again = Results(other.results).calibration
    assert again.read_bytes() == path.read_bytes()
    again.write_text(json.dumps(kept | {"points_tried": [10, 20, 10, 10]}))
    fine(other.score("P30", "--max_facts", 1))
    assert other.scores_manifest("P30")["quadrature"]["points_tried"] == [10, 20, 10, 10]
    fine(replace(other, results=tmp_path / "exact").score("P30", "--max_facts", 1, "--exact"))
    assert not Results(tmp_path / "exact").calibration.exists()


def test_a_calibration_for_other_things_is_made_anew(embedded, tmp_path):
    """Of another tolerance: fewer points would not do."""
    place = replace(embedded, results=tmp_path / "loose")
    fine(place.score("P30", "--max_facts", 1, "--tolerance", 0.5))
    path = Results(place.results).calibration
    loose = json.loads(path.read_bytes())
    assert loose["identity"]["tolerance"] == 0.5 and loose["points_tried"] == [3] * 4
    fine(place.score("P19", "--max_facts", 1))
    expected = Results(embedded.results).calibration.read_bytes()
    assert path.read_bytes() == expected


@pytest.mark.parametrize("kept", [[3, 3, 3], [3, 3, 3, 99], [3, 3, 3, "x"], None])
def test_a_calibration_that_cannot_be_is_refused(embedded, tmp_path, kept):
    """Edited by hand; one that is no JSON too."""
    path = Results(tmp_path).calibration
    good = json.loads(Results(embedded.results).calibration.read_bytes())
    path.write_text(json.dumps(good | {"points_tried": kept}) if kept else "{")
    ended = replace(embedded, results=tmp_path).score(RELATION, "--max_facts", 1)
    refused(ended, path, "emove the file" if kept else "not valid JSON")


def test_other_tolerances_are_other_results(embedded):
    """What was computed within 1e-3 is not gone on with at 1e-2, nor with all points."""
    for flags in (("--tolerance", 1e-2), ("--exact",)):
        ended = embedded.score(RELATION, *flags)
        assert ended.code == 2 and "tolerance is 0.001 there" in ended.err


def test_a_layer_that_misses_the_tolerance_takes_all_points(embedded, tmp_path, monkeypatch):
    """Three points and an indicator that sees nothing; the audit does, and scores come right."""
    monkeypatch.setattr(adaptive, "indicator", lambda sizes: 0 * sizes[:, 0])
    place = replace(embedded, results=tmp_path)
    kept = json.loads(Results(embedded.results).calibration.read_bytes())
    blind = Results(tmp_path).calibration
    blind.write_text(json.dumps(kept | {"points_tried": [3] * 4}))
    ended = fine(place.score(RELATION))
    audit = place.scores_manifest(RELATION)["quadrature"]
    assert audit["over_tolerance"] > 0 and audit["worst_error"] > WITHIN
    failed = audit["layers_failed"]
    assert failed and f"layers that failed and get all points: {failed}" in ended.out
    assert [n for n, tried in enumerate(audit["points_tried"]) if tried == 20] == failed
    for one, exact in zip(prompts_of(place), prompts_of(exact_of(embedded)), strict=True):
        expected = {(layer, i): score for layer, i, score in exact["ig_gold"]}
        largest = max(expected.values())
        for layer, i, score in one["ig_gold"]:
            if layer in failed and (layer, i) in expected:
                assert abs(score - expected[layer, i]) < 1e-5 * largest


def test_bfloat16_products_agree_with_float32(embedded, tmp_path):
    """The manifest has the measured agreement, and the scores are near, not equal."""
    place = replace(embedded, results=tmp_path / "bf16")
    fine(place.score(RELATION, "--dtype", "bfloat16"))
    audit = place.scores_manifest(RELATION)["quadrature"]
    assert place.identity(RELATION)["dtype"] == "bfloat16"
    assert 1e-4 < audit["worst_written"] < 0.2 and audit["worst_error"] < WITHIN
    assert audit["audited_prompts"] == 16 and audit["coarse_same"] >= 8
    assert prompts_of(place) != prompts_of(embedded)
