"""What stage 10 is told: 10_controls.sh passes the same arguments to both of its programs."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from knowledge_neurons import ROOT
from knowledge_neurons.experiments import judge_editors
from knowledge_neurons.results.editors import EDITORS
from knowledge_neurons.results.localisation import LOCALISATION
from knowledge_neurons.results.stability import STABILITY
from knowledge_neurons.results.symmetry import SYMMETRY
from knowledge_neurons.stages import arguments, numbers
from knowledge_neurons.text.counterfact import read_cases
from knowledge_neurons.text.inverses import read_inverses

WHOSE = "whose"
OF_NEURONS = (WHOSE, LOCALISATION, STABILITY)
OF_EDITS = (SYMMETRY, EDITORS)
INVERSES = ROOT / "data/PAIRS/sample_inverses.json"
CASES = ROOT / "data/COUNTERFACT/sample_counterfact.json"


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.ModelSettings):
    """ask: of OF_NEURONS and OF_EDITS, none for all that there is data for.

    shared_by: values of s.  held_out: every so manieth prompt.  sample: facts of a relation whose
    effects are measured at every pair of thresholds.  against: folders of results with other
    scores of the same facts.
    pairs: head and tail of each fact.  inverses, cases: files.  max_cases: drawn from them, None
    for all.  neurons: of a case.
    """

    ask: list[str]
    shared_by: list[int]
    held_out: int
    sample: int
    against: list[str]
    pairs: Path
    inverses: Path
    facts_per_relation: int
    cases: Path
    max_cases: int | None
    neurons: int
    lambda_1: float
    lambda_2: float


def parse(description: str) -> Settings:
    """The same for both programs; what is wrong with the files of edits is said before any work."""
    parser = arguments.of_neurons(description)
    every = (*OF_NEURONS, *OF_EDITS)
    parser.add_argument(
        "--ask",
        type=numbers.some_of(every),
        default=[],
        help=f"some of {','.join(every)} (default: all that there is data for)",
    )
    arguments.add_relations(parser)
    arguments.add_oov(parser)
    arguments.add_seed(parser, "all that is drawn, and of intervals")
    _add_neurons(parser)
    _add_edits(parser)
    settings = arguments.settings(Settings, parser.parse_args())
    if EDITORS in settings.ask or not settings.ask:
        read_cases(settings.cases)
    if SYMMETRY in settings.ask or not settings.ask:
        read_inverses(settings.inverses)
    return settings


def _add_neurons(parser: argparse.ArgumentParser) -> None:
    whose = parser.add_argument_group(WHOSE)
    whose.add_argument(
        "--shared_by",
        type=numbers.wholes,
        default=[0, 1, 2, 5],
        help="s: also scale those neurons alone that at most s other facts have (0,1,2,5)",
    )
    whose.add_argument(
        "--held_out",
        type=numbers.whole(2, 1000),
        default=4,
        help="every Nth prompt finds no neurons and measures what the others found (4)",
    )
    stability = parser.add_argument_group(STABILITY)
    stability.add_argument(
        "--sample",
        type=numbers.whole(0, 10**9),
        default=20,
        help="facts of a relation that are asked at every pair of thresholds (20)",
    )
    stability.add_argument(
        "--against",
        type=arguments.names_of,
        default=[],
        help="FOLDER,... of results with other scores of the same facts: another rule, target, "
        "scorer, seed",
    )


def _add_edits(parser: argparse.ArgumentParser) -> None:
    arguments.add_pairs(parser)
    for which, default in ((1, 1.0), (2, 8.0)):
        parser.add_argument(
            f"--lambda_{which}", type=numbers.factor, default=default, help="as of stage 6"
        )
    symmetry = parser.add_argument_group(SYMMETRY)
    symmetry.add_argument(
        "--inverses", type=Path, default=INVERSES, help="inverse relations and other names of heads"
    )
    symmetry.add_argument(
        "--facts_per_relation", type=numbers.count, default=10, help="edits of a relation"
    )
    editors = parser.add_argument_group(EDITORS)
    editors.add_argument(
        "--from", dest="cases", type=Path, default=CASES, help="a file in CounterFact's format"
    )
    editors.add_argument(
        "--max_cases", type=numbers.count, help="so many of its cases, drawn by --seed"
    )
    editors.add_argument(
        "--neurons",
        type=numbers.count,
        default=judge_editors.NEURONS,
        help="of a case, the strongest of those coarse in the prompt to rewrite, at most (5)",
    )
