"""Neurons switched off and turned up while prompts are asked (section 4.3); no weight changes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from knowledge_neurons.experiments.controls import random_like
from knowledge_neurons.experiments.modify_activation import Answered
from knowledge_neurons.library.effects import AgainstRandom, Dose, Effect, change_of
from knowledge_neurons.library.model import Model, Said, checked_factor
from knowledge_neurons.types import Edit, Prompt

DOSES = tuple(step / 4 for step in range(9))  # 0 to 2


class Scaling(Model):
    """Effects of neurons on what the model says."""

    def scale(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Iterable[Sequence[int]],
        factor: float,
    ) -> Effect:
        """What the model says to each prompt before and after the neurons are scaled.

        neurons: (layer, index) each.  factor: on their activations at [MASK].
        """
        edit = self._edit(neurons, factor)
        encoded = self._encode(prompts, answer)
        found = self._changed(encoded, [edit])
        p, log_odds = (values.tolist() for values in found)
        rows = list(zip(prompts, p, self._guesses(encoded, [edit]), strict=True))
        before, after = ([Said(text, p[n], top[n]) for text, p, top in rows] for n in (0, 1))
        both = tuple(map(list, zip(*log_odds, strict=True)))
        return Effect(answer, edit.neurons, edit.factor, before, after, both)

    def suppress(
        self, prompts: Sequence[str], answer: str, neurons: Iterable[Sequence[int]]
    ) -> Effect:
        """`scale` by 0 (Figure 4)."""
        return self.scale(prompts, answer, neurons, 0.0)

    def amplify(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Iterable[Sequence[int]],
        factor: float = 2.0,
    ) -> Effect:
        """`scale` by 2, or another factor (Figure 5)."""
        return self.scale(prompts, answer, neurons, factor)

    def dose(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Iterable[Sequence[int]],
        factors: Sequence[float] = DOSES,
    ) -> Dose:
        """P(answer) under each of the factors, with intervals over prompts."""
        chosen = self._edit(neurons, 0.0).neurons
        edits = [Edit(chosen, checked_factor(factor)) for factor in factors]
        if not edits:
            raise ValueError("expected at least one factor")
        p, log_odds = (values.T for values in self._changed(self._encode(prompts, answer), edits))
        factors = [edit.factor for edit in edits]
        return Dose(answer, factors, p[1:], p[0], log_odds[1:] - log_odds[0])

    def against_random(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Iterable[Sequence[int]],
        factor: float = 0.0,
        draws: int = 20,
        seed: int = 0,
    ) -> AgainstRandom:
        """The neurons' effect beside that of random sets: as many other neurons of the same layers.

        draws: how many sets.  seed: of their generator.
        Raises ValueError where a layer has not so many others.
        """
        edit = self._edit(neurons, factor)
        if draws < 1:
            raise ValueError(f"draws is {draws}: expected 1 or more")
        rng = random.Random(seed)
        sets = [tuple(random_like(self.model, edit.neurons, rng)) for _ in range(draws)]
        if len(sets[0]) < len(edit.neurons):
            raise ValueError(
                f"{len(edit.neurons)} neurons have only {len(sets[0])} others in their layers to "
                "be compared with"
            )
        edits = [edit, *(Edit(one, edit.factor) for one in sets)]
        p, log_odds = (values.T for values in self._changed(self._encode(prompts, answer), edits))
        own, *others = (change_of(p[0], scaled).value for scaled in p[1:])
        nats = (log_odds[1:] - log_odds[0]).mean(axis=1).tolist()
        return AgainstRandom(answer, edit.factor, own, others, nats[0], nats[1:])

    def _changed(self, encoded: Sequence[Prompt], edits: Sequence[Edit]) -> Answered:
        """What each prompt's answer is before and under each edit, where a change can be told."""
        found = self._answered(encoded, edits)
        if not found.probabilities[:, 0].any():
            raise ValueError(
                "the probability of the answer is 0 to the last digit, no change of it can be told"
            )
        return found

    def _edit(self, neurons: Iterable[Sequence[int]], factor: float) -> Edit:
        """An edit of at least one neuron."""
        edit = self._edit_of(neurons, factor)
        if edit is None:
            raise ValueError("expected at least one neuron to scale")
        return edit
