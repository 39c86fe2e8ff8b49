"""Are two results folders the same, byte for byte, times, commit and versions aside?

    python -m benchmarks.same_results results/demo-before results/demo

The guard of a change that keeps behaviour: run the demo before and after it.  Left out are wall
seconds, how many workers, what the program was (commit, versions, machine), the folders'
own names, and the report's section on cost.  Exit code 1 where anything else differs; each
difference is a line.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Text that may differ: pattern -> what stands in its place for the comparison.
ASIDE = (
    (rb'"(wall_seconds|seconds)": ?[0-9.e+-]+', rb'"\1":0'),
    (rb'"made_with": ?\{[^}]*\}', b'"made_with":{}'),
    (rb'\s*"workers": ?[0-9]+,', b""),
    (rb'"(output_dir|output)": ?"[^"]*"', rb'"\1":""'),
    (rb'<section id="cost">.*?</section>', b""),
    (rb"<dt>(Machine|Commit|Versions)</dt>.*?</dd>", b""),
)
TEXT = {".json", ".jsonl", ".html", ".txt"}


def files_of(folder: Path) -> dict[str, Path]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path for path in paths}


def content_of(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix in TEXT:
        for pattern, instead in ASIDE:
            content = re.sub(pattern, instead, content, flags=re.DOTALL)
    return content


def differences(before: Path, after: Path) -> Iterator[str]:
    """A line for each file that is not in both, or not the same."""
    old, new = files_of(before), files_of(after)
    for name in sorted(old.keys() | new.keys()):
        if name not in new:
            yield f"gone: {name}"
        elif name not in old:
            yield f"new: {name}"
        else:
            a, b = content_of(old[name]), content_of(new[name])
            if a != b:
                place = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), -1)
                yield f"differs from byte {place}: {name}: {a[place - 30 : place + 50]!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    args = parser.parse_args()
    found = list(differences(args.before, args.after))
    print("\n".join(found) if found else f"{len(files_of(args.after))} files, all the same")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
