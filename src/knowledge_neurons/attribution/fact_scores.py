"""Stage 1: attribution scores of every prompt of a relation's facts."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from knowledge_neurons.attribution import adaptive, gradients, quadrature, quadrature_audit
from knowledge_neurons.attribution.adaptive import Adapted, Audited, Ladder
from knowledge_neurons.attribution.quadrature_audit import Record, Triplets
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons import refine
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.text.relations import full_name
from knowledge_neurons.types import Batch, Fact, Prompt, PromptScores

CALIBRATED = 16  # prompts
# With fewer prompts than this, calibrating costs more than it saves.
FEWEST_PROMPTS = 256
# The integral that a rule stands for, on checked facts: exact for polynomials of degree 19.
INTEGRAL = quadrature.rule("gauss-legendre", 10)
# Facts attributed together share batches; what an interruption loses is one group.  On a CPU about
# ten seconds of work: so many products a group, of facts as PARAREL has them.
CPU_GROUP_PRODUCTS, LARGEST_GROUP = 1e12, 8
PROMPTS, TOKENS, POINTS = 9, 10, 5  # of a fact, of a prompt, of a layer
GPU_GROUP = 128


@dataclass(frozen=True)
class Settings:
    """What to compute of a prompt, and how.

    rule: quadrature of the path.  tolerance: of a score, as a share of the prompt's largest; None
    evaluates all points of the rule.  keep: share of the largest score that a stored triplet
    reaches.
    of_answer, of_prediction: integrated gradients for the right and for the most probable token.
    baseline: activations.  probabilities: of the whole vocabulary.
    memory: bytes a batch may take, None: chosen from what is free.
    """

    rule: quadrature.Rule = field(default_factory=lambda: quadrature.rule("riemann-left", 20))
    tolerance: float | None = adaptive.TOLERANCE
    keep: float = refine.KEEP
    of_answer: bool = True
    of_prediction: bool = False
    baseline: bool = True
    probabilities: bool = False
    memory: int | None = None

    def __post_init__(self):
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep is {self.keep}: expected a share between 0 and 1")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance}: expected a share between 0 and 1")
        if self.memory is not None and self.memory < 1:
            raise ValueError(f"memory is {self.memory} bytes: expected at least 1")


@dataclass(frozen=True)
class Engine:
    """A model ready to score prompts.

    model: the one that scores.  reference: the same weights in full precision, for calibration and
    audit; the model itself where it has full precision.  ladder: how paths are integrated.
    """

    model: Network
    reference: Network
    tokenizer: Tokens
    settings: Settings
    ladder: Ladder

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def memory(self) -> int:
        return self.settings.memory or batching.memory_budget(self.device)

    @property
    def approximate(self) -> bool:
        """Whether scores may differ from full sums in full precision."""
        return bool(self.ladder.trust) or self.model is not self.reference

    def checked(self, encoded: Sequence[list[Prompt]], seed: int) -> set[int]:
        """Indices of the facts to check; none where there is nothing to find."""
        if not self.settings.of_answer:
            return set()
        return quadrature_audit.draw_checked([bool(prompts) for prompts in encoded], seed)

    def in_full(self) -> Engine:
        """The same, evaluating all points."""
        ladder = adaptive.exact_ladder(
            self.ladder.rule, self.model.shape.layers, self.ladder.tolerance
        )
        return replace(self, ladder=ladder)


@dataclass(frozen=True)
class ScoredFact:
    """The scores of a fact's prompts, and how they were integrated.

    record: what `quadrature_audit.review` wants to know: number of `prompts`; `points` evaluated,
    over prompts and layers; `accepted`: [layer, points of the accepted rule, largest indicator of
    the fact's prompts]; of a checked fact `audit`, None where scores are full sums anyway, and
    `integral`, both None for all other facts.
    """

    prompts: list[PromptScores]
    record: Record


# --- before ----------------------------------------------------------------------------------


def prepare(
    model: Network,
    tokenizer: Tokens,
    encoded: Sequence[list[Prompt]],
    settings: Settings,
    seed: int = 0,
    reference: Network | None = None,
) -> Engine:
    """Calibrate on some of the prompts that are to be scored; few prompts get all points anyway."""
    tolerance = settings.tolerance or adaptive.TOLERANCE
    whole = adaptive.exact_ladder(settings.rule, model.shape.layers, tolerance)
    engine = Engine(model, reference or model, tokenizer, settings, whole)
    prompts = [prompt for of_fact in encoded for prompt in of_fact]
    wanted = settings.of_answer or settings.of_prediction
    fewer = adaptive.rungs_of(settings.rule)
    if not (settings.tolerance and wanted and fewer and len(prompts) >= FEWEST_PROMPTS):
        return engine
    sample = random.Random(seed).sample(prompts, CALIBRATED)
    judged = []
    for batch in _batches(engine, sample):
        clean = passes.clean_pass(engine.reference, batch)
        of = Probability(batch.answers)
        judged.append(adaptive.judge(engine.reference, clean, of, settings.rule, engine.memory))
    ladder = adaptive.calibrate(judged, settings.rule, settings.tolerance)
    return replace(engine, ladder=ladder)


def group_size(model: Network, device: torch.device) -> int:
    """How many facts to attribute together."""
    if device.type == "cuda":
        return GPU_GROUP
    rows = PROMPTS * POINTS * model.shape.layers
    fact = rows * passes.path_products(model, TOKENS)
    return max(1, min(LARGEST_GROUP, round(CPU_GROUP_PRODUCTS / fact)))


# --- scoring ---------------------------------------------------------------------------------


def score_facts(
    engine: Engine,
    facts: Sequence[Fact],
    encoded: Sequence[list[Prompt]],
    checked: Collection[int] = (),
) -> Iterator[list[ScoredFact]]:
    """Attribute the facts' prompts, group by group of `group_size` facts, in data order.

    checked: indices of facts (their `index`) that are computed in full and as integrals too.
    """
    size = group_size(engine.model, engine.device)
    for start in range(0, len(facts), size):
        group = range(start, min(start + size, len(facts)))
        prompts = [prompt for place in group for prompt in encoded[place]]
        owners = [facts[place] for place in group for _ in encoded[place]]
        scored = iter(_score_prompts(engine, prompts, owners, checked))
        yield [_scored_fact([next(scored) for _ in encoded[place]]) for place in group]


@dataclass(frozen=True)
class _Scored:
    """One prompt: its scores, its row of an Adapted, and its check."""

    scores: PromptScores
    points: int
    rungs: np.ndarray
    indicators: np.ndarray
    check: _Check | None = None


@dataclass(frozen=True)
class _Check:
    """One prompt in full precision: the full sums' triplets, and the fewer points' errors.

    audited: None where scores are full sums anyway.  integral: the full sums beside the integral.
    """

    exact: Triplets
    audited: Audited | None
    integral: Record


def _score_prompts(
    engine: Engine, prompts: Sequence[Prompt], owners: Sequence[Fact], checked: Collection[int]
) -> list[_Scored]:
    """Scores of the prompts, in their order."""
    found: dict[int, _Scored] = {}
    for batch in _batches(engine, prompts):
        rows = [row for row, place in enumerate(batch.order) if owners[place].index in checked]
        for place, (predicted, values, rest) in zip(
            batch.order, _score_batch(engine, batch, rows), strict=True
        ):
            scores = PromptScores(
                tokens=engine.tokenizer.tokens(prompts[place].ids),
                answer=owners[place].answer,
                predicted=engine.tokenizer.tokens([predicted])[0],
                relation=full_name(owners[place].relation, owners[place].label),
                **values,
            )
            found[place] = _Scored(scores, **rest)
    return [found[place] for place in range(len(prompts))]


def _batches(engine: Engine, prompts: Sequence[Prompt]) -> Iterator[Batch]:
    """Equal-length batches on the engine's device; their rows get what the prompts leave."""
    points = len(engine.settings.rule.alphas)
    cost = partial(passes.prompt_bytes, engine.model, points=points)
    yield from batching.plan(prompts, engine.memory // 4, cost, engine.device)


def _score_batch(
    engine: Engine, batch: Batch, checked: list[int]
) -> Iterator[tuple[int, dict, dict]]:
    """For each prompt: the predicted token's id, the fields of PromptScores, those of _Scored."""
    settings, model = engine.settings, engine.model
    clean = passes.clean_pass(model, batch)
    integrate = partial(
        adaptive.adaptive_gradients, model, clean, ladder=engine.ladder, memory=engine.memory
    )
    dense: dict[str, Tensor] = {}  # (B, L, F) each
    adapted: list[Adapted] = []
    if settings.of_answer:
        adapted.append(integrate(Probability(batch.answers)))
        dense["of_answer"] = adapted[-1].scores
    if settings.of_prediction:
        adapted.append(integrate(Probability(clean.predicted)))
        dense["of_prediction"] = adapted[-1].scores
    if settings.baseline:
        dense["baseline"] = clean.activations
    if not all(torch.isfinite(scores).all() for scores in dense.values()):
        raise ValueError("the model gives scores that are not finite: are its weights damaged?")
    kept = {name: kept_triplets(scores, settings.keep) for name, scores in dense.items()}
    checks = _check(engine, batch, checked) if checked else {}
    likely = clean.probabilities.tolist() if settings.probabilities else None
    for row, predicted in enumerate(clean.predicted.tolist()):
        values = {name: triplets[row] for name, triplets in kept.items()}
        if likely:
            values["probabilities"] = likely[row]
        yield predicted, values, _how(adapted, row) | {"check": checks.get(row)}


def _how(adapted: list[Adapted], row: int) -> dict:
    """Points, rungs and indicators of a prompt, over all that was integrated for it."""
    none = np.zeros((0,), int)
    return {
        "points": int(sum(one.points[row].sum() for one in adapted)),
        "rungs": np.stack([one.rungs[row] for one in adapted]) if adapted else none,
        "indicators": np.stack([one.indicators[row] for one in adapted]) if adapted else none,
    }


def _check(engine: Engine, batch: Batch, rows: list[int]) -> dict[int, _Check]:
    """What rows of a batch come to in full, in full precision."""
    model, some = engine.reference, batching.select(batch, rows)
    clean, audited = passes.clean_pass(model, some), [None] * len(rows)
    of = Probability(some.answers)
    if engine.approximate:
        exact, audited = adaptive.audit(model, clean, of, engine.ladder, engine.memory)
    else:
        rule = engine.settings.rule
        exact = gradients.integrated_gradients(model, clean, of, rule, engine.memory)
    integral = gradients.integrated_gradients(model, clean, of, INTEGRAL, engine.memory)
    gaps = gradients.completeness_gap(model, clean, of, integral).amax(dim=1)
    errors = (exact - integral).abs().amax(dim=(1, 2)) / adaptive.largest_scores(integral)
    kept = [kept_triplets(scores, engine.settings.keep) for scores in (exact, integral)]
    compared = map(quadrature_audit.compare_integral, *kept, errors.tolist(), gaps.tolist())
    return {
        row: _Check(*check) for row, *check in zip(rows, kept[0], audited, compared, strict=True)
    }


def kept_triplets(scores: Tensor, keep: float) -> list[list[tuple[int, int, float]]]:
    """For each prompt the entries of (B, L, F) that reach keep times its largest.

    In (layer, index) order, as (layer, index, score); a prompt whose largest score is negative has
    none.  `tests/reference` holds the twin for one prompt.
    """
    flat = scores.flatten(1)
    chosen = flat >= keep * flat.amax(dim=1, keepdim=True)
    rows, places = chosen.nonzero(as_tuple=True)  # (N,) each, in order
    layers = torch.div(places, scores.shape[2], rounding_mode="floor")
    columns = layers.tolist(), (places % scores.shape[2]).tolist(), flat[rows, places].tolist()
    triplets = list(zip(*columns, strict=True))
    ends = chosen.sum(dim=1).cumsum(0).tolist()
    return [triplets[a:b] for a, b in zip([0, *ends], ends, strict=False)]


# --- after -----------------------------------------------------------------------------------


def _scored_fact(prompts: list[_Scored]) -> ScoredFact:
    accepted: dict[tuple[int, int], float] = {}
    for one in prompts:
        for rungs, indicators in zip(one.rungs, one.indicators, strict=True):
            for layer, (rung, seen) in enumerate(zip(rungs, indicators, strict=True)):
                key = (layer, int(rung))
                if seen > 0:
                    accepted[key] = max(accepted.get(key, 0.0), float(seen))
    checks = [one.check for one in prompts if one.check]
    audited = [check.audited for check in checks if check.audited]
    written, exact = [one.scores.of_answer for one in prompts], [check.exact for check in checks]
    record = {
        "prompts": len(prompts),
        "points": sum(one.points for one in prompts),
        "accepted": [[*key, seen] for key, seen in sorted(accepted.items())],
        "audit": quadrature_audit.compare(written, exact, audited) if audited else None,
        "integral": [check.integral for check in checks] or None,
    }
    return ScoredFact([one.scores for one in prompts], record)
