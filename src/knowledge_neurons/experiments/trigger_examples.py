"""Stage 5: which sentences wake a fact's neurons most, and which least.

Section 4.4 and Table 3 of the paper: the web sentences with head and tail, the tail masked, ranked
by the summed activation of the fact's knowledge neurons at [MASK].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from knowledge_neurons.experiments.distant_activation import neuron_activations
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.triggers import Triggered, Triggers
from knowledge_neurons.text import data
from knowledge_neurons.text.encoding import Tokens, encode_sentences
from knowledge_neurons.types import FactSentences, Neuron


def rank_sentences(
    model: Network,
    tokenizer: Tokens,
    label: str,
    facts: Sequence[FactSentences],
    neurons: Sequence[Sequence[Neuron]],
    max_tokens: int,
) -> list[Triggers]:
    """Rank the sentences of facts of a relation, as many together as stage 4 reads.

    label: the relation's name.  neurons: of each fact.  max_tokens: a longer sentence is cut to a
    window around its [MASK].  Equal activations stay in data order.
    """
    masked = [_mask(fact, decoder=tokenizer.mask is None) for fact in facts]
    usable = [
        (place, sentence, text)
        for place, (texts, _) in enumerate(masked)
        if neurons[place]
        for sentence, text in texts
    ]
    prompts = encode_sentences([text for *_, text in usable], tokenizer, max_tokens)
    read = neuron_activations(model, prompts, [neurons[place] for place, *_ in usable])
    ranked: list[list[Triggered]] = [[] for _ in facts]
    for (place, sentence, text), prompt, values in zip(usable, prompts, read, strict=True):
        tokens = tokenizer.tokens(prompt.ids)
        ranked[place].append(Triggered(sum(values), sentence, text, tokens))
    return [
        Triggers(
            relation=fact.relation,
            fact=fact.index,
            head=fact.head,
            label=label,
            tail=fact.tail,
            ranked=sorted(ranked[place], key=lambda found: -found.activation),
            unusable=dict(masked[place][1]),
        )
        for place, fact in enumerate(facts)
    ]


def _mask(fact: FactSentences, decoder: bool) -> tuple[list[tuple[str, str]], Counter[str]]:
    """(sentence, the same masked) where that can be done, and the reasons where it cannot."""
    texts, unusable = [], Counter()
    for sentence in fact.with_both:
        try:
            texts.append((sentence, data.mask_tail(sentence, fact.head, fact.tail, decoder)))
        except data.CannotMask as reason:
            unusable[str(reason)] += 1
    return texts, unusable
