"""What stage 1 is to compute of a prompt, and how."""

from __future__ import annotations

from dataclasses import dataclass, field

from knowledge_neurons.attribution import adaptive, joint, quadrature
from knowledge_neurons.attribution.scorers import IG, SCORERS, UNITS
from knowledge_neurons.attribution.smoothing import Smoothing
from knowledge_neurons.attribution.target import PROBABILITY, TARGETS
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons import refine

# Of an answer of several tokens: its first, each given those before it, all at once.
OWN, EACH, JOINT = ANSWERS = ("own", "each", "joint")


@dataclass(frozen=True)
class Settings:
    """What to compute of a prompt, and how.

    rule: quadrature of the path.  tolerance: of a score, as a share of the prompt's largest; None
    evaluates all points of the rule.  keep: share of the largest score that a stored triplet
    reaches.
    of_answer, of_prediction: scores for the right and for the most probable token.
    baseline: activations.  probabilities: of the whole vocabulary.
    layers: the first and the last to score, None: all but a decoder's lowest, `layers_of`.
    answers: of an answer of several tokens the first alone (own), each given those before it
    (each), or all at once (joint), whose positions the aggregate, one of `joint.AGGREGATES`, joins.
    target: what scores are of, a name of TARGETS.
    scorer: who scores, a name of SCORERS; rule, tolerance and target are of ig, the default, alone.
    smoothing: over how many noisy copies of the model scores are averaged; None for none.
    memory: bytes a batch may take, None: chosen from what is free.
    """

    rule: quadrature.Rule = field(default_factory=lambda: quadrature.rule("riemann-left", 20))
    tolerance: float | None = adaptive.TOLERANCE
    keep: float = refine.KEEP
    of_answer: bool = True
    of_prediction: bool = False
    baseline: bool = True
    probabilities: bool = False
    layers: tuple[int, int] | None = None
    answers: str = OWN
    aggregate: str = "sum"
    target: str = PROBABILITY
    scorer: str = IG
    smoothing: Smoothing | None = None
    memory: int | None = None

    def __post_init__(self):
        if self.answers not in ANSWERS or self.aggregate not in joint.AGGREGATES:
            raise ValueError(
                f"answers {self.answers!r} by {self.aggregate!r}: expected one of "
                f"{', '.join(ANSWERS)} by one of {', '.join(joint.AGGREGATES)}"
            )
        if self.target not in TARGETS:
            raise ValueError(f"target {self.target!r}: expected one of {', '.join(TARGETS)}")
        if self.answers == JOINT and self.target != PROBABILITY:
            raise ValueError("answers 'joint': its scores are of the probability alone")
        if self.answers == JOINT and self.smoothing:
            raise ValueError("answers 'joint': its scores are not averaged over noisy copies")
        if self.answers == JOINT and (self.of_prediction or self.probabilities):
            raise ValueError(
                "answers 'joint': its scores are of the right answer alone, without those of the "
                "predicted token and probabilities of all tokens"
            )
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep is {self.keep}: expected a share between 0 and 1")
        if self.tolerance is not None and not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance is {self.tolerance}: expected a share between 0 and 1")
        if self.memory is not None and self.memory < 1:
            raise ValueError(f"memory is {self.memory} bytes: expected at least 1")
        self._check_scorer()

        if self.smoothing and not (self.of_answer or self.of_prediction):
            raise ValueError("smoothing without scores: there is nothing to average")

    def _check_scorer(self) -> None:
        if self.scorer not in SCORERS:
            raise ValueError(f"scorer {self.scorer!r}: expected one of {', '.join(SCORERS)}")
        if self.scorer == IG:
            return
        if self.answers == JOINT:
            raise ValueError(f"answers 'joint': scored by {IG}, not by {self.scorer!r}")
        if self._of_ig != Settings()._of_ig:
            raise ValueError(
                f"scorer {self.scorer!r}: rule, steps, tolerance and target are of {IG} alone; "
                "leave them as they are"
            )

    @property
    def _of_ig(self) -> tuple:
        """What only integrated gradients ask for."""
        return *map(tuple, self.rule), self.tolerance, self.target

    @property
    def unit(self) -> str:
        """What scores are in: of ig the target, "probability"."""
        return UNITS.get(self.scorer, self.target)


def layers_of(model: Network, asked: tuple[int, int] | None) -> range:
    """The layers to score: those asked for, first and last, else all but a decoder's lowest.

    In a decoder's layer 0 the feed-forward output is many times what it is added to, P along the
    path jumps, and its neurons follow the last word, whatever is asked; yet it holds the largest
    score in half of the prompts and so raises the threshold of all others (docs/families.md).
    Raises ValueError for layers that the model does not have.
    """
    count = model.shape.layers
    if asked is None:
        return range(1 if model.causal and count > 1 else 0, count)
    first, last = asked
    if not 0 <= first <= last < count:
        raise ValueError(f"layers {first} to {last}: the model has 0 to {count - 1}")
    return range(first, last + 1)
