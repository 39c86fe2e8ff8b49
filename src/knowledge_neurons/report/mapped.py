"""What the fact browser shows of neuron maps, packed: a fact's neurons and their drivers."""

from __future__ import annotations

from typing import Any

from knowledge_neurons.report.packing import MOST, number, short
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.maps import MapRecord, Node, read_maps
from knowledge_neurons.types import Neuron


def maps_of(results: Results, relation: str, facts: int) -> dict[str, list]:
    """`maps`: of each fact its map, None where it has none, and after the first MOST that have one;
    nothing where stage 9 has not run.

    Raises ValueError for maps of more facts than there are.
    """
    path = results.maps(relation)
    if not path.exists():
        return {}
    found: list[dict[str, Any] | None] = [None] * facts
    count = 0
    for record in read_maps(path):
        if record.fact >= facts:
            raise ValueError(
                f"{path} has fact {record.fact}, the relation has {facts}: run stage 9 again"
            )
        if record.nodes and count < MOST:
            count += 1
            nodes = [_packed(record, node) for node in record.nodes]
            found[record.fact] = {"wordings": record.wordings, "nodes": nodes}
    return {"maps": found}


def _packed(record: MapRecord, node: Node) -> dict[str, Any]:
    """A neuron; from, adds: of each driver its number and its score; predicted, off: the change
    with it off on the first wording.

    together: predicted and measured with all that add to the neuron off.  random: what as many
    random neurons changed; None where nothing was tried.
    """
    together = [one for one in record.checked if one.neuron == node.neuron and not one.alone]
    own = next((one for one in together if not one.random), None)
    drawn = next((one for one in together if one.random), None)
    return {
        "neuron": number(node.neuron),
        "active": short(node.activation),
        "score": short(node.score),
        "share": short(node.share),
        "half": node.half,
        "from": [number(Neuron(layer, index)) for layer, index, _ in node.edges],
        "adds": [short(score) for *_, score in node.edges],
        "predicted": [short(one.predicted) for one in record.of_edges(node)],
        "off": [short(one.measured) for one in record.of_edges(node)],
        "together": own and [short(own.predicted), short(own.measured)],
        "random": drawn and short(drawn.measured),
    }
