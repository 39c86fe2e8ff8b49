#!/usr/bin/env python
"""Build the full PARAREL and BINGREL data sets under data/, and check that they are whole.

    python scripts/get_data.py                                # the authors' repository, 70 MB
    python scripts/get_data.py --from ../knowledge-neurons    # a clone of it, no network
    python scripts/get_data.py --mpararel --languages fr,de   # mPARAREL instead (mpararel.py)
    python scripts/get_data.py --published-neurons            # EleutherAI's (published_neurons.py)
    python scripts/get_data.py --counterfact                  # CounterFact (counterfact.py)

PARAREL's prompts are rebuilt: for each (head, tail) pair of a relation, in order, each pattern in
file order with [X] = head and [Y] = [MASK]. BINGREL's files and query_pairs.json are byte for byte
those of the source. All files are checked before the first is written, each is written under a
temporary name and renamed, and what was downloaded survives an interruption.
"""

from knowledge_neurons.stages import program  # isort: skip

import argparse
import re
import shutil
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import counterfact
import mpararel
import msgspec
import published_neurons
from data_sources import (
    Check,
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
from tqdm import tqdm

from knowledge_neurons.text.data import MASK

DEFAULT_URL = "https://raw.githubusercontent.com/Hunter-DDM/knowledge-neurons/HEAD"
DEFAULT_OUTPUT = Path(__file__).resolve().parents[1] / "data"
PARTS = ("pararel", "bingrel")
BAR = {"unit": "file", "leave": False}

PAIRS = "PARAREL/query_pairs.json"
BAGS = "PARAREL/data_all_allbags.json"
BINGREL = "BINGREL/final_distant_allbags_{}_new.json"
CACHE = ".download"

Pairs = dict[str, list[list[str]]]  # relation -> [[head, tail], ...]


@dataclass(frozen=True)
class Expected:
    """How much a whole data set holds."""

    relations: int
    facts: int
    prompts: int
    th_sentences: int  # BINGREL: with head and tail
    h_sentences: int  # BINGREL: with the head alone


# Counted over the files of the authors' repository (REPOSITORY, folder data/).
FULL = Expected(34, 27_738, 253_448, 210_217, 266_020)


# --- Pure: content -> counts, complaints ---------------------------------------------------------


def check_pairs(raw: bytes, expected: Expected) -> Pairs:
    """query_pairs.json with the expected numbers of relations and facts."""
    pairs = msgspec.json.decode(raw)
    for relation, facts in pairs.items():
        odd = [fact for fact in facts if [type(part) for part in fact] != [str, str]]
        if odd or not re.fullmatch(r"P\d+", relation):  # it becomes part of file names
            raise ValueError(f"got {relation!r}: {odd[:1]}, expected 'P101': [[head, tail], ...]")
    compare("relations", len(pairs), expected.relations)
    compare("facts", sum(map(len, pairs.values())), expected.facts)
    return pairs


def check_labels(raw: bytes, pairs: Pairs) -> dict[str, str]:
    """relations.jsonl as relation -> label; every relation of `pairs` has one."""
    rows = [msgspec.json.decode(line) for line in raw.splitlines() if line.strip()]
    labels = {row["relation"]: row["label"] for row in rows}
    if missing := [relation for relation in pairs if relation not in labels]:
        raise ValueError(f"got no label for {', '.join(missing)}, expected one for each relation")
    return labels


def check_bags(raw: bytes, pairs: Pairs, expected: Expected) -> None:
    """Prompts hold to their pairs: relations and facts in order, one [MASK], the right answer."""
    bags, prompts = msgspec.json.decode(raw), 0
    if list(bags) != list(pairs):
        raise ValueError(f"got relations {list(bags)}, expected {list(pairs)} in this order")
    for relation, facts in bags.items():
        compare(f"facts in {relation}", len(facts), len(pairs[relation]))
        for (head, tail), fact in zip(pairs[relation], facts, strict=True):
            prompts += len(fact)
            for text, answer, _ in fact:
                if text.count(MASK) != 1 or head not in text or answer != tail:
                    wanted = f"one {MASK}, head {head!r} and answer {tail!r}"
                    raise ValueError(f"got {text!r} -> {answer!r} ({relation}), expected {wanted}")
    compare("prompts", prompts, expected.prompts)


def check_bingrel(raw: bytes, facts: int) -> tuple[int, int]:
    """A relation's sentences, an entry per fact; how many have (head and tail, head alone)."""
    bags = msgspec.json.decode(raw)
    compare("facts", len(bags), facts)
    return sum(len(bag["th_bags"]) for bag in bags), sum(len(bag["h_bags"]) for bag in bags)


# --- Build ---------------------------------------------------------------------------------------


class Product(NamedTuple):
    """One file of the result; `new` when it is not in place yet."""

    name: str
    raw: bytes
    new: bool
    counts: str


@dataclass(frozen=True)
class Build:
    """What to build, from where. The plan_ methods read and check; only `run` writes."""

    source: LocalSource | HttpSource
    output: Path
    expected: Expected = FULL
    parts: tuple[str, ...] = PARTS
    force: bool = False

    def run(self) -> list[Product]:
        """Read and check all of `parts`, then write what is not in place.

        Raises:
            ValueError: unreachable source or wrong count; the output folder is then as it was.
        """
        pairs_file, pairs = self.plan_pairs()
        products = [pairs_file, self.plan_bags(pairs)] if "pararel" in self.parts else []
        if "bingrel" in self.parts:
            products += self.plan_bingrel(pairs)
        for product in products:
            if product.new:
                write_atomic(self.output / product.name, product.raw)
        return products

    def copy(self, name: str, path: str, check: Check) -> tuple[bytes, Any, bool]:
        """Content, checked value and newness of a file that is taken over as it is."""
        kept = read_whole(self.output / name, check, self.force)
        return (*kept, False) if kept else (*self.source.read(path, check), True)

    def plan_pairs(self) -> tuple[Product, Pairs]:
        """The (head, tail) pairs."""
        check = partial(check_pairs, expected=self.expected)
        raw, pairs, new = self.copy(PAIRS, self.source.layout.pairs, check)
        counts = f"{self.expected.relations:,} relations, {self.expected.facts:,} facts"
        return Product(PAIRS, raw, new, counts), pairs

    def plan_bags(self, pairs: Pairs) -> Product:
        """The prompts; patterns are read only if they have to be rebuilt."""
        check = partial(check_bags, pairs=pairs, expected=self.expected)
        counts = f"{self.expected.facts:,} facts, {self.expected.prompts:,} prompts"
        if kept := read_whole(self.output / BAGS, check, self.force):
            return Product(BAGS, kept[0], False, counts)
        read, layout = self.source.read, self.source.layout
        labels = read(layout.labels, partial(check_labels, pairs=pairs))[1]
        bags = {}
        for relation in tqdm(pairs, "PARAREL", disable=self.source.quick, **BAR):
            patterns = read(layout.patterns.format(relation), check_patterns)[1]
            bags[relation] = make_bags(relation, labels[relation], pairs[relation], patterns)
        raw = msgspec.json.encode(bags)
        checked(check, raw, BAGS)
        return Product(BAGS, raw, True, counts)

    def plan_bingrel(self, pairs: Pairs) -> list[Product]:
        """The sentences, a file per relation."""
        products, th_total, h_total = [], 0, 0
        for relation in tqdm(pairs, "BINGREL", disable=self.source.quick, **BAR):
            name, facts = BINGREL.format(relation), len(pairs[relation])
            path = self.source.layout.bingrel.format(relation)
            raw, (th, h), new = self.copy(name, path, partial(check_bingrel, facts=facts))
            products.append(Product(name, raw, new, f"{facts:,} facts, {th:,} th and {h:,} h"))
            th_total, h_total = th_total + th, h_total + h
        name, total = f"BINGREL, {len(products)} files together", self.expected
        checked(partial(compare, "th sentences", expected=total.th_sentences), th_total, name)
        checked(partial(compare, "h sentences", expected=total.h_sentences), h_total, name)
        return products


# --- Command line --------------------------------------------------------------------------------


def table(products: list[Product], expected: Expected, verbose: bool) -> str:
    """Two lines per file; BINGREL's files are one entry unless verbose. Its digest is that of
    `cd data/BINGREL && LC_ALL=C sha256sum final_distant_allbags_*_new.json | sha256sum`."""
    bingrel = sorted(p for p in products if p.name.startswith("BINGREL/"))
    rows = [
        (p.name, p.counts, len(p.raw), p.new, sha256(p.raw))
        for p in products
        if verbose or p not in bingrel
    ]
    if bingrel:
        title = f"BINGREL/ ({len(bingrel)} files)"
        counts = f"{expected.th_sentences:,} th and {expected.h_sentences:,} h sentences"
        size, new = sum(len(p.raw) for p in bingrel), any(p.new for p in bingrel)
        listing = "".join(f"{sha256(p.raw)}  {Path(p.name).name}\n" for p in bingrel)
        rows.append((title, counts, size, new, sha256(listing.encode())))
    return "\n".join(
        f"  {name}: {counts}, {size / 1e6:.1f} MB, {'written' if new else 'kept'}\n    sha256 {sha}"
        for name, counts, size, new, sha in rows
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the full PARAREL and BINGREL data sets.")
    source = parser.add_mutually_exclusive_group()
    where = "local copy: a clone of the authors' repository, or folders pararel/ and bingrel/"
    source.add_argument("--from", dest="folder", type=Path, metavar="DIR", help=where)
    source.add_argument("--url", help=f"a mirror (default: {DEFAULT_URL})")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, metavar="DIR")
    parser.add_argument("--only", choices=PARTS, help="build one of the two sets")
    parser.add_argument("--force", action="store_true", help="rebuild; fetch or read all anew")
    parser.add_argument("--keep_downloads", action="store_true", help=f"keep DIR/{CACHE}/")
    parser.add_argument("--verbose", action="store_true", help="an entry for each BINGREL file")
    published_neurons.add(parser)
    mpararel.add(parser)
    counterfact.add(parser)
    return parser.parse_args(argv)


def check_flags(args: argparse.Namespace) -> None:
    """Raise ValueError for flags of two jobs, of which one would go unheard."""
    jobs = {"--mpararel": args.mpararel, "--published-neurons": args.published_neurons}
    jobs["--counterfact"] = args.counterfact
    asked = [flag for flag, given in jobs.items() if given]
    if args.only and asked:
        raise ValueError(
            f"--only {args.only} is a part of PARAREL and BINGREL, which {asked[0]} does not "
            "build: give one of the two flags"
        )
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} are two jobs: give one of the two flags")
    if args.languages is not None and not args.mpararel:
        raise ValueError(f"--languages {args.languages} is of mPARAREL: give --mpararel too")


def run(args: argparse.Namespace, expected: Expected) -> None:
    """Build what the command line asks for and print what is there now."""
    check_flags(args)
    if args.published_neurons:
        return published_neurons.run(args)
    if args.mpararel:
        return mpararel.run(args)
    if args.counterfact:
        return counterfact.run(args)
    start, cache = time.perf_counter(), args.output / CACHE
    parts = (args.only,) if args.only else PARTS
    if args.folder:
        source = LocalSource(args.folder)
    else:
        source = HttpSource(args.url or DEFAULT_URL, cache, args.force)
    products = Build(source, args.output, expected, parts, args.force).run()
    if not args.keep_downloads:
        shutil.rmtree(cache, ignore_errors=True)
    written = sum(p.new for p in products)
    done = f"{written} of {len(products)} files written from {args.folder or source.url}"
    if not written:
        done = "Everything is present and valid, nothing to do (--force rebuilds)"
    print(f"{args.output}:\n{table(products, expected, args.verbose)}")
    print(f"{done}; {time.perf_counter() - start:.1f} s")


def main(argv: list[str] | None = None, expected: Expected = FULL) -> int:
    """Exit code: 0 done, 2 an error that the message explains."""
    try:
        run(parse_args(argv), expected)
    except (ValueError, OSError) as error:
        print(f"get_data: {str(error)[:2000]}", file=sys.stderr)  # the source may be anything
        return 2
    return 0


if __name__ == "__main__":
    program.run(lambda: sys.exit(main()))
