"""What a model says at [MASK] of many prompts: probability and rank of tokens, the prediction.

Prompts are read in batches of equal length, so nothing is padded; in the last layer and in the head
only [MASK] is computed, and no hidden state is kept.  The time goes into matrix products.

    reader = Reader(model, prompts)                     # batches are made once ...
    before = reader.read()
    with edited(model, edit):
        after = reader.read()                           # ... and read as often as the model changes
    perplexity(after.log_probabilities[:, 0]) - perplexity(before.log_probabilities[:, 0])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from knowledge_neurons.networks import batching, passes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.text import encoding
from knowledge_neurons.types import Prompt

# Bytes that one batch may take.  At bert-base shapes 64 MiB are about 100 prompts of 10 tokens:
# products of a thousand rows, and activations that a cache still holds in part.
MEMORY = 1 << 26


@dataclass(frozen=True)
class Reading:
    """What was read of P prompts about K answers each, in the order of the prompts.

    log_probabilities: (P, K) float64, in nats, of whole answers: the sum over their tokens, each
    given those before it; ranks: (P, K) int64, 1 is the most probable token; of several tokens the
    worst.  predicted: (P,) int64, the most probable (first) token's id.  said: (P, K) bool, whether
    the answer is what the model says: each of its tokens the most probable.
    """

    log_probabilities: np.ndarray
    ranks: np.ndarray
    predicted: np.ndarray
    said: np.ndarray


class Reader:
    """Prompts made into batches once, to be read under any state of the model's weights."""

    def __init__(
        self,
        model: Network,
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[tuple[int, ...]]] | None = None,
        memory: int = MEMORY,
    ):
        """answers: K for each prompt, each its token ids; by default one, the right answer."""
        asked = [[prompt.answers] for prompt in prompts] if answers is None else answers
        if len(asked) != len(prompts):
            raise ValueError(f"answers for {len(asked)} prompts, there are {len(prompts)}")
        self.model, self._rows = model, _Rows(prompts, asked)
        widest = max(map(len, self._rows.tokens), default=1)
        asked_of = zip(self._rows.prompts, self._rows.tokens, strict=True)
        tokens = [own + [prompt.answer] * (widest - len(own)) for prompt, own in asked_of]
        cost = partial(passes.pass_bytes, model)
        self._batches = [
            (batch, torch.tensor([tokens[row] for row in batch.order], device=model.device))
            for batch in batching.plan(self._rows.prompts, memory, cost, model.device)
        ]
        self._shape = (len(self._rows.prompts), widest)

    @torch.no_grad()
    def read(self) -> Reading:
        """Run the model, as its weights are now, on every prompt."""
        log_p, ranks = np.empty(self._shape), np.empty(self._shape, np.int64)
        predicted = np.empty(self._shape[0], np.int64)
        for batch, tokens in self._batches:  # tokens (B, K)
            logits = passes.logits(self.model, batch)  # (B, V)
            chosen = logits.gather(1, tokens)  # (B, K)
            places = list(batch.order)
            log_p[places] = (chosen - logits.logsumexp(1, keepdim=True)).cpu().numpy()
            ranks[places] = rank(logits, chosen).cpu().numpy()
            predicted[places] = logits.argmax(1).cpu().numpy()
        if not np.isfinite(log_p).all():
            raise ValueError(
                "the model gives probabilities that are zero or not finite: are its weights, or "
                "the edit's lambdas, out of all proportion?"
            )
        return self._rows.reading(log_p, ranks, predicted)


class _Rows:
    """The passes that prompts and answers come to: a row for each prompt, read for the first tokens
    of all its answers, and one for each further token.

    prompts: of R rows; tokens: those asked of each.  places: for prompt and answer (row, column) of
    each of its tokens.  own: (P,) the row of each prompt itself.
    """

    def __init__(self, prompts: Sequence[Prompt], answers: Sequence[Sequence[tuple[int, ...]]]):
        self.prompts: list[Prompt] = []
        self.tokens: list[list[int]] = []
        self.places: list[list[list[tuple[int, int]]]] = []
        self.own: list[int] = []
        for prompt, asked in zip(prompts, answers, strict=True):
            self.own.append(len(self.prompts))
            self._add(prompt)
            chains = [encoding.asking(prompt, answer) for answer in asked]
            self.places.append([[self._place(one) for one in (c, *c.later)] for c in chains])

    def _add(self, prompt: Prompt) -> None:
        self.prompts.append(prompt)
        self.tokens.append([])

    def _place(self, one: Prompt) -> tuple[int, int]:
        """Where a token is read: in a row of the same prompt if there is one."""
        first = self.own[-1]
        same = (one.ids, one.mask_position)
        for row in range(first, len(self.prompts)):
            if (self.prompts[row].ids, self.prompts[row].mask_position) == same:
                break
        else:
            row = len(self.prompts)
            self._add(one)
        self.tokens[row].append(one.answer)
        return row, len(self.tokens[row]) - 1

    def reading(self, log_p: np.ndarray, ranks: np.ndarray, predicted: np.ndarray) -> Reading:
        """What the rows say of whole answers.  log_p, ranks: (R, K'); predicted: (R,)."""
        shape = (len(self.places), len(self.places[0]) if self.places else 1)
        whole, worst, said = np.empty(shape), np.empty(shape, np.int64), np.empty(shape, bool)
        for place, chains in enumerate(self.places):
            for column, chain in enumerate(chains):
                whole[place, column] = sum(log_p[at] for at in chain)
                worst[place, column] = max(ranks[at] for at in chain)
                said[place, column] = all(
                    predicted[row] == self.tokens[row][of] for row, of in chain
                )
        return Reading(whole, worst, predicted[self.own], said)


def rank(logits: Tensor, chosen: Tensor) -> Tensor:
    """Place of tokens among all by their logits, 1 is the most probable: (B, K) int64.

        rank(t) = 1 + |{v : logit(v) > logit(t)}|

    logits: (B, V); chosen: (B, K), those of the tokens in question.
    """
    return 1 + (logits[:, None, :] > chosen[:, :, None]).sum(-1)
