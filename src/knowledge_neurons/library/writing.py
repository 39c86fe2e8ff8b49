"""What neurons write, and other things put in its place (section 5); every bit is put back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from knowledge_neurons.editing import patches, slots
from knowledge_neurons.library.model import Model
from knowledge_neurons.library.shown import Shown, Table
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.types import Neuron, WeightEdit

ZERO, UNKNOWN = ERASED_TO = ("zero", "unk")
LAMBDAS = (1.0, 8.0)


@dataclass(frozen=True)
class Change:
    """New value slots for some neurons, computed and not yet applied.

    kind: "update" or "erase".  old, new, lambdas: of an update.
    """

    edit: WeightEdit
    kind: str
    old: str | None = None
    new: str | None = None
    lambdas: tuple[float, float] | None = None


@dataclass(frozen=True, repr=False)
class Written(Shown):
    """The words that a neuron's value slot raises most, and those that it lowers most.

    up, down: (word, product of value slot and the word's direction), strongest first.
    """

    neuron: Neuron
    up: list[tuple[str, float]]
    down: list[tuple[str, float]]

    def tables(self) -> list[Table]:
        """A row a rank."""
        columns = {
            "up": [word for word, _ in self.up],
            "by": [value for _, value in self.up],
            "down": [word for word, _ in self.down],
            "by ": [value for _, value in self.down],
        }
        title = f"what neuron {self.neuron.index} of layer {self.neuron.layer} writes when it fires"
        return [Table(title, columns, {"by": "+.3g", "by ": "+.3g"})]

    def notes(self) -> list[str]:
        return ["of a neuron that fires negatively the two sides change places"]


class Writing(Model):
    """Value slots read, changed for the length of a block, and kept in files."""

    @torch.no_grad()
    def what_writes(self, neuron: Sequence[int], k: int = 10) -> Written:
        """The k words that a neuron's value slot pushes up most and down most.

        A word's number is the product of the value slot and its direction in the stream (the
        output embedding): what a unit of activation adds to the word's logit, were there nothing
        above the neuron.
        """
        (chosen,) = self.neurons([neuron])
        products = self.model.words @ slots.value_slots(self.model, [chosen])[0].to(
            self.model.words.dtype
        )  # (V,)
        usable = products.float().cpu()
        usable[list(self.tokenizer.special)] = 0.0
        usable = usable[: len(self.tokenizer)]
        up, down = usable.topk(min(k, len(usable))), (-usable).topk(min(k, len(usable)))
        return Written(
            chosen,
            self._words(up.indices, up.values),
            self._words(down.indices, -down.values),
        )

    # --- computing a change ---

    def update(
        self,
        neurons: Iterable[Sequence[int]],
        old: str,
        new: str,
        lambdas: tuple[float, float] = LAMBDAS,
    ) -> Change:
        """The change that makes a fact's neurons write the new answer instead of the old.

        lambdas: how much of the old is taken out and of the new put in (section 5.1).
        An answer of several tokens counts by its first.
        """
        chosen = self.neurons(neurons)
        tokens = self._first_token(old), self._first_token(new)
        first, second = map(float, lambdas)
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
        return Change(slots.erase(self.model, self.neurons(neurons), unknown), "erase")

    # --- applying it ---

    @contextmanager
    def applied(self, *changes: Change) -> Iterator[None]:
        """The changes in the model's weights, inside a `with`; afterwards every bit is as before.

        What several changes do to the same neuron adds up.  Contexts may be nested.
        """
        with ExitStack() as stack:
            stack.enter_context(slots.edited(self.model, slots.combined([c.edit for c in changes])))
            self._changed += 1
            stack.callback(self._unchanged)
            yield

    @contextmanager
    def updated(
        self,
        neurons: Iterable[Sequence[int]],
        old: str,
        new: str,
        lambdas: tuple[float, float] = LAMBDAS,
    ) -> Iterator[Change]:
        """`update`, inside a `with`: the model says the new answer; afterwards as before."""
        change = self.update(neurons, old, new, lambdas)
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

        Raises ValueError inside a `with` that changes the model: a patch names the model that it
        belongs to by its weights, as they were.
        """
        if self._changed:
            raise ValueError("save the patch outside of `with`, when the weights are the model's")
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
        """A patch from a file, inside a `with`; ValueError for one of another model."""
        patch = patches.load(Path(path))
        header, edit = patch.header, patches.edit_of(patch, self.model)
        change = Change(edit, header.kind, header.old, header.new, header.lambdas)
        with self.applied(change):
            yield change

    _changed = 0  # contexts that are open

    def _unchanged(self) -> None:
        self._changed -= 1

    def _first_token(self, answer: str) -> int:
        """The (first) token of an answer within a text."""
        prompt = "It is [MASK]."
        return self.encode([prompt], answer)[0].answer

    def _words(self, tokens: Tensor, values: Tensor) -> list[tuple[str, float]]:
        told = [self.tokenizer.text([token]) for token in tokens.tolist()]
        return list(zip(told, values.tolist(), strict=True))
