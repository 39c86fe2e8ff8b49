"""Whether scores from fewer points may be trusted: checked facts, the review, what to do again.

Stage 1 keeps a record beside the scores of every fact: how many points it took, which rules were
accepted at which indicator, and for checked facts the errors against full sums.  When all facts are
done, `review` reads the records: if the audit saw an error that an indicator had not announced, all
facts whose indicators are in doubt in its light are named, to be computed in full.  If it saw that
errors within the tolerance change neuron sets, as they do where many scores lie near a threshold,
all facts are.

Checked facts also show how far the full sums are from the integral that they stand for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import numpy as np
from msgspec import Meta

from knowledge_neurons.attribution import adaptive
from knowledge_neurons.attribution.adaptive import Audited, Ladder
from knowledge_neurons.neurons import refine
from knowledge_neurons.types import Count, Layer, Number

CHECKED_SHARE, FEWEST_CHECKED = 0.01, 4  # of the facts
SAME_SETS = 0.995  # share of prompts and of facts whose neurons must be those of the full sums

Triplets = list[tuple[int, int, float]]


class Audit(TypedDict):
    """What `compare` says of a fact."""

    prompts: Annotated[list[tuple[list[int], list[Number], list[Number]]], Meta(min_length=1)]
    worst: Number
    coarse_same: Count
    refined_same: bool


class Integral(TypedDict):
    """What `compare_integral` says of a prompt."""

    error: Number
    gap: Number
    coarse_same: bool


class Record(TypedDict):
    """What stage 1 keeps of each fact, see `fact_scores.ScoredFact`."""

    prompts: Count
    points: Count
    accepted: list[tuple[Layer, Count, Annotated[float, Meta(gt=0, le=1e30)]]]
    audit: Audit | None
    integral: list[Integral] | None


def draw_checked(has_prompts: Sequence[bool], seed: int) -> set[int]:
    """The facts to check, by index: a share of those that have prompts, drawn from the seed."""
    asked = [index for index, has in enumerate(has_prompts) if has]
    count = min(len(asked), max(FEWEST_CHECKED, round(CHECKED_SHARE * len(asked))))
    return set(random.Random(seed).sample(asked, count))


def compare(
    written: Sequence[Triplets], exact: Sequence[Triplets], audited: Sequence[Audited]
) -> Audit:
    """A fact's audit: the kept scores of each prompt as written, beside its full sums.

    Returns per prompt `rungs`, `indicators` and `errors` of its layers; `worst` difference of a
    score, as a share of the prompt's largest; how many prompts have the same coarse neurons, and
    whether the fact has the same refined ones (both at the paper's thresholds).
    """
    t = refine.THRESHOLDS
    coarse = [[set(refine.coarse(one, t.coarse)) for one in kind] for kind in (written, exact)]
    refined = [
        set(refine.refine_fact(refine.count_coarse(kind, t.coarse), t.shared, t.min_prompts))
        for kind in (written, exact)
    ]
    return {
        "prompts": [
            [one.rungs.tolist(), one.indicators.tolist(), one.errors.tolist()] for one in audited
        ],
        "worst": max(map(_largest_difference, written, exact)),
        "coarse_same": sum(a == b for a, b in zip(*coarse, strict=True)),
        "refined_same": refined[0] == refined[1],
    }


def compare_integral(exact: Triplets, integral: Triplets, error: float, gap: float) -> Integral:
    """A prompt's full sums beside the integral: kept scores of both.

    error: largest difference of any neuron, as a share of the prompt's largest integral.
    gap: the integral's completeness gap, the largest of the layers, in probability.
    """
    t = refine.THRESHOLDS.coarse
    same = set(refine.coarse(exact, t)) == set(refine.coarse(integral, t))
    return {"error": error, "gap": gap, "coarse_same": same}


def _largest_difference(written: Triplets, exact: Triplets) -> float:
    """The largest difference of a score that both kept, as a share of the largest score."""
    a, b = ({(layer, index): score for layer, index, score in kind} for kind in (written, exact))
    largest = max(b.values(), default=1.0)
    return max((abs(a[key] - b[key]) for key in a.keys() & b.keys()), default=0.0) / largest


@dataclass(frozen=True)
class Review:
    """What the records of a relation say.

    doubtful: facts to compute in full.  summary: for the manifest.
    """

    doubtful: list[int]
    summary: dict[str, Any]


def review(
    records: Sequence[Record], ladder: Ladder, layers: int, same_precision: bool = True
) -> Review:
    """Judge a relation by its facts' records, in data order.

    same_precision: False where products were taken in fewer digits than the full sums': then neuron
    sets may differ for that, and full sums in the same few digits would not mend it.
    """
    audits = [record["audit"] for record in records if record["audit"]]
    for index, record in enumerate(records):
        _check_lengths(index, record["audit"], layers)
    audited = [Audited(*map(np.asarray, one)) for audit in audits for one in audit["prompts"]]
    after = adaptive.distrust(ladder, audited)
    doubtful = [
        index
        for index, record in enumerate(records)
        if any(
            after.trust.get((layer, points), np.inf) * seen > ladder.tolerance
            for layer, points, seen in record["accepted"]
        )
    ]
    coarse, refined = (
        sum(audit[key] for audit in audits) for key in ("coarse_same", "refined_same")
    )
    differ = coarse < SAME_SETS * len(audited) or refined < SAME_SETS * len(audits)
    if differ and same_precision:
        doubtful = [index for index, record in enumerate(records) if record["accepted"]]
    errors = np.array([one.errors.max() for one in audited])
    prompts = sum(record["prompts"] for record in records)
    spent = sum(record["points"] for record in records)
    summary = {
        "tolerance": ladder.tolerance,
        "climbs": ladder.climbs,
        "points_per_layer": spent / (prompts * layers) if prompts else 0.0,
        "audited_facts": len(audits),
        "audited_prompts": len(audited),
        "over_tolerance": int((errors > ladder.tolerance).sum()),
        "worst_error": float(errors.max(initial=0.0)),
        "worst_written": max((audit["worst"] for audit in audits), default=0.0),
        "coarse_same": coarse,
        "refined_same": refined,
        "repaired_facts": doubtful,
    }
    of_integral = [prompt for record in records for prompt in record["integral"] or ()]
    if of_integral:
        summary["integral"] = _integral_summary(of_integral)
    return Review(doubtful, summary)


def _check_lengths(fact: int, audit: Audit | None, layers: int) -> None:
    """Raise ValueError for a record of a damaged file."""
    for prompt in audit["prompts"] if audit else ():
        if any(len(values) != layers for values in prompt):
            raise ValueError(
                f"the record of fact {fact}'s quadrature has another number of layers than the "
                f"model, {layers}: remove the relation's .partial files and run the stage again"
            )


def _integral_summary(prompts: Sequence[Integral]) -> dict[str, Any]:
    """What `compare_integral` said of the prompts, in one; errors and coarse_same as shares."""
    errors = np.array([prompt["error"] for prompt in prompts])
    return {
        "prompts": len(prompts),
        "median": float(np.median(errors)),
        "p95": float(np.quantile(errors, 0.95)),
        "largest": float(errors.max()),
        "coarse_same": float(np.mean([prompt["coarse_same"] for prompt in prompts])),
        "completeness_gap": max(prompt["gap"] for prompt in prompts),
    }
