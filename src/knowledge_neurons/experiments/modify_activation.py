"""Suppressing and amplifying neurons: what it does to the probability of the right answer.

Section 4.3 of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

from custom_bert import Bert
from knowledge_neurons import batching, interventions
from knowledge_neurons.types import Neuron, Prompt

MEMORY = 1 << 28  # bytes that one batch may take


def answer_probabilities(
    model: Bert, prompts: Sequence[Prompt], neurons: Sequence[Sequence[Neuron]], factor: float
) -> list[float]:
    """P(right answer) of each prompt with its set of neurons scaled by factor at [MASK].

    prompts, neurons: one set of neurons per prompt.  factor: 1 leaves the model as it is.
    """
    config, device = model.config, next(model.parameters()).device

    def cost(tokens: int) -> int:
        per_token = 8 * config.hidden_size + 2 * config.intermediate_size
        edits = config.num_hidden_layers * config.intermediate_size
        return 4 * (tokens * per_token + edits + 2 * config.vocab_size)

    found: dict[int, float] = {}
    for planned in batching.plan(prompts, MEMORY, cost):
        batch = batching.to_device(planned, device)
        chosen = interventions.neuron_mask(model, [neurons[place] for place in batch.order])
        p = interventions.probabilities(model, batch, chosen, factor)  # (B, V)
        of_answers = p.gather(1, batch.answers[:, None])[:, 0]
        found |= dict(zip(batch.order, of_answers.tolist(), strict=True))
    return [found[place] for place in range(len(prompts))]
