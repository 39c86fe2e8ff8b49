"""mPARAREL (Fierro and Søgaard 2022): the prompts of the same facts in up to 46 languages.

What `get_data.py --mpararel` does.  For every language: each fact of a relation, asked in each of
the language's patterns, as PARAREL's file has them; beside it who the facts are, for the same fact
has the same pair of Wikidata names (sub_uri, obj_uri) in every language.  Facts stand in LAMA's
order (lineid), so that two languages have those they share in the same order.

All sources are read and checked before the first file is written; then one language at a time is in
memory.  A language whose files are what index.json says of them is left alone.

What a whole source holds (mpararel_files.py) was counted at the repository's commit 7153b7b; the
default address is of its newest one (HEAD).  Should that hold something else, the counts refuse it:
name a commit with --url https://raw.githubusercontent.com/coastalcph/mpararel/COMMIT, or give a
clone at that commit with --from.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypedDict

import msgspec
from data_sources import (
    HttpSource,
    LocalSource,
    check_patterns,
    checked,
    compare,
    make_bags,
    read_whole,
    sha256,
    write_atomic,
)
from mpararel_files import FULL, LABELS, Expected, Facts, check_tuples
from tqdm import tqdm

from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import sha256_of
from knowledge_neurons.text.relations import by_number

REPOSITORY = "https://github.com/coastalcph/mpararel"
DEFAULT_URL = "https://raw.githubusercontent.com/coastalcph/mpararel/HEAD"
FOLDER, INDEX, CACHE = "MPARAREL", "index.json", ".download"
BAGS, URIS, PAIRS = KINDS = ("{}_allbags.json", "{}_uris.json", "{}_query_pairs.json")
BAR = {"unit": "language", "leave": False}


class Layout(NamedTuple):
    """Where a source keeps its files; {} are the language and the relation.  first: tells it."""

    first: str
    patterns: str
    tuples: str


FLAT = Layout("patterns/en/P36.jsonl", "patterns/{}/{}.jsonl", "tuples/{}/{}.jsonl")
CLONE = Layout(*(f"data/mpararel_reviewed/{name}" for name in FLAT))


# --- Build ---------------------------------------------------------------------------------------


class Counts(TypedDict):
    """What index.json tells of a language; sha256: of its files."""

    relations: int
    templates: int
    rows: int
    unusable: int
    facts: int
    prompts: int
    sha256: dict[str, str]


@dataclass
class Joined:
    """All facts so far, by relation and pair of uris: the lineid, and in how many languages."""

    lines: dict[tuple[str, str, str], int] = field(default_factory=dict)
    languages: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def add(self, relation: str, facts: Facts) -> None:
        """ValueError where another language has the same fact in another place."""
        for row in facts.facts:
            key = (relation, *row.key)
            if (there := self.lines.setdefault(key, row.lineid)) != row.lineid:
                raise ValueError(f"got lineid {row.lineid} of {key}, expected {there} as elsewhere")
            self.languages[key] += 1

    def add_built(self, uris: dict[str, list[tuple[str, str]]]) -> None:
        """The facts of a language that is there already, whose order is told by its file."""
        self.languages.update((name, *pair) for name, pairs in uris.items() for pair in pairs)


@dataclass(frozen=True)
class Build:
    """What to build, from where."""

    source: LocalSource | HttpSource
    output: Path
    languages: list[str]
    expected: Expected
    force: bool

    def run(self) -> tuple[dict[str, Counts], list[str], Joined]:
        """Read and check every language, then write those that are not in place.

        Returns the counts of each language, the languages written, and all their facts.
        Raises ValueError for a source that is not whole; the output folder is then as it was.
        """
        kept, joined = self.kept(), Joined()
        new = [name for name in self.languages if self.force or name not in kept]
        counts = {}
        for name in tqdm(self.languages, "checking mPARAREL", disable=self.source.quick, **BAR):
            if name in new:
                counts[name] = self.check(name, joined)
            else:
                path = self.output / URIS.format(name)
                joined.add_built(msgspec.json.decode(path.read_bytes(), type=dict[str, list]))
                counts[name] = kept[name]
        self.check_all(counts, joined)
        for name in tqdm(new, "writing mPARAREL", disable=self.source.quick, **BAR):
            counts[name]["sha256"] = self.write(name)
            kept[name] = counts[name]
            write_json(self.output / INDEX, dict(sorted(kept.items())), readable=True)
        return counts, new, joined

    def kept(self) -> dict[str, Counts]:
        """The languages that are there already and whole, whether they are asked for or not."""
        check = msgspec.json.Decoder(dict[str, Counts]).decode
        found = read_whole(self.output / INDEX, check, force=False)
        return {
            name: counts
            for name, counts in (found[1] if found else {}).items()
            if counts["sha256"].keys() == {kind.format(name) for kind in KINDS}
            and all(
                (self.output / file).is_file() and sha256_of(self.output / file) == digest
                for file, digest in counts["sha256"].items()
            )
        }

    def patterns_of(self, language: str, relation: str) -> list[str]:
        name = self.source.layout.patterns.format(language, relation)
        return self.source.read(name, check_patterns)[1]

    def facts_of(self, language: str, relation: str) -> Facts:
        name = self.source.layout.tuples.format(language, relation)
        return self.source.read(name, check_tuples)[1]

    def check(self, language: str, joined: Joined) -> Counts:
        """Read a language and count it."""
        found, there = Counter(), self.expected.languages[language]
        for relation in there.relations:
            patterns, facts = (
                self.patterns_of(language, relation),
                self.facts_of(language, relation),
            )
            name = self.source.layout.tuples.format(language, relation)
            checked(partial(joined.add, relation), facts, name)
            found["templates"] += len(patterns)
            found["rows"] += facts.rows
            found["unusable"] += facts.unusable
            found["facts"] += len(facts.facts)
            found["prompts"] += len(facts.facts) * len(patterns)
        agree(f"patterns of {language}", found["templates"], there.templates)
        return Counts(relations=len(there.relations), **found, sha256={})

    def check_all(self, counts: Mapping[str, Counts], joined: Joined) -> None:
        """Of all languages together it is known how many rows and facts there are."""
        if len(counts) < len(self.expected.languages):
            return
        agree("rows", sum(one["rows"] for one in counts.values()), self.expected.rows)
        agree("facts", len(joined.languages), self.expected.facts)
        agree("facts in every language", everywhere(joined, counts), self.expected.everywhere)

    def write(self, language: str) -> dict[str, str]:
        """Write the files of a language; the sha256 of each."""
        bags, uris, pairs = {}, {}, {}
        for relation in self.expected.languages[language].relations:
            rows = self.facts_of(language, relation).facts
            uris[relation] = [row.key for row in rows]
            pairs[relation] = own = [(row.sub_label, row.obj_label) for row in rows]
            patterns = self.patterns_of(language, relation)
            bags[relation] = make_bags(relation, LABELS[relation], own, patterns)
        sums = {}
        for kind, content in zip(KINDS, (bags, uris, pairs), strict=True):
            raw, name = msgspec.json.encode(content), kind.format(language)
            write_atomic(self.output / name, raw)
            sums[name] = sha256(raw)
        return sums


def agree(what: str, got: int, expected: int) -> None:
    """Raise ValueError, with what to do, for a wrong count."""
    checked(partial(compare, what, expected=expected), got, "mPARAREL")


def everywhere(joined: Joined, languages: Mapping[str, Counts]) -> int:
    """Facts that all of these languages have."""
    return sum(count == len(languages) for count in joined.languages.values())


# --- Command line --------------------------------------------------------------------------------


def add(parser: argparse.ArgumentParser) -> None:
    """The flags of this part."""
    parser.add_argument(
        "--mpararel", action="store_true", help="build mPARAREL instead: the facts in 46 languages"
    )
    parser.add_argument("--languages", help="of mPARAREL: fr,de ... (default: all of the source)")


def run(args: argparse.Namespace) -> None:
    """Build what the command line asks for and print what is there now."""
    start, cache = time.perf_counter(), args.output / CACHE
    if args.folder:
        source = LocalSource(args.folder, FLAT, CLONE, REPOSITORY)
    else:
        source = HttpSource(args.url or DEFAULT_URL, cache, args.force, REPOSITORY, CLONE)
    languages, output = chosen(args.languages, source, FULL), args.output / FOLDER
    counts, written, joined = Build(source, output, languages, FULL, args.force).run()
    if not args.keep_downloads:
        shutil.rmtree(cache, ignore_errors=True)
    show(output, counts, joined, set(FULL.languages) - set(languages))
    done = f"{len(written)} of {len(counts)} languages written from {args.folder or source.url}"
    if not written:
        done = "Everything is present and valid, nothing to do (--force rebuilds)"
    print(f"{done}; {time.perf_counter() - start:.1f} s")


def chosen(asked: str | None, source: LocalSource | HttpSource, expected: Expected) -> list[str]:
    """The languages asked for, else all; of a folder those that it has facts in.

    Raises ValueError for one that mPARAREL does not have.
    """
    names = [name.strip() for name in (asked or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in expected.languages]:
        raise ValueError(
            f"--languages: got {', '.join(unknown)}, expected some of "
            f"{', '.join(expected.languages)}"
        )
    if names:
        return sorted(set(names))
    if isinstance(source, LocalSource):
        folder = Path(source.layout.tuples).parents[1]
        return [name for name in expected.languages if (source.root / folder / name).is_dir()]
    return list(expected.languages)


def show(output: Path, counts: dict[str, Counts], joined: Joined, others: set[str]) -> None:
    """A line for each language, and what they have in common."""
    print(f"{output}:")
    for name, one in counts.items():
        left_out = f", {one['unusable']:,} left out (no name)" if one["unusable"] else ""
        print(
            f"  {name:8} {one['relations']} relations, {one['templates']:,} patterns, "
            f"{one['rows']:,} rows, {one['facts']:,} facts{left_out}, {one['prompts']:,} prompts"
        )
    total = {key: sum(one[key] for one in counts.values()) for key in ("rows", "prompts")}
    files = sum(one["relations"] for one in counts.values())
    templates = sum(one["templates"] for one in counts.values())
    print(
        f"  together {len(counts)} languages, {files:,} pattern files, {templates:,} patterns, "
        f"{total['rows']:,} rows, {total['prompts']:,} prompts; {len(joined.languages):,} facts, "
        f"{everywhere(joined, counts):,} of them in every one of these languages"
    )
    relations = Counter(key[0] for key in joined.languages)
    told = ", ".join(f"{name} {relations[name]:,}" for name in sorted(relations, key=by_number))
    print(f"  facts by relation: {told}")
    if others:
        print(f"  not built: {', '.join(sorted(others))}")
