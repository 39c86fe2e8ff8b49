"""Stage 2 across languages: which neurons of a fact two languages share, beside what chance gives.

Usage: bash 2_run_languages.sh --across en,fr,de      (after stages 1 and 2 with --language of each)

A fact is the same in two languages where its sub_uri and obj_uri are.  Reads kn/ of each language's
results, writes languages/sharing.json, languages/<REL>.jsonl and figs/languages.pdf and .png.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons.figures import gallery
from knowledge_neurons.neurons.languages import split
from knowledge_neurons.results import origin
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.json_files import encode, write_json
from knowledge_neurons.results.languages import Sharing, Ways, compare, record
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import (
    read_json,
    read_manifest,
    sha256_of,
    write_manifest,
)
from knowledge_neurons.results.neurons import check_of_scores, read_fact_neurons
from knowledge_neurons.runs.grow import progress
from knowledge_neurons.stages import arguments, languages, numbers, tables
from knowledge_neurons.types import Neuron

REFINING = ("coarse", "shared", "rounds", "min_prompts", "max_share", "held_out", "answer_token")
Pair = tuple[str, str]  # sub_uri, obj_uri


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.Settings):
    """across: languages; none for all that have neurons.  prompts, uris: files, {} for each.

    share: of the languages, for a neuron to be independent of them.
    """

    across: list[str]
    prompts: str
    uris: str
    share: float
    relations: list[str]
    seed: int


@dataclass(frozen=True)
class Found:
    """The neurons of a relation in a language, and what they were made from.

    facts: by who they are; without those that could not be asked.  shape: L and F.
    """

    facts: dict[Pair, frozenset[Neuron]]
    of_relation: frozenset[Neuron]
    shape: tuple[int, int]
    scores: dict[str, object]
    refining: dict[str, object]
    sha256: str


def parse() -> Settings:
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    arguments.add_results(parser, by_language=False)
    arguments.add_relations(parser)
    parser.add_argument("--across", help="en,fr ... (default: all that have neurons)")
    parser.add_argument(
        "--data_path",
        dest="prompts",
        default=os.environ.get("KN_DATA") or str(languages.PROMPTS),
        help="prompts that stage 1 read, {} in place of the language (KN_DATA; default: mPARAREL)",
    )
    parser.add_argument(
        "--uris", help="who their facts are (default: {}_uris.json beside {}_allbags.json)"
    )
    parser.add_argument(
        "--share",
        type=numbers.share,
        default=1.0,
        help="of the languages, for a neuron to be independent of them (default: 1, all)",
    )
    arguments.add_seed(parser, "intervals, and of the other facts that languages are given")
    args = parser.parse_args()
    uris = args.uris or args.prompts.replace("_allbags", "_uris")
    for flag, path in (("--data_path", args.prompts), ("--uris", uris)):
        if "{}" not in path:
            raise ValueError(
                f"{flag} is {path}, the same in every language.  Write {{}} where its name is "
                "the language's (en, fr ...)"
            )
    if uris == args.prompts:
        raise ValueError(f"--data_path {uris} does not end in _allbags.json: name --uris too")
    across = arguments.names_of(args.across)
    return arguments.settings(Settings, args, across=sorted(set(across)), uris=uris)


def across(settings: Settings) -> list[str]:
    """The languages asked for, all of which must have neurons; two at least."""
    there = settings.results.languages()
    names = settings.across or there
    if missing := [name for name in names if name not in there]:
        raise ValueError(
            f"no neurons of {', '.join(missing)} in {settings.results.root}; there are those of "
            f"{', '.join(there) or 'no language'}.  Run stages 1 and 2 with --language"
        )
    if len(names) < 2:
        raise ValueError(
            f"there are neurons of {len(names)} languages in {settings.results.root}, expected two "
            "or more: run stages 1 and 2 with --language of each"
        )
    return names


def read_language(settings: Settings, language: str) -> dict[str, Found]:
    """The relations of a language that have neurons, of those asked for.

    Raises ValueError for neurons that are of other prompts than these.
    """
    results = settings.results.of_language(language)
    prompts, uris = (
        languages.fill("", Path(path), language) for path in (settings.prompts, settings.uris)
    )
    keys = read_json(uris, dict[str, list[Pair]], "scripts/get_data.py --mpararel writes it")
    data_sha256 = sha256_of(prompts) if prompts.exists() else None
    return {
        relation: read_relation(results, relation, keys.get(relation, []), uris, data_sha256)
        for relation in results.refined_relations(False)
        if not settings.relations or relation in settings.relations
    }


def read_relation(
    results: Results, relation: str, keys: list[Pair], uris: Path, data_sha256: str | None
) -> Found:
    """keys: who the facts are, from the file uris.  data_sha256: of the prompts that are there."""
    path = results.fact_neurons(relation, baseline=False)
    check_of_scores(results, relation)
    neurons, scores = read_fact_neurons(path), origin.scores_of(path)
    if scores.get("data_sha256", data_sha256) != data_sha256:
        raise ValueError(
            f"{path} is of other prompts than lie beside {uris}: give stage 1's --data_path "
            "(KN_DATA), or run stages 1 and 2 again"
        )
    at_most = scores.get("max_facts") or len(keys)
    if len(neurons) != len(keys[:at_most]) or len(set(keys)) < len(keys):
        raise ValueError(
            f"{path} has the neurons of {len(neurons)} facts, {uris} tells who {len(set(keys))} "
            "facts are: they do not belong together"
        )
    made = read_manifest(results.scores(relation)) or {}
    manifest = read_manifest(path) or {}
    if not {"layers", "neurons_per_layer"} <= made.keys():
        raise ValueError(
            f"{results.scores(relation)} has no manifest that tells the model's layers: run stage 1"
        )
    left_out = set(manifest.get("facts_without_prompts", ()))
    of_relation = results.relation_neurons(relation, baseline=False)
    return Found(
        {key: frozenset(own) for i, (key, own) in enumerate(zip(keys, neurons, strict=False))
         if i not in left_out},
        frozenset(read_json(of_relation, list[Neuron], "Run stage 2 again")),
        (made["layers"], made["neurons_per_layer"]),
        scores,
        {field: manifest.get("identity", {}).get(field) for field in REFINING},
        sha256_of(path),
    )  # fmt: skip


def check(found: Mapping[str, Mapping[str, Found]]) -> tuple[int, int]:
    """L and F; ValueError where neurons were found in different models or ways."""
    every = {f"{name}, {r}": one for name, own in found.items() for r, one in own.items()}
    if not every:
        raise ValueError(f"none of {', '.join(found)} has neurons of those --relations")
    for identities, fields in (
        ({name: one.scores for name, one in every.items()}, origin.SCORING),
        ({name: one.refining for name, one in every.items()}, REFINING),
    ):
        if difference := origin.first_difference(identities, fields):
            raise ValueError(f"the neurons {difference}: they cannot be compared.  Run it again")
    shapes = {one.shape for one in every.values()}
    assert len(shapes) == 1
    return shapes.pop()


def joined(found: Mapping[str, Mapping[str, Found]]) -> dict[str, dict[Pair, dict]]:
    """Relation -> fact -> language -> neurons; facts in the order in which languages tell them."""
    groups: dict[str, dict[Pair, dict]] = {}
    for language, relations in found.items():
        for relation, one in relations.items():
            group = groups.setdefault(relation, {})
            for key, neurons in one.facts.items():
                group.setdefault(key, {})[language] = neurons
    return groups


def write(settings: Settings, sharing: Sharing, groups: dict, found: dict, seconds: float) -> None:
    """The record of each fact and the averages, with their manifests."""
    results = settings.results
    identity = {"languages": sharing.languages, "share": settings.share, "seed": settings.seed}
    for relation, group in groups.items():
        made_from = {name: own[relation].sha256 for name, own in found.items() if relation in own}
        records = [
            encode(record(*key, split(fact, settings.share)))
            for key, fact in group.items()
            if len(fact) > 1
        ]
        path = results.shared_neurons(relation)
        write_atomic(path, b"".join(line + b"\n" for line in records))
        about = identity | {"relation": relation, "neurons_sha256": made_from}
        write_manifest(path, about, arguments=settings.given)
    write_json(results.sharing, sharing, readable=True)
    of_all = {r: {n: own[r].sha256 for n, own in found.items() if r in own} for r in groups}
    write_manifest(
        results.sharing,
        identity | {"neurons_sha256": of_all},
        arguments=settings.given,
        wall_seconds=seconds,
    )


def main() -> None:
    settings = parse()
    started, names = time.perf_counter(), across(settings)
    found = {name: read_language(settings, name) for name in names}
    layers, width = check(found)
    groups = joined(found)
    if not any(len(fact) > 1 for group in groups.values() for fact in group.values()):
        raise ValueError(f"no fact was asked in two of {', '.join(names)}: nothing to compare")
    relations: dict[str, dict] = {}
    for name, own in found.items():
        for relation, one in own.items():
            relations.setdefault(relation, {})[name] = one.of_relation
    with progress(len(names) * (len(names) - 1), "comparing", "pair") as bar:
        ways = Ways(settings.share, width, layers, settings.seed, bar.update)
        levels = [compare(each, names, ways) for each in (groups, {"all": relations})]
    sharing = Sharing(names, settings.share, layers, *levels)
    write(settings, sharing, groups, found, round(time.perf_counter() - started, 3))
    tables.show_sharing(sharing)
    written = gallery.save(settings.results, gallery.languages(settings.results, sharing),
                           settings.given)  # fmt: skip
    for path in (settings.results.sharing, *written):
        print(f"wrote {path}")


if __name__ == "__main__":
    program.run(main)
