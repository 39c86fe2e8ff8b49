"""Stage 1: attribution scores of every prompt of a relation's facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from knowledge_neurons.attribution import adaptive, quadrature
from knowledge_neurons.attribution.adaptive import Scheme
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons import refine
from knowledge_neurons.text.encoding import AnswerNotInVocabulary, encode_fact
from knowledge_neurons.text.relations import full_name
from knowledge_neurons.text.tokenizer import Tokenizer
from knowledge_neurons.types import Batch, Fact, Prompt, PromptScores

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
    audit; the model itself where it has full precision.  scheme: how paths are integrated.
    """

    model: Network
    reference: Network
    tokenizer: Tokenizer
    settings: Settings
    scheme: Scheme

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def memory(self) -> int:
        return self.settings.memory or batching.memory_budget(self.device)

    @property
    def approximate(self) -> bool:
        """Whether scores may differ from full sums in full precision."""
        return not self.scheme.exact or self.model is not self.reference


@dataclass(frozen=True)
class ScoredFact:
    """The scores of a fact's prompts, and how many points were evaluated over them and layers."""

    prompts: list[PromptScores]
    points: int


# --- before ----------------------------------------------------------------------------------


def encode_facts(
    facts: Sequence[Fact],
    tokenizer: Tokenizer,
    max_tokens: int,
    skip_unknown: bool,
    source: str | Path = "the prompts",
) -> list[list[Prompt]]:
    """The tokenised prompts of each fact.

    skip_unknown: a fact whose answer the vocabulary lacks gets no prompts, so that facts keep their
    places; otherwise AnswerNotInVocabulary names the first such fact and counts them.
    source: the file that the facts were read from, for messages.
    """
    encoded: list[list[Prompt]] = []
    unknown: list[AnswerNotInVocabulary] = []
    for fact in facts:
        try:
            encoded.append(encode_fact(fact, tokenizer, max_tokens))
        except AnswerNotInVocabulary as error:
            unknown.append(error)
            encoded.append([])
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
    if unknown and not skip_unknown:
        raise AnswerNotInVocabulary(
            f"{source}: {len(unknown)} of {len(facts)} facts cannot be asked, the first is "
            f"{unknown[0]}.  "
            "Use --oov skip to leave such facts out"
        )
    return encoded


def prepare(
    model: Network, tokenizer: Tokenizer, settings: Settings, reference: Network | None = None
) -> Engine:
    """An engine that has seen no prompts: see `quadrature_audit.calibrate` for one that has."""
    rule, layers = settings.rule, model.shape.layers
    if settings.tolerance is None:
        scheme = adaptive.all_points(rule, layers)
    else:
        scheme = adaptive.uncalibrated(rule, layers, settings.tolerance)
    return Engine(model, reference or model, tokenizer, settings, scheme)


def group_size(model: Network, device: torch.device) -> int:
    """How many facts to attribute together."""
    if device.type == "cuda":
        return GPU_GROUP
    rows = PROMPTS * POINTS * model.shape.layers
    fact = rows * passes.path_products(model, TOKENS)
    return max(1, min(LARGEST_GROUP, round(CPU_GROUP_PRODUCTS / fact)))


# --- scoring ---------------------------------------------------------------------------------


def score_facts(
    engine: Engine, facts: Sequence[Fact], encoded: Sequence[list[Prompt]]
) -> Iterator[list[ScoredFact]]:
    """Attribute the facts' prompts, group by group of `group_size` facts, in data order."""
    size = group_size(engine.model, engine.device)
    for start in range(0, len(facts), size):
        group = range(start, min(start + size, len(facts)))
        prompts = [prompt for place in group for prompt in encoded[place]]
        owners = [facts[place] for place in group for _ in encoded[place]]
        scored = iter(_score_prompts(engine, prompts, owners))
        for_each = [[next(scored) for _ in encoded[place]] for place in group]
        yield [ScoredFact([s for s, _ in one], sum(n for _, n in one)) for one in for_each]


class _Scored(NamedTuple):
    """A prompt: the predicted token's id, the scores and more of PromptScores, points evaluated."""

    predicted: int
    values: dict[str, Any]
    points: int


def _score_prompts(
    engine: Engine, prompts: Sequence[Prompt], owners: Sequence[Fact]
) -> list[tuple[PromptScores, int]]:
    """Scores of the prompts and points evaluated for them, in their order."""
    found: dict[int, tuple[PromptScores, int]] = {}
    for batch in batches(engine, prompts):
        for place, scored in zip(batch.order, _score_batch(engine, batch), strict=True):
            owner = owners[place]
            scores = PromptScores(
                tokens=engine.tokenizer.tokens(prompts[place].ids),
                answer=owner.answer,
                predicted=engine.tokenizer.tokens([scored.predicted])[0],
                relation=full_name(owner.relation, owner.label),
                **scored.values,
            )
            found[place] = scores, scored.points
    return [found[place] for place in range(len(prompts))]


def batches(engine: Engine, prompts: Sequence[Prompt]) -> Iterator[Batch]:
    """Equal-length batches on the engine's device; their rows get what the prompts leave."""
    points = len(engine.settings.rule.alphas)
    cost = partial(passes.prompt_bytes, engine.model, points=points)
    yield from batching.plan(prompts, engine.memory // 4, cost, engine.device)


def _score_batch(engine: Engine, batch: Batch) -> Iterator[_Scored]:
    """Each prompt of a batch, in its order."""
    settings, model = engine.settings, engine.model
    clean = passes.clean_pass(model, batch)
    dense: dict[str, Tensor] = {}  # (B, L, F) each
    points = torch.zeros(len(batch.order), dtype=torch.long)
    for name, wanted, tokens in (
        ("of_answer", settings.of_answer, batch.answers),
        ("of_prediction", settings.of_prediction, clean.predicted),
    ):
        if wanted:
            of = Probability(tokens)
            found = adaptive.adaptive_gradients(model, clean, of, engine.scheme, engine.memory)
            dense[name] = found.scores
            points += found.points.sum(dim=1)
    if settings.baseline:
        dense["baseline"] = clean.activations
    for scores in dense.values():
        check_finite(scores)
    kept = {name: kept_triplets(scores, settings.keep) for name, scores in dense.items()}
    likely = clean.probabilities.tolist() if settings.probabilities else None
    for row, predicted in enumerate(clean.predicted.tolist()):
        values: dict[str, Any] = {name: triplets[row] for name, triplets in kept.items()}
        if likely:
            values["probabilities"] = likely[row]
        yield _Scored(predicted, values, int(points[row]))


def check_finite(scores: Tensor) -> None:
    """Raise ValueError for infinite scores and those that are no numbers."""
    if not torch.isfinite(scores).all():
        raise ValueError("the model gives scores that are not finite: are its weights damaged?")


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
