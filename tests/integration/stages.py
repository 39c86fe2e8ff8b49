"""Running stages on a tiny random model and a few facts, each as users run it.

What depends on the process (shell scripts, exit codes, kills) runs as one; arguments alone are
tried in this process, through the same `main`.
"""

import importlib.util
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

from knowledge_neurons import ROOT
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.results.companions import manifest_path
from knowledge_neurons.results.layout import Results
from knowledge_neurons.stages import program
from knowledge_neurons.text.tokenizer import SPECIAL_TOKENS, Tokenizer
from tests.reference.tiny import TINY, tiny_bert

SRC = Path(ROOT) / "src"
STAGE_1, STAGE_2 = "1_analyze_mlm.py", "2_get_kn.py"

HEADS = (
    *("ann", "bob", "cid", "dee", "eva", "fay", "gus", "hal", "ian"),
    *("jan", "kim", "lee", "mia", "ned", "ola", "pam", "ray", "sue"),
)
CITIES = ("rome", "paris", "oslo", "lima")
WORDS = (*HEADS, *CITIES, "was", "born", "in", "is", "where", "the", "city", "of", "comes", "from")
BORN = (
    "{} was born in [MASK].",
    "[MASK] is where {} was born.",
    "{} comes from the city of [MASK].",
    "the city of {} is [MASK].",
)


def bag(relation: str, label: str, head: str, answer: str, count: int = 4) -> list:
    return [[text.format(head), answer, f"{relation}({label})"] for text in BORN[:count]]


# The answer of P101's fact 1 is not in the vocabulary.
BAGS = {
    "P101": [
        bag("P101", "field (of work)", head, answer)
        for head, answer in (("ann", "rome"), ("bob", "atlantis"), ("cid", "oslo"))
    ],
    "P19": [
        bag("P19", "place of birth", head, CITIES[place % 4], 3 + place % 2)
        for place, head in enumerate(HEADS)
    ],
    "P36": [bag("P36", "capital", head, city) for head, city in zip(HEADS, CITIES, strict=False)],
}


def pair(bag: list) -> list[str]:
    """[head, tail] of a bag: BORN's third prompt starts with the head."""
    return [bag[2][0].split()[0], bag[0][1]]


def sentences(head: str, tail: str) -> dict[str, list[str]]:
    """Web sentences of a fact, of several lengths."""
    both = [f"{head} was born in {tail}.", f"the city of {head} is {tail}.", f"{head}, {tail}!"]
    lone = [f"{head} comes from the city.", f"where is {head} born, the city", f"{head} was born"]
    return {"th_bags": both, "h_bags": lone}


PAIRS = {relation: [pair(bag) for bag in bags] for relation, bags in BAGS.items()}
SENTENCES = {r: [sentences(*own) for own in PAIRS[r]] for r in ("P19", "P36")}
SENTENCES["P19"][1]["th_bags"] = []  # a fact without examples
SENTENCES["P19"][2]["th_bags"][0] = "nothing of the kind"
SENTENCES["P19"][3]["h_bags"][0] = f"-- {HEADS[3]}!"  # no other word to mask


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """A model, prompts and a results folder; runs stages with them as the environment's."""

    model: Path
    data: Path
    results: Path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KN_MODEL": str(self.model),
            "KN_DATA": str(self.data),
            "KN_RESULTS": str(self.results),
            "KN_SENTENCES": str(self.data.parent / "sentences_{}.json"),
            "KN_PAIRS": str(self.data.parent / "pairs.json"),
            "KN_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def start(self, script: str, *arguments: object) -> subprocess.Popen:
        command = ["bash", str(SRC / script), *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment = os.environ | self.environment
        return subprocess.Popen(command, env=environment, cwd=self.results.parent, **pipes)

    def shell(self, script: str, *arguments: object) -> Ended:
        """A shell stage as a process of its own."""
        process = self.start(script, *arguments)
        out, err = process.communicate()
        return Ended(process.returncode, out, err)

    def here(self, script: str, *arguments: object, **environment: str) -> Ended:
        """A Python stage in this process."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        argv = [script, *map(str, arguments)]
        with (
            mock.patch.dict(os.environ, self.environment | environment),
            mock.patch.object(sys, "argv", argv),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                program.run(load(script).main)
            except SystemExit as end:
                code = end.code
        return Ended(code, out.getvalue(), err.getvalue())

    def score(self, relation: str, *arguments: object, **environment: str) -> Ended:
        """What 1_run_mlm.sh runs, in this process."""
        flags = ("--pt_relation", relation, "--get_ig_gold", "--get_base")
        return self.here(STAGE_1, *flags, *arguments, **environment)

    def scores(self, relation: str) -> Path:
        return Results(self.results).scores(relation)

    def lines(self, relation: str) -> list:
        return [json.loads(line) for line in self.scores(relation).read_bytes().splitlines()]

    def manifest(self, name: str) -> dict:
        return json.loads(manifest_path(self.results / name).read_bytes())

    def scores_manifest(self, relation: str) -> dict:
        return self.manifest(self.scores(relation).name)

    def identity(self, relation: str) -> dict:
        return self.scores_manifest(relation)["identity"]


def small_inputs(folder: Path) -> Place:
    """A tiny random model, prompts, pairs and sentences, in a folder; no results yet."""
    tokens = (*SPECIAL_TOKENS, *WORDS, ".")
    lowercase = Tokenizer({token: index for index, token in enumerate(tokens)}, lowercase=True)
    model = tiny_bert(config=replace(TINY, vocab_size=len(tokens)))
    checkpoints.save_pretrained(model, lowercase, folder / "model")
    (folder / "data.json").write_text(json.dumps(BAGS))
    (folder / "pairs.json").write_text(json.dumps(PAIRS))
    for relation, bags in SENTENCES.items():
        (folder / f"sentences_{relation}.json").write_text(json.dumps(bags))
    return Place(folder / "model", folder / "data.json", folder / "results")


def load(script: str):
    """A stage as a module; its name starts with a digit."""
    spec = importlib.util.spec_from_file_location(f"stage_{script[:-3]}", SRC / script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def fine(ended: Ended) -> Ended:
    assert ended.code == 0, ended.err
    return ended


def refused(ended: Ended, *parts: object) -> None:
    """Exit code 2, one message that holds the parts, no traceback."""
    assert ended.code == 2, ended
    message = ended.err[ended.err.index("error: ") :]
    assert "Traceback" not in ended.err and message.count("\n") == 1
    for part in parts:
        assert str(part) in message
