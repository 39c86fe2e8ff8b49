"""Stage 1: attribution scores of every prompt of a relation's facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from knowledge_neurons.attribution import adaptive, joint
from knowledge_neurons.attribution.adaptive import Scheme
from knowledge_neurons.attribution.dense import dense_scores
from knowledge_neurons.attribution.scorers import IG, ONE_BY_ONE
from knowledge_neurons.attribution.settings import EACH, JOINT, Settings, layers_of
from knowledge_neurons.attribution.target import TARGETS, Probability
from knowledge_neurons.attribution.triplets import check_finite, kept_triplets
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.passes import CleanPass
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.text.relations import full_name
from knowledge_neurons.types import Batch, Fact, Prompt, PromptScores

# Facts attributed together share batches; what an interruption loses is one group.  On a CPU about
# ten seconds of work: so many products a group, of facts as PARAREL has them.
CPU_GROUP_PRODUCTS, LARGEST_GROUP = 1e12, 8
PROMPTS, TOKENS, POINTS, GPU_GROUP = 9, 10, 5, 128  # of a fact, of a prompt, of a layer; facts


@dataclass(frozen=True)
class Engine:
    """A model ready to score prompts.

    model: the one that scores.  reference: the same weights in full precision, for calibration and
    audit; the model itself where it has full precision.  scheme: how paths are integrated, and, of
    any scorer, which layers are scored.
    """

    model: Network
    reference: Network
    tokenizer: Tokens
    settings: Settings
    scheme: Scheme

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def target(self) -> type[Probability]:
        """What scores are of, to be made of tokens (B,)."""
        return TARGETS[self.settings.target]

    @property
    def memory(self) -> int:
        assert self.settings.memory is not None, "`prepare` settles it"
        return self.settings.memory

    @property
    def approximate(self) -> bool:
        """Whether scores may differ from full sums in full precision."""
        return not self.scheme.exact or self.model is not self.reference


@dataclass(frozen=True)
class ScoredFact:
    """The scores of a fact's prompts, and how many points were evaluated over them and layers.

    Those of all noisy copies count; scorers other than ig have none.
    """

    prompts: list[PromptScores]
    points: int


# --- before ----------------------------------------------------------------------------------


def prepare(
    model: Network, tokenizer: Tokens, settings: Settings, reference: Network | None = None
) -> Engine:
    """An engine that has seen no prompts: see `quadrature_audit.calibrate` for one that has.

    What a batch may take is settled here, so that batches are the same wherever prompts are scored.
    """
    memory = settings.memory or batching.memory_budget(model.device)
    settings = replace(settings, memory=memory)
    rule, layers = settings.rule, model.shape.layers
    if settings.tolerance is None or settings.scorer != IG:
        scheme = adaptive.all_points(rule, layers)
    else:
        scheme = adaptive.uncalibrated(rule, layers, settings.tolerance)
    scheme = adaptive.within(scheme, layers_of(model, settings.layers))
    return Engine(model, reference or model, tokenizer, settings, scheme)


def group_size(model: Network, device: torch.device, scorer: str = IG) -> int:
    """How many facts to attribute together; one of scorers that go neuron by neuron."""
    if scorer in ONE_BY_ONE:
        return 1
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
    size = group_size(engine.model, engine.device, engine.settings.scorer)
    for start in range(0, len(facts), size):
        group = range(start, min(start + size, len(facts)))
        asked = [_asked(encoded[place], engine.settings.answers) for place in group]
        prompts = [prompt for own in asked for prompt, _ in own]
        scored = iter(_score_prompts(engine, prompts))
        yield [
            _scored_fact(engine, facts[place], own, [next(scored) for _ in own])
            for place, own in zip(group, asked, strict=True)
        ]


def _asked(prompts: Sequence[Prompt], answers: str) -> list[tuple[Prompt, int]]:
    """What is scored of a fact: prompts, and which token of the answer each asks for."""
    if answers != EACH:
        return [(prompt, 0) for prompt in prompts]
    return [
        pair for p in prompts for pair in zip((p, *p.later), range(len(p.answers)), strict=True)
    ]


def _scored_fact(
    engine: Engine, fact: Fact, asked: Sequence[tuple[Prompt, int]], scored: Sequence[_Scored]
) -> ScoredFact:
    """The scores of one fact's prompts, with what is said of them beside."""
    told = engine.tokenizer.tokens
    prompts = [
        PromptScores(
            tokens=told(prompt.ids),
            answer=fact.answer,
            predicted=told([one.predicted])[0],
            relation=full_name(fact.relation, fact.label),
            answer_token=token,
            **one.values,
        )
        for (prompt, token), one in zip(asked, scored, strict=True)
    ]
    return ScoredFact(prompts, sum(one.points for one in scored))


class _Scored(NamedTuple):
    """A prompt: the predicted token's id, the scores and more of PromptScores, points evaluated."""

    predicted: int
    values: dict[str, Any]
    points: int


def _score_prompts(engine: Engine, prompts: Sequence[Prompt]) -> list[_Scored]:
    """Scores of the prompts, in their order."""
    together = engine.settings.answers == JOINT
    several = [place for place, prompt in enumerate(prompts) if together and prompt.later]
    single = [place for place in range(len(prompts)) if place not in set(several)]
    found: dict[int, _Scored] = {}
    planned = list(batches(engine, [prompts[place] for place in single]))
    for clean, dense, points in dense_scores(engine, planned):
        places = (single[row] for row in clean.batch.order)
        found.update(zip(places, _scored(engine, clean, dense, points), strict=True))
    for group in joint.group([prompts[place] for place in several]):
        places = [several[row] for row in group]
        scored = _score_jointly(engine, [prompts[place] for place in places])
        found.update(zip(places, scored, strict=True))
    return [found[place] for place in range(len(prompts))]


def _score_jointly(engine: Engine, prompts: Sequence[Prompt]) -> list[_Scored]:
    """Prompts of one `joint.group`: all points, for the probability of the whole answer.

    The baseline is the activations at the first position.
    """
    settings, layers = engine.settings, engine.scheme.layers
    clean = joint.joint_pass(engine.model, prompts)
    dense: dict[str, Tensor] = {}
    if settings.of_answer:
        memory = engine.memory
        scores = joint.joint_gradients(engine.model, clean, settings.rule, memory, layers)
        dense["of_answer"] = joint.AGGREGATES[settings.aggregate](scores)
    if settings.baseline:
        dense["baseline"] = clean.activations[:, 0]
    kept = _kept(engine, dense)
    points = len(settings.rule.alphas) * len(layers) * bool(settings.of_answer)
    return [
        _Scored(predicted, {name: triplets[row] for name, triplets in kept.items()}, points)
        for row, predicted in enumerate(clean.predicted.tolist())
    ]


def _kept(engine: Engine, dense: dict[str, Tensor]) -> dict[str, list]:
    """Of each kind of scores (B, L, F) those that are stored, in the layers that are scored."""
    layers = engine.scheme.layers
    for scores in dense.values():
        check_finite(scores)
    return {
        name: kept_triplets(scores[:, layers], engine.settings.keep, layers[0])
        for name, scores in dense.items()
    }


def batches(engine: Engine, prompts: Sequence[Prompt]) -> Iterator[Batch]:
    """Equal-length batches on the engine's device; their rows get what the prompts leave."""
    points = len(engine.settings.rule.alphas)
    cost = partial(passes.prompt_bytes, engine.model, points=points)
    yield from batching.plan(prompts, engine.memory // 4, cost, engine.device)


def _scored(
    engine: Engine, clean: CleanPass, dense: dict[str, Tensor], points: Tensor
) -> Iterator[_Scored]:
    """Each prompt of a batch, in its order."""
    kept = _kept(engine, dense)
    likely = clean.probabilities.tolist() if engine.settings.probabilities else None
    for row, predicted in enumerate(clean.predicted.tolist()):
        values: dict[str, Any] = {name: triplets[row] for name, triplets in kept.items()}
        if likely:
            values["probabilities"] = likely[row]
        yield _Scored(predicted, values, int(points[row]))
