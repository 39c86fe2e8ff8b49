"""Stage 1: attribution scores of every prompt of a relation's facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch

from custom_bert import Bert
from knowledge_neurons import attribution, batching, quadrature
from knowledge_neurons.batching import AnswerNotInVocabulary
from knowledge_neurons.refine import KEEP, triplets
from knowledge_neurons.tokenizer import Tokenizer
from knowledge_neurons.types import Batch, Fact, Prompt, PromptScores

# Facts attributed together.  With one, results come fact by fact and an interrupted run loses at
# most one fact's work; more would share batches, which pays where a fact alone is little work.
GROUP = 1
MEMORY = 1 << 30  # bytes that one batch may take


@dataclass(frozen=True)
class Settings:
    """What to compute of a prompt, and how.

    rule: quadrature of the path.  keep: share of the largest score that a stored triplet reaches.
    of_answer, of_prediction: integrated gradients for the right and for the most probable token.
    baseline: activations.  probabilities: of the whole vocabulary.
    """

    rule: quadrature.Rule = field(default_factory=lambda: quadrature.rule("riemann-left", 20))
    keep: float = KEEP
    of_answer: bool = True
    of_prediction: bool = False
    baseline: bool = True
    probabilities: bool = False

    def __post_init__(self):
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep is {self.keep}: expected a share between 0 and 1")


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


def score_facts(
    model: Bert,
    tokenizer: Tokenizer,
    facts: Sequence[Fact],
    encoded: Sequence[list[Prompt]],
    settings: Settings,
) -> Iterator[list[list[PromptScores]]]:
    """Attribute the facts' prompts, group by group of GROUP facts.

    Yields, for each group, a list per fact of the scores of each of its prompts, in data order.
    """
    for start in range(0, len(facts), GROUP):
        group = range(start, min(start + GROUP, len(facts)))
        prompts = [prompt for index in group for prompt in encoded[index]]
        owners = [facts[index] for index in group for _ in encoded[index]]
        scored = iter(_score_prompts(model, tokenizer, prompts, owners, settings))
        yield [[next(scored) for _ in encoded[index]] for index in group]


def _score_prompts(
    model: Bert,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    owners: Sequence[Fact],
    settings: Settings,
) -> list[PromptScores]:
    """Scores of the prompts, in their order."""
    cost = partial(attribution.bytes_per_prompt, model.config, points=len(settings.rule.alphas))
    device = next(model.parameters()).device
    scored: dict[int, PromptScores] = {}
    for batch in batching.plan(prompts, MEMORY, cost):
        rows = _score_batch(model, batching.to_device(batch, device), settings)
        for place, (predicted, values) in zip(batch.order, rows, strict=True):
            scored[place] = PromptScores(
                tokens=tokenizer.tokens(prompts[place].ids),
                answer=owners[place].answer,
                predicted=tokenizer.tokens([predicted])[0],
                relation=f"{owners[place].relation}({owners[place].label})",
                **values,
            )
    return [scored[place] for place in range(len(prompts))]


def _score_batch(model: Bert, batch: Batch, settings: Settings) -> Iterator[tuple[int, dict]]:
    """For each prompt of the batch: the predicted token's id, and what the settings ask for."""
    clean = attribution.clean_pass(model, batch)
    one_point = len(batch.answers) * attribution.bytes_per_prompt(
        model.config, batch.ids.shape[1], points=1
    )
    scores_of = partial(
        attribution.integrated_gradients,
        model,
        clean,
        rule=settings.rule,
        points_at_once=max(1, MEMORY // one_point),
    )
    dense: dict[str, torch.Tensor] = {}  # (B, L, F) each
    if settings.of_answer:
        dense["of_answer"] = scores_of(batch.answers)
    if settings.of_prediction:
        dense["of_prediction"] = scores_of(clean.predicted)
    if settings.baseline:
        dense["baseline"] = clean.activations
    arrays = {name: scores.cpu().numpy() for name, scores in dense.items()}
    if not all(np.isfinite(scores).all() for scores in arrays.values()):
        raise ValueError("the model gives scores that are not finite: are its weights damaged?")
    for row, predicted in enumerate(clean.predicted.tolist()):
        values = {name: triplets(scores[row], settings.keep) for name, scores in arrays.items()}
        if settings.probabilities:
            values["probabilities"] = clean.probabilities[row].tolist()
        yield predicted, values
