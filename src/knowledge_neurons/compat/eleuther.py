"""EleutherAI's class `KnowledgeNeurons`: its methods by their names, on this engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from operator import index
from typing import Any

from torch import Tensor

from knowledge_neurons.compat import asking
from knowledge_neurons.compat.changing import (
    Completion,
    Scaled,
    completion,
    first_said,
)
from knowledge_neurons.compat.finding import FindsNeurons
from knowledge_neurons.compat.refining import say
from knowledge_neurons.editing import slots
from knowledge_neurons.networks.interface import check_neurons
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.types import Edit, Neuron, Prompt

FACTORS = {"suppress": 0.0, "enhance": 2.0}
EDIT, ERASE = MODES = ("edit", "erase")
ZERO, UNK = VALUES = ("zero", "unk")
Results = dict[str, dict[str, Any]]  # "before", "after" -> gt_prob, argmax_completion, argmax_prob
Changed = tuple[Results, Callable[..., Any]]  # and what takes the change back


class KnowledgeNeurons(FindsNeurons):
    """A model and what EleutherAI's package asks of its neurons.

        kn = KnowledgeNeurons(*initialize_model_and_tokenizer("bert-base-uncased"))
        refined = kn.get_refined_neurons(prompts, "paris")  # [[layer, index], ...]
        results, unpatch_fn = kn.suppress_knowledge(prompts[0], "paris", refined)

    model, tokenizer: of `transformers`, any family in `networks.families`, or this library's own;
    put into eval mode and frozen, and moved to device, by default KN_DEVICE's or the first GPU.
    model_type: checked; it decides nothing.
    peer_numbers: score by the package's own points of the path, from 0 to 1 with both ends, where
    the default is the released code's left sum; may be set at any time.

    A prompt has one [MASK] or <mask>; a decoder's may end where the answer follows.  An answer of
    several tokens is asked token by token, those before it given: scores are their mean,
    probabilities their product.
    batch_size and pbar are accepted everywhere and without effect (a refinement refuses a
    batch_size below 1): the engine decides by the memory that is free, and no bar is shown.
    """

    # --- changing activations ----------------------------------------------------------------

    def suppress_knowledge(
        self,
        prompt: str,
        ground_truth: str,
        neurons: Sequence[Sequence[int]],
        undo_modification: bool = True,
        quiet: bool = False,
    ) -> Changed:
        """`modify_activations` with the neurons' activations times 0."""
        return self.modify_activations(
            prompt, ground_truth, neurons, "suppress", undo_modification, quiet
        )

    def enhance_knowledge(
        self,
        prompt: str,
        ground_truth: str,
        neurons: Sequence[Sequence[int]],
        undo_modification: bool = True,
        quiet: bool = False,
    ) -> Changed:
        """`modify_activations` with the neurons' activations times 2."""
        return self.modify_activations(
            prompt, ground_truth, neurons, "enhance", undo_modification, quiet
        )

    def modify_activations(
        self,
        prompt: str,
        ground_truth: str,
        neurons: Sequence[Sequence[int]],
        mode: str = "suppress",
        undo_modification: bool = True,
        quiet: bool = False,
    ) -> Changed:
        """Scale neurons at the position read, and ask the prompt before and after.

        undo_modification: without it this object (not the model) keeps the edit for all its later
        calls, at the position that each reads, until the returned function is called.
        Returns {"before", "after"} of {"gt_prob", "argmax_completion", "argmax_prob"}, in
        probability, of the answer and of the likeliest completion; and that function.
        Raises ValueError for another mode, a neuron that the model does not have, a prompt or an
        answer that cannot be asked.
        """
        if mode not in FACTORS:
            raise ValueError(f"mode is {mode!r}: expected one of {', '.join(FACTORS)}")
        edit = Edit(_neurons(neurons), FACTORS[mode])
        asked = self._encoded(prompt, ground_truth)
        changed = Scaled(self._network, [*self._scaled, edit])
        before, after = completion(self._current, asked), completion(changed, asked)
        results = self._told(before, after, quiet)
        if undo_modification:
            return results, _nothing
        self._scaled.append(edit)

        def unpatch(*_: Any) -> None:
            self._scaled = [one for one in self._scaled if one is not edit]

        return results, unpatch

    # --- changing weights --------------------------------------------------------------------

    def edit_knowledge(
        self,
        prompt: str,
        target: str,
        neurons: Sequence[Sequence[int]],
        undo_modification: bool = True,
        quiet: bool = False,
    ) -> Changed:
        """`modify_weights`: what the model says now is taken out of the neurons, target put in."""
        return self.modify_weights(
            prompt, neurons, target, EDIT, undo_modification=undo_modification, quiet=quiet
        )

    def erase_knowledge(
        self,
        prompt: str,
        neurons: Sequence[Sequence[int]],
        erase_value: str = ZERO,
        target: str | None = None,
        undo_modification: bool = True,
        quiet: bool = False,
    ) -> Changed:
        """`modify_weights`: the neurons' value slots are set to zero, or to the [UNK] embedding."""
        return self.modify_weights(
            prompt, neurons, target, ERASE, erase_value, undo_modification, quiet
        )

    def modify_weights(
        self,
        prompt: str,
        neurons: Sequence[Sequence[int]],
        target: str | None,
        mode: str = EDIT,
        erase_value: str = ZERO,
        undo_modification: bool = True,
        quiet: bool = False,
    ) -> Changed:
        """Rewrite the neurons' value slots, and ask the prompt for target before and after.

        mode "edit": `editing.slots.update` with the paper's lambdas, 1 and 8, both embeddings at
        the norm of the slot, from what the model says now to target; of several tokens by the first
        that differs.  "erase": the slots become zero, or with erase_value "unk" the [UNK]
        embedding.  target None, where erasing: what the model says now.
        undo_modification: without it the weights stay so until the returned function is called;
        then every bit is what it was before, in whatever order several are taken back.
        Returns what `modify_activations` does, of target.
        Raises ValueError for another mode or erase_value, an edit without a target, "unk" of a
        tokenizer without [UNK], and as `modify_activations` does.
        """
        if mode not in MODES or erase_value not in VALUES:
            raise ValueError(
                f"mode {mode!r} with erase_value {erase_value!r}: expected one of "
                f"{', '.join(MODES)} with one of {', '.join(VALUES)}"
            )
        if target is None and mode == EDIT:
            raise ValueError("target is None: an edit needs an answer to put in")
        chosen = _neurons(neurons)
        check_neurons(self._network, chosen)
        value = self._unknown() if (mode, erase_value) == (ERASE, UNK) else None
        asked = self._asking_for(prompt, target)
        before = completion(self._current, asked)
        edit = None
        if chosen and mode == ERASE:
            edit = slots.erase(self._network, chosen, value)
        elif chosen:
            old, new = slots.first_differing(before.said, asked.answers)
            edit = slots.update(self._network, chosen, old, new)
        with slots.edited(self._network, edit) if edit else nullcontext():
            after = completion(self._current, asked)
        undo = self._slots.add(edit) if edit and not undo_modification else _nothing
        return self._told(before, after, quiet), undo

    def _asking_for(self, prompt: str, target: str | None) -> Prompt:
        """The prompt and its target; where there is none, what the model says."""
        if target is not None:
            return self._encoded(prompt, target)
        asked = asking.unanswered(self._network, self._tokenizer, prompt)
        return replace(asked, answer=first_said(self._current, asked))

    def _unknown(self) -> Tensor:
        """The embedding (D,) of the token that stands for what has none."""
        if self._tokenizer.unknown is None:
            raise ValueError("erase_value 'unk': the tokenizer has no unknown token; use 'zero'")
        return self._network.words[self._tokenizer.unknown]

    def _told(self, before: Completion, after: Completion, quiet: bool) -> Results:
        """Both as the peers return them; printed too unless quiet."""
        told = {"before": before.told(self._tokenizer), "after": after.told(self._tokenizer)}
        for when, one in told.items():
            said = f"{one['argmax_completion']!r} at {one['argmax_prob']:.4g}"
            say(quiet, f"{when}: P(answer) {one['gt_prob']:.4g}, the model says {said}")
        return told


def _neurons(given: Sequence[Sequence[int]]) -> tuple[Neuron, ...]:
    """[[layer, index], ...], each once; ValueError for another shape."""
    try:
        return tuple(dict.fromkeys(Neuron(*map(index, one)) for one in given))
    except TypeError as error:
        raise ValueError(f"neurons: expected [[layer, index], ...], got {short(given)}") from error


def _nothing(*arguments: Any) -> tuple:
    """What is returned where all is taken back already; the peers' gives its arguments back too."""
    return arguments
