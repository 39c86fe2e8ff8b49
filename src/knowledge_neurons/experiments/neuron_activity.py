"""When neurons fire: their activation on prompts and sentences drawn from all relations, and on
some prompts of the facts that have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from knowledge_neurons.editing import interventions
from knowledge_neurons.experiments.distant_activation import MEMORY, neuron_activations
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons.owners import FactOf, PromptOf
from knowledge_neurons.results.activations import BOTH, HEAD
from knowledge_neurons.results.neuron_activity import (
    ELSEWHERE,
    OWN,
    RELATION,
    Ends,
    Fired,
    NeuronActivity,
)
from knowledge_neurons.types import Neuron, Prompt

PROMPT = "prompt"  # a kind of text, beside the two of sentences
TEXTS = 2000  # prompts that are drawn, and sentences
TOGETHER = 1024  # prompts of neurons' own that are read together: enough of each length
BINS, ENDS, ALIKE = 20, 5, 8  # of a histogram; texts at either end; neurons that fire alike
ENTRIES = 1 << 24  # correlations held at a time
TINY = 1e-12  # in place of a length of 0


@dataclass(frozen=True)
class Text:
    """A text to read.  kind: PROMPT, or of sentences BOTH or HEAD."""

    kind: str
    relation: str
    fact: int
    text: str
    prompt: Prompt


@torch.no_grad()
def read_texts(
    model: Network,
    prompts: Sequence[Prompt],
    neurons: Sequence[Neuron],
    done: Callable[[int], Any] = int,
) -> np.ndarray:
    """The activations at the position read: (P, N) float32.  done: is told of texts read."""
    found = np.empty((len(prompts), len(neurons)), np.float32)
    cost = partial(passes.pass_bytes, model)
    for batch in batching.plan(prompts, MEMORY, cost, model.device):
        none = [[]] * len(batch.answers)
        read = interventions.edited_activations(model, batch, neurons, none)[:, 0]  # (B, N)
        found[list(batch.order)] = read.float().cpu().numpy()
        done(len(batch.order))
    return found


def read_own(
    model: Network,
    own: Mapping[Neuron, Sequence[PromptOf]],
    prompts: Mapping[PromptOf, Prompt],
    done: Callable[[int], Any] = int,
) -> dict[Neuron, list[float]]:
    """Each neuron's activations on prompts of its own, which are read once for all that ask.

    done: is told of prompts read.
    """
    asking: dict[PromptOf, list[Neuron]] = {}
    for neuron, its in own.items():
        for one in its:
            asking.setdefault(one, []).append(neuron)
    found: dict[Neuron, list[float]] = {neuron: [] for neuron in own}
    every = list(asking)
    for start in range(0, len(every), TOGETHER):
        some = every[start : start + TOGETHER]
        asked = [asking[one] for one in some]
        rows = neuron_activations(model, [prompts[one] for one in some], asked)
        for neurons, values in zip(asked, rows, strict=True):
            for neuron, value in zip(neurons, values, strict=True):
                found[neuron].append(value)
        done(len(some))
    return found


def activity_of(
    texts: Sequence[Text],
    read: np.ndarray,
    owners: Mapping[Neuron, Sequence[FactOf]],
    own: Mapping[Neuron, Sequence[float]],
) -> Iterator[NeuronActivity]:
    """What was read, of each neuron.

    read: (T, N), the texts' activations of the owners' neurons in their order.  own: of each its
    activations on prompts of its own facts.
    """
    kinds = np.array([one.kind for one in texts], dtype=object)
    facts = [(one.relation, one.fact) for one in texts]
    is_prompt = kinds == PROMPT
    names = {relation for its in owners.values() for relation, _ in its}
    of_relation = {n: np.array([n == one.relation for one in texts], dtype=bool) for n in names}
    correlated = _alike(read, list(owners))
    for column, (neuron, its) in enumerate(owners.items()):
        values = read[:, column]
        near = is_prompt & np.any([of_relation[name] for name in {name for name, _ in its}], axis=0)
        mine = set(its)
        other = np.array([fact not in mine for fact in facts], dtype=bool)
        by_kind = {
            OWN: np.array(own.get(neuron, ()), np.float32),
            RELATION: values[near & other],
            ELSEWHERE: values[is_prompt & ~near],
            BOTH: values[kinds == BOTH],
            HEAD: values[kinds == HEAD],
        }
        some = {kind: found for kind, found in by_kind.items() if len(found)}
        every = np.concatenate([*some.values(), values]) if some else values
        low, high = (float(end(every)) if len(every) else 0.0 for end in (np.min, np.max))
        yield NeuronActivity(
            neuron,
            low,
            high,
            {kind: float(found.mean(dtype=np.float64)) for kind, found in some.items()},
            {kind: _counted(found, low, high) for kind, found in some.items()},
            _ends(texts, values, np.flatnonzero(is_prompt)),
            _ends(texts, values, np.flatnonzero(~is_prompt)),
            next(correlated),
        )


def _counted(values: np.ndarray, low: float, high: float) -> list[int]:
    """How many lie in each of BINS equal parts."""
    parts = ((values - low) / (high - low or 1) * BINS).astype(int)
    return np.bincount(parts.clip(0, BINS - 1), minlength=BINS).tolist()


def _ends(texts: Sequence[Text], values: np.ndarray, places: np.ndarray) -> Ends:
    """ENDS of these texts at either end; of equals in their order, none at both."""
    order = places[np.argsort(-values[places], kind="stable")].tolist()
    ends = order[: min(ENDS, (len(order) + 1) // 2)], order[::-1][: min(ENDS, len(order) // 2)]

    def fired(place: int) -> Fired:
        one = texts[place]
        return Fired(one.relation, one.fact, one.text, float(values[place]))

    return Ends(*([fired(place) for place in end] for end in ends))


def _alike(read: np.ndarray, neurons: Sequence[Neuron]) -> Iterator[list[tuple[int, int, float]]]:
    """Of each neuron those whose activations go with its most, by Pearson's correlation."""
    centred = torch.from_numpy(read - read.mean(axis=0) if len(read) else read)  # (T, N)
    unit = centred / centred.norm(dim=0).clamp_min(TINY)
    count = min(ALIKE, len(neurons) - 1) if len(read) > 1 else 0
    at_once = max(1, ENTRIES // max(1, len(neurons)))
    for start in range(0, len(neurons), at_once):
        both = unit[:, start : start + at_once].T @ unit  # (some, N)
        for row in range(len(both)):
            both[row, start + row] = -2  # itself comes last
            top = both[row].topk(count)
            pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            yield [(*neurons[place], value) for place, value in pairs]
