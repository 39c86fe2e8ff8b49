"""The README's tables and sentences of numbers, made from the records in benchmarks/results.

    python scripts/readme_tables.py                        # write them anew, docs/ too
    python scripts/readme_tables.py --demo results/demo    # first record a finished demo
    python scripts/readme_tables.py --real results/smollm2 # or a finished real_model.sh
    python scripts/readme_tables.py --published results/published-bert-base-uncased
    python scripts/readme_tables.py --check                # exit code 1 where a page differs

A table stands between the lines <!-- table: its name --> and <!-- end -->, a sentence after
<!-- told: its name -->.  benchmarks/results/beyond_smollm2.json, of stages 9 to 11 on SmolLM2, need
not be there: its sentences are empty then, and the controls those of smollm2.json.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import readme_embedded
import readme_records
import readme_speed
import readme_told
from readme_records import EDITED, RECORDS, ROOT, SLOTS, read
from readme_told import number, told

from knowledge_neurons.results import published
from knowledge_neurons.results.controls import REST
from knowledge_neurons.types import CONTROL, KNOWLEDGE

PAGES = [ROOT / name for name in ("README.md", "docs/results.md", "docs/speed.md")]
BEYOND = "beyond_smollm2"  # the record that need not be there
CONFIG, TRAINING = "models/demo-bert/config", "models/demo-bert/training"
BAGS = "data/PARAREL/sample_allbags"  # what the embedded model was trained on


# --- tables ----------------------------------------------------------------------------------


def knowledge_neurons(demo: dict) -> Iterator[list[str]]:
    """Tables 2 and 4, figures 4 and 5: the demo's beside the paper's, both kinds of neurons."""
    yield ["", "demo, knowledge neurons", "demo, baseline", "paper", "paper, baseline"]
    of, rows = demo["table_2"], published.TABLE_2.rows
    paper = [number(x, 2) for x in rows["neurons per fact"]]
    yield ["Table 2: neurons a fact", *(number(of[k]["per_fact"], 2) for k in SLOTS), *paper]
    shared = [
        "; ".join(number(of[kind][f"shared_{where}"], 2) for where in ("within", "across"))
        for kind in SLOTS
    ]
    pairs = zip(rows["shared, same relation"], rows["shared, other relations"], strict=True)
    paper = [f"{number(same, 2)}; {number(other, 2)}" for same, other in pairs]
    yield ["shared by two facts of a relation; of two", *shared, *paper]
    for name, whose, factor, paper in (
        ("Figure 4: suppressed, own facts, %", "own", "0", published.SUPPRESSED.rows["own"]),
        ("suppressed, other relations' facts, %", "other", "0", None),
        ("Figure 5: amplified, own facts, %", "own", "2", published.AMPLIFIED.rows["own"]),
    ):
        own = [told(demo["change"][kind][whose][factor], 1, "+", 100) for kind in SLOTS]
        sign = "+" if factor == "2" else ""
        yield [name, *own, *([number(x, 2, sign) for x in paper] if paper else ["", ""])]
    of, rows = demo["table_4"], published.TABLE_4.rows
    paper = [number(x, 3) for x in rows["both"]]
    yield [
        "Table 4: activation with head and tail", *(told(of[k]["both"], 3) for k in SLOTS), *paper
    ]  # fmt: skip
    without = [
        "; ".join(number(of[kind][which]["value"], 3) for which in ("head", "random"))
        for kind in SLOTS
    ]
    pairs = zip(rows["head"], rows["random"], strict=True)
    yield [
        "with the head; random", *without, *(f"{number(a, 3)}; {number(b, 3)}" for a, b in pairs)
    ]  # fmt: skip


def edits(demo: dict) -> Iterator[list[str]]:
    """Tables 6 and 5: the demo's beside the paper's, and random neurons beside both."""
    yield ["", "demo, knowledge neurons", "demo, random neurons", "demo, random, same size",
           "paper", "paper, random"]  # fmt: skip
    of, rates = demo["table_6"], published.TABLE_6_RATES.rows
    for name, key in (("Table 6: answer changed, %", "change"), ("new answer given, %", "success")):
        paper = [number(x, 1) for x in rates[key]]
        yield [name, *(told(of[kind][key], 1, "", 100) for kind in EDITED), *paper]
    few = [
        "; ".join(number(100 * of[kind][f"success of {n}"]["value"], 1) for n in (1, 10))
        for kind in EDITED
    ]
    yield ["one neuron edited; ten", *few, "rises", ""]
    for name, key in (("same relation", "same_relation"), ("other relations", "other_relations")):
        paper = [
            number(x, 1, "+") for x in published.TABLE_6_PERPLEXITY.rows[f"perplexity, {name}"]
        ]
        yield [f"perplexity, {name}", *(told(of[kind][key], 2, "+") for kind in EDITED), *paper]
    paper = published.TABLE_5.rows["P19"]
    for name, which, increase in (
        ("Table 5: perplexity of P19 erased, %", "relation", paper[0]),
        ("of the other relations, %", "others", paper[1]),
    ):
        both = [told(demo["table_5"][slots][which], 1, "+", 100) for slots in ("erased", "random")]
        yield [name, *both, "", number(increase, 1, "+"), ""]


SHORT = (
    "Table 2: neurons a fact", "Figure 4: suppressed, own facts, %",
    "Figure 5: amplified, own facts, %", "Table 4: activation with head and tail",
    "Table 6: answer changed, %", "Table 5: perplexity of P19 erased, %",
)  # fmt: skip


def demo_short(demo: dict) -> Iterator[list[str]]:
    """A row of each of the paper's tables and figures, both kinds of neurons or random ones."""
    yield ["", "demo", "demo, beside", "paper", "paper, beside"]
    rows = {name: cells for name, *cells in knowledge_neurons(demo)}
    rows |= {name: [*cells[:2], *cells[3:]] for name, *cells in edits(demo)}  # no "same size"
    for name in SHORT:
        ours, beside, *paper = rows[name]
        yield [name, ours, beside.partition(" [")[0], *paper]


def real_model(found: dict, beyond: dict | None) -> Iterator[list[str]]:
    """Whose the neurons of a real model are: the controls, and the baseline beside them."""
    columns = {"own": "own prompts, %", "held_out": "own, held out, %",
               "same": "same relation, %", "other": "other relations, %"}  # fmt: skip
    yield ["neurons, times", "a fact", *columns.values()]
    effects = readme_told.effects_of(found, beyond)
    for factor in (0, 2):
        for one in (effect for effect in effects if effect["factor"] == factor):
            cells = [told(one["changes"][key], 1, "+", 100) for key in columns]
            name = readme_told.name_of(one["kind"])
            yield [f"{name}, {factor}", number(one["neurons"], 2), *cells]
        yield [f"most active (baseline), {factor}", *_most_active(found, factor)]


def _most_active(found: dict, factor: int) -> list[str]:
    own, other = (found["change"]["baseline"][key][str(factor)] for key in ("own", "other"))
    per_fact = number(found["table_2"]["baseline"]["per_fact"], 2)
    return [per_fact, told(own, 1, "+", 100), "", "", told(other, 1, "+", 100)]


def real_model_short(found: dict, beyond: dict | None) -> Iterator[list[str]]:
    """A fact's neurons, those of few facts and random ones, switched off."""
    (_, *heads), *rows = real_model(found, beyond)
    yield ["neurons switched off", *heads]
    kinds = {effect["kind"] for effect in readme_told.effects_of(found, beyond)}
    first = REST if REST in kinds else KNOWLEDGE  # whose held-out prompts are held out
    shown = [kind for kind in (first, *readme_told.FEW, CONTROL) if kind in kinds]
    by_name = {name: cells for name, *cells in rows}
    for name in (*map(readme_told.name_of, shown), "most active (baseline)"):
        yield [name, *by_name[f"{name}, 0"]]


def published_neurons(found: dict) -> Iterator[list[str]]:
    """EleutherAI's neurons of bert-base-uncased beside the paper's of bert-base-cased."""
    yield ["", "bert-base-uncased, EleutherAI's", "bert-base-cased, the paper's"]
    ours, rows = found["table_2"], published.TABLE_2.rows
    paper = {key: rows[key][0] for key in rows}
    yield ["facts", f"{ours['facts']:,}", f"{published.FACTS:,}"]
    per_fact = ours["per_fact"], paper["neurons per fact"]
    yield ["neurons a fact", *(number(x, 2) for x in per_fact)]
    shared = (
        (ours["shared_within"], ours["shared_across"]),
        (paper["shared, same relation"], paper["shared, other relations"]),
    )
    told_ = ["; ".join(number(x, 2) for x in both) for both in shared]
    yield ["shared by two facts of a relation; of two", *told_]
    shares = [
        "; ".join(number(100 * x / own, 1) for x in both)
        for both, own in zip(shared, per_fact, strict=True)
    ]
    yield ["the same, % of a fact's neurons", *shares]
    layers = [100 * share for share in ours["layers"]]
    top = ", ".join(number(share, 1) for share in layers[:6:-1])
    name = f"in layers {len(layers)} to 8; in all lower, %"
    yield [name, f"{top}; {number(sum(layers[:7]), 1)}", "topmost (no figures)"]


TABLES: dict[str, tuple[Callable[..., Iterator[list[str]]], tuple[str, ...]]] = {
    "demo": (demo_short, ("demo",)),
    "knowledge neurons": (knowledge_neurons, ("demo",)),
    "edits": (edits, ("demo",)),
    "SmolLM2": (real_model_short, ("smollm2", BEYOND)),
    "SmolLM2, all": (real_model, ("smollm2", BEYOND)),
    "published neurons": (published_neurons, ("published_neurons",)),
    "like for like": (readme_speed.like_for_like, ("attribution",)),
    "speed": (readme_speed.speed, ("attribution", "editing", "interventions")),
}  # name -> how it is made, of which records
TOLD: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "picture": (readme_embedded.picture, (CONFIG,)),
    "embedded": (readme_embedded.in_short, (CONFIG, TRAINING)),
    "embedded, at length": (readme_embedded.at_length, (CONFIG, TRAINING, BAGS)),
    "guesses": (readme_embedded.guesses, (TRAINING, "demo")),
    "facts asked": (readme_told.facts_asked, ("smollm2",)),
    "SmolLM2": (readme_told.real_model, ("smollm2", BEYOND)),
    "one neuron alone": (readme_told.alone, ("smollm2",)),
    "run": (readme_told.run, ("smollm2",)),
    "run, at length": (readme_told.run_at_length, ("smollm2",)),
    "SmolLM2's sentences": (readme_told.woken, ("smollm2",)),
    "beyond": (readme_told.in_short, (BEYOND,)),
    "beyond, at length": (readme_told.at_length, (BEYOND,)),
    "published": (readme_told.published, ("published_neurons",)),
    "not published": (readme_told.not_published, ("published_neurons",)),
    "erased": (readme_told.erased, ("demo",)),
    "faster": (readme_speed.faster, ("attribution",)),
    "limits": (readme_speed.limits, ("attribution",)),
    "families": (readme_speed.families, ("families",)),
    "fidelity": (readme_told.fidelity, ("parity",)),
}


# --- pages -----------------------------------------------------------------------------------

BLOCK = re.compile(r"(<!-- (table|told): (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def with_numbers(text: str) -> str:
    """A page's text with every table and sentence made from its records.

    Raises ValueError for a mark that names none, or has no end.
    """
    marks = text.count("<!-- table: ") + text.count("<!-- told: ")
    if marks != len(BLOCK.findall(text)):
        raise ValueError("a <!-- table: ... --> or <!-- told: ... --> has no <!-- end -->")
    return BLOCK.sub(lambda block: f"{block[1]}{_made(block[2], block[3])}{block[5]}", text)


def _made(kind: str, name: str) -> str:
    known = TABLES if kind == "table" else TOLD
    if name not in known:
        raise ValueError(f"no {kind} is called {name!r}; there are {', '.join(known)}")
    make, records = known[name]
    made = make(*map(record, records))
    if kind == "told":
        return "".join(f"{line}\n" for line in readme_told.lines_of(made))
    first, *rows = made
    lines = [re.sub(" +", " ", f"| {' | '.join(line)} |") for line in (first, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(first), *lines[1:], ""])


def record(name: str) -> dict | None:
    """Of benchmarks/results, or a file of the repository where the name is a path.

    None where the one that need not be there is not.
    """
    path = (ROOT if "/" in name else RECORDS) / f"{name}.json"
    return None if name == BEYOND and not path.exists() else read(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, help="record this results folder of a demo first")
    parser.add_argument("--real", type=Path, help="record that of a real_model.sh first")
    parser.add_argument("--published", type=Path, help="record that of published neurons first")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    if args.demo:
        readme_records.write("demo", readme_records.demo(args.demo))
    if args.real:
        readme_records.write("smollm2", readme_records.real(args.real))
    if args.published:
        readme_records.write("published_neurons", readme_records.published(args.published))
    made = {page: with_numbers(page.read_text()) for page in PAGES}
    differ = [page for page in PAGES if made[page] != page.read_text()]
    if args.check:
        print("differ from the records:", ", ".join(page.name for page in differ) or "none")
        return int(bool(differ))
    for page in differ:
        page.write_text(made[page])
    return 0


if __name__ == "__main__":
    sys.exit(main())
