"""Stage 2: knowledge neurons of every relation that has scores -> results/kn/.

Usage: bash 2_run_kn.sh      (see --help for the thresholds)

Per relation, for integrated gradients and for the activation baseline: the neurons of each fact
(kn_bag-<REL>.json) and of the relation (kn_rel-<REL>.json).  Nothing is written before every
relation has been read and refined.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from knowledge_neurons.neurons.neuron_statistics import NoScores, RefinedRelation, refine_scores
from knowledge_neurons.neurons.refine import KEEP, Refined, Thresholds
from knowledge_neurons.results import origin
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import read_manifest, sha256_of, write_manifest
from knowledge_neurons.results.neurons import write_neurons
from knowledge_neurons.results.scores import read_fact_scores
from knowledge_neurons.runs.grow import progress
from knowledge_neurons.stages import refining, tables
from knowledge_neurons.stages.refining import Settings

FEWEST_FACTS = 10  # of a relation in which a neuron of most of them is worth a word


def scored_relations(settings: Settings) -> list[str]:
    """The relations asked for, all of which must have scores; ValueError says which have."""
    results = settings.results
    scored = results.scored_relations()
    if not scored:
        unfinished = ", ".join(results.unfinished_relations())
        begun = f"  Not yet finished: {unfinished}." if unfinished else ""
        raise ValueError(
            f"no {results.prefix}-<REL>.rlt.jsonl in {results.root}: run stage 1 first, for "
            f"example bash 1_run_mlm.sh P101.{begun}"
        )
    missing = [relation for relation in settings.relations if relation not in scored]
    if missing:
        raise ValueError(
            f"no scores for {', '.join(missing)} in {results.root}; there are {', '.join(scored)}"
        )
    return settings.relations or scored


def check_scores(results: Results, relations: list[str], lowest: float) -> dict[str, dict]:
    """Relation -> identity of its scores; empty for a file of the released code.

    Raises ValueError for scores that were made differently from each other, or that lack the
    entries that the lowest threshold asks for.
    """
    identities = {}
    for relation in relations:
        path = results.scores(relation)
        identity = (read_manifest(path) or {}).get("identity", {})
        keep = identity.get("keep", KEEP)
        if keep > lowest:
            raise ValueError(
                f"{path} holds only scores >= {keep} of the largest, refining at {lowest} needs "
                f"more: run stage 1 with --keep {lowest}"
            )
        identities[relation] = identity
    if difference := origin.first_difference(identities, origin.SCORING):
        raise ValueError(
            f"the scores {difference}: they do not belong together.  Refine them apart with "
            "--relations, or run stage 1 again for one of them"
        )
    return identities


def refine(path: Path, settings: Settings) -> RefinedRelation:
    """Refine one relation; errors name its file."""
    own, baseline = (settings.thresholds[kind] for kind in (False, True))
    scores = read_fact_scores(path, answer_token=settings.answer_token)
    try:
        return refine_scores(scores, own, baseline, settings.held_out)
    except NoScores as error:
        raise ValueError(f"{path} {error} (--get_ig_gold, --get_base)") from error


def write(
    settings: Settings, relation: str, refined: RefinedRelation, scores: dict, seconds: float
) -> None:
    """Write the files of one relation, each with its manifest.  scores: their identity."""
    results = settings.results
    made_from = {"scores": scores, "scores_sha256": sha256_of(results.scores(relation))}
    made_from |= {"held_out": settings.held_out, "answer_token": settings.answer_token}
    for baseline, outcome in ((False, refined.neurons), (True, refined.baseline)):
        for output in write_neurons(results, relation, baseline, outcome.facts, outcome.relation):
            write_manifest(
                output,
                made_from | asdict(settings.thresholds[baseline]),
                arguments=settings.given,
                shared_used=outcome.shared,
                rounds_used=outcome.rounds,
                neurons_per_fact=outcome.average,
                in_band=outcome.in_band,
                facts_without_prompts=refined.without_prompts,
                wall_seconds=seconds,
            )


def main() -> None:
    settings = refining.parse(__doc__.splitlines()[0])
    results, thresholds = settings.results, settings.thresholds
    relations = scored_relations(settings)
    lowest = min(one.coarse for one in thresholds.values())
    identities = check_scores(results, relations, lowest)
    refined: dict[str, RefinedRelation] = {}
    seconds: dict[str, float] = {}
    with progress(len(relations), "refining", "relation") as bar:
        for relation in relations:
            started = time.perf_counter()
            refined[relation] = refine(results.scores(relation), settings)
            seconds[relation] = round(time.perf_counter() - started, 3)
            bar.update()
    for relation, outcome in refined.items():
        write(settings, relation, outcome, identities[relation], seconds[relation])
    if unfinished := results.unfinished_relations():
        print(f"not yet finished by stage 1, left out: {', '.join(unfinished)}")
    rows = {relation: _row(outcome) for relation, outcome in refined.items()}
    tables.show(f"Knowledge neurons of {len(rows)} relations, in {results.kn}", rows)
    if outside := advice(refined, thresholds):
        tables.show("Not the paper's setting", outside)
    if shared := shared_by_most(refined):
        tables.show("Neurons of most facts, so hardly of one: --max_share leaves them out", shared)


# --- showing ---------------------------------------------------------------------------------


def _row(refined: RefinedRelation) -> str:
    ours, base = refined.neurons, refined.baseline
    return (
        f"{len(ours.facts):5} facts   KN {_average(ours)} a fact at p = {ours.shared:.2f}"
        f"   baseline {_average(base)} at p = {base.shared:.2f}"
    )


def _average(refined: Refined) -> str:
    """Neurons a fact, marked where p did not bring them into the band."""
    return f"{refined.average:5.2f}{' ' if refined.in_band else '*'}"


def shared_by_most(refined: dict[str, RefinedRelation]) -> dict[str, str]:
    """Relation -> the knowledge neurons that more than half of its facts have, of enough facts."""
    rows = {}
    for relation, outcome in refined.items():
        facts = outcome.neurons.facts
        counts = Counter(neuron for own in facts for neuron in own)
        most = [(n, count) for n, count in counts.most_common(3) if 2 * count > len(facts)]
        if most and len(facts) >= FEWEST_FACTS:
            rows[relation] = ", ".join(
                f"layer {n.layer} neuron {n.index} ({count / len(facts):.0%})" for n, count in most
            )
    return rows


def advice(
    refined: dict[str, RefinedRelation], thresholds: dict[bool, Thresholds]
) -> dict[str, str]:
    """For each kind of neurons that p left outside the band: where, and what to try."""
    rows = {}
    for baseline, kind, flag in ((False, "KN", "--coarse"), (True, "baseline", "--base_coarse")):
        used = thresholds[baseline]
        averages = {
            name: (one.baseline if baseline else one.neurons).average
            for name, one in refined.items()
        }
        above = [name for name, average in averages.items() if average > used.most]
        below = [name for name, average in averages.items() if average < used.fewest]
        for names, said, way in (
            (above, f"more than {used.most:g}", "above"),
            (below, f"fewer than {used.fewest:g}", "below"),
        ):
            if names:
                rows[f"* {kind} of {', '.join(names)}"] = (
                    f"{said} a fact at the last p tried: try {flag} {way} {used.coarse:g}"
                )
    return rows


if __name__ == "__main__":
    program.run(main)
