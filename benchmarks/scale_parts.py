"""The parts of `benchmarks.scale`: each runs commands, and returns rows and their sums."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.scale_processes import Use, python, run
from knowledge_neurons.results.layout import Results

RELATION = "P36"  # of the invented prompts
MIDDLE, TINY = (6, 384, 1536, 6), (2, 64, 64, 2)  # layers, width, neurons, heads
WORKERS = (1, 2, 4)
REPORT_LIMIT = 40.0  # MB of a report that a browser still opens with ease
MADE = ("-m", "benchmarks.scale_made")
PROMPTS = 8  # of a fact


@dataclass(frozen=True)
class Sizes:
    """How much each part does.

    workers: facts.  rounds: of the workers' runs, the least time of which counts.  facts: of stages
    1, 2, 8.  statistics: facts of stage 2's second half.  report: facts of a report.  lengths:
    tokens.  timed: shapes.
    """

    workers: int = 160
    rounds: int = 2
    facts: Sequence[int] = (100, 1000, 10_000)
    statistics: Sequence[int] = (10_000, 100_000, 1_000_000)
    report: Sequence[int] = (3000, 27_738, 45_000)
    lengths: Sequence[int] = (8, 16, 32, 64, 128, 256, 512)
    timed: Sequence[str] = ("demo", "bert-base", "bert-large")


FULL = Sizes()
QUICK = Sizes(16, 1, (30, 100), (300, 3000), (100, 300), (8, 16), ("demo",))


# --- arithmetic ------------------------------------------------------------------------------


def efficiency(one: float, many: float, workers: int) -> float:
    """The share of their time that workers save: 1 where n of them are n times as fast."""
    return one / (workers * many)


Point = tuple[float, float]  # a count, and an amount there


def slope(first: Point, last: Point) -> float:
    """How much the amount grows by a thousand."""
    return 1000 * (last[1] - first[1]) / (last[0] - first[0])


def amount_at(points: Sequence[Point], count: float) -> float:
    """The amount at a count, by the line through the last two points: far beyond them it is a
    guess."""
    first, last = points[-2:]
    return first[1] + slope(first, last) * (count - first[0]) / 1000


def reaches(points: Sequence[Point], limit: float) -> float:
    """The count at which an amount that rises reaches the limit, by the line through the two
    points around it, or through the last two."""
    first, last = next((pair for pair in pairwise(points) if pair[1][1] >= limit), points[-2:])
    return first[0] + 1000 * (limit - first[1]) / slope(first, last)


# --- commands --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where a part works: a folder of its own, with what its commands say in `log`."""

    folder: Path

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def made(self, kind: str, name: str, *numbers: int) -> Path:
        """Something invented, once; see `scale_made`."""
        path = self.folder / name
        if not path.exists():
            run(python(*MADE, kind, path, *numbers), self.log, {})
        return path

    def stage(self, script: str, results: Path, *flags: object, threads: int = 1) -> Use:
        own = {"KN_RESULTS": str(results), "KN_DEVICE": "cpu"}
        return run(python(f"src/{script}.py", *flags), self.log, own, threads)

    def scores(self, model: Path, data: Path, facts: int, name: str, *flags: object) -> Use:
        """Stage 1 as its shell script calls it, of the first facts, into results of this name."""
        own = {"KN_MODEL": str(model), "KN_DATA": str(data), "KN_DEVICE": "cpu"}
        own |= {"KN_RESULTS": str(self.folder / name)}
        words = ["bash", "src/1_run_mlm.sh", RELATION, "--max_facts", str(facts), *map(str, flags)]
        threads = flags[flags.index("--threads_per_worker") + 1]
        return run(words, self.log, own, int(threads))


def _wrote(folder: Path) -> list[bytes]:
    results = Results(folder)
    return [path.read_bytes() for path in (results.scores(RELATION), results.quadrature(RELATION))]


# --- workers ---------------------------------------------------------------------------------


def workers(sizes: Sizes, place: Place) -> dict[str, Any]:
    """Stage 1 by 1, 2, 4 workers of one thread, and by one process of one and of two threads.

    A way's start-up is its own run of one fact; calibration is in it, the audit of more prompts,
    which one process does alone, is not.
    """
    model = place.made("model", "middle", *MIDDLE)
    data = place.made("prompts", "prompts.json", sizes.workers)
    ways = {f"{n} threads": ("--threads_per_worker", n) for n in (1, 2)}
    ways |= {f"{n} workers": ("--workers", n, "--threads_per_worker", 1) for n in WORKERS}
    ways["1 workers"] += ("--ray", "local")
    best: dict[tuple[str, int], Use] = {}
    for turn in range(sizes.rounds):
        for way, flags in ways.items():
            for facts in (1, sizes.workers):
                name = f"{way}-{facts}-{turn}".replace(" ", "-")
                use = place.scores(model, data, facts, name, *flags)
                kept = best.setdefault((way, facts), use)
                best[way, facts] = min(use, kept, key=lambda one: one.wall_s)
    first = _wrote(place.folder / f"1-threads-{sizes.workers}-0")
    rows = []
    for way in ways:
        whole, start = best[way, sizes.workers], best[way, 1]
        same = _wrote(place.folder / f"{way.replace(' ', '-')}-{sizes.workers}-0") == first
        work = {"work_wall_s": whole.wall_s - start.wall_s, "work_cpu_s": whole.cpu_s - start.cpu_s}
        rows.append({"way": way, **asdict(whole), "start_up": asdict(start), **work, "same": same})
    return {"facts": sizes.workers, "prompts": PROMPTS * sizes.workers, "rows": rows} | _gain(rows)


def _gain(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Efficiencies against one process of one thread, without and with the start-up."""
    by_way = {row["way"]: row for row in rows}
    one = by_way["1 threads"]
    found = {}
    for n in WORKERS:
        many = by_way[f"{n} workers"]
        found[f"efficiency_{n}"] = efficiency(one["work_wall_s"], many["work_wall_s"], n)
        found[f"efficiency_{n}_with_start_up"] = efficiency(one["wall_s"], many["wall_s"], n)
    two = by_way["2 threads"]
    found["efficiency_2_threads"] = efficiency(one["work_wall_s"], two["work_wall_s"], 2)
    return found


# --- facts -----------------------------------------------------------------------------------


def facts(sizes: Sizes, place: Place) -> dict[str, Any]:
    """Stages 1, 2 and 8 of more and more facts of one relation, on a tiny model."""
    model = place.made("model", "tiny", *TINY)
    rows = []
    for count in sizes.facts:
        data = place.made("prompts", f"prompts-{count}.json", count)
        results = place.folder / f"facts-{count}"
        uses = {"1": place.scores(model, data, count, results.name, "--threads_per_worker", 1)}
        for script in ("2_get_kn", "2_analyze_kn", "8_plot_figures", "8_plot_report"):
            uses[script] = place.stage(script, results)
        rows.append(
            {
                "facts": count,
                "stages": {stage: asdict(use) for stage, use in uses.items()},
                "scores_mb": Results(results).scores(RELATION).stat().st_size / 1e6,
                "report_mb": Results(results).report.stat().st_size / 1e6,
            }
        )
    # Between the last two: below, what any run holds is not yet full.
    slopes = {
        stage: slope(*((row["facts"], row["stages"][stage]["peak_mib"]) for row in rows[-2:]))
        for stage in uses
    }
    return {"rows": rows, "memory_slopes": slopes, "memory_slope_mib_per_1000_facts": slopes["1"]}


def statistics(sizes: Sizes, place: Place) -> dict[str, Any]:
    """Stage 2's statistics of invented neurons: as by default, and without the sampled pairs."""
    rows = []
    for count in sizes.statistics:
        results = place.made("neurons", f"neurons-{count}", count)
        exact = place.stage("2_analyze_kn", results, "--pairs", 0)
        whole = place.stage("2_analyze_kn", results)
        rows.append({"facts": count, "default": asdict(whole), "without_pairs": asdict(exact)})
    seconds = [(row["facts"], row["default"]["cpu_s"]) for row in rows]
    return {"rows": rows, "stage2_s_per_million": amount_at(seconds, 1e6)}


def report(sizes: Sizes, place: Place) -> dict[str, Any]:
    """Stage 8 of invented results as PARAREL's: seconds, memory, the size of its page."""
    rows = []
    for count in sizes.report:
        results = place.made("results", f"results-{count}", count)
        uses = {name: place.stage(name, results) for name in ("8_plot_figures", "8_plot_report")}
        size = Results(results).report.stat().st_size / 1e6
        rows.append({"facts": count, "report_mb": size, **{k: asdict(v) for k, v in uses.items()}})
    at = reaches([(row["facts"], row["report_mb"]) for row in rows], REPORT_LIMIT)
    return {"rows": rows, "limit_mb": REPORT_LIMIT, "facts_at_limit": round(at)}


# --- models ----------------------------------------------------------------------------------


def _model(place: Place, *words: object) -> dict[str, Any]:
    """What `scale_models` says, in a process of its own."""
    output = place.folder / "said"
    output.unlink(missing_ok=True)
    use = run(python("-m", "benchmarks.scale_models", *words), output, {})
    return json.loads(output.read_text().splitlines()[-1]) | {"load": use.load}


def lengths(sizes: Sizes, place: Place) -> dict[str, Any]:
    """One prompt of more and more tokens on bert-base's shape."""
    return {"rows": [_model(place, "time", "bert-base", tokens, 1) for tokens in sizes.lengths]}


def models(sizes: Sizes, place: Place) -> dict[str, Any]:
    """Planned memory of every shape, and what those that are timed took."""
    found = _model(place, "plan")
    for row in found["rows"]:
        if row["shape"] in sizes.timed:
            prompts = PROMPTS * row["facts_together"]
            row["timed"] = _model(place, "time", row["shape"], found["tokens"], prompts)
    return found


PARTS: dict[str, Callable[[Sizes, Place], dict[str, Any]]] = {
    "workers": workers,
    "facts": facts,
    "statistics": statistics,
    "report": report,
    "lengths": lengths,
    "sizes": models,
}
