"""How the fact browser's numbers are packed: a neuron is its layer times STRIDE plus its index."""

from __future__ import annotations

from knowledge_neurons.types import Neuron, Triplet

STRIDE = 1 << 16
MOST = 200  # facts of a relation whose sentences are embedded, and whose maps are: the first


def number(neuron: Neuron | Triplet) -> int:
    return neuron.layer * STRIDE + neuron.index


def layer_of(neuron: int) -> int:
    return neuron // STRIDE


def index_of(neuron: int) -> int:
    return neuron % STRIDE


def short(value: float) -> float:
    """Three digits are more than a picture or a table shows."""
    return float(f"{value:.3g}")
