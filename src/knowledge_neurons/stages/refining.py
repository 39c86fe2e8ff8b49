"""What stage 2 is told: 2_run_kn.sh passes the same arguments to both of its programs."""

from __future__ import annotations

from dataclasses import dataclass

from knowledge_neurons.neurons import refine
from knowledge_neurons.stages import arguments, numbers


@dataclass(frozen=True, kw_only=True)
class Settings(arguments.Settings):
    """thresholds: baseline or not -> how its scores are refined.  pairs: random ones a fact.

    held_out: every so manieth prompt finds no neurons; None for none.  answer_token: of answers of
    several tokens, whose scores are refined.
    """

    relations: list[str]
    thresholds: dict[bool, refine.Thresholds]
    held_out: int | None
    answer_token: int
    pairs: int
    seed: int


def parse(description: str) -> Settings:
    parser, default = arguments.Parser(description=description), refine.THRESHOLDS
    arguments.add_results(parser)
    arguments.add_relations(parser, having="scores")
    refining = parser.add_argument_group("refining (2_get_kn.py)")
    refining.add_argument("--coarse", type=numbers.share, default=default.coarse, help="t")
    refining.add_argument(
        "--base_coarse",
        type=numbers.share,
        default=refine.BASELINE_THRESHOLDS.coarse,
        help="t of the baseline",
    )
    refining.add_argument(
        "--shared", type=numbers.share, default=default.shared, help="p at the start"
    )
    refining.add_argument(
        "--rounds",
        type=numbers.whole(1, 100),
        default=default.rounds,
        help="values of p to try (released: 6)",
    )
    refining.add_argument(
        "--min_prompts", type=numbers.whole(0, 10**6), default=default.min_prompts
    )
    refining.add_argument("--relation_share", type=numbers.share, default=default.relation_share)
    refining.add_argument(
        "--max_share",
        type=numbers.share,
        default=default.max_share,
        help="drop neurons that more than this share of the facts have (default: 1, none)",
    )
    refining.add_argument(
        "--answer_token",
        type=numbers.whole(0, 1000),
        default=0,
        help="of answers of several tokens: refine the scores for this one, from 0 (stage 1's "
        "--answers each)",
    )
    refining.add_argument(
        "--held_out",
        type=numbers.whole(2, 1000),
        help="every Nth prompt of a fact finds no neurons; stage 3 then measures both kinds apart",
    )
    statistics = parser.add_argument_group("statistics (2_analyze_kn.py)")
    statistics.add_argument(
        "--pairs", type=numbers.whole(0, 10**4), default=100, help="random pairs a fact"
    )
    arguments.add_seed(statistics, "those pairs")
    args = parser.parse_args()
    common = {
        name: getattr(args, name)
        for name in ("shared", "rounds", "min_prompts", "relation_share", "max_share")
    }
    thresholds = {
        baseline: refine.Thresholds(coarse=coarse, **common)
        for baseline, coarse in ((False, args.coarse), (True, args.base_coarse))
    }
    return arguments.settings(Settings, args, thresholds=thresholds)
