"""Stage 7: erase a relation by emptying the value slots that most of its facts share.

Section 5.2 and Table 5 of the paper.  The slots of the relation's most frequent neurons are set to
zero, and every prompt is read before and after: the relation's own should become harder to answer,
all others stay as they are.  As many random neurons show what emptying any slots does.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from custom_bert import Bert
from knowledge_neurons.editing import edited
from knowledge_neurons.evaluation import Reader
from knowledge_neurons.experiments.choose_facts import Bags, Place
from knowledge_neurons.experiments.edit_summary import Estimate
from knowledge_neurons.metrics import bootstrap_interval, increase, perplexity, top_k
from knowledge_neurons.types import Neuron, WeightEdit

# Facts read together: enough that equal-length batches are full, few enough that an interruption
# loses little.
GROUP = 128


@dataclass(frozen=True)
class FactRecord:
    """What was read of one fact's prompts, in each state of the model.

    prompts: their indices in the data.  log_p, ranks: state -> right answer's log probability
    (nats) and rank of each prompt; the states are "before" and the names of the edits.
    """

    relation: str
    fact: int
    prompts: list[int]
    log_p: dict[str, list[float]]
    ranks: dict[str, list[int]]


@dataclass(frozen=True)
class Change:
    """Accuracy and perplexity of some prompts before and after an edit.

    perplexity_increase: after / before - 1, positive where it grew, with its bootstrap interval
    over facts.
    """

    facts: int
    prompts: int
    accuracy_before: float
    accuracy_after: float
    perplexity_before: float
    perplexity_after: float
    perplexity_increase: Estimate


@dataclass(frozen=True)
class Erased:
    """One row of Table 5: the erased relation, all others pooled, each other alone."""

    relation: Change
    others: Change | None
    each_other: dict[str, Change]


def frequent_neurons(neurons: Sequence[Sequence[Neuron]], count: int) -> list[Neuron]:
    """The neurons that most facts have, at most `count`, of equals the one seen first."""
    counts = Counter(neuron for fact in neurons for neuron in fact)
    return [neuron for neuron, _ in counts.most_common(count)]


def choose_prompts(bags: Bags, relation: str, other_sample: int | None, seed: int) -> list[Place]:
    """All prompts of the relation, then those of the others, by name and in data order.

    other_sample: only so many of the others', drawn by one rng.sample over all of them.
    """
    places = {
        name: [
            Place(name, fact, prompt)
            for fact, prompts in enumerate(bags[name])
            for prompt in range(len(prompts))
        ]
        for name in sorted(bags)
    }
    own = places.pop(relation)
    others = [place for name in places for place in places[name]]
    if other_sample is not None and other_sample < len(others):
        others = sorted(random.Random(seed).sample(others, other_sample))
    return own + others


def read_prompts(
    model: Bert, bags: Bags, places: Sequence[Place], edits: Mapping[str, WeightEdit], done: int = 0
) -> Iterator[list[FactRecord]]:
    """Read the prompts before and under each edit, GROUP facts at a time, in their order.

    done: so many facts are left out at the start, a multiple of GROUP.
    """
    facts: dict[tuple[str, int], list[int]] = {}
    for relation, fact, prompt in places:
        facts.setdefault((relation, fact), []).append(prompt)
    keys = list(facts)[done:]
    for start in range(0, len(keys), GROUP):
        group = keys[start : start + GROUP]
        chosen = [bags[r][f][prompt] for r, f in group for prompt in facts[r, f]]
        reader = Reader(model, chosen)
        readings = {"before": reader.read()}
        for name, edit in edits.items():
            with edited(model, edit):
                readings[name] = reader.read()
        records, row = [], 0
        for r, f in group:
            rows = slice(row, row + len(facts[r, f]))
            log_p = {n: x.log_probabilities[rows, 0].tolist() for n, x in readings.items()}
            ranks = {n: x.ranks[rows, 0].tolist() for n, x in readings.items()}
            records.append(FactRecord(r, f, facts[r, f], log_p, ranks))
            row = rows.stop
        yield records


def summarise(records: Sequence[FactRecord], relation: str, edit: str, seed: int) -> Erased:
    """Table 5 for one of the edits.  seed: of the bootstraps."""
    by_relation: dict[str, list[FactRecord]] = {}
    for record in records:
        by_relation.setdefault(record.relation, []).append(record)
    own = by_relation.pop(relation)
    return Erased(
        _change([own], edit, seed),
        _change(list(by_relation.values()), edit, seed) if by_relation else None,
        {name: _change([facts], edit, seed) for name, facts in by_relation.items()},
    )


def _change(relations: list[list[FactRecord]], edit: str, seed: int) -> Change:
    """Of all prompts of some relations; facts are drawn again within each relation."""
    facts = [fact for relation in relations for fact in relation]
    log_p = [np.concatenate([fact.log_p[state] for fact in facts]) for state in ("before", edit)]
    ranks = [np.concatenate([fact.ranks[state] for fact in facts]) for state in ("before", edit)]
    before, after = map(perplexity, log_p)
    sums = [
        np.array([[sum(f.log_p["before"]), sum(f.log_p[edit]), len(f.prompts)] for f in relation])
        for relation in relations
    ]
    sizes = np.array([len(group) for group in sums])

    def growth(means: np.ndarray) -> np.ndarray:
        totals = np.einsum("rgk,g->rk", means, sizes)  # (R, 3): sums over all facts drawn
        mean = -totals[:, :2] / totals[:, 2:]
        return np.exp(mean[:, 1] - mean[:, 0]) - 1

    return Change(
        facts=len(facts),
        prompts=len(log_p[0]),
        accuracy_before=float(top_k(ranks[0]).mean()),
        accuracy_after=float(top_k(ranks[1]).mean()),
        perplexity_before=before,
        perplexity_after=after,
        perplexity_increase=Estimate(
            increase(before, after), *bootstrap_interval(sums, growth, seed)
        ),
    )
