"""Stage 10: how far an edit reaches, asked backwards and by other names (Niu et al. 2024).

A fact that the model answers right is edited as stage 6 does it.  Then its own prompts are read by
its head's name and by other names, and the inverse relation is asked of the new answer, which is
now the head's, and of the old one, which no longer is.  Random neurons are the control.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from knowledge_neurons.editing import slots
from knowledge_neurons.experiments import edit_facts
from knowledge_neurons.experiments.choose_facts import Answer, Planned
from knowledge_neurons.networks.evaluation import Reader, Reading
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.results.edits import Variant
from knowledge_neurons.results.symmetry import EDITED, Asked, Named, SymmetryRecord
from knowledge_neurons.text.encoding import Tokens
from knowledge_neurons.text.inverses import Inverse
from knowledge_neurons.types import Fact, Prompt


@dataclass(frozen=True)
class Questions:
    """What is asked about one edit, as tokens.

    names: name of the head -> the fact's prompts with it, the first the head's own.
    new_pair, old_pair: prompts that ask for the head by the new and the old answer; none where the
    relation cannot be asked backwards.
    """

    names: dict[str, Sequence[Prompt]]
    new_pair: Sequence[Prompt]
    old_pair: Sequence[Prompt]


def questions_about(
    planned: Planned,
    facts: Sequence[Fact],
    encoded: Sequence[Sequence[Prompt]],
    head: str,
    inverse: Inverse,
    encode: Callable[[Fact], Sequence[Prompt]],
) -> Questions:
    """What is asked about an edit.

    facts, encoded: of the relation, and their prompts.  head: of the edited fact.  encode: a fact's
    prompts, none of one that the model cannot be asked; then it is not asked.
    """
    index = planned.asked.fact
    fact = facts[index]
    renamed = {name: encode(one) for name, one in inverse.renamed(fact, head).items()}
    names = {head: encoded[index], **{name: own for name, own in renamed.items() if own}}
    if inverse.inverse is None:
        return Questions(names, [], [])
    new = next(
        other.answer
        for other, own in zip(facts, encoded, strict=True)
        if own and own[0].answers == planned.new
    )
    pairs = (inverse.backwards(answer, head, index) for answer in (new, fact.answer))
    return Questions(names, *map(encode, pairs))


class _Row(NamedTuple):
    """A prompt and the two answers that are read; the head has one, which stands there twice."""

    prompt: Prompt
    answers: tuple[Answer, Answer]


def edit_and_ask(
    model: Network,
    tokenizer: Tokens,
    planned: Planned,
    questions: Questions,
    variant: Variant,
    seed: int,
) -> Iterator[SymmetryRecord]:
    """Edit one fact with each of EDITED and ask; each edit is undone before the next."""
    named = [[_Row(p, (p.answers, planned.new)) for p in own] for own in questions.names.values()]
    pairs = [
        [_Row(p, (p.answers, p.answers)) for p in own]
        for own in (questions.new_pair, questions.old_pair)
    ]
    groups = [*named, *pairs]
    rows = list(chain.from_iterable(groups))
    reader = Reader(model, [row.prompt for row in rows], [row.answers for row in rows])
    before = reader.read()
    edits = edit_facts.edits(model, planned, variant, seed)
    ends = np.cumsum([0, *map(len, groups)]).tolist()
    places = [slice(*ends[group : group + 2]) for group in range(len(groups))]
    for kind in EDITED:
        with slots.edited(model, edits[kind]):
            after = reader.read()
        own, *aliases = (
            Named(name=name, old=_asked(before, after, at, 0), new=_asked(before, after, at, 1))
            for name, at in zip(questions.names, places, strict=False)
        )
        new_pair, old_pair = (
            _asked(before, after, at, 0) if group else None
            for group, at in zip(pairs, places[-len(pairs) :], strict=True)
        )
        asked = planned.asked
        yield SymmetryRecord(
            *(asked.relation, asked.fact, asked.prompt),
            *map(tokenizer.text, (planned.old, planned.new)),
            kind=kind,
            neurons=list(edits[kind].neurons),
            own=own,
            aliases=aliases,
            new_pair=new_pair,
            old_pair=old_pair,
        )


def _asked(before: Reading, after: Reading, at: slice, answer: int) -> Asked:
    """One of the two answers in some of the prompts."""
    readings = (before, after)
    return Asked(
        log_p=[one.log_probabilities[at, answer].tolist() for one in readings],
        rank=[one.ranks[at, answer].tolist() for one in readings],
    )
