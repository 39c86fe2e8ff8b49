"""From the scores of prompts to the neurons that they share, as the peers refine them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from knowledge_neurons.compat import asking
from knowledge_neurons.compat.scoring import Neurons, Threshold
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.types import Prompt


def encoded(
    network: Network,
    tokenizer: Tokens,
    prompts: Sequence[str],
    ground_truth: str,
    negative_examples: Sequence[str] | None,
    p: float,
    batch_size: int,
) -> list[Prompt]:
    """What a refinement has to score: the prompts, then the negative examples.

    Raises ValueError for what is passed where 0.0.2 had another order of arguments, for p and
    batch_size out of range, and as `asking.encoded` does.
    """
    _check_refining(prompts, negative_examples, batch_size)
    check_share(p, "p")
    asked = asking.encoded(network, tokenizer, prompts, ground_truth)
    if negative_examples:
        asked += asking.encoded(network, tokenizer, negative_examples, ground_truth)
    return asked


def refined(
    scores: Iterable[Tensor], threshold: Threshold, prompts: int, p: float, quiet: bool
) -> tuple[Neurons, list[Neurons]]:
    """What prompts share, and the coarse neurons of each.

    scores: (L, F) of so many prompts, then of negative examples.
    """
    coarse = [threshold.coarse(one) for one in scores]
    own = coarse[:prompts]
    found = shared(own, p, coarse[prompts:])
    say(quiet, f"{sum(map(len, own))} coarse neurons, {len(found)} refined")
    return found, own


def shared(prompts: Sequence[Neurons], p: float, negative: Sequence[Neurons] = ()) -> Neurons:
    """The neurons coarse in more than p of the prompts, first seen first.

    negative: coarse neurons of other prompts; a neuron that any of them has is left out.
    """
    elsewhere = {tuple(neuron) for neurons in negative for neuron in neurons}
    counts = Counter(tuple(neuron) for neurons in prompts for neuron in neurons)
    least = len(prompts) * p
    return [list(one) for one, n in counts.items() if n > least and one not in elsewhere]


def say(quiet: bool, text: str) -> None:
    """Print what was found unless quiet, as the peers do: nothing else of the library prints."""
    if not quiet:
        print(text)


def check_share(p: float, name: str) -> None:
    """ValueError unless p, which the user calls name, is a share that some neuron can exceed."""
    if not 0 <= p < 1:
        raise ValueError(f"{name} is {p}: expected a share from 0 to below 1")


def _check_refining(prompts: Any, negative_examples: Any, batch_size: int) -> None:
    """ValueError for what is passed where 0.0.2 had another order of arguments, and the like."""
    if not isinstance(prompts, (list, tuple)):
        raise ValueError(f"prompts: expected a list of texts, got {type(prompts).__name__}")
    if negative_examples is not None and not isinstance(negative_examples, (list, tuple)):
        raise ValueError(
            f"negative_examples is {negative_examples!r}: expected a list of prompts.  p stands "
            "behind it after version 0.0.2; pass it by name"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: expected at least 1")
