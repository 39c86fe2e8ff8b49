"""What stage 8 is told: 8_run_plot.sh passes the same arguments to both of its programs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons.results.layout import Results
from knowledge_neurons.stages import arguments


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.Settings):
    """What stage 8 is told, which reads results alone.

    paper_look: of Figure 3.  beside: results of other runs.
    """

    paper_look: bool
    beside: list[Results]


def parse(description: str) -> Settings:
    """The same for both programs; ValueError for a folder that cannot stand beside this one."""
    parser = arguments.Parser(description=description)
    arguments.add_results(parser)
    parser.add_argument(
        "--paper_look", action="store_true", help="mirror the bars of Figure 3, as the paper does"
    )
    parser.add_argument(
        "--beside",
        type=folders,
        default=argparse.SUPPRESS,  # not an argument of figures that nothing stands beside
        help="FOLDER,... of results of other models' runs, as --output_dir names them: a table "
        "and a figure of all of them",
    )
    args = parser.parse_args()
    return arguments.settings(Settings, args, beside=_beside(args))


def folders(text: str) -> list[str]:
    """ "FOLDER,FOLDER", for argparse's `type`."""
    if names := arguments.names_of(text):
        return names
    raise argparse.ArgumentTypeError("expected FOLDER,... of results of other runs")


def _beside(args: argparse.Namespace) -> list[Results]:
    """The folders that are named, each another one than this run's."""
    known = {arguments.results_of(args).root.resolve(): "that is the folder of this run itself"}
    found = []
    for folder in getattr(args, "beside", []):
        named = argparse.Namespace(**{**vars(args), "output_dir": Path(folder)})
        other = arguments.results_of(named)
        place = other.root.resolve()
        if problem := known.get(place) if place.is_dir() else "no such folder":
            raise ValueError(
                f"--beside {other.root}: {problem}.  Expected the folder of another run's results, "
                "as its --output_dir or KN_RESULTS named it, relative to where you are"
            )
        known[place] = "that folder is named twice"
        found.append(other)
    return found
