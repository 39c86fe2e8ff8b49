"""Neuron maps on disk: a record a fact, and what many of them come to.

A line: the fact, its neurons with their drivers, and every change that was predicted and measured.
A relation's summary: how far the predictions hold, and between which layers drivers work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_records, read_summary
from knowledge_neurons.types import Count, Index, Layer, Neuron, Number, Share

MOST_POINTS = 200  # of a kind that a summary keeps for its figure


@dataclass(frozen=True)
class Node:
    """A neuron of a fact and what drives it.

    activation: at the position read, its mean over the wordings.  score: of P(answer).
    edges: (layer, index, score) of the drivers kept, strongest first, in units of the activation:
    over a layer all scores sum to what the activation loses with the layer silent there.
    share: of the absolute scores of all drivers that the edges hold.  half: how many drivers hold
    half of them.  layers: what share of them lies in each layer below, from 0.
    """

    neuron: Neuron
    activation: Number
    score: Number
    edges: list[tuple[Layer, Index, Number]]
    share: Share
    half: Count
    layers: list[Share]


@dataclass(frozen=True)
class Checked:
    """The change of a neuron's activation on one prompt with others switched off.

    off: which.  random: whether they are random ones.  predicted, measured: in activation.
    """

    neuron: Neuron
    off: list[Neuron]
    random: bool
    predicted: Number
    measured: Number

    @property
    def alone(self) -> bool:
        """Whether one neuron was switched off by itself."""
        return len(self.off) == 1


@dataclass(frozen=True)
class MapRecord:
    """A fact's map.  wordings: that it is the mean of; 0 where the fact cannot be asked."""

    relation: str
    fact: Index
    answer: str
    wordings: Count
    nodes: list[Node]
    checked: list[Checked]

    def of_edges(self, node: Node) -> list[Checked]:
        """The change with each edge of a node switched off alone, in the order of the edges."""
        return [
            one
            for one in self.checked
            if one.alone and not one.random and one.neuron == node.neuron
        ]


class Point(NamedTuple):
    """A change as a share of its neuron's activation, and the layer of what was switched off."""

    predicted: Number
    measured: Number
    layer: Layer


@dataclass(frozen=True)
class Agreement:
    """How changes that were predicted agree with those measured, one neuron off at a time.

    count: of changes.  r: their correlation; slope: measured on predicted, through the origin;
    sign: share whose sign is right.  Each None where nothing can tell.
    """

    count: Count
    r: Number | None
    slope: Number | None
    sign: Share | None


@dataclass(frozen=True)
class Validation:
    """How well edges predict; each change as a share of its neuron's activation, whose sign counts:
    what is negative brings it nearer to 0, also where it fires negatively.

    edges: over all drivers; upper: over those above layer 0; random: over random neurons of the
    same layers.  together: measured over predicted sum, all that add to a neuron off at once.
    taken: what these take from the activation, the median; taken_by_random: what as many random
    ones do.  None where nothing can tell.
    """

    edges: Agreement
    upper: Agreement
    random: Agreement
    together: Number | None
    taken: Number | None
    taken_by_random: Number | None


class Flow(NamedTuple):
    """What drives the neurons of a layer.

    neurons: how many they are.  shares: of each layer below, from 0, the share of the absolute
    scores that lies there, the mean over the neurons.
    """

    layer: Layer
    neurons: Count
    shares: list[Share]


@dataclass(frozen=True)
class MapSummary:
    """What the maps of a relation's facts come to.

    facts: that have a map; left_out: that have none, without neurons or prompts.  neurons: mapped,
    over all facts; driven: those of them with drivers.  share, half: see `Node`, the mean and the
    median over these.  edges, random: MOST_POINTS changes at most, evenly from all.
    """

    facts: Count
    left_out: Count
    neurons: Count
    driven: Count
    share: Share | None
    half: Number | None
    validation: Validation
    flow: list[Flow]
    edges: list[Point]
    random: list[Point]


# --- files -------------------------------------------------------------------------------------


def read_maps(path: Path) -> Iterator[MapRecord]:
    """Stage 9's records, one at a time; ValueError names file, line and what does not fit."""
    return read_records(path, MapRecord, _check)


def _check(record: MapRecord) -> None:
    for node in record.nodes:
        if len(node.layers) > node.neuron.layer:
            raise ValueError(f"neuron {list(node.neuron)} has drivers in {len(node.layers)} layers")
        edges = [Neuron(*edge[:2]) for edge in node.edges]
        if [one.off[0] for one in record.of_edges(node)] != edges:
            raise ValueError(
                f"neuron {list(node.neuron)}: what was checked is not its {len(edges)} edges"
            )
    if not all(one.off for one in record.checked):
        raise ValueError("a change was checked with nothing switched off")
    there = {node.neuron for node in record.nodes}
    if any(one.neuron not in there for one in record.checked):
        raise ValueError("a change was checked of a neuron that is not of the fact")


def write_summary(path: Path, found: MapSummary) -> None:
    write_json(path, found)


def read_summaries(results: Results) -> dict[str, MapSummary]:
    """Relation -> what its maps come to."""
    names = results.mapped_relations()
    return {name: read_summary(results.map_summary(name), MapSummary, 9) for name in names}


# --- many maps ---------------------------------------------------------------------------------


@dataclass
class _Changes:
    """All changes of many maps.  together: predicted and measured of a node's adding drivers."""

    edges: list[Point] = field(default_factory=list)
    random: list[Point] = field(default_factory=list)
    together: list[tuple[float, float]] = field(default_factory=list)
    by_random: list[float] = field(default_factory=list)

    def add(self, record: MapRecord) -> None:
        sizes = {node.neuron: node.activation for node in record.nodes}
        for one in record.checked:
            size = sizes[one.neuron]
            if not size:
                continue
            point = Point(one.predicted / size, one.measured / size, one.off[0].layer)
            if one.alone:
                (self.random if one.random else self.edges).append(point)
            elif one.random:
                self.by_random.append(point.measured)
            else:
                self.together.append(point[:2])

    @property
    def validation(self) -> Validation:
        upper = [point for point in self.edges if point.layer > 0]
        predicted, measured = np.array(self.together).reshape(-1, 2).T
        return Validation(
            *map(_agreement, (self.edges, upper, self.random)),
            float(measured.sum() / predicted.sum()) if predicted.any() else None,
            float(np.median(-measured)) if len(measured) else None,
            float(-np.median(self.by_random)) if self.by_random else None,
        )


def validation_of(records: Iterable[MapRecord]) -> Validation:
    """Of many maps together."""
    changes = _Changes()
    for record in records:
        changes.add(record)
    return changes.validation


def summary_of(records: Iterable[MapRecord]) -> MapSummary:
    """Of many maps together."""
    changes, left_out, facts, neurons = _Changes(), 0, 0, 0
    kept: list[tuple[int, float, int, list[float]]] = []  # layer, share, half, layers of a node
    for record in records:
        left_out += not record.nodes
        facts += bool(record.nodes)
        neurons += len(record.nodes)
        driven = (node for node in record.nodes if node.edges)
        kept += [(one.neuron.layer, one.share, one.half, one.layers) for one in driven]
        changes.add(record)
    flow = []
    for layer in sorted({one[0] for one in kept}):
        own = [one[3] for one in kept if one[0] == layer]
        flow.append(Flow(layer, len(own), np.mean(own, axis=0).tolist()))
    return MapSummary(
        facts,
        left_out,
        neurons,
        len(kept),
        float(np.mean([one[1] for one in kept])) if kept else None,
        float(np.median([one[2] for one in kept])) if kept else None,
        changes.validation,
        flow,
        _some(changes.edges),
        _some(changes.random),
    )


def _some(points: Sequence[Point]) -> list[Point]:
    """MOST_POINTS of them at most, evenly, with the digits of float32."""
    places = np.linspace(0, len(points) - 1, min(MOST_POINTS, len(points))).round().astype(int)
    return [
        Point(*map(np.float32, points[place][:2]), points[place].layer) for place in places.tolist()
    ]


def _agreement(points: Sequence[Point]) -> Agreement:
    x, y = np.array([point[:2] for point in points]).reshape(-1, 2).T
    return Agreement(
        len(points),
        float(np.corrcoef(x, y)[0, 1]) if len(x) > 2 and x.std() and y.std() else None,
        float(x @ y / (x @ x)) if x.any() else None,
        float(np.mean(np.sign(x) == np.sign(y))) if len(x) else None,
    )
