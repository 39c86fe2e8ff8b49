"""Stage 3: suppress and amplify neurons -> results/kn/{,base_}modify_activation_rlt.json.

Usage: bash 3_run_modify_activation.sh      (see --help for every flag)

For every relation with neurons, of integrated gradients and of the baseline: the probability of the
right answer to a fact's own prompts, and to those of a fact of another relation, before, with the
fact's neurons off and with them doubled (Figures 4 and 5), and its log-odds, which still tell of a
change where that probability is near 0 or 1.  modify_activation/<REL>.jsonl holds a line a fact,
summary.json the averages with their intervals.

With --controls it also asks whose the neurons are: their effect on other facts of the relation, on
the prompts that did not find them (stage 2's --held_out), beside random neurons of the same layers,
and of those neurons alone that few facts of the relation have -> results/controls/.

With --scales 0,0.25,...,2 it draws the dose-response curve of each relation instead: the change at
every factor -> results/dose_response/ and figs/dose_response-<REL>.pdf and .png.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from knowledge_neurons.experiments import controls, modify_activation
from knowledge_neurons.experiments.modify_activation import Asked
from knowledge_neurons.figures import gallery
from knowledge_neurons.results import change_files
from knowledge_neurons.results.adopted import kinds_of
from knowledge_neurons.results.changes import (
    AMPLIFY,
    SUPPRESS,
    ChangeRecord,
    curve_of,
    modified_of,
    read_changes,
)
from knowledge_neurons.results.comparison import changes_beside, log_odds_beside
from knowledge_neurons.results.controls import (
    ControlRecord,
    effects_of,
    read_controls,
    write_effects,
)
from knowledge_neurons.results.json_files import encode_float32, write_json
from knowledge_neurons.results.manifests import is_done, read_manifest, write_manifest
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.inputs import Inputs, Relation, open_inputs, read_relations
from knowledge_neurons.types import BASELINE, KNOWLEDGE

MOST_SCALES = 200  # each is one more pass over all prompts
COMMON = 0.1  # rare neurons are those of at most this share of a relation's facts (section 5.1)


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.ModelSettings):
    """scales: factors of the dose-response curves to draw; None for suppressing and amplifying.

    controls: whether to run them.
    """

    scales: list[float] | None
    controls: bool

    @property
    def factors(self) -> list[float]:
        return [SUPPRESS, AMPLIFY] if self.scales is None else self.scales


def parse() -> Settings:
    parser = arguments.of_neurons(__doc__.splitlines()[0])
    arguments.add_relations(parser)
    arguments.add_oov(parser)
    parser.add_argument(
        "--scales",
        type=parse_scales,
        help="draw dose-response curves at these factors: a list, or 0,0.25,...,2 for even steps",
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="also: other facts of the relation, held-out prompts, random neurons, rare neurons",
    )
    arguments.add_seed(parser, "the other facts, random neurons and intervals")
    return arguments.settings(Settings, parser.parse_args())


def parse_scales(text: str) -> list[float]:
    """ "0,0.25,...,2" or "0,1,4" -> rising factors; ArgumentTypeError says what is wrong."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MOST_SCALES:
        raise argparse.ArgumentTypeError(f"{len(parts)} factors: at most {MOST_SCALES}")
    if "..." not in parts:
        return sorted(set(map(numbers.factor, parts)))
    if len(parts) != 4 or parts[2] != "...":
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected FIRST,SECOND,...,LAST")
    # As written, so that 0.1 times 3 is 0.3.
    first, second, last = (Decimal(str(numbers.factor(parts[i]))) for i in (0, 1, 3))
    if not first < second <= last or (last - first) / (second - first) >= MOST_SCALES:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}: expected rising numbers, at most {MOST_SCALES} of them"
        )
    if (last - first) % (second - first):
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r}: the last factor is not reached in steps of the first two"
        )
    steps = int((last - first) / (second - first))
    return [float(first + k * (second - first)) for k in range(steps + 1)]


def askable(inputs: Inputs) -> dict[str, list[int]]:
    """relation -> the facts that can be asked."""
    encoded = {name: inputs.encode(facts, True) for name, facts in inputs.facts.items()}
    return {name: [i for i, own in enumerate(facts) if own] for name, facts in encoded.items()}


def compute(
    inputs: Inputs, relation: Relation, known: dict[str, list[int]], path: Path
) -> list[ChangeRecord]:
    """The records of a relation's facts, from the file where it is done.  known: see `askable`."""
    settings, facts = inputs.settings, relation.facts
    identity = identity_of(inputs, relation) | {"scales": settings.factors}
    if is_done(path, identity):  # nothing is tokenised for it
        return read_changes(path, settings.factors)
    own = relation.known(inputs.encode(facts))
    others = modify_activation.draw_others(known, facts, settings.seed)
    asked = [asking(inputs, other) for other in others]
    model, scales, of_kinds = inputs.pretrained.model, settings.factors, relation.neurons
    unknown = relation.unknown

    def modify(some: range) -> list[ChangeRecord]:
        group = slice(some.start, some.stop)
        neurons = {kind: sets[group] for kind, sets in of_kinds.items()}
        their = facts[group], own[group], asked[group]
        found = modify_activation.modify(model, *their, neurons, scales)
        return [replace(r, neurons={}) if r.fact in unknown else r for r in found]

    group, encode = modify_activation.GROUP, encode_float32
    job = Job(path, identity, relation.name, len(facts), group, modify, encode)
    grow(job, settings.given, inputs.under, executor=inputs.executor)
    return read_changes(path, settings.factors)


def identity_of(inputs: Inputs, relation: Relation) -> dict[str, Any]:
    """What decides the records of a relation, but for the factors."""
    settings = inputs.settings
    found = inputs.identity | relation.identity | {"seed": settings.seed}
    found |= {"min_prompts": settings.min_prompts}
    return found | {"max_seq_length": inputs.max_tokens, "oov": settings.oov}


def asking(inputs: Inputs, fact: tuple[str, int] | None) -> Asked | None:
    """The prompts of a fact of any relation."""
    if fact is None:
        return None
    (prompts,) = inputs.encode([inputs.facts[fact[0]][fact[1]]])
    return (*fact, prompts)


def compute_controls(
    inputs: Inputs, relation: Relation, known: dict[str, list[int]]
) -> list[ControlRecord]:
    """The control records of a relation's facts, from the file where it is done."""
    settings, facts, name = inputs.settings, relation.facts, relation.name
    path = settings.results.controls(name)
    held_out = held_out_of(settings.results.fact_neurons(name, baseline=False))
    identity = identity_of(inputs, relation) | {"held_out": held_out, "common": COMMON}
    if is_done(path, identity):
        return read_controls(path)
    own = inputs.encode(facts)
    others = modify_activation.draw_others(known, facts, settings.seed)
    same = controls.draw_same(facts, own, settings.seed)
    own = relation.known(own)
    model = inputs.pretrained.model
    found = relation.neurons[KNOWLEDGE]
    sets = controls.sets_of(model, found, COMMON, settings.seed, name)
    beside = [asking(inputs, None if i is None else (name, i)) for i in same]
    elsewhere = [asking(inputs, other) for other in others]

    def control(some: range) -> list[ControlRecord]:
        group = slice(some.start, some.stop)
        neurons = {kind: of_facts[group] for kind, of_facts in sets.items()}
        their = facts[group], own[group], beside[group], elsewhere[group]
        return controls.control(model, *their, neurons, held_out)

    group = modify_activation.GROUP
    job = Job(path, identity, f"{name} controls", len(facts), group, control, encode_float32)
    grow(job, settings.given, inputs.under, executor=inputs.executor)
    return read_controls(path)


def held_out_of(neurons: Path) -> int | None:
    """Every how manieth prompt did not help stage 2 to find the neurons."""
    return (read_manifest(neurons) or {}).get("identity", {}).get("held_out")


def write_controls(
    settings: Settings, relations: dict[str, list[ControlRecord]], identity: dict[str, Any]
) -> Path:
    """The table of whose neurons change what, on the screen too."""
    found = effects_of(relations, settings.seed)
    path = settings.results.controls_summary
    write_effects(path, found)
    write_manifest(path, identity, arguments=settings.given)
    tables.show_effects(found)
    return path


def write_averages(
    settings: Settings, relations: dict[str, list[ChangeRecord]], identity: dict[str, Any]
) -> list[Path]:
    """Figures 4 and 5 in the authors' shape and as a summary with intervals."""
    results, written = settings.results, []
    for kind in kinds_of(one for own in relations.values() for one in own):
        written.append(results.modified_averages(kind == BASELINE))
        write_json(written[-1], change_files.authors_averages(relations, kind))
    found = modified_of(relations, settings.seed)
    written.append(results.changes_summary)
    change_files.write_summary(written[-1], found)
    for output in written:
        write_manifest(output, identity, arguments=settings.given)
    for title, factor in (("Figure 4: suppressed", SUPPRESS), ("Figure 5: amplified", AMPLIFY)):
        title = f"{title}, change of the right answer's probability and of its log-odds"
        rows = changes_beside(found.overall, factor) + log_odds_beside(found, factor)
        tables.show_beside(title, rows)
    tables.show("Facts", found.counts)
    if not found.log_odds:
        print(tables.NO_LOG_ODDS)
    return written


def write_curve(
    settings: Settings, relation: Relation, records: list[ChangeRecord], identity: dict[str, Any]
) -> list[Path]:
    """The dose-response curve of a relation, as numbers and as a figure."""
    results, name, told = settings.results, relation.name, settings.given
    curve = curve_of(name, records, settings.factors, settings.seed)
    change_files.write_curve(results.curve(name), curve)
    write_manifest(results.curve(name), identity, arguments=told)
    if "log_odds" not in curve:
        print(tables.NO_LOG_ODDS)
    pictures = gallery.dose_response(results, name, curve, {name: relation.facts[0].label})
    saved = (path for one in pictures for path in gallery.save(results, one, told))
    return [results.curve(name), *saved]


def main() -> None:
    settings = parse()
    inputs = open_inputs(settings)
    relations = read_relations(inputs, settings.relations)  # all, before the first is computed
    known, draws_curves = askable(inputs), settings.scales is not None
    path_of = settings.results.curve_records if draws_curves else settings.results.changes
    identity = inputs.identity | {"scales": settings.factors, "seed": settings.seed}
    found: dict[str, list[ChangeRecord]] = {}
    written: list[Path] = []
    for relation in relations:
        name = relation.name
        found[name] = compute(inputs, relation, known, path_of(name))
        if draws_curves:
            own = identity | relation.identity
            written += write_curve(settings, relation, found[name], own)
    if settings.controls:
        checked = {one.name: compute_controls(inputs, one, known) for one in relations}
    of_all = identity | {
        "neurons_sha256": {relation.name: relation.neurons_sha256 for relation in relations}
    }
    if not draws_curves:
        written = write_averages(settings, found, of_all)
    if settings.controls:
        written.append(write_controls(settings, checked, of_all))
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
