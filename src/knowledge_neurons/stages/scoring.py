"""The flags that say how prompts are scored: stage 1's."""

from __future__ import annotations

from knowledge_neurons.attribution import adaptive, joint, quadrature
from knowledge_neurons.attribution.settings import ANSWERS, OWN
from knowledge_neurons.attribution.target import PROBABILITY, TARGETS
from knowledge_neurons.neurons.refine import KEEP
from knowledge_neurons.stages import arguments, numbers

STEPS = 20  # m of the paper's Riemann sum
MOST_STEPS = 1000
steps = numbers.whole(1, MOST_STEPS)
DTYPES = ("float32", "tf32", "bfloat16")


def add_scoring(parser: arguments.Parser) -> None:
    """Rule, points, digits, layers, answers of several tokens, target."""
    parser.add_argument("--rule", choices=quadrature.RULES, default="riemann-left")
    parser.add_argument("--steps", type=steps, help=f"m of the rule (default: {STEPS})")
    parser.add_argument(
        "--tolerance",
        type=numbers.share,
        default=adaptive.TOLERANCE,
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
        default=PROBABILITY,
        help="what scores are of; where P(answer) is near 1 its logarithm and logit still change",
    )


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
