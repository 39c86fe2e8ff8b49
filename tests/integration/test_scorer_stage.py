"""Stage 1 with --scorer and --smooth, and what follows on its scores.

Run: pytest tests/integration/test_scorer_stage.py
"""

from dataclasses import replace

import pytest

from knowledge_neurons.attribution.scorers import IG, SCORERS
from knowledge_neurons.networks import batching, checkpoints, passes
from knowledge_neurons.report import page
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import write_manifest
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import encode_fact
from tests.integration.stages import STAGE_1, STAGE_2, Place, fine, refused
from tests.reference import refine
from tests.reference.tiny import TINY

CLOSE = 1e-5  # of the largest score


def prompts_of(place: Place, relation: str) -> list:
    """The model, and prompts in data order as tokens."""
    pretrained = checkpoints.from_pretrained(place.model)
    facts = data.facts_of(data.read_bags(place.data), relation, place.data)
    encoded = [encode_fact(fact, pretrained.tokenizer, 128) for fact in facts]
    return [pretrained.model, [one for own in encoded for one in own]]


@pytest.mark.parametrize("scorer", [name for name in SCORERS if name != IG])
def test_what_is_stored_is_the_scorers(place, scorer):
    """Prompt by prompt, the same triplets; the manifest names the scorer in place of the rule."""
    ended = fine(place.score("P36", "--scorer", scorer))
    assert f"{scorer}, float32" in ended.out and "audit" not in ended.out
    model, prompts = prompts_of(place, "P36")
    results = [result for line in place.lines("P36") for _, result in line]
    for prompt, result in zip(prompts, results, strict=True):
        clean = passes.clean_pass(model, batching.collate([prompt], [0]))
        (scores,) = SCORERS[scorer](model, clean, clean.batch.answers, 1 << 24)
        expected = refine.triplets(scores.tolist(), 0.1)
        assert [row[:2] for row in result["ig_gold"]] == [[n, i] for n, i, _ in expected]
        errors = [abs(a[2] - b[2]) for a, b in zip(result["ig_gold"], expected, strict=True)]
        assert max(errors) < CLOSE * scores.abs().max().item()
    identity = place.identity("P36")
    assert identity["scorer"] == scorer and not {"rule", "steps", "tolerance"} & identity.keys()
    assert "quadrature" not in place.scores_manifest("P36")
    assert not list(place.results.glob("*quadrature*")) + list(place.results.glob("*calibration*"))


def test_what_neurons_cost_one_by_one_is_said_before(place):
    """Neurons of the layers scored, times prompts, tokens and copies."""
    flags = ("--scorer", "zero-out", "--max_facts", 1, "--layers", "1-2", "--get_ig_pred")
    ended = fine(place.score("P36", *flags, "--smooth", 2))
    F = TINY.intermediate_size
    said = f"2 x {F} neurons x 4 prompts x 2 tokens x 2 copies: {2 * F * 4 * 2 * 2:,} times"
    assert said in ended.out
    layers = {row[0] for line in place.lines("P36") for _, r in line for row in r["ig_pred"]}
    assert layers <= {1, 2} and layers


def test_smoothed_scores_say_so(scored, place):
    """On the screen and in the manifest; activations and predictions are the model's own."""
    ended = fine(place.score("P36", "--smooth", 3, "--noise", 0.1))
    assert "weights x N(1, 0.1^2), 3 copies" in ended.out and "points a layer and copy" in ended.out
    assert place.identity("P36")["smoothing"] == "weights x N(1, 0.1^2), 3 copies"
    quadrature = place.scores_manifest("P36")["quadrature"]
    assert 3 <= quadrature["points_per_layer"] <= 20 and quadrature["audited_prompts"] == 4
    for line, plain in zip(place.lines("P36"), scored[0].lines("P36"), strict=True):
        for (info, result), (own, as_it_is) in zip(line, plain, strict=True):
            assert info == own and result["base"] == as_it_is["base"]
            assert result["ig_gold"] != as_it_is["ig_gold"]
    assert not {"smoothing", "scorer", "target"} & scored[0].identity("P36").keys()
    refused(place.score("P36"), "smoothing is 'weights x N(1, 0.1^2), 3 copies' there and None now")


@pytest.mark.parametrize(
    "flags", [("--smooth", 2), ("--smooth", 2, "--noise_on", "embeddings", "--scorer", "logit")]
)
def test_resumed_equals_uninterrupted(place, flags):
    """Cut after its first group and in the middle of the next: the same bytes."""
    fine(place.score("P19", *flags))
    path = place.scores("P19")
    whole, rows = path.read_bytes(), path.read_bytes().splitlines(keepends=True)
    path.with_name(f"{path.name}.partial").write_bytes(b"".join(rows[:11]))
    path.unlink()
    for beside in place.results.glob("*.quadrature.jsonl"):
        beside.rename(beside.with_name(f"{beside.name}.partial"))
    write_manifest(path, place.identity("P19"), complete=False)
    fine(place.score("P19", *flags))
    assert path.read_bytes() == whole
    assert place.scores_manifest("P19")["facts_resumed"] == 8


def test_what_follows_takes_such_scores(own):
    """Neurons and a report, which says whose scores they are and that nothing was to be audited;
    scores of two kinds are not refined together."""
    other = replace(own, results=own.results.with_name("other"))
    for relation in ("P19", "P36"):
        fine(other.score(relation, "--scorer", "gradient-activation", "--smooth", 2))
    fine(other.here(STAGE_2))
    report = page.render(Results(other.results))
    for part in (
        "gradient-activation, weights x N(1, 0.05^2), 2 copies",
        "Scores of gradient-activation are no sums over a path",
        "stage 1 has scorer gradient-activation, the paper ig",
    ):
        assert part in report
    assert "has rule None" not in report
    own.scores("P36").unlink()
    for path in (other.scores("P36"), *other.results.glob("manifests/*P36*")):
        path.rename(own.results / path.relative_to(other.results))
    ended = own.here(STAGE_2)
    refused(ended, "scorer is 'gradient-activation' and 'ig'", "do not belong together")


@pytest.mark.parametrize(
    "flags, parts",
    [
        (("--noise", 0.1), ("--noise needs --smooth",)),
        (("--noise_on", "weights"), ("--noise_on needs --smooth",)),
        (("--smooth", 2, "--noise", 2), ("--noise: '2'", "at most 1")),
        (("--smooth", 2, "--answers", "joint"), ("'joint'", "noisy copies")),
        (("--scorer", "logit", "--answers", "joint"), ("'joint'", "scored by ig")),
        (("--scorer", "logit", "--rule", "riemann-left"), ("--rule is of --scorer ig",)),
        (("--scorer", "logit", "--steps", 20), ("--steps is of --scorer ig",)),
        (("--scorer", "logit", "--tolerance", 0.001), ("--tolerance is of --scorer ig",)),
        (("--scorer", "logit", "--target", "probability"), ("--target is of --scorer ig",)),
        (("--scorer", "logit", "--exact"), ("--exact is of --scorer ig",)),
        (("--scorer", "logit", "--num_batch", 2), ("--num_batch is of --scorer ig",)),
    ],
)
def test_what_does_not_go_together_is_one_line(place, flags, parts):
    """Before anything is opened."""
    refused(place.score("P36", "--bert_model", "nowhere", *flags), *parts)
    assert not place.results.exists()


def test_flags_of_scores_without_scores(place):
    ended = place.here(STAGE_1, "--pt_relation", "P36", "--get_base", "--smooth", 2)
    refused(ended, "--smooth and --scorer are of scores", "--get_ig_gold")
