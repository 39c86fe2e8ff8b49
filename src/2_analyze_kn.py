"""Stage 2, second half: statistics of the knowledge neurons (Table 2) and their layers (Figure 3).

Reads results/kn/, writes kn/statistics.json and figs/kneurons_distribution.pdf and .png.
"""

from __future__ import annotations

from dataclasses import asdict

import stage_2_arguments
from knowledge_neurons import artifacts, cli, figures
from knowledge_neurons.experiments.neuron_statistics import Statistics, statistics
from knowledge_neurons.types import Neuron

# Table 2 of the paper: knowledge neurons, baseline.
PUBLISHED = {
    "neurons per fact": (4.13, 3.96),
    "shared, same relation": (1.23, 2.85),
    "shared, other relations": (0.09, 1.92),
}


def read_neurons(
    results: artifacts.Results, relations: list[str], baseline: bool
) -> dict[str, list[list[Neuron]]]:
    """Neurons of the facts that had prompts; facts left out by --oov skip do not count."""
    neurons = {}
    for relation in relations:
        path = results.fact_neurons(relation, baseline)
        facts = artifacts.read_fact_neurons(path)
        manifest = artifacts.read_manifest(path) or {}
        left_out = set(manifest.get("facts_without_prompts", ()))
        neurons[relation] = [fact for index, fact in enumerate(facts) if index not in left_out]
    return neurons


def count_layers(results: artifacts.Results, relations: list[str], neurons: dict) -> int:
    """L of the model, from stage 1's manifests; from the highest neuron where there are none."""
    manifests = [artifacts.read_manifest(results.scores(relation)) for relation in relations]
    told = [manifest["layers"] for manifest in manifests if manifest and "layers" in manifest]
    facts = [fact for kind in neurons.values() for bags in kind.values() for fact in bags]
    return max([*told, *(1 + neuron.layer for fact in facts for neuron in fact)], default=1)


def print_table(ours: Statistics, base: Statistics) -> None:
    """Table 2, ours beside the paper's."""

    def number(value: float | None) -> str:
        return "     -" if value is None else f"{value:6.2f}"

    rows = {
        "": "    KN  baseline   | paper: KN  baseline",
        "neurons per fact": (ours.per_fact, base.per_fact),
        "shared, same relation": (ours.shared_within, base.shared_within),
        "shared, other relations": (ours.shared_across, base.shared_across),
        "  the same, sampled": (ours.shared_across_sampled, base.shared_across_sampled),
    }
    for name, values in rows.items():
        if name:
            rows[name] = f"{number(values[0])}    {number(values[1])}   |"
        if name in PUBLISHED:
            rows[name] += "    {:6.2f}    {:6.2f}".format(*PUBLISHED[name])
    cli.show("Table 2 (the paper's numbers are of bert-base-cased)", rows)


def main() -> None:
    args = stage_2_arguments.parse(__doc__.splitlines()[0])
    results = cli.results_of(args)
    relations = args.relations.split(",") if args.relations else results.refined_relations(False)
    if not relations:
        raise ValueError(f"no kn_bag-<REL>.json in {results.root / 'kn'}: run 2_get_kn.py first")
    neurons = {baseline: read_neurons(results, relations, baseline) for baseline in (False, True)}
    layers = count_layers(results, relations, neurons)
    ours, base = (
        statistics(neurons[baseline], layers, args.pairs, args.seed) for baseline in (False, True)
    )
    artifacts.write_json(
        results.statistics, {"neurons": asdict(ours), "baseline": asdict(base)}, readable=True
    )
    artifacts.write_manifest(
        results.statistics, {"relations": relations, "pairs": args.pairs, "seed": args.seed}
    )
    print_table(ours, base)
    figure = figures.layer_distribution(ours.layers, base.layers)
    written = figures.save(figure, results.figure("kneurons_distribution"))
    shares = "  ".join(f"{100 * share:.1f}" for share in ours.layers)
    print(f"share of the neurons in each layer, lowest first (%):  {shares}")
    for path in (results.statistics, *written):
        print(f"wrote {path}")


if __name__ == "__main__":
    cli.run(main)
