#!/usr/bin/env python
"""How costs grow: with workers, facts, the length of prompts, the size of the model.

    python -m benchmarks.scale                          # all parts
    python -m benchmarks.scale workers lengths          # some; the record of the others is kept
    python -m benchmarks.scale statistics --facts 10000,100000     # other numbers of facts
    python -m benchmarks.scale --quick --output FILE    # small numbers, to try the program

- **workers**: stage 1 by 1, 2, 4 workers of one thread and by one process of one and of two, a
  random BERT of 6 layers of 384/1536; their files must be the same bytes;
- **facts**: stages 1, 2 and 8 of 100, 1,000, 10,000 facts of a relation, 8 prompts each;
- **statistics**: stage 2's second half, of up to a million facts of 34 relations;
- **report**: stage 8's page, of up to 45,000 facts, and at how many it passes 40 MB;
- **lengths**: one prompt of 8 to 512 tokens, bert-base's shape;
- **sizes**: memory planned for demo to 7B shapes, and taken by demo, bert-base and bert-large.

All data is invented, all models are random.  Draws docs/scale_*.svg and writes the tables of
docs/scale.md, unless --output names another record.  The last line is JSON; the exit status is 1
where workers wrote other bytes than one process of as many threads.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import scale_shown
from benchmarks.scale_parts import FULL, PARTS, QUICK, Place, Sizes
from knowledge_neurons import ROOT
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment

RECORD = ROOT / "benchmarks/results/scale.json"
HEADLINES = {  # name -> the part that has it
    "efficiency_2": "workers",
    "memory_slope_mib_per_1000_facts": "facts",
    "stage2_s_per_million": "statistics",
}


def measured(name: str, sizes: Sizes, flags: str) -> dict[str, Any]:
    """A part, with when and on what it was measured; what it made is kept where it fails."""
    load, started = os.getloadavg(), time.perf_counter()
    place = Place(Path(tempfile.mkdtemp(prefix=f"scale-{name}-")))
    found = PARTS[name](sizes, place)
    shutil.rmtree(place.folder)
    return {
        "command": f"python -m benchmarks.scale {name}{flags}",
        "load_before": load,
        "load_after": os.getloadavg(),
        "took_s": round(time.perf_counter() - started),
        **found,
        "made_with": environment(),
    }


def headline(record: dict[str, Any]) -> dict[str, float | None]:
    """The three numbers; None of a part that was not measured."""
    found = {name: record.get(part, {}).get(name) for name, part in HEADLINES.items()}
    return {name: None if one is None else round(one, 3) for name, one in found.items()}


def differing(record: dict[str, Any]) -> list[str]:
    """Ways of working with one thread that wrote other bytes than one process did."""
    rows = record.get("workers", {}).get("rows", ())
    return [row["way"] for row in rows if not row["same"] and row["way"] != "2 threads"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small numbers; needs --output")
    parser.add_argument("--facts", help="N,N,... of the parts named, from few to many")
    parser.add_argument("--shown", action="store_true", help="measure nothing, draw and write")
    parser.add_argument("--output", type=Path, default=RECORD)
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if args.quick and args.output == RECORD:
        parser.error("--quick is no measurement: name another record with --output")
    sizes, flags = QUICK if args.quick else FULL, " --quick" * args.quick
    if args.facts:
        counts = tuple(map(int, args.facts.split(",")))
        sizes = replace(sizes, facts=counts, statistics=counts, report=counts)
        flags += f" --facts {args.facts}"
    record = json.loads(args.output.read_text()) if args.output.exists() else {}
    for name in () if args.shown else args.parts or PARTS:
        record[name] = measured(name, sizes, flags)
        write_json(args.output, record, readable=True)  # a part that fails leaves the others
        print(f"{name}: {record[name]['took_s']} s", file=sys.stderr)
    if args.output == RECORD:
        scale_shown.write(record)
    found = headline(record) | ({"differing": differing(record)} if differing(record) else {})
    print(json.dumps(found))
    return 1 if differing(record) else 0


if __name__ == "__main__":
    program.run(lambda: sys.exit(main()))
