"""Is the report of a whole run usable?  Its size, the time to build it, to open it, to show a fact.

    python -m benchmarks.report_size [--facts 27738] [--scores 40] [--output DIR]

Invents records of 34 relations and 27,738 facts with 253,448 prompts (PARAREL's counts, words of no
language) in the shape of bert-base (12 layers of 3,072 neurons), writes them as the stages would,
builds the report and opens it in a headless Chromium, in a fresh profile each time.  --scores: of a
prompt, on average, at least a tenth of its largest; real models differ.  Files of real scores also
hold the baseline's activations, which the report does not use and which are left out here: reading
them takes stage 8 longer than it takes here.  The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from statistics import median

from knowledge_neurons import report
from knowledge_neurons.report import embedding
from knowledge_neurons.results import published
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import environment
from tests.integration.browsers import chromium
from tests.reference.made_results import MadeFact, Shape, Writer, invented_words

RUNS = 5  # of each time in the browser; the median is told


def make_facts(words: list[str], relation: int, facts: int, longer: int) -> list[MadeFact]:
    """Facts asked for by nine templates, the first `longer` of them by ten."""
    rng = random.Random(relation)
    templates = [
        " ".join(rng.choice(words).lower() for _ in range(rng.randint(1, 4))) for _ in range(10)
    ]
    texts = [f"{{}} {text} [MASK] ." for text in templates]
    tails = rng.sample(words, 120)
    return [
        MadeFact(
            f"{rng.choice(words)} {rng.choice(words)}",
            rng.choice(tails),
            texts[: 10 if fact < longer else 9],
        )
        for fact in range(facts)
    ]


def make_relations(facts: int) -> dict[str, tuple[str, list[MadeFact]]]:
    """As many facts as asked for over all relations; all of PARAREL's have its prompts."""
    words = invented_words(6000)
    count = published.RELATIONS
    longer = published.PROMPTS - 9 * published.FACTS if facts == published.FACTS else facts // 7
    sizes = [facts // count + (place < facts % count) for place in range(count)]
    extra = [longer // count + (place < longer % count) for place in range(count)]
    return {
        f"P{100 + place}": (
            f"relation {words[place].lower()}",
            make_facts(words, place, sizes[place], extra[place]),
        )
        for place in range(count)
    }


def in_browser(path: Path, relations: list[str]) -> dict[str, float]:
    """Median seconds: to the first fact, to the first fact of another relation, to the next one."""
    times: dict[str, list[float]] = {
        "open": [],
        "other relation": [],
        "next fact": [],
        "search": [],
    }
    with chromium() as browser:
        for run in range(RUNS):
            page = browser.new_context().new_page()
            started = time.perf_counter()
            page.goto(path.as_uri())
            page.wait_for_selector("#fact h3")
            times["open"].append(time.perf_counter() - started)
            for name, address in (
                ("other relation", f"#{relations[7 + run]}/100"),
                ("next fact", f"#{relations[7 + run]}/101"),
            ):
                times[name].append(page.evaluate(SHOW, address) / 1000)
            times["search"].append(page.evaluate(SEARCH, "an") / 1000)
            page.context.close()
    return {name: round(median(seconds), 4) for name, seconds in times.items()}


# Milliseconds until the fact at an address is on the page; until a search in all facts is.
SHOW = """(address) => new Promise((done) => {
  const started = performance.now();
  new MutationObserver((_, observer) => {
    observer.disconnect();
    requestAnimationFrame(() => done(performance.now() - started));
  }).observe(document.getElementById("fact"), { childList: true });
  location.hash = address;
})"""
SEARCH = """(text) => {
  const started = performance.now();
  document.getElementById("relation").value = "";
  const search = document.getElementById("search");
  search.value = text;
  search.dispatchEvent(new Event("input"));
  document.body.offsetHeight; // laid out
  return performance.now() - started;
}"""


def measure(folder: Path, facts: int, scores: float) -> dict[str, object]:
    results = Results(folder)
    made = Writer(
        results, make_relations(facts), Shape(layers=12, width=3072, scores=scores, filler=18)
    )
    started = time.perf_counter()
    made.everything()
    written = time.perf_counter() - started
    started = time.perf_counter()
    html = report.render(results).encode()
    built = time.perf_counter() - started
    write_atomic(results.report, html)
    embedded = embedding.embed(results)
    return {
        "facts": embedded.facts,
        "prompts": embedded.prompts,
        "scores_per_prompt": scores,
        "prompts_cut": embedded.cut,
        "megabytes": round(len(html) / 1e6, 2),
        "megabytes_of_facts": round(embedded.bytes / 1e6, 2),
        "megabytes_of_index": round(len(embedded.index) / 1e6, 2),
        "seconds_to_invent": round(written, 1),
        "seconds_to_build": round(built, 1),
        "browser_seconds": in_browser(results.report, list(made.relations)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--facts", type=int, default=published.FACTS)
    parser.add_argument("--scores", type=float, default=40.0)
    parser.add_argument("--output", type=Path, help="keep the results and the report there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = measure(args.output or Path(scratch), args.facts, args.scores)
    for name, value in found.items():
        print(f"{name:>20}  {value}")
    print(json.dumps({"benchmark": "report_size", **found, "made_with": environment()}))


if __name__ == "__main__":
    main()
