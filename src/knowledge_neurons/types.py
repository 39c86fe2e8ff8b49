"""The words of the field as types.  They hold; they do not compute.

Shape letters, here and everywhere: B prompts, T tokens, L layers, D hidden width, F neurons of a
layer, V vocabulary, M quadrature points, R rows of a batch, N neurons of a set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypedDict

from msgspec import Meta

if TYPE_CHECKING:
    from torch import Tensor

# Numbers as files may hold them; beyond these bounds they are damage, not a larger model.
Layer = Annotated[int, Meta(ge=0, lt=1 << 12)]
Index = Annotated[int, Meta(ge=0, lt=1 << 24)]  # of a neuron in its layer, of a fact, of a prompt
Count = Annotated[int, Meta(ge=0, lt=1 << 40)]
Number = Annotated[float, Meta(ge=-1e30, le=1e30)]
Share = Annotated[float, Meta(ge=0, le=1.0001)]  # a probability too, as float32 rounds it


class Neuron(NamedTuple):
    """One FFN neuron: `layer` counted from 0 at the bottom, `index` in 0 .. F - 1."""

    layer: Layer
    index: Index


# The two kinds of neurons that are compared throughout: of integrated gradients, of activations.
KNOWLEDGE, BASELINE = KINDS = ("neurons", "baseline")
CONTROL = "random"  # as many random neurons, beside the edits and erasures of a fact's own
NeuronSets = Mapping[str, Sequence[Sequence[Neuron]]]  # kind -> the neurons of each fact


class Adopted(TypedDict):
    """Whose neurons these are that were not found here, of which model, and how they were made."""

    by: str
    repository: str
    commit: str
    model: str
    settings: dict[str, str]


class Triplet(NamedTuple):
    """A neuron with its attribution score for one prompt."""

    layer: Layer
    index: Index
    score: Number


@dataclass(frozen=True)
class Fact:
    """A fact (head, relation, tail) with its bag: all the prompts that ask for its tail.

    relation: id such as "P101"; label: its name, "field of work"; index: place of the fact in its
    relation's data, from 0; answer: the tail; prompts: texts with one [MASK] each.
    """

    relation: str
    label: str
    index: int
    answer: str
    prompts: tuple[str, ...]

    def __str__(self) -> str:
        answer = self.answer if len(self.answer) <= 80 else f"{self.answer[:77]}..."
        return f"{self.relation} fact {self.index} ({answer})"


@dataclass(frozen=True)
class FactSentences:
    """The web sentences of a fact: those with its head and its tail, and those with its head."""

    relation: str
    index: int
    head: str
    tail: str
    with_both: tuple[str, ...]
    with_head: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """An activation edit: these neurons' activations at [MASK] are multiplied by factor.

    0 suppresses, 2 amplifies, 1 changes nothing.
    """

    neurons: tuple[Neuron, ...]
    factor: float


NO_ANSWER = -1  # in place of an answer's id: a text that asks for nothing


@dataclass(frozen=True)
class Prompt:
    """One tokenised prompt: its ids with [CLS] and [SEP], where [MASK] is, the answer's id.

    A decoder's prompt ends with the token before the answer, and is read there.
    answer: NO_ANSWER for a sentence that is only read; of an answer of several tokens the first.
    later: how each further token of the answer is asked, those before it given.
    cut: whether it was too long: a prompt loses its end, a decoder's its start, a sentence what is
    farthest from [MASK].
    """

    ids: tuple[int, ...]
    mask_position: int
    answer: int
    cut: bool = False
    later: tuple[Prompt, ...] = ()

    @property
    def answers(self) -> tuple[int, ...]:
        """The ids of the whole answer."""
        return (self.answer, *(prompt.answer for prompt in self.later))


@dataclass(frozen=True)
class PromptScores:
    """What attribution says of one prompt.  What was not asked for is an empty list.

    tokens: with [CLS] and [SEP]; answer: the right token; predicted: the model's most probable one;
    relation: "P101(field of work)".
    of_answer, of_prediction: integrated gradients of the probability of either token; baseline: the
    activations themselves; all three only where large enough to be kept.
    probabilities: of the whole vocabulary at [MASK], (V,).
    answer_token: which token of the answer was asked for, from 0.
    """

    tokens: list[str]
    answer: str
    predicted: str
    relation: str
    of_answer: list[Triplet] = field(default_factory=list)
    of_prediction: list[Triplet] = field(default_factory=list)
    baseline: list[Triplet] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    answer_token: int = 0


@dataclass(frozen=True)
class Batch:
    """Prompts of one length, so that there is no padding.

    ids: (B, T) int64; mask_positions: (B,) int64, where [MASK] is; answers: (B,) int64, token ids;
    order: (B,) place of each row in the list of prompts that the batch was planned from.
    """

    ids: Tensor
    mask_positions: Tensor
    answers: Tensor
    order: tuple[int, ...]


@dataclass(frozen=True)
class WeightEdit:
    """New value slots for some neurons: what a fact's update or a relation's erasure comes to.

    neurons: N of them, none twice; before, after: (N, D), their value slots, columns of the second
    FFN matrices, in the order of the neurons.
    """

    neurons: tuple[Neuron, ...]
    before: Tensor
    after: Tensor
