"""Stage 11, second half: how much of a fact's neurons one prompt finds -> results/ways/one_prompt*.

The neurons that the fact's other wordings refine to are the truth; one prompt is asked as it is,
smoothed over noisy copies of the model, in frames that say nothing new, and with one and two more
wordings.  ways/one_prompt-<REL>.jsonl holds a line a fact, one_prompt.json what they come to.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import Any

from knowledge_neurons.experiments import single_prompt
from knowledge_neurons.figures import gallery
from knowledge_neurons.results.companions import seconds_path
from knowledge_neurons.results.growing import GrowingLines
from knowledge_neurons.results.manifests import write_manifest
from knowledge_neurons.results.single_prompt import (
    OnePromptSummary,
    SingleRecord,
    read_one_prompt,
    summaries_of,
    write_summary,
)
from knowledge_neurons.results.ways import ALONE, encode_line, encode_seconds
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import tables, ways
from knowledge_neurons.stages.inputs import Inputs
from knowledge_neurons.stages.ways import Task
from knowledge_neurons.types import Fact


def compute(inputs: Inputs, task: Task, how: single_prompt.Settings) -> dict[str, Any]:
    """Write the records of a relation's facts that are not there yet; returns their identity."""
    settings, name = inputs.settings, task.relation.name
    path = settings.results.one_prompt(name)
    scored = ways.scored_as(inputs, task.relation)
    engine = ways.engine_of(inputs, scored)
    told = {name: scored.get(name) for name in ("rule", "steps", "tolerance", "target")}
    identity = asdict(how) | told | ways.identity_of(inputs, task, scored)
    encode = partial(ways.encode, inputs.pretrained.tokenizer, inputs.max_tokens)

    def work(some: range) -> list[tuple[Fact, list[SingleRecord]]]:
        asked = [task.facts[place] for place in some]
        return [
            (fact, single_prompt.study(engine, fact, partial(encode, fact), how)) for fact in asked
        ]

    def ending(lines: GrowingLines, resumed: int) -> dict[str, Any]:
        """Noise was put on the weights and taken off again."""
        counts = {"facts": len(task.facts), "facts_resumed": resumed}
        return counts | {"model_sha256_after": inputs.check_unchanged()}

    job = Job(
        *(path, identity, f"{name} one prompt", len(task.facts), ways.GROUP, work),
        encode=lambda one: encode_line(*one),
        told=lambda place: str(task.facts[place]),
        beside=(seconds_path(path), lambda one: encode_seconds(*one)),
    )
    grow(job, settings.given, inputs.under, ending, inputs.executor)
    return identity


def main() -> None:
    settings = ways.parse(__doc__.splitlines()[0])
    inputs, every = ways.open_tasks(settings)
    tasks, results = [one for one in every if one.facts], settings.results
    how = single_prompt.Settings(settings.smoothings)
    identities = {task.relation.name: compute(inputs, task, how) for task in tasks}
    paths = [results.one_prompt(name) for name in identities]
    read = [read_one_prompt(path) for path in paths]
    records = [record for own, _ in read for record in own]
    alone = Counter({ALONE: sum(count for _, count in read)})
    first = {(one.relation, one.fact): one.neurons for one in records}
    found = OnePromptSummary(
        facts=len(first),
        neurons=sum(first.values()) / len(first) if first else None,
        chosen=ways.chosen_of(settings, every, +alone),
        ways=summaries_of(records, settings.seed),
    )
    write_summary(results.one_prompt_summary, found)
    write_manifest(results.one_prompt_summary, {"of": identities}, arguments=settings.given)
    written = gallery.save(results, gallery.one_prompt(results, found), settings.given)
    tables.show_one_prompt(found)
    for path in (*paths, results.one_prompt_summary, *written):
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
