"""A model and what is asked of it: texts and neurons of any form in, probabilities out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Real
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from knowledge_neurons.editing import interventions
from knowledge_neurons.experiments.modify_activation import MEMORY, Answered, answered
from knowledge_neurons.library.shown import Shown, Table
from knowledge_neurons.networks import batching, checkpoints, passes
from knowledge_neurons.networks.adapted_checkpoints import adapted
from knowledge_neurons.networks.interface import Network, check_neurons
from knowledge_neurons.networks.pretrained import chosen_device
from knowledge_neurons.text.encoding import (
    AnswerNotInVocabulary,
    Tokens,
    encode_fact,
    encode_open,
    split_at_mask,
)
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt

TOP = 5  # answers that are shown of a prompt
CLOSE = 0.75  # as difflib has it: how much alike two spellings are
Guess = tuple[str, float]  # a token's text and its probability


@dataclass(frozen=True)
class OwnPrompts(Fact):
    """Prompts of one's own as a fact, which has no relation to be named by."""

    def __str__(self) -> str:
        return f"prompts for {short(self.answer)}"


def own_fact(texts: Sequence[str], answer: str, index: int = 0) -> Fact:
    """A user's prompts as a fact of no relation."""
    return OwnPrompts("own", "own prompts", index, answer, tuple(texts))


class Model:
    """A language model and its tokenizer, asked through texts with one [MASK] each.

    state: of the weights: 0 as they were given, another number inside each `with` that edits them.
    """

    def __init__(self, model: Any, tokenizer: Any, device: str | torch.device | None = None):
        if not hasattr(model, "through"):
            model, tokenizer = adapted(model, tokenizer)
        if device is not None:
            model = model.to(device)
        self.model: Network = model
        self.tokenizer: Tokens = tokenizer
        self.state = 0

    @classmethod
    def from_pretrained(
        cls, source: str | Path, device: str | torch.device | None = None, **options: Any
    ) -> Self:
        """Load a model by its hub name, from a folder, a .tar.gz archive or a .gguf file.

        device: None for that of KN_DEVICE, else a GPU where there is one, as in the stages.
        options: see `networks.checkpoints.from_pretrained`.
        Raises ValueError for a source that is no model, or a device that is not there.
        """
        chosen = chosen_device(None if device is None else str(device))
        pretrained = checkpoints.from_pretrained(source, **options)
        return cls(pretrained.model, pretrained.tokenizer, device=chosen)

    def probabilities(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Iterable[Sequence[int]] = (),
        factor: float | None = None,
    ) -> list[float]:
        """P(answer) at [MASK] of each prompt, with the neurons' activations there times factor.

        factor: 0 suppresses, 2 amplifies (section 4.3); needed where neurons are given.
        Returns one probability a prompt; of an answer of several tokens that of the whole.
        """
        edit = self._edit_of(neurons, factor)
        found = self._answered(self._encode(prompts, answer), [edit] if edit else [])
        return found.probabilities[:, -1].tolist()

    def top(
        self,
        prompts: Sequence[str],
        k: int = TOP,
        neurons: Iterable[Sequence[int]] = (),
        factor: float | None = None,
    ) -> Tops:
        """The k most probable tokens at [MASK] of each prompt with their probabilities.

        neurons, factor: as of `probabilities`.  Returns (token, probability), likeliest first.
        """
        if k < 1:
            raise ValueError(f"k is {k}: expected at least 1 token")
        edit = self._edit_of(neurons, factor)
        encoded = encode_open(_texts(prompts), self.tokenizer, self.model.max_tokens)
        rows = self._guesses(encoded, [edit] if edit else [], k)
        return Tops(prompts, [row[-1] for row in rows])

    # --- what is asked ---

    def _encode(self, prompts: Sequence[str], answer: str) -> list[Prompt]:
        """The prompts as tokens, asked for the answer; ValueError names the text or the answer."""
        try:
            return self._encode_as_is(prompts, answer)
        except AnswerNotInVocabulary as error:
            near = self._nearest(answer)
            hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise AnswerNotInVocabulary(f"{error}{hint}") from error

    def _encode_as_is(self, prompts: Sequence[str], answer: str) -> list[Prompt]:
        """`_encode` without looking for a word that an unknown answer may have been meant for."""
        (answer,), texts = _texts([answer]), _texts(prompts)
        if all(split_at_mask(text)[0][-1:].isspace() for text in texts):
            answer = answer.strip()  # " Paris" behind a space would be two spaces
        return encode_fact(own_fact(texts, answer), self.tokenizer, self.model.max_tokens)

    def _nearest(self, answer: str) -> list[str]:
        """Words of the vocabulary that an answer may have been meant for: two at most."""
        wanted = answer.strip()
        if not wanted:
            return []
        alike = [word for word in self._spellings if word[0].lower() == wanted[0].lower()]
        same = sorted({word for word in alike if word.lower() == wanted.lower()} - {wanted})
        return same[:2] or difflib.get_close_matches(wanted, alike, 2, CLOSE)

    @cached_property
    def _spellings(self) -> list[str]:
        """Tokens that stand for words or their beginnings, without what marks a space."""
        special = self.tokenizer.special
        every = (
            word.lstrip("Ġ▁") for word, index in self.tokenizer.vocabulary.items()
            if index not in special and not word.startswith("##")
        )  # fmt: skip
        return sorted({word for word in every if word})

    def _neurons(self, neurons: Iterable[Sequence[int]]) -> list[Neuron]:
        """Neurons given as `Neuron`, tuple or list, or one of them alone, checked to be the
        model's."""
        found = [_neuron(one) for one in _listed(neurons)]
        check_neurons(self.model, found)
        return found

    def _edit_of(self, neurons: Iterable[Sequence[int]], factor: float | None) -> Edit | None:
        """The neurons times factor, each once; None without neurons."""
        chosen = self._neurons(neurons)
        if not chosen:
            return None
        if factor is None:
            raise ValueError("neurons without a factor: 0 suppresses them, 2 amplifies them")
        return Edit(tuple(dict.fromkeys(chosen)), checked_factor(factor))

    # --- what it says ---

    def _answered(self, encoded: Sequence[Prompt], edits: Sequence[Edit] = ()) -> Answered:
        """P(answer) of each prompt and its log-odds, without an edit and under each: (P, 1 + K)."""
        found = answered(self.model, encoded, [list(edits)] * len(encoded))
        _check_finite(all(bool(np.isfinite(values).all()) for values in found))
        return found

    @torch.no_grad()
    def _guesses(
        self, encoded: Sequence[Prompt], edits: Sequence[Edit] = (), k: int = TOP
    ) -> list[list[list[Guess]]]:
        """The k likeliest tokens of each prompt: without an edit, then under each."""
        cost = partial(passes.pass_bytes, self.model, rows=1 + len(edits))
        found: dict[int, list[list[Guess]]] = {}
        for batch in batching.plan(encoded, MEMORY, cost, self.model.device):
            p = interventions.probabilities(self.model, batch, [list(edits)] * len(batch.order))
            best = p.topk(min(k, p.shape[-1]))  # (B, 1 + K, k), NaN first
            _check_finite(bool(torch.isfinite(best.values).all()))
            for row, place in enumerate(batch.order):
                found[place] = [
                    [
                        (self.tokenizer.text([token]), one)
                        for token, one in zip(tokens, values, strict=True)
                    ]
                    for tokens, values in zip(
                        best.indices[row].tolist(), best.values[row].tolist(), strict=True
                    )
                ]
        return [found[place] for place in range(len(encoded))]


@dataclass(frozen=True)
class Said:
    """What a model says to a prompt: P(answer), and its top answers."""

    text: str
    probability: float
    top: list[Guess]


class Tops(Shown, list[list[Guess]]):
    """The likeliest tokens of each prompt: a list of (token, probability) each."""

    def __init__(self, texts: Sequence[str], tops: Sequence[list[Guess]]):
        super().__init__(tops)
        self.texts = list(texts)

    def tables(self) -> list[Table]:
        """A row a prompt."""
        columns = {"top answers": [top_line(top, len(top)) for top in self], "prompt": self.texts}
        return [Table("what the model says", columns)]


def top_line(guesses: Iterable[Guess], most: int = 3) -> str:
    """Top answers in a line: "Paris 0.70, Rome 0.02"."""
    return ", ".join(f"{word} {p:.2f}" for word, p in list(guesses)[:most])


def checked_factor(factor: float) -> float:
    """A factor on activations; ValueError for what is no number."""
    if not math.isfinite(factor):
        raise ValueError(f"the factor is {factor}: expected a number, 0 suppresses, 2 amplifies")
    return float(factor)


def pair(given: Any, what: str) -> Any:
    """Two things together; ValueError says what was expected."""
    if isinstance(given, str) or not hasattr(given, "__len__") or len(given) != 2:
        raise ValueError(f"{short(given)}: expected {what}, a pair")
    return given


def _check_finite(finite: bool) -> None:
    if not finite:
        raise ValueError(
            "the model gives probabilities that are not finite: are its weights damaged, or is the "
            "factor out of all proportion?"
        )


def _listed(neurons: Iterable[Sequence[int]]) -> list:
    """Neurons in a list; one alone is a list of one."""
    try:
        given = list(neurons)
    except TypeError as error:
        raise ValueError(f"{short(neurons)}: expected a list of neurons") from error
    alone = len(given) == 2 and all(isinstance(one, Real) for one in given)
    return [given] if alone else given


def _neuron(given: Sequence[int]) -> Neuron:
    """A neuron of whatever form; ValueError for what is none."""
    try:
        layer, index = given
        found = Neuron(int(layer), int(index))
        whole = found == (layer, index)
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(
            f"{short(given)} is no neuron: expected (layer, index), whole numbers from 0, or a "
            "list of such"
        )
    return found


def _texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts in a list; ValueError for one text alone, none, or what is no text."""
    if isinstance(texts, str) or not hasattr(texts, "__len__") or not len(texts):
        raise ValueError("expected a list of prompts, each with one [MASK]")
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{short(text)} is no text: prompts and answers are strings")
    return tuple(texts)
