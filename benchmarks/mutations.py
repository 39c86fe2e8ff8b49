"""Inputs made wrong in many ways: how does each end?

    python -m benchmarks.mutations                       # 700 inputs, about 6 minutes on 2 cores
    python -m benchmarks.mutations --count 100 --only bags,vocabulary

Every kind of file that the project reads (prompts, pairs, sentences, scores, neurons, manifests,
records, config, vocabulary, weights, archive, patch) is harmed at random, seeded, and the program
that reads it is run in this process on a small model.  Each ends as one of

    clear      exit code 2 and one line that names the file; every other file is as it was
    accepted   exit code 0, harmless: the results are the same, or the input is another valid one
    unclear    an error that breaks one of the promises of `clear`
    traceback  any other exception
    hang       longer than LIMIT
    silent     exit code 0 and other results, from an input that is not valid

The last line is JSON.  The exit code is 1 where one of the last four is not 0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from benchmarks.mutators import mutations
from knowledge_neurons.results.layout import Results
from tests.integration.stages import Ended, Place, fine, small_inputs
from tests.reference.made_results import Writer
from tests.reference.mutations import Mutation

LIMIT = 60  # seconds
LONGEST = 2000  # characters of an error
OUTCOMES = ("clear", "accepted", "unclear", "traceback", "hang", "silent")


@dataclass(frozen=True)
class Kind:
    """A kind of file: one of its kind in the workspace, what reads it, and how it is harmed.

    fresh: results that the reader makes, removed first.
    """

    name: str
    file: str
    mutator: str
    command: tuple[str, ...]
    fresh: tuple[str, ...] = ()


STAGE_1 = ("1_analyze_mlm.py", "--pt_relation", "P36", "--get_ig_gold", "--get_base")
STAGE_2 = ("2_get_kn.py", "--relations", "P36")
STAGE_3 = ("3_modify_activation.py", "--relations", "P36", "--oov", "skip")
STAGE_4 = ("4_check_weights_distant.py", "--relations", "P36")
STAGE_5 = ("5_find_trigger_examples.py", "--relations", "P36")
STAGE_7 = ("7_erase_knowledge.py", "--relation", "P36", "--oov", "skip")
REPORT = ("8_plot_report.py",)
SCORES = "results/TREx-all-P36.rlt.jsonl"
KINDS = (
    Kind("bags", "data.json", "bags", STAGE_1, ("results",)),
    Kind("pairs", "pairs.json", "pairs", STAGE_4, ("results/distant",)),
    Kind("sentences", "sentences_P36.json", "sentences", STAGE_5, ("results/trigger_examples_th",)),
    Kind("scores", SCORES, "lines", STAGE_2, ("results/kn",)),
    Kind("scores in the report", SCORES, "lines", REPORT),
    Kind("neurons", "results/kn/kn_bag-P36.json", "json", STAGE_3, ("results/modify_activation",)),
    Kind("neurons to edit", "results/kn/kn_bag-P36.json", "json", STAGE_7, ("results/erase",)),
    Kind("manifest of scores", "results/manifests/TREx-all-P36.rlt.jsonl.manifest.json", "json",
         STAGE_2, ("results/kn",)),
    Kind("manifest of a done stage", "results/manifests/TREx-all-P36.rlt.jsonl.manifest.json",
         "json", STAGE_1),
    Kind("manifest of neurons", "results/kn/manifests/kn_bag-P36.json.manifest.json", "json",
         STAGE_4, ("results/distant",)),
    Kind("manifest in the report", "results/kn/manifests/kn_bag-P36.json.manifest.json", "json",
         REPORT),
    Kind("records of stage 3", "results/modify_activation/P36.jsonl", "lines", REPORT),
    Kind("records of stage 4", "results/distant/P36.jsonl", "lines", REPORT),
    Kind("records of stage 5", "results/trigger_examples_th/P36.jsonl", "lines", REPORT),
    Kind("records of stage 7", "results/erase/P36.jsonl", "lines", STAGE_7),
    Kind("statistics", "results/kn/statistics.json", "json", REPORT),
    Kind("summary of stage 3", "results/modify_activation/summary.json", "json", REPORT),
    Kind("summary of stage 4", "results/distant/summary.json", "json", REPORT),
    Kind("summary of stage 6", "results/edit/edit-1-8.json", "json", REPORT),
    Kind("summary of stage 7", "results/erase/P36.json", "json", REPORT),
    Kind("config", "model/config.json", "config", STAGE_1, ("results",)),
    Kind("tokenizer config", "model/tokenizer_config.json", "tokenizer_config", STAGE_1,
         ("results",)),
    Kind("vocabulary", "model/vocab.txt", "vocabulary", STAGE_1, ("results",)),
    Kind("weights", "model/model.safetensors", "weights", STAGE_1, ("results",)),
    Kind("archive", "model.tar.gz", "archive",
         (*STAGE_1, "--bert_model", "{folder}/model.tar.gz"), ("results",)),
    Kind("patch", "results/erase/P36.safetensors", "patch",
         ("../scripts/apply_edit.py", "{folder}/results/erase/P36.safetensors",
          "--bert_model", "{folder}/model", "--output", "{folder}/edited")),
)  # fmt: skip


class Hang(BaseException):
    """The run took longer than LIMIT."""


def workspace(folder: Path, inputs: Place) -> Path:
    """Model, data and the results of all stages on them, to be copied for each case."""
    shutil.copytree(inputs.model, folder / "model")
    for path in inputs.data.parent.glob("*.json"):
        shutil.copy(path, folder)
    shutil.make_archive(str(folder / "model"), "gztar", folder, "model")
    place = place_in(folder)
    for command in (
        *(STAGE_1, STAGE_2, ("2_analyze_kn.py",), STAGE_3, STAGE_4, STAGE_5, STAGE_7),
        REPORT,
    ):
        fine(place.here(*command))
    # The small model answers nothing right, so that stage 6 finds nothing to edit.
    Writer(Results(place.results), {"P36": ("capital", [])}).stage_6()
    return folder


def place_in(folder: Path) -> Place:
    return Place(folder / "model", folder / "data.json", folder / "results")


def digests(folder: Path) -> dict[str, str]:
    """Every file under a folder -> its sha256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(kind: Kind, folder: Path) -> Ended:
    """The reader of a kind of file, in this process; Hang where it takes too long."""

    def late(number, frame):
        raise Hang

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    try:
        return place_in(folder).here(*(part.format(folder=folder) for part in kind.command))
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


@dataclass(frozen=True)
class Case:
    """One input and how it ended.  why: what was promised and not kept, or why it is harmless."""

    kind: str
    mutation: str
    outcome: str
    why: str


def copied(base: Path, folder: Path, kind: Kind) -> None:
    shutil.copytree(base, folder)
    for name in kind.fresh:
        shutil.rmtree(folder / name)


def try_one(kind: Kind, mutation: Mutation, base: Path, folder: Path, expected: dict) -> Case:
    """Harm the file, run its reader, judge the end."""
    copied(base, folder, kind)
    harmed = folder / kind.file
    harmed.write_bytes(mutation.content)
    before = digests(folder)
    say = Case(kind.name, mutation.name, "", "")
    try:
        ended = run(kind, folder)
    except Hang:
        return replace(say, outcome="hang", why=f"over {LIMIT} s")
    except Exception as error:
        return replace(say, outcome="traceback", why=f"{type(error).__name__}: {error}"[:300])
    after = digests(folder)
    if ended.code:
        broken = list(broken_promises(ended, kind, before, after))
        return replace(say, outcome="unclear" if broken else "clear",
                       why="; ".join([*broken, ended.err[-300:]]))  # fmt: skip
    same = results_of(after, kind) == expected
    why = "the same results" if same else mutation.harmless
    return replace(say, outcome="accepted" if why else "silent", why=why)


def broken_promises(ended: Ended, kind: Kind, before: dict, after: dict) -> Iterator[str]:
    """What an error should be and is not."""
    lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    message = lines[-1] if lines else ""
    if ended.code != 2 or len(lines) != 1 or not ended.err.endswith(f"{message}\n"):
        yield f"exit code {ended.code}, {len(lines)} lines of error"
    names = (Path(kind.file).name, Path(kind.file).name.removesuffix(".manifest.json"))
    if not any(name in message for name in names) and "model" not in kind.file:
        yield "the file is not named"
    if len(message) > LONGEST:
        yield f"{len(message)} characters"
    if lost := [name for name in before if after.get(name) != before[name]]:
        yield f"changed or lost: {', '.join(lost[:3])}"


def results_of(found: dict[str, str], kind: Kind) -> dict[str, str]:
    """The outputs that must not differ: not manifests, nor what tells seconds and versions."""
    told = [".manifest.json", ".args.json", "edited/"]
    if "manifest" in kind.name:
        told.append("report.html")  # which shows what they say
    return {
        name: digest
        for name, digest in found.items()
        if name.startswith("results/") and name != kind.file and not any(t in name for t in told)
    }


def campaign(inputs: Place, count: int, seed: int, kinds: tuple[Kind, ...]) -> Iterator[Case]:
    """`count` cases, spread over the kinds."""
    with tempfile.TemporaryDirectory() as scratch:
        base = workspace(Path(scratch, "base"), inputs)
        for place, kind in enumerate(kinds):
            share = count // len(kinds) + (place < count % len(kinds))
            unharmed = Path(scratch, f"unharmed-{place}")
            copied(base, unharmed, kind)
            fine(run(kind, unharmed))
            expected = results_of(digests(unharmed), kind)
            content = (base / kind.file).read_bytes()
            for mutation in islice(mutations(kind.mutator, content, seed), share):
                folder = Path(scratch, "case")
                yield try_one(kind, mutation, base, folder, expected)
                shutil.rmtree(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="kinds, by comma")
    args = parser.parse_args()
    chosen = set((args.only or "").split(",")) - {""}
    kinds = tuple(kind for kind in KINDS if not chosen or kind.name in chosen)
    ends: Counter[str] = Counter()
    harmless: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for case in campaign(small_inputs(Path(folder)), args.count, args.seed, kinds):
            ends[case.outcome] += 1
            if case.outcome == "accepted":
                harmless[case.why] += 1
            elif case.outcome != "clear":
                print(f"{case.outcome:10} {case.kind}: {case.mutation}: {case.why}", flush=True)
    for why, number in harmless.most_common():
        print(f"accepted {number:4}: {why}")
    print(json.dumps({"tried": ends.total(), **{name: ends[name] for name in OUTCOMES}}))
    return int(any(ends[name] for name in OUTCOMES[2:]))


if __name__ == "__main__":
    sys.exit(main())
