#!/usr/bin/env python
"""knowledge_neurons.compat against the package it names: knowledge-neurons 0.0.2 of PyPI.

    python -m benchmarks.peers --pypi /path/to/python       # 3 minutes on one core

The embedded demo model, and a random BERT of its shape with its tokenizer; the first fact of each
relation of the embedded sample, all prompts.  Both sides are asked by the same names and arguments,
theirs in an environment of its own (see benchmarks/attribution.py for how it is made):

- **scores** of every neuron: largest difference as a share of the prompt's largest score;
- **coarse** neurons of each prompt at 0.3 of the largest, above the 99.5th percentile and above an
  absolute score (half of the largest), **refined** neurons of each fact: how many sets are equal;
- **interventions** on the refined neurons, or the coarse ones of a prompt where none are refined:
  largest difference of a probability before and after, and whether the model says the same.

peer_numbers=True has to agree, and the exit status is 1 where it does not.  Beside it what is
different by default: the released code's points.  edit_knowledge is left out: theirs is not scaled
by norms.  The last line is JSON.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip
import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.attribution_rivals import Pypi, timed
from benchmarks.random_models import random_bert
from knowledge_neurons import ROOT
from knowledge_neurons.compat import KnowledgeNeurons
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import environment
from knowledge_neurons.text import data
from knowledge_neurons.text.tokenizer import Tokenizer
from knowledge_neurons.types import Fact

SAMPLE = ROOT / "data/PARAREL/sample_allbags.json"
STEPS, SHARE = 20, 0.5
ALLOWED = 1e-4  # of the largest score, and of a probability: float32 in another order
INTERVENTIONS: dict[str, dict[str, Any]] = {
    "suppress_knowledge": {},
    "enhance_knowledge": {},
    "erase_knowledge": {"erase_value": "zero"},
    "erase_knowledge, unk": {"erase_value": "unk"},
}


class Compared:
    """Ours beside theirs on one model: what was counted so far."""

    def __init__(self, ours: KnowledgeNeurons, theirs: Pypi):
        self.ours, self.theirs = ours, theirs
        self.equal: Counter[str] = Counter()  # kind of set, "by default" or not -> how many equal
        self.sets: Counter[str] = Counter()  # kind -> of how many
        self.neurons: Counter[str] = Counter()  # kind -> in theirs, over all sets
        self.errors: dict[str, float] = {}  # what -> largest difference
        self.said_differently = 0
        self.seconds: dict[str, list[float]] = {"ours": [], "theirs": []}

    def fact(self, fact: Fact) -> None:
        """All that is compared of a fact's prompts."""
        for prompt in fact.prompts:
            self.prompt(prompt, fact.answer)
        asked = {"prompts": list(fact.prompts), "ground_truth": fact.answer, "quiet": True}
        asked |= {"p": SHARE, "steps": STEPS, "batch_size": STEPS}
        refined = self.set("refined", "get_refined_neurons", asked)
        prompt = {"prompt": fact.prompts[0]}
        asked = prompt | {"ground_truth": fact.answer, "pbar": False, "adaptive_threshold": 0.3}
        neurons = refined or self.theirs.call("get_coarse_neurons", **asked)[0]
        for name, options in INTERVENTIONS.items():
            method = name.split(",")[0]
            answer = "target" if method == "erase_knowledge" else "ground_truth"
            asked = prompt | options | {answer: fact.answer, "neurons": neurons, "quiet": True}
            theirs, _ = self.theirs.call(method, **asked)
            ours, _ = getattr(self.ours, method)(**asked)
            for when in ("before", "after"):
                for key in ("gt_prob", "argmax_prob"):
                    self.error(name, abs(ours[when][key] - theirs[when][key]))
                said = {one[when]["argmax_completion"] for one in (ours, theirs)}
                self.said_differently += len(said) > 1

    def prompt(self, prompt: str, answer: str) -> None:
        """Scores and coarse neurons of one prompt."""
        asked = {"prompt": prompt, "ground_truth": answer, "pbar": False, "steps": STEPS}
        theirs, seconds = self.theirs.call("get_scores", **asked)
        largest = theirs.max().item()
        for peer_numbers, name in ((True, "scores"), (False, "scores, by default")):
            self.ours.peer_numbers = peer_numbers
            ours, own_seconds = timed(lambda: self.ours.get_scores(**asked))
            self.error(name, ((ours - theirs).abs().max() / largest).item())
        self.seconds["theirs"].append(seconds)
        self.seconds["ours"].append(own_seconds)
        for name, threshold in (
            ("coarse at 0.3 of the largest", {"adaptive_threshold": 0.3}),
            ("coarse above the 99.5th percentile", {"percentile": 99.5}),
            ("coarse above a score", {"threshold": largest / 2}),
        ):
            self.set(name, "get_coarse_neurons", asked | threshold)

    def set(self, name: str, method: str, asked: dict[str, Any]) -> list[list[int]]:
        """A set of neurons from both, and ours with the released code's points too."""
        theirs, _ = self.theirs.call(method, **asked)
        self.sets[name] += 1
        self.neurons[name] += len(theirs)
        for peer_numbers, key in ((False, f"{name}, by default"), (True, name)):
            self.ours.peer_numbers = peer_numbers
            self.equal[key] += getattr(self.ours, method)(**asked) == theirs
        return theirs

    def error(self, name: str, size: float) -> None:
        self.errors[name] = max(size, self.errors.get(name, 0.0))

    def record(self) -> dict[str, Any]:
        """What the JSON says of the model."""
        sets = {
            name: {
                "sets": count,
                "neurons": self.neurons[name],
                "equal": self.equal[name],
                "equal_by_default": self.equal[f"{name}, by default"],
            }
            for name, count in self.sets.items()
        }
        errors = {name: float(f"{size:.2g}") for name, size in self.errors.items()}
        agree = all(one["equal"] == one["sets"] for one in sets.values())
        close = all(e <= ALLOWED for name, e in errors.items() if "by default" not in name)
        return {
            "sets": sets,
            "largest_differences": errors,
            "said_differently": self.said_differently,
            "seconds_of_scores": {k: round(median(v), 4) for k, v in self.seconds.items()},
            "ok": agree and close and not self.said_differently,
        }


def facts(tokenizer: Tokenizer) -> list[Fact]:
    """Of each relation the first fact whose answer is one token, which theirs needs."""
    bags = data.read_bags(SAMPLE)
    found = []
    for relation in sorted(bags):
        known = data.facts_of(bags, relation, SAMPLE)
        found += [one for one in known if one.answer in tokenizer.vocabulary][:1]
    return found


def show(name: str, record: dict[str, Any]) -> None:
    print(f"{name}: knowledge-neurons 0.0.2 beside ours, with peer_numbers and by default")
    for what, one in record["sets"].items():
        equal = f"{one['equal']:4} and {one['equal_by_default']:4} of {one['sets']} equal"
        print(f"  {what:36} {equal}")
    for what, error in record["largest_differences"].items():
        print(f"  {what:36} differ by {error:.1e} at most")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pypi", metavar="PYTHON", required=True, help="interpreter with 0.0.2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="the JSON record")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    demo = checkpoints.from_pretrained(ROOT / "models/demo-bert")
    models = {"demo": demo.model, "random": random_bert(demo.model.config, seed=0)}
    asked, found = facts(demo.tokenizer), {}
    for name, model in models.items():
        with Pypi(args.pypi, model, demo.tokenizer, args.threads) as theirs:
            ours = KnowledgeNeurons(model, demo.tokenizer, "bert", device="cpu")
            compared = Compared(ours, theirs)
            for fact in asked:
                compared.fact(fact)
        found[name] = compared.record()
        show(name, found[name])
    made = environment()
    record = {"command": "python -m benchmarks.peers --pypi PYTHON", "threads": args.threads}
    record |= {key: made[key] for key in ("machine", "torch", "commit")}
    record |= {"facts": len(asked), "prompts": sum(len(one.prompts) for one in asked)} | found
    if args.output:
        write_json(args.output, record, readable=True)
    print(json.dumps(record))
    sys.exit(0 if all(found[name]["ok"] for name in models) else 1)


if __name__ == "__main__":
    program.run(main)
