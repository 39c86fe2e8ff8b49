#!/usr/bin/env python
"""Of the facts of a data set those that a model knows, as a data set of their own.

    python scripts/known_facts.py --model models/smollm2 --output results/smollm2/data

A fact is known if the model answers it right, every token of the answer the most probable one, in
--wordings of its prompts or more.  The first --per_relation known facts of each relation are taken,
in data order; how many were asked, known, and known only in fewer wordings is told and kept in
known.json.  Written beside it: allbags.json, query_pairs.json and distant_<REL>.json, which stages
take as KN_DATA, KN_PAIRS and KN_SENTENCES.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from knowledge_neurons.networks.evaluation import Reader
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.stages import arguments, numbers, tables
from knowledge_neurons.stages.inputs import Inputs, open_inputs, read_sentences, sentences_path
from knowledge_neurons.text import data, strict_json
from knowledge_neurons.types import Prompt

GROUP = 8  # facts asked together


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.SentenceSettings):
    """wordings: answered right that make a fact known.  per_relation: at most so many facts."""

    wordings: int
    per_relation: int
    output: Path


@dataclass(frozen=True)
class Known:
    """What a model knows of a relation's first facts.

    asked: how many; left_out: of them those that cannot be asked.  facts: places of those that are
    taken; right: in how many of its prompts each is answered right.  other: asked, and right in
    fewer.
    """

    asked: int
    left_out: int
    facts: list[int]
    right: list[int]
    other: int


def parse() -> Settings:
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    arguments.add_model(parser)
    arguments.add_prompts(parser)
    arguments.add_sentences(parser)
    arguments.add_results(parser)
    parser.add_argument("--wordings", type=numbers.count, default=3)
    parser.add_argument("--per_relation", type=numbers.count, default=10**9)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    return arguments.settings(Settings, parser.parse_args(), oov="skip")


def known_of(inputs: Inputs, relation: str) -> Known:
    """Ask the facts of a relation in data order until enough are known."""
    settings: Settings = inputs.settings
    encoded = inputs.encode(inputs.facts[relation])
    places, right, asked, left_out = [], [], 0, 0
    for place, count in enumerate(answered_right(inputs, encoded)):
        asked, left_out = asked + 1, left_out + (not encoded[place])
        if count >= settings.wordings:
            places.append(place)
            right.append(count)
        if len(places) == settings.per_relation:
            break
    return Known(asked, left_out, places, right, asked - left_out - len(places))


def answered_right(inputs: Inputs, encoded: list[list[Prompt]]) -> Iterator[int]:
    """In how many of its prompts each fact is answered right; facts are read as they are needed."""
    for start in range(0, len(encoded), GROUP):
        group = encoded[start : start + GROUP]
        prompts = [prompt for own in group for prompt in own]
        said = iter(Reader(inputs.pretrained.model, prompts).read().said[:, 0].tolist())
        yield from (sum(next(said) for _ in own) for own in group)


def write(inputs: Inputs, known: dict[str, Known]) -> None:
    """The data set of the known facts."""
    settings: Settings = inputs.settings
    pairs, folder = data.read_pairs(settings.pairs), settings.output
    taken = {name: one.facts for name, one in known.items() if one.facts}
    if not taken:
        raise ValueError(
            f"no fact of {inputs.source} is known in {settings.wordings} wordings: nothing written"
        )
    bags = {name: [inputs.bags[name][place] for place in own] for name, own in taken.items()}
    sentences = {}
    for name, own in taken.items():  # all are checked before the first is written
        read_sentences(inputs, name)
        every = strict_json.read(sentences_path(settings, name))
        sentences[name] = [every[place] for place in own]
    folder.mkdir(parents=True, exist_ok=True)
    for name, of_facts in sentences.items():
        write_json(folder / f"distant_{name}.json", of_facts)
    heads = {name: [pairs[name][place] for place in own] for name, own in taken.items()}
    write_json(folder / "query_pairs.json", heads)
    write_json(folder / "allbags.json", bags)
    told = {
        "model_sha256": inputs.pretrained.sha256,
        "data_sha256": inputs.identity["data_sha256"],
        "wordings": settings.wordings,
        "per_relation": settings.per_relation,
        "relations": {name: asdict(one) for name, one in known.items()},
    }
    write_json(folder / "known.json", told, readable=True)


def main() -> None:
    settings = parse()
    inputs = open_inputs(settings)
    found = {name: known_of(inputs, name) for name in inputs.facts}
    write(inputs, found)
    rows = {
        name: f"{len(one.facts)} of {one.asked} asked are known, {one.other} in fewer wordings"
        for name, one in found.items()
    }
    total = sum(len(one.facts) for one in found.values())
    tables.show(f"{total} facts known in {settings.wordings} wordings or more", rows)
    print(f"wrote {settings.output}")


if __name__ == "__main__":
    program.run(main)
