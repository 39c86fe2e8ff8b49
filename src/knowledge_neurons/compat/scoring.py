"""Scores of prompts, dense; the peers' thresholds.

Scores are equation 4's over all points of the rule, in every layer.  The engine takes rows of all
layers and prompts together, within the memory that is free, so that the peers' batch_size has
nothing to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from knowledge_neurons.attribution import joint, quadrature
from knowledge_neurons.attribution.gradients import integrated_gradients
from knowledge_neurons.attribution.quadrature import Rule
from knowledge_neurons.attribution.target import Probability
from knowledge_neurons.attribution.triplets import check_finite
from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.types import Prompt

GRADIENTS, ACTIVATIONS = METHODS = ("integrated_grads", "max_activations")
ADAPTIVE = 0.3  # the peers' share of a prompt's largest score
Neurons = list[list[int]]  # [layer, index] each, as the peers write them


@dataclass(frozen=True)
class Scoring:
    """How a prompt's neurons are scored.

    steps: m, points of the path.  peer_numbers: points from 0 to 1 with both ends in place of the
    released code's left sum.  method: one of METHODS.
    """

    steps: int = 20
    peer_numbers: bool = False
    method: str = GRADIENTS

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(
                f"attribution_method is {self.method!r}: expected {' or '.join(METHODS)}"
            )

    @property
    def rule(self) -> Rule:
        if self.peer_numbers:
            return quadrature.peer_endpoints(self.steps)
        return quadrature.rule("riemann-left", self.steps)


# --- scores ----------------------------------------------------------------------------------


def of_tokens(
    network: Network, prompts: Sequence[Prompt], scoring: Scoring, layer: int | None = None
) -> Tensor:
    """Scores of prompts; of an answer of several tokens the mean over them.

    Each token is asked at its own position, those before it given.  layer: the only one to score,
    all others are 0.  Returns (P, L, F) in probability, or in activation.
    """
    tokens = [one for prompt in prompts for one in (prompt, *prompt.later)]
    scores = _first_tokens(network, tokens, scoring, layer)
    counts = [len(prompt.answers) for prompt in prompts]
    return torch.stack([own.mean(dim=0) for own in scores.split(counts)])


def _first_tokens(
    network: Network, prompts: Sequence[Prompt], scoring: Scoring, layer: int | None = None
) -> Tensor:
    """Scores of each prompt's own position, whatever further tokens its answer has: (P, L, F)."""
    rule, memory = scoring.rule, batching.memory_budget(network.device)
    layers = None if layer is None else [layer]
    cost = partial(passes.prompt_bytes, network, points=len(rule.alphas))
    found: dict[int, Tensor] = {}
    for batch in batching.plan(prompts, memory // 4, cost, network.device):
        clean = passes.clean_pass(network, batch)
        scores = clean.activations
        if scoring.method == GRADIENTS:
            target = Probability(batch.answers)
            scores = integrated_gradients(network, clean, target, rule, memory, layers)
        check_finite(scores)
        found |= dict(zip(batch.order, scores, strict=True))
    return torch.stack([found[place] for place in range(len(prompts))])


@dataclass(frozen=True)
class Answered:
    """A prompt's scores (L, F), and what the model says there.

    predicted: ids of the most probable token at each position; probability: of the right answer.
    """

    scores: Tensor
    predicted: tuple[int, ...]
    probability: float


def jointly(
    network: Network, prompts: Sequence[Prompt], scoring: Scoring, aggregate: str
) -> list[Answered]:
    """Scores of prompts; of an answer of several tokens for the product of their probabilities.

    One path for all its positions, whose scores aggregate, one of `joint.AGGREGATES`, joins.
    """
    found: dict[int, Answered] = {}
    for places in joint.group(prompts):
        clean = joint.joint_pass(network, [prompts[place] for place in places])
        if clean.at.shape[1] == 1:  # the same numbers by the shorter way
            scores = _first_tokens(network, [prompts[place] for place in places], scoring)
        elif scoring.method == GRADIENTS:
            memory = batching.memory_budget(network.device)
            every = joint.joint_gradients(network, clean, scoring.rule, memory)  # (B, k, L, F)
            scores = joint.AGGREGATES[aggregate](every)
        else:
            scores = joint.AGGREGATES[aggregate](clean.activations)
        check_finite(scores)
        rows = torch.arange(len(places), device=network.device)[:, None]
        with torch.no_grad():
            said = network.head(clean.hidden[-1][rows, clean.at]).argmax(dim=-1)  # (B, k)
        told = zip(scores, said.tolist(), clean.probability.tolist(), strict=True)
        found |= {
            place: Answered(one, tuple(ids), p)
            for place, (one, ids, p) in zip(places, told, strict=True)
        }
    return [found[place] for place in range(len(prompts))]


# --- thresholds ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Threshold:
    """Which neurons of a prompt are coarse: exactly one of the three is a number.

    absolute: a score.  adaptive: a share of the prompt's largest score.  percentile: of all its
    scores, 0 to 100.  Neurons *above* it are kept.
    """

    absolute: float | None = None
    adaptive: float | None = None
    percentile: float | None = None

    def __post_init__(self):
        given = (self.absolute, self.adaptive, self.percentile)
        if sum(one is not None for one in given) != 1:
            raise ValueError(
                f"threshold {self.absolute}, adaptive_threshold {self.adaptive}, percentile "
                f"{self.percentile}: expected exactly one of them"
            )
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise ValueError(f"percentile is {self.percentile}: expected 0 to 100")

    @classmethod
    def of_refining(
        cls, absolute: float | None, adaptive: float | None, percentile: float | None
    ) -> Threshold:
        """The same where adaptive has a default, which gives way to another that is given.

        The peers refuse both, so that percentile and absolute cannot be asked for without
        coarse_adaptive_threshold=None.
        """
        if adaptive == ADAPTIVE and (absolute is not None or percentile is not None):
            adaptive = None
        return cls(absolute, adaptive, percentile)

    def coarse(self, scores: Tensor) -> Neurons:
        """The neurons of scores (L, F) above the threshold, in (layer, index) order."""
        above = self.absolute
        if self.adaptive is not None:
            above = scores.max().item() * self.adaptive
        elif self.percentile is not None:
            above = float(np.percentile(scores.cpu().numpy(), self.percentile))
        return torch.nonzero(scores > above).tolist()
