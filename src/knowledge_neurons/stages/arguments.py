"""What the stages share on the command line: defaults, device, errors for people.

KN_MODEL, KN_DATA, KN_RESULTS and KN_DEVICE in the environment change the defaults of all stages.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tqdm import tqdm

from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import DEFAULT_PREFIX, ROOT, Results
from knowledge_neurons.stages import program
from knowledge_neurons.text import data
from knowledge_neurons.text.relations import check_relation

if TYPE_CHECKING:
    import torch

    from custom_bert import Bert
    from knowledge_neurons.networks.checkpoints import Pretrained


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, without the usage of all flags, and exits 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {program.printable(message)}; --help lists all flags\n")


# --- numbers: no value that would fail, or never end, only after hours of work -----------------

LARGEST = 2**63 - 1


def whole(low: int, high: int = LARGEST) -> Callable[[str], int]:
    """A whole number within bounds, for argparse's `type`."""

    def parse(text: str) -> int:
        try:
            if low <= (value := int(text)) <= high:
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected {_from(low, high, 'whole ')}")

    return parse


def real(low: float, high: float, above: bool = False) -> Callable[[str], float]:
    """A finite number within bounds, for argparse's `type`; above: `low` itself is not allowed."""

    def parse(text: str) -> float:
        try:
            value = float(text)
            if low <= value <= high and not (above and value == low) and math.isfinite(value):
                return value
        except ValueError:
            pass
        bounds = f"a number above {low:g}, at most {high:g}" if above else _from(low, high)
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected {bounds}")

    return parse


def _from(low: float, high: float, kind: str = "") -> str:
    upper = "or more" if high == LARGEST else f"to {high:,}" if kind else f"to {high:g}"
    return f"a {kind}number, {low} {upper}"


seed = whole(0)
count = whole(1, 10**9)
share = real(0, 1, above=True)
tokens = whole(3, 1 << 20)  # [CLS] [MASK] [SEP] at least
LARGEST_FACTOR = 1e6  # of an activation, a lambda
factor = real(-LARGEST_FACTOR, LARGEST_FACTOR)


# --- arguments -------------------------------------------------------------------------------


def add_results(parser: argparse.ArgumentParser) -> None:
    """Where results lie."""
    parser.add_argument(
        "--output_dir",
        type=Path,
        default=Path(os.environ.get("KN_RESULTS") or ROOT / "results"),
        help="folder of the results (KN_RESULTS; default: results/)",
    )
    parser.add_argument(
        "--output_prefix", default=DEFAULT_PREFIX, help="start of the scores files' names"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, on which device."""
    parser.add_argument(
        "--bert_model",
        default=os.environ.get("KN_MODEL") or "bert-base-cased",
        help="name on the hub, folder or .tar.gz (KN_MODEL; default: bert-base-cased)",
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
        type=real(0, 1e-2, above=True),
        help="instead of the checkpoint's; released code: 1e-5",
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
        default=Path(os.environ.get("KN_DATA") or ROOT / "data/PARAREL/data_all_allbags.json"),
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
        "--max_seq_length", type=tokens, default=max_seq_length, help="tokens of a text, at most"
    )
    # DEVIATION: --debug -1 means all facts; the released code then drops every one (difference 5)
    parser.add_argument(
        "--max_facts",
        "--debug",
        type=whole(-LARGEST),
        default=-1,
        help="only the first N of each relation; 0 or less: all",
    )


def add_oov(parser: argparse.ArgumentParser) -> None:
    """What to do about answers that the vocabulary lacks."""
    parser.add_argument(
        "--oov",
        choices=("error", "skip"),
        default="error",
        help="facts whose answer is not one token: stop, or leave out and count",
    )


def add_kn_dir(parser: argparse.ArgumentParser) -> None:
    """Where neurons lie, as the released scripts name it."""
    parser.add_argument(
        "--kn_dir", type=Path, help="folder of the kn_bag files (default: kn/ of the results)"
    )


def add_seed(parser: argparse.ArgumentParser, of: str) -> None:
    parser.add_argument("--seed", type=seed, default=42, help=f"of {of}")


def max_facts_of(args: argparse.Namespace) -> int | None:
    """How many facts of a relation at most; None for all."""
    return args.max_facts if args.max_facts > 0 else None


def read_bags(args: argparse.Namespace) -> tuple[Path, dict[str, list]]:
    """The prompts that `add_prompts`' arguments name, and the file they come from."""
    split = args.tmp_data_path
    source = split if split and split.exists() else args.data_path
    bags = data.read_bags(source)
    if split and source != split:
        write_json(split, bags)
        source = split  # what a second run will read
    return source, bags


def pretrained_of(args: argparse.Namespace) -> Pretrained:
    """The model that `add_model`'s arguments name, on the CPU; see `checkpoints`."""
    # here, so that stages 2 and 8 start without torch
    from knowledge_neurons.networks import checkpoints

    return checkpoints.from_pretrained(
        args.bert_model,
        revision=args.revision,
        lowercase=args.do_lower_case,
        layer_norm_eps=args.layer_norm_eps,
    )


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
    return Results(root, args.output_prefix, neurons)


def device_of(args: argparse.Namespace) -> torch.device:
    """--device, else --no_cuda, else --gpus, else KN_DEVICE, else a GPU where there is one.

    Raises ValueError for a device that is not there.
    """
    import torch  # here, so that stage 2 starts without it

    if args.device:
        name = args.device
    elif args.no_cuda:
        name = "cpu"
    elif args.gpus:
        if "," in args.gpus:
            raise ValueError(
                f"--gpus {args.gpus}: one run uses one GPU.  Start a run per GPU, each with its "
                "own relations"
            )
        name = f"cuda:{args.gpus}"
    else:
        name = os.environ.get("KN_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "meta":
            raise RuntimeError("it holds no numbers")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here: {reason}") from error
    return device


def under_of(device: torch.device) -> dict[str, object]:
    """Device and threads, which decide the last digits of a result: for manifests."""
    import torch

    return {"device": str(device), "threads": torch.get_num_threads()}


DTYPES = ("float32", "tf32", "bfloat16")


def products_in(model: Bert, dtype: str) -> Bert:
    """The model with its matrix products in one of DTYPES; float32 is the model itself.

    Raises ValueError for tf32 without a GPU.
    """
    import torch

    if dtype == "bfloat16":
        return model.products_in(torch.bfloat16)
    if dtype == "tf32":
        if next(model.parameters()).device.type != "cuda":
            raise ValueError("--dtype tf32 needs a GPU; on a CPU use float32 or bfloat16")
        torch.backends.cuda.matmul.allow_tf32 = True
    return model


def names_of(text: str | None) -> list[str]:
    """What --relations names, "P19,P36", as a list; empty where it is not given."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def relations_of(text: str | None) -> list[str]:
    """`names_of` for relations; ValueError for a name that no relation can have."""
    names = names_of(text)
    for name in names:
        check_relation(name, "--relations")
    return names


def plain(args: argparse.Namespace) -> dict[str, object]:
    """The arguments as JSON holds them, for the manifest."""
    return {name: str(v) if isinstance(v, Path) else v for name, v in vars(args).items()}


def show(title: str, rows: dict[str, object]) -> None:
    """Print a small aligned table under a title."""
    width = max(map(len, rows), default=0)
    print(program.printable(title))
    for name, value in rows.items():
        print(program.printable(f"  {name:<{width}}  {value}"))


def progress(total: int, description: str, unit: str, done: int = 0, step: bool = False) -> tqdm:
    """A progress bar with what is done and the time left; sparse where nobody watches (a log).

    step: the bar is all that a step of `scripts/run_stages.py` does, so it also shows the time left
    of the whole run.
    """
    seldom = 0.1 if sys.stderr.isatty() else 15.0  # seconds
    after = float(os.environ.get(WORK_AFTER) or 0) if step else 0.0
    return _Bar(
        after,
        total,
        initial=done,
        desc=description,
        unit=unit,
        mininterval=seldom,
        smoothing=0.05,
    )


# Set by scripts/run_stages.py: the work that follows a step, as a multiple of the step's own.
WORK_AFTER = "KN_WORK_AFTER"


class _Bar(tqdm):
    """A bar that knows how much work follows it, `after` times its own."""

    def __init__(self, after: float, total: int, **options):
        self.after = after
        super().__init__(total=total, **options)

    @property
    def format_dict(self) -> dict:
        shown = super().format_dict
        fresh = self.n - self.initial
        if self.after and fresh:
            left = self.total - self.n + self.after * self.total
            seconds = shown["elapsed"] / fresh * left
            shown["postfix"] = f"whole run {self.format_interval(seconds)} left"
        return shown
