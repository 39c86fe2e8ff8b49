"""The knowledge neurons that EleutherAI published of the real bert-base-uncased, as results.

What `get_data.py --published-neurons` does: 27,610 facts, by uuid in eight files; the uuids' heads
and tails are in PARAREL's trex_lms_vocab.  Facts of our PARAREL (relation, head and tail the same
to the letter) get their neurons in kn/kn_bag-<REL>.json; the others are listed in
not_in_the_data.json.  Everything is read and checked before the first file is written.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from data_sources import HttpSource, LocalSource, sha256

from knowledge_neurons import ROOT
from knowledge_neurons.results import adopted
from knowledge_neurons.results.adopted import ToldFact, ToldRelation
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import sha256_of, write_manifest
from knowledge_neurons.text import data
from knowledge_neurons.types import Adopted, Fact, Neuron

DEFAULT_RESULTS = ROOT / "results" / "published-bert-base-uncased"
WEB = "https://raw.githubusercontent.com"
NEURONS_AT = "EleutherAI/knowledge-neurons"
COMMIT = "cc1b8d45260602e5c2e7baf46d7c323a86508ac9"  # the one that added the files
FACTS_AT, FACTS_COMMIT = "yanaiela/pararel", "845c42a218d9d26ae9d2cc9ba2ba780741c4e57e"
LAYERS, WIDTH = 12, 3072  # of bert-base-uncased
CACHE = ".download"


class Layout(NamedTuple):
    """Where a source keeps its files; {} is the part, or the relation."""

    neurons: str
    facts: str


NEURONS, FACTS = "bert-base-uncased_pararel_neurons_{}.json", "trex_lms_vocab/{}.jsonl"
FLAT = Layout(f"published_neurons/bert-base-uncased/{NEURONS}", f"published_neurons/{FACTS}")
CLONES = Layout(f"knowledge-neurons/bert_base_uncased_neurons/{NEURONS}", f"pararel/data/{FACTS}")
ADDRESSES = Layout(
    f"{NEURONS_AT}/{COMMIT}/bert_base_uncased_neurons/{NEURONS}",
    f"{FACTS_AT}/{FACTS_COMMIT}/data/{FACTS}",
)
CLONED = f"https://github.com/{NEURONS_AT} and of https://github.com/{FACTS_AT}, side by side"


@dataclass(frozen=True)
class Expected:
    """How many files and facts were published, how many of PARAREL, the rest's relations."""

    parts: int
    facts: int
    placed: int
    others: tuple[str, ...]


EXPECTED = Expected(8, 27_610, 23_749, ("P1001", "P131", "P17", "P276", "P361"))

# How they were made: pararel_evaluate.py of that repository with its defaults.
ADOPTED = Adopted(
    by="EleutherAI",
    repository=f"https://github.com/{NEURONS_AT}",
    commit=COMMIT,
    model="bert-base-uncased",
    settings={
        "coarse": "above 0.3 of the prompt's largest score",
        "refined": "in more than 0.3 of the prompts, the same p for all relations",
        "path": "linspace(0, 1, 20), both ends, the sum divided by 20",
        "baseline": "none published",
    },
)


class Who(NamedTuple):
    """The fact of a uuid."""

    relation: str
    head: str
    tail: str


def check_neurons(raw: bytes) -> dict[str, list[Neuron]]:
    """uuid -> neurons in (layer, index) order; ValueError for one that the model does not have."""
    found = msgspec.json.decode(raw, type=dict[str, list[Neuron]])
    for uuid, neurons in found.items():
        beyond = [list(n) for n in neurons if n.layer >= LAYERS or n.index >= WIDTH]
        if beyond or not neurons or len(set(neurons)) < len(neurons):
            wanted = f"some, each once, of {LAYERS} layers of {WIDTH:,}"
            raise ValueError(
                f"got neurons {beyond[:1] or neurons[:3]} of {uuid}, expected {wanted}"
            )
    return {uuid: sorted(neurons) for uuid, neurons in found.items()}


def check_facts(raw: bytes, relation: str) -> dict[str, Who]:
    """uuid -> fact, of one relation."""
    rows = [msgspec.json.decode(line) for line in raw.splitlines() if line.strip()]
    facts = {row["uuid"]: Who(relation, row["sub_label"], row["obj_label"]) for row in rows}
    if len(facts) < len(rows):
        raise ValueError(f"got {len(rows) - len(facts)} uuids twice, expected each once")
    return facts


def merge(neurons: dict[str, list[Neuron]], facts: dict[str, Who]) -> dict[Who, list[Neuron]]:
    """Fact -> its neurons; ValueError for a uuid without a fact, or a fact with two answers.

    A fact may have several uuids: those published have the same neurons each time.
    """
    found: dict[Who, list[Neuron]] = {}
    if unknown := [uuid for uuid in neurons if uuid not in facts]:
        raise ValueError(f"got {len(unknown):,} uuids that no fact has, such as {unknown[0]}")
    for uuid, own in neurons.items():
        if found.setdefault(facts[uuid], own) != own:
            raise ValueError(f"got two sets of neurons of {tuple(facts[uuid])}, expected one")
    return found


@dataclass(frozen=True)
class Published:
    """All that was read: neurons by uuid and by fact, and the sha256 of every file."""

    by_uuid: dict[str, list[Neuron]]
    who: dict[str, Who]
    by_fact: dict[Who, list[Neuron]]
    sha256: dict[str, str]


def read(source: LocalSource | HttpSource, relations: list[str]) -> Published:
    """Read and check all files; ValueError as `merge`, or for other counts than were published."""
    expected, layout, sums = EXPECTED, source.layout, {}

    def take(path: str, check: Any) -> dict:
        raw, found = source.read(path, check)
        sums[Path(path).name] = sha256(raw)
        return found

    by_uuid: dict[str, list[Neuron]] = {}
    for part in range(expected.parts):
        by_uuid |= take(layout.neurons.format(part), check_neurons)
    if len(by_uuid) != expected.facts:
        raise ValueError(f"got {len(by_uuid):,} facts with neurons, expected {expected.facts:,}")
    who: dict[str, Who] = {}
    for relation in sorted({*relations, *expected.others}):
        who |= take(layout.facts.format(relation), partial(check_facts, relation=relation))
    return Published(by_uuid, who, merge(by_uuid, who), sums)


@dataclass(frozen=True)
class Pararel:
    """The facts of every relation in data order, beside them who they are.  prompts: their file."""

    prompts: Path
    facts: dict[str, list[Fact]]
    who: dict[str, list[Who]]


def read_pararel(folder: Path) -> Pararel:
    """PARAREL as get_data.py has built it; ValueError where it has not."""
    prompts, pairs_at = (
        folder / "PARAREL/data_all_allbags.json",
        folder / "PARAREL/query_pairs.json",
    )
    if not (prompts.is_file() and pairs_at.is_file()):
        raise ValueError(
            f"{prompts.parent}: PARAREL is not built, whose facts the neurons are of. Run "
            "scripts/get_data.py --only pararel first, with the same --from and --output"
        )
    bags, pairs = data.read_bags(prompts), data.read_pairs(pairs_at)
    facts = {relation: data.facts_of(bags, relation, prompts) for relation in bags}
    for relation, own in facts.items():
        data.check_pairs(own, pairs.get(relation, []), pairs_at)
    who = {name: [Who(name, *pair) for pair in pairs[name]] for name in facts}
    return Pararel(prompts, facts, who)


def find_unplaced(published: Published, pararel: Pararel) -> dict[str, Who]:
    """uuid -> fact, of those that PARAREL does not have; ValueError for another count of others."""
    there = {who for own in pararel.who.values() for who in own}
    unplaced = {u: published.who[u] for u in published.by_uuid if published.who[u] not in there}
    placed = len(published.by_uuid) - len(unplaced)
    if placed != EXPECTED.placed:
        raise ValueError(
            f"got {placed:,} published facts that {pararel.prompts} has, expected "
            f"{EXPECTED.placed:,}: rebuild it with scripts/get_data.py --only pararel --force"
        )
    return unplaced


def check_room(results: Results) -> None:
    """Raise ValueError for a results folder with neurons or scores of one's own."""
    own = [results.scores(relation) for relation in results.scored_relations()]
    kept = (results.fact_neurons(r, baseline=False) for r in results.refined_relations(False))
    own += [path for path in kept if not adopted.is_adopted(path)]
    if own:
        raise ValueError(
            f"{own[0]} is there: {results.root} holds results of your own. Name another folder "
            "after --published-neurons"
        )


def write(results: Results, published: Published, pararel: Pararel) -> dict[str, dict[str, Any]]:
    """Write the neurons and facts of every relation; relation -> the counts of its manifest."""
    identity = {"data_sha256": sha256_of(pararel.prompts)}
    told = {"arguments": {"data_path": str(pararel.prompts)}}
    told |= {"layers": LAYERS, "neurons_per_layer": WIDTH}
    counts: dict[str, dict[str, Any]] = {}
    for name, facts in pararel.facts.items():
        neurons = [published.by_fact.get(who, []) for who in pararel.who[name]]
        sizes = [len(own) for own in neurons if own]
        counts[name] = {
            "facts": len(facts),
            "neurons_per_fact": sum(sizes) / max(len(sizes), 1),
            "facts_not_published": [place for place, own in enumerate(neurons) if not own],
        }
        path = results.fact_neurons(name, baseline=False)
        write_json(path, neurons)
        of = {"relation": name, "adopted": ADOPTED, "lowercase": True, **identity}
        write_manifest(path, of, **told, **counts[name])
        spoken = [
            ToldFact(who.head, who.tail, list(fact.prompts))
            for who, fact in zip(pararel.who[name], facts, strict=True)
        ]
        path = adopted.write_facts(results, name, ToldRelation(facts[0].label, spoken))
        write_manifest(path, {"relation": name, **identity})
    return counts


def write_unplaced(results: Results, published: Published, unplaced: dict[str, Who]) -> None:
    """List the facts that the data do not have, with their neurons."""
    facts: dict[str, list[dict[str, Any]]] = {}
    for uuid, (relation, head, tail) in unplaced.items():
        one = {"uuid": uuid, "head": head, "tail": tail, "neurons": published.by_uuid[uuid]}
        facts.setdefault(relation, []).append(one)
    every = len(published.by_uuid)
    write_json(results.unplaced, facts)
    write_manifest(
        results.unplaced,
        {"adopted": ADOPTED, "sources_sha256": published.sha256},
        published=every,
        placed=every - len(unplaced),
        neurons_per_published_fact=sum(map(len, published.by_uuid.values())) / every,
        not_in_the_data={relation: len(own) for relation, own in facts.items()},
    )


def add(parser: argparse.ArgumentParser) -> None:
    """The flag of get_data.py."""
    parser.add_argument(
        "--published-neurons",
        "--published_neurons",
        type=Path,
        nargs="?",
        const=DEFAULT_RESULTS,
        metavar="RESULTS",
        help=f"bert-base-uncased's, of EleutherAI, for the PARAREL that is there; --url then "
        f"mirrors {WEB} (default: results/{DEFAULT_RESULTS.name})",
    )


def run(args: argparse.Namespace) -> None:
    """Do what the flag asks for and say what there is now.

    Raises ValueError for a source or a PARAREL that is not whole; nothing is then written.
    """
    started, results = time.perf_counter(), Results(args.published_neurons)
    check_room(results)
    pararel = read_pararel(args.output)
    if args.folder:
        source = LocalSource(args.folder, FLAT, CLONES, CLONED)
    else:
        cache = args.output / CACHE
        source = HttpSource(args.url or WEB, cache, args.force, CLONED, ADDRESSES)
    published = read(source, list(pararel.facts))
    unplaced = find_unplaced(published, pararel)
    counts = write(results, published, pararel)
    write_unplaced(results, published, unplaced)
    if not args.keep_downloads:
        shutil.rmtree(args.output / CACHE, ignore_errors=True)
    every = sum(one["facts"] for one in counts.values())
    without = sum(len(one["facts_not_published"]) for one in counts.values())
    others = sorted(Counter(who.relation for who in unplaced.values()).items())
    told = ", ".join(f"{name} {count:,}" for name, count in others)
    print(f"{results.kn}: neurons of {every - without:,} facts of {len(counts)} relations")
    print(f"  {ADOPTED['by']} published {len(published.by_uuid):,} facts of {ADOPTED['model']}")
    print(f"  not in PARAREL: {len(unplaced):,} ({told}), listed in {results.unplaced}")
    print(f"  PARAREL's without neurons there: {without:,} of {every:,}, left out of all averages")
    seconds = time.perf_counter() - started
    print(f"{seconds:.1f} s; now KN_RESULTS={results.root} for 2_analyze_kn.py, 8_run_plot.sh")
