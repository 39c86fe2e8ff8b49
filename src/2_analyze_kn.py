"""Stage 2, second half: statistics of the knowledge neurons (Table 2) and their layers (Figure 3).

Reads results/kn/, writes kn/statistics.json and figs/kneurons_distribution.pdf and .png.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import time
from dataclasses import asdict

from knowledge_neurons.figures import gallery
from knowledge_neurons.neurons.neuron_statistics import Statistics, statistics
from knowledge_neurons.results.adopted import is_adopted, not_published
from knowledge_neurons.results.comparison import neurons_beside
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest, sha256_of, write_manifest
from knowledge_neurons.results.neurons import check_of_scores, read_fact_neurons
from knowledge_neurons.stages import refining, tables
from knowledge_neurons.types import BASELINE, KNOWLEDGE, Neuron


def read_neurons(
    results: Results, relations: list[str], baseline: bool
) -> dict[str, list[list[Neuron]]]:
    """Neurons of the facts that had prompts; facts left out by --oov skip do not count, nor those
    that are not among adopted neurons."""
    neurons = {}
    for relation in relations:
        path = results.fact_neurons(relation, baseline)
        facts = read_fact_neurons(path)
        manifest = read_manifest(path) or {}
        left_out = {*manifest.get("facts_without_prompts", ()), *not_published(path)}
        neurons[relation] = [fact for index, fact in enumerate(facts) if index not in left_out]
    return neurons


def count_layers(results: Results, relations: list[str], neurons: dict) -> int:
    """L of the model, from the manifests of stage 1 or of adopted neurons; from the highest neuron
    where there are none."""
    paths = [results.scores(relation) for relation in relations]
    paths += [results.fact_neurons(relation, baseline=False) for relation in relations]
    manifests = map(read_manifest, paths)
    told = [manifest["layers"] for manifest in manifests if manifest and "layers" in manifest]
    facts = [fact for kind in neurons.values() for bags in kind.values() for fact in bags]
    return max([*told, *(1 + neuron.layer for fact in facts for neuron in fact)], default=1)


def outside_band(results: Results, relations: list[str], baseline: bool) -> int:
    """Relations that no p brought to 2 to 5 neurons a fact, as far as stage 2 said so."""
    manifests = (read_manifest(results.fact_neurons(r, baseline)) for r in relations)
    return sum((manifest or {}).get("in_band") is False for manifest in manifests)


def kinds_of(results: Results, relations: list[str]) -> dict[str, list[str]]:
    """Kind of neurons -> the relations that have it: adopted neurons come without a baseline."""
    own = [r for r in relations if not is_adopted(results.fact_neurons(r, baseline=False))]
    return {KNOWLEDGE: relations} | ({BASELINE: own} if own else {})


def more_of(results: Results, relations: list[str], found: dict[str, Statistics]) -> dict[str, str]:
    """What else there is to say of the kinds of neurons."""
    sampled = (one.shared_across_sampled for one in found.values())
    outside = (str(outside_band(results, relations, kind == BASELINE)) for kind in found)
    left_out = sum(len(not_published(results.fact_neurons(r, baseline=False))) for r in relations)
    rows = {
        "shared, other relations, sampled": tables.pair(*sampled),
        "relations outside the band of p": " and ".join(outside),
    }
    return rows | ({"facts left out, not published": f"{left_out:,}"} if left_out else {})


def _sha256_of_neurons(results: Results, relation: str) -> list[str]:
    """Of the neurons and the baseline's, which the statistics were made from."""
    paths = [results.fact_neurons(relation, baseline) for baseline in (False, True)]
    return [sha256_of(path) for path in paths if path.exists()]


def main() -> None:
    settings = refining.parse(__doc__.splitlines()[0])
    results = settings.results
    started = time.perf_counter()
    relations = settings.relations or results.refined_relations(False)
    if not relations:
        raise ValueError(f"no kn_bag-<REL>.json in {results.kn}: run 2_get_kn.py first")
    for relation in relations:
        check_of_scores(results, relation)
    neurons = {
        kind: read_neurons(results, of_kind, kind == BASELINE)
        for kind, of_kind in kinds_of(results, relations).items()
    }
    layers = count_layers(results, relations, neurons)
    found = {
        kind: statistics(own, layers, settings.pairs, settings.seed)
        for kind, own in neurons.items()
    }
    write_json(results.statistics, {k: asdict(one) for k, one in found.items()}, readable=True)
    write_manifest(
        results.statistics,
        {"relations": relations, "pairs": settings.pairs, "seed": settings.seed},
        arguments=settings.given,
        neurons_sha256={r: _sha256_of_neurons(results, r) for r in relations},
        wall_seconds=round(time.perf_counter() - started, 3),
    )
    written = gallery.save(results, gallery.distribution(results, found), settings.given)
    tables.show_beside("Table 2", neurons_beside(found), more_of(results, relations, found))
    if BASELINE not in found:
        print("no baseline: these neurons were published without one")
    shares = "  ".join(f"{100 * share:.1f}" for share in found[KNOWLEDGE].layers)
    print(f"share of the neurons in each layer, lowest first (%):  {shares}")
    for path in (results.statistics, *written):
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
