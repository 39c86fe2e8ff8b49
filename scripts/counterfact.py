"""CounterFact as its authors publish it: what `get_data.py --counterfact` fetches.

21,919 records of Meng et al. 2022 in one file of 45 MB, taken over byte for byte after a check of
every record.  It is fetched at run time and never committed.
"""

from __future__ import annotations

import argparse
import shutil
import time
from typing import NamedTuple

from data_sources import HttpSource, LocalSource, compare, read_whole, sha256, write_atomic

from knowledge_neurons.text import strict_json
from knowledge_neurons.text.counterfact import Case, cases_of

WEB = "https://rome.baulab.info"
PUBLISHED_BY = "https://github.com/kmeng01/rome"
RECORDS = 21_919
NAME = "COUNTERFACT/counterfact.json"
CACHE = ".download"


class Layout(NamedTuple):
    """Where a source keeps the file."""

    cases: str


FLAT, CLONE = Layout("counterfact.json"), Layout("data/counterfact.json")
ADDRESS = Layout("data/dsets/counterfact.json")


def check_cases(raw: bytes) -> list[Case]:
    """All records, whole; ValueError for one that is not, or another count."""
    cases = cases_of(strict_json.decode(raw), "got")
    compare("records", len(cases), RECORDS)
    return cases


def add(parser: argparse.ArgumentParser) -> None:
    """The flag of get_data.py."""
    parser.add_argument(
        "--counterfact",
        action="store_true",
        help=f"CounterFact, to judge edits by (stage 10), 45 MB; --url then mirrors {WEB}",
    )


def run(args: argparse.Namespace) -> None:
    """Fetch the file unless it is there and whole, and say what there is now.

    Raises ValueError for a source that is not whole; nothing is then written.
    """
    started, path = time.perf_counter(), args.output / NAME
    kept = read_whole(path, check_cases, args.force)
    if kept:
        raw, cases = kept
    else:
        if args.folder:
            source = LocalSource(args.folder, FLAT, CLONE, PUBLISHED_BY)
        else:
            cache = args.output / CACHE
            source = HttpSource(args.url or WEB, cache, args.force, PUBLISHED_BY, ADDRESS)
        raw, cases = source.read(source.layout.cases, check_cases)
        write_atomic(path, raw)
    if not args.keep_downloads:
        shutil.rmtree(args.output / CACHE, ignore_errors=True)
    relations = len({case.relation for case in cases})
    print(f"{path}: {len(cases):,} cases of {relations} relations, {'kept' if kept else 'written'}")
    print(f"    sha256 {sha256(raw)}")
    print(f"{time.perf_counter() - started:.1f} s; now src/10_question_edits.py --from {path}")
