"""Stage 5: which sentences wake a fact's neurons most, and which least.

Section 4.4 and Table 3 of the paper: the web sentences with head and tail, the tail masked, ranked
by the summed activation of the fact's knowledge neurons at [MASK].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from custom_bert import Bert
from knowledge_neurons.experiments.distant_activation import GROUP, neuron_activations
from knowledge_neurons.networks import batching
from knowledge_neurons.results.triggers import Triggered, Triggers
from knowledge_neurons.text import data
from knowledge_neurons.text.tokenizer import Tokenizer
from knowledge_neurons.types import FactSentences, Neuron


def rank_sentences(
    model: Bert,
    tokenizer: Tokenizer,
    label: str,
    facts: Sequence[FactSentences],
    neurons: Sequence[Sequence[Neuron]],
    max_tokens: int,
) -> Iterator[list[Triggers]]:
    """Rank the sentences of every fact of a relation, group by group as stage 4 does.

    label: the relation's name.  neurons: of each fact.  max_tokens: a longer sentence is cut to a
    window around its [MASK].  Equal activations stay in data order.
    """
    for start in range(0, len(facts), GROUP):
        group, own = facts[start : start + GROUP], neurons[start : start + GROUP]
        masked = [_mask(fact) for fact in group]
        usable = [
            (place, sentence, text)
            for place, (texts, _) in enumerate(masked)
            if own[place]
            for sentence, text in texts
        ]
        prompts = batching.encode_sentences([text for *_, text in usable], tokenizer, max_tokens)
        read = neuron_activations(model, prompts, [own[place] for place, *_ in usable])
        ranked: list[list[Triggered]] = [[] for _ in group]
        for (place, sentence, text), prompt, values in zip(usable, prompts, read, strict=True):
            tokens = tokenizer.tokens(prompt.ids)
            ranked[place].append(Triggered(sum(values), sentence, text, tokens))
        yield [
            Triggers(
                relation=fact.relation,
                fact=fact.index,
                head=fact.head,
                label=label,
                tail=fact.tail,
                ranked=sorted(ranked[place], key=lambda found: -found.activation),
                unusable=dict(masked[place][1]),
            )
            for place, fact in enumerate(group)
        ]


def _mask(fact: FactSentences) -> tuple[list[tuple[str, str]], Counter[str]]:
    """(sentence, the same masked) where that can be done, and the reasons where it cannot."""
    texts, unusable = [], Counter()
    for sentence in fact.with_both:
        try:
            texts.append((sentence, data.mask_tail(sentence, fact.head, fact.tail)))
        except data.CannotMask as reason:
            unusable[str(reason)] += 1
    return texts, unusable
