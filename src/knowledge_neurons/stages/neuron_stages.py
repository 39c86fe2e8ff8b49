"""What stages 3 to 5 have in common: arguments, the neurons they use, and how they grow a file."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knowledge_neurons.editing import interventions
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results import growing, origin
from knowledge_neurons.results.layout import ROOT, Results
from knowledge_neurons.results.manifests import is_done, sha256_of
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.stages import arguments
from knowledge_neurons.text import data
from knowledge_neurons.text.strict_json import listed
from knowledge_neurons.types import BASELINE, KINDS, Fact, FactSentences, NeuronSets

if TYPE_CHECKING:
    import torch

SENTENCES = ROOT / "data/BINGREL/final_distant_allbags_{}_new.json"
PAIRS = ROOT / "data/PARAREL/query_pairs.json"


@dataclass(frozen=True)
class Relation:
    """The facts of a relation and their neurons, checked to belong together and to the model.

    identity: what of it decides a stage's result.
    """

    name: str
    facts: list[Fact]
    neurons: NeuronSets
    identity: dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """What a stage has read, once for all relations.

    source: file of the prompts.  bags: {relation: [bag of each fact]}.  identity: what of model and
    prompts decides the result.
    """

    args: argparse.Namespace
    results: Results
    pretrained: checkpoints.Pretrained
    device: torch.device
    source: Path
    bags: dict[str, list]
    identity: dict[str, Any]

    @property
    def max_tokens(self) -> int:
        """--max_seq_length, as far as the model has positions."""
        return min(self.args.max_seq_length, self.pretrained.model.config.max_position_embeddings)


# --- arguments -------------------------------------------------------------------------------


def parser_of(description: str, max_seq_length: int) -> argparse.ArgumentParser:
    """A parser with what all three stages take."""
    parser = arguments.Parser(description=description)
    arguments.add_model(parser)
    arguments.add_prompts(parser, max_seq_length)
    arguments.add_results(parser)
    arguments.add_kn_dir(parser)
    parser.add_argument("--relations", help="P19,P36 ... (default: all that have neurons)")
    return parser


def add_sentences(parser: argparse.ArgumentParser) -> None:
    """Where the web sentences are."""
    parser.add_argument(
        "--sentences",
        default=os.environ.get("KN_SENTENCES") or str(SENTENCES),
        help="their files, {} in place of the relation (KN_SENTENCES; default: the full BINGREL)",
    )
    parser.add_argument(
        "--distant_data_dir",
        dest="sentences",
        type=_in_folder,
        help="folder of BINGREL's files: what the released scripts have for --sentences",
    )
    parser.add_argument(
        "--pairs",
        "--query_pairs_path",
        type=Path,
        default=Path(os.environ.get("KN_PAIRS") or PAIRS),
        help="head and tail of each fact (KN_PAIRS; default: the full PARAREL's query_pairs.json)",
    )


def _in_folder(folder: str) -> str:
    """The sentences in a folder of BINGREL."""
    return str(Path(folder) / SENTENCES.name)


# --- inputs ----------------------------------------------------------------------------------


def open_inputs(args: argparse.Namespace, own: str = "") -> Inputs:
    """Load the model onto its device and read the prompts.  own: the stage's folder of results."""
    device = arguments.device_of(args)
    pretrained = arguments.pretrained_of(args)
    pretrained.model.to(device)
    source, bags = arguments.read_bags(args)
    made_from = origin.of(pretrained, source)
    return Inputs(
        args, arguments.results_of(args, own), pretrained, device, source, bags, made_from
    )


def read_relations(inputs: Inputs) -> list[Relation]:
    """The relations asked for, sorted by name; ValueError for one without neurons, or whose neurons
    are not of these facts and this model."""
    results = inputs.results
    there = sorted({name for kind in KINDS for name in results.refined_relations(kind == BASELINE)})
    if not there:
        raise ValueError(f"no kn_bag-<REL>.json in {results.kn}: run 2_run_kn.sh first")
    asked = sorted(set(arguments.relations_of(inputs.args.relations))) or there
    missing = [name for name in asked if name not in there]
    if missing:
        raise ValueError(
            f"no neurons of {', '.join(missing)} in {results.kn}; there are those of "
            f"{', '.join(there)}"
        )
    return [_read_relation(inputs, name) for name in asked]


def _read_relation(inputs: Inputs, name: str) -> Relation:
    facts = data.facts_of(inputs.bags, name, inputs.source, arguments.max_facts_of(inputs.args))
    neurons, sums = {}, {}
    for kind in KINDS:
        path = inputs.results.fact_neurons(name, kind == BASELINE)
        if not path.exists():
            raise ValueError(
                f"{path}: no such file; 2_run_kn.sh writes it, beside that of the other kind"
            )
        neurons[kind] = read_fact_neurons(path)
        sums[kind] = sha256_of(path)
        origin.check(path, inputs.identity)
        facts = facts[: origin.scores_of(path).get("max_facts") or None]
        if len(neurons[kind]) != len(facts):
            raise ValueError(
                f"{path} has the neurons of {len(neurons[kind])} facts, {inputs.source} "
                f"has {len(facts)} facts of {name}: they do not belong together.  Name the prompts "
                "that stage 1 had with --data_path or KN_DATA"
            )
        for fact, own in zip(facts, neurons[kind], strict=True):
            try:
                interventions.check_neurons(inputs.pretrained.model.config, own)
            except ValueError as error:
                raise ValueError(f"{path}, {fact}: {error}; is it of another model?") from error
    return Relation(name, facts, neurons, {"relation": name, "neurons_sha256": sums})


def sentences_path(args: argparse.Namespace, relation: str) -> Path:
    """The file of a relation's sentences."""
    if args.sentences.count("{}") != 1:
        raise ValueError(
            f"--sentences {args.sentences!r}: expected one {{}} where the relation's name stands, "
            "such as data/BINGREL/sample_distant_{}.json"
        )
    return Path(args.sentences.replace("{}", relation))


def with_sentences(inputs: Inputs) -> tuple[list[Relation], list[str]]:
    """`read_relations` of those that have a file of sentences, and the names of those that have
    none; ValueError where one of --relations has none, or none has."""
    relations = read_relations(inputs)
    paths = {relation.name: sentences_path(inputs.args, relation.name) for relation in relations}
    missing = [name for name, path in paths.items() if not path.exists()]
    if missing and (inputs.args.relations or len(missing) == len(relations)):
        raise ValueError(
            f"{paths[missing[0]]}: no such file.  Name the sentences with --sentences or "
            "KN_SENTENCES, {} in place of the relation: scripts/get_data.py fetches the full "
            "BINGREL; the embedded sample is data/BINGREL/sample_distant_{}.json"
        )
    return [relation for relation in relations if relation.name not in missing], missing


def read_sentences(inputs: Inputs, relation: str) -> list[FactSentences]:
    """The sentences of all facts of a relation; ValueError where they are of other facts."""
    args = inputs.args
    pairs = data.read_pairs(args.pairs)
    if relation not in pairs:
        raise ValueError(
            f"{args.pairs} has no pairs of {relation}, only of {listed(sorted(pairs))}.  "
            "Name those of the prompts with --pairs or KN_PAIRS"
        )
    facts = data.facts_of(inputs.bags, relation, inputs.source)
    data.check_pairs(facts, pairs[relation], args.pairs)
    return data.read_sentences(sentences_path(args, relation), relation, pairs[relation])


# --- files that grow -------------------------------------------------------------------------


def grow(
    inputs: Inputs,
    path: Path,
    identity: Mapping[str, Any],
    total: int,
    group: int,
    lines_from: Callable[[int], Iterator[Sequence[bytes]]],
) -> None:
    """Compute the lines of a file, a line for each of `total` facts, showing facts done.

    lines_from: number of facts already there, a multiple of `group` -> the lines of the rest, group
    by group.  A file that is done is left alone.
    """
    if is_done(path, identity):
        return
    started = time.perf_counter()
    under = arguments.under_of(inputs.device)
    with growing.GrowingLines(path, identity, group, under=under) as lines:
        if lines.finished:
            return
        resumed = lines.done
        with arguments.progress(total, str(identity["relation"]), "fact", done=resumed) as bar:
            for some in lines_from(resumed):
                lines.append(some)
                bar.update(len(some))
        lines.finish(
            arguments=arguments.plain(inputs.args),
            **under,
            wall_seconds=round(time.perf_counter() - started, 3),
            facts=total,
            facts_resumed=resumed,
        )
