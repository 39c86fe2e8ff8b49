"""Stage 4: how much a fact's neurons are activated by web sentences that do or do not express it.

Section 4.4 and Table 4 of the paper.  For each fact three kinds of sentences: with its head and its
tail, the tail masked (T1); with its head, a random other word masked (T2); random sentences that
name neither, a random word masked (T3).  Knowledge neurons should be active in the first alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from knowledge_neurons.editing import interventions
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.activations import (
    BOTH,
    HEAD,
    RANDOM_SENTENCES,
    SENTENCE_KINDS,
    ActivationRecord,
    Means,
)
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import Tokens, encode_sentences
from knowledge_neurons.types import FactSentences, Neuron, NeuronSets, Prompt

DRAWS = 100  # tries for one random sentence, in data so small that few are about others
GROUP = 64  # facts read together: enough sentences of each length to fill batches
MEMORY = 1 << 28  # bytes that one batch may take


@dataclass(frozen=True)
class MaskedFact:
    """The masked sentences of a fact by kind, and how many could not be masked, by reason."""

    texts: dict[str, list[str]]
    unusable: dict[str, int]


def mask_fact(
    fact: FactSentences, pool: Sequence[str], seed: int, decoder: bool = False
) -> MaskedFact:
    """Mask the fact's sentences and draw its random ones.

    pool: the sentences of all facts, of both kinds.  decoder: they will be read by one, before what
    is masked.
    Draw order, from a generator of the fact's own (seed, relation, index), so that neither a
    resumed run nor other relations change it: a word for each sentence with the head, in data
    order; then, as often as there are sentences with both that could be masked, a sentence of the
    pool, drawn again while it was taken, names head or tail or has no word to mask, and its word.
    """
    rng = random.Random(f"{seed} {fact.relation} {fact.index}")
    named = (fact.head, fact.tail)
    texts: dict[str, list[str]] = {kind: [] for kind in SENTENCE_KINDS}
    unusable: Counter[str] = Counter()

    def add(kind: str, masked: Callable[[], str]) -> None:
        try:
            texts[kind].append(masked())
        except data.CannotMask as reason:
            unusable[f"{kind}: {reason}"] += 1

    for sentence in fact.with_both:
        add(BOTH, partial(data.mask_tail, sentence, fact.head, fact.tail, decoder))
    for sentence in fact.with_head:
        add(HEAD, partial(data.mask_random_word, sentence, named, rng, decoder))
    taken: set[int] = set()
    for _ in texts[BOTH]:  # UPSTREAM: as many random sentences as there are of the first kind
        add(RANDOM_SENTENCES, partial(_draw_masked, pool, named, taken, rng, decoder))
    return MaskedFact(texts, dict(unusable))


def _draw_masked(
    pool: Sequence[str],
    named: Sequence[str],
    taken: set[int],
    rng: random.Random,
    decoder: bool,
) -> str:
    """A random sentence of the pool that names neither, a random word masked.

    DEVIATION: the released code takes any sentence, and any of its words (difference 11).
    taken: places in the pool that were drawn before; this one is added.
    """
    for _ in range(DRAWS):
        place = rng.randrange(len(pool))
        sentence = pool[place]
        if place in taken or any(data.occurs(text, sentence) for text in named):
            continue
        try:
            masked = data.mask_random_word(sentence, (), rng, decoder)
        except data.CannotMask:
            continue
        taken.add(place)
        return masked
    raise data.CannotMask(f"{DRAWS} draws found no sentence about others")


def neuron_activations(
    model: Network, prompts: Sequence[Prompt], neurons: Sequence[Sequence[Neuron]]
) -> list[list[float]]:
    """The activations at [MASK] of each prompt's own neurons, in their order."""
    cost = partial(passes.pass_bytes, model)
    found: dict[int, list[float]] = {}
    for batch in batching.plan(prompts, MEMORY, cost, model.device):
        read = interventions.activations(model, batch, [neurons[place] for place in batch.order])
        found |= dict(zip(batch.order, read, strict=True))
    return [found[place] for place in range(len(prompts))]


def read_facts(
    model: Network,
    tokenizer: Tokens,
    facts: Sequence[FactSentences],
    neurons: NeuronSets,
    pool: Sequence[str],
    seed: int,
    max_tokens: int,
) -> list[ActivationRecord]:
    """Read the neurons of every fact, GROUP of them or fewer, on its sentences.

    neurons: kind -> the neurons of each fact, which are read in one pass.
    max_tokens: a longer sentence is cut to a window around its [MASK].
    """
    places = range(len(facts))
    decoder = tokenizer.mask is None
    masked = {index: mask_fact(facts[index], pool, seed, decoder) for index in places}
    own = {index: {kind: sets[index] for kind, sets in neurons.items()} for index in places}
    prompts = {
        (index, kind): encode_sentences(texts, tokenizer, max_tokens)
        for index in places
        if any(own[index].values()) and all(masked[index].texts.values())
        for kind, texts in masked[index].texts.items()
    }
    means = _mean_activations(model, prompts, own)
    return [
        ActivationRecord(
            relation=facts[index].relation,
            fact=facts[index].index,
            head=facts[index].head,
            tail=facts[index].tail,
            sentences={kind: len(texts) for kind, texts in masked[index].texts.items()},
            cut=sum(p.cut for kind in SENTENCE_KINDS for p in prompts.get((index, kind), ())),
            unusable=masked[index].unusable,
            names_tail=sum(data.occurs(facts[index].tail, t) for t in facts[index].with_head),
            neurons={kind: len(sets) for kind, sets in own[index].items()},
            means=means.get(index),
        )
        for index in places
    ]


def _mean_activations(
    model: Network,
    prompts: Mapping[tuple[int, str], Sequence[Prompt]],
    neurons: Mapping[int, Mapping[str, Sequence[Neuron]]],
) -> dict[int, Means]:
    """Fact -> kind of neurons -> kind of sentences -> mean of each neuron, from one pass.

    prompts: (fact, kind of sentences) -> its sentences.  neurons: fact -> its neurons by kind.
    """
    either = {
        i: list(dict.fromkeys(n for own in sets.values() for n in own))
        for i, sets in neurons.items()
    }
    flat = [prompt for sentences in prompts.values() for prompt in sentences]
    asked = [either[index] for (index, _), sentences in prompts.items() for _ in sentences]
    rows = iter(neuron_activations(model, flat, asked))
    means: dict[int, Means] = {}
    for (index, kind), sentences in prompts.items():
        read = np.array([next(rows) for _ in sentences]).mean(axis=0)  # (N,)
        of_neuron = dict(zip(either[index], read.tolist(), strict=True))
        for which, own in neurons[index].items():
            by_kind = means.setdefault(index, {k: {} for k in neurons[index]})[which]
            by_kind[kind] = [of_neuron[neuron] for neuron in own]
    return means
