"""The README's tables of numbers, made from the records in benchmarks/results.

    python scripts/readme_tables.py                        # write them anew
    python scripts/readme_tables.py --demo results/demo    # first record a finished demo
    python scripts/readme_tables.py --real results/smollm2 # or a finished real_model.sh
    python scripts/readme_tables.py --published results/published-bert-base-uncased
    python scripts/readme_tables.py --check                # exit code 1 where the README differs

A table stands between the lines <!-- table: its name --> and <!-- end -->.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import readme_records
from readme_records import EDITED, RECORDS, ROOT, SLOTS, read

from knowledge_neurons.results import published

README = ROOT / "README.md"


# --- tables ----------------------------------------------------------------------------------


def number(value: float, digits: int, sign: str = "") -> str:
    value = round(value, digits) or 0.0
    return f"{value:{sign if value else ''}.{digits}f}"  # no sign before 0


def told(estimate: dict, digits: int, sign: str = "", factor: float = 1.0) -> str:
    """ "-55.9 [-56.8, -54.9]"."""
    value, low, high = (
        number(factor * x, digits, sign) for x in (estimate["value"], *estimate["interval"])
    )
    return f"{value} [{low}, {high}]"


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


def real_model(found: dict) -> Iterator[list[str]]:
    """Whose the neurons of a real model are: the controls, and the baseline beside them."""
    columns = {"own": "own prompts, %", "held_out": "own, held out, %",
               "same": "same relation, %", "other": "other relations, %"}  # fmt: skip
    yield ["neurons, times", "a fact", *columns.values()]
    names = {"neurons": "knowledge neurons", "rare": "rare of them", "random": "random"}
    for factor in (0, 2):
        for one in (effect for effect in found["controls"] if effect["factor"] == factor):
            cells = [told(one["changes"][key], 1, "+", 100) for key in columns]
            yield [f"{names[one['kind']]}, {factor}", number(one["neurons"], 2), *cells]
        own, other = (found["change"]["baseline"][key][str(factor)] for key in ("own", "other"))
        per_fact = number(found["table_2"]["baseline"]["per_fact"], 2)
        cells = [told(own, 1, "+", 100), "", "", told(other, 1, "+", 100)]
        yield [f"most active (baseline), {factor}", per_fact, *cells]


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


def seconds(value: float) -> str:
    """Two digits that count, three from a second on."""
    return f"{value:#.{2 if value < 1 else 3}g}"


def speed(scores: dict, edited: dict, read_: dict) -> Iterator[list[str]]:
    """Seconds of ours and of the released way, from the records of three benchmarks."""
    yield ["", "seconds", "the released way", "ratio"]
    exact, default = seconds(scores["exact_s"]), seconds(scores["default_s"])
    slow, captum, pypi = (seconds(scores[f"{name}_s"]) for name in ("released", "captum", "pypi"))
    over = scores["over_default"]
    for name, ours, theirs, ratio in (
        ("attribution of a prompt, all 20 points (`attribution.py`)", exact,
         f"{slow} padded to 128, layer by layer", scores["over_exact"]["released"]),
        ("the same, fewer points within 1e-3 (the default)", default, slow, over["released"]),
        ("beside captum, and knowledge-neurons 0.0.2 of PyPI", default, f"{captum}, {pypi}",
         min(over["captum"], over["pypi"])),
    ):  # fmt: skip
        yield [name, ours, theirs, number(ratio, 0)]
    for name, stage, padded in (
        ("suppressing and amplifying, a prompt (`interventions.py`)", "3_seconds_a_prompt", 128),
        ("reading activations of a sentence", "4_seconds_a_sentence", 512),
    ):
        took = read_[f"stage_{stage}"]
        way = f"one at a time, padded to {padded}"
        yield [name, seconds(took["ours"]), f"{seconds(took[way])} {way}",
               number(took[way] / took["ours"], 0)]  # fmt: skip
    ours = edited["seconds_batched"] / edited["prompts"]
    one = edited["seconds_one_at_a_time_extrapolated"] / edited["prompts"]
    way = f"{seconds(one)} one at a time, padded to {edited['padded_to']}"
    yield ["perplexity of a prompt (`editing.py`)", seconds(ours), way, number(one / ours, 0)]


TABLES: dict[str, tuple[Callable[..., Iterator[list[str]]], tuple[str, ...]]] = {
    "knowledge neurons": (knowledge_neurons, ("demo",)),
    "edits": (edits, ("demo",)),
    "SmolLM2": (real_model, ("smollm2",)),
    "published neurons": (published_neurons, ("published_neurons",)),
    "speed": (speed, ("attribution", "editing", "interventions")),
}  # name -> how it is made, of which records


def with_tables(text: str) -> str:
    """The README's text with every table made from its records."""
    for name, (make, records) in TABLES.items():
        first, *rows = make(*(read(RECORDS / f"{record}.json") for record in records))
        lines = [re.sub(" +", " ", f"| {' | '.join(line)} |") for line in (first, *rows)]
        table = "\n".join([lines[0], "|" + "---|" * len(first), *lines[1:]])
        start, end = f"<!-- table: {name} -->\n", "\n<!-- end -->"
        before, found, rest = text.partition(start)
        if not found or end not in rest:
            raise ValueError(f"README.md has no {start.strip()} with <!-- end --> after it")
        text = before + start + table + end + rest.partition(end)[2]
    return text


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
    text = README.read_text()
    made = with_tables(text)
    if args.check:
        print(f"the README's tables are {'' if made == text else 'not '}those of the records")
        return int(made != text)
    README.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
