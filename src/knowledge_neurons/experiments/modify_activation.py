"""Stage 3: what suppressing and amplifying neurons does to the probability of the right answer,
and to its log-odds.

Section 4.3 of the paper, Figures 4 and 5.  A fact's neurons are scaled while its own prompts are
asked, and while those of a fact of another relation are: knowledge neurons should move the first
and leave the second alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from knowledge_neurons.editing import interventions
from knowledge_neurons.networks import batching, log_odds, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.changes import AMPLIFY, OTHER, OWN, SUPPRESS, ChangeRecord, Outcome
from knowledge_neurons.results.log_odds import LogOdds
from knowledge_neurons.types import Edit, Fact, NeuronSets, Prompt

GROUP = 64  # facts asked together: enough prompts of each length to fill batches
MEMORY = 1 << 28  # bytes that one batch may take


class Answered(NamedTuple):
    """P(right answer) of P prompts and its log-odds in nats: without an edit, then under each of K.

    (P, 1 + K) float64 each.
    """

    probabilities: np.ndarray
    log_odds: np.ndarray


def answered(
    model: Network, prompts: Sequence[Prompt], edits: Sequence[Sequence[Edit]]
) -> Answered:
    """Ask each prompt for its right answer: without an edit, then under each of its edits.

    edits: for each prompt its own, as many for all.  Of an answer of several tokens the product of
    their probabilities: each is read at its own position, those before it given, and edited there.
    """
    many = len(edits[0]) if edits else 0
    tokens = [one for prompt in prompts for one in (prompt, *prompt.later)]
    owners = [place for place, prompt in enumerate(prompts) for _ in prompt.answers]
    cost = partial(passes.pass_bytes, model, rows=1 + many)
    read = Answered(*(np.empty((len(tokens), 1 + many)) for _ in Answered._fields))
    for batch in batching.plan(tokens, MEMORY, cost, model.device):
        found = interventions.answers(model, batch, [edits[owners[row]] for row in batch.order])
        for rows, values in zip(read, found, strict=True):
            rows[list(batch.order)] = values.tolist()
    whole = Answered(np.ones((len(prompts), 1 + many)), np.full((len(prompts), 1 + many), np.inf))
    for place, p, odds in zip(owners, *read, strict=True):
        whole.probabilities[place] *= p
        whole.log_odds[place] = log_odds.of_both(whole.log_odds[place], odds)
    return whole


def answer_probabilities(
    model: Network, prompts: Sequence[Prompt], edits: Sequence[Sequence[Edit]]
) -> list[list[float]]:
    """The probabilities of `answered`, a list a prompt."""
    return answered(model, prompts, edits).probabilities.tolist()


def draw_others(
    askable: Mapping[str, Sequence[int]], facts: Sequence[Fact], seed: int
) -> list[tuple[str, int] | None]:
    """For each fact of a relation, a fact of another one: (relation, index).

    askable: relation -> the facts whose answers are in the vocabulary.
    Draw order, from a generator of the relation's own (seed, relation): facts in data order; for
    each the relation, uniformly among the other ones by name, then the fact, uniformly.
    None for every fact where there is no other relation.
    """
    relation = facts[0].relation
    rng = random.Random(f"{seed} {relation}")
    elsewhere = sorted(name for name, known in askable.items() if known and name != relation)
    if not elsewhere:
        return [None] * len(facts)
    others = []
    for _ in facts:
        name = rng.choice(elsewhere)
        others.append((name, rng.choice(askable[name])))
    return others


Asked = tuple[str, int, Sequence[Prompt]]  # relation and index of a fact, and its prompts


def modify(
    model: Network,
    facts: Sequence[Fact],
    own: Sequence[Sequence[Prompt]],
    others: Sequence[Asked | None],
    neurons: NeuronSets,
    scales: Sequence[float] = (SUPPRESS, AMPLIFY),
) -> list[ChangeRecord]:
    """Scale every fact's neurons while its own and the other fact's prompts are asked.

    facts: of one relation, GROUP of them or fewer.  own: the prompts of each, none where it cannot
    be asked.  others: for each fact the other one.  neurons: kind -> the neurons of each
    fact.  scales: factors.
    Returns a record for each fact.
    """
    asked: list[dict[str, Asked]] = []
    for fact, prompts, other in zip(facts, own, others, strict=True):
        mine: dict[str, Asked] = {}
        if prompts:  # a fact that cannot be asked takes no part
            mine[OWN] = (fact.relation, fact.index, prompts)
            if other:
                mine[OTHER] = other
        asked.append(mine)
    found = scaled(model, asked, neurons, scales)
    return [
        ChangeRecord(
            fact.relation,
            fact.index,
            fact.answer,
            {kind: len(neurons[kind][i]) for kind in neurons},
            found[i].get(OWN),
            found[i].get(OTHER),
        )
        for i, fact in enumerate(facts)
    ]


def scaled(
    model: Network,
    asked: Sequence[Mapping[str, Asked]],
    neurons: NeuronSets,
    scales: Sequence[float],
) -> list[dict[str, Outcome]]:
    """What each fact's neurons of every kind, times each factor, do to the facts asked beside it.

    asked: for each fact, by any name, whose prompts.  Returns the outcome by the same names.
    """
    kinds = tuple(neurons)
    edits = [
        [Edit(tuple(neurons[kind][i]), factor) for kind in kinds for factor in scales]
        for i in range(len(asked))
    ]
    every = [(i, name, one) for i, mine in enumerate(asked) for name, one in mine.items()]
    prompts = [prompt for *_, (*_, own) in every for prompt in own]
    edits_of = [edits[i] for i, _, (*_, own) in every for _ in own]
    values = answered(model, prompts, edits_of)
    found: list[dict[str, Outcome]] = [{} for _ in asked]
    start = 0
    for i, name, (relation, index, own) in every:
        rows = slice(start, start + len(own))
        start = rows.stop
        p, odds = (_by_edit(one[rows], kinds, scales) for one in values)
        found[i][name] = Outcome(relation, index, *p, LogOdds(*odds))
    return found


ByEdit = dict[str, dict[float, list[float]]]  # kind -> factor -> a number of each prompt


def _by_edit(
    values: np.ndarray, kinds: Sequence[str], scales: Sequence[float]
) -> tuple[list[float], ByEdit]:
    """(P, 1 + K) of a fact's prompts: without an edit, and with each kind's neurons scaled."""
    original, *edited = values.T.tolist()
    columns = iter(edited)
    return original, {kind: {factor: next(columns) for factor in scales} for kind in kinds}
