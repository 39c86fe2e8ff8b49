"""Who works: --workers, --ray and --threads_per_worker, and the executor that they come to."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from knowledge_neurons.runs.executor import LOCAL, Executor, InThisProcess
from knowledge_neurons.stages import numbers

if TYPE_CHECKING:  # it imports torch, which `kn --help` does not wait for
    from knowledge_neurons.networks.interface import Network

# Arguments that decide no number, and are not kept with results.
WHO_WORKS = ("workers", "ray", "threads_per_worker")
_how_many = numbers.whole(1, 4096)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Who works; results are the same bytes however many there are, for the same threads."""
    parser.add_argument(
        "--workers",
        type=_how_many,
        help="processes that share the work, one per GPU or --threads_per_worker cores (default: "
        "this one; with --ray as many as there is room for)",
    )
    parser.add_argument(
        "--ray",
        help="ADDRESS of a Ray cluster, or local for one of this machine alone (default with "
        "several --workers)",
    )
    parser.add_argument(
        "--threads_per_worker", type=_how_many, help="of each worker (default with workers: 1)"
    )


def who_works(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of WHO_WORKS; ray is None for this process alone.

    Raises ValueError where Ray is needed and missing.
    """
    given = {name: getattr(args, name) for name in WHO_WORKS}
    if args.ray is None and args.workers in (None, 1):
        return given
    if not find_spec("ray"):
        raise ValueError(
            "--workers and --ray need Ray, which is not installed: pip install -e "
            "'.[cluster]' -c constraints.txt"
        )
    return given | {"ray": args.ray or LOCAL, "threads_per_worker": args.threads_per_worker or 1}


def device_of(args: argparse.Namespace) -> str | None:
    """--device, else --no_cuda, else --gpus."""
    chosen = args.device or ("cpu" if args.no_cuda else None)
    if args.gpus and not chosen:
        if "," in args.gpus:
            raise ValueError(
                f"--gpus {args.gpus}: a process uses one GPU.  Give --workers "
                f"{len(args.gpus.split(','))} in its place, for a process per GPU"
            )
        chosen = f"cuda:{args.gpus}"
    return chosen


def executor(settings: Any, model: Network) -> Executor:
    """This process, or workers that start when there is work; settings: with WHO_WORKS."""
    if settings.ray is None:
        return InThisProcess()
    crew = engine(settings.ray)
    return crew.Crew(model, settings.workers, settings.ray, settings.threads_per_worker)


def engine(address: str) -> ModuleType:
    """`runs.crew`, which imports Ray, an extra.

    A cluster of this machine alone is heard by it alone: Ray does so where firewalls ask of every
    port that is opened, and where this variable says so, to it and to whom it starts.
    """
    if address == LOCAL:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from knowledge_neurons.runs import crew

    return crew
