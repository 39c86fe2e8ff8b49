"""What the stages share on the command line: flags, their defaults, the settings they come to.

KN_MODEL, KN_WEIGHTS, KN_DATA, KN_LANGUAGE, KN_RESULTS and KN_DEVICE in the environment change the
defaults of all stages.
"""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from knowledge_neurons import ROOT
from knowledge_neurons.results.layout import DEFAULT_PREFIX, Results
from knowledge_neurons.stages import languages, numbers, program
from knowledge_neurons.stages.workers import WHO_WORKS, add_workers, device_of, who_works
from knowledge_neurons.text.relations import check_relation

PROMPTS = ROOT / "data/PARAREL/data_all_allbags.json"
SENTENCES = ROOT / "data/BINGREL/final_distant_allbags_{}_new.json"
PAIRS = ROOT / "data/PARAREL/query_pairs.json"


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, without the usage of all flags, and exits 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {program.printable(message)}; --help lists all flags\n")


# --- arguments -------------------------------------------------------------------------------


def add_results(parser: argparse.ArgumentParser, by_language: bool = True) -> None:
    """Where results lie; by_language: those of one language, where --language names it."""
    parser.add_argument(
        "--output_dir",
        type=Path,
        default=Path(os.environ.get("KN_RESULTS") or ROOT / "results"),
        help="folder of the results (KN_RESULTS; default: results/)",
    )
    parser.add_argument(
        "--output_prefix", default=DEFAULT_PREFIX, help="start of the scores files' names"
    )
    if by_language:
        languages.add(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, on which device."""
    parser.add_argument(
        "--bert_model",
        "--model",
        default=os.environ.get("KN_MODEL") or "bert-base-cased",
        help="name on the hub, folder, .tar.gz or .gguf (KN_MODEL; default: bert-base-cased)",
    )
    parser.add_argument("--revision", help="branch, tag or commit of the model on the hub")
    parser.add_argument(
        "--do_lower_case",
        action="store_true",
        default=None,
        help="fold case (default: what the checkpoint says)",
    )
    parser.add_argument(
        "--layer_norm_eps",
        type=numbers.real(0, 1e-2, above=True),
        help="instead of the checkpoint's; released code: 1e-5",
    )
    parser.add_argument(
        "--weights",
        choices=("float32", "bfloat16", "float16"),
        default=os.environ.get("KN_WEIGHTS") or "float32",
        help="what the weights of a model other than BERT are kept as (KN_WEIGHTS)",
    )
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1 ... (KN_DEVICE; default: cuda where there is one)"
    )
    parser.add_argument("--no_cuda", action="store_true", help="the same as --device cpu")
    parser.add_argument("--gpus", help="number of the GPU, the same as --device cuda:N")


def add_data(parser: argparse.ArgumentParser) -> None:
    """Which prompts."""
    parser.add_argument(
        "--data_path",
        type=Path,
        default=Path(os.environ.get("KN_DATA") or PROMPTS),
        help="prompts by relation, or one list of facts (KN_DATA; default: the full PARAREL)",
    )


def add_prompts(parser: argparse.ArgumentParser, max_seq_length: int = 128) -> None:
    """Which prompts, how many facts, how long; all stages that ask the model take them."""
    add_data(parser)
    parser.add_argument(
        "--tmp_data_path",
        type=Path,
        help="prompts by relation: read instead of --data_path where it exists, else written",
    )
    parser.add_argument(
        "--max_seq_length",
        type=numbers.tokens,
        default=max_seq_length,
        help="tokens of a text, at most",
    )
    # DEVIATION: --debug -1 means all facts; the released code then drops every one (difference 5)
    parser.add_argument(
        "--max_facts",
        "--debug",
        type=numbers.whole(-numbers.LARGEST),
        default=-1,
        help="only the first N of each relation; 0 or less: all",
    )
    parser.add_argument(
        "--min_prompts",
        type=numbers.whole(0, 10**6),
        default=3,
        help="leave out facts of whose prompts a decoder can read fewer",
    )


def add_oov(parser: argparse.ArgumentParser) -> None:
    """What to do about answers that the vocabulary lacks."""
    parser.add_argument(
        "--oov",
        choices=("error", "skip"),
        default="error",
        help="facts whose answer has no tokens in the vocabulary: stop, or leave out and count",
    )


def of_neurons(description: str, max_seq_length: int = 128) -> Parser:
    """A parser with what all stages take that ask the model about neurons."""
    parser = Parser(description=description)
    add_model(parser)
    add_prompts(parser, max_seq_length)
    add_results(parser)
    add_workers(parser)
    # Where neurons lie, as the released scripts name it.
    parser.add_argument(
        "--kn_dir", type=Path, help="folder of the kn_bag files (default: kn/ of the results)"
    )
    return parser


def add_relations(parser: argparse._ActionsContainer, having: str = "neurons") -> None:
    """Which relations."""
    parser.add_argument("--relations", help=f"P19,P36 ... (default: all that have {having})")


def add_sentences(parser: argparse.ArgumentParser) -> None:
    """Where the web sentences are."""
    parser.add_argument(
        "--sentences",
        default=os.environ.get("KN_SENTENCES") or str(SENTENCES),
        help="their files, {} in place of the relation (KN_SENTENCES; default: the full BINGREL)",
    )
    parser.add_argument(
        "--distant_data_dir",
        dest="sentences",
        type=lambda folder: str(Path(folder) / SENTENCES.name),
        help="folder of BINGREL's files: what the released scripts have for --sentences",
    )
    add_pairs(parser)


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """Where head and tail of each fact are."""
    parser.add_argument(
        "--pairs",
        "--query_pairs_path",
        type=Path,
        default=Path(os.environ.get("KN_PAIRS") or PAIRS),
        help="head and tail of each fact (KN_PAIRS; default: the full PARAREL's query_pairs.json)",
    )


def add_seed(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument("--seed", type=numbers.seed, default=42, help=f"of {of}")


# --- settings: what the arguments come to ------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every stage is told.  given: its arguments, as manifests keep them.

    language: of the prompts, where there is one; results are then those of the language.
    """

    results: Results
    given: dict[str, object]
    language: str | None = None

    @property
    def of_language(self) -> dict[str, str]:
        """What of it decides a result; nothing where none was named."""
        return {"language": self.language} if self.language else {}


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """What all stages that ask the model are told; fields are named as the arguments are.

    device: None for a GPU where there is one.  max_facts: of a relation; None for all.
    min_prompts: that a fact keeps, of which a decoder cannot read all.  workers, ray: None for this
    process alone; threads_per_worker: None for as many as torch takes.
    """

    bert_model: str
    revision: str | None
    do_lower_case: bool | None
    layer_norm_eps: float | None
    weights: str
    device: str | None
    data_path: Path
    tmp_data_path: Path | None
    max_seq_length: int
    max_facts: int | None
    min_prompts: int = 3
    relations: list[str] = field(default_factory=list)
    oov: str = "error"
    seed: int = 42
    workers: int | None = None
    ray: str | None = None
    threads_per_worker: int | None = None


@dataclass(frozen=True, kw_only=True)
class SentenceSettings(ModelSettings):
    """Also where the web sentences are, {} for the relation, and head and tail of each fact."""

    sentences: str
    pairs: Path


S = TypeVar("S", bound=Settings)


def settings(kind: type[S], args: argparse.Namespace, own: str = "", **derived: Any) -> S:
    """The settings of a stage: arguments of its fields' names, and what is derived from them.

    own: see `results_of`.  Raises ValueError for arguments that do not go together.
    """
    languages.resolve(args, PROMPTS, PAIRS, SENTENCES)
    known = vars(args)
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in known.items()
        if name not in WHO_WORKS
    }
    if not known.get("language"):
        given.pop("language", None)
    known = known | {"results": results_of(args, own), "given": given} | derived
    if "max_facts" in known:
        known["max_facts"] = args.max_facts if args.max_facts > 0 else None
    if "no_cuda" in known:
        known["device"] = device_of(args)
    if "workers" in known:
        known = known | who_works(args)
    if "relations" in known:
        known["relations"] = names_of(args.relations)
        for name in known["relations"]:
            check_relation(name, "--relations")
    return kind(**{one.name: known[one.name] for one in fields(kind) if one.name in known})


def results_of(args: argparse.Namespace, own: str = "") -> Results:
    """The results folder; ValueError for a prefix that could not be found again.

    own: the stage's folder in it.  The released scripts give that as --output_dir, beside a
    --kn_dir; it then means the results folder around it.
    """
    if not re.fullmatch(r"[\w.-]+", args.output_prefix):
        raise ValueError(f"--output_prefix {args.output_prefix!r}: letters, digits, '-', '_', '.'")
    root, neurons = args.output_dir, getattr(args, "kn_dir", None)
    if neurons and own and root.name == own:
        root = root.parent
    results, language = Results(root, args.output_prefix, neurons), getattr(args, "language", None)
    return results.of_language(language) if language else results


def names_of(text: str | None) -> list[str]:
    """The names in "P19,P36"; none where it is not given."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
