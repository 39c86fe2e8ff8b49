"""How a fact's neurons feed each other: what drives each of them, and whether that is true.

For each neuron of a fact the neurons of lower layers are scored by what they add to its activation
(`attribution.neuron_map`), on the mean over some wordings; the strongest are its edges.  What the
neurons themselves add to P(answer) are the edges of the answer.

The same run asks whether an edge says what happens: on one wording drivers are switched off, one by
one and all together, with as many random neurons of the same layers beside, and the change of the
neuron's activation is set beside the change that its edges predict.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from knowledge_neurons.attribution import quadrature
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.neuron_map import drivers
from knowledge_neurons.attribution.quadrature import Rule
from knowledge_neurons.attribution.settings import layers_of
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.attribution.triplets import check_finite
from knowledge_neurons.editing.interventions import edited_activations
from knowledge_neurons.experiments.controls import random_like
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.maps import Checked, MapRecord, Node
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt

EDGES, FEWEST_EDGES, MOST_EDGES = 10, 1, 100  # of a neuron
# In each layer; against all twenty the ten strongest edges were the same on SmolLM2, and no score
# off by more than 7 % of the neuron's largest.
POINTS = 2
WORDINGS = 3  # that a map is averaged over
MEMORY = 1 << 28  # bytes that rows going up together may take


def fewer_points(points: int) -> Rule:
    """The Gauss rule of the paper's sum with so many points, in every layer."""
    return Rule(*quadrature.gauss(quadrature.rule("riemann-left", 20), points)[:2])


@dataclass(frozen=True)
class Settings:
    """edges: of a neuron.  wordings: prompts of a fact that are averaged.  rule: along the paths.

    lowest: the first layer whose neurons may be edges.
    """

    edges: int = EDGES
    wordings: int = WORDINGS
    lowest: int = 0
    rule: Rule = field(default_factory=lambda: fewer_points(POINTS))

    def __post_init__(self):
        if not FEWEST_EDGES <= self.edges <= MOST_EDGES:
            raise ValueError(f"edges is {self.edges}: expected {FEWEST_EDGES} to {MOST_EDGES}")
        if self.wordings < 1 or self.lowest < 0:
            raise ValueError("wordings and the lowest layer: expected at least 1, and 0")


def settings_for(model: Network, edges: int, wordings: int, lowest: int | None) -> Settings:
    """lowest: None for the first layer that is scored; ValueError for one that drives no other."""
    lowest = layers_of(model, None).start if lowest is None else lowest
    if lowest > model.shape.layers - 2:
        raise ValueError(
            f"lowest {lowest}: the model has layers 0 to {model.shape.layers - 1}, and the "
            "topmost drives no other"
        )
    return Settings(edges, wordings, lowest)


def map_fact(
    model: Network,
    fact: Fact,
    prompts: Sequence[Prompt],
    neurons: Sequence[Neuron],
    settings: Settings,
    seed: int,
) -> MapRecord:
    """The map of a fact's neurons from the first of its prompts, and its validation on one.

    seed: of the random neurons, with the fact's relation and index.
    """
    chosen = list(prompts[: settings.wordings])
    if not neurons or not chosen:
        return MapRecord(fact.relation, fact.index, fact.answer, len(chosen), [], [])
    scored = [_scores(model, prompt, neurons, settings) for prompt in chosen]
    of_answer, of_nodes, active = (torch.stack(part).mean(0) for part in zip(*scored, strict=True))
    nodes = [
        _node(neuron, of_nodes[place], active[place], of_answer[neuron], settings)
        for place, neuron in enumerate(neurons)
    ]
    rng = random.Random(f"{seed} {fact.relation} {fact.index} map")
    checked = [
        one
        for node, first in zip(nodes, scored[0][1], strict=True)
        if node.edges
        for one in _check(model, chosen[0], node, first, rng)
    ]
    return MapRecord(fact.relation, fact.index, fact.answer, len(chosen), nodes, checked)


def _scores(
    model: Network, prompt: Prompt, neurons: Sequence[Neuron], settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a prompt: of P(answer) (L, F), of each neuron (N, L, F), their activations (N,)."""
    batch = batching.collate([prompt], [0], model.device)
    clean, rule = passes.clean_pass(model, batch), settings.rule
    layers, indices = (list(part) for part in zip(*neurons, strict=True))
    of = Probability(batch.answers)
    answer = integrated_gradients(model, clean, of, rule, MEMORY, set(layers))
    found = drivers(model, clean, neurons, rule, settings.lowest, MEMORY)
    check_finite(answer)
    check_finite(found)
    active = clean.activations[0, layers, indices]
    return answer[0].float().cpu(), found[0].float().cpu(), active.float().cpu()


def _node(
    neuron: Neuron, scores: Tensor, activation: Tensor, score: Tensor, settings: Settings
) -> Node:
    """A neuron with its strongest drivers.  scores: (L, F)."""
    sizes = scores.abs().flatten()
    total = sizes.sum().item()
    order = sizes.argsort(descending=True, stable=True)
    count = min(settings.edges, int((sizes > 0).sum()))
    edges = []
    for place in order[:count].tolist():
        layer, index = divmod(place, scores.shape[1])
        edges.append((layer, index, scores[layer, index].item()))
    half = sizes[order].cumsum(0)
    below = scores.abs().sum(1)[: neuron.layer]
    return Node(
        neuron,
        activation.item(),
        score.item(),
        edges,
        sizes[order[:count]].sum().item() / total if total else 0.0,
        int((half < total / 2).sum()) + 1 if total else 0,
        (below / total).tolist() if total else [],
    )


def _check(
    model: Network, prompt: Prompt, node: Node, scores: Tensor, rng: random.Random
) -> list[Checked]:
    """Predicted and measured changes of a neuron's activation on one prompt.

    Each of its drivers off, all that add to it off together, and the same of random neurons of the
    same layers.  scores: of its drivers on this prompt, (L, F).
    """
    own = [Neuron(layer, index) for layer, index, _ in node.edges]
    adds = [score * node.activation > 0 for *_, score in node.edges]
    adding = tuple(neuron for neuron, more in zip(own, adds, strict=True) if more)
    sets = [((one,), False) for one in own] + [(adding, False)] * (len(adding) > 1)
    sets += [((one,), True) for one in random_like(model, own, rng)]
    sets += [(tuple(random_like(model, adding, rng)), True)] * (len(adding) > 1)
    batch = batching.collate([prompt], [0], model.device)
    edits = [Edit(some, 0.0) for some, _ in sets]
    a = edited_activations(model, batch, [node.neuron], [edits])[0, :, 0]  # (1 + K,)
    measured = (a[1:] - a[0]).tolist()
    return [
        Checked(node.neuron, list(some), drawn, -sum(scores[one].item() for one in some), change)
        for (some, drawn), change in zip(sets, measured, strict=True)
    ]
