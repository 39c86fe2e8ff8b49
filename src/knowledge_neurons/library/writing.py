"""What neurons write, and other things put in its place (section 5); every bit is put back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from knowledge_neurons.editing import patches, slots
from knowledge_neurons.experiments.neuron_words import words_of
from knowledge_neurons.library.model import Model
from knowledge_neurons.library.shown import Shown, Table, several
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.types import Neuron, WeightEdit

ZERO, UNKNOWN = ERASED_TO = ("zero", "unk")
LAMBDAS = (1.0, 8.0)
SENTENCE = "It is [MASK]."  # in which answers stand as in most texts: behind a space


_STATES = count(1)  # of weights that are changed, each once


@dataclass(frozen=True, repr=False, eq=False)
class Change(Shown):
    """New value slots for some neurons, computed and not yet applied.

    kind: "update" or "erase".  old, new, lambdas: of an update.
    """

    edit: WeightEdit
    kind: str
    old: str | None = None
    new: str | None = None
    lambdas: tuple[float, float] | None = None

    def tables(self) -> list[Table]:
        """A row a neuron."""
        columns = {
            "layer": [neuron.layer for neuron in self.edit.neurons],
            "neuron": [neuron.index for neuron in self.edit.neurons],
            "length before": self.edit.before.float().norm(dim=1).tolist(),
            "after": self.edit.after.float().norm(dim=1).tolist(),
        }
        title = f"{self.kind} of the value slots of {several(len(self.edit.neurons), 'neuron')}"
        if self.lambdas:
            first, second = self.lambdas
            title += f", from {self.old!r} to {self.new!r}, lambdas {first:g} and {second:g}"
        return [Table(title, columns, {"length before": ".3g", "after": ".3g"})]


@dataclass(frozen=True, repr=False)
class Written(Shown):
    """The words that a neuron's value slot raises most, and those that it lowers most.

    up, down: (word, cosine of the value slot and the word's direction), strongest first.
    """

    neuron: Neuron
    up: list[tuple[str, float]]
    down: list[tuple[str, float]]

    def tables(self) -> list[Table]:
        """A row a rank."""
        columns = {
            "up": [word for word, _ in self.up],
            "up by": [value for _, value in self.up],
            "down": [word for word, _ in self.down],
            "down by": [value for _, value in self.down],
        }
        title = f"what neuron {self.neuron.index} of layer {self.neuron.layer} writes when it fires"
        return [Table(title, columns, {"up by": "+.3g", "down by": "+.3g"})]

    def notes(self) -> list[str]:
        return ["of a neuron that fires negatively the two sides change places"]


class Writing(Model):
    """Value slots read, changed for the length of a block, and kept in files."""

    def what_writes(self, neuron: Sequence[int], k: int = 10) -> Written:
        """The k words that a neuron's value slot pushes up most and down most.

        A word's number is the cosine of the value slot and the word's direction in the stream, see
        `experiments.neuron_words`.
        """
        chosen = self._neurons(neuron)
        if len(chosen) != 1 or k < 1:
            raise ValueError(f"{len(chosen)} neurons, {k} words: expected one neuron, 1 or more")
        found = next(words_of(self.model, self.tokenizer, chosen, k, alike=0))
        return Written(found.neuron, found.up, found.down)

    # --- computing a change ---

    def update(
        self,
        neurons: Iterable[Sequence[int]],
        old: str,
        new: str,
        lambdas: tuple[float, float] = LAMBDAS,
        prompt: str = SENTENCE,
    ) -> Change:
        """The change that makes a fact's neurons write the new answer instead of the old.

        lambdas: how much of the old is taken out and of the new put in (section 5.1).
        prompt: a text in which the answers stand as where they are asked for; to be given where no
        space is before them, as in Chinese, for then many models have other tokens for them.
        An answer of several tokens counts by its first.
        """
        chosen = self._neurons(neurons)
        first, second = _checked_lambdas(lambdas)
        tokens = (self._encode([prompt], answer)[0].answer for answer in (old, new))
        edit = slots.update(self.model, chosen, *tokens, first, second)
        return Change(edit, "update", old, new, (first, second))

    def erase(self, neurons: Iterable[Sequence[int]], value: str = ZERO) -> Change:
        """The change that sets the value slots to zero, or to the embedding of the unknown token.

        value: "zero" (section 5.2's text) or "unk" (the released code).
        """
        if value not in ERASED_TO:
            raise ValueError(f"value {value!r}: expected one of {', '.join(ERASED_TO)}")
        unknown: Tensor | None = None
        if value == UNKNOWN:
            if self.tokenizer.unknown is None:
                raise ValueError("this tokenizer has no unknown token: erase to 'zero'")
            unknown = self.model.words[self.tokenizer.unknown]
        return Change(slots.erase(self.model, self._neurons(neurons), unknown), "erase")

    # --- applying it ---

    @contextmanager
    def applied(self, *changes: Change) -> Iterator[None]:
        """The changes in the model's weights, inside a `with`; afterwards every bit is as before.

        What several changes do to the same neuron adds up.  Contexts may be nested.
        Raises ValueError for a change that was computed from other weights than are there now.
        """
        edit = slots.combined([change.edit for change in changes])
        self._check_current(edit)
        with slots.edited(self.model, edit):
            before, self.state = self.state, next(_STATES)
            try:
                yield
            finally:
                self.state = before

    @contextmanager
    def updated(
        self,
        neurons: Iterable[Sequence[int]],
        old: str,
        new: str,
        lambdas: tuple[float, float] = LAMBDAS,
        prompt: str = SENTENCE,
    ) -> Iterator[Change]:
        """`update`, inside a `with`: the neurons write the new answer; afterwards every bit is as
        before."""
        change = self.update(neurons, old, new, lambdas, prompt)
        with self.applied(change):
            yield change

    @contextmanager
    def erased(self, neurons: Iterable[Sequence[int]], value: str = ZERO) -> Iterator[Change]:
        """`erase`, inside a `with`; afterwards every bit is as before."""
        change = self.erase(neurons, value)
        with self.applied(change):
            yield change

    # --- keeping it ---

    def save_patch(self, path: str | Path, change: Change) -> None:
        """Write a change as a patch of a few kilobytes, for `patched` and scripts/apply_edit.py.

        Raises ValueError inside a `with` that changes the model, and for a change that was computed
        in one: a patch names the model that it belongs to by its weights, as they were.
        """
        if self.state:
            raise ValueError("save the patch outside of `with`, when the weights are the model's")
        self._check_current(change.edit)
        of_update = {} if change.kind == "erase" else {"fact": 0}
        header = patches.Header(
            kind=change.kind,
            model_sha256=fingerprint(self.model),
            relation="own",
            neurons=change.edit.neurons,
            old=change.old,
            new=change.new,
            lambdas=change.lambdas,
            **of_update,
        )
        patches.save(Path(path), change.edit, header)

    @contextmanager
    def patched(self, path: str | Path) -> Iterator[Change]:
        """A patch from a file, inside a `with`; ValueError for one of another model, and inside
        another `with`, where the weights are not those that it names."""
        if self.state:
            raise ValueError(
                "a patch is for the model as it was loaded: enter `patched` before other changes; "
                "for several patches at once give what `with kn.patched(path) as change` yields to "
                "`applied`"
            )
        patch = patches.load(Path(path))
        header, edit = patch.header, patches.edit_of(patch, self.model)
        change = Change(edit, header.kind, header.old, header.new, header.lambdas)
        with self.applied(change):
            yield change

    def _check_current(self, edit: WeightEdit) -> None:
        """ValueError unless the edit was computed from the weights that are there now."""
        there = slots.value_slots(self.model, edit.neurons)
        for neuron, now, before in zip(edit.neurons, there, edit.before, strict=True):
            if not torch.equal(now, before):
                raise ValueError(
                    f"the change of neuron {neuron.index} of layer {neuron.layer} was computed "
                    "from other weights than are there now: compute it again here, or give several "
                    "changes to one `applied`"
                )


def _checked_lambdas(lambdas: Sequence[float]) -> tuple[float, float]:
    """Two numbers; ValueError for anything else."""
    try:
        first, second = map(float, lambdas)
    except (TypeError, ValueError) as error:
        raise ValueError(f"lambdas {lambdas}: expected two numbers, such as (1, 8)") from error
    if not (math.isfinite(first) and math.isfinite(second)):
        raise ValueError(f"lambdas {lambdas}: expected two numbers, not NaN nor infinite")
    return first, second
