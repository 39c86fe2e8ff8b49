"""Would the tests notice?  Changes of one operator, comparison or constant of the library.

    pip install -e .[dev,guard]
    python -m benchmarks.guard --seed 1                  # 80 changes: half an hour, one core
    python -m benchmarks.guard --sample 20 --wing results

Mutation testing with the changes of cosmic-ray, on a copy of the tree.  Every test module is run
once and the lines it runs are recorded; then, for each change of a seeded sample of places, those
that run its line: the change is noticed where a test fails or takes far too long.  Left out are
changes of nothing that runs (annotations), decorators of classes (flags of dataclasses) and
functions with "bytes" in their name (estimates of memory).  The last line is JSON.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import cosmic_ray.plugins
import coverage
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = Path("src/knowledge_neurons")
COPIED = ("src", "tests", "scripts", "benchmarks", "data/PARAREL", "data/BINGREL", "models",
          "pyproject.toml", "env.yml", "README.md", "docs")  # fmt: skip
# Beside all of tests/unit: stages run in the test's process, so that their lines are seen.
INTEGRATION = ("stage_1", "stage_2", "activation_stages", "stage_6", "stage_7", "report_stage",
               "program", "models", "archives", "hub")  # fmt: skip
SLOW = 120  # seconds: a test module that takes longer is left out
TESTS_A_CHANGE = 6  # test modules that are asked first, those that run most of the changed one
MEMORY = 16 << 30  # bytes of address space, for changes that ask for all there is
# Loaded once, before the fork of each run: most of the time of a short test.
HEAVY = ("torch", "scipy.stats", "matplotlib.pyplot", "seaborn", "transformers.models.bert",
         "captum.attr", "hypothesis", "pytest", "safetensors.torch", "tokenizers",
         "huggingface_hub", "jinja2", "msgspec")  # fmt: skip
# cosmic-ray's changes that are one of an operator, a comparison or a constant.
KINDS = re.compile(r"core/(Replace(Binary|Unary|Comparison)Operator|ReplaceTrue|ReplaceFalse|"
                   r"ReplaceAnd|ReplaceOr|AddNot|NumberReplacer)")  # fmt: skip
# `==` on small numbers and strings is `is`: no change of what is computed.
NO_CHANGE = re.compile(r"_(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq)$")


# --- the changes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One change.  code: the whole module with it."""

    module: str
    line: int
    before: str
    after: str
    code: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.before} -> {self.after}"


class Meaning(ast.NodeTransformer):
    """What is left of a module without the parts whose changes are left out."""

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_ClassDef(self, node):
        node.decorator_list = []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node):
        node.returns = None
        if "bytes" in node.name:
            node.body = [ast.Pass()]
        return self.generic_visit(node)


def meaning(code: str) -> str:
    return ast.dump(Meaning().visit(ast.parse(code)))


def places_of(code: str) -> dict[tuple[int, int], list[tuple[str, int]]]:
    """(line, column) -> the changes that cosmic-ray can make there: its operator, which of them."""
    nodes = list(ast_nodes(get_ast(code)))
    places = defaultdict(list)
    for name in sorted(cosmic_ray.plugins.operator_names()):
        if not KINDS.match(name) or NO_CHANGE.search(name):
            continue
        operator = cosmic_ray.plugins.get_operator(name)()
        starts = (start for node in nodes for start, _ in operator.mutation_positions(node))
        for occurrence, start in enumerate(starts):
            places[start].append((name, occurrence))
    return places


def changes(tree: Path, seed: int, wing: str) -> Iterator[Change]:
    """All places of the library in a random order, each changed in one of its ways."""
    rng = random.Random(seed)
    sources = {
        str(path.relative_to(tree)): path.read_text()
        for path in sorted((tree / LIBRARY).rglob(f"{wing}/**/*.py" if wing else "*.py"))
    }
    places = [
        (module, start, ways)
        for module, code in sources.items()
        for start, ways in sorted(places_of(code).items())
    ]
    rng.shuffle(places)
    for module, (line, _), ways in places:
        name, occurrence = rng.choice(ways)
        code = sources[module]
        changed = mutate_code(code, cosmic_ray.plugins.get_operator(name)(), occurrence)
        try:
            same = meaning(changed) == meaning(code)
        except SyntaxError:
            continue
        if not same:
            before, after = (text.splitlines()[line - 1].strip() for text in (code, changed))
            yield Change(module, line, before, after, changed)


# --- the tests -------------------------------------------------------------------------------


def in_child(work: Callable[[], int], limit: float) -> int | None:
    """The exit code of `work` in a process of its own; None where it took longer than limit."""

    def child():
        os.setpgrp()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        sys.exit(work())

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(limit)
    if process.exitcode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        return None
    return process.exitcode


def pytest_in(tree: Path, tests: list[str]) -> int:
    """pytest's exit code on the tree, which is given to this process."""
    import hypothesis
    import pytest

    # A busy machine is no failure, and two runs try the same examples.
    hypothesis.settings.register_profile("guard", deadline=None, derandomize=True)
    os.chdir(tree)
    sys.path[:0] = [str(tree / "src"), str(tree)]
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    with open(tree / "log", "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    quiet = ("-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=guard")
    return int(pytest.main([*quiet, "--rootdir", str(tree), *tests]))


@dataclass(frozen=True)
class Trace:
    """What a test module runs of each module of the library, and how long it takes."""

    seconds: float
    lines: dict[str, list[int]]


def traced(tree: Path, test: str) -> Trace | None:
    """One test module run on the unchanged tree; None where it fails or is slow: no use then."""

    def work() -> int:
        tracer = coverage.Coverage(data_file=None, source=[str(tree / LIBRARY)])
        tracer.start()
        code = pytest_in(tree, [test])
        tracer.stop()
        data = tracer.get_data()
        lines = {
            str(Path(path).relative_to(tree)): data.lines(path) for path in data.measured_files()
        }
        (tree / "trace.json").write_text(json.dumps(lines))
        return code

    began = time.monotonic()
    if in_child(work, SLOW) != 0:
        return None
    return Trace(time.monotonic() - began, json.loads((tree / "trace.json").read_text()))


def traces_of(tree: Path) -> Iterator[tuple[str, Trace | None]]:
    """Every test module that is used."""
    tests = [str(path.relative_to(tree)) for path in sorted(tree.glob("tests/unit/test_*.py"))]
    tests += [f"tests/integration/test_{name}.py" for name in INTEGRATION]
    for test in tests:
        yield test, traced(tree, test)


def tests_of(change: Change, traces: dict[str, Trace]) -> list[str]:
    """The test modules that run the changed line, or the nearest above it that any runs.

    Those named after the module first, then those that run most of it: a module of constants is
    run as far by all that import it.
    """
    ran = {test: set(trace.lines.get(change.module, ())) for test, trace in traces.items()}
    line = max((n for lines in ran.values() for n in lines if n <= change.line), default=0)
    near, name = [test for test in ran if line in ran[test]], Path(change.module).stem
    return sorted(near, key=lambda test: (name not in Path(test).stem, -len(ran[test])))


def noticed(tree: Path, change: Change, traces: dict[str, Trace]) -> bool:
    """Does one of the tests fail, or take far too long, with the change?

    TESTS_A_CHANGE of them are asked first, the quickest first; the others where none notices.
    """
    tests = tests_of(change, traces)
    path = tree / change.module
    original = path.read_text()
    path.write_text(change.code)
    try:
        for some in (tests[:TESTS_A_CHANGE], tests[TESTS_A_CHANGE:]):
            some.sort(key=lambda test: traces[test].seconds)
            limit = 60 + 3 * sum(traces[test].seconds for test in some)
            if some and in_child(partial(pytest_in, tree, some), limit) != 0:
                return True
        return False
    finally:
        path.write_text(original)


def copy_of_tree(folder: Path) -> Path:
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


def prepare() -> None:
    """This process as all children should find it."""
    os.nice(10)
    # A shell's background job ignores it; then so do the programs that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in HEAVY:
        importlib.import_module(name)


def write_record(path: Path, told: dict[str, object], commit: str) -> None:
    """commit: of the tree that was copied, whatever was committed since."""
    # Not before: a child would have the modules of this process instead of the changed ones.
    from knowledge_neurons.results.json_files import write_json
    from knowledge_neurons.results.manifests import environment

    command = "python -m benchmarks.guard " + " ".join(sys.argv[1:])
    made_with = environment() | {"commit": commit or None}
    write_json(path, {"command": command, **told, "made_with": made_with}, readable=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=80, help="how many changes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wing", default="", help="only this folder of the library")
    parser.add_argument("--output", type=Path, help="write the record there too")
    args = parser.parse_args()
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40"],
        capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    prepare()
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_of_tree(Path(folder).resolve())
        traces: dict[str, Trace] = {}
        for test, trace in traces_of(tree):
            took = f"{trace.seconds:.1f} s" if trace else "fails or is slow, left out"
            print(f"{test}: {took}", flush=True)
            if trace:
                traces[test] = trace
        tried, unnoticed = 0, []
        for change in islice(changes(tree, args.seed, args.wing), args.sample):
            tried += 1
            if not noticed(tree, change, traces):
                unnoticed.append(str(change))
                print(f"not noticed, number {tried}: {change}", flush=True)
    count = tried - len(unnoticed)
    told = {"seed": args.seed, "sampled": tried, "noticed": count}
    told |= {"share": round(count / max(tried, 1), 4), "unnoticed": unnoticed}
    if args.output:
        write_record(args.output, told, commit)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
