"""The library's face: knowledge neurons of your own prompts in your own model."""

from __future__ import annotations

from typing import Any

import torch

from knowledge_neurons.compat import fork
from knowledge_neurons.compat.models import check_model_type
from knowledge_neurons.library.comparing import Comparing
from knowledge_neurons.library.mapping import MappingNeurons
from knowledge_neurons.library.questioning import Questioning
from knowledge_neurons.library.scaling import Scaling
from knowledge_neurons.library.writing import Writing


class KnowledgeNeurons(Comparing, Questioning, Scaling, Writing, MappingNeurons):
    """A language model and what one can ask of its FFN neurons.

        kn = KnowledgeNeurons.from_pretrained("bert-base-cased")
        prompts = ["Coldplay took shape in the city of [MASK].",
                   "The story of Coldplay begins in [MASK].",
                   "It all began for Coldplay in [MASK]."]
        found = kn.find(prompts, "London")            # a list of neurons that prints as a table
        kn.suppress(prompts, "London", found)         # P(London) and top answers, before and after
        kn.against_random(prompts, "London", found)   # the same beside random neurons
        with kn.updated(found, "London", "Paris"):    # other value slots, for the block's length
            kn.top(prompts)

    Every method takes prompts, texts with one [MASK] each that ask for the same answer (a decoder
    reads what stands before it), and the answer; neurons are (layer, index), counted from 0, as
    `Neuron`, tuple or list, one of them or a list of them.  Each raises ValueError that says which
    text, answer or neuron is not so.  An answer of several tokens is asked token by token: its
    probability is of the whole, its neurons are those of its first token.

    model, tokenizer: ours, or a masked or causal language model of `transformers` and its
    tokenizer, whose model is put into eval mode and its parameters frozen, and never changed
    otherwise but inside a `with` of `updated`, `erased`, `applied` or `patched`.
    device: None leaves the model where it is.  model_type: only checked, for those who come from
    packages that need it, whose `get_refined_neurons` is here too.
    """

    get_refined_neurons = fork.get_refined_neurons

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        model_type: str | None = None,
        device: str | torch.device | None = None,
    ):
        super().__init__(model, tokenizer, device)
        if model_type is not None:
            check_model_type(self.model, model_type)
