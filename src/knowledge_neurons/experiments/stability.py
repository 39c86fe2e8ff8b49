"""Stage 10: what the neurons of each pair of thresholds do, without a new attribution."""

from __future__ import annotations

from collections.abc import Sequence

from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.changes import SUPPRESS
from knowledge_neurons.results.stability import StabilityRecord
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt


def suppressed(
    model: Network,
    facts: Sequence[Fact],
    own: Sequence[Sequence[Prompt]],
    sets: Sequence[Sequence[Sequence[Neuron]]],
) -> list[StabilityRecord]:
    """A record of each fact: P(answer) with each of its sets of neurons off.

    own: the prompts of each fact, none where it is not asked.  sets: of each fact as many for all;
    equal ones are asked once.
    """
    distinct = [list(dict.fromkeys(frozenset(one) for one in mine)) for mine in sets]
    most = max(map(len, distinct), default=0)
    edits = [
        [Edit(tuple(sorted(one)), SUPPRESS) for one in mine] + [Edit((), 1.0)] * (most - len(mine))
        for mine in distinct
    ]
    prompts = [prompt for of_fact in own for prompt in of_fact]
    rows = iter(
        answer_probabilities(model, prompts, [edits[i] for i in range(len(own)) for _ in own[i]])
    )
    found = []
    for fact, of_fact, mine, different in zip(facts, own, sets, distinct, strict=True):
        sums = [sum(column) for column in zip(*(next(rows) for _ in of_fact), strict=True)]
        after = dict(zip(different, sums[1:], strict=False))
        found.append(
            StabilityRecord(
                fact.relation,
                fact.index,
                sums[0] if sums else 0.0,
                [after[frozenset(one)] for one in mine] if sums else [],
            )
        )
    return found
