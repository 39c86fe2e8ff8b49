"""Stage 2: knowledge neurons of every relation that has scores -> results/kn/.

Usage: bash 2_run_kn.sh      (see --help for the thresholds)

Per relation, for integrated gradients and for the activation baseline: the neurons of each fact
(kn_bag-<REL>.json) and of the relation (kn_rel-<REL>.json).
"""

from __future__ import annotations

import argparse
from dataclasses import asdict

import stage_2_arguments
from knowledge_neurons import artifacts, cli
from knowledge_neurons.experiments.neuron_statistics import NoScores, RefinedRelation, refine_scores
from knowledge_neurons.refine import Refined, Settings


def refine_and_write(args: argparse.Namespace, results: artifacts.Results, relation: str) -> dict:
    """Refine one relation, write its files; return a row for the summary."""
    path = results.scores(relation)
    thresholds = {
        False: stage_2_arguments.settings_of(args, args.coarse),
        True: stage_2_arguments.settings_of(args, args.base_coarse),
    }
    try:
        refined = refine_scores(
            artifacts.read_fact_scores(path), thresholds[False], thresholds[True]
        )
    except NoScores as error:
        raise ValueError(f"{path}: {error}") from error
    for baseline, outcome in ((False, refined.neurons), (True, refined.baseline)):
        written = artifacts.write_neurons(
            results, relation, baseline, outcome.facts, outcome.relation
        )
        manifest = _manifest(path, thresholds[baseline], outcome, refined)
        for output in written:
            artifacts.write_manifest(output, **manifest)
    return {
        "facts": len(refined.neurons.facts),
        "neurons": refined.neurons,
        "baseline": refined.baseline,
    }


def _manifest(path, settings: Settings, outcome: Refined, refined: RefinedRelation) -> dict:
    return {
        "identity": {"scores_sha256": artifacts.sha256_of(path), **asdict(settings)},
        "shared_used": outcome.shared,
        "adjustments": outcome.rounds,
        "neurons_per_fact": outcome.average,
        "facts_without_prompts": refined.without_prompts,
    }


def main() -> None:
    args = stage_2_arguments.parse(__doc__.splitlines()[0])
    results = cli.results_of(args)
    relations, rows = stage_2_arguments.scored_relations(args, results), {}
    with cli.progress(len(relations), "refining", "relation") as bar:
        for relation in relations:
            rows[relation] = refine_and_write(args, results, relation)
            bar.update()
    for relation, row in rows.items():
        ours, base = row["neurons"], row["baseline"]
        rows[relation] = (
            f"{row['facts']:5} facts   KN {ours.average:5.2f} a fact at p = {ours.shared:.2f}"
            f"   baseline {base.average:5.2f} at p = {base.shared:.2f}"
        )
    if unfinished := results.unfinished_relations():
        print(f"not yet finished by stage 1, left out: {', '.join(unfinished)}")
    cli.show(f"Knowledge neurons of {len(rows)} relations, in {results.root / 'kn'}", rows)


if __name__ == "__main__":
    cli.run(main)
