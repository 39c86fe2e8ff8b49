"""Stage 11: scorers compared on facts that the model knows -> results/ways/scorers*.

Usage: bash 11_compare_ways.sh [--relations P36 --facts 20]      (see --help for every flag)

What each scorer costs a prompt, how it agrees with switching neurons off one by one, what switching
its strongest off, or leaving only them on, does to P(answer), and how many of the refined neurons
it finds.  ways/scorers-<REL>.jsonl holds a line a fact, scorers.json what they come to.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from dataclasses import asdict
from typing import Any

from knowledge_neurons.experiments import compare_scorers
from knowledge_neurons.figures import gallery
from knowledge_neurons.results.companions import seconds_path
from knowledge_neurons.results.manifests import write_manifest
from knowledge_neurons.results.scorers import (
    ScorerRecord,
    ScorersSummary,
    read_scorers,
    summaries_of,
    write_summary,
)
from knowledge_neurons.results.ways import encode_line, encode_seconds
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import numbers, tables, ways
from knowledge_neurons.stages.inputs import Inputs
from knowledge_neurons.stages.ways import Task
from knowledge_neurons.types import Fact


def compute(inputs: Inputs, task: Task) -> dict[str, Any]:
    """Write the records of a relation's facts that are not there yet; returns their identity."""
    settings, model, name = inputs.settings, inputs.pretrained.model, task.relation.name
    path, seed = settings.results.compared_scorers(name), settings.seed
    scored = ways.scored_as(inputs, task.relation)
    how = how_of(settings, scored["layers"])
    identity = asdict(how) | ways.identity_of(inputs, task, scored)

    def work(some: range) -> list[tuple[Fact, list[ScorerRecord]]]:
        found = []
        for place in some:
            fact, own = task.facts[place], task.neurons[place]
            records = compare_scorers.compare(model, fact, task.prompts[place], own, how, seed)
            found.append((fact, records))
        return found

    job = Job(
        *(path, identity, f"{name} scorers", len(task.facts), ways.GROUP, work),
        encode=lambda one: encode_line(*one),
        told=lambda place: str(task.facts[place]),
        beside=(seconds_path(path), lambda one: encode_seconds(*one)),
    )
    grow(job, settings.given, inputs.under, executor=inputs.executor)
    return identity


def how_of(settings: ways.Settings, layers: str) -> compare_scorers.Settings:
    strongest, drawn = settings.candidates
    return compare_scorers.Settings(
        settings.scorers,
        strongest=strongest,
        random=drawn,
        wordings=settings.wordings,
        layers=numbers.layers(layers),
    )


def main() -> None:
    settings = ways.parse(__doc__.splitlines()[0])
    inputs, every = ways.open_tasks(settings)
    tasks, results = [one for one in every if one.facts], settings.results
    identities = {task.relation.name: compute(inputs, task) for task in tasks}
    inputs.executor.close()  # the other script has workers of its own
    paths = [results.compared_scorers(name) for name in identities]
    records = [record for path in paths for record in read_scorers(path)]
    how, shape = compare_scorers.Settings(), inputs.pretrained.model.shape
    asked = {(one.relation, one.fact, one.prompt) for one in records}
    found = ScorersSummary(
        facts=sum(len(task.facts) for task in tasks),
        prompts=len(asked),
        neurons=shape.layers * shape.neurons,
        ks=[*how.ks],
        shares=[*how.shares],
        chosen=ways.chosen_of(settings, every),
        scorers=summaries_of(records, settings.seed),
    )
    write_summary(results.scorers_summary, found)
    write_manifest(results.scorers_summary, {"of": identities}, arguments=settings.given)
    written = gallery.save(results, gallery.scorers(results, found), settings.given)
    tables.show_scorers(found)
    for path in (*paths, results.scorers_summary, *written):
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
