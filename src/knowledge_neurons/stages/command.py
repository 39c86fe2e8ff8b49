"""The command `kn`: the library and the stages from any folder, once the package is installed.

    kn find "The capital of France is [MASK]." "Paris is not [MASK]'s." --answer Paris
    kn stage 1 P36

A command is a row of COMMANDS.  Torch is imported by those that need it, not by `kn --help`.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

from knowledge_neurons import __version__
from knowledge_neurons.neurons.refine import THRESHOLDS
from knowledge_neurons.stages import arguments, numbered, numbers
from knowledge_neurons_lab import NAME


@dataclass(frozen=True)
class Command:
    """A subcommand.  add: its arguments, to a parser.  run: what is called with them.

    own: whether it reads its arguments, and tells its --help, itself.
    """

    does: str
    add: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]
    own: bool = False


def later(module: str, name: str) -> Callable[[argparse.Namespace], None]:
    """A function of a module of this room, which is imported when it is called."""

    def run(args: argparse.Namespace) -> None:
        function = getattr(importlib.import_module(f"knowledge_neurons.stages.{module}"), name)
        program.run(lambda: function(args))

    return run


# --- the arguments of each ---------------------------------------------------------------------


def add_find(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompts", nargs="+", metavar="TEXT", help="a prompt with one [MASK]")
    parser.add_argument("--answer", required=True, help="what all of them ask for")
    arguments.add_model(parser)
    parser.add_argument(
        "--coarse",
        type=numbers.share,
        default=THRESHOLDS.coarse,
        help="t: share of a prompt's largest score that a neuron needs (default: %(default)s)",
    )
    parser.add_argument(
        "--shared",
        type=numbers.share,
        default=THRESHOLDS.shared,
        help="p: share of the prompts in which it needs it (default: %(default)s)",
    )
    parser.add_argument(
        "--layers",
        type=numbers.layers,
        help="score layers FIRST-LAST alone, from 0 (default: all, of a decoder all but layer 0)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, neurons as [layer, index]")


def add_neuron(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("layer", type=numbers.whole(0), help="from 0 at the bottom")
    parser.add_argument("index", type=numbers.whole(0), help="in the layer, from 0")
    arguments.add_model(parser)


def add_stage(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    rows = (
        f"  {number} {' '.join(stage.named)}".ljust(20) + stage.does
        for number, stage in numbered.STAGES.items()
    )
    parser.epilog = "\n".join(("stages:", *rows, "", "kn stage 1 --help lists a stage's flags"))
    parser.add_argument("number", type=int, choices=numbered.STAGES, metavar="NUMBER")
    parser.add_argument("given", nargs=argparse.REMAINDER, metavar="ARGUMENTS", help="the stage's")


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="of the results")
    parser.add_argument(
        "--beside", metavar="FOLDER,...", default="", help="of other models' results"
    )


def run_report(args: argparse.Namespace) -> None:
    given = ["--output_dir", args.folder, *(["--beside", args.beside] if args.beside else [])]
    numbered.run("kn report", numbered.STAGES[8], given)


def run_stage(args: argparse.Namespace) -> None:
    numbered.run(f"kn stage {args.number}", numbered.STAGES[args.number], args.given)


def run_languages(args: argparse.Namespace) -> None:
    numbered.run("kn languages", numbered.ACROSS, args.given)


def run_plan(args: argparse.Namespace) -> None:
    from knowledge_neurons.stages import planning  # imports torch

    program.run(lambda: planning.main(args.given))


COMMANDS = {
    "find": Command("the knowledge neurons of your own prompts", add_find, later("asking", "find")),
    "neuron": Command("what a neuron's value slot writes", add_neuron, later("asking", "neuron")),
    "stage": Command("one of the stages, the paper's eight and more", add_stage, run_stage),
    "languages": Command(numbered.ACROSS.does, lambda _: None, run_languages, True),
    "report": Command("figures and report.html of a folder of results", add_report, run_report),
    "plan": Command("what a run will cost, before it is begun", lambda _: None, run_plan, True),
}


def parse() -> argparse.Namespace:
    parser = arguments.Parser(prog="kn", description="Knowledge neurons of pretrained transformers")
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        about = {"help": command.does, "description": command.does}
        own = commands.add_parser(name, **about, add_help=not command.own)
        command.add(own)
        own.set_defaults(run=command.run, own=command.own)
    args, given = parser.parse_known_args()
    if given and not args.own:
        parser.error(f"unrecognized arguments: {' '.join(given)}")
    return argparse.Namespace(**vars(args) | {"given": given}) if args.own else args


def main() -> None:
    args = parse()
    args.run(args)
