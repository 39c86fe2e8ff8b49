"""The multilingual fork's way: answers of several tokens at several masks, three results.

It reads k masks for an answer of k tokens, follows one path for all of them to the product of their
probabilities, and joins their scores by an `aggregation_strategy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from knowledge_neurons.attribution import joint
from knowledge_neurons.compat.refining import encoded, refined
from knowledge_neurons.compat.scoring import (
    ADAPTIVE,
    Answered,
    Neurons,
    Scoring,
    Threshold,
    jointly,
)
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.text.encoding import Tokens


class Loaded(Protocol):
    """What has a model and a tokenizer that the engine takes: the library's KnowledgeNeurons."""

    model: Network
    tokenizer: Tokens


def get_refined_neurons(
    kn: Loaded,
    prompts: Sequence[str],
    ground_truth: str,
    negative_examples: Sequence[str] | None = None,
    p: float = 0.5,
    batch_size: int = 10,
    steps: int = 20,
    coarse_adaptive_threshold: float | None = ADAPTIVE,
    coarse_threshold: float | None = None,
    coarse_percentile: float | None = None,
    aggregation_strategy: str = "start",
    quiet: bool = False,
    peer_numbers: bool = False,
) -> tuple[Neurons, list[Neurons], list[dict[str, Any]]]:
    """Refined neurons as the multilingual fork of EleutherAI's package finds them.

    prompts: with one [MASK] or <mask> each, or as many in a row as the answer has tokens; a
    decoder's may end where the answer follows.  negative_examples: prompts whose coarse neurons do
    not count.  p: neurons coarse in more than this share of the prompts are refined.
    coarse_adaptive_threshold: share of a prompt's largest score; in its place coarse_threshold, a
    score, or coarse_percentile, of all its scores.
    aggregation_strategy: how the scores of an answer's tokens are joined: start, end, sum, mean,
    max.  steps: points of the path, the released code's left sum; peer_numbers: the peers' points
    instead, which have both ends.  batch_size: at least 1, otherwise without effect; the engine
    goes by the memory that is free.  quiet: without it the counts are printed.
    Returns the refined neurons [[layer, index], ...], first seen first; the coarse neurons of each
    prompt; and of each prompt {"prompt", "pred_label", "ground_truth", "correct", "probability"}.
    Raises ValueError for what cannot be asked; docs/migration.md has what differs from the fork.
    """
    if aggregation_strategy not in joint.AGGREGATES:
        raise ValueError(
            f"aggregation_strategy is {aggregation_strategy!r}: expected one of "
            f"{', '.join(joint.AGGREGATES)}"
        )
    threshold = Threshold.of_refining(
        coarse_threshold, coarse_adaptive_threshold, coarse_percentile
    )
    asked = encoded(kn.model, kn.tokenizer, prompts, ground_truth, negative_examples, p, batch_size)
    scoring = Scoring(steps, peer_numbers)
    answered = jointly(kn.model, asked, scoring, aggregation_strategy)
    scores = (one.scores for one in answered)
    found, own = refined(scores, threshold, len(prompts), p, quiet)
    told = zip(prompts, asked, answered, strict=False)  # without the negative examples
    info = [
        _info(kn.tokenizer, text, ground_truth, prompt.answers, one) for text, prompt, one in told
    ]
    return found, own, info


def _info(
    tokenizer: Tokens, prompt: str, ground_truth: str, answers: tuple[int, ...], one: Answered
) -> dict[str, Any]:
    """The fork's three keys, and two more."""
    return {
        "prompt": prompt,
        "pred_label": tokenizer.decode(list(one.predicted)),
        "ground_truth": ground_truth,
        "correct": one.predicted == answers,
        "probability": one.probability,
    }
