"""Stage 1: how few points will do for a model, and whether they do for a relation.

`calibrate` finds on some prompts of the data, whatever their relation, how many points each layer
tries first; it is done once for all relations.  `audit` is acceptance sampling: before a relation
is scored, a random sample of its prompts is computed both ways, and a layer in which a prompt is
off by more than the tolerance gets all points in that relation.

The sample also shows how far the full sums are from the integral that they stand for.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from torch import Tensor

from knowledge_neurons.attribution import adaptive, quadrature
from knowledge_neurons.attribution.adaptive import Scheme
from knowledge_neurons.attribution.fact_scores import Engine, batches
from knowledge_neurons.attribution.gradients import completeness_gap, integrated_gradients
from knowledge_neurons.attribution.triplets import check_finite, kept_triplets
from knowledge_neurons.networks.passes import clean_pass
from knowledge_neurons.neurons import refine
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import Tokens, encode_fact
from knowledge_neurons.types import Batch, Count, Prompt

CALIBRATED = 16  # prompts
PAYS = 64  # prompts, from which it is cheaper to calibrate first
# Of a relation's prompts 1 %, at least 16; of small relations 5 %, at least 4, for a prompt in full
# costs as much as seven or eight others.
AUDITED_SHARE, FEWEST_AUDITED, SMALL_SHARE, FEWEST_OF_SMALL = 0.01, 16, 0.05, 4
AT_ONCE = 128  # prompts audited together: a large relation's batches would take all the memory
# The integral that a rule stands for: exact for polynomials of degree 19.
INTEGRAL = quadrature.rule("gauss-legendre", 10)
FAR = 0.1  # of the largest score: half of what makes a neuron coarse


class Record(TypedDict):
    """What stage 1 keeps of each fact: points evaluated, over its prompts and layers."""

    prompts: Count
    points: Count


# --- calibration -----------------------------------------------------------------------------


def draw_sample(
    bags: Mapping[str, list], source: Path, tokenizer: Tokens, max_tokens: int, seed: int
) -> list[Prompt]:
    """A prompt of each of some facts, drawn from those of all relations that can be asked."""
    rng = random.Random(seed)
    places = [(name, bag) for name in sorted(bags) for bag in bags[name]]
    rng.shuffle(places)
    sample = []
    for name, bag in places:
        try:
            (fact,) = data.facts_of({name: [bag]}, name, source)
            prompts = encode_fact(fact, tokenizer, max_tokens, Counter())
        except ValueError:  # cannot be asked: a run of its own relation says why
            continue
        if prompts:
            sample.append(rng.choice(prompts))
        if len(sample) == CALIBRATED:
            break
    return sample


def evenly(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    """CALIBRATED of these prompts, spread evenly over them; none of fewer than pay for it."""
    return prompts[:: len(prompts) // CALIBRATED][:CALIBRATED] if len(prompts) >= PAYS else []


def calibrate(engine: Engine, sample: Sequence[Prompt]) -> Engine:
    """The engine with the numbers of points that cost least on the sample."""
    if engine.scheme.exact or not sample:
        return engine
    passes = [clean_pass(engine.reference, batch) for batch in batches(engine, sample)]
    rule, tolerance = engine.scheme.rule, engine.scheme.tolerance
    layers = engine.scheme.layers
    how = rule, tolerance, engine.memory, layers, engine.target
    scheme = adaptive.calibrate(engine.reference, passes, *how)
    return replace(engine, scheme=scheme)


def calibrated(engine: Engine, points: Sequence[int]) -> Engine:
    """The engine as a calibration left it; ValueError where these cannot be its points."""
    layers = len(engine.scheme.first)
    if len(points) != layers:
        raise ValueError(f"points for {len(points)} layers: the model has {layers}")
    if [layer for layer, tried in enumerate(points) if tried] != engine.scheme.layers:
        raise ValueError("points for other layers than are asked for")
    scheme = Scheme(engine.scheme.rule, engine.scheme.tolerance, tuple(points))
    return replace(engine, scheme=scheme)


# --- audit -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Audited:
    """One prompt both ways.

    errors: (L,) of fewer points.  worst: difference of any score as it will be written, which may
    be in fewer digits.  coarse_same: whether that gives the coarse neurons of the full sums.
    integral: (L,) distances of the full sums from it.  integral_same: whether it gives the same
    coarse neurons.  gap: its completeness gap, the largest of the layers, in probability.
    """

    errors: np.ndarray
    worst: float
    coarse_same: bool
    integral: np.ndarray
    integral_same: bool
    gap: float


def audit(
    engine: Engine, encoded: Sequence[list[Prompt]], seed: int
) -> tuple[Engine, dict[str, Any]]:
    """Compare a sample of a relation's prompts with full sums in full precision.

    encoded: the prompts of each fact.
    Returns the engine to score the relation with, in which layers that failed take all points, and
    what was found, for the manifest.
    """
    prompts = [prompt for of_fact in encoded for prompt in of_fact]
    count = audited_count(len(prompts)) if engine.settings.of_answer else 0
    sample = random.Random(seed).sample(prompts, count)
    parts = [sample[start : start + AT_ONCE] for start in range(0, count, AT_ONCE)]
    found = [
        one for part in parts for batch in batches(engine, part) for one in compare(engine, batch)
    ]
    scheme, layers = engine.scheme, len(engine.scheme.first)
    errors = np.array([one.errors for one in found]).reshape(len(found), layers)
    failed = [layer for layer in range(layers) if (errors[:, layer] > scheme.tolerance).any()]
    first = [len(scheme.rule.alphas) if i in failed else n for i, n in enumerate(scheme.first)]
    audited = found if engine.approximate else []
    record = {
        "tolerance": scheme.tolerance,
        "points_tried": first,
        "layers_failed": failed,
        **summary(audited, scheme.tolerance),
    }
    if found:
        record["integral"] = integral_summary(found)
    return replace(engine, scheme=replace(scheme, first=tuple(first))), record


def audited_count(prompts: int) -> int:
    """How many of a relation's prompts are audited."""
    fewest = min(FEWEST_AUDITED, max(FEWEST_OF_SMALL, round(SMALL_SHARE * prompts)))
    return min(prompts, max(fewest, round(AUDITED_SHARE * prompts)))


def compare(engine: Engine, batch: Batch) -> list[Audited]:
    """The prompts of a batch both ways, and their integrals."""
    model, scheme, memory = engine.reference, engine.scheme, engine.memory
    clean, of, layers = clean_pass(model, batch), engine.target(batch.answers), scheme.layers
    exact = integrated_gradients(model, clean, of, scheme.rule, memory, layers)  # (B, L, F)
    fewer = written = exact
    if not scheme.exact:
        fewer = written = adaptive.adaptive_gradients(model, clean, of, scheme, memory).scores
    if engine.model is not model:
        own = clean_pass(engine.model, batch)
        written = adaptive.adaptive_gradients(engine.model, own, of, scheme, memory).scores
    integral = integrated_gradients(model, clean, of, INTEGRAL, memory, layers)
    for scores in (exact, written, integral):
        check_finite(scores)
    largest = adaptive.largest_scores(exact)[:, None]
    whole = adaptive.largest_scores(integral)[:, None]
    rows = zip(
        ((fewer - exact).abs().amax(dim=2) / largest).cpu().numpy(),
        ((written - exact).abs().amax(dim=2) / largest).amax(dim=1).tolist(),
        _same_coarse(written, exact),
        ((exact - integral).abs().amax(dim=2) / whole).cpu().numpy(),
        _same_coarse(exact, integral),
        completeness_gap(model, clean, of, integral)[:, layers].amax(dim=1).tolist(),
        strict=True,
    )
    return [Audited(*row) for row in rows]


def _same_coarse(a: Tensor, b: Tensor) -> list[bool]:
    """For each prompt whether two kinds of scores (B, L, F) give the same coarse neurons."""
    t = refine.THRESHOLDS.coarse
    sets = ([{one[:2] for one in prompt} for prompt in kept_triplets(kind, t)] for kind in (a, b))
    return [one == other for one, other in zip(*sets, strict=True)]


def summary(audited: Sequence[Audited], tolerance: float) -> dict[str, Any]:
    """How many prompts were over the tolerance, and the worst errors."""
    errors = [float(one.errors.max()) for one in audited]
    return {
        "audited_prompts": len(audited),
        "over_tolerance": sum(error > tolerance for error in errors),
        "worst_error": max(errors, default=0.0),
        "worst_written": max((one.worst for one in audited), default=0.0),
        "coarse_same": sum(one.coarse_same for one in audited),
    }


def integral_summary(found: Sequence[Audited]) -> dict[str, Any]:
    """How far full sums are from the integral: errors and coarse_same as shares."""
    layers = np.array([one.integral for one in found])  # (prompts, L)
    errors = layers.max(axis=1)
    return {
        "prompts": len(found),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "largest": float(errors.max()),
        "coarse_same": float(np.mean([one.integral_same for one in found])),
        "completeness_gap": max(one.gap for one in found),
        "layers_far": np.flatnonzero(np.median(layers, axis=0) > FAR).tolist(),
    }
