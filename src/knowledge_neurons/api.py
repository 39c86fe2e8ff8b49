"""The library's face: knowledge neurons of your own prompts, by way of the stages' parts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from custom_bert import Bert
from knowledge_neurons import models, refine
from knowledge_neurons.batching import encode_fact
from knowledge_neurons.experiments.fact_scores import Settings, score_facts
from knowledge_neurons.experiments.modify_activation import answer_probabilities
from knowledge_neurons.quadrature import rule
from knowledge_neurons.tokenizer import Tokenizer
from knowledge_neurons.types import Fact, Neuron, PromptScores


class KnowledgeNeurons:
    """A masked language model and what one can ask of its FFN neurons.

    kn = KnowledgeNeurons.from_pretrained("models/demo-bert")
    prompts = ["Coldplay took shape in the city of [MASK].",
               "The story of Coldplay begins in [MASK].",
               "It all began for Coldplay in [MASK]."]
    neurons = kn.find(prompts, "London")                  # [Neuron(layer=3, index=17), ...]
    kn.probabilities(prompts, "London")                   # P(London) for each prompt
    kn.probabilities(prompts, "London", neurons, 0.0)     # the same with them suppressed
    """

    def __init__(self, model: Bert, tokenizer: Tokenizer):
        self.model, self.tokenizer = model, tokenizer

    @classmethod
    def from_pretrained(
        cls, source: str | Path, device: str | torch.device = "cpu", **options
    ) -> KnowledgeNeurons:
        """Load a model: see `knowledge_neurons.models.from_pretrained` for sources and options."""
        pretrained = models.from_pretrained(source, **options)
        return cls(pretrained.model.to(device), pretrained.tokenizer)

    def scores(
        self,
        prompts: Sequence[str],
        answer: str,
        rule_name: str = "riemann-left",
        steps: int = 20,
        keep: float = refine.KEEP,
    ) -> list[PromptScores]:
        """Attribution scores of each prompt (equation 4 of the paper), in probability.

        prompts: texts with one [MASK] each that all ask for the answer, a single token.
        keep: scores below this share of the prompt's largest are left out.
        Raises ValueError for an answer that is no single token or a prompt without [MASK].
        """
        fact = self._fact(prompts, answer)
        settings = Settings(rule=rule(rule_name, steps), keep=keep)
        encoded = [self._encode(fact)]
        ((scored,),) = score_facts(self.model, self.tokenizer, [fact], encoded, settings)
        return scored

    def find(
        self, prompts: Sequence[str], answer: str, coarse: float = 0.2, shared: float = 0.7
    ) -> list[Neuron]:
        """The fact's knowledge neurons (section 3.2): coarse per prompt, then shared by prompts.

        coarse: t, share of a prompt's largest score; shared: p, share of the prompts.  A neuron
        must be coarse in at least three prompts, or in all of them where there are fewer.
        """
        scored = self.scores(prompts, answer, keep=min(coarse, refine.KEEP))
        counts = refine.count_coarse((prompt.of_answer for prompt in scored), coarse)
        return refine.refine_fact(counts, shared, min_prompts=min(3, len(scored)))

    def probabilities(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Sequence[Neuron] = (),
        factor: float = 1.0,
    ) -> list[float]:
        """P(answer) at [MASK] of each prompt, with the neurons' activations there times factor.

        factor: 0 suppresses, 2 amplifies (section 4.3).  The model is not changed.
        """
        encoded = self._encode(self._fact(prompts, answer))
        return answer_probabilities(self.model, encoded, [neurons] * len(encoded), factor)

    def _fact(self, prompts: Sequence[str], answer: str) -> Fact:
        if isinstance(prompts, str) or not prompts:
            raise ValueError("expected a list of prompts, each with one [MASK]")
        return Fact("own", "own prompts", 0, answer, tuple(prompts))

    def _encode(self, fact: Fact):
        return encode_fact(fact, self.tokenizer, self.model.config.max_position_embeddings)
