"""What the stages share on the command line: defaults, device, errors for people.

KN_MODEL, KN_DATA, KN_RESULTS and KN_DEVICE in the environment change the defaults of all stages.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from knowledge_neurons.artifacts import DEFAULT_PREFIX, Results
from knowledge_neurons.data import check_relation
from knowledge_neurons.storage import ROOT

if TYPE_CHECKING:
    import torch

    from custom_bert import Bert
    from knowledge_neurons.models import Pretrained


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
        "--layer_norm_eps", type=float, help="instead of the checkpoint's; released code: 1e-5"
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


def pretrained_of(args: argparse.Namespace) -> Pretrained:
    """The model that `add_model`'s arguments name, on the CPU; see `models.from_pretrained`."""
    from knowledge_neurons import models  # here, so that stages 2 and 8 start without torch

    return models.from_pretrained(
        args.bert_model,
        revision=args.revision,
        lowercase=args.do_lower_case,
        layer_norm_eps=args.layer_norm_eps,
    )


def results_of(args: argparse.Namespace) -> Results:
    """The results folder; ValueError for a prefix that could not be found again."""
    if not re.fullmatch(r"[\w.-]+", args.output_prefix):
        raise ValueError(f"--output_prefix {args.output_prefix!r}: letters, digits, '-', '_', '.'")
    return Results(args.output_dir, args.output_prefix)


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
    print(title)
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value}")


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


def run(main: Callable[[], None]) -> None:
    """Run a stage: what the user can mend (input, disk, memory) is one message and exit code 2."""
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except RuntimeError as error:
        if "memory" not in str(error).lower():
            raise
        print(f"error: out of memory: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
