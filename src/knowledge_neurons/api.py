"""The library's face: knowledge neurons of your own prompts, by way of the stages' parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from knowledge_neurons.attribution import adaptive, quadrature
from knowledge_neurons.attribution.fact_scores import Settings, prepare, score_facts
from knowledge_neurons.compat import fork
from knowledge_neurons.compat.models import check_model_type
from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.networks.adapted_checkpoints import adapted
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.neurons import refine
from knowledge_neurons.text.encoding import Tokens, encode_fact
from knowledge_neurons.types import Edit, Fact, Neuron, Prompt, PromptScores, Triplet


class KnowledgeNeurons:
    """A language model and what one can ask of its FFN neurons.

        kn = KnowledgeNeurons.from_pretrained("bert-base-cased")
        prompts = ["Coldplay took shape in the city of [MASK].",
                   "The story of Coldplay begins in [MASK].",
                   "It all began for Coldplay in [MASK]."]
        neurons = kn.find(prompts, "London")              # [Neuron(layer=..., index=...), ...]
        kn.probabilities(prompts, "London")               # P(London) of each prompt
        kn.probabilities(prompts, "London", neurons, 0.0)  # the same with them suppressed

    Every method takes prompts, texts with one [MASK] each that ask for the same answer (a decoder
    reads what stands before it), and the answer; each raises ValueError that says which text or
    answer is not so.  An answer of several tokens is asked token by token: its probability is of
    the whole, its neurons are those of its first token.

    model, tokenizer: ours, or a masked or causal language model of `transformers` and its
    tokenizer, whose model is put into eval mode and its parameters frozen, and never changed
    otherwise.  model_type: only checked, for those who come from packages that need it.
    """

    get_refined_neurons = fork.get_refined_neurons

    def __init__(self, model: Any, tokenizer: Any, model_type: str | None = None):
        if not hasattr(model, "through"):
            model, tokenizer = adapted(model, tokenizer)
        if model_type is not None:
            check_model_type(model, model_type)
        self.model: Network = model
        self.tokenizer: Tokens = tokenizer

    @classmethod
    def from_pretrained(
        cls, source: str | Path, device: str | torch.device = "cpu", **options
    ) -> KnowledgeNeurons:
        """Load a model: see `networks.checkpoints.from_pretrained` for sources and options."""
        pretrained = checkpoints.from_pretrained(source, **options)
        return cls(pretrained.model.to(device), pretrained.tokenizer)

    def scores(
        self,
        prompts: Sequence[str],
        answer: str,
        rule: str = "riemann-left",
        steps: int = 20,
        keep: float = refine.KEEP,
        tolerance: float | None = adaptive.TOLERANCE,
    ) -> list[PromptScores]:
        """Attribution of each prompt: equation 4 of the paper, and the activation baseline.

        rule, steps: quadrature of the path.  keep: neurons below this share of the prompt's largest
        score are left out.  tolerance: of a score, as a share of its prompt's largest: every layer
        tries eight points, then twelve, then all, until they promise a thirtieth of it.  None: all.
        Returns one PromptScores a prompt: of_answer in probability, baseline in activation.
        """
        fact, encoded = self._encode(prompts, answer)
        settings = Settings(quadrature.rule(rule, steps), tolerance, keep)
        engine = prepare(self.model, self.tokenizer, settings)
        ((scored,),) = score_facts(engine, [fact], [encoded])
        return [_with_triplets(prompt) for prompt in scored.prompts]

    def refine(
        self,
        scores: Sequence[PromptScores],
        coarse: float = 0.2,
        shared: float = 0.7,
        min_prompts: int = 3,
    ) -> list[Neuron]:
        """The fact's knowledge neurons from the scores of its prompts (section 3.2).

        coarse: t, share of a prompt's largest score; shared: p, share of the prompts.  A neuron
        must be coarse in at least min_prompts, or in all prompts where there are fewer.
        Returns the neurons, first seen first; none where the prompts share none.
        """
        settings = refine.Thresholds(coarse=coarse, shared=shared, min_prompts=min_prompts)
        counts = refine.count_coarse((prompt.of_answer for prompt in scores), settings.coarse)
        return refine.refine_fact(counts, settings.shared, min(min_prompts, len(scores)))

    def find(
        self,
        prompts: Sequence[str],
        answer: str,
        coarse: float = 0.2,
        shared: float = 0.7,
        tolerance: float | None = adaptive.TOLERANCE,
    ) -> list[Neuron]:
        """`scores` and `refine` in one, with the paper's settings.  Returns the neurons."""
        settings = refine.Thresholds(coarse=coarse, shared=shared)
        keep = min(settings.coarse, refine.KEEP)
        scores = self.scores(prompts, answer, keep=keep, tolerance=tolerance)
        return self.refine(scores, coarse, shared)

    def probabilities(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Sequence[Neuron] = (),
        factor: float | None = None,
    ) -> list[float]:
        """P(answer) at [MASK] of each prompt, with the neurons' activations there times factor.

        factor: 0 suppresses, 2 amplifies (section 4.3); needed where neurons are given.
        Returns one probability a prompt.
        """
        if neurons and factor is None:
            raise ValueError("neurons without a factor: 0 suppresses them, 2 amplifies them")
        _, encoded = self._encode(prompts, answer)
        edits = [Edit(tuple(neurons), factor)] if neurons else []
        rows = answer_probabilities(self.model, encoded, [edits] * len(encoded))
        return [row[-1] for row in rows]

    def _encode(self, prompts: Sequence[str], answer: str) -> tuple[Fact, list[Prompt]]:
        """The prompts as a fact of no relation, and their tokens."""
        if isinstance(prompts, str) or not prompts:
            raise ValueError("expected a list of prompts, each with one [MASK]")
        fact = Fact("own", "own prompts", 0, answer, tuple(prompts))
        return fact, encode_fact(fact, self.tokenizer, self.model.max_tokens)


def _with_triplets(scores: PromptScores) -> PromptScores:
    """The same with Triplet where scoring leaves plain tuples."""
    return replace(
        scores,
        of_answer=[Triplet(*one) for one in scores.of_answer],
        baseline=[Triplet(*one) for one in scores.baseline],
    )
