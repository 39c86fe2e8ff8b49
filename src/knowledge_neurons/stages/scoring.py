"""The flags that say how prompts are scored: stage 1's."""

from __future__ import annotations

import argparse

from knowledge_neurons.attribution import adaptive, joint, quadrature, smoothing
from knowledge_neurons.attribution.scorers import IG, ONE_BY_ONE, SCORERS
from knowledge_neurons.attribution.settings import ANSWERS, OWN
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.attribution.target import PROBABILITY, TARGETS
from knowledge_neurons.neurons.refine import KEEP
from knowledge_neurons.stages import arguments, numbers

STEPS = 20  # m of the paper's Riemann sum
MOST_STEPS = 1000
steps = numbers.whole(1, MOST_STEPS)
DTYPES = ("float32", "tf32", "bfloat16")
# Flags of ig alone, and what they are where they are not given.
OF_IG = {"rule": "riemann-left", "tolerance": adaptive.TOLERANCE, "target": PROBABILITY}
OF_IG |= {"exact": False, "steps": None, "batch_size": None, "num_batch": None}
# Flags of --smooth, likewise.
OF_SMOOTH = {"noise": smoothing.NOISE, "noise_on": smoothing.WEIGHTS}


def add_scoring(parser: arguments.Parser) -> None:
    """Rule, points, digits, layers, answers of several tokens, target, scorer, smoothing.

    `resolve` puts defaults in place of what is not given.
    """
    parser.add_argument(
        "--rule", choices=quadrature.RULES, help=f"of the path (default: {OF_IG['rule']})"
    )
    parser.add_argument("--steps", type=steps, help=f"m of the rule (default: {STEPS})")
    parser.add_argument(
        "--tolerance",
        type=numbers.share,
        help="of a score, as a share of its prompt's largest, for fewer points (default: 1e-3)",
    )
    parser.add_argument("--exact", action="store_true", help="evaluate all points of the rule")
    parser.add_argument(
        "--dtype",
        choices=DTYPES,
        default="float32",
        help="of the matrix products; tf32 needs a GPU",
    )
    parser.add_argument(
        "--memory",
        type=numbers.real(0, 1 << 20, above=True),
        help="GiB a batch may take (default: from the free)",
    )
    parser.add_argument(
        "--batch_size", type=steps, help="with --num_batch: their product is --steps"
    )
    parser.add_argument("--num_batch", type=steps, help="see --batch_size")
    parser.add_argument(
        "--layers",
        type=numbers.layers,
        help="score layers FIRST-LAST alone, from 0 (default: all, of a decoder all but layer 0)",
    )
    parser.add_argument(
        "--answers",
        choices=ANSWERS,
        default=OWN,
        help="of several tokens: score the first (own), each given those before it, all at once",
    )
    parser.add_argument(
        "--aggregate",
        choices=list(joint.AGGREGATES),
        default="sum",
        help="with --answers joint: how the positions' scores become one",
    )
    parser.add_argument(
        "--keep", type=numbers.real(0, 1), default=KEEP, help="store scores >= KEEP * largest"
    )
    parser.add_argument(
        "--target",
        choices=list(TARGETS),
        help="what scores are of (default: probability); where P(answer) is near 1 its logarithm "
        "and logit still change",
    )
    parser.add_argument(
        "--scorer",
        choices=list(SCORERS),
        default=IG,
        help=f"who scores, in place of integrated gradients; {' and '.join(ONE_BY_ONE)} ask the "
        "model once for every neuron of every prompt",
    )
    _add_smoothing(parser)


def _add_smoothing(parser: arguments.Parser) -> None:
    parser.add_argument(
        "--smooth",
        type=numbers.whole(1, smoothing.MOST_COPIES),
        metavar="N",
        help="average scores over N noisy copies of the model, which cost N times as much",
    )
    parser.add_argument(
        "--noise",
        type=numbers.share,
        metavar="S",
        help=f"with --smooth: factors are N(1, S^2) (default: {smoothing.NOISE})",
    )
    parser.add_argument(
        "--noise_on",
        choices=smoothing.PLACES,
        help=f"with --smooth: what they multiply (default: {smoothing.WEIGHTS})",
    )


def resolve(args: argparse.Namespace) -> None:
    """Put defaults in place of what is not given; ValueError for flags that do not go together."""
    given = [name for name in OF_IG if getattr(args, name) not in (None, False)]
    if given and args.scorer != IG:
        raise ValueError(f"--{given[0]} is of --scorer {IG} alone, not of {args.scorer}")
    noise = [name for name in OF_SMOOTH if getattr(args, name) is not None]
    if noise and args.smooth is None:
        raise ValueError(f"--{noise[0]} needs --smooth N, over how many noisy copies to average")
    if not (args.get_ig_gold or args.get_ig_pred) and (args.smooth or args.scorer != IG):
        raise ValueError(
            "--smooth and --scorer are of scores, which are not asked for: give --get_ig_gold or "
            "--get_ig_pred, or leave them out"
        )
    for name, default in (OF_IG | (OF_SMOOTH if args.smooth else {})).items():
        if getattr(args, name) is None:
            setattr(args, name, default)


def smoothing_of(args: argparse.Namespace) -> Smoothing | None:
    """What --smooth and the flags beside it come to; the noise is of --seed."""
    if args.smooth is None:
        return None
    return Smoothing(args.smooth, args.noise, args.noise_on, args.seed)


def steps_of(steps: int | None, points: int | None, batches: int | None) -> int:
    """--steps, or the released code's --batch_size times --num_batch."""
    if points is None and batches is None:
        return STEPS if steps is None else steps
    product = (STEPS if points is None else points) * (1 if batches is None else batches)
    if product > MOST_STEPS:
        raise ValueError(
            f"--batch_size times --num_batch is {product} steps: at most {MOST_STEPS:,}"
        )
    if steps not in (None, product):
        raise ValueError(f"--steps {steps}, but --batch_size times --num_batch is {product}")
    return product
