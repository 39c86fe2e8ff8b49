"""The arguments of stage 2: 2_run_kn.sh passes the same ones to both of its programs."""

from __future__ import annotations

import argparse

from knowledge_neurons.neurons.refine import BASELINE_THRESHOLDS, THRESHOLDS, Thresholds
from knowledge_neurons.results.layout import Results
from knowledge_neurons.stages import arguments

DEFAULT = THRESHOLDS


def parse(description: str) -> argparse.Namespace:
    parser = arguments.Parser(description=description)
    arguments.add_results(parser)
    parser.add_argument("--relations", help="P19,P36 ... (default: all that have scores)")
    refining = parser.add_argument_group("refining (2_get_kn.py)")
    refining.add_argument("--coarse", type=arguments.share, default=DEFAULT.coarse, help="t")
    refining.add_argument(
        "--base_coarse",
        type=arguments.share,
        default=BASELINE_THRESHOLDS.coarse,
        help="t of the baseline",
    )
    refining.add_argument(
        "--shared", type=arguments.share, default=DEFAULT.shared, help="p at the start"
    )
    refining.add_argument(
        "--rounds",
        type=arguments.whole(1, 100),
        default=DEFAULT.rounds,
        help="values of p to try (released: 6)",
    )
    refining.add_argument(
        "--min_prompts", type=arguments.whole(0, 10**6), default=DEFAULT.min_prompts
    )
    refining.add_argument("--relation_share", type=arguments.share, default=DEFAULT.relation_share)
    statistics = parser.add_argument_group("statistics (2_analyze_kn.py)")
    statistics.add_argument(
        "--pairs", type=arguments.whole(0, 10**4), default=100, help="random pairs a fact"
    )
    arguments.add_seed(statistics, "those pairs")
    return parser.parse_args()


def settings_of(args: argparse.Namespace, coarse: float) -> Thresholds:
    return Thresholds(
        coarse=coarse,
        shared=args.shared,
        rounds=args.rounds,
        min_prompts=args.min_prompts,
        relation_share=args.relation_share,
    )


def scored_relations(args: argparse.Namespace, results: Results) -> list[str]:
    """The relations asked for, all of which must have scores; ValueError says which have."""
    scored = results.scored_relations()
    if not scored:
        unfinished = ", ".join(results.unfinished_relations())
        begun = f"  Not yet finished: {unfinished}." if unfinished else ""
        raise ValueError(
            f"no {results.prefix}-<REL>.rlt.jsonl in {results.root}: run stage 1 first, for "
            f"example bash 1_run_mlm.sh P101.{begun}"
        )
    asked = arguments.relations_of(args.relations) or scored
    missing = [relation for relation in asked if relation not in scored]
    if missing:
        raise ValueError(
            f"no scores for {', '.join(missing)} in {results.root}; there are {', '.join(scored)}"
        )
    return asked
