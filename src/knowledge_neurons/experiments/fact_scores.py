"""Stage 1: attribution scores of every prompt of a relation's facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from custom_bert import Bert, BertConfig
from knowledge_neurons import adaptive, attribution, batching, quadrature, refine
from knowledge_neurons.adaptive import Scheme
from knowledge_neurons.batching import AnswerNotInVocabulary
from knowledge_neurons.tokenizer import Tokenizer
from knowledge_neurons.types import Batch, Fact, Prompt, PromptScores

# Facts attributed together share batches; what an interruption loses is one group.  On a CPU about
# ten seconds of work: so many products a group.
CPU_GROUP_PRODUCTS, LARGEST_GROUP = 1e12, 8
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

    model: Bert
    reference: Bert
    tokenizer: Tokenizer
    settings: Settings
    scheme: Scheme

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

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
    facts: Sequence[Fact], tokenizer: Tokenizer, max_tokens: int, skip_unknown: bool
) -> list[list[Prompt]]:
    """The tokenised prompts of each fact.

    skip_unknown: a fact whose answer the vocabulary lacks gets no prompts, so that facts keep their
    places; otherwise AnswerNotInVocabulary names the first such fact and counts them.
    """
    encoded: list[list[Prompt]] = []
    unknown: list[AnswerNotInVocabulary] = []
    for fact in facts:
        try:
            encoded.append(batching.encode_fact(fact, tokenizer, max_tokens))
        except AnswerNotInVocabulary as error:
            unknown.append(error)
            encoded.append([])
    if unknown and not skip_unknown:
        raise AnswerNotInVocabulary(
            f"{len(unknown)} of {len(facts)} facts cannot be asked, the first is {unknown[0]}.  "
            "Use --oov skip to leave such facts out"
        )
    return encoded


def prepare(
    model: Bert, tokenizer: Tokenizer, settings: Settings, reference: Bert | None = None
) -> Engine:
    """An engine that has seen no prompts: see `quadrature_audit.calibrate` for one that has."""
    rule, layers = settings.rule, len(model.layers)
    if settings.tolerance is None:
        scheme = adaptive.all_points(rule, layers)
    else:
        scheme = adaptive.uncalibrated(rule, layers, settings.tolerance)
    return Engine(model, reference or model, tokenizer, settings, scheme)


def group_size(config: BertConfig, device: torch.device) -> int:
    """How many facts to attribute together."""
    if device.type == "cuda":
        return GPU_GROUP
    layer = 4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size
    fact = 9 * 10 * 5 * 2 * layer * config.num_hidden_layers**2 / 2  # prompts, tokens, points
    return max(1, min(LARGEST_GROUP, round(CPU_GROUP_PRODUCTS / fact)))


# --- scoring ---------------------------------------------------------------------------------


def score_facts(
    engine: Engine, facts: Sequence[Fact], encoded: Sequence[list[Prompt]]
) -> Iterator[list[ScoredFact]]:
    """Attribute the facts' prompts, group by group of `group_size` facts, in data order."""
    size = group_size(engine.model.config, engine.device)
    for start in range(0, len(facts), size):
        group = range(start, min(start + size, len(facts)))
        prompts = [prompt for place in group for prompt in encoded[place]]
        owners = [facts[place] for place in group for _ in encoded[place]]
        scored = iter(_score_prompts(engine, prompts, owners))
        for_each = [[next(scored) for _ in encoded[place]] for place in group]
        yield [ScoredFact([s for s, _ in one], sum(n for _, n in one)) for one in for_each]


def _score_prompts(
    engine: Engine, prompts: Sequence[Prompt], owners: Sequence[Fact]
) -> list[tuple[PromptScores, int]]:
    """Scores of the prompts and points evaluated for them, in their order."""
    found: dict[int, tuple[PromptScores, int]] = {}
    for batch in batches(engine, prompts):
        for place, (predicted, values, points) in zip(
            batch.order, _score_batch(engine, batch), strict=True
        ):
            scores = PromptScores(
                tokens=engine.tokenizer.tokens(prompts[place].ids),
                answer=owners[place].answer,
                predicted=engine.tokenizer.tokens([predicted])[0],
                relation=f"{owners[place].relation}({owners[place].label})",
                **values,
            )
            found[place] = scores, points
    return [found[place] for place in range(len(prompts))]


def batches(engine: Engine, prompts: Sequence[Prompt]) -> Iterator[Batch]:
    """Equal-length batches on the engine's device; their rows get what the prompts leave."""
    points = len(engine.settings.rule.alphas)
    cost = partial(attribution.prompt_bytes, engine.model.config, points=points)
    for batch in batching.plan(prompts, engine.memory // 4, cost):
        yield batching.to_device(batch, engine.device)


def _score_batch(engine: Engine, batch: Batch) -> Iterator[tuple[int, dict, int]]:
    """For each prompt: the predicted token's id, the fields of PromptScores, points evaluated."""
    settings, model = engine.settings, engine.model
    clean = attribution.clean_pass(model, batch)
    dense: dict[str, Tensor] = {}  # (B, L, F) each
    points = torch.zeros(len(batch.order), dtype=torch.long)
    for name, wanted, tokens in (
        ("of_answer", settings.of_answer, batch.answers),
        ("of_prediction", settings.of_prediction, clean.predicted),
    ):
        if wanted:
            found = adaptive.adaptive_gradients(model, clean, tokens, engine.scheme, engine.memory)
            dense[name] = found.scores
            points += found.points.sum(dim=1)
    if settings.baseline:
        dense["baseline"] = clean.activations
    for scores in dense.values():
        check_finite(scores)
    kept = {name: kept_triplets(scores, settings.keep) for name, scores in dense.items()}
    likely = clean.probabilities.tolist() if settings.probabilities else None
    for row, predicted in enumerate(clean.predicted.tolist()):
        values = {name: triplets[row] for name, triplets in kept.items()}
        if likely:
            values["probabilities"] = likely[row]
        yield predicted, values, int(points[row])


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
