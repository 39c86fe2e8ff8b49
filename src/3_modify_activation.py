"""Stage 3: suppress and amplify neurons -> results/kn/{,base_}modify_activation_rlt.json.

Usage: bash 3_run_modify_activation.sh      (see --help for every flag)

For every relation with neurons, of integrated gradients and of the baseline: the probability of the
right answer to a fact's own prompts, and to those of a fact of another relation, before, with the
fact's neurons off and with them doubled (Figures 4 and 5), and its log-odds, which still tell of a
change where that probability is near 0 or 1.  modify_activation/<REL>.jsonl holds a line a fact,
summary.json the averages with their intervals.

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

from knowledge_neurons.experiments import modify_activation
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
from knowledge_neurons.results.json_files import encode_float32, write_json
from knowledge_neurons.results.manifests import is_done, write_manifest
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.asked import askable, asking, identity_of
from knowledge_neurons.stages.inputs import Inputs, Relation, open_inputs, read_relations
from knowledge_neurons.types import BASELINE

MOST_SCALES = 200  # each is one more pass over all prompts


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.ModelSettings):
    """scales: factors of the dose-response curves to draw; None for suppressing and amplifying."""

    scales: list[float] | None

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
    arguments.add_seed(parser, "the other facts and intervals")
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
    of_all = identity | {
        "neurons_sha256": {relation.name: relation.neurons_sha256 for relation in relations}
    }
    if not draws_curves:
        written = write_averages(settings, found, of_all)
    for path in written:
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
