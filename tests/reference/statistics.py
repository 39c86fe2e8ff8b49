"""Table 2 and Figure 3 by looking at every pair of facts: the slow twin of `neuron_statistics`."""

from __future__ import annotations

from itertools import combinations


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def overlaps(neurons: dict[str, list]) -> tuple[dict[str, list[int]], list[int]]:
    """Neurons shared by each pair of facts: of one relation (per relation), and of two."""
    facts = [(name, set(fact)) for name, facts in neurons.items() for fact in facts]
    within: dict[str, list[int]] = {name: [] for name in neurons}
    across: list[int] = []
    for (name, fact), (other_name, other) in combinations(facts, 2):
        (within[name] if name == other_name else across).append(len(fact & other))
    return within, across


def layer_shares(neurons: dict[str, list], layers: int) -> list[float]:
    """Share of all facts' neurons in each layer."""
    found = [layer for facts in neurons.values() for fact in facts for layer, _ in fact]
    return [found.count(layer) / len(found) if found else 0 for layer in range(layers)]
