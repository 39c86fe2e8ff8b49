"""Stage 2, second half: statistics of the knowledge neurons (Table 2) and their layers (Figure 3).

Reads results/kn/, writes kn/statistics.json and figs/kneurons_distribution.pdf and .png.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import time
from dataclasses import asdict

from knowledge_neurons.figures import plots
from knowledge_neurons.neurons.neuron_statistics import Statistics, statistics
from knowledge_neurons.results import artifacts, published, storage
from knowledge_neurons.stages import arguments, stage_2_arguments
from knowledge_neurons.types import Neuron


def read_neurons(
    results: artifacts.Results, relations: list[str], baseline: bool
) -> dict[str, list[list[Neuron]]]:
    """Neurons of the facts that had prompts; facts left out by --oov skip do not count."""
    neurons = {}
    for relation in relations:
        path = results.fact_neurons(relation, baseline)
        facts = artifacts.read_fact_neurons(path)
        manifest = storage.read_manifest(path) or {}
        left_out = set(manifest.get("facts_without_prompts", ()))
        neurons[relation] = [fact for index, fact in enumerate(facts) if index not in left_out]
    return neurons


def count_layers(results: artifacts.Results, relations: list[str], neurons: dict) -> int:
    """L of the model, from stage 1's manifests; from the highest neuron where there are none."""
    manifests = [storage.read_manifest(results.scores(relation)) for relation in relations]
    told = [manifest["layers"] for manifest in manifests if manifest and "layers" in manifest]
    facts = [fact for kind in neurons.values() for bags in kind.values() for fact in bags]
    return max([*told, *(1 + neuron.layer for fact in facts for neuron in fact)], default=1)


def outside_band(results: artifacts.Results, relations: list[str], baseline: bool) -> int:
    """Relations that no p brought to 2 to 5 neurons a fact, as far as stage 2 said so."""
    manifests = (storage.read_manifest(results.fact_neurons(r, baseline)) for r in relations)
    return sum((manifest or {}).get("in_band") is False for manifest in manifests)


def print_table(ours: Statistics, base: Statistics, outside: tuple[int, int]) -> None:
    """Table 2, ours beside the paper's.  outside: relations of each kind outside the band."""
    values = {
        "neurons per fact": (ours.per_fact, base.per_fact),
        "shared, same relation": (ours.shared_within, base.shared_within),
        "shared, other relations": (ours.shared_across, base.shared_across),
        "  the same, sampled": (ours.shared_across_sampled, base.shared_across_sampled),
    }
    rows, paper = {"": "    KN  baseline  |  paper: KN  baseline"}, published.TABLE_2.rows
    for name, (mine, theirs) in values.items():
        beside = "{:11.2f}{:10.2f}".format(*paper[name]) if name in paper else ""
        rows[name] = f"{_number(mine):>6}{_number(theirs):>10}  |{beside}"
    rows["relations outside the band of p"] = f"{outside[0]:>6}{outside[1]:>10}  |"
    arguments.show("Table 2 (the paper's numbers are of bert-base-cased)", rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _sha256_of_neurons(results: artifacts.Results, relation: str) -> list[str]:
    """sha256 of the neurons and of the baseline's, which the statistics were made from."""
    return [storage.sha256_of(results.fact_neurons(relation, base)) for base in (False, True)]


def check_fresh(results: artifacts.Results, relation: str) -> None:
    """Raise ValueError where neurons are of other scores than lie beside them now."""
    manifest = storage.read_manifest(results.fact_neurons(relation, baseline=False)) or {}
    made_from = manifest.get("identity", {}).get("scores_sha256")
    scores = results.scores(relation)
    if made_from and scores.exists() and storage.sha256_of(scores) != made_from:
        raise ValueError(
            f"the neurons of {relation} are of other scores than {scores}: run 2_get_kn.py again"
        )


def main() -> None:
    args = stage_2_arguments.parse(__doc__.splitlines()[0])
    results = arguments.results_of(args)
    started = time.perf_counter()
    relations = arguments.relations_of(args.relations) or results.refined_relations(False)
    if not relations:
        raise ValueError(f"no kn_bag-<REL>.json in {results.kn}: run 2_get_kn.py first")
    for relation in relations:
        check_fresh(results, relation)
    neurons = {baseline: read_neurons(results, relations, baseline) for baseline in (False, True)}
    layers = count_layers(results, relations, neurons)
    ours, base = (
        statistics(neurons[baseline], layers, args.pairs, args.seed) for baseline in (False, True)
    )
    storage.write_json(
        results.statistics, {"neurons": asdict(ours), "baseline": asdict(base)}, readable=True
    )
    print_table(ours, base, tuple(outside_band(results, relations, b) for b in (False, True)))
    figure = plots.layer_distribution(ours.layers, base.layers)
    written = plots.save(figure, results.figure("kneurons_distribution"))
    for output in (results.statistics, *written):
        storage.write_manifest(
            output,
            {"relations": relations, "pairs": args.pairs, "seed": args.seed},
            arguments=arguments.plain(args),
            neurons_sha256={r: _sha256_of_neurons(results, r) for r in relations},
            wall_seconds=round(time.perf_counter() - started, 3),
        )
    shares = "  ".join(f"{100 * share:.1f}" for share in ours.layers)
    print(f"share of the neurons in each layer, lowest first (%):  {shares}")
    for path in (results.statistics, *written):
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
