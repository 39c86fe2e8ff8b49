"""The pieces of work that a trial times, each a call of what a stage calls, without its files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from knowledge_neurons.attribution import adaptive, fact_scores
from knowledge_neurons.attribution.settings import Settings
from knowledge_neurons.experiments import distant_activation, modify_activation
from knowledge_neurons.networks import shapes
from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.planning.work import edited_layer
from knowledge_neurons.results.changes import AMPLIFY, OWN, SUPPRESS
from knowledge_neurons.types import KINDS, Fact, Neuron, Prompt

Timed = Callable[[], object]
Facts = list[tuple[Fact, list[Prompt]]]
FACTORS = (SUPPRESS, AMPLIFY)
EDITS = len(KINDS) * len(FACTORS)  # of a prompt, in `editing`
HASHED, SIDE, WARM = 1 << 24, 768, 0.05  # bytes; of a large product, and seconds of such products


class _NoWords:
    """In place of a tokenizer that need not be there."""

    def tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(number) for number in ids]


def scoring(model: Network, facts: Facts, points: int) -> Timed:
    """Stage 1: scores of the facts' prompts, with so many points in every layer that has scores."""
    engine = fact_scores.prepare(model, _NoWords(), Settings())
    first = (points,) * model.shape.layers
    scheme = replace(engine.scheme, first=first, weight=0.0)  # nothing is tried again
    engine = replace(engine, scheme=adaptive.within(scheme, engine.scheme.layers))
    every, encoded = zip(*facts, strict=True)
    return lambda: list(fact_scores.score_facts(engine, every, encoded))


def editing(model: Network, facts: Facts) -> Timed:
    """Stage 3: the facts' own prompts, a neuron of each kind times each factor."""
    neuron = Neuron(edited_layer(model), 0)
    asked = [{OWN: (fact.relation, fact.index, own)} for fact, own in facts]
    neurons = {kind: [[neuron]] * len(facts) for kind in KINDS}
    return lambda: modify_activation.scaled(model, asked, neurons, FACTORS)


def reading(model: Network, facts: Facts) -> Timed:
    """Stages 6 and 7: every prompt once."""
    return Reader(model, [prompt for _, own in facts for prompt in own]).read


def sentences(model: Network, texts: Sequence[Prompt]) -> Timed:
    """Stages 4 and 5: a neuron of the last layer on each."""
    neurons = [[Neuron(model.shape.layers - 1, 0)]] * len(texts)
    return lambda: distant_activation.neuron_activations(model, texts, neurons)


def within(prompt: Prompt, vocabulary: int) -> Prompt:
    """The prompt with ids that a model of this vocabulary has."""
    if max(*prompt.ids, prompt.answer) < vocabulary:
        return prompt
    ids = tuple(number % vocabulary for number in prompt.ids)
    return replace(prompt, ids=ids, answer=prompt.answer % vocabulary, later=())


def product_rate(device: torch.device, clock: Callable[[], float]) -> float:
    """Operations a second of a large float32 product; the best of a few."""
    best = float("inf")
    a, b = (torch.ones(SIDE, SIDE, device=device) for _ in range(2))
    until = clock() + WARM
    while clock() < until or best == float("inf"):
        started = clock()
        (a @ b)[0, 0].item()
        best = min(best, clock() - started)
    return 2 * SIDE**3 / best


def load(network: Network, clock: Callable[[], float]) -> float:
    """Seconds to read the weights and take their sha256, at the pace of a stretch of zeros."""
    started = clock()
    hashlib.sha256(bytes(HASHED)).digest()
    return (clock() - started) * 4 * shapes.parameters(network) / HASHED
