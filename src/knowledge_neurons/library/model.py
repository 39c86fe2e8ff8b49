"""A model and what is asked of it: texts and neurons of any form in, probabilities out."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from knowledge_neurons.editing import interventions
from knowledge_neurons.experiments.modify_activation import MEMORY, answer_probabilities
from knowledge_neurons.networks import batching, checkpoints, passes
from knowledge_neurons.networks.adapted_checkpoints import adapted
from knowledge_neurons.networks.interface import Network, check_neurons
from knowledge_neurons.networks.pretrained import chosen_device
from knowledge_neurons.text.encoding import AnswerNotInVocabulary, Tokens, encode_fact, encode_open
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt

TOP = 5  # answers that are shown of a prompt
Guess = tuple[str, float]  # a token's text and its probability


class Model:
    """A language model and its tokenizer, asked through texts with one [MASK] each."""

    def __init__(self, model: Any, tokenizer: Any, device: str | torch.device | None = None):
        if not hasattr(model, "through"):
            model, tokenizer = adapted(model, tokenizer)
        if device is not None:
            model = model.to(device)
        self.model: Network = model
        self.tokenizer: Tokens = tokenizer

    @classmethod
    def from_pretrained(
        cls, source: str | Path, device: str | torch.device | None = None, **options: Any
    ):
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
        edit = self.edit_of(neurons, factor)
        encoded = self.encode(prompts, answer)
        rows = answer_probabilities(self.model, encoded, [[edit] if edit else []] * len(encoded))
        return [row[-1] for row in rows]

    def top(
        self,
        prompts: Sequence[str],
        k: int = TOP,
        neurons: Iterable[Sequence[int]] = (),
        factor: float | None = None,
    ) -> list[list[Guess]]:
        """The k most probable tokens at [MASK] of each prompt with their probabilities.

        neurons, factor: as of `probabilities`.  Returns (token, probability), likeliest first.
        """
        edit = self.edit_of(neurons, factor)
        encoded = encode_open(_texts(prompts), self.tokenizer, self.model.max_tokens)
        rows = self.guesses(encoded, [edit] if edit else [], k)
        return [row[-1] for row in rows]

    # --- what is asked ---

    def encode(self, prompts: Sequence[str], answer: str) -> list[Prompt]:
        """The prompts as tokens, asked for the answer; ValueError names the text or the answer."""
        fact = _fact(prompts, answer)
        try:
            return encode_fact(fact, self.tokenizer, self.model.max_tokens)
        except AnswerNotInVocabulary as error:
            near = self.nearest(answer)
            hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise AnswerNotInVocabulary(f"{error}{hint}") from error

    def nearest(self, answer: str) -> list[str]:
        """Words of the vocabulary that an unknown one may have been meant for."""
        words = [word.lstrip("Ġ▁") for word in self.tokenizer.vocabulary]
        same = sorted({word for word in words if word.lower() == answer.strip().lower()})
        return same[:2] or difflib.get_close_matches(answer.strip(), words, 2, 0.75)

    def neurons(self, neurons: Iterable[Sequence[int]]) -> list[Neuron]:
        """Neurons given as `Neuron`, tuple or list, checked to be the model's."""
        found = []
        for one in neurons:
            try:
                layer, index = one
                whole = int(layer) == layer and int(index) == index
            except (TypeError, ValueError):
                whole = False
            if not whole:
                raise ValueError(
                    f"{short(one)} is no neuron: expected (layer, index), both counted from 0, in "
                    "a list of them"
                )
            found.append(Neuron(int(layer), int(index)))
        check_neurons(self.model, found)
        return found

    def edit_of(self, neurons: Iterable[Sequence[int]], factor: float | None) -> Edit | None:
        """The neurons times factor; None without neurons."""
        chosen = self.neurons(neurons)
        if not chosen:
            return None
        if factor is None:
            raise ValueError("neurons without a factor: 0 suppresses them, 2 amplifies them")
        return Edit(tuple(chosen), checked_factor(factor))

    # --- what it says ---

    @torch.no_grad()
    def guesses(
        self, encoded: Sequence[Prompt], edits: Sequence[Edit] = (), k: int = TOP
    ) -> list[list[list[Guess]]]:
        """The k likeliest tokens of each prompt: without an edit, then under each."""
        cost = partial(passes.pass_bytes, self.model, rows=1 + len(edits))
        found: dict[int, list[list[Guess]]] = {}
        for batch in batching.plan(encoded, MEMORY, cost, self.model.device):
            p = interventions.probabilities(self.model, batch, [list(edits)] * len(batch.order))
            best = p.topk(min(k, p.shape[-1]))  # (B, 1 + K, k)
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


def told(guesses: Iterable[Guess], most: int = 3) -> str:
    """Top answers in a line: "Paris 0.70, Rome 0.02"."""
    return ", ".join(f"{word} {p:.2f}" for word, p in list(guesses)[:most])


def checked_factor(factor: float) -> float:
    """A factor on activations; ValueError for what is no number."""
    if not math.isfinite(factor):
        raise ValueError(f"the factor is {factor}: expected a number, 0 suppresses, 2 amplifies")
    return float(factor)


def _fact(prompts: Sequence[str], answer: str) -> Fact:
    """The prompts as a fact of no relation."""
    (answer,) = _texts([answer])
    return Fact("own", "own prompts", 0, answer, _texts(prompts))


def _texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts in a list; ValueError for one text alone, none, or what is no text."""
    if isinstance(texts, str) or not len(texts):
        raise ValueError("expected a list of prompts, each with one [MASK]")
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{short(text)} is no text: prompts and answers are strings")
    return tuple(texts)
