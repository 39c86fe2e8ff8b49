"""Stage 3: what suppressing and amplifying neurons does to the probability of the right answer.

Section 4.3 of the paper, Figures 4 and 5.  A fact's neurons are scaled while its own prompts are
asked, and while those of a fact of another relation are: knowledge neurons should move the first
and leave the second alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial

from knowledge_neurons.editing import interventions
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.changes import AMPLIFY, OTHER, OWN, SUPPRESS, ChangeRecord, Outcome
from knowledge_neurons.types import KINDS, Edit, Fact, Neuron, NeuronSets, Prompt

GROUP = 64  # facts asked together: enough prompts of each length to fill batches
MEMORY = 1 << 28  # bytes that one batch may take


def answer_probabilities(
    model: Network, prompts: Sequence[Prompt], edits: Sequence[Sequence[Edit]]
) -> list[list[float]]:
    """P(right answer) of each prompt: without an edit, then under each of its edits.

    edits: for each prompt its own, as many for all.
    """
    many = len(edits[0]) if edits else 0
    cost = partial(passes.pass_bytes, model, rows=1 + many)
    found: dict[int, list[float]] = {}
    for batch in batching.plan(prompts, MEMORY, cost, model.device):
        p = interventions.probabilities(model, batch, [edits[place] for place in batch.order])
        of_answers = p.gather(2, batch.answers[:, None, None].expand(-1, 1 + many, 1))[:, :, 0]
        found |= dict(zip(batch.order, of_answers.tolist(), strict=True))
    return [found[place] for place in range(len(prompts))]


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


def modify(
    model: Network,
    facts: Sequence[Fact],
    own: Sequence[Sequence[Prompt]],
    others: Sequence[tuple[str, int, Sequence[Prompt]] | None],
    neurons: NeuronSets,
    scales: Sequence[float] = (SUPPRESS, AMPLIFY),
) -> list[ChangeRecord]:
    """Scale every fact's neurons while its own and the other fact's prompts are asked.

    facts: of one relation, GROUP of them or fewer.  own: the prompts of each, none where its
    answer is not one token.  others: for each fact relation, index and prompts of the other one.
    neurons: for each of KINDS the neurons of each fact.  scales: factors.
    Returns a record for each fact.
    """
    places = range(len(facts))
    edits = {i: _edits({kind: neurons[kind][i] for kind in KINDS}, scales) for i in places}
    asked: dict[tuple[int, str], tuple[str, int, Sequence[Prompt]]] = {}
    for i in places:
        if own[i]:  # a fact that cannot be asked takes no part
            asked[i, OWN] = (facts[i].relation, facts[i].index, own[i])
            if others[i]:
                asked[i, OTHER] = others[i]
    prompts = [prompt for *_, prompts in asked.values() for prompt in prompts]
    edits_of = [edits[i] for (i, _), (*_, prompts) in asked.items() for _ in prompts]
    rows = iter(answer_probabilities(model, prompts, edits_of))
    outcomes = {
        key: _outcome(relation, index, [next(rows) for _ in prompts], scales)
        for key, (relation, index, prompts) in asked.items()
    }
    return [
        ChangeRecord(
            facts[i].relation,
            facts[i].index,
            facts[i].answer,
            {kind: len(neurons[kind][i]) for kind in KINDS},
            outcomes.get((i, OWN)),
            outcomes.get((i, OTHER)),
        )
        for i in places
    ]


def _edits(neurons: Mapping[str, Sequence[Neuron]], scales: Sequence[float]) -> list[Edit]:
    """Each kind's neurons times each factor."""
    return [Edit(tuple(neurons[kind]), factor) for kind in KINDS for factor in scales]


def _outcome(
    relation: str, index: int, rows: Sequence[list[float]], scales: Sequence[float]
) -> Outcome:
    """rows: per prompt the probability without an edit, then under each of `_edits`."""
    original, *edited = (list(column) for column in zip(*rows, strict=True))
    columns = iter(edited)
    by_kind = {kind: {factor: next(columns) for factor in scales} for kind in KINDS}
    return Outcome(relation, index, original, by_kind)
