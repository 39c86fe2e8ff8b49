"""Stage 2's neurons of facts and relations, in the authors' shape, and the statistics of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from knowledge_neurons.neurons.neuron_statistics import Statistics
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_json, read_manifest, read_summary, sha256_of
from knowledge_neurons.types import Neuron


def write_neurons(
    results: Results,
    relation: str,
    baseline: bool,
    facts: Sequence[Sequence[Neuron]],
    shared: Sequence[Neuron],
) -> list[Path]:
    """Write the neurons of a relation's facts and those of the relation; return both paths."""
    of_facts = results.fact_neurons(relation, baseline)
    of_relation = results.relation_neurons(relation, baseline)
    write_json(of_facts, facts)
    write_json(of_relation, shared)
    return [of_facts, of_relation]


def read_fact_neurons(path: Path) -> list[list[Neuron]]:
    """The neurons of each fact, in data order.

    Raises ValueError naming the file and what in it is no neuron, or a fact that has one twice.
    """
    advice = "Expected [[layer, index], ...] for each fact: run 2_run_kn.sh again"
    facts = read_json(path, list[list[Neuron]], advice)
    for index, neurons in enumerate(facts):
        if len(set(neurons)) < len(neurons):
            raise ValueError(f"{path}: fact {index} has a neuron named twice.  {advice}")
    return facts


def check_of_scores(results: Results, relation: str) -> None:
    """Raise ValueError where neurons are of other scores than lie beside them now."""
    of_neurons, scores = results.fact_neurons(relation, baseline=False), results.scores(relation)
    made_from = (read_manifest(of_neurons) or {}).get("identity", {}).get("scores_sha256")
    if made_from and scores.exists() and sha256_of(scores) != made_from:
        raise ValueError(f"{of_neurons} is of other scores than {scores}: run 2_run_kn.sh again")


class _StatisticsFile(TypedDict):
    neurons: Statistics
    baseline: NotRequired[Statistics]  # adopted neurons have none


def read_statistics(results: Results) -> dict[str, Statistics] | None:
    """Table 2 and Figure 3 by kind of neurons; None where stage 2 has not run."""
    path = results.statistics
    if not path.exists():
        return None
    found = read_summary(path, _StatisticsFile, 2)
    lengths = {len(one.layers) for one in found.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(f"{path}: expected as many layers for both kinds.  Run stage 2 again")
    return found
